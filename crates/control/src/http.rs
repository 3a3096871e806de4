//! The register over HTTP: what edges and workers ask a controller for, and what
//! people order. The client's side is `source.rs`.
//!
//! ```text
//! GET    /v1/map?after=VERSION   the map, once it is another than that
//! POST   /v1/workers             a worker joins, and says so again
//! DELETE /v1/workers             a worker ends
//! POST   /v1/moves, /v1/drains   orders, from this machine only
//! DELETE /v1/drains              ends a drain, as well
//! ```

use std::fmt::Display;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::{Incarnation, Owner, RegisterMap, Setup, ShardCount, WorkerId};
use hexagram_runtime::admin::Orders;
use hexagram_runtime::listener::Listener;
use hexagram_runtime::serve::{Page, json, refusal, serve};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json as value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::controller::{Controller, JoinError};
use crate::decide::Refusal;
use crate::form::MapForm;
use crate::introduction::Introduction;
use crate::register::Register;
use crate::request::OrderError;

/// How long a question for a newer map waits. Who asked a machine that is lost since
/// finds out so much later.
pub(crate) const LONG_POLL: Duration = Duration::from_secs(2);
/// Bytes of a request; all of them are small.
const LARGEST: usize = 64 * 1024;

/// A worker that joins.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct JoinForm {
    pub(crate) cluster: String,
    pub(crate) shards: u16,
    pub(crate) name: String,
    /// In hexadecimal: JSON's numbers are too short.
    pub(crate) incarnation: String,
    pub(crate) address: String,
    /// The version of the worker's map; 0 for none. A controller that lost its
    /// register begins above.
    #[serde(default)]
    pub(crate) known: u64,
    /// The fingerprints of its keys, as the incarnation; workers of older releases do
    /// not tell them.
    #[serde(default)]
    pub(crate) keys: Vec<String>,
    /// Where its session store is, empty without one; as well.
    #[serde(default)]
    pub(crate) store: Option<String>,
    /// Whether the controller has taken it in before, as far as the worker knows.
    #[serde(default)]
    pub(crate) again: bool,
}

#[derive(Deserialize)]
struct MoveForm {
    shard: u16,
    to: String,
}

#[derive(Deserialize)]
struct DrainForm {
    worker: String,
}

/// Answers for one controller.
#[derive(Clone, Debug)]
pub struct Api<R> {
    controller: Controller,
    register: R,
    cluster: String,
    shards: ShardCount,
}

type Refused = (StatusCode, String);

impl<R: Register> Api<R> {
    /// Answers for `controller` of `cluster`, whose register this is.
    pub fn new(controller: Controller, register: R, cluster: &str, shards: ShardCount) -> Self {
        Self {
            controller,
            register,
            cluster: cluster.to_owned(),
            shards,
        }
    }

    /// Serves all of it until `shutdown`.
    pub async fn run(self, listener: impl Listener, shutdown: CancellationToken) {
        let answer = move |peer, request| self.clone().answer(peer, request);
        serve(listener, answer, shutdown).await;
    }

    /// `/moves` and `/drains` for an admin server.
    pub fn orders(self) -> Orders {
        Arc::new(move |peer, request| {
            let this = self.clone();
            Box::pin(async move { page(this.order(peer, request).await) })
        })
    }

    async fn answer(self, peer: SocketAddr, request: Request<Incoming>) -> Page {
        let get = *request.method() == Method::GET;
        match request.uri().path() {
            "/v1/map" if get => self.map(request.uri().query()).await,
            "/v1/workers" => page(self.member(request).await),
            _ => page(self.order(peer, request).await),
        }
    }

    /// The map, as soon as it is another than the asker's.
    async fn map(&self, query: Option<&str>) -> Page {
        let known = query.and_then(|query| query.strip_prefix("after=")?.parse().ok());
        if let Some(known) = known {
            self.controller.known(known).await;
        }
        let is_news = |map: &Option<Arc<RegisterMap>>| {
            map.as_ref().is_some_and(|map| Some(map.version()) != known)
        };
        let mut maps = self.register.watch();
        let found = timeout(LONG_POLL, maps.wait_for(is_news)).await;
        match found {
            Ok(Ok(map)) => match map.as_ref() {
                Some(map) => json(StatusCode::OK, &MapForm::of(&self.cluster, map)),
                None => nothing(),
            },
            _ => nothing(),
        }
    }

    async fn member(&self, request: Request<Incoming>) -> Result<(), Refused> {
        let method = request.method().clone();
        let form: JoinForm = read(request).await?;
        let owner = self.owner(&form).map_err(conflict)?;
        match method {
            Method::POST => {
                self.controller.known(form.known).await;
                let setup = setup(&form).map_err(conflict)?;
                let address = form.address;
                let who = Introduction {
                    owner,
                    address,
                    setup,
                    again: form.again,
                };
                let joined = self.controller.join(who).await;
                joined.map_err(|error| match error {
                    JoinError::NotTaken(_) => conflict(error),
                    JoinError::Ended => unavailable(error),
                })
            }
            Method::DELETE => {
                self.controller.leave(owner).await;
                Ok(())
            }
            _ => Err((
                StatusCode::METHOD_NOT_ALLOWED,
                "use POST or DELETE".to_owned(),
            )),
        }
    }

    fn owner(&self, form: &JoinForm) -> Result<Owner, String> {
        if form.cluster != self.cluster {
            let (theirs, ours) = (&form.cluster, &self.cluster);
            return Err(format!(
                "the worker belongs to cluster {theirs:?}, this controller to {ours:?}: give both the same --cluster"
            ));
        }
        if form.shards != self.shards.get() {
            let (theirs, ours) = (form.shards, self.shards);
            return Err(format!(
                "the worker has {theirs} shards, this controller {ours}: --shards is fixed for a cluster's life"
            ));
        }
        let incarnation = u64::from_str_radix(&form.incarnation, 16).ok();
        Ok(Owner {
            worker: name(&form.name).map_err(|(_, error)| error)?,
            incarnation: incarnation
                .and_then(Incarnation::new)
                .ok_or("no incarnation")?,
        })
    }

    async fn order(&self, peer: SocketAddr, request: Request<Incoming>) -> Result<(), Refused> {
        let path = request.uri().path();
        let order = path.strip_prefix("/v1").unwrap_or(path).to_owned();
        if !matches!(order.as_str(), "/moves" | "/drains") {
            let error = format!(
                "no page {path} at this address, which is for workers and edges; \
                 that of people is set with --admin"
            );
            return Err((StatusCode::NOT_FOUND, error));
        }
        if !is_here(peer) {
            let error = format!("orders are taken from this machine only, not from {peer}");
            return Err((StatusCode::FORBIDDEN, error));
        }
        let done = match (request.method().clone(), order.as_str()) {
            (Method::POST, "/moves") => {
                let form: MoveForm = read(request).await?;
                let to = name(&form.to)?;
                self.controller.move_shard(form.shard, to).await
            }
            (Method::POST, _) => self.controller.drain(drained(request).await?).await,
            (Method::DELETE, "/drains") => {
                let worker = drained(request).await?;
                self.controller.cancel_drain(worker).await
            }
            _ => return Err(wrong_method(&order)),
        };
        done.map_err(refused)
    }
}

/// Whether it comes from this machine, also where the listener takes IPv4 as mapped IPv6. Not
/// from any address of the loopback: a mesh's sidecar hands on what comes from elsewhere from
/// one of them (127.0.0.6).
fn is_here(peer: SocketAddr) -> bool {
    let peer = peer.ip().to_canonical();
    peer == Ipv4Addr::LOCALHOST || peer == Ipv6Addr::LOCALHOST
}

/// The worker of a drain.
async fn drained(request: Request<Incoming>) -> Result<WorkerId, Refused> {
    let form: DrainForm = read(request).await?;
    name(&form.worker)
}

fn wrong_method(order: &str) -> Refused {
    let error = match order {
        "/drains" => "use POST, or DELETE to end a drain",
        _ => "use POST",
    };
    (StatusCode::METHOD_NOT_ALLOWED, error.to_owned())
}

fn refused(error: OrderError) -> Refused {
    match error {
        OrderError::Refused(Refusal::UnknownShard { .. } | Refusal::UnknownWorker { .. }) => {
            (StatusCode::NOT_FOUND, error.to_string())
        }
        OrderError::Refused(_) => conflict(error),
        OrderError::Register(_) | OrderError::Ended => unavailable(error),
    }
}

fn setup(form: &JoinForm) -> Result<Setup, String> {
    let key = |key: &String| u64::from_str_radix(key, 16).map_err(|_| "no fingerprint of a key");
    let keys = form.keys.iter().map(key).collect::<Result<_, _>>()?;
    let store = form.store.clone();
    Ok(Setup { keys, store })
}

async fn read<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Refused> {
    let bad = |error: String| (StatusCode::BAD_REQUEST, error);
    let body = Limited::new(request.into_body(), LARGEST).collect().await;
    let body: Bytes = body.map_err(|error| bad(error.to_string()))?.to_bytes();
    serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))
}

fn name(text: &str) -> Result<WorkerId, Refused> {
    text.parse()
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("{error}")))
}

fn conflict(error: impl Display) -> Refused {
    (StatusCode::CONFLICT, error.to_string())
}

fn unavailable(error: impl Display) -> Refused {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

fn nothing() -> Page {
    let none = HeaderValue::from_static("application/json");
    hexagram_runtime::serve::text(StatusCode::NO_CONTENT, none, String::new())
}

fn page(done: Result<(), Refused>) -> Page {
    match done {
        Ok(()) => json(StatusCode::OK, &value!({})),
        Err((code, error)) => refusal(code, &error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_has_three_names() {
        for here in ["127.0.0.1:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert!(is_here(here.parse().unwrap()), "{here}");
        }
        for elsewhere in ["10.0.0.1:1", "[fd00::1]:1", "[::ffff:10.0.0.1]:1"] {
            assert!(!is_here(elsewhere.parse().unwrap()), "{elsewhere}");
        }
    }

    #[test]
    fn what_a_sidecar_hands_on_is_not_from_this_machine() {
        for sidecar in ["127.0.0.6:1", "[::ffff:127.0.0.6]:1"] {
            assert!(!is_here(sidecar.parse().unwrap()), "{sidecar}");
        }
    }
}
