//! From `Upstream` objects to the files that workers mount, and what is to be said of each
//! object. One that cannot be used costs itself only.

use std::collections::{BTreeMap, BTreeSet};

use hexagram_upstreams::{EraSetting, Timeouts, UpstreamName, UpstreamText};
use kube::ResourceExt;

use crate::upstream::{EraChoice, HeaderEntry, RetryChoice, TimeoutSeconds, Upstream};
use crate::upstream_endpoint::endpoint;
use crate::upstream_names::{Whose, file_name, holders, is_served, served_as};

/// What of the Secrets could be read, by name: their data, or why there is none.
pub(crate) type Secrets = BTreeMap<String, Result<BTreeMap<String, Vec<u8>>, String>>;

/// The files, and the verdicts by object.
#[derive(Default)]
pub(crate) struct Compiled {
    pub(crate) files: BTreeMap<String, String>,
    /// Files of objects that cannot be used now: what stood in them before is served on, as
    /// something may be missing for a moment only. No file is here that is another object's.
    pub(crate) refused: BTreeSet<String>,
    /// Of which object each of both is.
    pub(crate) whose: Whose,
    pub(crate) verdicts: BTreeMap<String, Verdict>,
}

/// What is said of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Verdict {
    Accepted,
    Invalid(String),
    NoSecret(String),
    /// Another upstream has the name that it would be served under.
    NameTaken(String),
}

impl Verdict {
    /// The condition's status, its reason and its message.
    pub(crate) fn words(&self) -> (&'static str, &'static str, &str) {
        match self {
            Self::Accepted => ("True", "Accepted", "workers are given it"),
            Self::Invalid(why) => ("False", "Invalid", why),
            Self::NoSecret(why) => ("False", "NoSecret", why),
            Self::NameTaken(whose) => ("False", "NameTaken", whose),
        }
    }

    const fn is_refusal(&self) -> bool {
        matches!(self, Self::Invalid(_) | Self::NoSecret(_))
    }
}

/// The files for `objects`, of which none may be served under a name that is `taken`, and no
/// two under one; `whose` are those that workers have.
pub(crate) fn compile<'a>(
    objects: impl Iterator<Item = &'a Upstream> + Clone,
    taken: &BTreeSet<String>,
    secrets: &Secrets,
    whose: &Whose,
) -> Compiled {
    let mut all = Compiled::default();
    let holders = holders(objects.clone(), whose);
    for object in objects {
        let name = served_as(object);
        let rival = holders.get(&name).copied();
        let rival = rival.filter(|rival| rival.name_any() != object.name_any());
        let text = is_free(&name, taken, rival, whose);
        let text = text.and_then(|()| file(&name, object, secrets));
        all.add(object, text, whose);
    }
    all
}

impl Compiled {
    fn add(&mut self, object: &Upstream, text: Result<String, Verdict>, whose: &Whose) {
        let file = file_name(&served_as(object));
        let verdict = match text {
            Ok(text) => {
                self.note_whose(&file, object);
                self.files.insert(file, text);
                Verdict::Accepted
            }
            Err(verdict) => {
                if verdict.is_refusal() && is_served(object, whose) {
                    self.note_whose(&file, object);
                    self.refused.insert(file);
                }
                verdict
            }
        };
        self.verdicts.insert(object.name_any(), verdict);
    }

    fn note_whose(&mut self, file: &str, object: &Upstream) {
        if let Some(uid) = object.uid() {
            self.whose.insert(file.to_owned(), uid);
        }
    }
}

/// Whether an object may be served under `name`, which a `rival` may have.
fn is_free(
    name: &str,
    taken: &BTreeSet<String>,
    rival: Option<&Upstream>,
    whose: &Whose,
) -> Result<(), Verdict> {
    if taken.contains(name) {
        return Err(Verdict::NameTaken(format!(
            "an upstream of the chart's values is called {name} and is served: give this object \
             another `prefix`, or take that one out of `upstreams`"
        )));
    }
    let Some(rival) = rival else {
        return Ok(());
    };
    let also = match is_served(rival, whose) {
        true => "serves it already",
        false => "was there first",
    };
    Err(Verdict::NameTaken(format!(
        "the Upstream {} has the name {name} and {also}: give one of them another `prefix`",
        rival.name_any()
    )))
}

fn file(name: &str, object: &Upstream, secrets: &Secrets) -> Result<String, Verdict> {
    let spec = &object.spec;
    let parsed: Result<UpstreamName, String> = name.parse();
    let parsed = parsed.map_err(|why| Verdict::Invalid(format!("{why}, or give it a `prefix`")))?;
    let retry = spec.retry.map(|retry| match retry {
        RetryChoice::Declared => "declared".to_owned(),
        RetryChoice::Never => "never".to_owned(),
    });
    let headers = spec.headers.iter().map(|entry| header(entry, secrets));
    let text = UpstreamText {
        url: endpoint(object).map_err(Verdict::Invalid)?,
        retry,
        era: spec.era.map(|era| setting(era).as_str().to_owned()),
        timeouts: timeouts(spec.timeouts.unwrap_or_default()),
        headers: headers
            .collect::<Result<_, _>>()
            .map_err(Verdict::NoSecret)?,
    };
    text.clone().checked(parsed).map_err(Verdict::Invalid)?;
    text.to_toml().map_err(Verdict::Invalid)
}

const fn setting(era: EraChoice) -> EraSetting {
    match era {
        EraChoice::Auto => EraSetting::Auto,
        EraChoice::Legacy => EraSetting::Legacy,
        EraChoice::Modern => EraSetting::Modern,
    }
}

const fn timeouts(given: TimeoutSeconds) -> Timeouts {
    Timeouts {
        connect: given.connect,
        handshake: given.handshake,
        silence: given.silence,
    }
}

fn header(entry: &HeaderEntry, secrets: &Secrets) -> Result<(String, String), String> {
    let from = &entry.secret_key_ref;
    let wrong = |why: &str| format!("header {}: Secret {} {why}", entry.name, from.name);
    let data = match secrets.get(&from.name) {
        Some(Ok(data)) => data,
        Some(Err(why)) => return Err(wrong(why)),
        None => return Err(wrong("was not read")),
    };
    let value = data.get(&from.key);
    let value = value.ok_or_else(|| wrong(&format!("has no key {:?}", from.key)))?;
    let value = str::from_utf8(value);
    let value = value.map_err(|_| wrong(&format!("has no text at {:?}", from.key)))?;
    Ok((entry.name.clone(), value.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{SecretKey, ServiceRef, UpstreamSpec};

    fn spec(url: &str) -> UpstreamSpec {
        UpstreamSpec {
            url: Some(url.to_owned()),
            ..UpstreamSpec::default()
        }
    }

    fn compiled(objects: &[(&str, UpstreamSpec)], taken: &[&str]) -> Compiled {
        let objects = objects.iter();
        let objects: Vec<_> = objects
            .map(|(name, spec)| Upstream::new(name, spec.clone()))
            .collect();
        let taken = taken.iter().map(|name| (*name).to_owned()).collect();
        compile(objects.iter(), &taken, &secrets(), &Whose::new())
    }

    fn keyed(secret: &str, key: &str) -> UpstreamSpec {
        let secret_key_ref = SecretKey {
            name: secret.to_owned(),
            key: key.to_owned(),
        };
        let header = HeaderEntry {
            name: "authorization".to_owned(),
            secret_key_ref,
        };
        UpstreamSpec {
            headers: vec![header],
            retry: Some(RetryChoice::Never),
            era: Some(EraChoice::Modern),
            timeouts: Some(TimeoutSeconds {
                silence: Some(9),
                ..TimeoutSeconds::default()
            }),
            ..spec("https://docs.example/mcp")
        }
    }

    fn secrets() -> Secrets {
        let data = [
            ("key".to_owned(), b"Bearer s3\n".to_vec()),
            ("raw".to_owned(), vec![0xff]),
        ];
        [
            ("docs".to_owned(), Ok(data.into())),
            ("gone".to_owned(), Err("is not there".to_owned())),
        ]
        .into()
    }

    fn verdict(name: &str, spec: UpstreamSpec) -> (String, String) {
        let compiled = compiled(&[(name, spec)], &[]);
        let (_, reason, message) = compiled.verdicts[name].words();
        (reason.to_owned(), message.to_owned())
    }

    #[test]
    fn an_object_is_a_file_that_workers_read() {
        let compiled = compiled(&[("docs", keyed("docs", "key"))], &[]);
        let text = UpstreamText::from_toml(&compiled.files["docs.toml"]).unwrap();
        assert_eq!(text.headers["authorization"], "Bearer s3");
        assert_eq!(text.retry.as_deref(), Some("never"));
        assert_eq!(text.era.as_deref(), Some("modern"));
        assert_eq!(
            (text.timeouts.silence, text.timeouts.connect),
            (Some(9), None)
        );
        assert_eq!(compiled.verdicts["docs"], Verdict::Accepted);
    }

    #[test]
    fn a_service_comes_to_workers_as_a_url() {
        let service = ServiceRef {
            name: "docs".to_owned(),
            namespace: Some("tools".to_owned()),
            port: 80,
            path: None,
            scheme: None,
        };
        let spec = UpstreamSpec {
            service: Some(service),
            ..UpstreamSpec::default()
        };
        let compiled = compiled(&[("docs", spec)], &[]);
        let text = UpstreamText::from_toml(&compiled.files["docs.toml"]).unwrap();
        assert_eq!(text.url, "http://docs.tools.svc:80/mcp");
    }

    #[test]
    fn a_name_of_the_chart_s_is_not_an_object_s() {
        let spec = spec("http://git.example/mcp");
        let compiled = compiled(&[("git", spec.clone()), ("docs", spec)], &["git"]);
        assert_eq!(compiled.files.keys().collect::<Vec<_>>(), ["docs.toml"]);
        let (status, reason, message) = compiled.verdicts["git"].words();
        assert_eq!((status, reason), ("False", "NameTaken"));
        assert!(message.contains("`upstreams`"), "{message}");
        assert!(compiled.refused.is_empty(), "nothing of it is served on");
    }

    fn prefixed(prefix: &str) -> UpstreamSpec {
        UpstreamSpec {
            prefix: Some(prefix.to_owned()),
            ..spec("http://git.example/mcp")
        }
    }

    #[test]
    fn an_object_is_served_under_its_prefix() {
        let compiled = compiled(&[("team.git", prefixed("git"))], &[]);
        assert_eq!(compiled.files.keys().collect::<Vec<_>>(), ["git.toml"]);
        assert_eq!(compiled.verdicts["team.git"], Verdict::Accepted);
    }

    #[test]
    fn of_two_that_want_one_name_one_has_it() {
        let objects = [
            ("a", prefixed("git")),
            ("git", spec("http://other/mcp")),
            ("docs", prefixed("chart")),
        ];
        let compiled = compiled(&objects, &["chart"]);
        assert_eq!(compiled.files.keys().collect::<Vec<_>>(), ["git.toml"]);
        assert!(compiled.files["git.toml"].contains("git.example"));
        assert_eq!(compiled.verdicts["a"], Verdict::Accepted);
        for (name, says) in [
            ("git", "the Upstream a has the name git and was there first"),
            ("docs", "is called chart"),
        ] {
            let (_, reason, message) = compiled.verdicts[name].words();
            assert_eq!(reason, "NameTaken", "{message}");
            assert!(message.contains(says), "{message}");
        }
        assert!(compiled.refused.is_empty());
    }

    #[test]
    fn one_that_cannot_be_used_says_why_and_leaves_the_others() {
        let (good, bad) = (spec("http://git.example/mcp"), spec("ftp://x"));
        let compiled = compiled(&[("git", good.clone()), ("bad", bad.clone())], &[]);
        assert_eq!(compiled.files.keys().collect::<Vec<_>>(), ["git.toml"]);
        assert_eq!(compiled.verdicts["git"], Verdict::Accepted);
        for (name, spec, reason, says) in [
            ("bad", bad, "Invalid", "`url` is no http://"),
            (
                "docs",
                keyed("gone", "key"),
                "NoSecret",
                "Secret gone is not there",
            ),
            (
                "docs",
                keyed("docs", "kee"),
                "NoSecret",
                "has no key \"kee\"",
            ),
            (
                "docs",
                keyed("docs", "raw"),
                "NoSecret",
                "has no text at \"raw\"",
            ),
            ("a.b", good, "Invalid", "is not an upstream name"),
            ("docs", UpstreamSpec::default(), "Invalid", "neither `url`"),
        ] {
            let (found, message) = verdict(name, spec);
            assert_eq!(found, reason, "{message}");
            assert!(message.contains(says), "{message}");
        }
    }
}
