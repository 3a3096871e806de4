//! The dependency graph by crate name: all that the arrows need to know of it.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{DependencyKind, Metadata, Node, PackageId};

/// Why a crate depends on another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// Linked into what is shipped.
    Normal,
    /// Used by the build script.
    Build,
    /// Used by tests, examples and benchmarks.
    Dev,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Normal, Self::Build, Self::Dev];

    fn of(kind: DependencyKind) -> Self {
        match kind {
            DependencyKind::Development => Self::Dev,
            DependencyKind::Build => Self::Build,
            _ => Self::Normal,
        }
    }
}

/// Crates and their direct dependencies. Versions of a crate count as one.
#[derive(Debug, Default)]
pub struct Graph {
    members: BTreeSet<String>,
    with_build_script: BTreeSet<String>,
    imports: BTreeMap<String, BTreeSet<(Kind, String)>>,
    linked: BTreeMap<String, BTreeSet<String>>,
}

impl Graph {
    /// The graph that cargo resolved.
    #[must_use]
    pub fn of(metadata: &Metadata) -> Self {
        let mut graph = Self::default();
        for package in metadata.workspace_packages() {
            graph.add_member(&package.name);
            if package
                .targets
                .iter()
                .any(|target| target.is_custom_build())
            {
                graph.add_build_script(&package.name);
            }
        }
        let nodes = metadata.resolve.iter().flat_map(|resolve| &resolve.nodes);
        nodes.for_each(|node| graph.add_node(metadata, node));
        graph
    }

    fn add_node(&mut self, metadata: &Metadata, node: &Node) {
        let name = |id: &PackageId| metadata[id].name.to_string();
        for dependency in &node.deps {
            for kind in &dependency.dep_kinds {
                self.add_import(&name(&node.id), Kind::of(kind.kind), &name(&dependency.pkg));
            }
        }
    }

    /// Says what is linked into a member when it is built alone; names with `-`.
    pub fn narrow(&mut self, member: &str, linked: BTreeSet<String>) {
        self.linked.insert(member.to_owned(), linked);
    }

    /// Makes `name` a crate of the workspace.
    pub fn add_member(&mut self, name: &str) {
        self.members.insert(name.to_owned());
    }

    /// Notes that `name` has a `build.rs`.
    pub fn add_build_script(&mut self, name: &str) {
        self.with_build_script.insert(name.to_owned());
    }

    /// Notes that `from` depends on `to`.
    pub fn add_import(&mut self, from: &str, kind: Kind, to: &str) {
        let imports = self.imports.entry(from.to_owned()).or_default();
        imports.insert((kind, to.to_owned()));
    }

    /// The crates of the workspace, by name.
    pub fn members(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(String::as_str)
    }

    pub(super) fn is_member(&self, name: &str) -> bool {
        self.members.contains(name)
    }

    pub(super) fn has_build_script(&self, name: &str) -> bool {
        self.with_build_script.contains(name)
    }

    /// What `name` depends on directly, for one of these reasons.
    pub(super) fn imports(&self, name: &str, kinds: &[Kind]) -> impl Iterator<Item = &str> {
        let imports = self.imports.get(name).into_iter().flatten();
        imports
            .filter(|(kind, _)| kinds.contains(kind))
            .map(|(_, import)| import.as_str())
    }

    /// A chain of normal dependencies from one crate to another: the shortest.
    pub(super) fn path<'a>(&'a self, from: &'a str, to: &str) -> Option<Vec<&'a str>> {
        let linked = self.linked.get(from);
        if linked.is_some_and(|linked| !linked.contains(&to.replace('_', "-"))) {
            return None;
        }
        let mut seen = BTreeSet::from([from]);
        let mut paths = vec![vec![from]];
        while !paths.is_empty() {
            let mut longer = Vec::new();
            for path in paths {
                let last = *path.last()?;
                if last == to {
                    return Some(path);
                }
                let next = self.imports(last, &[Kind::Normal]);
                let new = next.filter(|name| seen.insert(name));
                longer.extend(new.map(|name| [&path[..], &[name]].concat()));
            }
            paths = longer;
        }
        None
    }
}
