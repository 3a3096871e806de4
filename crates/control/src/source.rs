//! The register as edges and workers have it: followed over HTTP. While the
//! controller is away the last map stays in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hexagram_core::{Owner, RegisterMap, ShardCount};
use hexagram_runtime::random::jittered;
use reqwest::{Client, Response, StatusCode};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::form::MapForm;
use crate::http::{JoinForm, LONG_POLL};
use crate::register::Maps;

/// Longer than an answer may wait.
const PATIENCE: Duration = LONG_POLL.saturating_add(Duration::from_secs(5));
/// For a join or a leave.
const QUICK: Duration = Duration::from_secs(2);
/// Between two tries to reach the controller.
const PAUSE: Duration = Duration::from_secs(1);
/// Between two signs of life of a worker.
const REPEAT: Duration = Duration::from_secs(2);

/// A controller cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nobody answers, or not as a controller.
    #[error("the controller does not answer: {0}; check --control")]
    Http(#[from] reqwest::Error),
    /// It answers no.
    #[error("the controller refuses: {0}")]
    Refused(String),
    /// Its map is of another cluster.
    #[error("the controller's map is unusable: {0}")]
    Map(#[from] crate::FormError),
}

/// A controller's HTTP address, for one cluster. Clones share what they know.
#[derive(Clone, Debug)]
pub struct HttpSource {
    client: Client,
    base: String,
    cluster: String,
    shards: ShardCount,
    // The version of the last map.
    known: Arc<AtomicU64>,
    reached: watch::Sender<bool>,
}

impl HttpSource {
    /// The controller at `url` (`http://HOST:PORT`, or `HOST:PORT`).
    ///
    /// # Errors
    /// When this machine cannot speak HTTP at all.
    pub fn new(url: &str, cluster: &str, shards: ShardCount) -> Result<Self, SourceError> {
        let base = match url.contains("://") {
            true => url.trim_end_matches('/').to_owned(),
            false => format!("http://{url}"),
        };
        Ok(Self {
            client: Client::builder().no_proxy().build()?,
            base,
            cluster: cluster.to_owned(),
            shards,
            known: Arc::default(),
            reached: watch::Sender::new(true),
        })
    }

    /// Whether the controller answered when it was asked last.
    #[must_use]
    pub fn reached(&self) -> watch::Receiver<bool> {
        self.reached.subscribe()
    }

    /// Follows the map until nobody listens; `None` until there is a first one.
    ///
    /// # Panics
    /// Outside of a tokio runtime, as [`tokio::spawn`].
    #[must_use]
    pub fn follow(&self) -> Maps {
        let (sender, maps) = watch::channel(None);
        let this = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                () = this.keep_asking(&sender) => {}
            }
        });
        maps
    }

    async fn keep_asking(&self, maps: &watch::Sender<Option<Arc<RegisterMap>>>) {
        loop {
            let asked = self.newer(self.known.load(Ordering::Relaxed)).await;
            let reached = asked.is_ok();
            if self.reached.send_replace(reached) != reached {
                tracing::info!(
                    control = self.base,
                    reached,
                    "the way to the controller changed"
                );
            }
            match asked {
                Ok(Some(map)) => {
                    self.known.store(map.version(), Ordering::Relaxed);
                    maps.send_replace(Some(Arc::new(map)));
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::debug!(%error, "the last shard map stays in force");
                    sleep(jittered(PAUSE)).await;
                }
            }
        }
    }

    /// The map, when it is another than version `known`; waits for it.
    async fn newer(&self, known: u64) -> Result<Option<RegisterMap>, SourceError> {
        let url = format!("{}/v1/map?after={known}", self.base);
        let answer = accepted(self.client.get(url).timeout(PATIENCE).send().await?).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let form = answer.bytes().await?;
        let form: MapForm = serde_json::from_slice(&form)
            .map_err(|error| SourceError::Refused(format!("what it sends is no map: {error}")))?;
        Ok(Some(form.open(&self.cluster, self.shards)?))
    }

    /// Says every two seconds that the worker at `address` is there, until `end`;
    /// then that it leaves.
    pub async fn member(&self, owner: Owner, address: String, end: CancellationToken) {
        let mut form = JoinForm {
            known: 0,
            cluster: self.cluster.clone(),
            shards: self.shards.get(),
            name: owner.worker.to_string(),
            incarnation: owner.incarnation.to_string(),
            address,
        };
        end.run_until_cancelled(self.keep_joining(&mut form)).await;
        let left = self
            .client
            .delete(self.workers())
            .timeout(QUICK)
            .body(body(&form));
        if let Err(error) = left.send().await {
            tracing::debug!(%error, "the controller will find out that this worker left");
        }
    }

    async fn keep_joining(&self, form: &mut JoinForm) {
        let mut before = None;
        loop {
            form.known = self.known.load(Ordering::Relaxed);
            let now = self.join(form).await.err().map(|error| error.to_string());
            match &now {
                Some(error) if before != now => tracing::warn!(error, "not joined, trying again"),
                _ => {}
            }
            before = now;
            sleep(REPEAT).await;
        }
    }

    async fn join(&self, form: &JoinForm) -> Result<(), SourceError> {
        let join = self
            .client
            .post(self.workers())
            .timeout(QUICK)
            .body(body(form));
        accepted(join.send().await?).await.map(drop)
    }

    fn workers(&self) -> String {
        format!("{}/v1/workers", self.base)
    }
}

fn body(form: &JoinForm) -> String {
    // A form of texts and one number has no way to fail.
    serde_json::to_string(form).unwrap_or_default()
}

/// The answer, unless it is a refusal.
async fn accepted(answer: Response) -> Result<Response, SourceError> {
    if answer.status().is_success() {
        return Ok(answer);
    }
    Err(SourceError::Refused(answer.text().await?))
}
