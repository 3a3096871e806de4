//! The operator: leads, and then runs the controller over the objects of one namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use hexagram_control::{Api, Controller, Register, RegisterError};
use hexagram_core::RegisterMap;
use hexagram_runtime::random::jittered;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::client::Place;
use crate::cost::annotate;
use crate::key_ring::{self, Heard, KeySettings, Rotation};
use crate::lease::Candidate;
use crate::link_certs::{LinkCertsError, LinkSecrets};
use crate::pods::{Pods, WorkerPods};
use crate::register::KubeRegister;
use crate::said::Said;
use crate::story::{self, EventRecorder};
use crate::tasks::Tasks;
use crate::trouble::Trouble;
use crate::upstreams::Upstreams;

#[cfg(test)]
mod tests;

/// Between two tries to have what a leader needs.
const AGAIN: Duration = Duration::from_secs(2);

/// What an operator is told at its start.
#[derive(Clone)]
pub struct Settings {
    /// Its own name, as the lease's holder.
    pub name: String,
    /// The `ShardMap`'s name.
    pub shard_map: String,
    /// The Lease's name.
    pub lease: String,
    /// The key ring's Secret, and when its keys are rotated.
    pub keys: KeySettings,
    /// The Secret in which workers are given the `Upstream` objects, if they are to be.
    pub upstreams_secret: Option<String>,
    /// The Secrets that headers of `Upstream` objects may come from.
    pub header_secrets: BTreeSet<String>,
    /// Names of upstreams that the workers' own settings have.
    pub names_taken: BTreeSet<String>,
    /// The links' certificates, where the operator makes them.
    pub links: Option<LinkSecrets>,
    /// The labels of the workers' pods, as a selector.
    pub workers: String,
    /// The port of the workers' links.
    pub link_port: u16,
    /// What the controller is told.
    pub control: hexagram_control::Settings,
}

/// Why an operator ends that was not told to.
#[derive(Debug, thiserror::Error)]
pub enum Ended {
    /// Another one leads: this one is to start anew, to stand by.
    #[error("the lease was lost to {0}: starting anew, to stand by")]
    Deposed(String),
    /// It leads, and a part of it is gone: another one may lead at once.
    #[error("{0}, which no leader can do without: starting anew")]
    Broken(String),
}

/// Why an operator cannot lead yet.
#[derive(Debug, thiserror::Error)]
enum Unprepared {
    #[error(transparent)]
    Links(#[from] LinkCertsError),
    #[error(transparent)]
    Register(#[from] RegisterError),
}

/// What an operator does now.
#[derive(Clone, Default)]
pub enum Standing {
    /// It has not heard of the lease yet.
    #[default]
    Starting,
    /// Another one leads.
    StandsBy(String),
    /// It has the lease, and cannot lead for this reason.
    Prepares(String),
    /// It leads: this answers orders and tells what is known.
    Leads(Box<Leading>),
}

/// A running controller and its register.
#[derive(Clone)]
pub struct Leading {
    /// The controller.
    pub controller: Controller,
    /// Where the map is.
    pub register: KubeRegister,
    /// What people order.
    pub api: Api<KubeRegister>,
}

/// All that a leader does; it ends with this.
struct Work {
    controller: Controller,
    tasks: Tasks,
    _end: DropGuard,
}

/// One operator.
pub struct Operator {
    place: Place,
    settings: Settings,
    standing: watch::Sender<Standing>,
}

impl Operator {
    /// An operator in `place`, which does nothing yet.
    #[must_use]
    pub fn new(place: Place, settings: Settings) -> Self {
        Self {
            place,
            settings,
            standing: watch::Sender::default(),
        }
    }

    /// What it does now.
    #[must_use]
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Stands by and leads until `shutdown`; then another one may at once.
    ///
    /// # Errors
    /// When another one took the lease, or a part of this one ended.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Ended> {
        let candidate = Candidate::new(&self.place, &self.settings.lease, &self.settings.name);
        let led = shutdown.run_until_cancelled(async {
            candidate.lead(|holder| self.stand_by(holder)).await;
            tracing::info!(lease = self.settings.lease, "this operator leads");
            tokio::select! {
                successor = candidate.keep() => Ended::Deposed(successor),
                broken = self.lead() => Ended::Broken(broken),
            }
        });
        let led = led.await;
        candidate.release().await;
        led.map_or(Ok(()), Err)
    }

    fn stand_by(&self, holder: &str) {
        self.standing.send_if_modified(|standing| {
            let is_news = !matches!(standing, Standing::StandsBy(known) if known == holder);
            if is_news {
                tracing::info!(holder, "this operator stands by");
                *standing = Standing::StandsBy(holder.to_owned());
            }
            is_news
        });
    }

    /// Does what a leader does until a part of that ends; gives which.
    async fn lead(&self) -> String {
        let register = self.prepared().await;
        self.start(register).broken().await
    }

    /// The register, once all is there that a leader needs. What only edges and workers need
    /// is made before that, and where it cannot be, by the leader's tasks.
    async fn prepared(&self) -> KubeRegister {
        let mut trouble = Trouble::new("preparing to lead");
        let mut keys = Trouble::new("making the key ring");
        let mut leaves = Trouble::new("making the certificates of edges and workers");
        loop {
            let ring = &self.settings.keys.secret;
            keys.tell(key_ring::ensure(&self.place, ring).await);
            let error = match self.prepare(&mut leaves).await {
                Ok(register) => return register,
                Err(error) => error,
            };
            let reason = error.to_string();
            self.standing.send_replace(Standing::Prepares(reason));
            trouble.tell(Err(error));
            sleep(jittered(AGAIN)).await;
        }
    }

    async fn prepare(&self, leaves: &mut Trouble) -> Result<KubeRegister, Unprepared> {
        let Settings {
            control,
            shard_map,
            links,
            ..
        } = &self.settings;
        if let Some(links) = links {
            let look = links.take(&self.place).await?;
            leaves.tell(links.renew_leaves(look).await);
        }
        let (cluster, shards) = (&control.cluster, control.shards);
        Ok(KubeRegister::open(self.place.api(), shard_map, cluster, shards).await?)
    }

    /// Starts all that a leader does.
    fn start(&self, register: KubeRegister) -> Work {
        let Settings {
            control,
            name,
            links,
            ..
        } = &self.settings;
        let end = CancellationToken::new();
        let controller = Controller::start(register.clone(), control.clone(), end.clone());
        let pods = self.pods();
        let (seen, workers) = watch::channel(WorkerPods::new());
        let (tell_heard, heard) = watch::channel(Heard::new());
        self.stand(&controller, &register);
        let recorder = EventRecorder::new(&self.place, name);
        let mut tasks = Tasks::default();
        if let Some(news) = controller.news() {
            let tell = story::tell(recorder.clone(), register.clone(), news);
            tasks.spawn("telling what happens", tell);
        }
        let tell = story::tell_mends(recorder.clone(), register.clone(), register.mends());
        tasks.spawn("telling what is put right", tell);
        let rotation = self.rotation(heard, &recorder, &register);
        tasks.spawn("looking after the key ring", rotation.keep());
        if let Some(secret) = self.settings.upstreams_secret.clone() {
            let upstreams = self.upstreams(secret, &controller, &workers, recorder);
            tasks.spawn(
                "giving the Upstream objects to the workers",
                upstreams.keep(),
            );
        }
        if let Some(links) = links.clone() {
            let renew = links.renew(self.place.clone());
            tasks.spawn("renewing the links' certificates", renew);
        }
        let visits = pods
            .clone()
            .introduce(controller.clone(), workers.clone(), tell_heard);
        tasks.spawn("visiting the workers", visits);
        tasks.spawn("following the workers' pods", pods.clone().follow(seen));
        tasks.spawn("looking after the shard map", register.tend());
        let costs = annotate(pods, controller.clone(), workers);
        tasks.spawn("writing what it costs to delete a pod", costs);
        Work {
            controller,
            tasks,
            _end: end.drop_guard(),
        }
    }

    fn rotation(
        &self,
        heard: watch::Receiver<Heard>,
        recorder: &EventRecorder,
        register: &KubeRegister,
    ) -> Rotation {
        Rotation {
            place: self.place.clone(),
            settings: self.settings.keys.clone(),
            heard,
            recorder: recorder.clone(),
            register: register.clone(),
        }
    }

    fn upstreams(
        &self,
        secret: String,
        controller: &Controller,
        pods: &watch::Receiver<WorkerPods>,
        recorder: EventRecorder,
    ) -> Upstreams {
        Upstreams {
            place: self.place.clone(),
            secret,
            headers_from: self.settings.header_secrets.clone(),
            taken: self.settings.names_taken.clone(),
            pods: pods.clone(),
            controller: controller.clone(),
            recorder,
            verdicts: BTreeMap::new(),
            said: Said::default(),
        }
    }

    fn stand(&self, controller: &Controller, register: &KubeRegister) {
        let control = &self.settings.control;
        let (cluster, shards) = (&control.cluster, control.shards);
        let leading = Leading {
            controller: controller.clone(),
            register: register.clone(),
            api: Api::new(controller.clone(), register.clone(), cluster, shards),
        };
        self.standing
            .send_replace(Standing::Leads(Box::new(leading)));
    }

    fn pods(&self) -> Pods {
        let control = &self.settings.control;
        Pods {
            place: self.place.clone(),
            selector: self.settings.workers.clone(),
            port: self.settings.link_port,
            cluster: control.cluster.clone(),
            shards: control.shards,
            dial: Arc::clone(&control.dial),
        }
    }
}

impl Work {
    /// Waits until a part of it ends, though none should; gives which, and how.
    async fn broken(&mut self) -> String {
        tokio::select! {
            // What follows the controller ends with it, and is not the cause.
            biased;
            () = self.controller.ended() => "the controller has ended".to_owned(),
            broken = self.tasks.broken() => broken,
        }
    }
}

impl Standing {
    /// The running controller, where this operator leads.
    #[must_use]
    pub fn leading(&self) -> Option<&Leading> {
        match self {
            Self::Leads(leading) => Some(leading),
            Self::Starting | Self::StandsBy(_) | Self::Prepares(_) => None,
        }
    }
}

impl Leading {
    /// The map in force.
    #[must_use]
    pub fn map(&self) -> Option<Arc<RegisterMap>> {
        self.register.watch().borrow().clone()
    }
}
