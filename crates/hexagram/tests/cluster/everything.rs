//! The reference server `server-everything` behind Hexagram.

use super::http::{Ask, Http};
use super::process::{Launch, Process};
use super::{ports, tools, wait};

/// The server over Streamable HTTP.
#[derive(Debug)]
pub(crate) struct Everything {
    pub(crate) process: Process,
    pub(crate) url: String,
}

impl Everything {
    pub(crate) async fn start() -> Self {
        Self::start_as("streamableHttp", "/mcp").await
    }

    /// The server over HTTP+SSE, the transport of 2024-11-05.
    pub(crate) async fn http_sse() -> Self {
        Self::start_as("sse", "/sse").await
    }

    async fn start_as(transport: &str, path: &str) -> Self {
        let address = ports::free();
        let launch = Launch::new(tools::node())
            .args([tools::everything().into_os_string(), transport.into()])
            .variable("PORT", address.port().to_string());
        let process = Process::spawn(launch);
        wait::until("server-everything", async || {
            let mut http = Http::try_connect(address).await.ok()?;
            http.try_send(&Ask::get("/")).await.ok()
        })
        .await;
        Self {
            process,
            url: format!("http://{address}{path}"),
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
