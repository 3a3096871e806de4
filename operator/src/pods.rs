//! The workers, found as pods.

use std::collections::BTreeMap;
use std::pin::pin;

use futures_util::StreamExt;
use hexagram_core::ShardCount;
use hexagram_proto::Dial;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use tokio::sync::watch;

use crate::client::Place;
use crate::listing::Listing;
use crate::source::{events, watching};
use crate::trouble::Trouble;

/// The annotation that the ReplicaSet controller reads: what it costs to delete the pod.
pub(crate) const COST: &str = "controller.kubernetes.io/pod-deletion-cost";
/// The annotation of the version of the upstreams' Secret that the pod is to have.
pub(crate) const TOLD: &str = "hexagram.dev/upstreams";
/// The label in which a Deployment says of which template the pod is.
pub(crate) const TEMPLATE: &str = "pod-template-hash";

/// A worker's pod.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct WorkerPod {
    /// Its address, while it may be asked there.
    pub(crate) host: Option<String>,
    /// The cost that stands on it.
    pub(crate) cost: Option<i64>,
    /// Which upstreams it was told of.
    pub(crate) told: Option<String>,
    /// Of which template it was made.
    pub(crate) template: Option<String>,
    pub(crate) made: Option<Timestamp>,
    /// It is being deleted.
    pub(crate) is_going: bool,
    /// Its processes have ended for good.
    pub(crate) has_ended: bool,
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
    /// Follows the pods until nobody wants to know any more.
    pub(crate) async fn follow(self, seen: watch::Sender<WorkerPods>) {
        let mut events = pin!(events(self.place.api(), watching().labels(&self.selector)));
        let mut pods = Listing::new();
        let mut trouble = Trouble::new("following the workers' pods");
        while let Some(event) = events.next().await {
            trouble.tell(event.map(|event| pods.note(event, |pod| read(&pod))));
            tell(&seen, &pods);
            if seen.is_closed() {
                return;
            }
        }
    }
}

/// Shows all that are listed, where they are others than before.
fn tell(seen: &watch::Sender<WorkerPods>, listing: &Listing<WorkerPod>) {
    let Some(all) = listing.all() else { return };
    seen.send_if_modified(|pods| {
        let is_news = pods != all;
        if is_news {
            pods.clone_from(all);
        }
        is_news
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
        told: pod.annotations().get(TOLD).cloned(),
        template: pod.labels().get(TEMPLATE).cloned(),
        made: made.map(|time| time.0),
        is_going: pod.metadata.deletion_timestamp.is_some(),
        has_ended: matches!(phase, Some("Failed" | "Succeeded")),
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::PodStatus;
    use kube::runtime::watcher::Event;

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
        let (seen, mut pods) = (watch::Sender::new(WorkerPods::new()), Listing::new());
        let mut note = |event| {
            pods.note(event, |pod| read(&pod));
            tell(&seen, &pods);
        };
        note(Event::Apply(pod("a", "Running")));
        note(Event::Init);
        note(Event::InitApply(pod("b", "Running")));
        assert_eq!(seen.borrow().keys().collect::<Vec<_>>(), ["a"]);
        note(Event::InitDone);
        assert_eq!(seen.borrow().keys().collect::<Vec<_>>(), ["b"]);
        note(Event::Delete(pod("b", "Running")));
        assert!(seen.borrow().is_empty());
    }

    #[test]
    fn only_who_runs_is_asked() {
        assert_eq!(read(&pod("a", "Running")).host.as_deref(), Some("10.0.0.7"));
        assert_eq!(read(&pod("a", "Pending")).host, None);
        assert_eq!(read(&pod("a", "Failed")).host, None);
    }

    #[test]
    fn a_pod_of_a_last_phase_has_ended() {
        let has_ended = |phase| read(&pod("a", phase)).has_ended;
        assert!(has_ended("Failed") && has_ended("Succeeded"));
        assert!(!has_ended("Running") && !has_ended("Pending") && !has_ended("Unknown"));
        assert!(!read(&Pod::default()).has_ended);
    }
}
