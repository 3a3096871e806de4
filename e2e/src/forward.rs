//! A way to one pod that does not depend on which pods Kubernetes thinks are there.

use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout};
use tokio::time::timeout;

use crate::kubectl::{Kubectl, Pod};

const PROMPT: Duration = Duration::from_secs(20);

/// A port of this machine that leads to a pod, until it is dropped.
#[derive(Debug)]
pub(crate) struct Forward {
    /// `HOST:PORT` of it.
    pub(crate) authority: String,
    _child: Child,
}

impl Forward {
    /// To a port of a pod.
    pub(crate) async fn to(kubectl: &Kubectl, pod: &Pod, port: u16) -> Result<Self> {
        let port = format!(":{port}");
        let args = ["port-forward", "--address=127.0.0.1", &pod.name, &port];
        let mut child = kubectl.stay(&args)?;
        let stdout = child.stdout.take().context("its stdout is piped")?;
        let mut lines = BufReader::new(stdout).lines();
        let line = timeout(PROMPT, lines.next_line()).await;
        let line = line.context("no port is forwarded")??;
        let line = line.with_context(|| format!("kubectl forwards no port to {}", pod.name))?;
        tokio::spawn(swallow(lines));
        Ok(Self {
            authority: authority(&line).with_context(|| format!("read `{line}`"))?,
            _child: child,
        })
    }
}

/// It tells of each connection, and ends when nobody listens.
async fn swallow(mut lines: Lines<BufReader<ChildStdout>>) {
    while let Ok(Some(_)) = lines.next_line().await {}
}

/// Of `Forwarding from 127.0.0.1:40123 -> 8080`.
fn authority(line: &str) -> Option<String> {
    let (authority, _) = line.strip_prefix("Forwarding from ")?.split_once(' ')?;
    Some(authority.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_the_one_that_kubectl_chose() {
        let line = "Forwarding from 127.0.0.1:40123 -> 8080";
        assert_eq!(authority(line).as_deref(), Some("127.0.0.1:40123"));
        assert_eq!(authority("error: no such pod"), None);
    }
}
