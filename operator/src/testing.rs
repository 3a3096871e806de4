//! An API server for tests, without a network: a function answers.

use std::future::pending;
use std::sync::Arc;

use http::{Method, Request, Response};
use kube::Client;
use kube::client::Body;
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tower::service_fn;

use crate::client::Place;

/// What the API server is asked.
pub(crate) struct Asked {
    pub(crate) method: Method,
    pub(crate) path: String,
    /// Null where nothing was sent.
    pub(crate) body: Value,
}

/// A code and an object; none is never an answer.
pub(crate) type Answer = Option<(u16, Value)>;

impl Asked {
    /// The object's name, or what its kind is called in the plural where all or none is meant.
    pub(crate) fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

/// That it does not want to, or that there is no such object.
pub(crate) fn refusal(code: u16) -> Answer {
    let reason = match code {
        403 => "Forbidden",
        404 => "NotFound",
        _ => "",
    };
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "status": "Failure", "message": "no", "code": code,
        "reason": reason,
    });
    Some((code, status))
}

/// A namespace of an API server that answers so.
pub(crate) fn place(answer: impl FnMut(&Asked) -> Answer + Send + 'static) -> Place {
    let answer = Arc::new(Mutex::new(answer));
    let serve = move |request: Request<Body>| {
        let answer = Arc::clone(&answer);
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect_bytes().await?;
            let asked = Asked {
                method: head.method,
                path: head.uri.path().to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            let answered = (*answer.lock().await)(&asked);
            let Some((code, object)) = answered else {
                return pending().await;
            };
            let response = Response::builder().status(code);
            let body = Body::from(object.to_string().into_bytes());
            response.body(body).map_err(kube::Error::HttpError)
        }
    };
    Place {
        client: Client::new(service_fn(serve), "default"),
        namespace: "default".to_owned(),
    }
}
