//! What the admin server answers: pure functions of a request.

use http::header::ALLOW;
use http::{HeaderValue, Method, Request, StatusCode};

use super::Status;
use crate::health::Health;
use crate::metrics::Metrics;
use crate::serve::{Page, json, refusal, text};

/// Set by the Prometheus text format.
const METRICS_TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4");

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
        json(StatusCode::OK, &serde_json::json!({ "live": true }))
    }

    fn readyz(&self) -> Page {
        let report = self.health.report();
        let code = if report.ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        json(code, &report)
    }

    fn metrics(&self) -> Page {
        text(StatusCode::OK, METRICS_TEXT, self.metrics.encode())
    }

    fn status(&self) -> Page {
        json(StatusCode::OK, &(self.status)())
    }
}

fn not_found(path: &str) -> Page {
    let error = format!("no page {path}: there are /livez, /readyz, /metrics and /status");
    refusal(StatusCode::NOT_FOUND, &error)
}

fn method_not_allowed() -> Page {
    let error = "admin pages are read only: use GET";
    let mut page = refusal(StatusCode::METHOD_NOT_ALLOWED, error);
    page.headers_mut()
        .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
    page
}
