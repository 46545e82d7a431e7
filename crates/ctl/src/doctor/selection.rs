//! Which plugin NCCL chooses, by its own variables: the rules of 2.13 to 2.32 on paper.

use std::fmt;

use super::finding::Finding;
use crate::config::Environment;

/// The name of our tables.
pub(crate) const NAME: &str = "SRv6";

/// A release by its code: 22705 is 2.27.5.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Release(pub(crate) i32);

impl Release {
    /// The newest one whose rules are known.
    pub(crate) const NEWEST: Self = Self(23_299);

    /// 2.28.3 to 2.29.7 forget a plugin's name when they unload it (NVIDIA/nccl issue 1978).
    pub(crate) fn forgets_names(self) -> bool {
        (22_803..=22_907).contains(&self.0)
    }

    /// Whether a plugin is unloaded with the last communicator.
    pub(crate) fn unloads(self) -> bool {
        self.0 >= 22_800
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0 / 10_000, self.0 % 10_000 / 100, self.0 % 100)
    }
}

/// One plugin that NCCL tries to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Item {
    /// As `NCCL_NET_PLUGIN` has it; empty for the default.
    pub(crate) given: String,
    /// File names for the loader, in order.
    pub(crate) files: Vec<String>,
}

/// What a release opens for this value of `NCCL_NET_PLUGIN`, in order.
pub(crate) fn items(release: Release, value: Option<&str>) -> Vec<Item> {
    let named = |item: &str| format!("libnccl-net-{item}.so");
    let item = |given: &str, files: Vec<String>| Item { given: given.to_owned(), files };
    let default = "libnccl-net.so".to_owned();
    let Some(value) = value.filter(|value| !value.is_empty()) else { return vec![item("", vec![default])] };
    let whole = |given: &str| given.starts_with("lib") && given.ends_with(".so");
    match release.0 {
        ..22_100 => vec![item(value, vec![named(value)])],
        22_100..22_700 => vec![item(value, vec![value.to_owned(), named(value)])],
        22_700..22_800 => {
            value.split(',').map(|i| item(i, vec![if whole(i) { i.to_owned() } else { named(i) }])).collect()
        }
        22_800.. => value
            .split(',')
            .take_while(|i| *i != "none")
            .map(|i| {
                let derived = (!i.contains('/') && !whole(i)).then(|| named(i));
                item(i, std::iter::once(i.to_owned()).chain(derived).collect())
            })
            .collect(),
    }
}

/// What the variables say about choosing a plugin of our name, whatever file it comes from.
pub(crate) fn check(release: Option<Release>, environment: &Environment) -> Vec<Finding> {
    let mut findings = vec![plugin(release, environment), net(environment)];
    findings.extend(unloading(release, environment));
    findings.extend(infiniband(environment));
    findings
}

fn plugin(release: Option<Release>, environment: &Environment) -> Finding {
    const CHECK: &str = "nccl.net_plugin";
    let nccl =
        release.map_or_else(|| "NCCL (2.28 or later is assumed)".to_owned(), |known| format!("NCCL {known}"));
    let release = release.unwrap_or(Release::NEWEST);
    let Some(value) = environment.get("NCCL_NET_PLUGIN") else {
        return Finding::warning(
            CHECK,
            "NCCL_NET_PLUGIN is not set: NCCL opens libnccl-net.so only, if there is one",
            "export NCCL_NET_PLUGIN=srv6",
        );
    };
    let failure = |message: String, remedy: &str| Finding::failure(CHECK, message, remedy);
    if value.split(',').any(|item| item.trim() != item) {
        return failure(
            format!("NCCL_NET_PLUGIN={value:?} has blanks, which NCCL takes for part of the name"),
            "export NCCL_NET_PLUGIN=srv6",
        );
    }
    if value == "none" && release.0 >= 22_800 {
        return failure(
            "NCCL_NET_PLUGIN=none switches plugins off".to_owned(),
            "export NCCL_NET_PLUGIN=srv6",
        );
    }
    if value.contains(',') && release.0 < 22_700 {
        return failure(
            format!("NCCL_NET_PLUGIN={value:?} is a list, which {nccl} takes for one name"),
            "export NCCL_NET_PLUGIN=srv6",
        );
    }
    if value.contains('/') && (release.0 < 22_100 || (22_700..22_800).contains(&release.0)) {
        return failure(
            format!("NCCL_NET_PLUGIN={value:?} is a path, which {nccl} puts into libnccl-net-….so"),
            "export NCCL_NET_PLUGIN=srv6, and put the plugin's folder into LD_LIBRARY_PATH",
        );
    }
    if value.ends_with(".so") && release.0 < 22_100 {
        return failure(
            format!(
                "NCCL_NET_PLUGIN={value:?} is a file name, and {nccl} wants only what comes after libnccl-net-"
            ),
            "export NCCL_NET_PLUGIN=srv6",
        );
    }
    let files: Vec<String> = items(release, Some(value)).into_iter().flat_map(|item| item.files).collect();
    Finding::ok(CHECK, format!("NCCL_NET_PLUGIN={value}: {nccl} tries {}", files.join(", ")))
}

fn net(environment: &Environment) -> Finding {
    const CHECK: &str = "nccl.net";
    match environment.get("NCCL_NET") {
        None => Finding::ok(CHECK, "NCCL_NET is not set: NCCL takes the first plugin that works"),
        Some(value) if value.eq_ignore_ascii_case(NAME) => {
            Finding::ok(CHECK, format!("NCCL_NET={value}: NCCL takes this plugin or fails"))
        }
        Some(value) if ["ib", "socket"].iter().any(|own| value.eq_ignore_ascii_case(own)) => {
            Finding::failure(
                CHECK,
                format!("NCCL_NET={value} makes NCCL use its own transport and no plugin"),
                format!(
                    "unset NCCL_NET, or export NCCL_NET={NAME}; SRV6_TRANSPORT={} wraps that transport",
                    value.to_ascii_lowercase()
                ),
            )
        }
        Some(value) => Finding::failure(
            CHECK,
            format!("NCCL_NET={value} is the name of no net here: this plugin is called {NAME}"),
            format!("export NCCL_NET={NAME}, or unset it"),
        ),
    }
}

fn unloading(release: Option<Release>, environment: &Environment) -> Option<Finding> {
    const CHECK: &str = "nccl.ref_count";
    let release = release.filter(|release| release.forgets_names())?;
    Some(match environment.get("NCCL_NET_PLUGIN_REF_COUNT") {
        Some("1") => Finding::ok(CHECK, "NCCL_NET_PLUGIN_REF_COUNT=1 keeps the plugin loaded"),
        other => Finding::warning(
            CHECK,
            format!(
                "NCCL {release} forgets the plugin's name when its last communicator goes (NCCL_NET_PLUGIN_REF_COUNT {}): \
                 communicators after that are unsteered",
                other.map_or_else(|| "is not set".to_owned(), |value| format!("is {value}"))
            ),
            "export NCCL_NET_PLUGIN_REF_COUNT=1",
        ),
    })
}

fn infiniband(environment: &Environment) -> Option<Finding> {
    const CHECK: &str = "nccl.ib_disable";
    let disabled = environment.get("NCCL_IB_DISABLE").is_some_and(|value| value != "0");
    let transport = environment.get("SRV6_TRANSPORT").unwrap_or("auto");
    match (disabled, transport) {
        (true, "ib") => Some(Finding::failure(
            CHECK,
            "SRV6_TRANSPORT=ib, but NCCL_IB_DISABLE leaves NCCL's IB without devices",
            "unset NCCL_IB_DISABLE, or export SRV6_TRANSPORT=socket",
        )),
        (true, _) => {
            Some(Finding::ok(CHECK, "NCCL_IB_DISABLE is set: SRV6_TRANSPORT=auto wraps NCCL's Socket"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::finding::Status;
    use super::*;

    fn files(release: i32, value: &str) -> Vec<Vec<String>> {
        items(Release(release), Some(value)).into_iter().map(|item| item.files).collect()
    }

    #[test]
    fn releases_try_different_files() {
        assert_eq!(items(Release(22_005), None)[0].files, ["libnccl-net.so"]);
        assert_eq!(files(21_803, "srv6"), [["libnccl-net-srv6.so"]]);
        assert_eq!(files(22_105, "srv6"), [["srv6", "libnccl-net-srv6.so"]]);
        assert_eq!(files(22_705, "/opt/x.so,srv6"), [["libnccl-net-/opt/x.so.so"], ["libnccl-net-srv6.so"]]);
        assert_eq!(files(22_705, "libx.so"), [["libx.so"]]);
        assert_eq!(files(22_809, "srv6"), [["srv6", "libnccl-net-srv6.so"]]);
        assert_eq!(files(23_203, "/opt/x.so"), [["/opt/x.so"]]);
        assert!(files(23_203, "none").is_empty());
    }

    #[test]
    fn variables_that_bypass_the_plugin_are_failures() {
        let plain = [("NCCL_NET_PLUGIN", "srv6"), ("NCCL_NET", "")];
        for (name, value, release, check) in [
            ("NCCL_NET", "Socket", 23_203, "nccl.net"),
            ("NCCL_NET", "IB", 21_803, "nccl.net"),
            ("NCCL_NET", "AWS Libfabric", 23_203, "nccl.net"),
            ("NCCL_NET_PLUGIN", " srv6", 23_203, "nccl.net_plugin"),
            ("NCCL_NET_PLUGIN", "none", 22_809, "nccl.net_plugin"),
            ("NCCL_NET_PLUGIN", "ofi,srv6", 22_602, "nccl.net_plugin"),
            ("NCCL_NET_PLUGIN", "/opt/libnccl-net-srv6.so", 22_705, "nccl.net_plugin"),
            ("NCCL_NET_PLUGIN", "libnccl-net-srv6.so", 22_005, "nccl.net_plugin"),
        ] {
            let environment = Environment::from(plain).with(name, value);
            let findings = check_at(release, &environment);
            let worst = findings.iter().max_by_key(|f| f.status).unwrap();
            assert_eq!((worst.check, worst.status), (check, Status::Failure), "{name}={value} {release}");
            assert!(worst.remedy.is_some());
        }
    }

    fn check_at(release: i32, environment: &Environment) -> Vec<Finding> {
        check(Some(Release(release)), environment)
    }

    #[test]
    fn the_usual_spelling_is_fine_with_every_release() {
        let environment = Environment::from([("NCCL_NET_PLUGIN", "srv6"), ("NCCL_NET", "srv6")]);
        for release in [21_803, 22_005, 22_105, 22_602, 22_705, 23_007, 23_203] {
            assert!(check_at(release, &environment).iter().all(|f| f.status == Status::Ok), "{release}");
        }
    }

    #[test]
    fn releases_that_forget_names_want_a_reference_count() {
        let environment = Environment::from([("NCCL_NET_PLUGIN", "srv6")]);
        let found =
            |release| check_at(release, &environment).into_iter().find(|f| f.check == "nccl.ref_count");
        assert_eq!(found(22_809).unwrap().status, Status::Warning);
        assert_eq!((found(22_705), found(23_003)), (None, None));
        let set = environment.clone().with("NCCL_NET_PLUGIN_REF_COUNT", "1");
        assert!(check_at(22_809, &set).iter().all(|f| f.status == Status::Ok));
    }

    #[test]
    fn ib_without_devices_cannot_be_wrapped() {
        let environment = Environment::from([("NCCL_IB_DISABLE", "1"), ("SRV6_TRANSPORT", "ib")]);
        let found = infiniband(&environment).unwrap();
        assert_eq!(found.status, Status::Failure);
        assert_eq!(infiniband(&Environment::from([("NCCL_IB_DISABLE", "0")])), None);
    }
}
