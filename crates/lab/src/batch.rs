//! Many lines for one run of `ip`, `tc` or `nft`.

use std::io::{self, Write};
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use crate::Error;
use crate::kernel::{Missing, missing};

/// A program that configures the kernel: two of iproute2, and nftables.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tool {
    Ip,
    Tc,
    Nft,
}

/// Where distributions put them; an ordinary user's PATH often lacks the second half.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/bin", "/usr/sbin", "/sbin"];

/// How often a line is tried that the kernel has no memory for, and how long is waited in between. Lightweight
/// tunnels take per-CPU memory that the kernel refills in the background, so a burst of routes can find none.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// Runs lines in the namespaces of the calling thread, up to the first that fails.
///
/// # Errors
/// Names the node, the line and what the tool said about it.
pub(crate) fn run(node: &str, tool: Tool, lines: &[String]) -> Result<(), Error> {
    let mut rest = lines;
    let mut attempts = 0;
    while !rest.is_empty() {
        let output = feed(tool, rest).map_err(|source| Error::Tool {
            node: node.to_owned(),
            tool: tool.name(),
            package: tool.package(),
            source,
        })?;
        if output.status.success() {
            return Ok(());
        }
        let (done, message) = failure(&output);
        let Some(done) = done else {
            // It could not read a line at all, and ends without saying which.
            return Err(refused(
                node,
                format!("{} {}: {}", tool.name(), tool.reading_lines()[0], rest.join("; ")),
                message,
            ));
        };
        if done > 0 {
            attempts = 0;
        }
        rest = rest.get(done..).unwrap_or_default();
        attempts += 1;
        if !message.contains("Cannot allocate memory") || attempts == ATTEMPTS {
            let line = rest.first().map_or("", String::as_str);
            return Err(refused(node, format!("{} {line}", tool.name()), message));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

impl Tool {
    fn name(self) -> &'static str {
        match self {
            Self::Ip => "ip",
            Self::Tc => "tc",
            Self::Nft => "nft",
        }
    }

    fn package(self) -> &'static str {
        match self {
            Self::Ip | Self::Tc => "iproute2",
            Self::Nft => "nftables",
        }
    }

    /// What makes it read lines from its standard input.
    fn reading_lines(self) -> [&'static str; 2] {
        match self {
            Self::Ip | Self::Tc => ["-batch", "-"],
            Self::Nft => ["-f", "-"],
        }
    }
}

fn feed(tool: Tool, lines: &[String]) -> io::Result<Output> {
    let program = DIRECTORIES
        .iter()
        .map(|d| Path::new(d).join(tool.name()))
        .find(|p| p.exists())
        .unwrap_or_else(|| tool.name().into());
    let mut child = Command::new(program)
        .args(tool.reading_lines())
        // The messages are read below.
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut text = lines.join("\n");
    text.push('\n');
    if let Some(mut stdin) = child.stdin.take() {
        match stdin.write_all(text.as_bytes()) {
            // It stops reading at the first line that fails; its answer says which.
            Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(e),
            _ => {}
        }
    }
    child.wait_with_output()
}

/// Lines done before the one that failed, where the tool says which, and what was said about that one.
fn failure(output: &Output) -> (Option<usize>, String) {
    let text = String::from_utf8_lossy(&output.stderr);
    let mut done = None;
    let mut message = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        match line.strip_prefix("Command failed -:").and_then(|n| n.parse::<usize>().ok()) {
            Some(number) => done = number.checked_sub(1),
            None => message.push(line),
        }
    }
    if message.is_empty() {
        message.push("no reason given");
    }
    (done, message.join(" "))
}

fn refused(node: &str, command: String, message: String) -> Error {
    let node = node.to_owned();
    match missing(&command, &message) {
        Some(Missing::Kernel(option)) => Error::Kernel { node, command, message, option },
        Some(Missing::Iproute2(needed)) => Error::OldTool { node, command, message, needed },
        None => Error::Command { node, command, message },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_lines(lines: &[&str]) -> Result<(), Error> {
        let lines: Vec<String> = lines.iter().map(|l| (*l).to_owned()).collect();
        // A thread of its own in its own namespace: the others test beside it.
        crate::Node::create("test").unwrap().run(move || run("test", Tool::Ip, &lines))
    }

    #[test]
    fn the_line_that_failed_is_named_with_the_tools_words() {
        let error = run_lines(&["link set dev lo up", "link set dev nosuch0 up", "link set dev lo down"])
            .unwrap_err();
        let text = error.to_string();
        assert_eq!(text, "test: ip link set dev nosuch0 up: Cannot find device \"nosuch0\"");
    }

    #[test]
    fn a_device_type_that_the_kernel_lacks_is_an_error_with_its_message() {
        let error = run_lines(&["link add name x type nosuchtype"]).unwrap_err().to_string();
        assert!(error.starts_with("test: ip link add name x type nosuchtype: "), "{error}");
    }

    #[test]
    fn a_line_that_the_tool_cannot_read_is_shown_with_its_words() {
        let error =
            run_lines(&["link set dev lo up", "route add 10.0.0.0/8 nexthop dev lo proto"]).unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("test: ip -batch: link set dev lo up; route add 10.0.0.0/8"), "{text}");
    }

    #[test]
    fn nothing_to_do_starts_no_process() {
        run_lines(&[]).unwrap();
    }

    #[test]
    fn a_missing_tool_is_named_with_the_package_to_install() {
        let node = crate::Node::create("test").unwrap();
        let error = node.run(|| {
            for directory in DIRECTORIES {
                // In the node's own mounts only.
                rustix::mount::mount("none", directory, "tmpfs", rustix::mount::MountFlags::empty(), None)
                    .unwrap();
            }
            run("test", Tool::Tc, &["qdisc show".to_owned()]).unwrap_err()
        });
        let text = error.to_string();
        assert!(text.starts_with("test: can't run tc: install iproute2"), "{text}");
    }
}
