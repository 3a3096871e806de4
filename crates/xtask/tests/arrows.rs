//! This workspace keeps its own rules: dependency arrows, manifests, file sizes.

use std::path::Path;

#[test]
fn the_tree_is_tidy() {
    let root = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap()).join("../..");
    let problems = xtask::tidy::problems(&root.canonicalize().unwrap()).unwrap();
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}
