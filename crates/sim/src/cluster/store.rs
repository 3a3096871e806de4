//! The session store on a host of its own, and the workers' way to it.
//!
//! What is asked and answered lies in a shared place; only its number crosses the
//! network. So requests and answers are late, or lost, as those of any store are.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hexagram_core::ShardId;
use hexagram_runtime::listener::Listener;
use hexagram_store::{
    Arrived, Claim, Claimed, Group, MemoryStore, Record, Snapshot, Store, StoreError, Written,
};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::net::{Door, Wire, connect};
use super::scenario::STORE;
use super::stage::Here;

const PORT: u16 = 6379;
/// As long as the product waits for Valkey.
const PATIENCE: Duration = Duration::from_secs(1);

enum Parcel {
    Claim(Claim),
    Load(ShardId),
    Write(Vec<Group>),
    Claimed(Result<Claimed, StoreError>),
    Loaded(Result<Record, StoreError>),
    Wrote(Result<Written, StoreError>),
}

/// What the store holds, and what is on its way.
#[derive(Clone, Default)]
pub(super) struct Vault {
    store: MemoryStore,
    parcels: Arc<Mutex<(u64, BTreeMap<u64, Parcel>)>>,
    backup: Arc<Mutex<Option<Snapshot>>>,
}

impl Vault {
    /// Does nothing that it is asked, or all of it again.
    pub(super) fn set_down(&self, down: bool) {
        self.store.set_down(down);
    }

    /// Does what it is asked and does not say so, or says so again.
    pub(super) fn set_mute(&self, mute: bool) {
        self.store.set_mute(mute);
    }

    /// Loses all of it.
    pub(super) fn wipe(&self) {
        self.store.wipe();
    }

    /// Backs up what it holds.
    pub(super) fn back_up(&self) {
        *self.backup.lock() = Some(self.store.snapshot());
    }

    /// Goes back to the backup.
    pub(super) fn roll_back(&self) {
        if let Some(backup) = &*self.backup.lock() {
            self.store.restore(backup);
        }
    }

    fn put(&self, parcel: Parcel) -> u64 {
        let mut parcels = self.parcels.lock();
        parcels.0 += 1;
        let number = parcels.0;
        parcels.1.insert(number, parcel);
        number
    }

    fn take(&self, number: u64) -> io::Result<Parcel> {
        let parcel = self.parcels.lock().1.remove(&number);
        parcel.ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Serves it for as long as the machine lives.
    pub(super) async fn serve(self, here: Here) -> io::Result<()> {
        let door = Door::open(&here, PORT).await?;
        loop {
            let (wire, _) = door.accept().await?;
            let vault = self.clone();
            tokio::spawn(async move {
                // Who asked will ask again.
                let _ = vault.answer(wire).await;
            });
        }
    }

    async fn answer(self, mut wire: Wire) -> io::Result<()> {
        let answer = match self.take(wire.read_u64().await?)? {
            Parcel::Claim(claim) => Parcel::Claimed(self.store.claim(claim).await),
            Parcel::Load(shard) => Parcel::Loaded(self.store.load(shard, &|| {}).await),
            Parcel::Write(groups) => Parcel::Wrote(self.store.write(&groups).await),
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        wire.write_u64(self.put(answer)).await
    }
}

/// The store, as a worker has it.
pub(super) struct Remote {
    here: Here,
    vault: Vault,
}

impl Remote {
    pub(super) fn new(here: &Here, vault: Vault) -> Self {
        let here = here.clone();
        Self { here, vault }
    }

    async fn ask(&self, question: Parcel) -> Result<Parcel, StoreError> {
        let asked = async {
            let mut wire = connect(&self.here, STORE, PORT).await?;
            wire.write_u64(self.vault.put(question)).await?;
            self.vault.take(wire.read_u64().await?)
        };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let answer = timeout(PATIENCE, asked).await.map_err(late).flatten();
        answer.map_err(|error| StoreError::Lost(error.to_string()))
    }
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Remote").field(&self.here.owner()).finish()
    }
}

fn odd<T>() -> Result<T, StoreError> {
    Err(StoreError::Unusable(
        "no answer to what was asked".to_owned(),
    ))
}

impl Store for Remote {
    fn claim(&self, claim: Claim) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        let asked = async move {
            match self.ask(Parcel::Claim(claim)).await? {
                Parcel::Claimed(claimed) => claimed,
                _ => odd(),
            }
        };
        asked.boxed()
    }

    fn load<'a>(
        &'a self,
        shard: ShardId,
        _: Arrived<'a>,
    ) -> BoxFuture<'a, Result<Record, StoreError>> {
        let asked = async move {
            match self.ask(Parcel::Load(shard)).await? {
                Parcel::Loaded(record) => record,
                _ => odd(),
            }
        };
        asked.boxed()
    }

    fn write<'a>(&'a self, groups: &'a [Group]) -> BoxFuture<'a, Result<Written, StoreError>> {
        let asked = async move {
            match self.ask(Parcel::Write(groups.to_vec())).await? {
                Parcel::Wrote(wrote) => wrote,
                _ => odd(),
            }
        };
        asked.boxed()
    }
}
