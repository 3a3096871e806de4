//! `manifests/hexagram.yaml`: the default install, for those without Helm.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::helm::{Helm, RELEASE};

const FILE: &str = "manifests/hexagram.yaml";
/// Labels that would say that Helm looks after what it does not know of.
const HELMS: [&str; 2] = ["app.kubernetes.io/managed-by: Helm", "helm.sh/chart: "];

/// Whether the file is what the chart renders.
///
/// # Errors
/// When it is not.
pub(super) fn check(helm: &Helm, root: &Path) -> Result<()> {
    let file = root.join(FILE);
    let written = fs::read_to_string(&file).with_context(|| format!("read {FILE}"))?;
    ensure!(
        written == rendered(helm)?,
        "{FILE} is not what the chart renders: `cargo xtask gen`"
    );
    Ok(())
}

/// Writes the file, and says where it is.
///
/// # Errors
/// When the chart does not render.
pub(super) fn write(helm: &Helm, root: &Path) -> Result<PathBuf> {
    let file = root.join(FILE);
    fs::write(&file, rendered(helm)?).with_context(|| format!("write {FILE}"))?;
    Ok(file)
}

fn rendered(helm: &Helm) -> Result<String> {
    let chart = helm.template(&["--skip-tests"])?;
    Ok(format!("{}{}", head(), without_helm(&chart)))
}

fn head() -> String {
    format!(
        "# Hexagram as the chart installs it by default, without Helm. Rendered from charts/hexagram by\n\
         # `cargo xtask gen`: change the chart, not this. How to use it: manifests/README.md.\n\
         apiVersion: v1\n\
         kind: Namespace\n\
         metadata:\n  \
         name: {RELEASE}\n"
    )
}

fn without_helm(chart: &str) -> String {
    let is_helms = |line: &&str| {
        HELMS
            .iter()
            .any(|helms| line.trim_start().starts_with(helms))
    };
    let lines = chart.lines().filter(|line| !is_helms(line));
    lines.map(|line| format!("{}\n", line.trim_end())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_says_that_helm_looks_after_it() {
        let chart = "---\nlabels:\n  a: b\n  app.kubernetes.io/managed-by: Helm\n  \
                     helm.sh/chart: hexagram-0.1.0\n  \nspec: {}\n";
        let expected = "---\nlabels:\n  a: b\n\nspec: {}\n";
        assert_eq!(without_helm(chart), expected);
    }

    #[test]
    fn the_namespace_comes_first() {
        let head = head();
        assert!(
            head.ends_with("kind: Namespace\nmetadata:\n  name: hexagram\n"),
            "{head}"
        );
        assert!(head.starts_with("# "), "{head}");
    }
}
