//! Python servers: they speak both eras, and `server/discover` names the
//! versions of one only.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::cluster::http::{Ask, Http};
use crate::cluster::mcp::{LEGACY, MODERN, Session, call, modern, text};
use crate::cluster::process::{Launch, Process};
use crate::cluster::{Server, clients, ports, tools, wait};

/// A server of `server.py`; it ends when dropped.
struct PythonServer {
    _process: Process,
    upstream: String,
}

impl PythonServer {
    async fn start(python: PathBuf, kind: &str) -> Self {
        let address = ports::free();
        let script = Path::new(&std::env::var_os("CARGO_MANIFEST_DIR").unwrap())
            .join("tests/interop/server.py");
        let port = address.port().to_string();
        let launch = Launch::new(python).args([script.into_os_string(), kind.into(), port.into()]);
        let process = Process::spawn(launch);
        wait::until("the Python server", async || {
            let mut http = Http::try_connect(address).await.ok()?;
            http.try_send(&Ask::get("/")).await.ok()
        })
        .await;
        Self {
            _process: process,
            upstream: format!("--upstream=up=http://{address}/mcp"),
        }
    }
}

/// A client of each era makes the tour, and the server sees it in its own.
async fn serves(python: PathBuf, kind: &str) {
    let server = PythonServer::start(python, kind).await;
    let local = Server::local(&[&server.upstream]).await;
    clients::tour_of(&clients::ONE_PER_ERA, &[local.url()]).await;

    let mut session = Session::open(local.listen).await;
    assert_eq!(text(&session.call("era", &json!({})).await), LEGACY);
    let mut http = Http::connect(local.listen).await;
    let ask = modern(1, "tools/call", &call("era", &json!({})));
    assert_eq!(text(&http.send(&ask).await), MODERN);
}

#[tokio::test]
async fn the_official_server() {
    serves(tools::python(), "mcp").await;
}

#[tokio::test]
async fn fastmcp() {
    serves(tools::fastmcp(), "fastmcp").await;
}
