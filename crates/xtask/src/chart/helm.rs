//! Helm without a cluster.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;

use crate::process;
use crate::progress::Task;
use crate::workspace::Workspace;

/// The release and the namespace that are rendered.
pub(super) const RELEASE: &str = "hexagram";

/// Helm, and the chart.
pub(super) struct Helm {
    chart: PathBuf,
}

impl Helm {
    pub(super) fn of(workspace: &Workspace) -> Self {
        Self {
            chart: workspace.root.join("charts/hexagram"),
        }
    }

    pub(super) fn chart(&self) -> &Path {
        &self.chart
    }

    /// # Errors
    /// When Helm finds something; it was printed then.
    pub(super) fn lint(&self, values: &Path, task: &mut Task) -> Result<()> {
        let mut lint = Command::new("helm");
        lint.args(["lint", "--strict", "--values"]).arg(values);
        lint.arg(&self.chart);
        process::require(lint, task).map(|_| ())
    }

    /// The chart's text.
    ///
    /// # Errors
    /// With why Helm refuses.
    pub(super) fn template(&self, args: &[&str]) -> Result<String> {
        self.template_as(RELEASE, args)
    }

    /// The same for a release and a namespace of another name.
    ///
    /// # Errors
    /// As [`Self::template`].
    pub(super) fn template_as(&self, name: &str, args: &[&str]) -> Result<String> {
        let mut template = Command::new("helm");
        template.args(["template", name]).arg(&self.chart);
        template.args(["--namespace", name]).args(args);
        process::output(template)
    }
}
