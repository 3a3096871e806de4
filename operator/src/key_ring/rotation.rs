//! Carries the rotation out: looks at the Secret every few seconds, and writes the step that
//! is due over what was read.

use std::time::Duration;

use hexagram_core::KeyRing;
use hexagram_runtime::clock::unix_seconds;
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::random::{self, jittered};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::runtime::events::{Event, EventType};
use kube::{Api, ResourceExt};
use prometheus::{IntGauge, IntGaugeVec};
use tokio::sync::watch;
use tokio::time::sleep;

use super::due::{Decision, Heard, KeyTimes, Situation, Step, Wait};
use super::history::{History, Stage};
use super::late::{Lateness, Went, told};
use super::{ASKED, FILE, HISTORY, KeyRingError, ensure, read};
use crate::client::{Place, within};
use crate::register::KubeRegister;
use crate::secret::write;
use crate::story::EventRecorder;
use crate::trouble::Trouble;

#[cfg(test)]
mod processes;

/// Between two looks at the Secret.
const ROUND: Duration = Duration::from_secs(10);

/// What an operator is told of the key ring.
#[derive(Clone)]
pub struct KeySettings {
    /// The Secret in which it is, or is to be.
    pub secret: String,
    /// When its keys are rotated.
    pub times: KeyTimes,
    /// What is shown of it.
    pub metrics: KeyMetrics,
}

/// The key ring's metrics.
#[derive(Clone, Debug)]
pub struct KeyMetrics {
    keys: IntGaugeVec,
    late: IntGauge,
}

impl KeyMetrics {
    /// Registers them, once for a process.
    #[must_use]
    pub fn register(metrics: &Metrics) -> Self {
        Self {
            keys: metrics.gauges(
                "hexagram_control_keys",
                "Keys of the ring, by what they are: added, mints, leaves, left.",
                &["stage"],
            ),
            late: metrics.gauge(
                "hexagram_control_keys_late_seconds",
                "How long the next step of a rotation of keys has been waited for beyond its \
                 time, or the Secret could not be read or written; 0 while neither is so.",
            ),
        }
    }

    fn show(&self, history: &History) {
        for stage in Stage::ALL {
            let count = i64::try_from(history.find(stage).count()).unwrap_or(i64::MAX);
            self.keys.with_label_values(&[stage.word()]).set(count);
        }
    }

    fn show_late(&self, late: Duration) {
        let late = i64::try_from(late.as_secs()).unwrap_or(i64::MAX);
        self.late.set(late);
    }
}

/// Looks after the keys for one operator.
pub(crate) struct Rotation {
    pub(crate) place: Place,
    pub(crate) settings: KeySettings,
    pub(crate) heard: watch::Receiver<Heard>,
    pub(crate) recorder: EventRecorder,
    pub(crate) register: KubeRegister,
}

impl Rotation {
    /// Does so until it is dropped.
    pub(crate) async fn keep(self) {
        let mut trouble = Trouble::new("looking after the key ring");
        let mut lateness = Lateness::default();
        loop {
            sleep(jittered(ROUND)).await;
            let went = self.look().await;
            let late = lateness.after(&went);
            self.settings.metrics.show_late(late);
            trouble.tell(told(&self.settings.secret, went, late));
        }
    }

    async fn look(&self) -> Went {
        let (name, api) = (&self.settings.secret, self.place.api::<Secret>());
        let failed = |error| KeyRingError::Api(name.clone(), error);
        let Some(secret) = within(api.get_opt(name)).await.map_err(failed)? else {
            return ensure(&self.place, name).await.map(|()| None);
        };
        let ring = read(name, &secret)?;
        if is_foreign(&secret) {
            return match is_asked(&secret) {
                true => Err(KeyRingError::Foreign(name.clone())),
                false => Ok(None),
            };
        }
        let now = unix_seconds();
        let decision = self.decide(&ring, &secret, now);
        self.settings.metrics.show(&decision.history);
        let (step, wait) = (decision.step, decision.wait.clone());
        let taken_back = decision.taken_back.clone();
        let Some(next) = next(&secret, ring, decision, random::bytes(), now) else {
            return Ok(wait);
        };
        if !written(&api, &next).await.map_err(failed)? {
            return Ok(Some(wait.unwrap_or_else(lost_race)));
        }
        self.tell_taken_back(&taken_back).await;
        self.tell(step, &read(name, &next)?).await;
        Ok(wait)
    }

    fn decide(&self, ring: &KeyRing, secret: &Secret, now: u64) -> Decision {
        let situation = Situation {
            keys: &ring.fingerprints(),
            history: &history(secret),
            asked: is_asked(secret),
            heard: &self.heard.borrow(),
            now,
            times: self.settings.times,
        };
        situation.decide()
    }

    /// Tells of a step that was taken and gave this ring.
    async fn tell(&self, step: Option<Step>, ring: &KeyRing) {
        let Some((reason, note)) = step.and_then(|step| tale(step, ring)) else {
            return;
        };
        tracing::info!(secret = self.settings.secret, "{note}");
        self.publish(EventType::Normal, reason, note).await;
    }

    /// Tells of keys that somebody else took out of the ring.
    async fn tell_taken_back(&self, keys: &[(u64, Stage)]) {
        for (key, stage) in keys {
            let note = lament(*key, *stage);
            tracing::warn!(secret = self.settings.secret, "{note}");
            self.publish(EventType::Warning, "KeyTakenBack", note).await;
        }
    }

    async fn publish(&self, type_: EventType, reason: &str, note: String) {
        let event = Event {
            type_,
            reason: reason.to_owned(),
            note: Some(note),
            action: "Rotate".to_owned(),
            secondary: None,
        };
        let about = self.register.reference().await;
        self.recorder.publish(event, &about).await;
    }
}

/// Writes it, unless somebody else has since it was read: then that is looked at. Gives
/// whether it is written.
async fn written(api: &Api<Secret>, next: &Secret) -> Result<bool, kube::Error> {
    match write(api, next).await {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}

/// Why what was to be written is not.
fn lost_race() -> Wait {
    Wait {
        on: "something else writes the Secret at the same time".to_owned(),
        since: Duration::ZERO,
    }
}

/// What the Secret is to be, if that is another than it is.
fn next(
    secret: &Secret,
    ring: KeyRing,
    decision: Decision,
    entropy: [u8; 32],
    now: u64,
) -> Option<Secret> {
    let mut history = decision.history;
    let mut next = secret.clone();
    if let Some(step) = decision.step {
        let ring = step.taken(ring, &mut history, entropy, now);
        let text = ByteString(ring.to_text().into_bytes());
        next.data
            .get_or_insert_default()
            .insert(FILE.to_owned(), text);
        if step == Step::Add {
            next.annotations_mut().remove(ASKED);
        }
    }
    let text = history.to_string();
    if secret.annotations().get(HISTORY).map_or("", String::as_str) != text {
        next.annotations_mut().insert(HISTORY.to_owned(), text);
    }
    (next != *secret).then_some(next)
}

fn history(secret: &Secret) -> History {
    let text = secret.annotations().get(HISTORY);
    text.map_or_else(History::default, |text| History::read(text))
}

fn is_asked(secret: &Secret) -> bool {
    secret.annotations().contains_key(ASKED)
}

/// Whether somebody else writes it, who would put back what is written here.
fn is_foreign(secret: &Secret) -> bool {
    secret.immutable == Some(true) || !secret.owner_references().is_empty()
}

/// The reason and the text of a step's event.
fn tale(step: Step, ring: &KeyRing) -> Option<(&'static str, String)> {
    let keys = ring.fingerprints();
    Some(match step {
        Step::Add => {
            let added = keys.last()?;
            let note = format!(
                "key {added:016x} is added to the key ring: it opens, and does not mint yet"
            );
            ("KeyAdded", note)
        }
        Step::Mint(key) => {
            let before = keys.get(1)?;
            let note = format!(
                "key {key:016x} mints from now on: every worker and edge opens with it; {before:016x} only opens"
            );
            ("KeyMints", note)
        }
        Step::Drop(key) => {
            let note = format!("key {key:016x} is dropped: whatever it sealed has expired");
            ("KeyDropped", note)
        }
    })
}

/// The text of the event that a key is gone.
fn lament(key: u64, stage: Stage) -> String {
    let lost = match stage {
        Stage::Mints => "the sessions that it sealed end",
        _ => "it had not minted",
    };
    format!(
        "key {key:016x} was taken out of the key ring by something else, {lost}; where another tool \
         writes the Secret the operator must not rotate it: --keys-rotate=0 (keys.rotateDays)"
    )
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;

    use super::super::fresh;
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn decision(step: Option<Step>) -> Decision {
        Decision {
            step,
            ..Decision::default()
        }
    }

    fn after(secret: &Secret, step: Step) -> Secret {
        let ring = read("k", secret).unwrap();
        next(secret, ring, decision(Some(step)), [7; 32], NOW).unwrap()
    }

    #[test]
    fn a_step_changes_the_ring_and_keeps_all_else() {
        let mut secret = fresh("k");
        secret.metadata.resource_version = Some("7".to_owned());
        let other = ("notes".to_owned(), ByteString(b"x".to_vec()));
        secret.data.get_or_insert_default().extend([other]);
        for (key, value) in [(ASKED, "now"), ("team", "a")] {
            let annotations = secret.annotations_mut();
            annotations.insert(key.to_owned(), value.to_owned());
        }
        let old = read("k", &secret).unwrap().fingerprints()[0];
        let added = after(&secret, Step::Add);
        assert!(is_asked(&secret) && !is_asked(&added));
        assert_eq!(added.annotations()["team"], "a");
        assert_eq!(added.resource_version().as_deref(), Some("7"));
        assert_eq!(added.data.as_ref().unwrap()["notes"].0, b"x");
        let ring = read("k", &added).unwrap();
        let new = ring.fingerprints()[1];
        assert_eq!(ring.fingerprints(), [old, new]);
        let noted = format!("{new:016x} added 2027-01-15T08:00:00Z");
        assert_eq!(added.annotations()[HISTORY], noted);
        let minting = after(&added, Step::Mint(new));
        assert_eq!(read("k", &minting).unwrap().fingerprints(), [new, old]);
        let dropped = after(&minting, Step::Drop(old));
        assert_eq!(read("k", &dropped).unwrap().fingerprints(), [new]);
    }

    #[test]
    fn nothing_is_written_without_a_reason() {
        let secret = fresh("k");
        let ring = || read("k", &secret).unwrap();
        assert_eq!(next(&secret, ring(), decision(None), [7; 32], NOW), None);
        let noted = Decision {
            history: History::read("7 left 2026-01-02T03:04:05Z"),
            ..Decision::default()
        };
        let once = next(&secret, ring(), noted.clone(), [7; 32], NOW).unwrap();
        assert_eq!(history(&once), noted.history);
        assert_eq!(next(&once, ring(), noted, [7; 32], NOW), None);
    }

    #[test]
    fn what_another_writes_is_left_alone() {
        let mut secret = fresh("k");
        assert!(!is_foreign(&secret));
        secret.immutable = Some(true);
        assert!(is_foreign(&secret));
        let mut secret = fresh("k");
        secret.metadata.owner_references = Some(vec![OwnerReference::default()]);
        assert!(is_foreign(&secret));
    }

    #[test]
    fn a_key_that_is_gone_is_told_with_what_it_was() {
        let minted = lament(7, Stage::Mints);
        assert!(
            minted.contains("0000000000000007") && minted.contains("sessions that it sealed end")
        );
        assert!(lament(7, Stage::Added).contains("had not minted"));
    }

    #[test]
    fn each_step_names_its_keys_and_shows_none() {
        let secret = fresh("k");
        let ring = read("k", &secret).unwrap().with_another([7; 32]).unwrap();
        let [old, new] = ring.fingerprints()[..] else {
            panic!("two keys")
        };
        let steps = [
            (Step::Add, "KeyAdded", new),
            (Step::Mint(old), "KeyMints", old),
            (Step::Drop(new), "KeyDropped", new),
        ];
        for (step, expected, key) in steps {
            let (reason, note) = tale(step, &ring).unwrap();
            assert_eq!(reason, expected);
            assert!(note.contains(&format!("{key:016x}")), "{note}");
            assert!(!note.contains("07070707"), "{note}");
        }
    }
}
