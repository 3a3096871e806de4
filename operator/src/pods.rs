//! The workers, found as pods: each is asked who it is, and joins the controller's cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use hexagram_control::{Controller, visit};
use hexagram_core::{ShardCount, WorkerId};
use hexagram_proto::Dial;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::watcher::Event;
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, ResourceExt};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::client::Place;
use crate::cost::COST;
use crate::source::Steady;

/// Between two visits of all workers: a container that is restarted in place is another
/// life at the same address.
const ROUND: Duration = Duration::from_secs(2);

/// The label in which a Deployment says of which template a pod is.
const TEMPLATE: &str = "pod-template-hash";

/// A worker's pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerPod {
    /// Its address, while it may be asked there.
    pub(crate) host: Option<String>,
    /// The cost that stands on it.
    pub(crate) cost: Option<i64>,
    /// Of which template it was made.
    pub(crate) template: Option<String>,
    pub(crate) made: Option<Timestamp>,
    /// It is being deleted.
    pub(crate) is_going: bool,
}

/// Those whose end is near: which are being deleted, or are of another template than the
/// newest pod, so that a rollout replaces them.
fn outgoing(pods: &WorkerPods) -> BTreeSet<WorkerId> {
    let newest = pods.values().max_by_key(|pod| pod.made);
    let current = newest.and_then(|pod| pod.template.clone());
    let outgoing = pods
        .iter()
        .filter(|(_, pod)| pod.is_going || pod.template != current);
    // What is no worker's name is no worker's pod.
    outgoing.filter_map(|(name, _)| name.parse().ok()).collect()
}

/// All of them, by name.
pub(crate) type WorkerPods = BTreeMap<String, WorkerPod>;

/// How workers are found and asked.
#[derive(Clone)]
pub(crate) struct Pods {
    pub(crate) place: Place,
    pub(crate) selector: String,
    pub(crate) port: u16,
    pub(crate) cluster: String,
    pub(crate) shards: ShardCount,
    pub(crate) dial: Dial,
}

impl Pods {
    pub(crate) fn api(&self) -> Api<Pod> {
        Api::namespaced(self.place.client.clone(), &self.place.namespace)
    }

    /// Follows the pods until nobody wants to know any more.
    pub(crate) async fn follow(self, seen: watch::Sender<WorkerPods>) {
        let config = watcher::Config::default().labels(&self.selector);
        let mut events = pin!(watcher(self.api(), config).backoff(Steady));
        let mut listed = WorkerPods::new();
        while let Some(event) = events.next().await {
            match event {
                Ok(event) => note(event, &seen, &mut listed),
                Err(error) => tracing::debug!(%error, "the pods are not followed, trying again"),
            }
            if seen.is_closed() {
                return;
            }
        }
    }

    /// Visits all workers, again and again, and has them join.
    pub(crate) async fn introduce(
        self,
        controller: Controller,
        mut pods: watch::Receiver<WorkerPods>,
    ) {
        let mut silent = BTreeSet::new();
        loop {
            let now = pods.borrow_and_update().clone();
            controller.outgoing(outgoing(&now)).await;
            let visits = now.iter().filter_map(|(name, pod)| {
                let host = pod.host.as_deref()?;
                Some(self.introduce_one(&controller, name, host))
            });
            let failed: BTreeSet<_> = join_all(visits).await.into_iter().flatten().collect();
            for (name, reason) in failed.difference(&silent) {
                tracing::debug!(pod = name, reason, "a worker does not introduce itself yet");
            }
            silent = failed;
            if let Ok(Err(_)) = timeout(ROUND, pods.changed()).await {
                return;
            }
        }
    }

    /// Gives the pod and the reason, where the worker did not introduce itself.
    async fn introduce_one(
        &self,
        controller: &Controller,
        name: &str,
        host: &str,
    ) -> Option<(String, String)> {
        let place = at(host, self.port);
        let asked = visit(&(self.dial)(&place), &place, &self.cluster, self.shards).await;
        match asked {
            Ok(who) => {
                // Why one may not join is told by the controller.
                let _ = controller.join(who).await;
                None
            }
            Err(error) => Some((name.to_owned(), error.to_string())),
        }
    }
}

fn at(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

/// Takes an event in; `listed` is what a list that has not ended has had so far.
fn note(event: Event<Pod>, seen: &watch::Sender<WorkerPods>, listed: &mut WorkerPods) {
    match event {
        Event::Init => listed.clear(),
        Event::InitApply(pod) => {
            listed.insert(pod.name_any(), read(&pod));
        }
        Event::InitDone => {
            let all = std::mem::take(listed);
            tell(seen, |pods| *pods = all);
        }
        Event::Apply(pod) => tell(seen, |pods| {
            pods.insert(pod.name_any(), read(&pod));
        }),
        Event::Delete(pod) => tell(seen, |pods| {
            pods.remove(&pod.name_any());
        }),
    }
}

fn tell(seen: &watch::Sender<WorkerPods>, change: impl FnOnce(&mut WorkerPods)) {
    seen.send_if_modified(|pods| {
        let before = pods.clone();
        change(pods);
        *pods != before
    });
}

fn read(pod: &Pod) -> WorkerPod {
    let status = pod.status.as_ref();
    let phase = status.and_then(|status| status.phase.as_deref());
    let host = status.and_then(|status| status.pod_ip.clone());
    let cost = pod.annotations().get(COST);
    let made = pod.metadata.creation_timestamp.as_ref();
    WorkerPod {
        host: host.filter(|_| phase == Some("Running")),
        cost: cost.and_then(|cost| cost.parse().ok()),
        template: pod.labels().get(TEMPLATE).cloned(),
        made: made.map(|time| time.0),
        is_going: pod.metadata.deletion_timestamp.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodStatus;

    use super::*;

    fn pod(name: &str, phase: &str) -> Pod {
        let status = PodStatus {
            phase: Some(phase.to_owned()),
            pod_ip: Some("10.0.0.7".to_owned()),
            ..PodStatus::default()
        };
        let mut pod = Pod {
            status: Some(status),
            ..Pod::default()
        };
        pod.metadata.name = Some(name.to_owned());
        pod
    }

    #[test]
    fn a_new_list_takes_the_place_of_what_was_seen() {
        let (seen, mut listed) = (watch::Sender::new(WorkerPods::new()), WorkerPods::new());
        note(Event::Apply(pod("a", "Running")), &seen, &mut listed);
        note(Event::Init, &seen, &mut listed);
        note(Event::InitApply(pod("b", "Running")), &seen, &mut listed);
        assert_eq!(seen.borrow().keys().collect::<Vec<_>>(), ["a"]);
        note(Event::InitDone, &seen, &mut listed);
        assert_eq!(seen.borrow().keys().collect::<Vec<_>>(), ["b"]);
        note(Event::Delete(pod("b", "Running")), &seen, &mut listed);
        assert!(seen.borrow().is_empty());
    }

    #[test]
    fn only_who_runs_is_asked() {
        assert_eq!(read(&pod("a", "Running")).host.as_deref(), Some("10.0.0.7"));
        assert_eq!(read(&pod("a", "Pending")).host, None);
        assert_eq!(read(&pod("a", "Failed")).host, None);
    }

    #[test]
    fn who_is_deleted_or_of_an_older_template_is_outgoing() {
        let at = |made: i64, template: &str| WorkerPod {
            template: Some(template.to_owned()),
            made: Timestamp::from_second(made).ok(),
            ..WorkerPod::default()
        };
        let going = WorkerPod {
            is_going: true,
            ..at(5, "new")
        };
        let pods = [
            ("a", at(1, "old")),
            ("b", at(9, "new")),
            ("c", at(4, "new")),
            ("d", going),
        ];
        let pods = pods.map(|(name, pod)| (name.to_owned(), pod)).into();
        let names: Vec<_> = outgoing(&pods).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a", "d"]);
        assert!(outgoing(&WorkerPods::new()).is_empty());
    }

    #[test]
    fn addresses_of_both_families() {
        assert_eq!(at("10.0.0.7", 7100), "10.0.0.7:7100");
        assert_eq!(at("fd00::7", 7100), "[fd00::7]:7100");
    }
}
