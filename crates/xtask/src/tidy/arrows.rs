//! Who may depend on whom: the arrows of ARCHITECTURE.md as tables, and their
//! check over the dependency graph.

mod graph;

pub use graph::{Graph, Kind};

/// The crates of this workspace that a crate may depend on.
enum Ours {
    /// These, and no other.
    Only(&'static [&'static str]),
    /// The binary joins everything.
    Everything,
}

use Ours::{Everything, Only};

const CORE: &str = "hexagram-core";
const MCP: &str = "hexagram-mcp";
const PROTO: &str = "hexagram-proto";
const RUNTIME: &str = "hexagram-runtime";
const TLS: &str = "hexagram-tls";
const UPSTREAMS: &str = "hexagram-upstreams";
const STORE: &str = "hexagram-store";
const CONTROL: &str = "hexagram-control";
const EDGE: &str = "hexagram-edge";
const WORKER: &str = "hexagram-worker";
const OPERATOR: &str = "hexagram-operator";
const E2E: &str = "hexagram-e2e";

/// Every crate and its arrows. They hold for what is shipped; tests may see
/// more, except as [`STRANGERS`] says.
const ARROWS: &[(&str, Ours)] = &[
    (CORE, Only(&[])),
    (RUNTIME, Only(&[])),
    (TLS, Only(&[RUNTIME])),
    (UPSTREAMS, Only(&[])),
    (MCP, Only(&[CORE])),
    (PROTO, Only(&[CORE])),
    (STORE, Only(&[CORE])),
    (CONTROL, Only(&[CORE, PROTO, RUNTIME])),
    (EDGE, Only(&[CORE, MCP, PROTO, RUNTIME])),
    (WORKER, Only(&[CORE, MCP, PROTO, RUNTIME, STORE, UPSTREAMS])),
    (
        OPERATOR,
        Only(&[CORE, PROTO, RUNTIME, CONTROL, TLS, UPSTREAMS]),
    ),
    (
        "hexagram-sim",
        Only(&[CORE, MCP, PROTO, RUNTIME, STORE, CONTROL, EDGE, WORKER]),
    ),
    ("hexagram-bench", Only(&[])),
    ("hexagram", Everything),
    ("xtask", Only(&[])),
    (E2E, Only(&[])),
];

/// Never import each other, not even in tests: only the link joins them.
const STRANGERS: [&str; 2] = [EDGE, WORKER];

/// What a pure crate must not reach, through any number of crates: I/O, time,
/// chance and scheduling come from outside, so that a test can decide them.
const UNREACHABLE: &[(&str, &[&str])] = &[(
    CORE,
    &[
        "tokio",
        "tonic",
        "hyper",
        "axum",
        "rand",
        "getrandom",
        "kube",
    ],
)];

/// Foreign crates that only some of ours may name, tests included.
const RESERVED: &[(&str, &[&str])] = &[
    ("kube", &[OPERATOR, E2E]),
    ("k8s-openapi", &[OPERATOR, E2E]),
    ("prost-build", &[PROTO]),
    ("protox", &[PROTO]),
    ("tonic-prost-build", &[PROTO]),
];

/// The only crate with a build script: code is generated in one place.
const GENERATES: &str = PROTO;

/// What is wrong with one crate of the workspace.
type Rule = fn(&Graph, &str) -> Vec<String>;

const RULES: &[Rule] = &[imports, strangers, reserved, reached, build_script];

/// The arrows that must not be, one line each.
#[must_use]
pub fn problems(graph: &Graph) -> Vec<String> {
    let of = |member| RULES.iter().flat_map(move |rule| rule(graph, member));
    graph.members().flat_map(of).collect()
}

fn imports(graph: &Graph, member: &str) -> Vec<String> {
    let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == member) else {
        let unknown = "has no arrows: add it to ARROWS and ARCHITECTURE.md";
        return vec![format!("{member} {unknown}")];
    };
    let may = |import: &str| match allowed {
        Everything => true,
        Only(names) => names.contains(&import),
    };
    graph
        .imports(member, &[Kind::Normal, Kind::Build])
        .filter(|import| graph.is_member(import) && !may(import))
        .map(|import| format!("{member} must not depend on {import}"))
        .collect()
}

fn strangers(graph: &Graph, member: &str) -> Vec<String> {
    graph
        .imports(member, &[Kind::Dev])
        .filter(|import| STRANGERS.contains(&member) && STRANGERS.contains(import))
        .map(|import| format!("{member} must not know {import}, not even in tests"))
        .collect()
}

fn reserved(graph: &Graph, member: &str) -> Vec<String> {
    let foreign = |import: &str| {
        let rule = RESERVED.iter().find(|(name, _)| *name == import);
        rule.is_some_and(|(_, owners)| !owners.contains(&member))
    };
    graph
        .imports(member, &Kind::ALL)
        .filter(|import| foreign(import))
        .map(|import| format!("{member} must not depend on {import}: it is reserved"))
        .collect()
}

/// The crates that must stay pure.
pub fn pure() -> impl Iterator<Item = &'static str> {
    UNREACHABLE.iter().map(|(member, _)| *member)
}

fn reached(graph: &Graph, member: &str) -> Vec<String> {
    let rule = UNREACHABLE.iter().find(|(name, _)| *name == member);
    let banned = rule.map_or(&[][..], |(_, banned)| banned);
    banned
        .iter()
        .filter_map(|name| graph.path(member, name))
        .map(|path| format!("{member} must stay pure: {}", path.join(" -> ")))
        .collect()
}

fn build_script(graph: &Graph, member: &str) -> Vec<String> {
    let wrong = graph.has_build_script(member) && member != GENERATES;
    let problem = || format!("{member} has a build script: only {GENERATES} generates code");
    wrong.then(problem).into_iter().collect()
}

#[cfg(test)]
mod tests;
