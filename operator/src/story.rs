//! What happens to the shards and to who is to serve them, told as events on the `ShardMap`:
//! `kubectl describe` has the story.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hexagram_control::{News, NotTaken, Register, Why, Written};
use hexagram_core::Owner;
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use crate::client::{Place, within};
use crate::register::KubeRegister;
use crate::repair::Mend;

/// Who tells.
const REPORTER: &str = "hexagram-operator";
/// What happens within so long is told at once: a drain is one event, not one a shard.
const GATHER: Duration = Duration::from_secs(3);

/// Something that happened.
#[derive(Debug, PartialEq, Eq)]
struct Tale {
    reason: &'static str,
    action: &'static str,
    note: String,
    type_: EventType,
}

/// Tells about the object what the controller does, for as long as it runs.
pub(crate) async fn tell(
    recorder: EventRecorder,
    register: KubeRegister,
    mut news: broadcast::Receiver<News>,
) {
    let mut batch = Batch::default();
    while let Some(news) = gathered(&mut news).await {
        batch.add(&news);
        let end = batch.end(is_moving(&register).await);
        let tales = tales(&news).into_iter().chain(end);
        publish(&recorder, &register, tales.collect()).await;
    }
}

/// Whether a move is under way, as far as this process knows: the API server is not asked.
async fn is_moving(register: &KubeRegister) -> bool {
    let map = register.read().await.ok().flatten();
    map.is_some_and(|map| map.entries().any(|(_, entry)| entry.plan().is_some()))
}

/// Tells about the object what was put right about it, for as long as it runs.
pub(crate) async fn tell_mends(
    recorder: EventRecorder,
    register: KubeRegister,
    mut mends: broadcast::Receiver<Mend>,
) {
    while let Some(mends) = gathered(&mut mends).await {
        let mends = BTreeSet::from_iter(mends);
        let tales = mends.into_iter().map(mended).collect();
        publish(&recorder, &register, tales).await;
    }
}

async fn publish(recorder: &EventRecorder, register: &KubeRegister, tales: Vec<Tale>) {
    // The object may have been made anew since.
    let about = register.reference().await;
    for tale in tales {
        recorder.publish(tale.event(), &about).await;
    }
}

/// What is said next, and shortly after that.
async fn gathered<T: Clone>(said: &mut broadcast::Receiver<T>) -> Option<Vec<T>> {
    let mut all = vec![next(said).await?];
    sleep(GATHER).await;
    all.extend(std::iter::from_fn(|| said.try_recv().ok()));
    Some(all)
}

/// The next that is said; who was too slow for some goes on with what is left.
async fn next<T: Clone>(said: &mut broadcast::Receiver<T>) -> Option<T> {
    loop {
        match said.recv().await {
            Ok(one) => return Some(one),
            Err(RecvError::Lagged(_)) => {}
            Err(RecvError::Closed) => return None,
        }
    }
}

impl Tale {
    fn event(self) -> Event {
        Event {
            type_: self.type_,
            reason: self.reason.to_owned(),
            note: Some(self.note),
            action: self.action.to_owned(),
            secondary: None,
        }
    }
}

/// Publishes events.
#[derive(Clone)]
pub(crate) struct EventRecorder {
    place: Place,
    reporter: Reporter,
}

impl EventRecorder {
    /// In the name of the operator called `name`.
    pub(crate) fn new(place: &Place, name: &str) -> Self {
        Self {
            place: place.clone(),
            reporter: Reporter {
                controller: REPORTER.to_owned(),
                instance: Some(name.to_owned()),
            },
        }
    }

    /// Publishes one; what is not published is only missed by people.
    pub(crate) async fn publish(&self, event: Event, about: &ObjectReference) {
        // The library's recorder counts what has the same reason, under the first one's text:
        // each event gets its own.
        let recorder = Recorder::new(self.place.client.clone(), self.reporter.clone());
        if let Err(error) = within(recorder.publish(&event, about)).await {
            tracing::debug!(%error, "an event is not published");
        }
    }
}

/// What is worth telling of these.
fn tales(news: &[News]) -> Vec<Tale> {
    let (mut ways, mut refusals) = (Ways::default(), Vec::new());
    for one in news {
        match one {
            News::Written(written) => ways.add(written),
            News::Refused(worker, error) => refusals.push(refusal(worker, error)),
        }
    }
    let mut tales = ways.tales();
    tales.append(&mut refusals);
    tales
}

fn refusal(worker: &Owner, error: &NotTaken) -> Tale {
    Tale {
        reason: "WorkerRefused",
        action: "Join",
        note: format!("{worker} may not join: {error}"),
        type_: EventType::Warning,
    }
}

fn mended(mend: Mend) -> Tale {
    let (reason, note) = match mend {
        Mend::Repaired => (
            "Repaired",
            "the status was changed by hand: it is put right",
        ),
        Mend::Remade => ("Remade", "the object was deleted: it is made again"),
    };
    Tale {
        reason,
        action: "Repair",
        note: note.to_owned(),
        type_: EventType::Warning,
    }
}

/// How many shards went from whom to whom, and why.
#[derive(Default)]
struct Ways(BTreeMap<(Why, String, String), usize>);

impl Ways {
    fn add(&mut self, written: &Written) {
        let Written { from, to, why, .. } = written;
        *self
            .0
            .entry((*why, from.to_string(), to.to_string()))
            .or_default() += 1;
    }

    fn tales(&self) -> Vec<Tale> {
        let ways = self.0.iter();
        let tales = ways.filter_map(|((why, from, to), count)| tale(*why, from, to, *count));
        tales.collect()
    }
}

/// What came of the moves that ended since none was under way.
#[derive(Default)]
struct Batch {
    moved: usize,
    back: usize,
}

impl Batch {
    fn add(&mut self, news: &[News]) {
        for one in news {
            match one {
                News::Written(written) if written.why == Why::Committed => self.moved += 1,
                News::Written(written) if written.why == Why::Aborted => self.back += 1,
                _ => {}
            }
        }
    }

    /// What is told of all of them, once none is under way any more.
    fn end(&mut self, is_moving: bool) -> Option<Tale> {
        if is_moving || self.moved + self.back == 0 {
            return None;
        }
        let Self { moved, back } = std::mem::take(self);
        Some(Tale {
            reason: "ShardsMoved",
            action: "Place",
            note: format!("moves ended: {} moved, {back} went back", shards(moved)),
            type_: EventType::Normal,
        })
    }
}

fn shards(count: usize) -> String {
    match count {
        1 => "1 shard".to_owned(),
        _ => format!("{count} shards"),
    }
}

/// What is worth telling. The beginning of a move says why, its end is told with its batch's.
fn tale(why: Why, from: &str, to: &str, count: usize) -> Option<Tale> {
    let (reason, type_) = match why {
        Why::Behind | Why::Committed => return None,
        Why::Drained | Why::Filled | Why::Balanced | Why::Ordered => {
            ("ShardsMove", EventType::Normal)
        }
        Why::Aborted => ("MoveGivenUp", EventType::Warning),
        Why::FailedOver => ("ShardsFailedOver", EventType::Warning),
        Why::Restarted => ("ShardsRestarted", EventType::Warning),
        Why::Quarantined => ("ShardsQuarantined", EventType::Warning),
    };
    let shards = shards(count);
    let way = match from == to {
        true => format!("on {to}"),
        false => format!("from {from} to {to}"),
    };
    let note = format!("{shards} {way}: {why}");
    Some(Tale {
        reason,
        action: "Place",
        note,
        type_,
    })
}

#[cfg(test)]
mod tests {
    use hexagram_core::{Incarnation, ShardCount};

    use super::*;

    fn written(from: &str, to: &str, why: Why) -> Written {
        Written {
            shard: ShardCount::default().shard(3).unwrap(),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            why,
        }
    }

    #[test]
    fn what_goes_the_same_way_is_one_event() {
        let mut news = Vec::new();
        for _ in 0..16 {
            news.push(News::Written(written("a", "b", Why::Drained)));
            news.push(News::Written(written("a", "b", Why::Committed)));
        }
        news.push(News::Written(written("c", "c", Why::FailedOver)));
        let told: Vec<_> = tales(&news)
            .into_iter()
            .map(|tale| (tale.reason, tale.note))
            .collect();
        let moves = "16 shards from a to b: move begun: its worker drains";
        let failover = "1 shard on c: failed over";
        assert_eq!(told.len(), 2);
        assert!(told.contains(&("ShardsMove", moves.to_owned())), "{told:?}");
        assert!(
            told.contains(&("ShardsFailedOver", failover.to_owned())),
            "{told:?}"
        );
    }

    #[test]
    fn moves_are_told_to_have_ended_once_none_is_under_way() {
        let ended = |why| News::Written(written("a", "b", why));
        let mut batch = Batch::default();
        batch.add(&[ended(Why::Drained), ended(Why::Committed)]);
        assert_eq!(batch.end(true), None);
        batch.add(&[ended(Why::Aborted), ended(Why::Committed)]);
        let note = batch.end(false).map(|tale| tale.note);
        let all = "moves ended: 2 shards moved, 1 went back";
        assert_eq!(note.as_deref(), Some(all));
        batch.add(&[ended(Why::Behind), ended(Why::FailedOver)]);
        assert_eq!(
            batch.end(false),
            None,
            "it was told, and nothing moved since"
        );
    }

    #[test]
    fn who_may_not_join_is_told_with_its_life_and_the_reason() {
        let worker = Owner {
            worker: "w".parse().unwrap(),
            incarnation: Incarnation::new(1).unwrap(),
        };
        let error = NotTaken::Superseded(worker.worker.clone());
        let news = [News::Refused(worker.clone(), error.clone())];
        let [tale] = <[Tale; 1]>::try_from(tales(&news)).unwrap();
        assert_eq!(
            (tale.reason, tale.type_),
            ("WorkerRefused", EventType::Warning)
        );
        let (life, why) = (worker.to_string(), error.to_string());
        assert!(
            tale.note.contains(&life) && tale.note.contains(&why),
            "{}",
            tale.note
        );
    }
}
