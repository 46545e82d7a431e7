//! `srv6ctl wait-master`: waits until rank 0 of a job listens, as an init container of the other ranks.

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::config::Environment;

/// Between two tries.
const PAUSE: Duration = Duration::from_secs(1);

/// Between two lines about the same thing.
const SILENCE: Duration = Duration::from_secs(10);

/// Longest wait for one answer, so that a resolver or an address that never answers is told and tried again.
const ANSWER: Duration = Duration::from_secs(5);

/// Waits until rank 0 of a job listens; the exit status is 1 if it doesn't in time
#[derive(Debug, clap::Args)]
pub(crate) struct WaitMasterArgs {
    /// Its name or address [default: MASTER_ADDR]
    #[arg(long, value_name = "HOST")]
    addr: Option<String>,
    /// Its port [default: MASTER_PORT, or 23456]
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    port: Option<u16>,
    /// How long it may take, in seconds, with everything that takes time
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=604_800))]
    timeout: u32,
}

/// What came of one try.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Open(SocketAddr),
    NoName(String),
    NoAnswerOfDns,
    Refused(SocketAddr),
    Silent(SocketAddr),
    Failed(SocketAddr, String),
}

impl fmt::Display for Seen {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open(address) => write!(out, "{address} listens"),
            Self::NoName(reason) => write!(
                out,
                "its name has no address yet ({reason}); a headless Service gives one, and to pods that aren't ready only with publishNotReadyAddresses"
            ),
            Self::NoAnswerOfDns => write!(out, "DNS doesn't answer"),
            Self::Refused(address) => {
                write!(out, "{address} refuses: its pod runs, but rank 0 doesn't listen yet")
            }
            Self::Silent(address) => {
                write!(out, "{address} doesn't answer; a NetworkPolicy may drop what is sent to it")
            }
            Self::Failed(address, reason) => write!(out, "{address}: {reason}"),
        }
    }
}

pub(crate) fn run(args: &WaitMasterArgs) -> anyhow::Result<()> {
    let environment = Environment::of_process();
    if environment.get("RANK") == Some("0") {
        println!("this is rank 0: nobody to wait for");
        return Ok(());
    }
    let (host, port) = target(args, &environment)?;
    let limit = Duration::from_secs(args.timeout.into());
    wait(&host, port, limit, &mut |line| println!("{line}"))
}

fn target(args: &WaitMasterArgs, environment: &Environment) -> anyhow::Result<(String, u16)> {
    let host = args.addr.as_deref().or_else(|| environment.get("MASTER_ADDR"));
    let host = host.context("no master to wait for: want --addr or MASTER_ADDR")?.to_owned();
    let port = match (args.port, environment.get("MASTER_PORT")) {
        (Some(port), _) => port,
        (None, None) => 23456,
        (None, Some(text)) => match text.parse() {
            Ok(port) if port > 0 => port,
            _ => bail!("MASTER_PORT {text:?}: want 1 to 65535"),
        },
    };
    Ok((host, port))
}

/// Tries until somebody listens. `tell` gets a line at first, when what is seen changes, and every ten seconds.
fn wait(host: &str, port: u16, limit: Duration, tell: &mut dyn FnMut(String)) -> anyhow::Result<()> {
    let start = Instant::now();
    tell(format!("waiting up to {} s for {host} port {port}", limit.as_secs()));
    let mut last: Option<(Seen, Instant)> = None;
    loop {
        let left = limit.saturating_sub(start.elapsed());
        let seen = look(host, port, left.min(ANSWER));
        let waited = start.elapsed();
        if matches!(seen, Seen::Open(_)) {
            tell(format!("{seen}, after {:.1} s", waited.as_secs_f64()));
            return Ok(());
        }
        if waited >= limit {
            bail!("{host} port {port}: not there after {:.1} s; {seen}", waited.as_secs_f64());
        }
        // Another address of the same name is no news.
        let news = last.as_ref().is_none_or(|(before, told)| {
            std::mem::discriminant(before) != std::mem::discriminant(&seen) || told.elapsed() >= SILENCE
        });
        if news {
            tell(format!("after {:.0} s: {seen}", waited.as_secs_f64()));
            last = Some((seen, Instant::now()));
        }
        thread::sleep(PAUSE.min(limit.saturating_sub(start.elapsed())));
    }
}

/// One try, of every address that the name has.
fn look(host: &str, port: u16, patience: Duration) -> Seen {
    let start = Instant::now();
    let addresses = match resolve(host, port, patience) {
        Ok(addresses) => addresses,
        Err(seen) => return seen,
    };
    let mut seen = Seen::NoName("no address at all".to_owned());
    for address in addresses {
        // At least long enough for a host of the same network.
        let left = patience.saturating_sub(start.elapsed()).max(Duration::from_millis(100));
        seen = match TcpStream::connect_timeout(&address, left) {
            Ok(_) => return Seen::Open(address),
            Err(error) => match error.kind() {
                std::io::ErrorKind::ConnectionRefused => Seen::Refused(address),
                std::io::ErrorKind::TimedOut => Seen::Silent(address),
                _ => Seen::Failed(address, error.to_string()),
            },
        };
    }
    seen
}

/// By the system's resolver, on a thread of its own: it can take longer than anybody asked for.
fn resolve(host: &str, port: u16, patience: Duration) -> Result<Vec<SocketAddr>, Seen> {
    let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let (answer, answers) = mpsc::channel();
    thread::spawn(move || {
        let found = (bare.as_str(), port).to_socket_addrs().map(Vec::from_iter);
        // Nobody listens if it took too long.
        let _ = answer.send(found.map_err(|error| error.to_string()));
    });
    match answers.recv_timeout(patience.max(Duration::from_millis(100))) {
        Ok(Ok(addresses)) => Ok(addresses),
        Ok(Err(reason)) => Err(Seen::NoName(reason.replace("failed to lookup address information: ", ""))),
        Err(_) => Err(Seen::NoAnswerOfDns),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    fn waited(host: &str, port: u16, limit: Duration) -> (anyhow::Result<()>, Vec<String>) {
        let mut lines = Vec::new();
        let result = wait(host, port, limit, &mut |line| lines.push(line));
        (result, lines)
    }

    /// A port on which nobody listens: it was somebody's a moment ago.
    fn free_port() -> u16 {
        TcpListener::bind("[::1]:0").unwrap().local_addr().unwrap().port()
    }

    #[test]
    fn one_who_listens_ends_the_wait() {
        let master = TcpListener::bind("[::1]:0").unwrap();
        let port = master.local_addr().unwrap().port();
        for host in ["::1", "[::1]"] {
            let (result, lines) = waited(host, port, Duration::from_secs(60));
            result.unwrap();
            assert_eq!(lines.len(), 2, "{lines:?}");
            assert!(lines[1].contains("listens"), "{lines:?}");
        }
    }

    #[test]
    fn one_who_comes_later_is_found() {
        let port = free_port();
        let (told, telling) = mpsc::channel();
        let waiting = thread::spawn(move || {
            wait("::1", port, Duration::from_secs(60), &mut |line| told.send(line).unwrap())
        });
        let refusal = telling.iter().find(|line| line.contains("refuses")).unwrap();
        assert!(refusal.contains(&format!("[::1]:{port} refuses")), "{refusal}");
        let _master = TcpListener::bind(("::1", port)).unwrap();
        waiting.join().unwrap().unwrap();
    }

    #[test]
    fn a_refusal_and_a_name_without_an_address_are_told_apart() {
        let (result, _) = waited("::1", free_port(), Duration::from_millis(300));
        let error = result.unwrap_err().to_string();
        assert!(error.contains("refuses") && error.contains("not there after"), "{error}");
        let (result, _) = waited("master.invalid", 1, Duration::from_secs(2));
        let error = result.unwrap_err().to_string();
        assert!(error.contains("no address") || error.contains("DNS"), "{error}");
    }

    #[test]
    fn the_target_comes_from_options_then_variables() {
        let args =
            |addr: Option<&str>, port| WaitMasterArgs { addr: addr.map(str::to_owned), port, timeout: 1 };
        let environment = Environment::from([("MASTER_ADDR", "m-0.job"), ("MASTER_PORT", "7")]);
        assert_eq!(target(&args(None, None), &environment).unwrap(), ("m-0.job".to_owned(), 7));
        assert_eq!(target(&args(Some("x"), Some(8)), &environment).unwrap(), ("x".to_owned(), 8));
        let nothing = Environment::default();
        assert_eq!(target(&args(Some("x"), None), &nothing).unwrap().1, 23456);
        assert!(
            target(&args(None, None), &nothing).unwrap_err().to_string().contains("--addr or MASTER_ADDR")
        );
        let wrong = Environment::from([("MASTER_ADDR", "m"), ("MASTER_PORT", "x")]);
        assert_eq!(
            target(&args(None, None), &wrong).unwrap_err().to_string(),
            "MASTER_PORT \"x\": want 1 to 65535"
        );
    }
}
