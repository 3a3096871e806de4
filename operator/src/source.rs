//! The shard map as edges and workers have it: watched in its object. While the API
//! server is away the last map stays in force.

use std::fmt::Debug;
use std::future::ready;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt};
use hexagram_control::{FormError, MapSender, Maps, fed};
use hexagram_core::{RegisterMap, ShardCount};
use hexagram_runtime::random::jittered;
use kube::runtime::utils::Backoff;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Resource};
use serde::de::DeserializeOwned;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::client::Place;
use crate::form;
use crate::shard_map::ShardMap;

/// Between two tries to reach the API server.
const PAUSE: Duration = Duration::from_secs(1);
/// For a map that is asked for at once.
const NOW: Duration = Duration::from_secs(1);
/// Seconds after which the API server ends a watch, and it is asked for anew: below
/// [`SILENCE`](crate::client::SILENCE), so that only a dead connection is silent so long.
const WATCH: u32 = 20;

/// Follows one `ShardMap`. Clones share what is known.
#[derive(Clone)]
pub struct MapSource {
    pub(crate) api: Api<ShardMap>,
    pub(crate) name: String,
    pub(crate) cluster: String,
    pub(crate) count: ShardCount,
    reached: watch::Sender<bool>,
}

impl MapSource {
    /// Follows the object called `name`, once it is asked to.
    #[must_use]
    pub fn new(place: &Place, name: &str, cluster: &str, count: ShardCount) -> Self {
        Self {
            api: place.api(),
            name: name.to_owned(),
            cluster: cluster.to_owned(),
            count,
            reached: watch::Sender::new(true),
        }
    }

    /// Whether the API server answered when it was asked last.
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
        fed(|maps| async move { this.keep_watching(&maps).await })
    }

    /// The map as it is now; `None` where there is none, or nobody answers within a second.
    pub async fn read(&self) -> Option<Arc<RegisterMap>> {
        let object = timeout(NOW, self.api.get_opt(&self.name)).await;
        let object = object
            .ok()?
            .inspect_err(|error| tracing::debug!(%error, "the shard map was not read"));
        self.open(&object.ok()??).map(Arc::new)
    }

    async fn keep_watching(&self, maps: &MapSender) {
        let mut seen = pin!(watched(self.api.clone(), &self.name));
        while let Some(seen) = seen.next().await {
            self.tell_reached(seen.as_ref().err());
            // A map that is deleted is made again; until then the last one holds.
            let map = seen.ok().flatten().and_then(|object| self.open(&object));
            let Some(map) = map else { continue };
            maps.send_if_modified(|known| {
                let is_news = known.as_deref() != Some(&map);
                if is_news {
                    *known = Some(Arc::new(map));
                }
                is_news
            });
        }
    }

    fn tell_reached(&self, error: Option<&watcher::Error>) {
        let reached = error.is_none();
        if self.reached.send_replace(reached) == reached {
            return;
        }
        let shard_map = &self.name;
        match error {
            Some(error) => tracing::warn!(
                shard_map,
                %error,
                "the API server is out of reach; what is known of the shard map stays in force"
            ),
            None => tracing::info!(shard_map, "the API server answers again"),
        }
    }

    /// The map in an object, if it is one of this cluster.
    fn open(&self, object: &ShardMap) -> Option<RegisterMap> {
        let opened = self.opened(object);
        opened.unwrap_or_else(|error| {
            tracing::error!(shard_map = self.name, %error, "the shard map is unusable; what was known of it stays in force");
            None
        })
    }

    fn opened(&self, object: &ShardMap) -> Result<Option<RegisterMap>, FormError> {
        if object.spec.cluster != self.cluster {
            return Err(FormError::Cluster {
                ours: self.cluster.clone(),
                theirs: object.spec.cluster.clone(),
            });
        }
        let status = object.status.as_ref();
        status.map_or(Ok(None), |status| form::map(status, self.count))
    }
}

/// The object called `name`, at each change; `None` where it is not. Tried again a
/// second after each error, forever.
pub(crate) fn watched(
    api: Api<ShardMap>,
    name: &str,
) -> impl Stream<Item = Result<Option<ShardMap>, watcher::Error>> + Send + use<> {
    let events = events(api, watching().fields(&format!("metadata.name={name}")));
    let objects = events.scan(false, |is_there, event| {
        ready(Some(event.map(|event| told(event, is_there)).transpose()))
    });
    objects.filter_map(ready)
}

/// What an event tells of the only object; `is_there` is whether the list had it.
fn told(event: Event<ShardMap>, is_there: &mut bool) -> Option<Option<ShardMap>> {
    match event {
        Event::Init => {
            *is_there = false;
            None
        }
        Event::InitApply(object) => {
            *is_there = true;
            Some(Some(object))
        }
        Event::InitDone => (!*is_there).then_some(None),
        Event::Apply(object) => Some(Some(object)),
        Event::Delete(_) => Some(None),
    }
}

/// How objects are watched: a connection that died unseen is noticed.
pub(crate) fn watching() -> watcher::Config {
    watcher::Config::default().timeout(WATCH)
}

/// All events of what `config` says, tried again a second after each error, forever.
pub(crate) fn events<K>(
    api: Api<K>,
    config: watcher::Config,
) -> impl Stream<Item = Result<Event<K>, watcher::Error>> + Send + use<K>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
{
    watcher(api, config).backoff(Steady)
}

/// The API server is to be back in use at once: failovers wait for it.
struct Steady;

impl Iterator for Steady {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        Some(jittered(PAUSE))
    }
}

impl Backoff for Steady {
    fn reset(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shard_map::ShardMapSpec;

    fn object() -> ShardMap {
        let spec = ShardMapSpec {
            cluster: "c".to_owned(),
            shards: 64,
        };
        ShardMap::new("m", spec)
    }

    #[test]
    fn a_list_without_the_object_says_that_it_is_gone() {
        let mut is_there = false;
        let mut tell = |event| told(event, &mut is_there);
        assert_eq!(tell(Event::Init), None);
        assert_eq!(tell(Event::InitDone), Some(None));
        assert_eq!(tell(Event::Apply(object())), Some(Some(object())));
        assert_eq!(tell(Event::Init), None);
        assert_eq!(tell(Event::InitApply(object())), Some(Some(object())));
        assert_eq!(tell(Event::InitDone), None);
        assert_eq!(tell(Event::Delete(object())), Some(None));
    }
}
