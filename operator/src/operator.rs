//! The operator: leads, and then runs the controller over the objects of one namespace.

use std::sync::Arc;

use hexagram_control::{Api, Controller, Register, RegisterError};
use hexagram_core::RegisterMap;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::client::Place;
use crate::cost::annotate;
use crate::key_ring::{self, KeyRingError};
use crate::lease::Candidate;
use crate::pods::{Pods, WorkerPods};
use crate::register::KubeRegister;
use crate::story;

/// What an operator is told at its start.
#[derive(Clone)]
pub struct Settings {
    /// Its own name, as the lease's holder.
    pub name: String,
    /// The `ShardMap`'s name.
    pub shard_map: String,
    /// The Lease's name.
    pub lease: String,
    /// The Secret in which the key ring is, or is to be.
    pub keys_secret: String,
    /// The labels of the workers' pods, as a selector.
    pub workers: String,
    /// The port of the workers' links.
    pub link_port: u16,
    /// What the controller is told.
    pub control: hexagram_control::Settings,
}

/// Why an operator ends before it is told to.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// There is no usable key ring.
    #[error(transparent)]
    Keys(#[from] KeyRingError),
    /// The shard map cannot be used.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// Another one leads.
    #[error("the lease was lost to {0}: starting anew, to stand by")]
    Deposed(String),
}

/// What an operator does now.
#[derive(Clone, Default)]
pub enum Standing {
    /// It has not heard of the lease yet.
    #[default]
    Starting,
    /// Another one leads.
    StandsBy(String),
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
    /// When there is no key ring or shard map to work with, or another one leads.
    pub async fn run(self, shutdown: CancellationToken) -> Result<(), OperatorError> {
        let candidate = Candidate::new(&self.place, &self.settings.lease, &self.settings.name);
        let led = shutdown.run_until_cancelled(async {
            candidate.lead(|holder| self.stand_by(holder)).await;
            tracing::info!(lease = self.settings.lease, "this operator leads");
            let _tasks = self.lead().await?;
            let successor = candidate.keep().await;
            Err(OperatorError::Deposed(successor))
        });
        let led = led.await.unwrap_or(Ok(()));
        candidate.release().await;
        led
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

    /// Starts all that a leader does; it ends with what is returned.
    async fn lead(&self) -> Result<Vec<AbortOnDropHandle<()>>, OperatorError> {
        let Settings { control, .. } = &self.settings;
        let (cluster, shards) = (&control.cluster, control.shards);
        key_ring::ensure(&self.place, &self.settings.keys_secret).await?;
        let name = &self.settings.shard_map;
        let register = KubeRegister::open(&self.place, name, cluster, shards).await?;
        let end = CancellationToken::new();
        let controller = Controller::start(register.clone(), control.clone(), end.clone());
        let pods = self.pods();
        let (seen, workers) = watch::channel(WorkerPods::new());
        let api = Api::new(controller.clone(), register.clone(), cluster, shards);
        self.standing
            .send_replace(Standing::Leads(Box::new(Leading {
                controller: controller.clone(),
                register: register.clone(),
                api,
            })));
        let about = register.reference().await;
        let news = controller.news();
        let (place, name) = (self.place.clone(), self.settings.name.clone());
        let story = news.map(|news| spawn(story::tell(place, name, about, news)));
        let end = end.drop_guard();
        let lasting = async move {
            let _end = end;
            register.tend().await;
        };
        let tasks = [
            spawn(lasting),
            spawn(pods.clone().follow(seen)),
            spawn(pods.clone().introduce(controller.clone(), workers.clone())),
            spawn(annotate(pods, controller, workers)),
        ];
        Ok(tasks.into_iter().chain(story).collect())
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
            Self::Starting | Self::StandsBy(_) => None,
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
