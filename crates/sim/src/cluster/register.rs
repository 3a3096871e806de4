//! The register on a host of its own, and the controller's way to it.
//!
//! ```text
//! Remote -> {"read"} | {"swap": map} -> Server -> MemoryRegister
//! ```

use std::io;
use std::sync::Arc;
use std::time::Duration;

use hexagram_control::{MapForm, Maps, MemoryRegister, Register, RegisterError};
use hexagram_core::{RegisterMap, ShardCount};
use hexagram_runtime::listener::Listener;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::sync::watch;
use tokio::time::timeout;

use super::CLUSTER;
use super::net::{Door, Wire, connect};
use super::scenario::REGISTER;
use super::stage::Here;

const PORT: u16 = 7200;
/// A register that does not answer by then is out of reach.
const PATIENCE: Duration = Duration::from_millis(500);
/// Longest message in bytes.
const LARGEST: u64 = 1 << 20;

#[derive(Serialize, Deserialize)]
enum Request {
    Read,
    Swap(MapForm),
}

#[derive(Serialize, Deserialize)]
enum Answer {
    Map(Option<MapForm>),
    Stored,
    Conflict { stored: u64, given: u64 },
    Refused(String),
}

/// What the register holds. It outlives the process that serves it.
#[derive(Clone)]
pub(super) struct Disk {
    shards: ShardCount,
    holds: Arc<Mutex<MemoryRegister>>,
}

impl Disk {
    pub(super) fn new(shards: ShardCount) -> Self {
        let holds = Arc::default();
        Self { shards, holds }
    }

    /// Loses all of it.
    pub(super) fn wipe(&self) {
        *self.holds.lock() = MemoryRegister::default();
    }

    /// What it holds now.
    pub(super) fn map(&self) -> Option<Arc<RegisterMap>> {
        self.register().watch().borrow().clone()
    }

    fn register(&self) -> MemoryRegister {
        self.holds.lock().clone()
    }

    /// Serves it for as long as the process lives.
    pub(super) async fn serve(self, here: Here) -> io::Result<()> {
        let door = Door::open(&here, PORT).await?;
        loop {
            let (wire, _) = door.accept().await?;
            let disk = self.clone();
            tokio::spawn(async move {
                // Who asked will ask again.
                let _ = disk.answer(wire).await;
            });
        }
    }

    async fn answer(self, mut wire: Wire) -> io::Result<()> {
        let answer = match read(&mut wire).await? {
            Request::Read => Answer::Map(self.map().map(|map| MapForm::of(CLUSTER, &map))),
            Request::Swap(form) => self.swap(form).await,
        };
        write(&mut wire, &answer).await
    }

    async fn swap(&self, form: MapForm) -> Answer {
        let map = match form.open(CLUSTER, self.shards) {
            Ok(map) => Arc::new(map),
            Err(error) => return Answer::Refused(error.to_string()),
        };
        match self.register().compare_and_swap(map).await {
            Ok(()) => Answer::Stored,
            Err(RegisterError::Conflict { stored, given }) => Answer::Conflict { stored, given },
            Err(error) => Answer::Refused(error.to_string()),
        }
    }
}

/// The register, as its controller has it.
#[derive(Clone)]
pub(super) struct Remote {
    here: Here,
    shards: ShardCount,
    known: watch::Sender<Option<Arc<RegisterMap>>>,
}

impl Remote {
    pub(super) fn new(here: &Here, shards: ShardCount) -> Self {
        Self {
            here: here.clone(),
            shards,
            known: watch::Sender::new(None),
        }
    }

    async fn ask(&self, request: &Request) -> Result<Answer, RegisterError> {
        let asked = async {
            let mut wire = connect(&self.here, REGISTER, PORT).await?;
            write(&mut wire, request).await?;
            read(&mut wire).await
        };
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        let answer = timeout(PATIENCE, asked).await.map_err(late).flatten();
        answer.map_err(|error| unusable(&error))
    }
}

impl Register for Remote {
    async fn read(&self) -> Result<Option<Arc<RegisterMap>>, RegisterError> {
        let form = match self.ask(&Request::Read).await? {
            Answer::Map(form) => form,
            _ => return Err(unusable(&"no answer to what was asked")),
        };
        let map = form.map(|form| form.open(CLUSTER, self.shards)).transpose();
        let map = map.map_err(|error| unusable(&error))?.map(Arc::new);
        self.known.send_if_modified(|known| {
            let is_news = *known != map;
            known.clone_from(&map);
            is_news
        });
        Ok(map)
    }

    async fn compare_and_swap(&self, map: Arc<RegisterMap>) -> Result<(), RegisterError> {
        let form = MapForm::of(CLUSTER, &map);
        match self.ask(&Request::Swap(form)).await? {
            Answer::Stored => {
                self.known.send_replace(Some(map));
                Ok(())
            }
            Answer::Conflict { stored, given } => Err(RegisterError::Conflict { stored, given }),
            Answer::Refused(why) => Err(RegisterError::Unusable(why)),
            Answer::Map(_) => Err(unusable(&"no answer to what was asked")),
        }
    }

    fn watch(&self) -> Maps {
        self.known.subscribe()
    }
}

fn unusable(why: &dyn std::fmt::Display) -> RegisterError {
    RegisterError::Unusable(why.to_string())
}

async fn write(wire: &mut Wire, message: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    wire.write_all(&line).await
}

async fn read<T: for<'a> Deserialize<'a>>(wire: &mut Wire) -> io::Result<T> {
    let mut line = Vec::new();
    let mut from = BufReader::new(wire).take(LARGEST);
    from.read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}
