//! The key ring: what the processes report of it, and asking for another key.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::kubectl::{Pod, Role};
use crate::scene::Scene;
use crate::wait;

/// A mounted Secret follows within about two minutes; the operator looks every ten seconds.
const TAKEN: Duration = Duration::from_secs(240);
const RING: &str = "hexagram-keys";
/// Longer ago than any session id may be old.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

impl Scene {
    /// Asks the operator for another key.
    ///
    /// # Errors
    /// When the Secret cannot be annotated.
    pub async fn ask_for_a_key(&self) -> Result<()> {
        let ask = "hexagram.dev/rotate-keys=now";
        self.annotate_ring(ask).await
    }

    async fn annotate_ring(&self, annotation: &str) -> Result<()> {
        let annotate = ["annotate", "--overwrite", "secret", RING, annotation];
        self.kubectl.run(&annotate).await.map(|_| ())
    }

    /// Waits until the operator notes that nobody mints with any of these keys, and writes
    /// into the note that this was long ago: nobody waits a day for a drop.
    ///
    /// # Errors
    /// With the note.
    pub async fn keys_left_long_ago(&self, keys: &[String]) -> Result<()> {
        wait::until("keys that left", TAKEN, async || {
            let secret = self.kubectl.get(&["secret", RING]).await?;
            let note = secret["metadata"]["annotations"]["hexagram.dev/key-history"].as_str();
            let note = note.context("nothing is noted of the keys")?;
            let aged = aged(note, keys)
                .with_context(|| format!("not all of {keys:?} have left: {note}"))?;
            let annotation = format!("hexagram.dev/key-history={aged}");
            self.annotate_ring(&annotation).await
        })
        .await
    }

    /// Waits until no edge and no worker opens with any of these keys.
    ///
    /// # Errors
    /// With who does.
    pub async fn keys_are_dropped(&self, dropped: &[String]) -> Result<()> {
        wait::until("the drop of the old key", TAKEN, async || {
            for role in [Role::Edge, Role::Worker] {
                for pod in self.serving(role).await? {
                    let mut keys = self.keys_of(&pod).await?;
                    keys.retain(|key| dropped.contains(key));
                    ensure!(keys.is_empty(), "{} still opens with {keys:?}", pod.name);
                }
            }
            Ok(())
        })
        .await
    }

    /// The keys that a worker opens with, the one that it mints with first.
    ///
    /// # Errors
    /// When no worker tells.
    pub async fn keys(&self) -> Result<Vec<String>> {
        self.keys_of(&self.pod(Role::Worker).await?).await
    }

    /// Waits until every edge and worker opens with a key that is none of `known`; that key.
    ///
    /// # Errors
    /// With who does not.
    pub async fn another_key_opens(&self, known: &[String]) -> Result<String> {
        wait::until("another key everywhere", TAKEN, async || {
            let mut keys = self.keys().await?;
            keys.retain(|key| !known.contains(key));
            let key = keys.pop().context("there is no other key")?;
            for role in [Role::Edge, Role::Worker] {
                for pod in self.serving(role).await? {
                    let opens = self.keys_of(&pod).await?.contains(&key);
                    ensure!(opens, "{} does not open with {key}", pod.name);
                }
            }
            Ok(key)
        })
        .await
    }

    /// Waits until every worker mints with this key.
    ///
    /// # Errors
    /// With who does not.
    pub async fn key_mints(&self, key: &str) -> Result<()> {
        wait::until(format!("{key} mints"), TAKEN, async || {
            for pod in self.serving(Role::Worker).await? {
                let keys = self.keys_of(&pod).await?;
                let mints = keys.first().is_some_and(|first| first == key);
                ensure!(mints, "{} has {keys:?}", pod.name);
            }
            Ok(())
        })
        .await
    }

    async fn keys_of(&self, pod: &Pod) -> Result<Vec<String>> {
        let status = self.kubectl.status(&pod.name).await?;
        let keys = status["keys"].as_array().into_iter().flatten();
        let keys = keys.filter_map(Value::as_str);
        Ok(keys.map(str::to_owned).collect())
    }
}

/// The note of keys with the time of each that left replaced: a run that broke off may have
/// left one behind. `None` while one of `keys` has not left; of one that is not in the note
/// nothing is to be waited for.
fn aged(note: &str, keys: &[String]) -> Option<String> {
    let one = |noted: &str| match noted.split_once(" left ") {
        Some((key, _)) => Some(format!("{key} left {LONG_AGO}")),
        None => {
            let stays = keys.iter().any(|key| noted.starts_with(key.as_str()));
            (!stays).then(|| noted.to_owned())
        }
    };
    let all: Option<Vec<_>> = note.split(", ").map(one).collect();
    Some(all?.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: &str = "2026-01-02T03:04:05Z";

    fn aged_for(keys: &[&str], note: &str) -> Option<String> {
        let keys: Vec<_> = keys.iter().map(|&key| key.to_owned()).collect();
        aged(note, &keys)
    }

    #[test]
    fn whoever_left_did_so_long_ago() {
        let note = format!("0a left {AT}, 0b mints {AT}, 0c left {AT}");
        let long_ago = format!("0a left {LONG_AGO}, 0b mints {AT}, 0c left {LONG_AGO}");
        assert_eq!(aged_for(&["0c"], &note), Some(long_ago));
    }

    #[test]
    fn a_key_that_left_before_is_not_the_one_that_is_to_leave() {
        for stage in ["mints", "leaves"] {
            let note = format!("0a left {AT}, 0b {stage} {AT}");
            assert_eq!(aged_for(&["0b", "0a"], &note), None);
        }
    }

    #[test]
    fn a_key_that_is_dropped_is_not_waited_for() {
        let note = format!("0b mints {AT}, 0c left {AT}");
        let long_ago = format!("0b mints {AT}, 0c left {LONG_AGO}");
        assert_eq!(aged_for(&["0a", "0c"], &note), Some(long_ago));
    }
}
