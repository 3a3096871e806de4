//! Gives workers the `Upstream` objects: as files of one Secret, which they mount.
//!
//! A kubelet looks for changes in what is mounted about once a minute, and at once when the
//! pod changes: so the pods are told in an annotation.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::pin;
use std::time::Duration;

use futures_util::StreamExt;
use jiff::Timestamp;
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::events::{Event, EventType};
use kube::{Api, Resource, ResourceExt};
use serde_json::json;
use tokio::sync::watch;

use crate::client::{Place, within};
use crate::listing::Listing;
use crate::pods::WorkerPods;
use crate::secret::secret;
use crate::source::{events, watching};
use crate::story::Teller;
use crate::trouble::Trouble;
use crate::upstream::{ACCEPTED, Upstream, UpstreamStatus};
use crate::upstream_files::{Compiled, Secrets, Verdict, compile};

/// The annotation of a worker's pod: the version of the Secret that it is to have.
pub(crate) const TOLD: &str = "hexagram.dev/upstreams";
/// Between two looks at the Secrets that headers come from.
const LOOK: Duration = Duration::from_secs(30);

/// Gives the objects of a namespace to its workers.
pub(crate) struct Upstreams {
    pub(crate) place: Place,
    /// The Secret that workers mount.
    pub(crate) secret: String,
    /// The Secrets that headers may come from: an object must not send others away.
    pub(crate) headers_from: BTreeSet<String>,
    pub(crate) pods: watch::Receiver<WorkerPods>,
    pub(crate) teller: Teller,
}

type Objects = BTreeMap<String, Upstream>;

impl Upstreams {
    /// Does so until it is dropped.
    pub(crate) async fn keep(mut self) {
        let api: Api<Upstream> = self.place.api();
        let mut events = pin!(events(api, watching()));
        let mut objects = Listing::new();
        let mut blind = Trouble::new("following the Upstream objects");
        let mut wrong = Trouble::new("giving the Upstream objects to the workers");
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                Ok(()) = self.pods.changed() => None,
                () = tokio::time::sleep(LOOK) => None,
            };
            if let Some(event) = event {
                blind.tell(event.map(|event| objects.note(event, |object| object)));
            }
            if let Some(objects) = objects.all() {
                wrong.tell(self.give(objects).await);
            }
        }
    }

    async fn give(&self, objects: &Objects) -> Result<(), kube::Error> {
        let secrets = self.secrets(objects).await?;
        let specs = objects.iter().map(|(name, one)| (name.as_str(), &one.spec));
        let compiled = compile(specs, &secrets);
        let mut done = Ok(());
        if let Some(version) = self.write(&compiled).await? {
            done = self.tell_pods(&version).await;
        }
        for (name, verdict) in &compiled.verdicts {
            done = done.and(self.tell(&objects[name], verdict).await);
        }
        done
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

    /// Writes the files where they are others; the Secret's version, if there is one.
    async fn write(&self, compiled: &Compiled) -> Result<Option<String>, kube::Error> {
        let api: Api<Secret> = self.place.api();
        let known = within(api.get_opt(&self.secret)).await?;
        let data = data(compiled, known.as_ref());
        let options = PostParams::default();
        let written = match known {
            None if data.is_empty() => return Ok(None),
            None => within(api.create(&options, &secret(&self.secret, data))).await?,
            Some(known) if known.data.clone().unwrap_or_default() == data => known,
            Some(known) => {
                let data = Some(data);
                let changed = Secret { data, ..known };
                within(api.replace(&self.secret, &options, &changed)).await?
            }
        };
        Ok(written.resource_version())
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

    /// Says of an object what is news.
    async fn tell(&self, object: &Upstream, verdict: &Verdict) -> Result<(), kube::Error> {
        let Some(condition) = news(object, verdict) else {
            return Ok(());
        };
        let api: Api<Upstream> = self.place.api();
        let conditions = vec![condition];
        let patch = json!({"status": UpstreamStatus { conditions }});
        let (name, options) = (object.name_any(), PatchParams::default());
        match within(api.patch_status(&name, &options, &Patch::Merge(&patch))).await {
            // It was deleted meanwhile.
            Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
            patched => drop(patched?),
        }
        let (status, reason, message) = verdict.words();
        let event = Event {
            type_: match status {
                "True" => EventType::Normal,
                _ => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(message.to_owned()),
            action: "Give".to_owned(),
            secondary: None,
        };
        self.teller.publish(event, &object.object_ref(&())).await;
        Ok(())
    }
}

/// What the Secret is to hold, where `known` is what it holds.
fn data(compiled: &Compiled, known: Option<&Secret>) -> BTreeMap<String, ByteString> {
    let files = compiled.files.iter();
    let files = files.map(|(name, text)| (name.clone(), ByteString(text.clone().into_bytes())));
    let known = known.and_then(|known| known.data.as_ref());
    let before = |name: String| Some((name.clone(), known?.get(&name)?.clone()));
    files.chain(compiled.refused().filter_map(before)).collect()
}

/// The condition that is to stand on an object, if it is another than before.
fn news(object: &Upstream, verdict: &Verdict) -> Option<Condition> {
    let (status, reason, message) = verdict.words();
    let known = object.status.as_ref().and_then(UpstreamStatus::accepted);
    let of = object.metadata.generation;
    let is_known = known.is_some_and(|known| {
        (&*known.status, &*known.reason, &*known.message) == (status, reason, message)
            && known.observed_generation == of
    });
    let since = known.filter(|known| known.status == status);
    (!is_known).then(|| Condition {
        type_: ACCEPTED.to_owned(),
        status: status.to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        observed_generation: of,
        last_transition_time: match since {
            Some(known) => known.last_transition_time.clone(),
            None => Time(Timestamp::now()),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::UpstreamSpec;

    fn object(accepted: Option<Condition>) -> Upstream {
        let spec = UpstreamSpec {
            url: "http://x".to_owned(),
            retry: None,
            headers: Vec::new(),
        };
        let mut object = Upstream::new("x", spec);
        object.metadata.generation = Some(3);
        object.status = Some(UpstreamStatus {
            conditions: accepted.into_iter().collect(),
        });
        object
    }

    #[test]
    fn what_is_refused_for_a_while_is_served_on() {
        let mut compiled = Compiled::default();
        compiled.files.insert("a.toml".to_owned(), "new".to_owned());
        let refused = Verdict::NoSecret("is not there".to_owned());
        compiled.verdicts.insert("b".to_owned(), refused);
        let text = |text: &str| ByteString(text.as_bytes().to_vec());
        let held = ["a", "b", "gone"].map(|name| (format!("{name}.toml"), text("old")));
        let known = Secret {
            data: Some(held.into()),
            ..Secret::default()
        };
        let expected = [("a.toml", "new"), ("b.toml", "old")];
        let expected = expected.map(|(name, held)| (name.to_owned(), text(held)));
        assert_eq!(data(&compiled, Some(&known)), expected.into());
        assert_eq!(data(&compiled, None).len(), 1);
    }

    #[test]
    fn only_news_are_written_and_a_turn_has_its_time() {
        let first = news(&object(None), &Verdict::Accepted).unwrap();
        assert_eq!(
            (&*first.status, first.observed_generation),
            ("True", Some(3))
        );
        assert_eq!(news(&object(Some(first.clone())), &Verdict::Accepted), None);
        let old = Condition {
            observed_generation: Some(2),
            last_transition_time: Time(Timestamp::UNIX_EPOCH),
            ..first
        };
        let again = news(&object(Some(old.clone())), &Verdict::Accepted).unwrap();
        assert_eq!(again.last_transition_time, old.last_transition_time);
        let wrong = Verdict::Invalid("why".to_owned());
        let turned = news(&object(Some(old.clone())), &wrong).unwrap();
        assert_ne!(turned.last_transition_time, old.last_transition_time);
        assert_eq!((&*turned.reason, &*turned.message), ("Invalid", "why"));
    }
}
