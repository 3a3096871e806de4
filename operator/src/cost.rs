//! What it costs to delete a worker: `kubectl scale` then removes the cheapest.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_control::{Controller, Overview};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{Patch, PatchParams};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::client::within;
use crate::pods::{COST, Pods, WorkerPods};
use crate::trouble::Trouble;

/// Between two looks; each difference is a write.
const LOOK: Duration = Duration::from_secs(30);
/// A cost that differs by less is left as it is: loads waver, and only the order counts.
const STEP: i64 = 8;
/// So is one that differs by less than this part of it.
const PART: i64 = 4;
/// The load of a worker that has all it can do; a shard that is idle costs one.
const WHOLE: f64 = 1000.0;

/// Keeps the annotations up to date for as long as it runs.
pub(crate) async fn annotate(
    pods: Pods,
    controller: Controller,
    seen: watch::Receiver<WorkerPods>,
) {
    let api: Api<Pod> = pods.place.api();
    let mut trouble = Trouble::new("writing what it costs to delete a pod");
    loop {
        sleep(LOOK).await;
        let due = due(&costs(&controller.overview()), &seen.borrow());
        for (name, cost) in due {
            let patch = json!({"metadata": {"annotations": {COST: cost.to_string()}}});
            let (patch, options) = (Patch::Merge(&patch), PatchParams::default());
            let patched = within(api.patch(&name, &options, &patch)).await;
            trouble.tell(patched.map(drop));
        }
    }
}

/// By worker, what its shards take.
fn costs(overview: &Overview) -> BTreeMap<String, i64> {
    let alive = overview
        .workers
        .iter()
        .filter(|worker| worker.life == "alive");
    let cost = |shards: usize, load: Option<f64>| {
        let load = (load.unwrap_or_default() * WHOLE).round();
        load as i64 + i64::try_from(shards).unwrap_or_default()
    };
    alive
        .map(|worker| (worker.name.clone(), cost(worker.shards, worker.load)))
        .collect()
}

/// The pods whose annotation is out of date, and what it should be.
fn due(costs: &BTreeMap<String, i64>, pods: &WorkerPods) -> Vec<(String, i64)> {
    let is_far = |old: i64, cost: i64| (old - cost).abs() >= STEP.max(old / PART);
    let differs = |name: &str, cost: i64| {
        let written = pods.get(name).map(|pod| pod.cost);
        written.is_some_and(|written| written.is_none_or(|old| is_far(old, cost)))
    };
    let due = costs.iter().filter(|(name, cost)| differs(name, **cost));
    due.map(|(name, cost)| (name.clone(), *cost)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::WorkerPod;

    #[test]
    fn only_what_differs_is_written() {
        let pod = |cost| WorkerPod {
            cost,
            ..WorkerPod::default()
        };
        let pods: WorkerPods = [
            ("a", Some(32)),
            ("b", None),
            ("c", Some(500)),
            ("d", Some(400)),
        ]
        .map(|(name, cost)| (name.to_owned(), pod(cost)))
        .into();
        let costs = [("a", 30), ("b", 30), ("c", 300), ("d", 480), ("gone", 9)];
        let costs = costs.map(|(name, cost)| (name.to_owned(), cost)).into();
        let due = due(&costs, &pods);
        assert_eq!(due, [("b".to_owned(), 30), ("c".to_owned(), 300)]);
    }
}
