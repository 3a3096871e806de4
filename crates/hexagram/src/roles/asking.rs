//! Asking a running process at its admin address.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::{RequestBuilder, Response, StatusCode};
use serde_json::Value;

use crate::mistake::Mistake;

const TIMEOUT: Duration = Duration::from_secs(5);

/// What the process at `admin`, HOST:PORT or URL, says of itself.
pub(crate) async fn fetch(admin: &str) -> Result<Value> {
    let url = page(admin, "status");
    let response = send(&url, client()?.get(&url)).await?;
    if !response.status().is_success() {
        bail!("{url} answered {}", response.status());
    }
    let body = response.bytes().await?;
    serde_json::from_slice(&body).with_context(|| format!("{url} is not a Hexagram admin address"))
}

/// Orders something of the controller at `admin`.
pub(crate) async fn order(admin: &str, what: &str, body: &Value) -> Result<()> {
    let url = page(admin, what);
    let response = send(&url, client()?.post(&url).body(body.to_string())).await?;
    let status = response.status();
    if status.is_success() {
        return Ok(());
    }
    let said: Value = serde_json::from_slice(&response.bytes().await?).unwrap_or_default();
    let reason = match said["error"].as_str() {
        // Only a controller takes orders.
        _ if status == StatusCode::METHOD_NOT_ALLOWED => {
            format!(
                "{url} takes no orders: give the admin address of `hexagram control` or `local`"
            )
        }
        Some(reason) => reason.to_owned(),
        None => format!("{url} answered {status}"),
    };
    match status {
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
            Err(Mistake::Settings(reason).into())
        }
        _ => bail!(reason),
    }
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
