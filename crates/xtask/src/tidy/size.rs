//! A file is one idea: none is longer than [`LONGEST`] lines.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Lines in a Rust file, tests included.
pub const LONGEST: usize = 500;

/// Folders of the workspace that hold Rust code.
const SOURCES: [&str; 3] = ["crates", "operator", "e2e"];

/// The files that are too long.
///
/// # Errors
/// When a folder or file cannot be read.
pub fn problems(root: &Path) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    for file in rust_files(root)? {
        let text = fs::read_to_string(&file).with_context(|| format!("read {}", file.display()))?;
        let lines = text.lines().count();
        if lines > LONGEST {
            let file = file.strip_prefix(root).unwrap_or(&file).display();
            problems.push(format!(
                "{file} has {lines} lines: split it, {LONGEST} is the limit"
            ));
        }
    }
    Ok(problems)
}

/// All Rust files of the workspace.
pub(crate) fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders: Vec<_> = SOURCES.iter().map(|name| root.join(name)).collect();
    folders.retain(|folder| folder.is_dir());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() && !path.ends_with("target") {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_file_that_is_too_long() {
        let root = tempfile::tempdir().unwrap();
        let source = root.path().join("crates/a/src");
        fs::create_dir_all(&source).unwrap();
        fs::create_dir_all(root.path().join("crates/a/fuzz/target")).unwrap();
        let write = |name: &str, lines| {
            fs::write(root.path().join("crates/a").join(name), "x\n".repeat(lines)).unwrap();
        };
        write("src/long.rs", LONGEST + 1);
        write("src/fits.rs", LONGEST);
        write("src/other.txt", LONGEST + 1);
        write("fuzz/target/built.rs", LONGEST + 1);
        let expected = "crates/a/src/long.rs has 501 lines: split it, 500 is the limit";
        assert_eq!(problems(root.path()).unwrap(), [expected]);
    }
}
