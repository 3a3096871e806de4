//! The folder outside the tree that keeps what tests need between runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Marks a finished installation; holds the manifest it was made from.
const STAMP: &str = ".hexagram-stamp";

/// Something installed as a whole into a folder of its own.
pub(crate) struct Kit {
    /// The folder's name in the cache.
    pub(crate) name: &'static str,
    /// All that decides what gets installed: another manifest, another installation.
    pub(crate) manifest: &'static str,
    /// The file that is used, relative to the folder.
    pub(crate) file: &'static str,
}

/// `${HEXAGRAM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/hexagram}`.
pub(crate) struct Cache {
    dir: PathBuf,
}

impl Cache {
    /// The cache that the environment names.
    ///
    /// # Errors
    /// When neither `HEXAGRAM_CACHE`, `XDG_CACHE_HOME` nor `HOME` is set.
    pub(crate) fn locate() -> Result<Self> {
        let var = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let dir = var("HEXAGRAM_CACHE")
            .map(PathBuf::from)
            .or_else(|| var("XDG_CACHE_HOME").map(|dir| Path::new(&dir).join("hexagram")))
            .or_else(|| var("HOME").map(|dir| Path::new(&dir).join(".cache/hexagram")))
            .context("no cache folder: set HEXAGRAM_CACHE to a folder outside the tree")?;
        Ok(Self { dir })
    }

    #[cfg(test)]
    pub(crate) fn at(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// Where a kit lives, installed or not.
    pub(crate) fn folder(&self, kit: &Kit) -> PathBuf {
        self.dir.join(kit.name)
    }

    /// A file of the cache that is not installed but written by its user.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// One installer at a time: held until the returned file is dropped.
    pub(crate) fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.dir)
            .with_context(|| format!("create the cache folder {}", self.dir.display()))?;
        let file = File::create(self.dir.join("lock"))?;
        file.lock().context("lock the cache folder")?;
        Ok(file)
    }

    /// The kit's file, when the kit is installed from exactly its manifest.
    pub(crate) fn find(&self, kit: &Kit) -> Option<PathBuf> {
        let stamp = fs::read_to_string(self.folder(kit).join(STAMP)).ok()?;
        let file = self.folder(kit).join(kit.file);
        (stamp == kit.manifest && file.exists()).then_some(file)
    }

    /// As [`Cache::find`], with the fix in the error.
    pub(crate) fn require(&self, kit: &Kit) -> Result<PathBuf> {
        self.find(kit)
            .with_context(|| format!("{} is not installed: run `cargo xtask tools`", kit.name))
    }

    /// Installs the kit unless it is there; an old or broken one is removed first.
    pub(crate) fn ensure(
        &self,
        kit: &Kit,
        install: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        if self.find(kit).is_some() {
            return Ok(());
        }
        let folder = self.folder(kit);
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("remove the old {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)?;
        install(&folder).with_context(|| format!("install {}", kit.name))?;
        fs::write(folder.join(STAMP), kit.manifest)
            .with_context(|| format!("mark {} as installed", folder.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V1: Kit = kit("v1");
    const V2: Kit = kit("v2");

    const fn kit(manifest: &'static str) -> Kit {
        Kit {
            name: "tool",
            manifest,
            file: "bin",
        }
    }

    fn cache() -> (tempfile::TempDir, Cache) {
        let temp = tempfile::tempdir().unwrap();
        let cache = Cache::at(temp.path().join("cache"));
        (temp, cache)
    }

    fn install(folder: &Path) -> Result<()> {
        Ok(fs::write(folder.join("bin"), "")?)
    }

    fn must_not_install(_: &Path) -> Result<()> {
        anyhow::bail!("installed again")
    }

    #[test]
    fn installs_once_per_manifest() {
        let (_temp, cache) = cache();
        cache.ensure(&V1, install).unwrap();
        cache.ensure(&V1, must_not_install).unwrap();
        assert!(cache.require(&V1).is_ok());
        assert!(cache.ensure(&V2, must_not_install).is_err());
    }

    #[test]
    fn installs_again_when_the_file_is_gone() {
        let (_temp, cache) = cache();
        cache.ensure(&V1, install).unwrap();
        fs::remove_file(cache.folder(&V1).join("bin")).unwrap();
        assert!(cache.find(&V1).is_none());
        cache.ensure(&V1, install).unwrap();
        assert!(cache.find(&V1).is_some());
    }

    #[test]
    fn a_failed_installation_is_done_again_from_nothing() {
        let (_temp, cache) = cache();
        let broken = cache.ensure(&V1, |folder| {
            install(folder)?;
            fs::write(folder.join("half"), "")?;
            anyhow::bail!("no network")
        });
        assert!(broken.is_err());
        assert!(cache.find(&V1).is_none());
        cache.ensure(&V1, install).unwrap();
        assert!(!cache.folder(&V1).join("half").exists());
    }

    #[test]
    fn a_second_installer_waits() {
        let (_temp, cache) = cache();
        let held = cache.lock().unwrap();
        let other = File::open(cache.dir.join("lock")).unwrap();
        assert!(other.try_lock().is_err());
        drop(held);
        other.try_lock().unwrap();
    }
}
