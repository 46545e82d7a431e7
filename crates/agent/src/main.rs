//! srv6d: the per-host agent.

use std::io::Write;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sd_notify::NotifyState;
use srv6_agent::{
    Agent, Config, Finding, Hinting, Http, Layers, Server, Webhook, WebhookConfig, command, findings,
    read_lines,
};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

/// How often it is looked whether a namespace's time of grace is over.
const TIDY: Duration = Duration::from_secs(1);

/// Longest wait for the connection to VPP to be given up.
const LAST_WAIT: Duration = Duration::from_millis(500);

/// Longest wait for the routes of one namespace to be removed.
const FLUSH_PATIENCE: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    let matches = command().get_matches();
    if let Some(("webhook", matches)) = matches.subcommand() {
        return ended(webhook(WebhookConfig::of(matches)));
    }
    let config = Layers::of_process(&matches)
        .context("reading the settings")
        .and_then(|layers| Config::read(layers).context("settings"));
    let config = match config {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    env_logger::Builder::new().filter_level(config.log).init();
    if matches.get_flag("check") {
        return check(&config);
    }
    ended(serve(config, matches.get_flag("manual"), matches.get_flag("flush")))
}

fn ended(result: anyhow::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

#[allow(
    clippy::print_stderr,
    reason = "there is no log before the settings are read, and a person reads this"
)]
fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("srv6d: {error:#}");
    ExitCode::FAILURE
}

/// Prints what was found, each on a line of its own.
fn check(config: &Config) -> ExitCode {
    let found = findings(config);
    for Finding { what, fault } in &found {
        let line = match fault {
            None => writeln!(std::io::stdout(), "ok      {what}"),
            Some(fault) => writeln!(std::io::stdout(), "FAILED  {what}: {fault}"),
        };
        if line.is_err() {
            return ExitCode::FAILURE;
        }
    }
    if found.iter().all(|finding| finding.fault.is_none()) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Tells systemd, where it waits to be told.
fn tell_supervisor(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        log::warn!("the service manager can't be told: {error}");
    }
}

/// Takes as many descriptors as are allowed: each session needs two, each route one.
fn raise_descriptors() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        log::warn!("descriptors stay limited to {current:?}: {error}");
    }
}

/// One thread on which everything happens that waits for something.
fn event_loop() -> anyhow::Result<Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().context("starting the event loop")
}

/// Answers admission reviews until it is told to stop.
fn webhook(config: WebhookConfig) -> anyhow::Result<()> {
    env_logger::Builder::new().filter_level(config.log).init();
    event_loop()?.block_on(async {
        let mut stop = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
        raise_descriptors();
        let webhook = Webhook::bind(config).context("starting")?;
        log::info!("version={} webhook={} served", env!("CARGO_PKG_VERSION"), webhook.local_addr());
        let told = async {
            tokio::select! {
                _ = stop.recv() => {}
                _ = interrupt.recv() => {}
            }
            log::info!("stopping");
        };
        webhook.serve(told).await.context("serving")?;
        log::info!("stopped");
        Ok(())
    })
}

/// Serves until it is told to stop.
fn serve(config: Config, manual: bool, flush: bool) -> anyhow::Result<()> {
    let event_loop = event_loop()?;
    let served = event_loop.block_on(async {
        let mut stop = signal(SignalKind::terminate()).context("watching for SIGTERM")?;
        let mut interrupt = signal(SignalKind::interrupt()).context("watching for SIGINT")?;
        raise_descriptors();
        // First what tells two agents apart.
        let server = Server::bind(&config.socket, config.group.as_deref()).context("starting")?;
        let agent = Arc::new(Agent::start(config).context("starting")?);
        log::info!("version={} socket={} served", env!("CARGO_PKG_VERSION"), agent.config().socket.display());
        tokio::spawn(Arc::clone(agent.hinting()).run());
        if manual {
            take_hints(agent.hinting())?;
        }
        if let Some(address) = agent.config().http {
            serve_http(address, &agent);
        }
        let (agent_of_clients, leave) = (Arc::clone(&agent), Arc::new(Notify::new()));
        let clients = tokio::spawn(server.serve(agent_of_clients, Arc::clone(&leave)));
        tokio::spawn(refresh(Arc::clone(&agent)));
        tell_supervisor(NotifyState::Ready);
        let mut tidy = tokio::time::interval(TIDY);
        loop {
            tokio::select! {
                _ = stop.recv() => break,
                _ = interrupt.recv() => break,
                _ = tidy.tick() => agent.tidy(),
            }
        }
        tell_supervisor(NotifyState::Stopping);
        agent.hinting().withdraw();
        if !flush {
            // Nothing is given back: jobs go on, and register with the next agent.
            if agent.config().steering.vpp.is_some() {
                agent.hosts().all().iter().for_each(|host| host.steer().settle(LAST_WAIT));
            }
            log::info!("stopped; routes stay for the next agent");
            // An error means that somebody has removed it.
            let _removed = std::fs::remove_file(&agent.config().socket);
            std::process::exit(0);
        }
        let hosts = agent.hosts().all();
        leave.notify_one();
        clients.await.context("closing sessions")?;
        for host in hosts {
            host.steer().tidy();
            host.steer().settle(FLUSH_PATIENCE);
        }
        log::info!("stopped; routes are removed");
        Ok(())
    });
    // A thread that a client holds would be waited for.
    event_loop.shutdown_background();
    served
}

/// Reads paths again and again, give or take a fifth of the period: hosts that were started together must not ask together.
async fn refresh(agent: Arc<Agent>) {
    loop {
        // Without randomness there is no jitter, and nothing worse.
        let random = getrandom::u32().unwrap_or(u32::MAX / 2);
        let factor = 0.8 + 0.4 * f64::from(random) / f64::from(u32::MAX);
        tokio::time::sleep(agent.config().refresh.mul_f64(factor)).await;
        agent.refresh();
    }
}

/// Serves metrics and listings. Without them flows are steered as well, so an address in use doesn't end the agent.
fn serve_http(address: SocketAddr, agent: &Arc<Agent>) {
    let http = match Http::bind(address) {
        Ok(http) => http,
        Err(error) => return log::error!("http={address} not served: {error}"),
    };
    log::info!("http={} served", http.local_addr());
    let agent = Arc::clone(agent);
    tokio::spawn(async move {
        if let Err(error) = http.serve(agent).await {
            log::error!("http={address} not served any more: {error}");
        }
    });
}

/// Takes hints from standard input until that ends, on a thread of its own, since nothing else waits for a line.
fn take_hints(hinting: &Arc<Hinting>) -> anyhow::Result<()> {
    let hinting = Arc::clone(hinting);
    let said = |word: Result<String, String>| match word {
        Ok(done) => writeln!(std::io::stdout(), "{done}"),
        Err(refused) => writeln!(std::io::stderr(), "{refused}"),
    };
    let read = move || {
        if let Err(error) = read_lines(&hinting, std::io::stdin().lock(), said) {
            log::warn!("--manual: {error}");
        }
    };
    std::thread::Builder::new().name("srv6d-manual".to_owned()).spawn(read).context("reading hints")?;
    Ok(())
}
