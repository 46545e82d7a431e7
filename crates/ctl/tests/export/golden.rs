//! The files of three fabrics, as they stand in `fabrics/`.

use std::path::Path;

use crate::{exported, topology};

/// Files that are compared: with what they are made, of which fabric, and which.
const GOLDEN: [(&[&str], &str, &[&str]); 6] = [
    (&["containerlab", "--name", "lab5"], "4x4", &["lab5.clab.yml", "leaf00/frr.conf", "spine01/frr.conf"]),
    (&["containerlab", "--name", "three"], "3x3", &["three.clab.yml", "leaf02/frr.conf"]),
    (
        &["containerlab", "--name", "dual"],
        "2x2-dual-stack",
        &["dual.clab.yml", "leaf00/frr.conf", "leaf00/sr0.batch", "spine00/frr.conf"],
    ),
    (&["sonic", "--routing", "config-db"], "4x4", &["leaf00/config_db.json", "spine01/config_db.json"]),
    (&["sonic", "--routing", "config-db"], "3x3", &["leaf02/config_db.json"]),
    (&["sonic", "--routing", "config-db", "--partial"], "2x2-dual-stack", &["leaf00/config_db.json"]),
];

#[test]
fn exports_are_what_they_were() {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/export/fabrics");
    for (arguments, fabric, names) in GOLDEN {
        let files = exported(arguments, &topology(fabric));
        for name in names {
            let path = golden.join(fabric).join(name);
            let wanted = std::fs::read_to_string(&path).unwrap();
            assert_eq!(
                files[*name],
                wanted,
                "{} is otherwise; srv6ctl export {} --topology examples/fabrics/{fabric}.json -o DIR writes it",
                path.display(),
                arguments.join(" ")
            );
        }
    }
}
