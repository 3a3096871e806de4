//! What the chart renders, shown to an API server that keeps nothing of it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use crate::scene::Scene;

/// Of a name that no release of the tests has: objects that are there would be compared.
const RELEASE: &str = "accepted";
/// Kinds that clusters may lack, and where they come from.
const FOREIGN: [(&str, &str); 3] = [
    ("HTTPRoute", "/httproutes.gateway.networking.k8s.io"),
    ("PodMonitor", "/podmonitors.monitoring.coreos.com"),
    ("PrometheusRule", "/prometheusrules.monitoring.coreos.com"),
];

/// What the API server took.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// Sets of values.
    pub sets: usize,
    /// Objects of all of them.
    pub objects: usize,
    /// Objects that were left out: the cluster does not know their kind.
    pub left_out: usize,
}

impl Scene {
    /// Renders each set of values of the chart, and has the API server judge each object.
    ///
    /// # Errors
    /// With what it refuses.
    pub async fn accepted(&self) -> Result<Accepted> {
        let kinds = self.kubectl.run(&["get", "crds", "--output=name"]).await?;
        let is_unknown = |kind: &str| {
            let mut foreign = FOREIGN.iter().filter(|(name, _)| *name == kind);
            foreign.any(|(_, crd)| !kinds.lines().any(|line| line.ends_with(crd)))
        };
        let mut all = Accepted::default();
        for values in value_sets(&self.setting.chart())? {
            let rendered = self.rendered(&values).await?;
            let (known, unknown): (Vec<_>, _) =
                objects(&rendered).partition(|object| !is_unknown(kind(object)));
            self.show(&values, &known.join("\n---\n")).await?;
            all.sets += 1;
            all.objects += known.len();
            all.left_out += unknown.len();
        }
        ensure!(all.sets > 0, "the chart has no sets of values in ci/");
        Ok(all)
    }

    /// What the chart and the API server say to another value of a field of the ShardMap, which
    /// stands in the chart's values under the same name.
    ///
    /// # Errors
    /// When one of them takes it; nothing is changed by that either.
    pub async fn refusals(&self, field: &str, value: &Value) -> Result<[String; 2]> {
        let (chart, set) = (self.setting.chart(), format!("--set-json={field}={value}"));
        let upgrade = [
            "upgrade",
            "hexagram",
            &chart.display().to_string(),
            "--reuse-values",
            "--dry-run=server",
            &set,
        ];
        let chart = self.kubectl.helm(&upgrade).await;
        let spec = json!({"spec": {field: value}});
        let object = "shardmaps.hexagram.dev/hexagram";
        let patch = format!("--patch={spec}");
        let patch = ["patch", object, "--type=merge", "--dry-run=server", &patch];
        let server = self.kubectl.run(&patch).await;
        Ok([
            refusal(&format!("the chart takes another {field}"), chart)?,
            refusal(&format!("the API server takes another {field}"), server)?,
        ])
    }

    async fn rendered(&self, values: &Path) -> Result<String> {
        let (chart, values) = (self.setting.chart(), values.display().to_string());
        let template = [
            "template",
            RELEASE,
            &chart.display().to_string(),
            "--values",
            &values,
            // It may be the installed release's: no port is given twice.
            "--set=service.nodePort=null",
        ];
        self.kubectl.helm(&template).await
    }

    async fn show(&self, values: &Path, objects: &str) -> Result<()> {
        let file = self.setting.folder.join("rendered.yaml");
        tokio::fs::write(&file, objects).await?;
        let file = format!("--filename={}", file.display());
        let apply = ["apply", "--dry-run=server", "--validate=strict", &file];
        let applied = self.kubectl.run(&apply).await;
        applied
            .map(|_| ())
            .with_context(|| format!("the objects of {}", values.display()))
    }
}

fn refusal(otherwise: &str, answer: Result<String>) -> Result<String> {
    match answer {
        Ok(_) => bail!("{otherwise}"),
        Err(refusal) => Ok(refusal.to_string()),
    }
}

fn value_sets(chart: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(chart.join("ci")).context("read the chart's sets of values")?;
    let paths = entries.map(|entry| Ok(entry?.path()));
    let mut paths = paths.collect::<Result<Vec<_>>>()?;
    paths.retain(|path| path.to_string_lossy().ends_with("-values.yaml"));
    paths.sort();
    Ok(paths)
}

/// The objects in what Helm renders.
fn objects(rendered: &str) -> impl Iterator<Item = &str> {
    let parts = rendered.split("---\n").map(str::trim);
    parts.filter(|part| !kind(part).is_empty())
}

fn kind(object: &str) -> &str {
    let kind = object.lines().find_map(|line| line.strip_prefix("kind: "));
    kind.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_told_apart_by_their_kinds() {
        let rendered = "---\n# Source: a\nkind: Service\nspec:\n  kind: x\n---\n# Source: b\n---\n\
                        apiVersion: v1\nkind: PodMonitor\n";
        let kinds: Vec<_> = objects(rendered).map(kind).collect();
        assert_eq!(kinds, ["Service", "PodMonitor"]);
    }
}
