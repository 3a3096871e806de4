//! Which workers are being replaced: they are given no shard, so that a rollout moves each
//! shard once (DESIGN section 7).

use std::collections::BTreeSet;
use std::time::Duration;

use hexagram_core::WorkerId;
use k8s_openapi::api::apps::v1::ReplicaSet;
use kube::api::ListParams;
use kube::{Api, ResourceExt};
use tokio::time::Instant;

use crate::client::within;
use crate::pods::{Pods, TEMPLATE, WorkerPod, WorkerPods};
use crate::trouble::Trouble;

/// The annotation in which it counts its templates; one that is taken up again gets a new
/// number.
const REVISION: &str = "deployment.kubernetes.io/revision";
/// Pods of two templates that do not change for so long are a rollout that is stuck or
/// paused: all of them serve on, as equals. After as long a Deployment gives up as well.
const STUCK: Duration = Duration::from_secs(600);

/// The workers' Deployment, as its pods and their templates show it.
pub(crate) struct Rollout {
    api: Api<ReplicaSet>,
    selector: String,
    pods: BTreeSet<String>,
    /// When there were other pods last.
    since: Instant,
    trouble: Trouble,
}

impl Rollout {
    pub(crate) fn new(pods: &Pods) -> Self {
        let place = &pods.place;
        Self {
            api: place.api(),
            selector: pods.selector.clone(),
            pods: BTreeSet::new(),
            since: Instant::now(),
            trouble: Trouble::new("asking which template of the workers is in force"),
        }
    }

    /// Those of `pods` whose end is near: which are being deleted, or which a rollout is
    /// about to replace.
    pub(crate) async fn outgoing(&mut self, pods: &WorkerPods) -> BTreeSet<WorkerId> {
        if !self.pods.iter().eq(pods.keys()) {
            self.pods = pods.keys().cloned().collect();
            self.since = Instant::now();
        }
        let is_mixed = templates(pods).len() > 1 && self.since.elapsed() < STUCK;
        let current = match is_mixed {
            true => self.current().await.or_else(|| newest(pods)),
            false => None,
        };
        outgoing(pods, current.as_deref())
    }

    /// The template that is in force.
    async fn current(&mut self) -> Option<String> {
        let options = ListParams::default().labels(&self.selector);
        let sets = within(self.api.list(&options)).await;
        let current = sets.as_ref().ok().and_then(|sets| latest(&sets.items));
        self.trouble.tell(sets.map(drop));
        current
    }
}

fn latest(sets: &[ReplicaSet]) -> Option<String> {
    let revision = |set: &ReplicaSet| {
        let revision = set.annotations().get(REVISION)?.parse::<u64>().ok()?;
        Some((revision, set.labels().get(TEMPLATE)?.clone()))
    };
    let latest = sets.iter().filter_map(revision).max();
    latest.map(|(_, template)| template)
}

/// The template of the pod that was made last: a guess, where nobody tells.
fn newest(pods: &WorkerPods) -> Option<String> {
    let newest = staying(pods).max_by_key(|pod| pod.made)?;
    newest.template.clone()
}

fn templates(pods: &WorkerPods) -> BTreeSet<Option<&String>> {
    staying(pods).map(|pod| pod.template.as_ref()).collect()
}

fn staying(pods: &WorkerPods) -> impl Iterator<Item = &WorkerPod> {
    pods.values().filter(|pod| !pod.is_going)
}

fn outgoing(pods: &WorkerPods, current: Option<&str>) -> BTreeSet<WorkerId> {
    let is_outdated = |pod: &WorkerPod| current.is_some() && pod.template.as_deref() != current;
    let outgoing = pods
        .iter()
        .filter(|(_, pod)| pod.is_going || is_outdated(pod));
    // What is no worker's name is no worker's pod.
    outgoing.filter_map(|(name, _)| name.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    fn pod(made: i64, template: &str) -> WorkerPod {
        WorkerPod {
            template: Some(template.to_owned()),
            made: Timestamp::from_second(made).ok(),
            ..WorkerPod::default()
        }
    }

    fn pods() -> WorkerPods {
        let going = WorkerPod {
            is_going: true,
            ..pod(9, "new")
        };
        let pods = [("a", pod(1, "old")), ("b", pod(4, "new")), ("d", going)];
        pods.map(|(name, pod)| (name.to_owned(), pod)).into()
    }

    fn set(template: &str, revision: &str) -> ReplicaSet {
        let mut set = ReplicaSet::default();
        set.labels_mut()
            .insert(TEMPLATE.to_owned(), template.to_owned());
        set.annotations_mut()
            .insert(REVISION.to_owned(), revision.to_owned());
        set
    }

    fn names(outgoing: &BTreeSet<WorkerId>) -> Vec<String> {
        outgoing.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn who_is_deleted_or_of_an_older_template_is_outgoing() {
        assert_eq!(names(&outgoing(&pods(), Some("new"))), ["a", "d"]);
        assert_eq!(names(&outgoing(&pods(), None)), ["d"]);
        assert!(outgoing(&WorkerPods::new(), None).is_empty());
    }

    #[test]
    fn a_pod_that_an_older_template_made_anew_is_outdated() {
        let mut pods = pods();
        pods.insert("e".to_owned(), pod(7, "old"));
        let current = latest(&[set("old", "9"), set("new", "10"), ReplicaSet::default()]);
        assert_eq!(names(&outgoing(&pods, current.as_deref())), ["a", "d", "e"]);
    }

    #[test]
    fn without_an_answer_the_newest_pod_that_stays_tells() {
        assert_eq!(newest(&pods()).as_deref(), Some("new"));
        assert_eq!(templates(&pods()).len(), 2);
    }
}
