//! A Volcano Job's own arguments of the plugin `pytorch`, read as the plugin reads them.
//!
//! It uses Go's package `flag`, which stops at the first argument that it can't take; what stands behind keeps its default.

use serde_json::Value;

use crate::Pytorch;

/// What a job that lists the plugin says about its group; the wait stays as it was asked for here.
pub(super) fn of_job(job: &Value, asked: &Pytorch) -> Pytorch {
    let defaults = Pytorch::default();
    let mut own =
        Pytorch { master: defaults.master, worker: defaults.worker, port: defaults.port, ..asked.clone() };
    let arguments = job.pointer("/spec/plugins/pytorch").and_then(Value::as_array).into_iter().flatten();
    let mut arguments = arguments.filter_map(Value::as_str);
    while let Some(flag) = arguments.next().and_then(name_and_value) {
        let is_switch = flag.0 == "wait-master-enabled";
        let value = match flag.1 {
            Some(value) => value,
            None if is_switch => "true",
            None => match arguments.next() {
                Some(value) => value,
                None => break,
            },
        };
        match (flag.0, value.parse()) {
            ("master", _) => value.clone_into(&mut own.master),
            ("worker", _) => value.clone_into(&mut own.worker),
            ("port", Ok(port)) => own.port = port,
            ("wait-master-timeout" | "wait-master-enabled" | "wait-master-image", _) => {}
            _ => break,
        }
    }
    own
}

fn name_and_value(argument: &str) -> Option<(&str, Option<&str>)> {
    let flag = argument.strip_prefix("--").or_else(|| argument.strip_prefix('-'))?;
    let (name, value) = flag.split_once('=').map_or((flag, None), |(name, value)| (name, Some(value)));
    (!name.is_empty() && !name.starts_with('-')).then_some((name, value))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn arguments_are_read_as_gos_flags_are() {
        let asked = Pytorch {
            master: "boss".to_owned(),
            port: 1,
            wait: true,
            wait_timeout_s: 9,
            ..Pytorch::default()
        };
        for (arguments, wanted) in [
            (json!([]), ("master", "worker", 23456)),
            (json!(["--master=m", "-worker=w", "--port", "5000"]), ("m", "w", 5000)),
            (json!(["--wait-master-enabled", "--port=5000"]), ("master", "worker", 5000)),
            (json!(["--port=many", "--master=m"]), ("master", "worker", 23456)),
            (json!(["--unknown", "--master=m"]), ("master", "worker", 23456)),
            (json!(["--", "--master=m"]), ("master", "worker", 23456)),
            (json!(["--master"]), ("master", "worker", 23456)),
        ] {
            let own = of_job(&json!({ "spec": { "plugins": { "pytorch": arguments } } }), &asked);
            assert_eq!((own.master.as_str(), own.worker.as_str(), own.port), wanted, "{arguments}");
            assert_eq!((own.wait, own.wait_timeout_s), (true, 9));
        }
    }
}
