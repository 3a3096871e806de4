//! API keys from a file of hashes. A key has 256 random bits (`hexagram keys
//! api`), so a plain SHA-256 suffices: there is nothing to guess.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use hexagram_core::{Principal, PrincipalKind};
use hexagram_mcp::error::Problem;
use hexagram_runtime::watched::WatchedFile;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};

use crate::EdgeError;

type Table = HashMap<[u8; 32], Principal>;

/// Hashed keys and whose they are.
pub(crate) struct ApiKeys {
    file: PathBuf,
    table: ArcSwap<Table>,
}

impl ApiKeys {
    /// Reads them; gives also what sees changes of the file from before that.
    pub(crate) fn load(file: &Path) -> Result<(Self, WatchedFile), EdgeError> {
        let watched = WatchedFile::new(file);
        let keys = Self {
            file: file.to_owned(),
            table: ArcSwap::from_pointee(read(file)?),
        };
        Ok((keys, watched))
    }

    pub(crate) fn principal(&self, headers: &HeaderMap) -> Result<Principal, Problem> {
        let key = presented(headers).ok_or(Problem::Unauthorized)?;
        // Looked up by hash: the time it takes tells nothing about a key.
        let table = self.table.load();
        table.get(&hash(key)).cloned().ok_or(Problem::Unauthorized)
    }

    fn reload(&self) {
        match read(&self.file) {
            Ok(table) => {
                tracing::info!(file = %self.file.display(), keys = table.len(), "API keys reloaded");
                self.table.store(Arc::new(table));
            }
            Err(error) => tracing::error!(%error, "API keys not reloaded, the old ones stay"),
        }
    }
}

/// Reloads the keys when their file changes, as long as they are in use.
pub(crate) fn watch(keys: &Arc<ApiKeys>, mut file: WatchedFile) {
    let keys: Weak<ApiKeys> = Arc::downgrade(keys);
    tokio::spawn(async move {
        loop {
            file.changed().await;
            let Some(keys) = keys.upgrade() else { return };
            keys.reload();
        }
    });
}

fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    if let Some(value) = headers.get("x-api-key") {
        return Some(value.as_bytes());
    }
    let value = headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| key.trim_ascii())
}

fn hash(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

/// The hex digest of a key, as the keys file holds it.
pub fn digest(key: &str) -> String {
    hash(key.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn read(file: &Path) -> Result<Table, EdgeError> {
    let text = std::fs::read_to_string(file).map_err(|error| {
        EdgeError::File(format!(
            "cannot read the API keys {}: {error}; check --auth-keys",
            file.display()
        ))
    })?;
    parse(&text).map_err(|error| EdgeError::File(format!("{}:{error}", file.display())))
}

fn parse(text: &str) -> Result<Table, String> {
    let mut table = Table::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<_> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [name, digest] => {
                let key = unhex(digest)
                    .ok_or_else(|| format!("{}: {name}: not a SHA-256 in hex", number + 1))?;
                table.insert(key, Principal::new(PrincipalKind::ApiKey, name));
            }
            _ => return Err(format!("{}: expected `NAME SHA256`", number + 1)),
        }
    }
    Ok(table)
}

fn unhex(text: &str) -> Option<[u8; 32]> {
    let mut out = [0; 32];
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        let pair = std::str::from_utf8(pair).ok()?;
        *byte = u8::from_str_radix(pair, 16).ok()?;
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use http::HeaderValue;

    fn keys(text: &str) -> ApiKeys {
        ApiKeys {
            file: PathBuf::new(),
            table: ArcSwap::from_pointee(parse(text).expect("a keys file")),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_after_the_first_look_is_not_missed() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("keys");
        std::fs::write(&file, "").expect("written");
        let (keys, watched) = ApiKeys::load(&file).expect("a keys file");
        std::fs::write(&file, format!("alice {}\n", digest("secret"))).expect("written");
        let keys = Arc::new(keys);
        watch(&keys, watched);
        let known = async {
            while ask(&keys, "x-api-key", "secret").is_err() {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        let waited = tokio::time::timeout(Duration::from_secs(10), known).await;
        waited.expect("the new key is known");
    }

    fn ask(keys: &ApiKeys, header: &'static str, value: &'static str) -> Result<String, Problem> {
        let mut headers = HeaderMap::new();
        headers.insert(header, HeaderValue::from_static(value));
        keys.principal(&headers)
            .map(|principal| principal.to_string())
    }

    #[test]
    fn a_known_key_names_its_principal() {
        let keys = keys(&format!("# team\nalice {}\n", digest("secret")));
        assert_eq!(
            ask(&keys, "authorization", "Bearer secret").ok().as_deref(),
            Some("api-key:alice")
        );
        assert_eq!(
            ask(&keys, "authorization", "bearer  secret ")
                .ok()
                .as_deref(),
            Some("api-key:alice")
        );
        assert_eq!(
            ask(&keys, "x-api-key", "secret").ok().as_deref(),
            Some("api-key:alice")
        );
    }

    #[test]
    fn anything_else_is_unauthorized() {
        let keys = keys(&format!("alice {}", digest("secret")));
        for (header, value) in [
            ("authorization", "Bearer Secret"),
            ("authorization", "Basic secret"),
            ("authorization", "Bearer"),
            ("authorization", ""),
            ("x-api-key", ""),
            ("x-other", "secret"),
        ] {
            assert!(
                matches!(ask(&keys, header, value), Err(Problem::Unauthorized)),
                "{header}: {value}"
            );
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        assert_eq!(
            parse("a b c").err().as_deref(),
            Some("1: expected `NAME SHA256`")
        );
        assert_eq!(
            parse("\nbob xyz").err().as_deref(),
            Some("2: bob: not a SHA-256 in hex")
        );
    }
}
