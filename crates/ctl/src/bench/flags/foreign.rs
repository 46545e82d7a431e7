//! Flags that mean something to GPUs only.

use anyhow::bail;

/// What only GPUs can do.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Accepted at their defaults, so that commands written for nccl-tests run")]
pub(super) struct Foreign {
    /// Threads per process
    #[arg(short = 't', long, value_name = "1", default_value_t = 1)]
    nthreads: u64,
    /// GPUs per thread
    #[arg(short = 'g', long, value_name = "1", default_value_t = 1)]
    ngpus: u64,
    /// Initialise in parallel
    #[arg(
        short = 'p',
        long = "parallel_init",
        alias = "parallel-init",
        value_name = "0",
        default_value_t = 0
    )]
    parallel_init: u64,
    /// Wait after each operation
    #[arg(short = 'z', long, value_name = "0", default_value_t = 0)]
    blocking: u64,
    /// Use the default CUDA stream
    #[arg(short = 'y', long = "stream_null", alias = "stream-null", value_name = "0", default_value_t = 0)]
    stream_null: u64,
    /// Launches of a CUDA graph
    #[arg(short = 'G', long, value_name = "0", default_value_t = 0)]
    cudagraph: u64,
    /// Show the time to launch
    #[arg(
        short = 'C',
        long = "report_cputime",
        alias = "report-cputime",
        value_name = "0",
        default_value_t = 0
    )]
    report_cputime: u64,
    /// Register the buffers
    // `--l` was no ambiguous abbreviation before there was --lab.
    #[arg(short = 'R', long = "local_register", aliases = ["local-register", "l"], value_name = "0", default_value_t = 0)]
    local_register: u64,
    /// Policy of thread blocks
    #[arg(short = 'x', long = "cta_policy", alias = "cta-policy", value_name = "-1", default_value_t = -1, allow_hyphen_values = true)]
    cta_policy: i64,
    /// Kernels of the tests' own
    #[arg(
        short = 'D',
        long = "device_implementation",
        alias = "device-implementation",
        value_name = "0",
        default_value_t = 0
    )]
    device_implementation: u64,
    /// Thread blocks of those
    #[arg(
        short = 'V',
        long = "device_cta_count",
        alias = "device-cta-count",
        value_name = "16",
        default_value_t = 16
    )]
    device_cta_count: u64,
    /// Report GPU memory
    #[arg(short = 'M', long, value_name = "0", default_value_t = 0)]
    memory: u64,
    /// Misalign the buffers
    #[arg(short = 'u', long, value_name = "0", default_value_t = 0)]
    unalign: u64,
}

impl Foreign {
    /// Refuses what asks for a GPU, with the reason.
    pub(super) fn refuse(&self) -> anyhow::Result<()> {
        let only = |good: bool, flag: &str, value: i128, reason: &str| {
            if good { Ok(()) } else { bail!("{flag} {value}: {reason}") }
        };
        let off = |flag, value: u64, reason| only(value == 0, flag, value.into(), reason);
        only(
            self.nthreads == 1,
            "-t",
            self.nthreads.into(),
            "a rank is a process here: start more processes",
        )?;
        only(self.ngpus == 1, "-g", self.ngpus.into(), "a rank is a process here: start more processes")?;
        off("-p", self.parallel_init, "one thread per process has nothing to initialise in parallel")?;
        off("-z", self.blocking, "there is no CUDA stream to wait for: operations run one after the other")?;
        off("-y", self.stream_null, "there is no CUDA stream")?;
        off("-G", self.cudagraph, "there is no CUDA graph")?;
        off("-C", self.report_cputime, "nothing is launched on a GPU, so there is no time to launch")?;
        off("-R", self.local_register, "data is copied through the net's buffers, which are registered")?;
        only(self.cta_policy == -1, "-x", self.cta_policy.into(), "there are no thread blocks")?;
        off("-D", self.device_implementation, "there are no kernels")?;
        only(self.device_cta_count == 16, "-V", self.device_cta_count.into(), "there are no thread blocks")?;
        off("-M", self.memory, "no GPU memory is used")?;
        off("-u", self.unalign, "data is copied through aligned buffers")
    }
}
