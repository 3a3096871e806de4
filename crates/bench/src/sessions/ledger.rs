//! What all clients together went through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::timeline::Timeline;
use crate::era::Era;
use crate::failure::Failure;
use crate::tally::Latencies;
use crate::text::grouped;

/// "The call may or may not have run."
const OUTCOME_UNKNOWN: i64 = -32012;

/// Failures and how often each was seen.
pub(super) type Failures = BTreeMap<Failure, u64>;

/// One ledger for all clients.
pub(super) type SharedLedger = Arc<Mutex<Ledger>>;

/// The counts of both eras, and when things happened.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(super) legacy: Counts,
    pub(super) modern: Counts,
    pub(super) timeline: Timeline,
}

/// The counts of one era's clients.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) latencies: Latencies,
    pub(super) sent: u64,
    pub(super) answered: u64,
    /// Of those answered: on a second connection.
    pub(super) retried: u64,
    /// Of those answered: on a stream that was taken up again.
    pub(super) resumed: u64,
    pub(super) refused: Failures,
    pub(super) unknown: u64,
    pub(super) failed: Failures,
    /// Due, but the client still waited when sending ended.
    pub(super) unsent: u64,
    pub(super) sessions: Sessions,
    pub(super) streams: Streams,
}

/// How a call came by its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Manner {
    pub(super) retried: bool,
    pub(super) resumed: bool,
}

#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Sessions {
    pub(super) opened: u64,
    pub(super) lost: u64,
    pub(super) not_deleted: u64,
}

#[derive(Debug, Default)]
pub(super) struct Streams {
    pub(super) opened: u64,
    pub(super) reopened: u64,
    pub(super) ended: u64,
    pub(super) broken: u64,
    pub(super) failed: Failures,
    pub(super) not_offered: u64,
    pub(super) open: u64,
    pub(super) longest_gap: Duration,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The server said how to go on: an event id, or the subscription's result.
    Resumably,
    Broken,
}

impl Ledger {
    /// Calls are due from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        self.timeline = Timeline::new(now);
    }

    /// None is due any more.
    pub(super) fn end(&mut self, now: Instant) {
        self.timeline.pause(now);
    }

    pub(super) fn of(&mut self, era: Era) -> &mut Counts {
        match era {
            Era::Legacy => &mut self.legacy,
            Era::Modern => &mut self.modern,
        }
    }

    /// Counts a call that has ended.
    pub(super) fn record(
        &mut self,
        era: Era,
        outcome: Result<(), Failure>,
        manner: Manner,
        latency: Duration,
        now: Instant,
    ) {
        match outcome {
            Ok(()) => {
                self.timeline.answered(latency, now);
                self.of(era).answer(latency, manner);
            }
            Err(failure) => {
                self.timeline.failed(now);
                self.of(era).fail(failure);
            }
        }
    }

    /// One line on how it goes.
    pub(super) fn summary(&self) -> String {
        let both = |count: fn(&Counts) -> u64| count(&self.legacy) + count(&self.modern);
        let (answered, streams) = (both(|it| it.answered), both(|it| it.streams.open));
        format!(
            "{} answered, {} not, {} sessions lost, {} streams open",
            grouped(answered),
            grouped(both(Counts::unanswered)),
            grouped(both(|it| it.sessions.lost)),
            grouped(streams),
        )
    }
}

impl Counts {
    fn answer(&mut self, latency: Duration, manner: Manner) {
        self.answered += 1;
        self.retried += u64::from(manner.retried);
        self.resumed += u64::from(manner.resumed);
        self.latencies.note(latency);
    }

    fn fail(&mut self, failure: Failure) {
        let kind = match failure {
            Failure::Refused {
                code: Some(OUTCOME_UNKNOWN),
                ..
            } => {
                self.unknown += 1;
                return;
            }
            Failure::Refused { .. } | Failure::ToolError(_) => &mut self.refused,
            _ => &mut self.failed,
        };
        *kind.entry(failure).or_default() += 1;
    }

    /// Counts a call that was due but never sent; it waited at least this long.
    pub(super) fn skip(&mut self, waited: Duration) {
        self.unsent += 1;
        self.latencies.note(waited);
    }

    /// Calls that ended in another way than with an answer.
    pub(super) fn unanswered(&self) -> u64 {
        sum(&self.refused) + self.unknown + sum(&self.failed)
    }

    /// Calls that have not ended at all.
    pub(super) fn lost(&self) -> u64 {
        self.sent - self.answered - self.unanswered()
    }
}

/// All failures of a kind.
pub(super) fn sum(failures: &Failures) -> u64 {
    failures.values().sum()
}

impl Streams {
    /// Counts one that opened, `gap` after it ended if it is not the client's first.
    pub(super) fn open(&mut self, gap: Option<Duration>) {
        self.open += 1;
        match gap {
            None => self.opened += 1,
            Some(gap) => {
                self.reopened += 1;
                self.longest_gap = self.longest_gap.max(gap);
            }
        }
    }

    pub(super) fn end(&mut self, end: End) {
        self.open -= 1;
        match end {
            End::Resumably => self.ended += 1,
            End::Broken => self.broken += 1,
        }
    }

    pub(super) fn fail(&mut self, failure: Failure) {
        *self.failed.entry(failure).or_default() += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Said;

    const PLAIN: Manner = Manner {
        retried: false,
        resumed: false,
    };

    fn refused(status: u16, code: i64) -> Failure {
        Failure::Refused {
            status,
            code: Some(code),
            reason: None,
            said: Said::default(),
        }
    }

    #[test]
    fn every_call_that_was_sent_ends_in_one_way_or_is_lost() {
        let mut ledger = Ledger::default();
        let now = Instant::now();
        let mut record = |outcome| {
            ledger.of(Era::Legacy).sent += 1;
            ledger.record(Era::Legacy, outcome, PLAIN, Duration::ZERO, now);
        };
        record(Ok(()));
        record(Err(refused(503, -32011)));
        record(Err(refused(200, OUTCOME_UNKNOWN)));
        record(Err(Failure::TimedOut));
        record(Err(Failure::ToolError(Said::default())));
        ledger.of(Era::Legacy).sent += 2;
        let counts = &ledger.legacy;
        assert_eq!((counts.answered, counts.unknown), (1, 1));
        assert_eq!((sum(&counts.refused), sum(&counts.failed)), (2, 1));
        assert_eq!(counts.lost(), 2);
        assert_eq!(ledger.modern.sent, 0);
        assert!(ledger.summary().starts_with("1 answered, 4 not"));
    }

    #[test]
    fn answers_after_a_second_attempt_are_answers() {
        let mut counts = Counts::default();
        let manner = Manner {
            retried: true,
            ..PLAIN
        };
        counts.answer(Duration::from_millis(3), manner);
        counts.skip(Duration::from_secs(2));
        assert_eq!((counts.answered, counts.retried, counts.resumed), (1, 1, 0));
        assert_eq!(counts.unsent, 1);
        assert!(counts.latencies.at(1.0) >= Duration::from_secs(2));
    }

    #[test]
    fn streams_are_followed_from_end_to_end() {
        let mut streams = Streams::default();
        streams.open(None);
        streams.open(None);
        streams.end(End::Resumably);
        streams.open(Some(Duration::from_millis(20)));
        streams.end(End::Broken);
        assert_eq!((streams.opened, streams.reopened), (2, 1));
        assert_eq!((streams.ended, streams.broken, streams.open), (1, 1, 1));
        assert_eq!(streams.longest_gap, Duration::from_millis(20));
    }
}
