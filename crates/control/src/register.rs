//! Where the shard map lives, and the one way in which it changes: a
//! compare-and-swap (DESIGN section 6).

use std::path::PathBuf;
use std::sync::Arc;

use hexagram_core::{Entry, Owner, RegisterMap, ShardCount, ShardId};
use tokio::sync::{Mutex, watch};

use crate::form::MapForm;

mod file;
mod steps;
#[cfg(test)]
mod tests;

/// The newest map, followed; `None` while there was none yet.
pub type Maps = watch::Receiver<Option<Arc<RegisterMap>>>;

/// Who tells of newer maps.
pub type MapSender = watch::Sender<Option<Arc<RegisterMap>>>;

/// Maps that `feed` tells of for as long as somebody listens; `None` until there is a
/// first one.
///
/// # Panics
/// Outside of a tokio runtime, as [`tokio::spawn`].
pub fn fed<F>(feed: impl FnOnce(Arc<MapSender>) -> F) -> Maps
where
    F: Future<Output = ()> + Send + 'static,
{
    let (sender, maps) = watch::channel(None);
    let sender = Arc::new(sender);
    let feeding = feed(Arc::clone(&sender));
    tokio::spawn(async move {
        tokio::select! {
            () = sender.closed() => {}
            () = feeding => {}
        }
    });
    maps
}

/// A write or read that failed; the register is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// Somebody else wrote first.
    #[error("the register is at version {stored}, so version {given} is no successor: read again")]
    Conflict {
        /// What is stored.
        stored: u64,
        /// What was to be written.
        given: u64,
    },
    /// The number of shards is fixed for a cluster's life.
    #[error(
        "the register has {stored} shards, the map {given}: --shards is fixed for a cluster's life"
    )]
    Shards {
        /// What is stored.
        stored: ShardCount,
        /// What was to be written.
        given: ShardCount,
    },
    /// The map would let an old owner back in (invariant I4).
    #[error(
        "the map takes shard {0} back to an earlier epoch, or gives its epoch to another owner"
    )]
    Backwards(ShardId),
    /// The place where the map is kept cannot be used.
    #[error("the register cannot be used: {0}")]
    Unusable(String),
}

/// One shard map, versioned. Clones share it.
pub trait Register: Clone + Send + Sync + 'static {
    /// The newest map; `None` before the first write.
    ///
    /// # Errors
    /// When the register is out of reach.
    fn read(&self) -> impl Future<Output = Result<Option<Arc<RegisterMap>>, RegisterError>> + Send;

    /// Stores `map` if the stored version is one below it; an empty register
    /// takes any version.
    ///
    /// # Errors
    /// When the map is no successor of the stored one, or the register out of
    /// reach. After [`RegisterError::Unusable`] the map may be stored all the same.
    fn compare_and_swap(
        &self,
        map: Arc<RegisterMap>,
    ) -> impl Future<Output = Result<(), RegisterError>> + Send;

    /// Follows the map.
    fn watch(&self) -> Maps;
}

/// A register in this process; with a file, it survives the process.
#[derive(Clone, Debug)]
pub struct MemoryRegister {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    // Held while a write goes to the file.
    writer: Mutex<()>,
    map: MapSender,
    file: Option<(PathBuf, String)>,
}

impl Default for MemoryRegister {
    fn default() -> Self {
        Self::holding(None, None)
    }
}

impl MemoryRegister {
    /// The register that `file` keeps for `cluster`; empty where there is no
    /// such file yet.
    ///
    /// # Errors
    /// When the file cannot be read, is damaged, or is another cluster's.
    pub async fn open(
        file: PathBuf,
        cluster: &str,
        shards: ShardCount,
    ) -> Result<Self, RegisterError> {
        let stored = file::read(&file).await?;
        let map = stored
            .map(|form| form.open(cluster, shards))
            .transpose()
            .map_err(|error| RegisterError::Unusable(format!("{}: {error}", file.display())))?;
        Ok(Self::holding(
            map.map(Arc::new),
            Some((file, cluster.to_owned())),
        ))
    }

    fn holding(map: Option<Arc<RegisterMap>>, file: Option<(PathBuf, String)>) -> Self {
        let inner = Inner {
            writer: Mutex::default(),
            map: watch::Sender::new(map),
            file,
        };
        Self {
            inner: Arc::new(inner),
        }
    }
}

impl Register for MemoryRegister {
    async fn read(&self) -> Result<Option<Arc<RegisterMap>>, RegisterError> {
        Ok(self.inner.map.borrow().clone())
    }

    async fn compare_and_swap(&self, map: Arc<RegisterMap>) -> Result<(), RegisterError> {
        let _writer = self.inner.writer.lock().await;
        let stored = self.inner.map.borrow().clone();
        if let Some(stored) = &stored {
            follows(stored, &map)?;
        }
        if let Some((file, cluster)) = &self.inner.file {
            file::write(file, &MapForm::of(cluster, &map)).await?;
        }
        steps::tell(stored.as_deref(), &map);
        self.inner.map.send_replace(Some(map));
        Ok(())
    }

    fn watch(&self) -> Maps {
        self.inner.map.subscribe()
    }
}

/// Whether `given` may take the place of `stored`.
///
/// # Errors
/// The reason why not.
pub fn follows(stored: &RegisterMap, given: &RegisterMap) -> Result<(), RegisterError> {
    if stored.count() != given.count() {
        return Err(RegisterError::Shards {
            stored: stored.count(),
            given: given.count(),
        });
    }
    if stored.version().checked_add(1) != Some(given.version()) {
        return Err(RegisterError::Conflict {
            stored: stored.version(),
            given: given.version(),
        });
    }
    match goes_back(stored, given) {
        Some(shard) => Err(RegisterError::Backwards(shard)),
        None => Ok(()),
    }
}

/// The first shard that `given` takes back to an earlier epoch, or whose epoch it gives to
/// another owner (invariant I4).
#[must_use]
pub fn goes_back(stored: &RegisterMap, given: &RegisterMap) -> Option<ShardId> {
    let mut pairs = stored.entries().zip(given.entries());
    let found = pairs.find(|((_, before), (_, after))| back(before, after));
    found.map(|((shard, _), _)| shard)
}

fn back(before: &Entry<Owner>, after: &Entry<Owner>) -> bool {
    after.epoch() < before.epoch()
        || after.spent() < before.spent()
        || (after.epoch() == before.epoch() && after.owner() != before.owner())
}
