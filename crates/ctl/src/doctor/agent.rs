//! Whether an agent answers, for settings that ask for one.

use std::os::unix::net::UnixStream;
use std::path::Path;

use srv6_steer::AGENT_SOCKET;

use super::finding::Finding;
use crate::config::Environment;

/// Looks at the agent's socket.
pub(crate) fn check(environment: &Environment) -> Finding {
    const CHECK: &str = "agent";
    let socket = environment.get("SRV6_AGENT_SOCKET").unwrap_or(AGENT_SOCKET);
    let mode = environment.get("SRV6_MODE").unwrap_or("auto");
    let present = Path::new(socket).exists();
    let answers = present.then(|| UnixStream::connect(socket));
    match (mode, answers) {
        ("agent", None) => Finding::failure(
            CHECK,
            format!("SRV6_MODE=agent, but there is no {socket}"),
            "start srv6d, or export SRV6_MODE=local",
        ),
        (_, Some(Err(error))) => Finding::warning(
            CHECK,
            format!("{socket} is there but takes no connection ({error})"),
            format!("start srv6d, or remove {socket}"),
        ),
        (_, Some(Ok(_))) => Finding::ok(CHECK, format!("an agent takes connections at {socket}")),
        (_, None) => Finding::ok(CHECK, "no agent: the plugin installs routes itself"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    #[test]
    fn an_agent_that_is_asked_for_must_be_there() {
        let environment =
            Environment::from([("SRV6_AGENT_SOCKET", "/nonexistent/agent.sock"), ("SRV6_MODE", "agent")]);
        assert_eq!(check(&environment).status, Status::Failure);
        assert_eq!(check(&environment.with("SRV6_MODE", "auto")).status, Status::Ok);
    }

    #[test]
    fn a_socket_is_asked_and_not_only_looked_at() {
        let folder = std::env::temp_dir().join(format!("srv6ctl-agent-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let socket = folder.join("agent.sock");
        let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let environment = Environment::default()
            .with("SRV6_AGENT_SOCKET", socket.to_str().unwrap())
            .with("SRV6_MODE", "agent");
        assert_eq!(check(&environment).status, Status::Ok);
        drop(listener);
        assert_eq!(check(&environment).status, Status::Warning);
        std::fs::remove_dir_all(folder).unwrap();
    }
}
