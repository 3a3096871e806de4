//! The kinds that the release of the tests made. The chart keeps them, for the objects of
//! people who install again; with the name of a release on them that is gone, Helm refuses
//! them to every other one.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;
use crate::progress::Task;

/// How the names of this project's kinds end, whoever made them.
const GROUP: &str = ".hexagram.dev";

/// Deletes those that bear the name of this release, unless somebody else has objects of any
/// of the project's kinds by now. What was there before bears another name or none.
///
/// It is all of them or none: a release of somebody else's runs without objects of some kind,
/// but not without the kind, and its chart does not make it a second time.
pub(super) fn remove(
    release: &str,
    namespace: &str,
    kubectl: impl Fn(&[&str]) -> Command,
    task: &mut Task,
) -> Result<()> {
    let known = process::output(kubectl(&["get", "crds", "--output=json"]))?;
    let known: Value = serde_json::from_str(&known).context("read the kinds of the cluster")?;
    let (all, made) = (ours(&known), made(release, namespace, &known));
    if made.is_empty() {
        return Ok(());
    }
    let kinds = all.join(",");
    // The tests' own are gone with their namespace.
    let get = ["get", &kinds, "--all-namespaces", "--output=name"];
    if !process::output(kubectl(&get))?.trim().is_empty() {
        let why = format!("{kinds} stay: other namespaces have objects of them");
        task.print([why.as_str()]);
        return Ok(());
    }
    for kind in made {
        let delete = ["delete", "crd", kind, "--ignore-not-found"];
        process::require(kubectl(&delete), task)?;
    }
    Ok(())
}

/// The names of the project's kinds.
fn ours(known: &Value) -> Vec<&str> {
    named(known, |_| true)
}

/// Of these the ones that this release made: Helm notes it on what it makes.
fn made<'a>(release: &str, namespace: &str, known: &'a Value) -> Vec<&'a str> {
    named(known, |kind| {
        let annotations = &kind["metadata"]["annotations"];
        annotations["meta.helm.sh/release-name"] == release
            && annotations["meta.helm.sh/release-namespace"] == namespace
    })
}

/// The names of the project's kinds that are such.
fn named(known: &Value, is_such: impl Fn(&Value) -> bool) -> Vec<&str> {
    let items = known["items"].as_array().into_iter().flatten();
    let such = items.filter(|kind| is_such(kind));
    let names = such.filter_map(|kind| kind["metadata"]["name"].as_str());
    names.filter(|name| name.ends_with(GROUP)).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    /// A kind that a release of this namespace made.
    fn kind(name: &str, namespace: &str) -> Value {
        let name = format!("{name}.hexagram.dev");
        let annotations = json!({
            "helm.sh/resource-policy": "keep",
            "meta.helm.sh/release-name": "hexagram",
            "meta.helm.sh/release-namespace": namespace,
        });
        json!({"metadata": {"name": name, "annotations": annotations}})
    }

    /// Knows these kinds, has one object of the kind `used`, and notes what it is to delete.
    fn kubectl(folder: &Path, kinds: &[Value]) -> impl Fn(&[&str]) -> Command {
        const SCRIPT: &str = r#"case "$1 $2" in
            "get crds") cat kinds.json ;;
            get\ *used.hexagram.dev*) echo used/a ;;
            delete*) echo "$3" >> deleted ;;
        esac"#;
        let list = json!({"items": kinds}).to_string();
        std::fs::write(folder.join("kinds.json"), list).unwrap();
        let folder = folder.to_owned();
        move |args| {
            let mut command = Command::new("sh");
            command.args(["-c", SCRIPT, "kubectl"]).args(args);
            command.current_dir(&folder);
            command
        }
    }

    fn deleted(kinds: &[Value]) -> String {
        let folder = tempfile::tempdir().unwrap();
        let kubectl = kubectl(folder.path(), kinds);
        remove("hexagram", "tests", kubectl, &mut Task::start("test")).unwrap();
        std::fs::read_to_string(folder.path().join("deleted")).unwrap_or_default()
    }

    #[test]
    fn kinds_go_with_the_release_that_made_them() {
        let kinds = [kind("shardmaps", "tests"), kind("upstreams", "tests")];
        assert_eq!(
            deleted(&kinds),
            "shardmaps.hexagram.dev\nupstreams.hexagram.dev\n"
        );
    }

    #[test]
    fn kinds_that_were_there_before_stay() {
        let applied = json!({"metadata": {"name": "upstreams.hexagram.dev"}});
        assert_eq!(deleted(&[kind("shardmaps", "default"), applied]), "");
    }

    #[test]
    fn every_kind_stays_while_somebody_else_has_objects_of_one() {
        for namespace in ["tests", "default"] {
            let kinds = [kind("upstreams", "tests"), kind("used", namespace)];
            assert_eq!(deleted(&kinds), "", "{namespace}");
        }
    }

    #[test]
    fn kinds_of_others_are_not_looked_at() {
        let strange = json!({"metadata": {"name": "used.example.com"}});
        assert_eq!(
            deleted(&[kind("upstreams", "tests"), strange]),
            "upstreams.hexagram.dev\n"
        );
    }
}
