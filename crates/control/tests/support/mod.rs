//! Scripted workers behind real gRPC ports, and waiting for what they bring about.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hexagram_control::{
    ControlMetrics, Controller, Introduction, Maps, MemoryRegister, Register, Settings,
};
use hexagram_core::{Incarnation, Owner, RegisterMap, ShardCount};
use hexagram_proto::admin::admin_server::{Admin, AdminServer};
use hexagram_proto::admin::{Held, KnownMap, MapRequest, Phase, Report, WatchRequest};
use hexagram_proto::{WorkerAddress, map_message};
use hexagram_runtime::metrics::Metrics;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

pub(crate) const SHARDS: u16 = 16;
/// Generous: it passes only when something hangs.
pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn shards() -> ShardCount {
    SHARDS.try_into().unwrap()
}

/// The controller of a register, ended with the token.
pub(crate) fn control(
    register: &MemoryRegister,
    expected: usize,
) -> (Controller, CancellationToken) {
    counted(register, expected, &Metrics::new())
}

/// As [`control`], with its metrics among these.
pub(crate) fn counted(
    register: &MemoryRegister,
    expected: usize,
    metrics: &Metrics,
) -> (Controller, CancellationToken) {
    let settings = Settings {
        cluster: "c".into(),
        shards: shards(),
        expected: Some(expected),
        dial: Arc::new(|address| WorkerAddress::Tcp(address.to_owned())),
        metrics: ControlMetrics::register(metrics),
    };
    let end = CancellationToken::new();
    let control = Controller::start(register.clone(), settings, end.clone());
    (control, end)
}

/// The first map that `accepts`.
pub(crate) async fn until(
    what: &str,
    maps: &mut Maps,
    accepts: impl Fn(&RegisterMap) -> bool,
) -> Arc<RegisterMap> {
    let found = maps.wait_for(|map| map.as_deref().is_some_and(&accepts));
    match timeout(DEADLINE, found).await {
        Ok(map) => map.unwrap().clone().unwrap(),
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}

/// How many shards the worker owns.
pub(crate) fn owned(map: &RegisterMap, owner: &Owner) -> usize {
    map.entries()
        .filter(|(_, entry)| entry.owner() == owner)
        .count()
}

/// Whether no shard moves.
pub(crate) fn rests(map: &RegisterMap) -> bool {
    map.entries().all(|(_, entry)| entry.plan().is_none())
}

/// A worker that does at once what the register says.
pub(crate) struct Puppet {
    pub(crate) owner: Owner,
    pub(crate) address: SocketAddr,
    reports: watch::Sender<Report>,
    // `None` as a worker of the release before, which has no such answer.
    map: watch::Sender<Option<KnownMap>>,
    asked: watch::Sender<u64>,
    hangs: Arc<AtomicBool>,
    end: CancellationToken,
}

impl Puppet {
    pub(crate) async fn start(worker: u8, life: u64, register: &MemoryRegister) -> Self {
        let owner = Owner {
            worker: format!("worker-{worker}").parse().unwrap(),
            incarnation: Incarnation::new(life).unwrap(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let first = Report {
            name: owner.worker.to_string(),
            incarnation: life,
            ..Report::default()
        };
        let this = Self {
            owner,
            address,
            reports: watch::Sender::new(first),
            map: watch::Sender::default(),
            asked: watch::Sender::default(),
            hangs: Arc::default(),
            end: CancellationToken::new(),
        };
        let service = AdminServer::new(this.service());
        let incoming = TcpListenerStream::new(listener);
        let end = this.end.clone().cancelled_owned();
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming_shutdown(incoming, end));
        this.obey(register);
        this
    }

    pub(crate) async fn joined(
        worker: u8,
        life: u64,
        register: &MemoryRegister,
        control: &Controller,
    ) -> Self {
        let this = Self::start(worker, life, register).await;
        this.join(control).await;
        this
    }

    pub(crate) async fn join(&self, control: &Controller) {
        control.join(self.introduced()).await.unwrap();
    }

    /// What it says as it joins: nothing of its setup.
    pub(crate) fn introduced(&self) -> Introduction {
        Introduction::new(self.owner.clone(), self.address.to_string())
    }

    /// Port closed, connections ended.
    pub(crate) fn die(&self) {
        self.end.cancel();
    }

    /// As after SIGSTOP: the port takes connections and nothing answers.
    pub(crate) fn hang(&self) {
        self.hangs.store(true, Ordering::SeqCst);
    }

    /// Claims to know these epochs of shard 0.
    pub(crate) fn knows(&self, spent: u64) {
        self.reports.send_modify(|report| {
            let shard = report.shards.iter_mut().find(|held| held.shard == 0);
            shard.unwrap().spent = spent;
        });
    }

    /// Tells this map to those who ask for one.
    pub(crate) fn tells(&self, map: &RegisterMap) {
        self.map.send_replace(Some(map_message(map)));
    }

    /// Waits until somebody has asked for a map.
    pub(crate) async fn was_asked(&self) {
        let mut asked = self.asked.subscribe();
        let once = asked.wait_for(|asked| *asked > 0);
        timeout(DEADLINE, once).await.unwrap().unwrap();
    }

    fn service(&self) -> Service {
        Service {
            reports: self.reports.clone(),
            map: self.map.subscribe(),
            asked: self.asked.clone(),
            hangs: Arc::clone(&self.hangs),
            end: self.end.clone(),
        }
    }

    fn obey(&self, register: &MemoryRegister) {
        let (mut maps, owner) = (register.watch(), self.owner.clone());
        let reports = self.reports.clone();
        let obey = async move {
            let mut held = BTreeMap::new();
            loop {
                let map = maps.borrow_and_update().clone();
                if let Some(map) = map {
                    follow(&map, &owner, &mut held);
                    let shards = held.values().copied().collect();
                    reports.send_modify(|report| report.shards = shards);
                }
                if maps.changed().await.is_err() {
                    return;
                }
            }
        };
        tokio::spawn(self.end.clone().run_until_cancelled_owned(obey));
    }
}

impl Drop for Puppet {
    fn drop(&mut self) {
        self.end.cancel();
    }
}

/// Serves what it owns and what is to come here, grants what is to go.
fn follow(map: &RegisterMap, owner: &Owner, all: &mut BTreeMap<u16, Held>) {
    for (shard, entry) in map.entries() {
        let (phase, epoch) = match entry.plan() {
            Some(plan) if plan.to == *owner => (Phase::Serving, plan.epoch.get()),
            Some(plan) if entry.owner() == owner => (Phase::Granted, plan.epoch.get()),
            _ if entry.owner() == owner => (Phase::Serving, entry.epoch().get()),
            _ => (Phase::Absent, 0),
        };
        let held = all.entry(shard.get()).or_default();
        held.shard = u32::from(shard.get());
        held.phase = phase.into();
        held.epoch = epoch;
        held.spent = held.spent.max(epoch);
    }
}

struct Service {
    reports: watch::Sender<Report>,
    map: watch::Receiver<Option<KnownMap>>,
    asked: watch::Sender<u64>,
    hangs: Arc<AtomicBool>,
    end: CancellationToken,
}

#[tonic::async_trait]
impl Admin for Service {
    type WatchStream = Pin<Box<dyn tokio_stream::Stream<Item = Result<Report, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<WatchRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        assert_eq!(request.into_inner().cluster, "c");
        let (sender, stream) = mpsc::channel(1);
        let (mut reports, hangs) = (self.reports.subscribe(), Arc::clone(&self.hangs));
        let tell = async move {
            loop {
                let report = reports.borrow_and_update().clone();
                if !hangs.load(Ordering::SeqCst) && sender.send(Ok(report)).await.is_err() {
                    return;
                }
                tokio::select! {
                    _ = reports.changed() => {}
                    () = sleep(Duration::from_millis(500)) => {}
                }
            }
        };
        tokio::spawn(self.end.clone().run_until_cancelled_owned(tell));
        Ok(Response::new(Box::pin(ReceiverStream::new(stream))))
    }

    async fn map(&self, request: Request<MapRequest>) -> Result<Response<KnownMap>, Status> {
        assert_eq!(request.into_inner().cluster, "c");
        if self.hangs.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let known = self.map.borrow().clone();
        self.asked.send_modify(|asked| *asked += 1);
        known
            .map(Response::new)
            .ok_or_else(|| Status::unimplemented(""))
    }
}

/// Waits until the worker has heard that it owns shard 0.
pub(crate) async fn serving(puppet: &Puppet) {
    let mut reports = puppet.reports.subscribe();
    let heard = reports.wait_for(|report| !report.shards.is_empty());
    timeout(DEADLINE, heard).await.unwrap().unwrap();
}

/// What `probe` finds, as soon as it finds it.
pub(crate) async fn eventually<T>(what: &str, mut probe: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = probe().await {
                return found;
            }
            sleep(Duration::from_millis(20)).await;
        }
    };
    match timeout(DEADLINE, looking).await {
        Ok(found) => found,
        Err(_) => panic!("{what}: not within {DEADLINE:?}"),
    }
}
