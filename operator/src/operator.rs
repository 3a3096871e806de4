//! The operator: leads, and then runs the controller over the objects of one namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use hexagram_control::{Api, Controller, Register, RegisterError};
use hexagram_core::RegisterMap;
use hexagram_runtime::random::jittered;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::client::Place;
use crate::cost::annotate;
use crate::key_ring::{self, Heard, KeyRingError, KeySettings, Rotation};
use crate::lease::Candidate;
use crate::link_certs::{LinkCertsError, LinkSecrets};
use crate::pods::{Pods, WorkerPods};
use crate::register::KubeRegister;
use crate::story::{self, EventRecorder};
use crate::trouble::Trouble;
use crate::upstreams::Upstreams;

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

/// Another one leads: this one is to start anew, to stand by.
#[derive(Debug, thiserror::Error)]
#[error("the lease was lost to {0}: starting anew, to stand by")]
pub struct Deposed(String);

/// Why an operator cannot lead yet.
#[derive(Debug, thiserror::Error)]
enum Unprepared {
    #[error(transparent)]
    Keys(#[from] KeyRingError),
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
    /// When another one took the lease.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), Deposed> {
        let candidate = Candidate::new(&self.place, &self.settings.lease, &self.settings.name);
        let led = shutdown.run_until_cancelled(async {
            candidate.lead(|holder| self.stand_by(holder)).await;
            tracing::info!(lease = self.settings.lease, "this operator leads");
            tokio::select! {
                successor = candidate.keep() => Deposed(successor),
                never = self.lead() => match never {},
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

    /// Does what a leader does.
    async fn lead(&self) -> Infallible {
        let register = self.prepared().await;
        let _tasks = self.start(register);
        pending().await
    }

    /// The register, once all is there that a leader needs.
    async fn prepared(&self) -> KubeRegister {
        let mut trouble = Trouble::new("preparing to lead");
        loop {
            let error = match self.prepare().await {
                Ok(register) => return register,
                Err(error) => error,
            };
            let reason = error.to_string();
            self.standing.send_replace(Standing::Prepares(reason));
            trouble.tell(Err(error));
            sleep(jittered(AGAIN)).await;
        }
    }

    async fn prepare(&self) -> Result<KubeRegister, Unprepared> {
        let Settings {
            control,
            shard_map,
            keys,
            links,
            ..
        } = &self.settings;
        key_ring::ensure(&self.place, &keys.secret).await?;
        if let Some(links) = links {
            links.ensure(&self.place).await?;
        }
        let (cluster, shards) = (&control.cluster, control.shards);
        Ok(KubeRegister::open(self.place.api(), shard_map, cluster, shards).await?)
    }

    /// Starts all that a leader does; it ends with what is returned.
    fn start(&self, register: KubeRegister) -> Vec<AbortOnDropHandle<()>> {
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
        let news = controller.news();
        let recorder = EventRecorder::new(&self.place, name);
        let story = news.map(|news| spawn(story::tell(recorder.clone(), register.clone(), news)));
        let rotation = Rotation {
            place: self.place.clone(),
            settings: self.settings.keys.clone(),
            heard,
            recorder: recorder.clone(),
            register: register.clone(),
        };
        let upstreams = self.settings.upstreams_secret.clone().map(|secret| {
            let upstreams = Upstreams {
                place: self.place.clone(),
                secret,
                headers_from: self.settings.header_secrets.clone(),
                taken: self.settings.names_taken.clone(),
                pods: workers.clone(),
                controller: controller.clone(),
                recorder,
                verdicts: BTreeMap::new(),
                written: BTreeMap::new(),
            };
            spawn(upstreams.keep())
        });
        let links = links.clone();
        let links = links.map(|links| spawn(links.renew(self.place.clone())));
        let end = end.drop_guard();
        let lasting = async move {
            let _end = end;
            register.tend().await;
        };
        let introduce = pods.clone();
        let introduce = introduce.introduce(controller.clone(), workers.clone(), tell_heard);
        let tasks = [
            spawn(lasting),
            spawn(pods.clone().follow(seen)),
            spawn(rotation.keep()),
            spawn(introduce),
            spawn(annotate(pods, controller, workers)),
        ];
        let more = [story, upstreams, links].into_iter().flatten();
        tasks.into_iter().chain(more).collect()
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

fn spawn(task: impl Future<Output = ()> + Send + 'static) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(task))
}
