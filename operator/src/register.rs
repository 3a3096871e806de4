//! The register in Kubernetes: the status of one `ShardMap`, compared-and-swapped by its
//! resource version (DESIGN section 6).

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryFutureExt};
use hexagram_control::{MapSender, Maps, Register, RegisterError, follows};
use hexagram_core::{RegisterMap, ShardCount};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;

use crate::client::Place;
use crate::form;
use crate::repair::{Judgement, judge};
use crate::shard_map::{ShardMap, ShardMapSpec};
use crate::source::watched;

/// For one answer of the API server.
const PATIENCE: Duration = Duration::from_secs(5);
/// Versions of the object that are known to be ours.
const OURS: usize = 64;

/// The shard map of one object. Clones share it.
#[derive(Clone)]
pub struct KubeRegister {
    inner: Arc<Inner>,
}

struct Inner {
    api: Api<ShardMap>,
    name: String,
    spec: ShardMapSpec,
    count: ShardCount,
    state: Mutex<State>,
    map: MapSender,
}

/// What the API server is known to have.
#[derive(Default)]
struct State {
    object: Option<ShardMap>,
    ours: VecDeque<String>,
}

impl KubeRegister {
    /// The register of the object called `name`, which is made if it is not there.
    ///
    /// # Errors
    /// When the API server cannot be asked, or the object is another cluster's.
    pub(crate) async fn open(
        place: &Place,
        name: &str,
        cluster: &str,
        count: ShardCount,
    ) -> Result<Self, RegisterError> {
        let inner = Inner {
            api: place.shard_maps(),
            name: name.to_owned(),
            spec: ShardMapSpec {
                cluster: cluster.to_owned(),
                shards: count.get(),
            },
            count,
            state: Mutex::default(),
            map: watch::Sender::new(None),
        };
        let this = Self {
            inner: Arc::new(inner),
        };
        this.inner
            .refresh(&mut *this.inner.state.lock().await)
            .await?;
        Ok(this)
    }

    /// The object, for those who tell about it.
    pub(crate) async fn reference(&self) -> ObjectReference {
        let state = self.inner.state.lock().await;
        let object = state.object.as_ref();
        object
            .map(|object| object.object_ref(&()))
            .unwrap_or_default()
    }

    /// Looks after the object until nobody does any more: what another operator wrote is
    /// taken over, what a hand changed or deleted is put right.
    pub(crate) async fn tend(self) {
        let mut seen = pin!(watched(self.inner.api.clone(), &self.inner.name));
        while let Some(seen) = seen.next().await {
            let told = match seen {
                Ok(seen) => self.inner.notice(seen).await,
                Err(error) => {
                    tracing::debug!(%error, "the shard map is not followed, trying again");
                    Ok(())
                }
            };
            if let Err(error) = told {
                tracing::warn!(%error, "the shard map could not be put right, trying again");
            }
        }
    }
}

impl Register for KubeRegister {
    async fn read(&self) -> Result<Option<Arc<RegisterMap>>, RegisterError> {
        Ok(self.inner.map.borrow().clone())
    }

    async fn compare_and_swap(&self, map: Arc<RegisterMap>) -> Result<(), RegisterError> {
        let inner = &self.inner;
        let mut state = inner.state.lock().await;
        let stored = inner.map.borrow().clone();
        if let Some(stored) = &stored {
            follows(stored, &map)?;
        }
        let given = map.version();
        match inner.write(&mut state, map).await {
            Err(Unwritten::Overtaken) => {
                inner.refresh(&mut state).await?;
                let stored = inner.map.borrow().as_ref().map_or(0, |map| map.version());
                Err(RegisterError::Conflict { stored, given })
            }
            Err(Unwritten::Refused(reason)) => Err(RegisterError::Unusable(reason)),
            Ok(()) => Ok(()),
        }
    }

    fn watch(&self) -> Maps {
        self.inner.map.subscribe()
    }
}

/// Why a map was not written.
enum Unwritten {
    /// The object is another than was thought, or gone.
    Overtaken,
    Refused(String),
}

impl Inner {
    /// Something was seen of the object; what is not known to be ours is looked at.
    async fn notice(&self, seen: Option<ShardMap>) -> Result<(), RegisterError> {
        let mut state = self.state.lock().await;
        let version = seen.and_then(|object| object.resource_version());
        // An event may be older than what was written since: only a read tells.
        match version {
            Some(version) if state.ours.contains(&version) => Ok(()),
            _ => self.refresh(&mut state).await,
        }
    }

    /// Reads the object, and puts right what is wrong with it.
    async fn refresh(&self, state: &mut State) -> Result<(), RegisterError> {
        let object = match answered(self.api.get_opt(&self.name)).await? {
            Some(object) => object,
            None => self.make().await?,
        };
        self.check(&object)?;
        state.remember(object.clone());
        let status = object.status.unwrap_or_default();
        let seen = form::map(&status, self.count);
        let known = self.map.borrow().clone();
        match judge(known.as_deref(), seen) {
            Judgement::Known => Ok(()),
            Judgement::Take(map) => {
                self.map.send_replace(Some(Arc::new(map)));
                Ok(())
            }
            Judgement::Unreadable(error) => {
                tracing::warn!(shard_map = self.name, %error, "the shard map's status is unusable: it is learnt again from the workers");
                Ok(())
            }
            Judgement::Restore(map) => {
                tracing::warn!(
                    shard_map = self.name,
                    version = map.version(),
                    "the shard map was changed by hand: it is put right"
                );
                let written = self.write(state, Arc::new(map)).await;
                written.map_err(|unwritten| RegisterError::Unusable(unwritten.reason()))
            }
        }
    }

    async fn make(&self) -> Result<ShardMap, RegisterError> {
        tracing::info!(shard_map = self.name, "the shard map is made");
        let object = ShardMap::new(&self.name, self.spec.clone());
        let options = PostParams::default();
        let making = self.api.create(&options, &object);
        answered(making.map_err(|error| without_kind(&error))).await
    }

    fn check(&self, object: &ShardMap) -> Result<(), RegisterError> {
        if object.spec == self.spec {
            return Ok(());
        }
        let (theirs, ours) = (&object.spec, &self.spec);
        Err(RegisterError::Unusable(format!(
            "ShardMap {} is of cluster {:?} with {} shards, this operator of {:?} with {}: both are \
             fixed for a cluster's life; install another cluster under another name",
            self.name, theirs.cluster, theirs.shards, ours.cluster, ours.shards
        )))
    }

    async fn write(&self, state: &mut State, map: Arc<RegisterMap>) -> Result<(), Unwritten> {
        let mut object = state.object.clone().ok_or(Unwritten::Overtaken)?;
        object.status = Some(form::status(&map));
        object.metadata.managed_fields = None;
        let options = PostParams::default();
        let write = self.api.replace_status(&self.name, &options, &object);
        let written = match timeout(PATIENCE, write).await {
            Ok(written) => written.map_err(|error| unwritten(&error))?,
            Err(_) => return Err(Unwritten::Refused(late())),
        };
        state.remember(written);
        self.map.send_replace(Some(map));
        Ok(())
    }
}

impl State {
    fn remember(&mut self, object: ShardMap) {
        self.ours.extend(object.resource_version());
        if self.ours.len() > OURS {
            self.ours.pop_front();
        }
        self.object = Some(object);
    }
}

impl Unwritten {
    fn reason(self) -> String {
        match self {
            Self::Overtaken => "somebody else wrote it meanwhile".to_owned(),
            Self::Refused(reason) => reason,
        }
    }
}

fn unwritten(error: &kube::Error) -> Unwritten {
    match error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => Unwritten::Overtaken,
        _ => Unwritten::Refused(error.to_string()),
    }
}

/// Where objects of a kind cannot be made because nobody knows the kind, that is the cause.
fn without_kind(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.code == 404 => {
            "the cluster has no kind ShardMap: install it with `hexagram crd | kubectl apply \
             --server-side -f -`, or the chart with crds.install=true"
                .to_owned()
        }
        _ => error.to_string(),
    }
}

async fn answered<T, E: ToString>(
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, RegisterError> {
    let unusable = RegisterError::Unusable;
    let answer = timeout(PATIENCE, asked).await;
    let answer = answer.map_err(|_| unusable(late()))?;
    answer.map_err(|error| unusable(error.to_string()))
}

fn late() -> String {
    format!("the API server does not answer within {PATIENCE:?}")
}
