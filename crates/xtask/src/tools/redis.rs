//! A Redis or Valkey: the session store's tests start their own servers.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process;
use crate::progress::Task;

use super::debian;

/// Installs Redis where there is neither it nor Valkey.
pub(super) fn install(task: &mut Task) -> Result<()> {
    let servers = ["redis-server", "valkey-server"];
    if servers
        .into_iter()
        .any(|name| debian::on_path(name).is_some())
    {
        return Ok(());
    }
    debian::require_program("redis-server", &["redis-server"], task)?;
    stop_service(task)
}

/// Debian starts a server for everybody with the package; nobody asked for that one.
fn stop_service(task: &mut Task) -> Result<()> {
    if !Path::new("/run/systemd/system").exists() {
        return Ok(());
    }
    let mut systemctl = Command::new("systemctl");
    systemctl.args(["disable", "--now", "redis-server"]);
    process::require(systemctl, task).map(|_| ())
}
