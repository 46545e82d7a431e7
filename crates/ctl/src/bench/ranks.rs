//! Which rank this process is: what launchers say in the environment.

use anyhow::{Context, bail, ensure};

use crate::config::Environment;

/// This process's place among the ranks, and where they meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) rank: usize,
    pub(super) world: usize,
    /// Its number among the ranks of its host, if the launcher says.
    pub(super) local_rank: Option<usize>,
    /// Name or address of rank 0's host.
    pub(super) master: String,
    pub(super) port: u16,
}

/// What a launcher calls rank and number of ranks.
#[derive(Debug)]
struct Launcher {
    name: &'static str,
    rank: &'static str,
    world: &'static [&'static str],
    local_rank: &'static str,
}

/// In this order: torchrun's are also set inside jobs of the others, and Slurm's in every batch script.
const LAUNCHERS: [Launcher; 5] = [
    Launcher { name: "torchrun", rank: "RANK", world: &["WORLD_SIZE"], local_rank: "LOCAL_RANK" },
    Launcher {
        name: "Open MPI",
        rank: "OMPI_COMM_WORLD_RANK",
        world: &["OMPI_COMM_WORLD_SIZE"],
        local_rank: "OMPI_COMM_WORLD_LOCAL_RANK",
    },
    Launcher {
        name: "PMIx",
        rank: "PMIX_RANK",
        world: &["PMIX_SIZE", "SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
        local_rank: "SLURM_LOCALID",
    },
    Launcher { name: "PMI", rank: "PMI_RANK", world: &["PMI_SIZE"], local_rank: "MPI_LOCALRANKID" },
    Launcher {
        name: "Slurm",
        rank: "SLURM_PROCID",
        world: &["SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"],
        local_rank: "SLURM_LOCALID",
    },
];

/// torchrun's default.
const DEFAULT_PORT: u16 = 29500;

impl Place {
    /// From the variables of torchrun, Open MPI, PMIx, PMI or Slurm; one rank alone if there are none.
    ///
    /// # Errors
    /// If variables are missing, no numbers, or don't fit each other.
    pub(super) fn from_environment(environment: &Environment) -> anyhow::Result<Self> {
        let Some((index, launcher)) =
            LAUNCHERS.iter().enumerate().find(|(_, launcher)| environment.get(launcher.rank).is_some())
        else {
            return Self::alone(environment);
        };
        let (rank, world) = launcher.read(environment)?;
        let others = LAUNCHERS.get(index + 1..).unwrap_or_default();
        for other in others.iter().filter(|other| launcher.contradicts(other, environment)) {
            let Ok(theirs) = other.read(environment) else { continue };
            ensure!(
                theirs == (rank, world),
                "{} says rank {rank} of {world} ({}), {} says rank {} of {} ({}): unset the one that did not start \
                 this process",
                launcher.rank,
                launcher.name,
                other.rank,
                theirs.0,
                theirs.1,
                other.name
            );
        }
        let local_rank = match environment.get(launcher.local_rank) {
            None => None,
            Some(_) => Some(number(environment, launcher.local_rank)?),
        };
        let port = match environment.get("MASTER_PORT") {
            None => DEFAULT_PORT,
            Some(_) => number(environment, "MASTER_PORT")?,
        };
        let master = master(environment, world)?;
        Ok(Self { rank, world, local_rank, master, port })
    }

    fn alone(environment: &Environment) -> anyhow::Result<Self> {
        // Half a launcher: every process would take itself for the only one.
        let sizes = ["WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];
        for (size, rank) in sizes.iter().zip(["RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK"]) {
            if let Some(world) = environment.get(size).filter(|&world| world != "1") {
                bail!("{size} is {world}, but {rank} is not set: which rank is this?");
            }
        }
        Ok(Self { rank: 0, world: 1, local_rank: None, master: String::new(), port: DEFAULT_PORT })
    }
}

/// Every variable that says which rank a process is: who places ranks himself takes them away.
pub(super) fn variables() -> impl Iterator<Item = &'static str> {
    LAUNCHERS.iter().flat_map(|launcher| {
        [launcher.rank, launcher.local_rank].into_iter().chain(launcher.world.iter().copied())
    })
}

impl Launcher {
    /// Rank and number of ranks.
    fn read(&self, environment: &Environment) -> anyhow::Result<(usize, usize)> {
        let rank = number(environment, self.rank)?;
        let Some(size) = self.world.iter().find(|name| environment.get(name).is_some()) else {
            bail!(
                "{} is set ({}), but not the number of ranks: set {}",
                self.rank,
                self.name,
                self.world.join(" or ")
            );
        };
        let world: usize = number(environment, size)?;
        if world == 0 {
            bail!("{size} is 0: wanted 1 or more");
        }
        if rank >= world {
            bail!("{} is {rank} and {size} is {world}: wanted a rank below the number of ranks", self.rank);
        }
        Ok((rank, world))
    }

    /// Whether another launcher's numbers, where they are set and differ, mean that one of them is a mistake.
    fn contradicts(&self, other: &Self, environment: &Environment) -> bool {
        // A batch script and each torchrun agent have numbers of Slurm's or MPI's that count scripts and agents.
        let nested = environment.get("TORCHELASTIC_RUN_ID").is_some() && self.rank == "RANK";
        other.name != "Slurm" && environment.get(other.rank).is_some() && !nested
    }
}

fn number<T: std::str::FromStr>(environment: &Environment, name: &str) -> anyhow::Result<T> {
    let text = environment.get(name).unwrap_or_default();
    text.parse().ok().with_context(|| format!("{name} is {text:?}: wanted a number"))
}

/// The host of rank 0.
fn master(environment: &Environment, world: usize) -> anyhow::Result<String> {
    if world == 1 {
        return Ok(String::new());
    }
    if let Some(master) = environment.get("MASTER_ADDR") {
        return Ok(master.to_owned());
    }
    // Slurm puts rank 0 on the first host of its list.
    let hosts = ["SLURM_STEP_NODELIST", "SLURM_NODELIST", "SLURM_JOB_NODELIST"];
    if let Some(first) = hosts.iter().find_map(|name| environment.get(name)).and_then(first_host) {
        return Ok(first);
    }
    // Open MPI says nothing about hosts, but whether there is only one.
    if environment.get("OMPI_COMM_WORLD_LOCAL_SIZE") == Some(world.to_string().as_str()) {
        return Ok("localhost".to_owned());
    }
    bail!("MASTER_ADDR is not set: wanted the name or address of rank 0's host")
}

/// The first of a Slurm host list such as `gpu[07-11,20],login1`.
fn first_host(list: &str) -> Option<String> {
    let end = list.find([',', '[']).unwrap_or(list.len());
    let (name, rest) = list.split_at_checked(end)?;
    let Some(numbers) = rest.strip_prefix('[') else { return (!name.is_empty()).then(|| name.to_owned()) };
    let (numbers, after) = numbers.split_once(']')?;
    let first = numbers.split([',', '-']).next().filter(|number| !number.is_empty())?;
    let suffix = after.split(',').next().unwrap_or_default();
    // A second bracket: several dimensions, which no cluster of ours has.
    (!suffix.contains('[')).then(|| format!("{name}{first}{suffix}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(rank: usize, world: usize, master: &str, port: u16) -> Place {
        Place { rank, world, local_rank: None, master: master.into(), port }
    }

    fn error<const N: usize>(variables: [(&str, &str); N]) -> String {
        Place::from_environment(&variables.into()).unwrap_err().to_string()
    }

    #[test]
    fn alone_without_a_launcher() {
        assert_eq!(Place::from_environment(&[].into()).unwrap(), place(0, 1, "", 29500));
    }

    #[test]
    fn torchrun_wins_over_the_batch_system() {
        let environment = [
            ("RANK", "3"),
            ("WORLD_SIZE", "8"),
            ("MASTER_ADDR", "10.0.0.1"),
            ("MASTER_PORT", "1234"),
            ("SLURM_PROCID", "0"),
            ("SLURM_NTASKS", "1"),
        ];
        assert_eq!(Place::from_environment(&environment.into()).unwrap(), place(3, 8, "10.0.0.1", 1234));
    }

    #[test]
    fn open_mpi_on_one_host_needs_no_address() {
        let environment = [
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "4"),
        ];
        assert_eq!(Place::from_environment(&environment.into()).unwrap(), place(1, 4, "localhost", 29500));
        assert_eq!(
            error([
                ("OMPI_COMM_WORLD_RANK", "1"),
                ("OMPI_COMM_WORLD_SIZE", "4"),
                ("OMPI_COMM_WORLD_LOCAL_SIZE", "2")
            ]),
            "MASTER_ADDR is not set: wanted the name or address of rank 0's host"
        );
    }

    #[test]
    fn slurm_and_pmix_meet_at_the_first_host() {
        let slurm = [("SLURM_PROCID", "2"), ("SLURM_NTASKS", "4"), ("SLURM_STEP_NODELIST", "gpu[07-11,20]")];
        assert_eq!(Place::from_environment(&slurm.into()).unwrap(), place(2, 4, "gpu07", 29500));
        let pmix = [("PMIX_RANK", "0"), ("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_JOB_NODELIST", "a,b")];
        assert_eq!(Place::from_environment(&pmix.into()).unwrap(), place(0, 2, "a", 29500));
    }

    #[test]
    fn numbers_that_contradict_each_other_are_named() {
        let forgotten = [
            ("RANK", "0"),
            ("WORLD_SIZE", "1"),
            ("OMPI_COMM_WORLD_RANK", "2"),
            ("OMPI_COMM_WORLD_SIZE", "4"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "4"),
        ];
        assert_eq!(
            error(forgotten),
            "RANK says rank 0 of 1 (torchrun), OMPI_COMM_WORLD_RANK says rank 2 of 4 (Open MPI): unset the one that \
             did not start this process"
        );
        // torchrun under mpirun: an agent per host, and each starts several ranks.
        let mut nested: Vec<_> = forgotten.to_vec();
        nested.push(("TORCHELASTIC_RUN_ID", "none"));
        let nested: [_; 6] = nested.try_into().unwrap();
        assert_eq!(Place::from_environment(&nested.into()).unwrap().world, 1);
        let same = [
            ("OMPI_COMM_WORLD_RANK", "1"),
            ("OMPI_COMM_WORLD_SIZE", "2"),
            ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
            ("OMPI_COMM_WORLD_LOCAL_RANK", "1"),
            ("PMI_RANK", "1"),
            ("PMI_SIZE", "2"),
        ];
        assert_eq!(Place::from_environment(&same.into()).unwrap().local_rank, Some(1));
        assert_eq!(error([("WORLD_SIZE", "4")]), "WORLD_SIZE is 4, but RANK is not set: which rank is this?");
        assert_eq!(
            error([("PMIX_RANK", "0")]),
            "PMIX_RANK is set (PMIx), but not the number of ranks: set PMIX_SIZE or SLURM_STEP_NUM_TASKS or \
             SLURM_NTASKS"
        );
    }

    #[test]
    fn host_lists() {
        for (list, first) in [
            ("host1", Some("host1")),
            ("host1,host2", Some("host1")),
            ("gpu[3,7-9].site,x", Some("gpu3.site")),
            ("gpu[]", None),
            ("gpu[1", None),
            ("r[0-1]n[0-7]", None),
            ("", None),
        ] {
            assert_eq!(first_host(list).as_deref(), first, "{list}");
        }
    }

    #[test]
    fn mistakes_name_the_variable() {
        assert_eq!(
            error([("RANK", "1")]),
            "RANK is set (torchrun), but not the number of ranks: set WORLD_SIZE"
        );
        assert_eq!(error([("RANK", "x"), ("WORLD_SIZE", "2")]), "RANK is \"x\": wanted a number");
        assert_eq!(
            error([("RANK", "2"), ("WORLD_SIZE", "2")]),
            "RANK is 2 and WORLD_SIZE is 2: wanted a rank below the number of ranks"
        );
        assert_eq!(error([("RANK", "0"), ("WORLD_SIZE", "0")]), "WORLD_SIZE is 0: wanted 1 or more");
        let port = [("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_ADDR", "a"), ("MASTER_PORT", "70000")];
        assert_eq!(error(port), "MASTER_PORT is \"70000\": wanted a number");
    }
}
