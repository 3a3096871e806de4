//! Who of several operators acts: the holder of a Lease.
//!
//! A holder whose clock or network fails is judged by what others see change, never by
//! comparing clocks. Two that act at once for a moment do no harm: the register takes the
//! writes of one (DESIGN section 6).

use std::time::Duration;

use hexagram_runtime::random::jittered;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::Api;
use kube::api::{ObjectMeta, PostParams};
use tokio::time::{Instant, sleep};

use crate::client::{Place, within};
use crate::trouble::Trouble;

#[cfg(test)]
mod tests;

/// A lease that did not change for so long is free.
const LENGTH: Duration = Duration::from_secs(30);
/// Between two renewals: a few writes a minute.
const RENEW: Duration = Duration::from_secs(15);
/// After a renewal that failed: another comes before the lease is free, also where the API
/// server let that one wait for as long as it may.
const AGAIN: Duration = Duration::from_secs(2);
/// Between two looks of those that stand by, and between two tries to release it.
const LOOK: Duration = Duration::from_secs(1);
/// The last try to release it begins by then: a pod that is to end has 30 s.
const FAREWELL: Duration = Duration::from_secs(10);

/// One of those that want to lead.
pub(crate) struct Candidate {
    api: Api<Lease>,
    name: String,
    me: String,
}

/// What was seen last of a lease that is another's.
struct Seen {
    version: Option<String>,
    /// For how long it stands: the time before looks that failed does not count.
    since: Instant,
    /// When it was looked at last.
    looked: Instant,
}

impl Seen {
    fn new(now: Instant) -> Self {
        Self {
            version: None,
            since: now,
            looked: now,
        }
    }

    /// It was looked at. Where that failed, the holder may have fared no better since the look
    /// before: it gets as much time more to renew.
    fn look(&mut self, is_answered: bool, now: Instant) {
        if !is_answered {
            self.since = (self.since + (now - self.looked)).min(now);
        }
        self.looked = now;
    }
}

/// What to do about a lease.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Take,
    Wait(String),
}

impl Candidate {
    pub(crate) fn new(place: &Place, name: &str, me: &str) -> Self {
        Self {
            api: place.api(),
            name: name.to_owned(),
            me: me.to_owned(),
        }
    }

    /// Waits until this one leads; `tell` hears who does meanwhile.
    pub(crate) async fn lead(&self, tell: impl Fn(&str)) {
        let mut seen = Seen::new(Instant::now());
        let mut trouble = Trouble::new("asking for the lease");
        loop {
            let turn = self.try_to_lead(&mut seen).await;
            seen.look(turn.is_ok(), Instant::now());
            match &turn {
                Ok(Turn::Take) => return,
                Ok(Turn::Wait(holder)) => tell(holder),
                Err(_) => {}
            }
            trouble.tell(turn.map(drop));
            sleep(jittered(LOOK)).await;
        }
    }

    /// Renews the lease for as long as nobody else has it; gives who does then. While the
    /// API server is away nobody can take it.
    pub(crate) async fn keep(&self) -> String {
        let mut trouble = Trouble::new("renewing the lease");
        let mut rest = RENEW;
        loop {
            sleep(jittered(rest)).await;
            let renewed = self.renew().await;
            if let Ok(Some(holder)) = renewed {
                return holder;
            }
            rest = match &renewed {
                Ok(_) => RENEW,
                Err(_) => AGAIN,
            };
            trouble.tell(renewed.map(drop));
        }
    }

    /// Lets another lead at once. A renewal that was given up may still come in between.
    pub(crate) async fn release(&self) {
        let end = Instant::now() + FAREWELL;
        while let Err(error) = self.try_to_release().await {
            if !may_pass(&error) || Instant::now() >= end {
                tracing::warn!(lease = self.name, %error, "the lease is not released: another operator takes it in {LENGTH:?}");
                return;
            }
            sleep(jittered(LOOK)).await;
        }
    }

    async fn try_to_release(&self) -> Result<(), kube::Error> {
        let Some(mut lease) = self.get().await? else {
            return Ok(());
        };
        if holder(&lease) != Some(&self.me) {
            return Ok(());
        }
        lease.spec.get_or_insert_default().holder_identity = None;
        self.replace(&lease).await
    }

    async fn try_to_lead(&self, seen: &mut Seen) -> Result<Turn, kube::Error> {
        let Some(lease) = self.get().await? else {
            let lease = Lease {
                metadata: ObjectMeta {
                    name: Some(self.name.clone()),
                    ..ObjectMeta::default()
                },
                spec: Some(self.taken(None)),
            };
            within(self.api.create(&PostParams::default(), &lease)).await?;
            return Ok(Turn::Take);
        };
        if seen.version != lease.metadata.resource_version {
            seen.version.clone_from(&lease.metadata.resource_version);
            seen.since = Instant::now();
        }
        let turn = turn(holder(&lease), &self.me, seen.since.elapsed());
        if turn == Turn::Take {
            let spec = self.taken(lease.spec.as_ref());
            let spec = Some(spec);
            self.replace(&Lease { spec, ..lease }).await?;
        }
        Ok(turn)
    }

    /// Gives who has the lease, if it is another.
    async fn renew(&self) -> Result<Option<String>, kube::Error> {
        let Some(mut lease) = self.get().await? else {
            return Ok(Some("nobody: it was deleted".to_owned()));
        };
        match holder(&lease) {
            Some(holder) if *holder != self.me => return Ok(Some(holder.to_owned())),
            _ => {}
        }
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(self.me.clone()),
            renew_time: now(),
            ..lease.spec.unwrap_or_default()
        });
        self.replace(&lease).await.map(|()| None)
    }

    fn taken(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let turns = before.and_then(|spec| spec.lease_transitions);
        LeaseSpec {
            holder_identity: Some(self.me.clone()),
            lease_duration_seconds: i32::try_from(LENGTH.as_secs()).ok(),
            acquire_time: now(),
            renew_time: now(),
            lease_transitions: Some(turns.map_or(0, |turns| turns.saturating_add(1))),
            ..LeaseSpec::default()
        }
    }

    async fn get(&self) -> Result<Option<Lease>, kube::Error> {
        within(self.api.get_opt(&self.name)).await
    }

    /// Writes it, unless somebody else did since it was read.
    async fn replace(&self, lease: &Lease) -> Result<(), kube::Error> {
        let options = PostParams::default();
        let write = self.api.replace(&self.name, &options, lease);
        within(write).await.map(drop)
    }
}

/// What to do about a lease of `holder` that did not change for `unchanged`.
fn turn(holder: Option<&str>, me: &str, unchanged: Duration) -> Turn {
    match holder {
        Some(holder) if holder != me && unchanged < LENGTH => Turn::Wait(holder.to_owned()),
        _ => Turn::Take,
    }
}

fn holder(lease: &Lease) -> Option<&str> {
    let holder = lease.spec.as_ref()?.holder_identity.as_deref();
    holder.filter(|holder| !holder.is_empty())
}

/// Whether the same may succeed in a moment: not where the API server refuses it.
fn may_pass(error: &kube::Error) -> bool {
    match error {
        kube::Error::Api(status) => matches!(status.code, 409 | 429 | 500..),
        _ => true,
    }
}

/// For people: nobody decides by it.
#[expect(clippy::unnecessary_wraps, reason = "the fields are optional")]
fn now() -> Option<MicroTime> {
    Some(MicroTime(Timestamp::now()))
}
