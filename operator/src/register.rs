//! The register in Kubernetes: the status of one `ShardMap`, compared-and-swapped by its
//! resource version (DESIGN section 6).

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use hexagram_control::{MapSender, Maps, Register, RegisterError, follows};
use hexagram_core::{RegisterMap, ShardCount};
use hexagram_runtime::random::jittered;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::api::PostParams;
use kube::{Api, Resource, ResourceExt};
use tokio::sync::{Mutex, broadcast, watch};
use tokio::time::sleep;

use crate::client::within;
use crate::form;
use crate::kind;
use crate::repair::{Judgement, Mend, judge};
use crate::shard_map::{ShardMap, ShardMapSpec, ShardMapStatus};
use crate::source::watched;
use crate::trouble::Trouble;

#[cfg(test)]
mod tests;

/// Between two tries to put the object right.
const AGAIN: Duration = Duration::from_secs(1);
/// Versions of the object that are known to be right.
const RIGHT: usize = 64;
/// Mends that wait for who tells of them; of more the first are missed.
const MENDS: usize = 64;

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
    mends: broadcast::Sender<Mend>,
    /// Whether an object that is not there is made.
    makes: bool,
}

/// What the API server is known to have.
#[derive(Default)]
struct State {
    object: Option<ShardMap>,
    /// Versions that were written here or found right: no event about them is news.
    right: VecDeque<String>,
}

impl KubeRegister {
    /// The register of the object called `name`, which is made if it is not there.
    ///
    /// # Errors
    /// When the API server cannot be asked, or the object is another cluster's.
    pub(crate) async fn open(
        api: Api<ShardMap>,
        name: &str,
        cluster: &str,
        count: ShardCount,
    ) -> Result<Self, RegisterError> {
        let this = Self::of(api, name, cluster, count, true);
        this.inner.look().await?;
        Ok(this)
    }

    /// As [`Self::open`], for those who never make the object: `None` where it is not there.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub(crate) async fn found(
        api: Api<ShardMap>,
        name: &str,
        cluster: &str,
        count: ShardCount,
    ) -> Result<Option<Self>, RegisterError> {
        let this = Self::of(api, name, cluster, count, false);
        this.inner.look().await?;
        let is_there = this.inner.state.lock().await.object.is_some();
        Ok(is_there.then_some(this))
    }

    fn of(api: Api<ShardMap>, name: &str, cluster: &str, count: ShardCount, makes: bool) -> Self {
        let inner = Inner {
            api,
            name: name.to_owned(),
            spec: ShardMapSpec {
                cluster: cluster.to_owned(),
                shards: count.get(),
            },
            count,
            state: Mutex::default(),
            map: watch::Sender::new(None),
            mends: broadcast::Sender::new(MENDS),
            makes,
        };
        Self {
            inner: Arc::new(inner),
        }
    }

    /// The object, for those who tell about it.
    pub(crate) async fn reference(&self) -> ObjectReference {
        let state = self.inner.state.lock().await;
        let object = state.object.as_ref();
        object
            .map(|object| object.object_ref(&()))
            .unwrap_or_default()
    }

    /// What is put right from now on. Who is slow misses some.
    pub(crate) fn mends(&self) -> broadcast::Receiver<Mend> {
        self.inner.mends.subscribe()
    }

    /// Looks after the object until nobody does any more: what another operator wrote is
    /// taken over, what a hand changed or deleted is put right.
    pub(crate) async fn tend(self) {
        let mut seen = pin!(watched(self.inner.api.clone(), &self.inner.name));
        let mut blind = Trouble::new("following the shard map");
        let mut wrong = Trouble::new("looking after the shard map");
        loop {
            tokio::select! {
                seen = seen.next() => match seen {
                    Some(Ok(seen)) => {
                        blind.tell(Ok::<_, RegisterError>(()));
                        wrong.tell(self.inner.notice(seen).await);
                    }
                    Some(Err(error)) => blind.tell(Err(error)),
                    None => return,
                },
                () = sleep(jittered(AGAIN)), if blind.lasts() || wrong.lasts() => {
                    wrong.tell(self.inner.look().await);
                }
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
            Err(Unwritten::Invalid(reason)) => {
                inner.refresh(&mut state).await?;
                Err(RegisterError::Unusable(reason))
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
    /// Some rule forbids it: the kind's own, which compare with what is there, so that is not
    /// what was thought; or those of who guards the cluster.
    Invalid(String),
    Refused(String),
}

impl Inner {
    /// Reads the object, and puts right what is wrong with it.
    async fn look(&self) -> Result<(), RegisterError> {
        self.refresh(&mut *self.state.lock().await).await
    }

    /// Something was seen of the object; what is not known to be right is looked at.
    async fn notice(&self, seen: Option<ShardMap>) -> Result<(), RegisterError> {
        let mut state = self.state.lock().await;
        let version = seen.and_then(|object| object.resource_version());
        // An event may be older than what was written since: only a read tells.
        match version {
            Some(version) if state.right.contains(&version) => Ok(()),
            _ => self.refresh(&mut state).await,
        }
    }

    async fn refresh(&self, state: &mut State) -> Result<(), RegisterError> {
        let found = within(self.api.get_opt(&self.name)).await;
        let object = match found.map_err(|error| unusable(&error))? {
            Some(object) => object,
            None if self.makes => self.make().await?,
            None => {
                state.object = None;
                return Ok(());
            }
        };
        self.check(&object)?;
        let judgement = self.judge(&object);
        // Without a status it is a new one.
        let mend = match object.status {
            Some(_) => Mend::Repaired,
            None => Mend::Remade,
        };
        state.object = Some(object);
        match judgement {
            Judgement::Known => {}
            Judgement::Take(map) => {
                self.map.send_replace(Some(Arc::new(map)));
            }
            Judgement::Unreadable(error) => {
                tracing::warn!(shard_map = self.name, %error, "the shard map's status is unusable: it is learnt again from the workers");
            }
            Judgement::Restore(map) => {
                self.restore(state, map).await?;
                // Without anybody who tells of it, it is no news.
                let _ = self.mends.send(mend);
                return Ok(());
            }
        }
        state.is_right();
        Ok(())
    }

    fn judge(&self, object: &ShardMap) -> Judgement {
        let unwritten = ShardMapStatus::default();
        let status = object.status.as_ref().unwrap_or(&unwritten);
        let known = self.map.borrow().clone();
        let judgement = judge(known.as_deref(), form::map(status, self.count));
        match (judgement, known) {
            // Only of a known map the counts are known; another operator may count otherwise.
            (Judgement::Known, Some(known)) if status.summary != form::summary(&known) => {
                Judgement::Restore(known.renewed())
            }
            (judgement, _) => judgement,
        }
    }

    async fn restore(&self, state: &mut State, map: RegisterMap) -> Result<(), RegisterError> {
        tracing::warn!(
            shard_map = self.name,
            version = map.version(),
            "the shard map was changed by hand: it is put right"
        );
        let written = self.write(state, Arc::new(map)).await;
        written.map_err(|unwritten| RegisterError::Unusable(unwritten.reason()))
    }

    async fn make(&self) -> Result<ShardMap, RegisterError> {
        let object = ShardMap::new(&self.name, self.spec.clone());
        let options = PostParams::default();
        let made = within(self.api.create(&options, &object)).await;
        let made = made.map_err(|error| unusable(&error))?;
        tracing::info!(shard_map = self.name, "the shard map is made");
        Ok(made)
    }

    fn check(&self, object: &ShardMap) -> Result<(), RegisterError> {
        if object.spec == self.spec {
            return Ok(());
        }
        let (theirs, ours) = (&object.spec, &self.spec);
        Err(RegisterError::Unusable(format!(
            "ShardMap {} is of cluster {:?} with {} shards, this process of {:?} with {}: both are \
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
        let written = within(write).await.map_err(|error| unwritten(&error))?;
        state.object = Some(written);
        state.is_right();
        self.map.send_replace(Some(map));
        Ok(())
    }
}

impl State {
    /// The object of now says what it should.
    fn is_right(&mut self) {
        let object = self.object.as_ref();
        self.right
            .extend(object.and_then(ResourceExt::resource_version));
        if self.right.len() > RIGHT {
            self.right.pop_front();
        }
    }
}

impl Unwritten {
    fn reason(self) -> String {
        match self {
            Self::Overtaken => "somebody else wrote it meanwhile".to_owned(),
            Self::Invalid(reason) | Self::Refused(reason) => reason,
        }
    }
}

fn unwritten(error: &kube::Error) -> Unwritten {
    match error {
        kube::Error::Api(status) if matches!(status.code, 404 | 409) => Unwritten::Overtaken,
        kube::Error::Api(status) if status.code == 422 => Unwritten::Invalid(error.to_string()),
        _ => Unwritten::Refused(error.to_string()),
    }
}

fn unusable(error: &kube::Error) -> RegisterError {
    RegisterError::Unusable(kind::cause(error, "ShardMap"))
}
