//! The reference server `server-everything` behind Hexagram.

use super::http::{Ask, Http};
use super::process::{Launch, Process};
use super::{ports, tools, wait};

/// The server over Streamable HTTP.
#[derive(Debug)]
pub(crate) struct Everything {
    pub(crate) process: Process,
    url: String,
}

impl Everything {
    pub(crate) async fn start() -> Self {
        let address = ports::free();
        let launch = Launch::new(tools::node())
            .args([
                tools::everything().into_os_string(),
                "streamableHttp".into(),
            ])
            .variable("PORT", address.port().to_string());
        let process = Process::spawn(launch);
        wait::until("server-everything", async || {
            let mut http = Http::try_connect(address).await.ok()?;
            http.try_send(&Ask::get("/mcp")).await.ok()
        })
        .await;
        Self {
            process,
            url: format!("http://{address}/mcp"),
        }
    }

    /// `--upstream` for it under this name.
    pub(crate) fn upstream(&self, name: &str) -> String {
        format!("--upstream={name}={}", self.url)
    }

    /// The command line of the same server over stdio.
    pub(crate) fn stdio() -> String {
        let (node, entry) = (tools::node(), tools::everything());
        format!("'{}' '{}' stdio", node.display(), entry.display())
    }
}
