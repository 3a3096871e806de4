//! Asking a running process at its admin address.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use hexagram_runtime::serve;
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::mistake::Mistake;

const TIMEOUT: Duration = Duration::from_secs(5);

/// What the process at `admin`, HOST:PORT or URL, says of itself.
pub(crate) async fn fetch(admin: &str) -> Result<Value> {
    let url = page(admin, "status");
    let response = send(&url, client()?.get(&url)).await?;
    let status = response.status();
    let body = response.bytes().await?;
    if !status.is_success() {
        bail!("{url} answered {status}{}", because(&body));
    }
    serde_json::from_slice(&body).with_context(|| format!("{url} is not a Hexagram admin address"))
}

/// As [`fetch`], of a process that takes orders.
pub(crate) async fn controller(admin: &str) -> Result<Value> {
    let status = fetch(admin).await?;
    takes_orders(admin, &status)?;
    Ok(status)
}

/// Asked before anything is ordered: what another process answers to an order says
/// nothing of what to do.
fn takes_orders(admin: &str, status: &Value) -> Result<(), Mistake> {
    let whom = "give --admin of `hexagram control` (or of `hexagram local`)";
    let name = status["name"].as_str().unwrap_or("without a name");
    Err(Mistake::Settings(match status["role"].as_str() {
        Some("control" | "local" | "operator") => return Ok(()),
        Some(role) => {
            format!("{admin} is the admin address of {role} {name}, which takes no orders: {whom}")
        }
        None => format!("{admin} is not a Hexagram admin address: {whom}"),
    }))
}

/// Orders something of the controller at `admin`.
pub(crate) async fn order(admin: &str, method: Method, what: &str, body: &Value) -> Result<()> {
    let url = page(admin, what);
    let request = client()?.request(method, &url).body(body.to_string());
    let response = send(&url, request).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let reason = match serve::reason(&response.bytes().await?) {
        Some(reason) if reason.starts_with("no page") => {
            format!("{url} takes no such order: is that process of an older release?")
        }
        Some(reason) => reason,
        None => format!("{url} answered {status}"),
    };
    match status {
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            Err(Mistake::Settings(reason).into())
        }
        _ => bail!(reason),
    }
}

fn because(body: &[u8]) -> String {
    serve::reason(body).map_or(String::new(), |reason| format!(": {reason}"))
}

fn page(admin: &str, page: &str) -> String {
    match admin.contains("://") {
        true => format!("{}/{page}", admin.trim_end_matches('/')),
        false => format!("http://{admin}/{page}"),
    }
}

fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder().timeout(TIMEOUT).build()?)
}

async fn send(url: &str, request: RequestBuilder) -> Result<Response> {
    request.send().await.with_context(|| {
        format!("ask {url} (is the process running? its admin address is set with --admin)")
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_a_controller_takes_orders() {
        for role in ["control", "local", "operator"] {
            let status = json!({"role": role, "name": role});
            takes_orders("h:1", &status).unwrap();
        }
        for (status, says) in [
            (json!({"role": "edge", "name": "edge-0"}), "of edge edge-0,"),
            (json!({"role": "worker", "name": "w"}), "of worker w,"),
            (json!({"links": 2}), "not a Hexagram admin address"),
        ] {
            let error = takes_orders("h:1", &status).unwrap_err().to_string();
            assert!(
                error.starts_with("h:1 is ") && error.contains(says),
                "{error}"
            );
            assert!(error.contains("--admin of `hexagram control`"), "{error}");
        }
    }
}
