use super::super::flags::tests::parse;
use super::*;

/// The sample of nccl-tests' own layout, but for the lines that name program and devices.
const GOLDEN: &str = "\
# srv6ctl version 0.1.0 (format of nccl-tests version 2.19.6)
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 1 minBytes 8 maxBytes 134217728 step: 2(factor) warmup iters: 1 iters: 20 agg iters: 1 validation: 1 graph: 0 unalign: 0
#
# Using devices
#  Rank  0 Group  0 Pid  12345 on     host00 device  0 [host memory] SRv6 v12 eth1
#  Rank  1 Group  0 Pid  12346 on     host01 device  0 [host memory] SRv6 v12 eth1
# 1 channel
#
#                                                              out-of-place                       in-place          
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time   algbw   busbw  #wrong 
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)  (GB/s)  (GB/s)         
           8             2     float     sum      -1    28.31    0.00    0.00       0    28.31    0.00    0.00       0
     1048576        262144     float     sum      -1   412.70    2.54    2.54       0   412.70    2.54    2.54    N/A
   134217728      33554432     float     sum      -1  48231.9    2.78    2.78       3  48231.9    2.78    2.78       0
# Out of bounds values : 3 FAILED
# Avg bus bandwidth    : 1.77468 
#
# Collective test concluded: all_reduce_perf
#

";

fn line(pid: u32, host: &str) -> RankLine {
    RankLine { group: 0, pid, host: host.into(), device: 0, info: "SRv6 v12 eth1".into() }
}

fn same(got: &[u8], wanted: &str) {
    let got = String::from_utf8(got.to_vec()).unwrap();
    for (got, wanted) in got.lines().zip(wanted.lines()) {
        assert_eq!(got, wanted);
    }
    assert_eq!(got, wanted);
}

#[test]
fn the_layout_is_that_of_nccl_tests() {
    let flags = parse(&["-b", "8", "-e", "128M", "-f", "2", "-g", "1"]).unwrap();
    let mut out = Vec::new();
    let ranks = [line(12345, "host00"), line(12346, "host01")];
    header(&mut out, Test::AllReduce, &flags, &ranks, &["1 channel".into()]).unwrap();
    headings(&mut out, &flags).unwrap();
    for (size, time, wrong) in [
        (8, 28.31e-6, [Some(0), Some(0)]),
        (1_048_576, 412.7e-6, [Some(0), None]),
        (134_217_728, 48231.9e-6, [Some(3), Some(0)]),
    ] {
        let [out_of_place, in_place] =
            wrong.map(|wrong| Timing { wrong, ..Timing::new(Test::AllReduce, size, 2, time) });
        let (data_type, redop) = ("float", "sum");
        let one = Row { size, count: size / 4, data_type, redop, root: -1, out_of_place, in_place };
        row(&mut out, &one, None).unwrap();
    }
    let summary = Summary { failed_checks: 3, average_bus_bw: 1.774_678_9, enough: None, error: None };
    footer(&mut out, Test::AllReduce, &summary).unwrap();
    same(&out, GOLDEN);
}

/// With every column that there can be, of a broadcast.
const WIDE: &str = "\
# srv6ctl version 0.1.0 (format of nccl-tests version 2.19.6)
# Collective test starting: broadcast_perf
# nThread 1 nGpus 1 minBytes 8 maxBytes 8 step: 1048576(bytes) warmup iters: 1 iters: 4 agg iters: 1 validation: 1 graph: 0 unalign: 0
# Per-Iteration Report: host clock; i_* uses max over process rows; summary skips first 1 iterations 
#
# Using devices
#  Rank  0 Group  0 Pid      7 on     host00 device  0 [host memory] SRv6 v12 eth1
#
# Reducing maxBytes to 8 due to memory limitation
#
#                                                                 out-of-place (+ per-iteration)                                in-place (+ per-iteration)
#       size         count      type   redop    root     time   algbw   busbw  #wrong    i_min    i_max    i_p99    i_cv%     time   algbw   busbw  #wrong    i_min    i_max    i_p99    i_cv%           timestamp
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)     (us)     (us)      (%)     (us)  (GB/s)  (GB/s)             (us)     (us)     (us)      (%)   %Y-%m-%d %H:%M:%S
           8             1  bfloat16    none       3     2.00    0.00    0.00       0     1.00     3.00     3.00    40.82     2.00    0.00    0.00       0     1.00     3.00     3.00    40.82  2026-07-09 16:03:21
";

#[test]
fn times_of_iterations_and_timestamps_widen_it_as_there() {
    let flags = parse(&["-b", "8", "-e", "8", "-n", "4", "-I", "1", "-K", "1", "-S", "1"]).unwrap();
    let mut out = Vec::new();
    header(&mut out, Test::Broadcast, &flags, &[line(7, "host00")], &[]).unwrap();
    reduced(&mut out, 8).unwrap();
    headings(&mut out, &flags).unwrap();
    let iterations = Iterations::new(vec![vec![9e-6, 1e-6, 2e-6, 3e-6]], 1);
    let timing = Timing { wrong: Some(0), iterations, ..Timing::new(Test::Broadcast, 8, 2, 2e-6) };
    let (data_type, redop) = ("bfloat16", "none");
    let one =
        Row { size: 8, count: 1, data_type, redop, root: 3, out_of_place: timing.clone(), in_place: timing };
    row(&mut out, &one, Some("2026-07-09 16:03:21")).unwrap();
    same(&out, WIDE);
}

#[test]
fn bandwidths_by_hand() {
    let timing = Timing::new(Test::AllReduce, 4_000_000_000, 4, 2.0);
    assert!((timing.alg_bw - 2.0).abs() < 1e-12 && (timing.bus_bw - 3.0).abs() < 1e-12, "{timing:?}");
    assert!(Timing::new(Test::AllReduce, 8, 1, 1.0).bus_bw.abs() < 1e-12);
    let timing = Timing::new(Test::AllToAll, 4_000_000_000, 4, 2.0);
    assert!((timing.bus_bw - 1.5).abs() < 1e-12, "{timing:?}");
}

#[test]
fn an_error_is_said_at_the_end() {
    let mut out = Vec::new();
    let error = Some("rank 1 is gone".to_owned());
    let summary = Summary { failed_checks: 0, average_bus_bw: 2.0, enough: Some(false), error };
    footer(&mut out, Test::AllToAll, &summary).unwrap();
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains("# Avg bus bandwidth    : 2 FAILED\n"), "{text}");
    assert!(text.ends_with("alltoall_perf\n#\n# error: rank 1 is gone\n"), "{text}");
}
