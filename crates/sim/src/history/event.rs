//! Steps of the protocol, and what was done to the cluster.

use std::fmt;
use std::time::Duration;

use serde::Deserialize;

/// One step of one process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub at: Duration,
    /// The process's name.
    pub host: String,
    /// Which of its lives, from 1.
    pub life: u64,
    /// What it did, or what happened to it.
    pub step: Step,
}

/// What happened. Owners are written as `name#life`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The process began to run.
    Started,
    /// It was killed.
    Crashed {
        /// Its machine went with it: nobody was told.
        machine: bool,
    },
    /// It was asked to end.
    Asked,
    /// It ended by itself.
    Ended,
    /// The register shows an owner of a shard in an epoch.
    Owner {
        /// The shard.
        shard: u16,
        /// The owner's epoch.
        epoch: u64,
        /// The owner.
        owner: String,
        /// How it became one.
        by: Change,
    },
    /// The register shows a planned move.
    Planned {
        /// The shard.
        shard: u16,
        /// The epoch reserved.
        epoch: u64,
        /// The taker.
        to: String,
    },
    /// The register gave a planned move up.
    Aborted {
        /// The shard.
        shard: u16,
        /// The epoch burnt.
        epoch: u64,
    },
    /// The register was emptied, or put back to an earlier state.
    Forgot,
    /// A worker's or an edge's step with a shard.
    Shard {
        /// Which step.
        what: Deed,
        /// The shard.
        shard: u16,
        /// The epoch that the step is about.
        epoch: u64,
    },
    /// A worker admitted a request.
    Admitted {
        /// The shard.
        shard: u16,
        /// The epoch in which it was admitted.
        epoch: u64,
        /// The request's JSON-RPC id.
        id: String,
    },
    /// Something happens to the store.
    Store(String),
    /// A fault of the network begins, or ends.
    Network {
        /// What happens to it.
        fault: String,
        /// Between this host
        a: String,
        /// and this.
        b: String,
    },
}

/// How the register's owner of a shard changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The register had none.
    First,
    /// A planned move was carried out.
    Committed,
    /// The shard was given away without its owner's help.
    FailedOver,
}

macro_rules! deeds {
    ($($(#[doc = $doc:literal])+ $name:ident = $word:literal),+ $(,)?) => {
        /// A step with one shard.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Deed {
            $($(#[doc = $doc])+ $name),+
        }

        impl Deed {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The word for it in log events.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self {
                    $(Self::$name => $word),+
                }
            }
        }
    };
}

deeds! {
    /// A taker has seen the plan.
    Prepared = "prepared",
    /// The owner admits nothing; the epoch is the plan's.
    Frozen = "frozen",
    /// The owner has given the shard away; the epoch is the plan's.
    Granted = "granted",
    /// The worker serves the shard in the epoch.
    Activated = "activated",
    /// The owner serves on, in the epoch that it had.
    Resumed = "resumed",
    /// The owner took no part in a move; the epoch is the plan's.
    Declined = "declined",
    /// The worker serves the shard no more; the epoch is its successor's, or 0 where
    /// only the store knows of one.
    Left = "left",
    /// An edge knows of the epoch.
    Seen = "seen",
    /// An edge parks a message; the epoch is 0.
    Parked = "parked",
}

impl Deed {
    /// The step that a log event names.
    fn read(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|deed| deed.word() == word)
    }
}

/// A log event of the product that tells a step: its target is `hexagram::steps`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Told {
    /// The word for the step.
    pub step: String,
    /// The shard.
    pub shard: u16,
    /// The epoch.
    pub epoch: u64,
    /// The id of an admitted request, as it stands in the message.
    pub id: String,
    /// An owner or taker.
    pub owner: String,
}

impl Told {
    /// The step, if the word for it is known.
    #[must_use]
    pub fn step(self) -> Option<Step> {
        let (shard, epoch, owner) = (self.shard, self.epoch, self.owner);
        let step = match self.step.as_str() {
            "admitted" => Step::Admitted {
                shard,
                epoch,
                id: self.id.trim_matches('"').to_owned(),
            },
            "planned" => Step::Planned {
                shard,
                epoch,
                to: owner,
            },
            "aborted" => Step::Aborted { shard, epoch },
            word => match Change::read(word) {
                Some(by) => Step::Owner {
                    shard,
                    epoch,
                    owner,
                    by,
                },
                None => Step::Shard {
                    what: Deed::read(word)?,
                    shard,
                    epoch,
                },
            },
        };
        Some(step)
    }
}

impl Event {
    /// The process in this life, as an owner is written.
    #[must_use]
    pub fn who(&self) -> String {
        format!("{}#{}", self.host, self.life)
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        write!(f, "{at:10.6} {}#{} {}", self.host, self.life, self.step)
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started => f.write_str("started"),
            Self::Crashed { machine: false } => f.write_str("crashed"),
            Self::Crashed { machine: true } => f.write_str("crashed with its machine"),
            Self::Asked => f.write_str("asked to end"),
            Self::Ended => f.write_str("ended"),
            Self::Owner {
                shard,
                epoch,
                owner,
                by,
            } => write!(f, "{} shard {shard} epoch {epoch} owner {owner}", by.word()),
            Self::Planned { shard, epoch, to } => {
                write!(f, "planned shard {shard} epoch {epoch} to {to}")
            }
            Self::Aborted { shard, epoch } => write!(f, "aborted shard {shard} epoch {epoch}"),
            Self::Forgot => f.write_str("forgot"),
            Self::Shard { what, shard, epoch } => {
                write!(f, "{} shard {shard} epoch {epoch}", what.word())
            }
            Self::Admitted { shard, epoch, id } => {
                write!(f, "admitted shard {shard} epoch {epoch} id {id}")
            }
            Self::Store(what) => f.write_str(what),
            Self::Network { fault, a, b } => write!(f, "{fault} {a} {b}"),
        }
    }
}

impl Change {
    /// The change that a log event names.
    fn read(word: &str) -> Option<Self> {
        let all = [Self::First, Self::Committed, Self::FailedOver];
        all.into_iter().find(|change| change.word() == word)
    }

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Committed => "committed",
            Self::FailedOver => "failed-over",
        }
    }
}
