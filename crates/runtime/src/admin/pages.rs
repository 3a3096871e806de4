//! What the admin server answers: pure functions of a request.

use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use serde_json::json;

use super::Status;
use crate::health::Health;
use crate::metrics::Metrics;

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Set by the Prometheus text format.
const METRICS_TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

type Page = Response<Full<Bytes>>;

/// The sources of all pages.
pub(super) struct Pages {
    pub(super) health: Health,
    pub(super) metrics: Metrics,
    pub(super) status: Status,
}

impl Pages {
    /// Answers any request; its body is not read.
    pub(super) fn answer<B>(&self, request: &Request<B>) -> Page {
        let page = match request.uri().path() {
            "/livez" => Self::livez,
            "/readyz" => Self::readyz,
            "/metrics" => Self::metrics,
            "/status" => Self::status,
            path => return not_found(path),
        };
        match *request.method() {
            Method::GET | Method::HEAD => page(self),
            _ => method_not_allowed(),
        }
    }

    /// An answer at all is the proof of life.
    fn livez(&self) -> Page {
        json_page(StatusCode::OK, &json!({ "live": true }))
    }

    fn readyz(&self) -> Page {
        let report = self.health.report();
        let code = if report.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        json_page(code, &report)
    }

    fn metrics(&self) -> Page {
        page(StatusCode::OK, METRICS_TEXT, self.metrics.encode())
    }

    fn status(&self) -> Page {
        json_page(StatusCode::OK, &(self.status)())
    }
}

fn not_found(path: &str) -> Page {
    let error = format!("no page {path}: there are /livez, /readyz, /metrics and /status");
    json_page(StatusCode::NOT_FOUND, &json!({ "error": error }))
}

fn method_not_allowed() -> Page {
    let error = json!({ "error": "admin pages are read only: use GET" });
    let mut page = json_page(StatusCode::METHOD_NOT_ALLOWED, &error);
    page.headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    page
}

fn json_page(code: StatusCode, body: &impl Serialize) -> Page {
    match serde_json::to_string(body) {
        Ok(body) => page(code, JSON, body),
        Err(error) => page(
            StatusCode::INTERNAL_SERVER_ERROR,
            JSON,
            json!({ "error": error.to_string() }).to_string(),
        ),
    }
}

fn page(code: StatusCode, content_type: HeaderValue, body: String) -> Page {
    let mut page = Response::new(Full::from(body));
    *page.status_mut() = code;
    let headers = page.headers_mut();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    page
}
