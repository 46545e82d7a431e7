//! What a pod's annotations say about its injection.

use serde_json::Value;
use srv6_inject::{Mode, Options, names};

/// What begins the names of all annotations of ours.
const PREFIX: &str = "nccl-net-srv6/";
/// Annotations that injection itself leaves on a pod.
const OURS: [&str; 3] = [names::INJECTED_VERSION, names::PLUGIN_VERSION, names::UNDO];

/// Options for one pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wishes {
    /// The webhook's own, with what the pod wants otherwise.
    pub(super) options: Options,
    /// What can't be understood, each with the value and what is wanted.
    pub(super) mistakes: Vec<String>,
}

/// The text of one of a pod's annotations.
pub(super) fn annotation<'a>(pod: &'a Value, name: &str) -> Option<&'a str> {
    pod.pointer("/metadata/annotations")?.get(name)?.as_str()
}

/// Reads a pod's annotations.
pub(super) fn read(pod: &Value, defaults: &Options) -> Wishes {
    let mut wishes = Wishes { options: defaults.clone(), mistakes: Vec::new() };
    let annotations = pod.pointer("/metadata/annotations").and_then(Value::as_object);
    for (name, value) in annotations.into_iter().flatten() {
        if let (Some(wish), Some(value)) = (name.strip_prefix(PREFIX), value.as_str())
            && !OURS.contains(&name.as_str())
        {
            wishes.take(wish, value);
        }
    }
    wishes
}

impl Wishes {
    fn take(&mut self, wish: &str, value: &str) {
        match wish {
            "mode" => match value {
                "node" => self.options.mode = Mode::Node,
                "sidecar" => self.options.mode = Mode::Sidecar,
                _ => self.mistake(wish, value, "node or sidecar"),
            },
            "shim" => self.switch(wish, value, |options| &mut options.shim),
            "strict" => self.switch(wish, value, |options| &mut options.strict),
            "host-network" => self.switch(wish, value, |options| &mut options.host_network),
            "library-path" => self.switch(wish, value, |options| &mut options.library_path),
            "containers" => {
                let names = value.split(',').map(str::trim).filter(|name| !name.is_empty());
                self.options.containers = names.map(str::to_owned).collect();
            }
            _ => self.mistakes.push(format!(
                "annotation {PREFIX}{wish}: want mode, shim, strict, containers, host-network or library-path"
            )),
        }
    }

    fn switch(&mut self, wish: &str, value: &str, field: fn(&mut Options) -> &mut bool) {
        match value {
            "true" => *field(&mut self.options) = true,
            "false" => *field(&mut self.options) = false,
            _ => self.mistake(wish, value, "true or false"),
        }
    }

    fn mistake(&mut self, wish: &str, value: &str, wanted: &str) {
        self.mistakes.push(format!("annotation {PREFIX}{wish}={value:?}: want {wanted}"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(annotations: &Value) -> Wishes {
        read(&json!({ "metadata": { "annotations": annotations } }), &Options::default())
    }

    #[test]
    fn a_pod_chooses() {
        let wishes = of(&json!({
            "nccl-net-srv6/mode": "sidecar",
            "nccl-net-srv6/shim": "true",
            "nccl-net-srv6/strict": "true",
            "nccl-net-srv6/host-network": "true",
            "nccl-net-srv6/library-path": "true",
            "nccl-net-srv6/containers": "trainer, evaluator,",
            "example.com/mode": "none of ours",
        }));
        let wanted = Options {
            mode: Mode::Sidecar,
            shim: true,
            strict: true,
            host_network: true,
            library_path: true,
            containers: vec!["trainer".to_owned(), "evaluator".to_owned()],
            ..Options::default()
        };
        assert_eq!(wishes, Wishes { options: wanted, mistakes: Vec::new() });
    }

    #[test]
    fn a_pod_takes_back_what_the_webhook_would_do() {
        let defaults = Options { shim: true, strict: true, mode: Mode::Sidecar, ..Options::default() };
        let pod = json!({ "metadata": { "annotations": {
            "nccl-net-srv6/shim": "false", "nccl-net-srv6/strict": "false", "nccl-net-srv6/mode": "node",
        } } });
        assert_eq!(read(&pod, &defaults).options, Options::default());
        assert_eq!(read(&json!({}), &defaults).options, defaults);
    }

    #[test]
    fn mistakes_are_all_told_and_name_value_and_wish() {
        let wishes = of(&json!({
            "nccl-net-srv6/mode": "pod",
            "nccl-net-srv6/strict": "yes",
            "nccl-net-srv6/shmi": "true",
            "nccl-net-srv6/injected-version": "0.1.0",
        }));
        assert_eq!(
            wishes.mistakes,
            [
                "annotation nccl-net-srv6/mode=\"pod\": want node or sidecar",
                "annotation nccl-net-srv6/strict=\"yes\": want true or false",
                "annotation nccl-net-srv6/shmi: want mode, shim, strict, containers, host-network or library-path",
            ]
        );
        assert_eq!(wishes.options, Options::default());
    }
}
