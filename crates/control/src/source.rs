//! The register as edges and workers have it: followed over HTTP. While the
//! controller is away the last map stays in force.

use std::error::Error;
use std::fmt;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{Owner, RegisterMap, ShardCount};
use hexagram_runtime::random::jittered;
use hexagram_runtime::serve::reason;
use http::{Method, Request, Response, StatusCode};
use reqwest::Client;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::form::MapForm;
use crate::http::{JoinForm, LONG_POLL};
use crate::introduction::Introduction;
use crate::register::{MapSender, Maps, fed};

/// Longer than an answer may wait.
const PATIENCE: Duration = LONG_POLL.saturating_add(Duration::from_secs(1));
/// For a join or a leave.
const QUICK: Duration = Duration::from_secs(2);
/// For a map that is asked for at once.
const NOW: Duration = Duration::from_secs(1);
/// Between two tries to reach the controller.
const PAUSE: Duration = Duration::from_secs(1);
/// Where workers join and leave.
const WORKERS: &str = "/v1/workers";
/// Between two signs of life of a worker.
const REPEAT: Duration = Duration::from_secs(2);

/// A controller cannot be spoken to.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// Nobody answers, or not as a controller.
    #[error(
        "the controller does not answer: {0}; check --control, which names its --control-listen"
    )]
    Http(Box<dyn Error + Send + Sync>),
    /// Nobody answers in time.
    #[error(
        "the controller does not answer within {0:?}; check --control, which names its --control-listen"
    )]
    Late(Duration),
    /// Something else answers there: a controller has the page.
    #[error(
        "{0} is no address for workers and edges, it seems to be an admin address: --control names the \
         --control-listen address of `hexagram control`"
    )]
    Elsewhere(String),
    /// It answers no.
    #[error("the controller refuses: {0}")]
    Refused(String),
    /// Its map is of another cluster.
    #[error("the controller's map is unusable: {0}")]
    Map(#[from] crate::FormError),
}

/// How far a worker has come with joining.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Joining {
    /// It has had no answer yet.
    #[default]
    Asking,
    /// It was not taken in, or nobody answered, for this reason; it asks again.
    Vain(String),
    /// It was taken in once. A controller that is lost later changes nothing.
    Joined,
}

/// Waits until the map names `owner`: the controller has taken it in.
pub async fn named(maps: &mut Maps, owner: &Owner) {
    let names = |map: &Option<Arc<RegisterMap>>| {
        map.as_ref()
            .is_some_and(|map| map.addresses().contains_key(owner))
    };
    // A source that ended names nobody any more; its process ends as well.
    if maps.wait_for(names).await.is_err() {
        pending::<()>().await;
    }
}

type Asking = Pin<Box<dyn Future<Output = Result<Response<Bytes>, SourceError>> + Send>>;

/// Sends a request to the controller; gives its whole answer. It is dropped when it
/// takes too long.
pub type Ask = Arc<dyn Fn(Request<Bytes>) -> Asking + Send + Sync>;

/// A controller's HTTP address, for one cluster. Clones share what they know.
#[derive(Clone)]
pub struct HttpSource {
    ask: Ask,
    base: String,
    cluster: String,
    shards: ShardCount,
    // The version of the last map.
    known: Arc<AtomicU64>,
    reached: watch::Sender<bool>,
    joining: watch::Sender<Joining>,
}

impl fmt::Debug for HttpSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("HttpSource").field(&self.base).finish()
    }
}

impl HttpSource {
    /// The controller at `url` (`http://HOST:PORT`, or `HOST:PORT`).
    ///
    /// # Errors
    /// When this machine cannot speak HTTP at all.
    pub fn new(url: &str, cluster: &str, shards: ShardCount) -> Result<Self, SourceError> {
        let client = Client::builder().no_proxy().build().map_err(unanswered)?;
        let ask: Ask = Arc::new(move |request| Box::pin(over_tcp(client.clone(), request)));
        Ok(Self::by(ask, url, cluster, shards))
    }

    /// As [`Self::new`], for a controller that is reached by `ask`.
    #[must_use]
    pub fn by(ask: Ask, url: &str, cluster: &str, shards: ShardCount) -> Self {
        let base = match url.contains("://") {
            true => url.trim_end_matches('/').to_owned(),
            false => format!("http://{url}"),
        };
        Self {
            ask,
            base,
            cluster: cluster.to_owned(),
            shards,
            known: Arc::default(),
            reached: watch::Sender::new(true),
            joining: watch::Sender::default(),
        }
    }

    /// How far [`Self::member`] has come with joining.
    #[must_use]
    pub fn joining(&self) -> watch::Receiver<Joining> {
        self.joining.subscribe()
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
        let this = self.clone();
        fed(|maps| async move { this.keep_asking(&maps).await })
    }

    /// The map as it is now; `None` where there is none, or nobody answers within a second.
    pub async fn read(&self) -> Option<Arc<RegisterMap>> {
        let page = "/v1/map";
        let answer = self.ask(Method::GET, page, String::new(), NOW).await;
        let map = answer.and_then(|answer| self.open(&answer));
        let map = map.inspect_err(|error| tracing::debug!(%error, "the shard map was not read"));
        map.ok().flatten().map(Arc::new)
    }

    async fn keep_asking(&self, maps: &MapSender) {
        loop {
            let asked = self.newer(self.known.load(Ordering::Relaxed)).await;
            let reached = asked.is_ok();
            if self.reached.send_replace(reached) != reached {
                self.tell_reached(asked.as_ref().err());
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

    fn tell_reached(&self, error: Option<&SourceError>) {
        let control = &self.base;
        match error {
            Some(error) => tracing::warn!(
                control,
                %error,
                "the controller is out of reach; what is known of the shard map stays in force"
            ),
            None => tracing::info!(control, "the controller answers again"),
        }
    }

    /// The map, when it is another than version `known`; waits for it.
    async fn newer(&self, known: u64) -> Result<Option<RegisterMap>, SourceError> {
        let page = format!("/v1/map?after={known}");
        let answer = self
            .ask(Method::GET, &page, String::new(), PATIENCE)
            .await?;
        self.open(&answer)
    }

    /// The map in an answer, if there is one.
    fn open(&self, answer: &Response<Bytes>) -> Result<Option<RegisterMap>, SourceError> {
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let form: MapForm = serde_json::from_slice(answer.body())
            .map_err(|error| SourceError::Refused(format!("what it sends is no map: {error}")))?;
        Ok(Some(form.open(&self.cluster, self.shards)?))
    }

    /// The answer to a request, unless it is a refusal.
    async fn ask(
        &self,
        method: Method,
        page: &str,
        body: String,
        within: Duration,
    ) -> Result<Response<Bytes>, SourceError> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{page}", self.base))
            .body(Bytes::from(body))
            .map_err(unanswered)?;
        let answer = timeout(within, (self.ask)(request)).await;
        let answer = answer.map_err(|_| SourceError::Late(within))??;
        if answer.status().is_success() {
            return Ok(answer);
        }
        if answer.status() == StatusCode::NOT_FOUND {
            return Err(SourceError::Elsewhere(self.base.clone()));
        }
        let whole = || String::from_utf8_lossy(answer.body()).into_owned();
        let reason = reason(answer.body());
        Err(SourceError::Refused(reason.unwrap_or_else(whole)))
    }

    /// Says every two seconds that this worker is there, with the keys that `who` has then,
    /// until `end`; then that it leaves.
    pub async fn member(
        &self,
        who: impl Fn() -> Introduction + Send + Sync,
        end: CancellationToken,
    ) {
        let mut form = self.form(who());
        let joining = self.keep_joining(&mut form, &who);
        end.run_until_cancelled(joining).await;
        let left = self.ask(Method::DELETE, WORKERS, body(&form), QUICK);
        if let Err(error) = left.await {
            tracing::debug!(%error, "the controller will find out that this worker left");
        }
    }

    fn form(&self, who: Introduction) -> JoinForm {
        let Introduction {
            owner,
            address,
            setup,
            again,
        } = who;
        JoinForm {
            known: 0,
            cluster: self.cluster.clone(),
            shards: self.shards.get(),
            name: owner.worker.to_string(),
            incarnation: owner.incarnation.to_string(),
            address,
            keys: told(&setup.keys),
            store: setup.store,
            again,
        }
    }

    async fn keep_joining(
        &self,
        form: &mut JoinForm,
        who: &(impl Fn() -> Introduction + Send + Sync),
    ) {
        let mut before = None;
        loop {
            form.keys = told(&who().setup.keys);
            form.known = self.known.load(Ordering::Relaxed);
            let now = self.join(form).await.err();
            form.again = match &now {
                None => true,
                Some(SourceError::Refused(_)) => false,
                Some(_) => form.again,
            };
            let now = now.map(|error| error.to_string());
            match &now {
                Some(error) if before != now => tracing::warn!(error, "not joined, trying again"),
                _ => {}
            }
            self.tell_joining(now.as_ref());
            before = now;
            sleep(REPEAT).await;
        }
    }

    fn tell_joining(&self, vain: Option<&String>) {
        let now = vain.map_or(Joining::Joined, |error| Joining::Vain(error.clone()));
        self.joining.send_if_modified(|state| {
            let changes = *state != Joining::Joined && *state != now;
            if changes {
                *state = now;
            }
            changes
        });
    }

    async fn join(&self, form: &JoinForm) -> Result<(), SourceError> {
        let join = self.ask(Method::POST, WORKERS, body(form), QUICK);
        join.await.map(drop)
    }
}

fn told(keys: &[u64]) -> Vec<String> {
    keys.iter().map(|key| format!("{key:x}")).collect()
}

fn body(form: &JoinForm) -> String {
    // A form of texts and numbers has no way to fail.
    serde_json::to_string(form).unwrap_or_default()
}

async fn over_tcp(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, SourceError> {
    let request = request.try_into().map_err(unanswered)?;
    let answer = client.execute(request).await.map_err(unanswered)?;
    let whole = Response::builder().status(answer.status());
    let body = answer.bytes().await.map_err(unanswered)?;
    whole.body(body).map_err(unanswered)
}

fn unanswered(error: impl Error + Send + Sync + 'static) -> SourceError {
    SourceError::Http(Box::new(error))
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_controller_that_is_lost_is_not_waited_for() {
        let asked = watch::Sender::new(0);
        let (count, mut again) = (asked.clone(), asked.subscribe());
        let ask: Ask = Arc::new(move |_| {
            count.send_modify(|count| *count += 1);
            Box::pin(std::future::pending())
        });
        let source = HttpSource::by(ask, "c:1", "c", ShardCount::default());
        let begun = Instant::now();
        let _maps = source.follow();
        again.wait_for(|count| *count == 2).await.unwrap();
        let took = begun.elapsed();
        // A failover is to be over within ten seconds, in which edges and workers hear
        // of it from the next controller.
        assert!(took < Duration::from_secs(5), "{took:?}");
    }

    #[tokio::test]
    async fn an_admin_address_is_told_from_a_controller_s() {
        let ask: Ask = Arc::new(|_| {
            let answer = Response::builder().status(StatusCode::NOT_FOUND);
            let answer = answer.body(Bytes::from_static(br#"{"error": "no page"}"#));
            Box::pin(std::future::ready(answer.map_err(unanswered)))
        });
        let source = HttpSource::by(ask, "c:9090", "c", ShardCount::default());
        let error = source.newer(0).await.unwrap_err().to_string();
        assert!(error.starts_with("http://c:9090 is no address"), "{error}");
        assert!(error.contains("--control-listen"), "{error}");
    }

    #[tokio::test(start_paused = true)]
    async fn who_joined_once_has_joined() {
        let answers = [409, 200, 503].map(|code| StatusCode::from_u16(code).unwrap());
        let asked = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&asked);
        let ask: Ask = Arc::new(move |_| {
            let at = count.fetch_add(1, Ordering::Relaxed).min(2);
            let answer = Response::builder().status(answers[usize::try_from(at).unwrap()]);
            let answer = answer.body(Bytes::from_static(br#"{"error": "it does not fit"}"#));
            Box::pin(std::future::ready(answer.map_err(unanswered)))
        });
        let source = HttpSource::by(ask, "c:1", "c", ShardCount::default());
        let mut joining = source.joining();
        assert_eq!(*joining.borrow(), Joining::Asking);
        let who = Introduction::new(crate::testing::owner(0, 1), "127.0.0.1:1".to_owned());
        let end = CancellationToken::new();
        let member = tokio::spawn({
            let end = end.clone();
            async move { source.member(move || who.clone(), end).await }
        });
        let why = "the controller refuses: it does not fit".to_owned();
        let vain = joining
            .wait_for(|now| *now == Joining::Vain(why.clone()))
            .await;
        drop(vain.unwrap());
        drop(
            joining
                .wait_for(|now| *now == Joining::Joined)
                .await
                .unwrap(),
        );
        while asked.load(Ordering::Relaxed) < 4 {
            sleep(REPEAT).await;
        }
        assert_eq!(*joining.borrow(), Joining::Joined);
        end.cancel();
        member.await.unwrap();
    }
}
