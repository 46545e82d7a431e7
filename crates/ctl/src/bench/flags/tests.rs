use clap::Parser;

use super::*;

#[derive(Debug, Parser)]
#[command(infer_long_args = true)]
struct Program {
    #[command(flatten)]
    args: CollectiveArgs,
}

/// The flags of a command line.
pub(in crate::bench) fn parse(arguments: &[&str]) -> Result<Flags, String> {
    let program = Program::try_parse_from([&["x"], arguments].concat()).map_err(|e| e.to_string())?;
    program.args.flags().map_err(|error| error.to_string())
}

#[test]
fn short_long_and_shortened_flags_mean_the_same() {
    let short = parse(&[
        "-b", "8", "-e", "1K", "-i", "16", "-f", "2", "-n", "5", "-m", "3", "-w", "7", "-N", "2", "-c", "4",
        "-o", "max", "-d", "half", "-r", "-1", "-a", "3", "-T", "9", "-S", "1", "-I", "1", "-K", "2", "-J",
        "x.json",
    ]);
    let long = parse(&[
        "--minbytes=8",
        "--maxbytes",
        "1k",
        "--stepbytes",
        "16",
        "--stepfactor",
        "2",
        "--iters",
        "5",
        "--agg_iters",
        "3",
        "--warmup_iters",
        "7",
        "--run_cycles",
        "2",
        "--check",
        "4",
        "--op",
        "max",
        "--datatype",
        "half",
        "--root",
        "-1",
        "--average",
        "3",
        "--timeout",
        "9",
        "--report_timestamps",
        "1",
        "--per_iter_timing",
        "1",
        "--per_iter_skip",
        "2",
        "--output_file",
        "x.json",
    ]);
    let abbreviated = parse(&[
        "--mi",
        "8",
        "--ma",
        "1K",
        "--stepb",
        "16",
        "--stepf",
        "2",
        "--it",
        "5",
        "--agg-iters",
        "3",
        "--wa",
        "7",
        "--run",
        "2",
        "--ch",
        "4",
        "--op",
        "max",
        "--da",
        "half",
        "--ro",
        "all",
        "--av",
        "3",
        "--ti",
        "9",
        "--report_t",
        "1",
        "--per_iter_t",
        "1",
        "--per_iter_s",
        "2",
        "--json",
        "x.json",
        "--l",
        "0",
    ]);
    assert_eq!(short, long);
    assert_eq!(short, abbreviated);
    let flags = short.unwrap();
    assert_eq!((flags.sizes.min, flags.sizes.max, flags.average), (8, 1024, Average::Max));
    assert_eq!(flags.limit, Some(Duration::from_secs(9)));
}

#[test]
fn what_only_gpus_do_is_accepted_at_its_default_and_refused_otherwise() {
    let neutral = [
        ("-t", "1"),
        ("-g", "1"),
        ("-p", "0"),
        ("-z", "0"),
        ("-y", "0"),
        ("-G", "0"),
        ("-C", "0"),
        ("-R", "0"),
        ("-x", "-1"),
        ("-D", "0"),
        ("-V", "16"),
        ("-M", "0"),
        ("-u", "0"),
    ];
    let all: Vec<&str> = neutral.iter().flat_map(|&(flag, value)| [flag, value]).collect();
    assert_eq!(parse(&all), parse(&[]));
    for (flag, _) in neutral {
        let error = parse(&[flag, "2"]).unwrap_err();
        assert!(error.starts_with(&format!("{flag} 2: ")), "{error}");
    }
}

#[test]
fn mistakes_are_said_as_nccl_tests_says_them() {
    for (arguments, expected) in [
        (&["-b", "8T"][..], "invalid size specified for 'minbytes'"),
        (&["-e", "x"], "invalid size specified for 'maxbytes'"),
        (&["-i", "-1"], "invalid size specified for 'stepBytes'"),
        (&["-b", "64M"], "invalid sizes for 'minbytes' and 'maxbytes': 67108864 > 33554432"),
        (&["-d", "f8e4m3"], "wanted int8, uint8,"),
        (&["-o", "xor"], "wanted sum, prod, min, max, avg, mulsum or all"),
        (&["-r", "x"], "wanted a rank, or -1 or all"),
        (&["-J", "x.txt"], "-J x.txt: wanted a file whose name ends in .json"),
        (&["-K", "1"], "-K 1 says what -I leaves out"),
        (&["-I", "1", "-n", "2", "-K", "2"], "-K 2 of 2 iterations"),
        (&["-n", "65536", "-m", "65536"], "wanted less than 2^32"),
        (&["-n", "0"], "0 is not in 1.."),
    ] {
        let error = parse(arguments).unwrap_err();
        assert!(error.contains(expected), "{arguments:?}: {error}");
    }
}

#[test]
fn averages() {
    let times = [4.0, 1.0, 3.0, 8.0];
    let of = |average: Average| average.of(&times);
    assert_eq!([Average::RankZero, Average::Mean, Average::Min, Average::Max].map(of), [4.0, 4.0, 1.0, 8.0]);
}
