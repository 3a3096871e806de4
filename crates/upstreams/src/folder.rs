//! Upstreams as files of one folder, `NAME.toml` each. A file that cannot be used costs its
//! own upstream only.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::{UpstreamFile, UpstreamName, UpstreamText};

/// What such a file's name ends with; other files are none of ours.
const ENDING: &str = "toml";

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("upstream file {}: {reason}", path.display())]
pub struct UpstreamFileError {
    /// The upstream that it is to be, if its name is one.
    pub name: Option<UpstreamName>,
    /// The file.
    pub path: PathBuf,
    /// What is wrong, with the line where that is known. No value stands in it: it may be
    /// a secret.
    pub reason: String,
}

/// What is in a folder.
#[derive(Debug, Default)]
pub struct UpstreamFolder {
    /// Whether there is such a folder. It may be made later, or be gone for a moment.
    pub is_there: bool,
    /// The upstreams, in the order of their names.
    pub files: Vec<UpstreamFile>,
    /// What cannot be used.
    pub errors: Vec<UpstreamFileError>,
}

impl UpstreamFolder {
    /// Reads it. A folder that is not there is empty, and says so.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(folder: &Path) -> io::Result<Self> {
        let Some(paths) = paths(folder)? else {
            return Ok(Self::default());
        };
        let mut all = Self {
            is_there: true,
            ..Self::default()
        };
        for path in paths {
            match read(&path) {
                Ok(file) => all.files.push(file),
                Err(error) => all.errors.push(error),
            }
        }
        Ok(all)
    }
}

/// None where there is no folder.
fn paths(folder: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>()?;
    paths.retain(|path| path.extension().is_some_and(|ending| ending == ENDING));
    paths.sort();
    Ok(Some(paths))
}

fn read(path: &Path) -> Result<UpstreamFile, UpstreamFileError> {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let name = stem.unwrap_or_default().parse::<UpstreamName>();
    let wrong = |reason: String| UpstreamFileError {
        name: name.clone().ok(),
        path: path.to_owned(),
        reason,
    };
    let named = name.clone().map_err(wrong)?;
    let text = fs::read_to_string(path).map_err(|error| wrong(error.to_string()))?;
    let text = UpstreamText::from_toml(&text).map_err(wrong)?;
    text.checked(named).map_err(wrong)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    #[test]
    fn a_file_that_cannot_be_used_leaves_the_others() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        write("git.toml", "url = 'http://git.example/mcp'");
        write("docs.toml", "url = 7");
        write("No.toml", "url = 'http://x'");
        write("notes.txt", "url = 'http://x'");
        let UpstreamFolder { files, errors, .. } = UpstreamFolder::read(folder.path()).unwrap();
        let names: Vec<_> = files.iter().map(|file| file.spec.name.as_str()).collect();
        assert_eq!(names, ["git"]);
        let names: Vec<_> = errors.iter().map(|error| error.name.as_ref()).collect();
        assert_eq!(names, [None, Some(&"docs".parse().unwrap())]);
    }

    #[test]
    fn a_folder_that_is_not_there_is_empty_and_says_so() {
        let folder = tempfile::tempdir().unwrap();
        let later = UpstreamFolder::read(&folder.path().join("later")).unwrap();
        assert!(later.files.is_empty() && later.errors.is_empty() && !later.is_there);
        assert!(UpstreamFolder::read(folder.path()).unwrap().is_there);
    }
}
