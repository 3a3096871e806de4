//! Who served what, and when: I1, I4, I5, I8 and I9, from the steps alone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::{Found, Invariant, Limits};
use crate::history::{Change, Deed, Event, History, Step};

/// A process in one life.
type Life = (String, u64);

/// What one worker holds of one shard, as its steps tell.
#[derive(Default)]
struct Seat {
    serving: Option<u64>,
    frozen: bool,
    granted: Option<u64>,
    /// The highest epoch that it served or gave away.
    spent: u64,
    /// What it served last, and since when no more.
    halted: (u64, Duration),
}

impl Seat {
    /// It stops admitting.
    fn halt(&mut self, at: Duration) {
        if let Some(epoch) = self.serving {
            self.halted = (epoch, at);
        }
    }
}

#[derive(Default)]
struct Owners {
    seats: BTreeMap<(Life, u16), Seat>,
    /// Who served a shard in an epoch.
    served: BTreeMap<(u16, u64), String>,
    /// Epoch and owner of the register.
    register: BTreeMap<u16, (u64, String)>,
    /// All epochs that the register ever showed.
    shown: BTreeSet<(u16, u64)>,
    seen: BTreeMap<(Life, u16), u64>,
    asked: BTreeSet<Life>,
    admitted: BTreeSet<(String, String)>,
    /// How late an admission may be told.
    slack: Duration,
}

pub(super) fn check(history: &History, limits: &Limits, found: &mut Found) {
    let mut owners = Owners {
        slack: limits.slack,
        ..Owners::default()
    };
    let mut runs = history
        .runs
        .iter()
        .filter(|run| !run.by.is_empty())
        .peekable();
    for event in &history.events {
        while let Some(run) = runs.next_if(|run| run.at < event.at) {
            owners.ran(run, found);
        }
        owners.hear(event, found);
    }
    runs.for_each(|run| owners.ran(run, found));
}

impl Owners {
    fn hear(&mut self, event: &Event, found: &mut Found) {
        match &event.step {
            Step::Owner {
                shard,
                epoch,
                owner,
                by,
            } => self.written(event, *shard, (*epoch, owner), *by, found),
            Step::Shard {
                what: Deed::Seen,
                shard,
                epoch,
            } => self.saw(event, *shard, *epoch, found),
            Step::Shard { what, shard, epoch } => self.did(event, *what, *shard, *epoch, found),
            Step::Admitted { shard, epoch, id } => {
                self.admitted.insert((event.who(), id.clone()));
                self.admit(event, *shard, *epoch, found);
            }
            Step::Asked => drop(self.asked.insert(life(event))),
            Step::Ended if !self.asked.contains(&life(event)) => {
                let what = format!("{} ended although nobody asked it to", event.who());
                found.add(Invariant::I9, event.at, what);
            }
            _ => {}
        }
    }

    fn written(
        &mut self,
        event: &Event,
        shard: u16,
        (epoch, owner): (u64, &String),
        _: Change,
        found: &mut Found,
    ) {
        self.shown.insert((shard, epoch));
        if let Some((before, who)) = self.register.get(&shard) {
            if epoch < *before {
                let what =
                    format!("the register takes shard {shard} from epoch {before} to {epoch}");
                found.add(Invariant::I4, event.at, what);
            }
            if epoch == *before && owner != who {
                let what = format!(
                    "the register gives epoch {epoch} of shard {shard} to {who} and {owner}"
                );
                found.add(Invariant::I1, event.at, what);
            }
        }
        self.register.insert(shard, (epoch, owner.clone()));
    }

    fn saw(&mut self, event: &Event, shard: u16, epoch: u64, found: &mut Found) {
        let before = self.seen.insert((life(event), shard), epoch);
        if before.is_some_and(|before| before >= epoch) {
            let what = format!(
                "{} goes back to epoch {epoch} of shard {shard}",
                event.who()
            );
            found.add(Invariant::I4, event.at, what);
        }
    }

    /// Who serves a shard in an epoch is the only one who ever does.
    fn serve(&mut self, event: &Event, shard: u16, epoch: u64, found: &mut Found) {
        let who = event.who();
        let first = self
            .served
            .entry((shard, epoch))
            .or_insert_with(|| who.clone());
        if *first != who {
            let what = format!("{first} and {who} serve shard {shard} in epoch {epoch}");
            found.add(Invariant::I1, event.at, what);
        }
    }

    fn did(&mut self, event: &Event, what: Deed, shard: u16, epoch: u64, found: &mut Found) {
        let who = event.who();
        let mut bad = |invariant, how: &str| {
            let what = format!("{who} {} shard {shard} epoch {epoch} {how}", what.word());
            found.add(invariant, event.at, what);
        };
        let seat = self.seats.entry((life(event), shard)).or_default();
        match what {
            Deed::Activated => {
                if seat.granted >= Some(epoch) {
                    bad(Invariant::I5, "after it gave that away");
                } else if seat.spent >= epoch {
                    bad(Invariant::I4, "after a later one");
                }
                seat.serving = Some(epoch);
                seat.frozen = false;
                seat.spent = seat.spent.max(epoch);
                self.serve(event, shard, epoch, found);
            }
            Deed::Frozen => {
                if seat.serving.is_none() {
                    bad(Invariant::I5, "without serving it");
                }
                seat.halt(event.at);
                seat.frozen = true;
            }
            Deed::Resumed => {
                if !seat.frozen || seat.serving != Some(epoch) {
                    bad(Invariant::I5, "which it did not serve before");
                }
                seat.frozen = false;
            }
            Deed::Granted => {
                if !seat.frozen {
                    bad(Invariant::I5, "without freezing it");
                }
                seat.granted = seat.granted.max(Some(epoch));
                seat.spent = seat.spent.max(epoch);
            }
            Deed::Left => {
                let serving = seat.serving.unwrap_or_default();
                let succeeded = match epoch {
                    0 => {
                        self.shown
                            .range((shard, serving + 1)..=(shard, u64::MAX))
                            .count()
                            > 0
                    }
                    _ => self.shown.contains(&(shard, epoch)),
                };
                if seat.granted < Some(epoch) && !succeeded {
                    bad(Invariant::I9, "which nobody else was given");
                }
                if !seat.frozen {
                    seat.halt(event.at);
                }
                (seat.serving, seat.frozen) = (None, false);
            }
            Deed::Prepared | Deed::Declined | Deed::Seen | Deed::Parked => {}
        }
    }

    fn admit(&mut self, event: &Event, shard: u16, epoch: u64, found: &mut Found) {
        self.serve(event, shard, epoch, found);
        let seat = self.seats.entry((life(event), shard)).or_default();
        let (last, since) = seat.halted;
        if last == epoch && event.at < since + self.slack {
            return;
        }
        let what = format!("{} admits in epoch {epoch} of shard {shard}", event.who());
        if seat.granted >= Some(epoch) {
            let what = format!("{what} after it gave the shard away");
            found.add(Invariant::I5, event.at, what);
        } else if seat.serving != Some(epoch) {
            found.add(
                Invariant::I8,
                event.at,
                format!("{what}, which it does not serve"),
            );
        } else if seat.frozen {
            found.add(Invariant::I8, event.at, format!("{what}, which is frozen"));
        }
    }

    fn ran(&self, run: &crate::history::Run, found: &mut Found) {
        if !self.admitted.contains(&(run.by.clone(), run.id.clone())) {
            let what = format!("{} runs {}, which it has not admitted", run.by, run.id);
            found.add(Invariant::I8, run.at, what);
        }
    }
}

fn life(event: &Event) -> Life {
    (event.host.clone(), event.life)
}
