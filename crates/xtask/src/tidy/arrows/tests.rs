//! Every rule refuses a graph made to break it, and lets a lawful one pass.

use super::*;

use Kind::{Build, Dev, Normal};

type Import = (&'static str, Kind, &'static str);

/// A workspace of all crates that have arrows, with these imports.
fn problems_of(imports: &[Import]) -> Vec<String> {
    let mut graph = Graph::default();
    ARROWS.iter().for_each(|(name, _)| graph.add_member(name));
    for (from, kind, to) in imports {
        graph.add_import(from, *kind, to);
    }
    problems(&graph)
}

#[test]
fn lawful_arrows_pass() {
    let lawful = [
        (EDGE, Normal, CORE),
        (EDGE, Normal, "tokio"),
        (WORKER, Normal, STORE),
        (PROTO, Build, "protox"),
        (OPERATOR, Normal, "kube"),
        ("hexagram", Normal, EDGE),
        ("hexagram", Normal, WORKER),
        (MCP, Dev, PROTO),
        (CORE, Dev, "rand"),
        (CORE, Normal, "sha2"),
    ];
    assert_eq!(problems_of(&lawful), [""; 0]);
}

#[test]
fn forbidden_arrows_are_found() {
    let cases: &[(Import, &str)] = &[
        (
            (EDGE, Normal, WORKER),
            "hexagram-edge must not depend on hexagram-worker",
        ),
        (
            (WORKER, Normal, EDGE),
            "hexagram-worker must not depend on hexagram-edge",
        ),
        (
            (EDGE, Build, STORE),
            "hexagram-edge must not depend on hexagram-store",
        ),
        (
            (CORE, Normal, MCP),
            "hexagram-core must not depend on hexagram-mcp",
        ),
        (
            (RUNTIME, Normal, CORE),
            "hexagram-runtime must not depend on hexagram-core",
        ),
        (
            (EDGE, Dev, WORKER),
            "hexagram-edge must not know hexagram-worker, not even in tests",
        ),
        (
            (WORKER, Dev, EDGE),
            "hexagram-worker must not know hexagram-edge, not even in tests",
        ),
        (
            (EDGE, Normal, "kube"),
            "hexagram-edge must not depend on kube: it is reserved",
        ),
        (
            (WORKER, Dev, "k8s-openapi"),
            "hexagram-worker must not depend on k8s-openapi: it is reserved",
        ),
        (
            (MCP, Build, "prost-build"),
            "hexagram-mcp must not depend on prost-build: it is reserved",
        ),
        (
            (CORE, Normal, "rand"),
            "hexagram-core must stay pure: hexagram-core -> rand",
        ),
    ];
    for (import, expected) in cases {
        assert_eq!(problems_of(&[*import]), [*expected]);
    }
}

#[test]
fn an_impure_crate_is_found_behind_others() {
    let found = problems_of(&[
        (CORE, Normal, "uuid"),
        ("uuid", Normal, "bytes"),
        ("uuid", Normal, "getrandom"),
        ("bytes", Normal, "uuid"),
        ("bytes", Dev, "tokio"),
    ]);
    let expected = "hexagram-core must stay pure: hexagram-core -> uuid -> getrandom";
    assert_eq!(found, [expected]);
}

#[test]
fn a_crate_without_arrows_is_found() {
    let mut graph = Graph::default();
    graph.add_member("hexagram-new");
    let expected = "hexagram-new has no arrows: add it to ARROWS and ARCHITECTURE.md";
    assert_eq!(problems(&graph), [expected]);
}

#[test]
fn a_build_script_elsewhere_is_found() {
    let mut graph = Graph::default();
    for name in [PROTO, EDGE] {
        graph.add_member(name);
        graph.add_build_script(name);
    }
    let expected = "hexagram-edge has a build script: only hexagram-proto generates code";
    assert_eq!(problems(&graph), [expected]);
}
