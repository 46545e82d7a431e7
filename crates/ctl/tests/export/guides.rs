//! What the guides tell people to type.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

const GUIDES: [&str; 2] = ["docs/EXPORT.md", "examples/lab5/CONTAINERLAB.md"];

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Runs every export of a guide in a folder, from which the examples are where they are from the repository's root.
fn run(guide: &str, folder: &Path) -> usize {
    let page = std::fs::read_to_string(repository().join(guide)).unwrap();
    let commands = page.lines().map(str::trim).filter_map(|line| line.strip_prefix("srv6ctl export "));
    let mut count = 0;
    for line in commands {
        let words = line.split('#').next().unwrap().split_whitespace();
        let mut command = Command::new(env!("CARGO_BIN_EXE_srv6ctl"));
        let output = command.arg("export").args(words).current_dir(folder).output().unwrap();
        assert!(output.status.success(), "{guide}: {line}: {}", crate::text(&output.stderr));
        count += 1;
    }
    count
}

#[test]
fn their_exports_work_and_write_what_they_name() {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("guides-{}", std::process::id()));
    let _absent = std::fs::remove_dir_all(&folder);
    std::fs::create_dir_all(&folder).unwrap();
    symlink(repository().join("examples"), folder.join("examples")).unwrap();
    let counts = GUIDES.map(|guide| run(guide, &folder));
    assert_eq!(counts, [3, 2]);
    for name in [
        "lab5/lab5.clab.yml",
        "lab5/leaf02/config_db.json",
        "lab5/leaf02/sr0.batch",
        "frr/leaf00/sysctl.conf",
    ] {
        assert!(folder.join(name).is_file(), "{name}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn their_containers_are_nodes_of_the_fabric() {
    let page = std::fs::read_to_string(repository().join(GUIDES[1])).unwrap();
    let plan = crate::plan("4x4");
    let mut named = 0;
    for piece in page.split("clab-lab5-").skip(1) {
        let node = piece.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
        assert!(plan.node(node).is_some(), "clab-lab5-{node}");
        named += 1;
    }
    assert!(named > 5, "{named}");
}
