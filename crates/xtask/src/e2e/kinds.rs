//! The kinds that the release of the tests made. The chart keeps them, for the objects of
//! people who install again; with the name of a release on them that is gone, Helm refuses
//! them to every other one.

use std::process::Command;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::process;
use crate::progress::Task;

/// Deletes those that bear the name of this release, unless somebody else has objects of
/// them by now: those would go with them. What was there before bears another name or none.
pub(super) fn remove(
    release: &str,
    namespace: &str,
    kubectl: impl Fn(&[&str]) -> Command,
    task: &mut Task,
) -> Result<()> {
    let known = process::output(kubectl(&["get", "crds", "--output=json"]))?;
    let known: Value = serde_json::from_str(&known).context("read the kinds of the cluster")?;
    for kind in made(release, namespace, &known) {
        let get = ["get", &kind, "--all-namespaces", "--output=name"];
        if process::output(kubectl(&get))?.trim().is_empty() {
            let delete = ["delete", "crd", &kind, "--ignore-not-found"];
            process::require(kubectl(&delete), task)?;
        } else {
            let why = format!("{kind} stays: other namespaces have objects of it");
            task.print([why.as_str()]);
        }
    }
    Ok(())
}

/// Of all kinds those that this release made: Helm notes it on what it makes.
fn made(release: &str, namespace: &str, known: &Value) -> Vec<String> {
    let is_its = |annotations: &Value| {
        annotations["meta.helm.sh/release-name"] == release
            && annotations["meta.helm.sh/release-namespace"] == namespace
    };
    let items = known["items"].as_array().into_iter().flatten();
    let its = items.filter(|kind| is_its(&kind["metadata"]["annotations"]));
    let names = its.filter_map(|kind| kind["metadata"]["name"].as_str());
    names.map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;

    use super::*;

    /// A kind that a release of this namespace made.
    fn kind(name: &str, namespace: &str) -> Value {
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
            "get used") echo used/a ;;
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
        assert_eq!(deleted(&kinds), "shardmaps\nupstreams\n");
    }

    #[test]
    fn kinds_that_were_there_before_stay() {
        let applied = json!({"metadata": {"name": "upstreams"}});
        assert_eq!(deleted(&[kind("shardmaps", "default"), applied]), "");
    }

    #[test]
    fn a_kind_stays_while_somebody_else_has_objects_of_it() {
        let kinds = [kind("used", "tests"), kind("upstreams", "tests")];
        assert_eq!(deleted(&kinds), "upstreams\n");
    }
}
