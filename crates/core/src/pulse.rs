//! Whether a process has been running all the time: one that was stopped for a while
//! (SIGSTOP, a frozen machine) may own nothing any more of what it thinks it owns.

use std::time::Duration;

/// Notes that the process runs, and doubts what it knows after a gap in which it may not
/// have run (DESIGN 8).
///
/// Whoever acts on what the process knows looks first. Who comes first after a gap, a
/// timer or somebody who wants to act, is the same: the first look finds it. Times are
/// since some moment of a clock that goes on while the process is stopped.
#[derive(Clone, Debug)]
pub struct Pulse {
    last: Duration,
    gaps: u64,
    doubt: Option<Doubt>,
}

/// What was known before a gap is not to be acted on. Told from the doubts of other gaps:
/// what was found out before the last one settles nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Doubt(u64);

impl Pulse {
    /// A process may be silent for so long without a doubt.
    pub const GAP: Duration = Duration::from_secs(1);

    /// A process that runs.
    #[must_use]
    pub const fn new(now: Duration) -> Self {
        Self {
            last: now,
            gaps: 0,
            doubt: None,
        }
    }

    /// Notes that the process runs; the doubt that it is in. Times that come a little out
    /// of order do no harm.
    pub fn look(&mut self, now: Duration) -> Option<Doubt> {
        if now.saturating_sub(self.last) > Self::GAP {
            self.gaps += 1;
            self.doubt = Some(Doubt(self.gaps));
        }
        self.last = self.last.max(now);
        self.doubt
    }

    /// What is known was validated, which began after `doubt` was found and has ended now;
    /// the doubt that is left: that of a gap in between.
    pub fn settle(&mut self, doubt: Doubt, now: Duration) -> Option<Doubt> {
        if self.look(now) == Some(doubt) {
            self.doubt = None;
        }
        self.doubt
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[derive(Clone, Copy, Debug)]
    enum Step {
        /// Time passes, and somebody looks.
        Look(u64),
        /// Validation begins, as it does for each doubt.
        Begin,
        /// Time passes, and the validation that was begun so many steps ago ends.
        End(u64, usize),
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let passes = || prop_oneof![4 => 0u64..=1_000, 1 => 1_001u64..5_000];
        let step = prop_oneof![
            4 => passes().prop_map(Step::Look),
            2 => Just(Step::Begin),
            2 => (passes(), 0usize..3).prop_map(|(ms, ago)| Step::End(ms, ago)),
        ];
        prop::collection::vec(step, 1..60)
    }

    proptest! {
        /// Against what is meant: there is a doubt exactly as long as no validation that
        /// was begun after the last gap has ended.
        #[test]
        fn nothing_is_acted_on_until_it_was_validated_after_the_last_gap(steps in steps()) {
            let (mut pulse, mut now) = (Pulse::new(Duration::ZERO), 0);
            // The gaps so far, how many of them are known to have done no harm, and
            // each validation with the gaps that there were when it began.
            let (mut gaps, mut harmless, mut begun) = (0, 0, Vec::new());
            for step in steps {
                let (passed, ends) = match step {
                    Step::Look(passed) => (passed, None),
                    Step::Begin => {
                        begun.extend(pulse.look(ms(now)).map(|doubt| (doubt, gaps)));
                        continue;
                    }
                    Step::End(passed, ago) => (passed, begun.iter().rev().nth(ago).copied()),
                };
                now += passed;
                gaps += usize::from(passed > 1_000);
                let left = match ends {
                    Some((doubt, known)) => {
                        harmless = if known == gaps { known } else { harmless };
                        pulse.settle(doubt, ms(now))
                    }
                    None => pulse.look(ms(now)),
                };
                prop_assert_eq!(left.is_some(), harmless < gaps);
            }
        }

        /// A process that always runs is never held up (invariant I9).
        #[test]
        fn without_a_gap_there_is_no_doubt(passes in prop::collection::vec(0u64..=1_000, 0..60)) {
            let (mut pulse, mut now) = (Pulse::new(Duration::ZERO), 0);
            for passed in passes {
                now += passed;
                prop_assert_eq!(pulse.look(ms(now)), None);
            }
        }

        /// Threads read the clock before the stop and look after it, in any order.
        #[test]
        fn whoever_looks_first_finds_the_gap(before in 0u64..500, stop in 1_001u64..100_000, late in 0u64..500) {
            let mut pulse = Pulse::new(ms(before));
            prop_assert!(pulse.look(ms(before + stop)).is_some());
            prop_assert!(pulse.look(ms(late)).is_some(), "an older reading changes nothing");
            prop_assert!(pulse.look(ms(before + stop + 1)).is_some());
        }
    }
}
