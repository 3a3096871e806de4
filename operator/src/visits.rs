//! Workers' pods are visited: each is asked who it is, and joins the controller's cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use hexagram_control::{Controller, Visited, visit};
use hexagram_core::WorkerId;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};

use crate::key_ring::{Heard, Held};
use crate::pods::{Pods, WorkerPods};
use crate::rollout::Rollout;

/// Between two visits of all workers: a container that is restarted in place is another
/// life at the same address.
const ROUND: Duration = Duration::from_secs(2);
/// A worker's pod that runs has introduced itself by then: its links are opened first.
const PATIENCE: Duration = Duration::from_secs(30);

impl Pods {
    /// Visits all workers, again and again, has them join, and shows what they say of keys.
    /// The controller hears first who is there at all.
    pub(crate) async fn introduce(
        self,
        controller: Controller,
        mut pods: watch::Receiver<WorkerPods>,
        heard: watch::Sender<Heard>,
    ) {
        let (mut rollout, mut silent) = (Rollout::new(&self), Silent::default());
        loop {
            let now = pods.borrow_and_update().clone();
            controller.present(names(&now)).await;
            controller.outgoing(rollout.outgoing(&now).await).await;
            let visits = now.iter().filter_map(|(name, pod)| {
                let host = pod.host.as_deref()?;
                let visit = self.introduce_one(&controller, host);
                Some(visit.map(move |said| (name, said)))
            });
            let visited = join_all(visits).await;
            heard.send_replace(keys_heard(&now, &visited));
            let failed = visited.into_iter();
            let failed = failed.filter_map(|(name, said)| Some((name.clone(), said.err()?)));
            silent.note(failed.collect(), Instant::now());
            if let Ok(Err(_)) = timeout(ROUND, pods.changed()).await {
                return;
            }
        }
    }

    /// What the worker says of keys, or the reason why it did not introduce itself.
    async fn introduce_one(&self, controller: &Controller, host: &str) -> Result<Held, String> {
        let place = at(host, self.port);
        let asked = visit(&(self.dial)(&place), &place, &self.cluster, self.shards).await;
        let Visited { who, lacked } = asked.map_err(|error| error.to_string())?;
        let keys = who.setup.keys.clone();
        // Why one may not join is told by the controller.
        let _ = controller.join(who).await;
        Ok(Held { keys, lacked })
    }
}

/// The names of all workers whose pods are there, also of those that are being deleted: the
/// process of such a one may run for long. One that has ended is gone, though it is listed.
/// Until all pods are listed there are none.
fn names(pods: &WorkerPods) -> BTreeSet<WorkerId> {
    let there = pods.iter().filter(|(_, pod)| !pod.has_ended);
    // What is no worker's name is no worker's pod.
    let names = there.filter_map(|(name, _)| name.parse().ok());
    names.collect()
}

/// Of a pod that is being deleted only its answer counts: one on a node that is lost would
/// be waited for until that comes back.
fn keys_heard(pods: &WorkerPods, visited: &[(&String, Result<Held, String>)]) -> Heard {
    let counts = |(name, said): &&(&String, Result<Held, String>)| {
        said.is_ok() || pods.get(*name).is_some_and(|pod| !pod.is_going)
    };
    let heard = visited.iter().filter(counts);
    heard
        .map(|(name, said)| ((*name).clone(), said.as_ref().ok().cloned()))
        .collect()
}

/// The pods that run and do not introduce themselves.
#[derive(Default)]
struct Silent(BTreeMap<String, Silence>);

struct Silence {
    since: Instant,
    is_told: bool,
}

impl Silent {
    /// Takes in who did not, and why, in a round; tells of each that is silent for long.
    fn note(&mut self, failed: BTreeMap<String, String>, now: Instant) {
        self.0.retain(|name, _| failed.contains_key(name));
        for (pod, error) in failed {
            let silence = self.0.entry(pod.clone()).or_insert(Silence {
                since: now,
                is_told: false,
            });
            if !silence.is_told && now - silence.since >= PATIENCE {
                silence.is_told = true;
                tracing::warn!(
                    pod,
                    error,
                    "a worker's pod runs and does not introduce itself: it gets no shards"
                );
            }
        }
    }
}

fn at(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pods::WorkerPod;

    #[test]
    fn a_silent_pod_is_waited_for_unless_it_goes() {
        let name = |name: &str| name.to_owned();
        let going = WorkerPod {
            is_going: true,
            ..WorkerPod::default()
        };
        let staying = WorkerPod::default();
        let pods = [("a", &staying), ("b", &going), ("c", &going)];
        let pods = pods.map(|(pod, state)| (name(pod), state.clone())).into();
        let silent = || Err("no answer".to_owned());
        let (a, b, c) = (name("a"), name("b"), name("c"));
        let visited = [(&a, silent()), (&b, silent()), (&c, Ok(Held::default()))];
        let expected = [(name("a"), None), (name("c"), Some(Held::default()))];
        assert_eq!(keys_heard(&pods, &visited), expected.into());
    }

    #[test]
    fn a_pod_that_goes_is_there_still_and_one_that_has_ended_is_not() {
        let going = WorkerPod {
            is_going: true,
            ..WorkerPod::default()
        };
        let ended = WorkerPod {
            has_ended: true,
            ..WorkerPod::default()
        };
        let pods = [("a", WorkerPod::default()), ("b", going), ("c", ended)];
        let pods = pods.map(|(pod, state)| (pod.to_owned(), state)).into();
        let names: Vec<_> = names(&pods).iter().map(ToString::to_string).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn who_is_silent_for_long_is_told_of_once() {
        let start = Instant::now();
        let failed = || [("a".to_owned(), "refused".to_owned())].into();
        let mut silent = Silent::default();
        let mut told = |after: Duration| {
            silent.note(failed(), start + after);
            silent.0["a"].is_told
        };
        assert!(!told(Duration::ZERO));
        assert!(!told(PATIENCE - Duration::from_millis(1)));
        assert!(told(PATIENCE));
        silent.note(BTreeMap::new(), start + PATIENCE);
        assert!(silent.0.is_empty());
    }

    #[test]
    fn addresses_of_both_families() {
        assert_eq!(at("10.0.0.7", 7100), "10.0.0.7:7100");
        assert_eq!(at("fd00::7", 7100), "[fd00::7]:7100");
    }
}
