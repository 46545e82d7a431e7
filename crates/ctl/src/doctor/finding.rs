//! What a check found, and how it is told.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    /// As it should be.
    Ok,
    /// Nothing wrong, but worth knowing.
    Note,
    /// Works, and worse or less safely than it could.
    Warning,
    /// Connections will not be steered, or not arrive.
    Failure,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Failure => "failure",
        }
    }
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// `AREA.CHECK`; stays the same between versions.
    pub(crate) check: &'static str,
    pub(crate) status: Status,
    /// What was found, with the values.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) remedy: Option<String>,
}

impl Finding {
    pub(crate) fn ok(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, status: Status::Ok, message: message.into(), remedy: None }
    }

    pub(crate) fn note(check: &'static str, message: impl Into<String>) -> Self {
        Self { check, status: Status::Note, message: message.into(), remedy: None }
    }

    pub(crate) fn warning(
        check: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { check, status: Status::Warning, message: message.into(), remedy: Some(remedy.into()) }
    }

    pub(crate) fn failure(
        check: &'static str,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self { check, status: Status::Failure, message: message.into(), remedy: Some(remedy.into()) }
    }

    /// The same with a remedy.
    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// All findings, in the order of the checks.
#[derive(Debug, Default)]
pub(crate) struct Report(pub(crate) Vec<Finding>);

impl Report {
    /// The worst status of all.
    pub(crate) fn worst(&self) -> Status {
        self.0.iter().map(|f| f.status).max().unwrap_or(Status::Ok)
    }

    /// 0 for nothing worse than a note, 1 for warnings, 2 for failures: what monitoring systems expect of a check.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self.worst() {
            Status::Ok | Status::Note => ExitCode::SUCCESS,
            Status::Warning => ExitCode::from(1),
            Status::Failure => ExitCode::from(2),
        }
    }

    /// Keys: `worst`, `counts` by status, `findings` with `check`, `status`, `message`, `remedy`.
    pub(crate) fn as_json(&self) -> serde_json::Value {
        let counts: serde_json::Map<String, serde_json::Value> =
            STATUSES.iter().map(|&status| (status.name().to_owned(), self.count(status).into())).collect();
        serde_json::json!({ "worst": self.worst(), "counts": counts, "findings": self.0 })
    }

    fn count(&self, status: Status) -> usize {
        self.0.iter().filter(|f| f.status == status).count()
    }
}

const STATUSES: [Status; 4] = [Status::Ok, Status::Note, Status::Warning, Status::Failure];

fn counted(count: usize, status: Status) -> String {
    let plural = if count == 1 || status == Status::Ok { "" } else { "s" };
    format!("{count} {}{plural}", status.name())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.0.iter().map(|finding| finding.check.len()).max().unwrap_or(0);
        for Finding { check, status, message, remedy } in &self.0 {
            writeln!(f, "{:<7}  {check:<width$}  {message}", status.name())?;
            if let Some(remedy) = remedy {
                writeln!(f, "{:<7}  {:<width$}  -> {remedy}", "", "")?;
            }
        }
        let counts: Vec<String> =
            STATUSES.iter().map(|&status| counted(self.count(status), status)).collect();
        write!(f, "{}", counts.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        Report(vec![
            Finding::ok("kernel.encap", "encap works"),
            Finding::note("agent", "none"),
            Finding::warning("nccl.release", "NCCL 2.28.9 forgets", "export NCCL_NET_PLUGIN_REF_COUNT=1"),
            Finding::failure("route.block", "no route to fc00::/32", "ip -6 route add fc00::/32 via GATEWAY"),
        ])
    }

    #[test]
    fn text_is_a_line_per_check_with_the_remedy_below() {
        let text = "\
ok       kernel.encap  encap works
note     agent         none
warning  nccl.release  NCCL 2.28.9 forgets
                       -> export NCCL_NET_PLUGIN_REF_COUNT=1
failure  route.block   no route to fc00::/32
                       -> ip -6 route add fc00::/32 via GATEWAY
1 ok, 1 note, 1 warning, 1 failure";
        assert_eq!(report().to_string(), text);
    }

    #[test]
    fn json_has_the_documented_keys() {
        let json = report().as_json();
        assert_eq!(counted(2, Status::Warning), "2 warnings");
        assert_eq!(json["worst"], "failure");
        assert_eq!(json["counts"], serde_json::json!({"ok": 1, "note": 1, "warning": 1, "failure": 1}));
        assert_eq!(
            json["findings"][2],
            serde_json::json!({
                "check": "nccl.release",
                "status": "warning",
                "message": "NCCL 2.28.9 forgets",
                "remedy": "export NCCL_NET_PLUGIN_REF_COUNT=1",
            })
        );
        assert_eq!(json["findings"][0]["remedy"], serde_json::Value::Null);
    }

    #[test]
    fn the_worst_finding_decides() {
        assert_eq!(Report::default().worst(), Status::Ok);
        let mut report = report();
        assert_eq!(report.worst(), Status::Failure);
        report.0.pop();
        assert_eq!(report.worst(), Status::Warning);
        report.0.pop();
        assert_eq!(report.worst(), Status::Note);
    }
}
