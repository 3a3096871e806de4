//! Where the tests run, as `cargo xtask e2e` tells them.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Context, Result};

/// What every variable of ours is for.
const STARTED_BY: &str = "these tests are started by `cargo xtask e2e`, which brings the cluster";

/// A cluster, and what to do there.
#[derive(Debug, Clone)]
pub struct Setting {
    /// Reaches the cluster.
    pub kubeconfig: PathBuf,
    /// Everything is installed there.
    pub namespace: String,
    /// The image that the nodes have or can pull.
    pub image: String,
    /// The same under another tag, for upgrades.
    pub next_image: Option<String>,
    /// A Redis that nodes have or can pull, for `valkey`.
    pub store_image: Option<String>,
    /// A metrics-server that nodes have or can pull.
    pub metrics_image: Option<String>,
    /// The MCP endpoint, as clients outside reach it.
    pub url: String,
    /// Report and evidence go there.
    pub folder: PathBuf,
    /// Makes the load.
    pub binary: PathBuf,
    /// Clients of each era.
    pub clients: u32,
    /// Calls a second of each client.
    pub rate: f64,
    /// How long a load lasts that is there for its figures.
    pub seconds: u64,
    /// How long the control plane is away.
    pub outage: Duration,
    /// The workspace.
    pub root: PathBuf,
}

impl Setting {
    /// Reads the variables.
    ///
    /// # Errors
    /// When one is missing: nobody ran these tests as they are to be run.
    pub fn read() -> Result<Self> {
        Ok(Self {
            kubeconfig: variable("HEXAGRAM_E2E_KUBECONFIG")?,
            namespace: variable("HEXAGRAM_E2E_NAMESPACE")?,
            image: variable("HEXAGRAM_E2E_IMAGE")?,
            next_image: optional("HEXAGRAM_E2E_NEXT_IMAGE"),
            store_image: optional("HEXAGRAM_E2E_STORE_IMAGE"),
            metrics_image: optional("HEXAGRAM_E2E_METRICS_IMAGE"),
            url: variable("HEXAGRAM_E2E_URL")?,
            folder: variable("HEXAGRAM_E2E_FOLDER")?,
            binary: variable("HEXAGRAM_BIN")?,
            clients: variable("HEXAGRAM_E2E_CLIENTS")?,
            rate: variable("HEXAGRAM_E2E_RATE")?,
            seconds: variable("HEXAGRAM_E2E_SECONDS")?,
            outage: Duration::from_secs(variable("HEXAGRAM_E2E_OUTAGE")?),
            root: root()?,
        })
    }

    /// The chart under test.
    #[must_use]
    pub fn chart(&self) -> PathBuf {
        self.root.join("charts/hexagram")
    }

    /// `HOST:PORT` of the endpoint.
    #[must_use]
    pub fn authority(&self) -> &str {
        let (_, rest) = self.url.split_once("://").unwrap_or(("", &self.url));
        rest.split_once('/')
            .map_or(rest, |(authority, _)| authority)
    }
}

fn variable<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(name: &str) -> Result<T> {
    let value = std::env::var(name).with_context(|| format!("{name} is not set: {STARTED_BY}"))?;
    value
        .parse()
        .with_context(|| format!("read {name}={value}"))
}

/// What a cluster may lack: the scenarios that need it say so and do not run.
fn optional(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn root() -> Result<PathBuf> {
    let here = std::env::var_os("CARGO_MANIFEST_DIR").context(STARTED_BY)?;
    let root = Path::new(&here).parent();
    Ok(root.context("e2e/ is in the workspace")?.to_owned())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn setting(url: &str) -> Setting {
        Setting {
            kubeconfig: "kubeconfig".into(),
            namespace: "tests".to_owned(),
            image: "hexagram:e2e".to_owned(),
            next_image: None,
            store_image: None,
            metrics_image: None,
            url: url.to_owned(),
            folder: "folder".into(),
            binary: "hexagram".into(),
            clients: 50,
            rate: 1.0,
            seconds: 60,
            outage: Duration::from_secs(60),
            root: "root".into(),
        }
    }

    #[test]
    fn the_authority_is_between_scheme_and_path() {
        let setting = setting("http://127.0.0.1:30080/mcp");
        assert_eq!(setting.authority(), "127.0.0.1:30080");
    }

    #[test]
    fn a_missing_variable_says_who_sets_it() {
        let error = variable::<String>("HEXAGRAM_E2E_NO_SUCH_THING").unwrap_err();
        assert!(error.to_string().contains("cargo xtask e2e"), "{error}");
    }
}
