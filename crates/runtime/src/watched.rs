//! Files that may change while the process runs.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often a file is looked at.
const POLL: Duration = Duration::from_secs(1);

/// When a file, or each of a folder's, was written, and its length in bytes; none while it
/// is not there.
type Stamp = Option<Vec<(SystemTime, u64)>>;

/// A file, or a folder with its files, that is looked at every second.
///
/// Polls, because a mounted Kubernetes Secret or ConfigMap changes by a swapped
/// symlink that file watchers miss.
#[derive(Clone, Debug)]
pub struct WatchedFile {
    path: PathBuf,
    seen: Stamp,
}

impl WatchedFile {
    /// Watches from now on.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            seen: stamp(path),
        }
    }

    /// Waits until the file is another than before, or gone, and has been so for
    /// a second: a file is not written at once.
    pub async fn changed(&mut self) {
        let mut last = self.seen.clone();
        loop {
            tokio::time::sleep(POLL).await;
            let now = stamp(&self.path);
            if now != self.seen && now == last {
                self.seen = now;
                return;
            }
            last = now;
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let mut stamps = vec![stamp_of_one(path)?];
    if let Ok(files) = std::fs::read_dir(path) {
        let files = files.filter_map(|file| stamp_of_one(&file.ok()?.path()));
        stamps.extend(files);
        // No order is promised for a folder.
        stamps.sort_unstable();
    }
    Some(stamps)
}

fn stamp_of_one(path: &Path) -> Option<(SystemTime, u64)> {
    let meta = std::fs::metadata(path).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    async fn is_changed(watched: &mut WatchedFile) -> bool {
        tokio::time::timeout(5 * POLL, watched.changed())
            .await
            .is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        fs::write(&path, "a").expect("written");
        let mut watched = WatchedFile::new(&path);
        assert!(!is_changed(&mut watched).await);
        fs::write(&path, "ab").expect("written");
        assert!(is_changed(&mut watched).await);
        assert!(!is_changed(&mut watched).await);
        fs::remove_file(&path).expect("removed");
        assert!(is_changed(&mut watched).await);
        fs::write(&path, "abc").expect("written");
        assert!(is_changed(&mut watched).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_folder_changes_with_its_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        fs::write(&path, "a").expect("written");
        let mut watched = WatchedFile::new(folder.path());
        assert!(!is_changed(&mut watched).await);
        fs::write(&path, "ab").expect("written");
        assert!(is_changed(&mut watched).await);
        fs::write(folder.path().join("g"), "").expect("written");
        assert!(is_changed(&mut watched).await);
        fs::remove_file(&path).expect("removed");
        assert!(is_changed(&mut watched).await);
        assert!(!is_changed(&mut watched).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_that_is_still_written_is_waited_for() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("f");
        let mut watched = WatchedFile::new(&path);
        let changed = watched.changed();
        tokio::pin!(changed);
        for length in 1..5 {
            fs::write(&path, "x".repeat(length)).expect("written");
            let early = tokio::time::timeout(POLL, &mut changed).await;
            assert!(early.is_err(), "at length {length}");
        }
        changed.await;
    }
}
