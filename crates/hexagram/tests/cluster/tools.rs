//! The binary under test and the tools around it, as `cargo xtask test` names
//! them, or where `cargo xtask tools` puts them.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The binary under test.
pub(crate) fn hexagram() -> PathBuf {
    named("HEXAGRAM_BIN").unwrap_or_else(|| env!("CARGO_BIN_EXE_hexagram").into())
}

/// Node.js.
pub(crate) fn node() -> PathBuf {
    named("HEXAGRAM_NODE").unwrap_or_else(|| "node".into())
}

/// The folder that holds `node_modules`.
pub(crate) fn node_packages() -> PathBuf {
    installed("HEXAGRAM_NODE_PACKAGES", "node")
}

/// Python with `mcp` of both eras.
pub(crate) fn python() -> PathBuf {
    installed("HEXAGRAM_PYTHON", "python/bin/python")
}

/// Python with `mcp` of the legacy era.
pub(crate) fn legacy_python() -> PathBuf {
    installed("HEXAGRAM_PYTHON_1", "python1/bin/python")
}

/// Python with `fastmcp`.
pub(crate) fn fastmcp() -> PathBuf {
    installed("HEXAGRAM_FASTMCP", "fastmcp/bin/python")
}

/// Node.js 22, which the Inspector needs.
pub(crate) fn newest_node() -> PathBuf {
    installed("HEXAGRAM_NODE_22", "node22/node_modules/node/bin/node")
}

/// The entry point of the MCP Inspector.
pub(crate) fn inspector() -> PathBuf {
    let path =
        "inspector/node_modules/@modelcontextprotocol/inspector/clients/launcher/build/index.js";
    installed("HEXAGRAM_INSPECTOR", path)
}

/// The entry point of `@modelcontextprotocol/server-everything`.
pub(crate) fn everything() -> PathBuf {
    node_packages().join("node_modules/@modelcontextprotocol/server-everything/dist/index.js")
}

/// `PATH` with the folder of [`node`] first, for scripts that look it up.
pub(crate) fn path_with_node() -> OsString {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let node = node();
    let folder = node.parent().filter(|folder| folder.is_absolute());
    let folders = folder.map(Path::to_path_buf).into_iter();
    std::env::join_paths(folders.chain(std::env::split_paths(&path))).unwrap()
}

fn named(variable: &str) -> Option<PathBuf> {
    std::env::var_os(variable)
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

fn installed(variable: &str, path: &str) -> PathBuf {
    let found = named(variable).unwrap_or_else(|| cache().join(path));
    assert!(
        found.exists(),
        "{} is missing: run `cargo xtask tools`",
        found.display()
    );
    found
}

fn cache() -> PathBuf {
    named("HEXAGRAM_CACHE")
        .or_else(|| named("XDG_CACHE_HOME").map(|dir| dir.join("hexagram")))
        .or_else(|| named("HOME").map(|dir| dir.join(".cache/hexagram")))
        .expect("HEXAGRAM_CACHE or HOME is set")
}
