//! Where the workspace is and how cargo is called in it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use cargo_metadata::MetadataCommand;

/// The paths that cargo reports for this workspace.
pub(crate) struct Workspace {
    /// The folder of the workspace manifest.
    pub(crate) root: PathBuf,
    /// Where cargo builds: `CARGO_TARGET_DIR` when set, else cargo's default.
    pub(crate) target: PathBuf,
}

impl Workspace {
    /// Asks cargo, from the current folder.
    pub(crate) fn find() -> Result<Self> {
        let metadata = MetadataCommand::new()
            .no_deps()
            .exec()
            .context("ask cargo for the workspace: run this inside the tree")?;
        Ok(Self {
            root: metadata.workspace_root.into(),
            target: metadata.target_directory.into(),
        })
    }

    /// The cargo that runs us, at the root, whatever folder we were called in.
    pub(crate) fn cargo(&self, args: &[&str]) -> Command {
        let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
        command.args(args).current_dir(&self.root);
        command
    }

    /// The release binary that the cluster tests start.
    pub(crate) fn release_binary(&self) -> PathBuf {
        self.target.join("release/hexagram")
    }
}
