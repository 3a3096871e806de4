//! Gives workers the `Upstream` objects: as files of one Secret, which they mount.
//!
//! A kubelet looks for changes in what is mounted about once a minute, and at once when the
//! pod changes: so the pods are told in an annotation.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use hexagram_control::{Controller, Sights};
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{Patch, PatchParams};
use kube::runtime::watcher::Event;
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use crate::client::{Place, within};
use crate::kind::cause_of_watch;
use crate::listing::Listing;
use crate::pace::Pace;
use crate::pods::{TOLD, WorkerPods};
use crate::said::Said;
use crate::secret;
use crate::sight::seen;
use crate::source::{events, watching};
use crate::story::EventRecorder;
use crate::trouble::Trouble;
use crate::upstream::{Upstream, UpstreamStatus};
use crate::upstream_files::{Compiled, Secrets, Verdict, compile};
use crate::upstream_names::served_as;
use crate::upstream_secret::{next, whose};
use crate::upstream_status::{self, status};

/// Between two glances at what workers say of the upstreams.
const GLANCE: Duration = Duration::from_secs(2);

/// Gives the objects of a namespace to its workers.
pub(crate) struct Upstreams {
    pub(crate) place: Place,
    /// The Secret that workers mount.
    pub(crate) secret: String,
    /// The Secrets that headers may come from: an object must not send others away.
    pub(crate) headers_from: BTreeSet<String>,
    /// Names that the workers' own settings give.
    pub(crate) taken: BTreeSet<String>,
    pub(crate) pods: watch::Receiver<WorkerPods>,
    /// Hears what the workers say.
    pub(crate) controller: Controller,
    pub(crate) recorder: EventRecorder,
    /// Of the last pass.
    pub(crate) verdicts: BTreeMap<String, Verdict>,
    /// What stands on the objects.
    pub(crate) said: Said,
}

type Objects = BTreeMap<String, Upstream>;

impl Upstreams {
    /// Does so until it is dropped.
    pub(crate) async fn keep(mut self) {
        let api: Api<Upstream> = self.place.api();
        let mut events = pin!(events(api, watching()));
        let mut objects = Listing::new();
        let mut pace = Pace::new(Instant::now());
        let mut glances = interval(GLANCE);
        glances.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut blind = Trouble::new("following the Upstream objects");
        let mut wrong = Trouble::new("giving the Upstream objects to the workers");
        let mut mute = Trouble::new("saying on the Upstream objects how they are");
        loop {
            let is_time = tokio::select! {
                Some(event) = events.next() => {
                    let event = event.map_err(|error| cause_of_watch(&error, "Upstream"));
                    blind.tell(event.map(|event| take(&mut objects, &mut pace, event)));
                    false
                }
                Ok(()) = self.pods.changed() => {
                    pace.happened(Instant::now());
                    false
                }
                () = sleep_until(pace.due()) => {
                    let given = self.give(objects.all()).await;
                    pace.passed(Instant::now(), given.is_err());
                    wrong.tell(given);
                    true
                }
                _ = glances.tick() => true,
            };
            // Until the next pass what was found may be of other objects.
            if is_time && !pace.has_news() {
                mute.tell(self.tell(&mut objects, &mut pace).await);
            }
        }
    }

    async fn give(&mut self, objects: Option<&Objects>) -> Result<(), kube::Error> {
        // They were not listed yet.
        let Some(objects) = objects else {
            return Ok(());
        };
        // If this fails, nothing is said: what was found before may be of other objects.
        self.verdicts.clear();
        let secrets = self.secrets(objects).await?;
        let api: Api<Secret> = self.place.api();
        let known = within(api.get_opt(&self.secret)).await?;
        let whose = whose(known.as_ref(), objects);
        let compiled = compile(objects.values(), &self.taken, &secrets, &whose);
        let version = self.write(&compiled, known).await?;
        self.verdicts = compiled.verdicts;
        match version {
            Some(version) => self.tell_pods(&version).await,
            None => Ok(()),
        }
    }

    /// All Secrets that the objects name.
    async fn secrets(&self, objects: &Objects) -> Result<Secrets, kube::Error> {
        let headers = objects.values().flat_map(|one| &one.spec.headers);
        let names: BTreeSet<_> = headers.map(|one| one.secret_key_ref.name.clone()).collect();
        let mut secrets = Secrets::new();
        for name in names {
            let data = self.secret_data(&name).await?;
            secrets.insert(name, data);
        }
        Ok(secrets)
    }

    async fn secret_data(
        &self,
        name: &str,
    ) -> Result<Result<BTreeMap<String, Vec<u8>>, String>, kube::Error> {
        if !self.headers_from.contains(name) {
            return Ok(Err(
                "is none that headers may come from: name it in the chart's upstreamSecrets"
                    .to_owned(),
            ));
        }
        let api: Api<Secret> = self.place.api();
        match within(api.get_opt(name)).await {
            Ok(Some(secret)) => {
                let data = secret.data.unwrap_or_default().into_iter();
                Ok(Ok(data.map(|(key, value)| (key, value.0)).collect()))
            }
            Ok(None) => Ok(Err("is not there".to_owned())),
            Err(kube::Error::Api(status)) if status.code == 403 => {
                Ok(Err("may not be read by the operator".to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Writes the files where they are others than those that are `known`; the Secret's
    /// version, if there is one.
    async fn write(
        &self,
        compiled: &Compiled,
        known: Option<Secret>,
    ) -> Result<Option<String>, kube::Error> {
        let api: Api<Secret> = self.place.api();
        let written = match next(&self.secret, compiled, known.as_ref()) {
            Some(next) => Some(secret::write(&api, &next).await?),
            None => known,
        };
        Ok(written.and_then(|secret| secret.resource_version()))
    }

    async fn tell_pods(&self, version: &str) -> Result<(), kube::Error> {
        let api: Api<Pod> = self.place.api();
        let pods = self.pods.borrow().clone();
        let mut done = Ok(());
        let late = |pod: &&str| pods[*pod].told.as_deref() != Some(version) && !pods[*pod].is_going;
        for name in pods.keys().map(String::as_str).filter(late) {
            let patch = json!({"metadata": {"annotations": {TOLD: version}}});
            let patch = Patch::Merge(&patch);
            let patched = within(api.patch(name, &PatchParams::default(), &patch)).await;
            match patched {
                // It is gone already.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                patched => done = done.and(patched.map(drop)),
            }
        }
        done
    }

    /// Says on the objects what is news.
    async fn tell(
        &mut self,
        objects: &mut Listing<Upstream>,
        pace: &mut Pace,
    ) -> Result<(), kube::Error> {
        let told = self.controller.overview().sights;
        let news = objects.all().map(|all| self.news(all, &told));
        let mut done = Ok(());
        for (object, status) in news.unwrap_or_default() {
            self.said.tries(&object, Instant::now());
            match self.tell_one(&object, &status).await {
                Ok(Some(written)) => {
                    self.said.wrote(&object, &status);
                    take_written(objects, pace, &object, written);
                }
                // It was deleted meanwhile.
                Ok(None) => {}
                Err(error) => done = done.and(Err(error)),
            }
        }
        done
    }

    /// The objects that are to say something else now, and what.
    fn news(
        &mut self,
        objects: &Objects,
        told: &BTreeMap<String, Sights>,
    ) -> Vec<(Upstream, UpstreamStatus)> {
        self.said.keep(objects);
        let now = Instant::now();
        let news = objects.iter().filter_map(|(name, object)| {
            let verdict = self.verdicts.get(name)?;
            let seen = seen(&served_as(object), told);
            let news = status(object, verdict, seen.as_ref())?;
            let is_due = self.said.is_due(object, &news, now);
            is_due.then(|| (object.clone(), news))
        });
        news.collect()
    }

    async fn tell_one(
        &self,
        object: &Upstream,
        status: &UpstreamStatus,
    ) -> Result<Option<Upstream>, kube::Error> {
        let api: Api<Upstream> = self.place.api();
        let patch = json!({"status": status});
        let (name, options) = (object.name_any(), PatchParams::default());
        let patched = within(api.patch_status(&name, &options, &Patch::Merge(&patch))).await;
        let written = match patched {
            Err(kube::Error::Api(refusal)) if refusal.code == 404 => return Ok(None),
            patched => patched?,
        };
        for event in upstream_status::events(object.status.as_ref(), status) {
            self.recorder.publish(event, &object.object_ref(&())).await;
        }
        Ok(Some(written))
    }
}

/// Takes in what the watch tells.
fn take(objects: &mut Listing<Upstream>, pace: &mut Pace, event: Event<Upstream>) {
    if is_old(objects.all(), &event) {
        return;
    }
    if is_change(objects.all(), &event) {
        pace.happened(Instant::now());
    }
    objects.note(event, |object| object);
}

/// Takes in what became of a `known` object as its status was written. Where somebody has
/// changed it meanwhile, a pass is to follow, and the watch brings it.
fn take_written(
    objects: &mut Listing<Upstream>,
    pace: &mut Pace,
    known: &Upstream,
    written: Upstream,
) {
    match edition(known) == edition(&written) {
        true => objects.note(Event::Apply(written), |object| object),
        false => pace.happened(Instant::now()),
    }
}

/// What is another one where somebody made the object anew or changed it.
fn edition(object: &Upstream) -> (Option<String>, Option<i64>) {
    (object.uid(), object.metadata.generation)
}

/// Whether what is known of an object is newer than an event: the answer to a write came
/// before what the watch had to tell until then.
fn is_old(objects: Option<&Objects>, event: &Event<Upstream>) -> bool {
    let Event::Apply(object) = event else {
        return false;
    };
    let known = objects.and_then(|all| all.get(&object.name_any()));
    let known = known.filter(|known| known.uid() == object.uid());
    let version = |object: &Upstream| object.resource_version()?.parse::<u64>().ok();
    match (known.and_then(version), version(object)) {
        (Some(known), Some(told)) => told < known,
        _ => false,
    }
}

/// Whether a pass is to follow an event: not where only what stands on an object is other.
fn is_change(objects: Option<&Objects>, event: &Event<Upstream>) -> bool {
    match event {
        Event::Init | Event::InitApply(_) => false,
        Event::InitDone | Event::Delete(_) => true,
        Event::Apply(object) => {
            let known = objects.and_then(|all| all.get(&object.name_any()));
            known.is_none_or(|known| edition(known) != edition(object))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::UpstreamSpec;

    fn object(name: &str, generation: i64) -> Upstream {
        let spec = UpstreamSpec {
            url: Some("http://x".to_owned()),
            ..UpstreamSpec::default()
        };
        let mut object = Upstream::new(name, spec);
        object.metadata.generation = Some(generation);
        object
    }

    #[test]
    fn what_stands_on_an_object_is_no_change_of_it() {
        let known = Objects::from([("a".to_owned(), object("a", 1))]);
        let mut told = object("a", 1);
        told.status = Some(UpstreamStatus::default());
        let mut anew = object("a", 1);
        anew.metadata.uid = Some("other".to_owned());
        for (event, expected) in [
            (Event::Apply(told), false),
            (Event::Init, false),
            (Event::InitApply(object("a", 2)), false),
            (Event::InitDone, true),
            (Event::Apply(object("a", 2)), true),
            (Event::Apply(anew), true),
            (Event::Apply(object("b", 1)), true),
            (Event::Delete(object("a", 1)), true),
        ] {
            assert_eq!(is_change(Some(&known), &event), expected, "{event:?}");
        }
        assert!(is_change(None, &Event::Apply(object("a", 1))));
    }

    fn told(reachable: bool, generation: i64, version: &str) -> Upstream {
        let mut object = object("a", generation);
        object.metadata.resource_version = Some(version.to_owned());
        object.status = Some(UpstreamStatus {
            reachable: Some(reachable),
            ..UpstreamStatus::default()
        });
        object
    }

    /// A listing that has this, and a pace without news.
    fn quiet(object: Upstream) -> (Listing<Upstream>, Pace) {
        let mut objects = Listing::new();
        objects.note(Event::Apply(object), |object| object);
        let mut pace = Pace::new(Instant::now());
        pace.passed(Instant::now(), false);
        (objects, pace)
    }

    #[test]
    fn an_edit_that_comes_with_the_answer_to_a_write_is_not_missed() {
        let known = told(false, 1, "5");
        let (mut objects, mut pace) = quiet(known.clone());
        let written = told(true, 1, "6");
        take_written(&mut objects, &mut pace, &known, written.clone());
        assert_eq!(objects.all().unwrap()["a"], written);
        assert!(!pace.has_news());
        let edited = told(true, 2, "8");
        take_written(&mut objects, &mut pace, &written, edited.clone());
        assert_eq!(objects.all().unwrap()["a"], written);
        assert!(pace.has_news());
        pace.passed(Instant::now(), false);
        take(&mut objects, &mut pace, Event::Apply(edited.clone()));
        assert_eq!(objects.all().unwrap()["a"], edited);
        assert!(pace.has_news());
    }

    #[test]
    fn what_the_watch_tells_late_puts_nothing_back() {
        let written = told(true, 1, "10");
        let (mut objects, mut pace) = quiet(written.clone());
        take(&mut objects, &mut pace, Event::Apply(told(false, 1, "9")));
        assert_eq!(objects.all().unwrap()["a"], written);
        let mut anew = told(false, 1, "9");
        anew.metadata.uid = Some("other".to_owned());
        for newer in [told(false, 1, "11"), anew] {
            take(&mut objects, &mut pace, Event::Apply(newer.clone()));
            assert_eq!(objects.all().unwrap()["a"], newer);
        }
    }
}
