//! What happens to the shards, told as events on the `ShardMap`: `kubectl describe` has
//! the story.

use std::collections::BTreeMap;
use std::time::Duration;

use hexagram_control::{Why, Written};
use k8s_openapi::api::core::v1::ObjectReference;
use kube::runtime::events::{Event, EventType, Recorder, Reporter};
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::sleep;

use crate::client::{Place, within};
use crate::register::KubeRegister;

/// Who tells.
const REPORTER: &str = "hexagram-operator";
/// What happens within so long is told at once: a drain is one event, not one a shard.
const GATHER: Duration = Duration::from_secs(3);

/// Something that happened.
#[derive(Debug, PartialEq, Eq)]
struct Tale {
    reason: &'static str,
    note: String,
    type_: EventType,
}

/// Tells about the object what is written into it, for as long as it runs.
pub(crate) async fn tell(
    recorder: EventRecorder,
    register: KubeRegister,
    mut news: broadcast::Receiver<Written>,
) {
    while let Some(first) = next(&mut news).await {
        sleep(GATHER).await;
        let mut ways = Ways::default();
        ways.add(&first);
        while let Ok(written) = news.try_recv() {
            ways.add(&written);
        }
        // The object may have been made anew since.
        let about = register.reference().await;
        for tale in ways.tales() {
            recorder.publish(tale.event(), &about).await;
        }
    }
}

/// The next of the news; who was too slow for some goes on with what is left.
async fn next(news: &mut broadcast::Receiver<Written>) -> Option<Written> {
    loop {
        match news.recv().await {
            Ok(written) => return Some(written),
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
            action: "Place".to_owned(),
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

/// What is worth telling: the end of a move shows in the map, its beginning says why.
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
    let shards = match count {
        1 => "1 shard".to_owned(),
        _ => format!("{count} shards"),
    };
    let way = match from == to {
        true => format!("on {to}"),
        false => format!("from {from} to {to}"),
    };
    let note = format!("{shards} {way}: {why}");
    Some(Tale {
        reason,
        note,
        type_,
    })
}

#[cfg(test)]
mod tests {
    use hexagram_core::ShardCount;

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
        let mut ways = Ways::default();
        for _ in 0..16 {
            ways.add(&written("a", "b", Why::Drained));
            ways.add(&written("a", "b", Why::Committed));
        }
        ways.add(&written("c", "c", Why::FailedOver));
        let told: Vec<_> = ways
            .tales()
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
}
