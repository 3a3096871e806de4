//! The file that keeps a register over a restart: replaced as a whole, so that
//! whoever is killed leaves the old map or the new one.

use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use super::RegisterError;
use crate::form::MapForm;

/// What the file holds; `None` where there is none.
pub(super) async fn read(path: &Path) -> Result<Option<MapForm>, RegisterError> {
    let text = match tokio::fs::read(path).await {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(unusable("read", path, &error)),
    };
    serde_json::from_slice(&text)
        .map(Some)
        .map_err(|error| unusable("make sense of", path, &error))
}

pub(super) async fn write(path: &Path, form: &MapForm) -> Result<(), RegisterError> {
    let text = serde_json::to_vec(form).map_err(|error| unusable("write", path, &error))?;
    let target = path.to_owned();
    let replaced = tokio::task::spawn_blocking(move || replace(&target, &text)).await;
    replaced
        .unwrap_or_else(|error| Err(io::Error::other(error)))
        .map_err(|error| unusable("write", path, &error))
}

fn replace(path: &Path, text: &[u8]) -> io::Result<()> {
    let fresh = beside(path);
    let mut file = File::create(&fresh)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&fresh, path)
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    name.into()
}

fn unusable(what: &str, path: &Path, error: &dyn std::fmt::Display) -> RegisterError {
    let path = path.display();
    RegisterError::Unusable(format!("cannot {what} {path}: {error}; check --state"))
}
