//! The Secret that workers mount: the upstreams' files, and of which object each is.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::ResourceExt;
use serde_json::json;

use crate::secret::secret;
use crate::upstream::Upstream;
use crate::upstream_files::Compiled;
use crate::upstream_names::{Whose, name_of};

/// Says of which object each file is: a JSON object of uids by the files' names.
const FILES_OF: &str = "hexagram.dev/files-of";

/// Of which of the `objects` each file is that `known` holds. One that an operator of an older
/// release wrote, which says nothing of that, is of the object of its name: it knew no other.
pub(crate) fn whose(known: Option<&Secret>, objects: &BTreeMap<String, Upstream>) -> Whose {
    let Some(known) = known else {
        return Whose::new();
    };
    let noted = noted(known);
    let of_its_name = |file: &String| objects.get(name_of(file)?)?.uid();
    let files = known.data.iter().flat_map(BTreeMap::keys);
    let whose = files.filter_map(|file| {
        let uid = noted.get(file).cloned().or_else(|| of_its_name(file));
        Some((file.clone(), uid?))
    });
    whose.collect()
}

fn noted(known: &Secret) -> Whose {
    let text = known.annotations().get(FILES_OF);
    let noted = text.and_then(|text| serde_json::from_str(text).ok());
    noted.unwrap_or_default()
}

/// What the Secret called `name` is to be where it is `known` now, if that is another.
pub(crate) fn next(name: &str, compiled: &Compiled, known: Option<&Secret>) -> Option<Secret> {
    let data = data(compiled, known);
    if known.is_none() && data.is_empty() {
        return None;
    }
    let whose = compiled.whose.iter();
    let whose: BTreeMap<_, _> = whose.filter(|(file, _)| data.contains_key(*file)).collect();
    let note = json!(whose).to_string();
    let mut next = known
        .cloned()
        .unwrap_or_else(|| secret(name, BTreeMap::new()));
    next.annotations_mut().insert(FILES_OF.to_owned(), note);
    // The API server keeps no empty map.
    next.data = Some(data).filter(|data| !data.is_empty());
    (known != Some(&next)).then_some(next)
}

/// What the Secret is to hold, where `known` is what it holds.
fn data(compiled: &Compiled, known: Option<&Secret>) -> BTreeMap<String, ByteString> {
    let files = compiled.files.iter();
    let files = files.map(|(name, text)| (name.clone(), ByteString(text.clone().into_bytes())));
    let known = known.and_then(|known| known.data.as_ref());
    let before = |name: &String| Some((name.clone(), known?.get(name)?.clone()));
    let refused = compiled.refused.iter().filter_map(before);
    files.chain(refused).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::upstream::{HeaderEntry, SecretKey, UpstreamSpec};
    use crate::upstream_files::{Secrets, Verdict, compile};
    use crate::upstream_names::tests::made;

    /// What workers have been given, and who gives it.
    #[derive(Default)]
    struct Given {
        objects: BTreeMap<String, Upstream>,
        secret: Option<Secret>,
    }

    impl Given {
        fn apply(&mut self, object: Upstream) {
            self.objects.insert(object.name_any(), object);
        }

        /// A pass over the objects, in which no Secret of headers is there.
        fn pass(&mut self) -> BTreeMap<String, Verdict> {
            let whose = whose(self.secret.as_ref(), &self.objects);
            let (taken, secrets) = (BTreeSet::new(), Secrets::new());
            let compiled = compile(self.objects.values(), &taken, &secrets, &whose);
            if let Some(next) = next("files", &compiled, self.secret.as_ref()) {
                self.secret = Some(next);
            }
            compiled.verdicts
        }

        /// Whether the file is there, and says this URL.
        fn serves(&self, file: &str, url: &str) -> bool {
            let data = self.secret.as_ref().and_then(|secret| secret.data.as_ref());
            let text = data.and_then(|data| data.get(file));
            text.is_some_and(|text| String::from_utf8_lossy(&text.0).contains(url))
        }

        fn files(&self) -> Vec<&str> {
            let data = self.secret.iter().flat_map(|secret| &secret.data);
            data.flat_map(BTreeMap::keys).map(String::as_str).collect()
        }
    }

    fn good(name: &str, prefix: Option<&str>, made_at: i64) -> Upstream {
        let spec = UpstreamSpec {
            url: Some(format!("http://{name}/mcp")),
            ..UpstreamSpec::default()
        };
        made(name, prefix, made_at, spec)
    }

    /// One whose header comes of a Secret that is not there.
    fn bad(name: &str, prefix: Option<&str>, made_at: i64) -> Upstream {
        let mut object = good(name, prefix, made_at);
        let secret_key_ref = SecretKey {
            name: "gone".to_owned(),
            key: "key".to_owned(),
        };
        object.spec.headers = vec![HeaderEntry {
            name: "authorization".to_owned(),
            secret_key_ref,
        }];
        object
    }

    fn is_no_secret(verdict: &Verdict) -> bool {
        matches!(verdict, Verdict::NoSecret(_))
    }

    #[test]
    fn who_is_refused_for_a_while_is_served_on_as_it_was() {
        let mut given = Given::default();
        given.apply(good("docs", None, 5));
        given.apply(good("team.git", Some("git"), 6));
        given.pass();
        assert_eq!(given.files(), ["docs.toml", "git.toml"]);
        given.apply(bad("docs", None, 5));
        given.apply(bad("team.git", Some("git"), 6));
        for _ in 0..2 {
            let verdicts = given.pass();
            assert!(verdicts.values().all(is_no_secret), "{verdicts:?}");
            assert!(given.serves("docs.toml", "http://docs/mcp"));
            assert!(given.serves("git.toml", "http://team.git/mcp"));
        }
    }

    #[test]
    fn one_that_wants_the_name_of_another_gets_nothing_of_it() {
        let mut given = Given::default();
        given.apply(good("docs", None, 5));
        given.pass();
        for older in [bad("b", Some("docs"), 4), good("b", Some("docs"), 4)] {
            given.apply(older);
            let verdicts = given.pass();
            assert_eq!(verdicts["docs"], Verdict::Accepted);
            let (_, reason, message) = verdicts["b"].words();
            assert_eq!(reason, "NameTaken");
            assert!(message.contains("docs has the name docs and serves it already"));
            assert!(given.serves("docs.toml", "http://docs/mcp"));
        }
        given.apply(bad("b", Some("docs"), 4));
        given.objects.remove("docs");
        assert!(is_no_secret(&given.pass()["b"]));
        assert!(given.files().is_empty(), "what there was is the other's");
    }

    #[test]
    fn one_made_in_place_of_another_does_not_serve_on_what_that_had() {
        let mut given = Given::default();
        given.apply(good("b", Some("docs"), 5));
        given.pass();
        // While the operator is away.
        given.objects.clear();
        given.apply(bad("c", Some("docs"), 6));
        assert!(is_no_secret(&given.pass()["c"]));
        assert!(given.files().is_empty());
        // The same with one name.
        given.apply(good("docs", None, 4));
        given.objects.remove("c");
        given.pass();
        assert_eq!(given.files(), ["docs.toml"]);
        given.apply(bad("docs", None, 7));
        given.pass();
        assert!(given.files().is_empty());
    }

    #[test]
    fn a_file_of_an_older_release_is_of_the_object_of_its_name() {
        for is_noted in [false, true] {
            let mut given = Given::default();
            given.apply(good("docs", None, 5));
            given.apply(good("git", None, 5));
            given.pass();
            let secret = given.secret.as_mut().expect("files");
            // An older operator leaves what is noted as it is: here of no file.
            match is_noted {
                false => secret.metadata.annotations = None,
                true => {
                    let none = "{}".to_owned();
                    secret.annotations_mut().insert(FILES_OF.to_owned(), none);
                }
            }
            given.apply(bad("docs", None, 5));
            given.objects.remove("git");
            given.apply(bad("other", Some("git"), 4));
            given.pass();
            assert_eq!(given.files(), ["docs.toml"]);
            assert!(given.serves("docs.toml", "http://docs/mcp"));
        }
    }

    #[test]
    fn nothing_is_written_where_nothing_is_other() {
        let none = Compiled::default();
        assert_eq!(next("files", &none, None), None);
        let mut given = Given::default();
        given.apply(good("docs", None, 5));
        given.pass();
        let whose = whose(given.secret.as_ref(), &given.objects);
        let taken = BTreeSet::new();
        let compiled = compile(given.objects.values(), &taken, &Secrets::new(), &whose);
        assert_eq!(next("files", &compiled, given.secret.as_ref()), None);
        let emptied = next("files", &none, given.secret.as_ref()).expect("no file");
        assert_eq!(emptied.data, None);
        assert_eq!(next("files", &none, Some(&emptied)), None);
    }

    #[test]
    fn what_others_put_on_the_secret_stays() {
        let mut known = secret("files", BTreeMap::new());
        known
            .annotations_mut()
            .insert("theirs".to_owned(), "x".to_owned());
        let next = next("files", &Compiled::default(), Some(&known)).expect("a note");
        assert_eq!(next.annotations()["theirs"], "x");
        assert_eq!(next.annotations()[FILES_OF], "{}");
    }

    #[test]
    fn what_is_refused_for_a_while_is_served_on() {
        let mut compiled = Compiled::default();
        compiled.files.insert("a.toml".to_owned(), "new".to_owned());
        compiled.refused.insert("b.toml".to_owned());
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
}
