//! The transport of 2024-11-05, HTTP+SSE: a GET opens a stream whose first event
//! names the URL to post to; every answer comes on that stream.

use std::time::Duration;

use hexagram_core::ProtocolVersion;
use hexagram_mcp::sse::SseEvent;
use reqwest::Url;
use serde_json::Value;

use super::client::{Ask, Client};
use super::failure::Failure;
use super::incoming::Incoming;
use super::lists::{self, Speaker};
use super::reply::{Outcome, Reply, response, told};
use super::report::{EraFacts, Server, Transport};
use super::session::{initialize_request, initialized, request};

/// The first event is to come at once. A Streamable HTTP server may keep such a
/// stream silent for as long as it likes.
const FIRST_EVENT: Duration = Duration::from_secs(1);

/// What is known of the endpoint as one of HTTP+SSE.
#[derive(Debug, Default)]
pub(super) struct HttpSse {
    pub(super) spoken: bool,
    pub(super) how: String,
    pub(super) server: Option<Server>,
    pub(super) facts: Option<EraFacts>,
}

/// An open stream and where to post.
struct Line<'a> {
    client: &'a Client,
    stream: Incoming,
    post: Url,
}

/// Opens the stream and, if it is one of HTTP+SSE, asks for the lists.
pub(super) async fn probe(client: &Client) -> HttpSse {
    let Ok(Some(mut line)) = connect(client).await else {
        return HttpSse::default();
    };
    let outcome = line.initialize().await;
    let result = match outcome.as_ref().map(Reply::result) {
        Ok(Some(result)) => result,
        _ => return HttpSse::unanswered(&outcome),
    };
    HttpSse {
        spoken: true,
        how: format!(
            "over HTTP+SSE; initialize chose {}",
            result["protocolVersion"].as_str().unwrap_or("no version")
        ),
        server: Server::read(&result["serverInfo"]),
        facts: Some(EraFacts {
            revision: ProtocolVersion::V2024_11_05.as_str(),
            transport: Transport::HttpSse,
            capabilities: result["capabilities"].clone(),
            lists: lists::all(&mut line, &result["capabilities"]).await,
            features: Vec::new(),
        }),
    }
}

impl HttpSse {
    fn unanswered(outcome: &Outcome) -> Self {
        let told = told(outcome);
        Self {
            how: format!("GET opens HTTP+SSE, but initialize: {told}"),
            ..Self::default()
        }
    }
}

/// Opens the stream; `None` if its first event names no URL.
async fn connect(client: &Client) -> Result<Option<Line<'_>>, Failure> {
    let mut stream = client.open(Ask::get()).await?;
    if !stream.is_stream() {
        return Ok(None);
    }
    let first = tokio::time::timeout(FIRST_EVENT, stream.next()).await;
    let post = first.ok().transpose()?.flatten();
    let post = post.and_then(|event| endpoint(&client.url, &event));
    Ok(post.map(|post| Line {
        client,
        stream,
        post,
    }))
}

/// The URL that the event names, if it is one of the same server: credentials
/// go nowhere else.
fn endpoint(base: &Url, event: &SseEvent) -> Option<Url> {
    let text = std::str::from_utf8(&event.data).ok()?;
    let url = base.join(text.trim()).ok()?;
    let is_endpoint = event.event.as_deref() == Some("endpoint");
    (is_endpoint && url.origin() == base.origin()).then_some(url)
}

impl Line<'_> {
    async fn initialize(&mut self) -> Outcome {
        let id = self.client.new_id();
        let text = initialize_request(id, ProtocolVersion::V2024_11_05);
        let outcome = self.exchange(&text, id).await;
        let ask = Ask::post(&initialized());
        self.client.open_at(self.post.clone(), ask).await?;
        outcome
    }

    /// Posts a request and waits for its answer on the stream.
    async fn exchange(&mut self, text: &Value, id: u64) -> Outcome {
        let posted = self
            .client
            .open_at(self.post.clone(), Ask::post(text))
            .await?;
        if !posted.status.is_success() {
            return Reply::read(posted, id).await;
        }
        self.stream.renew(&posted);
        while let Some(event) = self.stream.next().await? {
            if let Some(message) = response(&event.data, id) {
                return Ok(Reply::streamed(&self.stream, message));
            }
        }
        Err(Failure::Broken(
            "the stream ended before the answer".to_owned(),
        ))
    }
}

impl Speaker for Line<'_> {
    async fn ask(&mut self, method: &'static str, params: Value) -> Outcome {
        let id = self.client.new_id();
        self.exchange(&request(id, method, &params), id).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_posted_to_the_same_server_only() {
        let base = "http://localhost:1/sse".parse().expect("a URL");
        let at = |kind: &str, data: &str| {
            let event = SseEvent {
                id: None,
                event: Some(kind.to_owned()),
                data: data.to_owned().into(),
                retry: None,
            };
            endpoint(&base, &event).map(String::from)
        };
        let whole = "http://localhost:1/message?sessionId=a".to_owned();
        assert_eq!(at("endpoint", "/message?sessionId=a"), Some(whole));
        assert_eq!(at("endpoint", "http://elsewhere/message"), None);
        assert_eq!(at("message", "/message"), None);
    }
}
