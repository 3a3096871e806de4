//! What is generated from this crate's types and kept in the tree.

#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot use")]

use std::path::Path;

#[test]
fn the_charts_definitions_are_those_of_the_types() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap();
    let file = Path::new(&here).join("../charts/hexagram/files/crds.yaml");
    let written = std::fs::read_to_string(file).unwrap();
    assert!(
        written == hexagram_operator::crds().unwrap(),
        "the types have changed: `hexagram crd > charts/hexagram/files/crds.yaml`"
    );
}
