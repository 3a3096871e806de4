//! Which arguments an upstream's tools want mirrored in headers, for calls of
//! clients whose era knows no such thing.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::UpstreamError;

/// What is known of an upstream's tools holds this long; an upstream that
/// refuses a header before makes us ask anew.
const LIFETIME: Duration = Duration::from_secs(60);

/// The `properties` of the tools' input schemas.
#[derive(Default)]
pub(super) struct Schemas(Mutex<State>);

#[derive(Default)]
struct State {
    known: Option<Arc<Known>>,
    listing: Option<Listing>,
}

/// A listing under way, shared by all who want to know.
#[derive(Clone)]
struct Listing {
    begun: Instant,
    listed: Shared<BoxFuture<'static, Result<Arc<Known>, UpstreamError>>>,
}

struct Known {
    /// When it was asked for.
    at: Instant,
    properties: HashMap<String, Value>,
}

impl Known {
    fn of(&self, tool: &str) -> Value {
        self.properties.get(tool).cloned().unwrap_or_default()
    }

    fn is_fresh(&self) -> bool {
        self.at.elapsed() <= LIFETIME
    }
}

impl Schemas {
    /// The properties of one tool; `list` gives all tools when they are not
    /// known or no longer. What is known of a tool serves until the listing is
    /// there: an upstream that finds it outdated says so.
    ///
    /// # Errors
    /// What `list` fails with.
    pub(super) async fn of<F>(
        &self,
        tool: &str,
        list: impl FnOnce() -> F,
    ) -> Result<Value, UpstreamError>
    where
        F: Future<Output = Result<Vec<Value>, UpstreamError>> + Send + 'static,
    {
        let listing = match self.look(tool, list) {
            Ok(properties) => return Ok(properties),
            Err(listing) => listing,
        };
        Ok(listing.listed.await?.of(tool))
    }

    fn look<F>(&self, tool: &str, list: impl FnOnce() -> F) -> Result<Value, Listing>
    where
        F: Future<Output = Result<Vec<Value>, UpstreamError>> + Send + 'static,
    {
        let mut state = self.0.lock();
        state.take_over();
        let known = state.known.clone();
        if let Some(known) = known.as_ref().filter(|known| known.is_fresh()) {
            return Ok(known.of(tool));
        }
        let listing = state.listing.get_or_insert_with(|| begin(list())).clone();
        match known {
            Some(known) if known.properties.contains_key(tool) => Ok(known.of(tool)),
            _ => Err(listing),
        }
    }

    /// Forgets what was asked for until `since`: a tool has changed.
    pub(super) fn forget(&self, since: Instant) {
        let mut state = self.0.lock();
        state.take_over();
        state.known = state.known.take().filter(|known| known.at > since);
        state.listing = state.listing.take().filter(|listing| listing.begun > since);
    }
}

impl State {
    /// A listing that is over is known, or has failed.
    fn take_over(&mut self) {
        let listing = self.listing.as_ref();
        let Some(over) = listing.and_then(|listing| listing.listed.peek()) else {
            return;
        };
        self.known = over.as_ref().ok().cloned().or(self.known.take());
        self.listing = None;
    }
}

/// Lists in a task of its own: who gives up leaves it to the others.
fn begin<F>(list: F) -> Listing
where
    F: Future<Output = Result<Vec<Value>, UpstreamError>> + Send + 'static,
{
    let begun = Instant::now();
    let listed = async move {
        let tools = list.await?;
        let properties = tools.iter().filter_map(properties).collect();
        let at = begun;
        Ok(Arc::new(Known { at, properties }))
    };
    let listed = listed.boxed().shared();
    tokio::spawn(listed.clone());
    Listing { begun, listed }
}

fn properties(tool: &Value) -> Option<(String, Value)> {
    let name = tool["name"].as_str()?.to_owned();
    Some((name, tool["inputSchema"]["properties"].clone()))
}

#[cfg(test)]
mod tests {
    use futures_util::future::{pending, ready};
    use serde_json::json;
    use tokio::sync::oneshot;

    use super::*;

    type Listed = Result<Vec<Value>, UpstreamError>;

    fn tools(version: u32) -> Listed {
        let properties = json!({ "version": version });
        Ok(vec![
            json!({"name": "x", "inputSchema": {"properties": properties}}),
        ])
    }

    async fn is_asked(schemas: &Schemas, tool: &str) -> bool {
        let refused = || ready(Err(UpstreamError::Removed));
        schemas.of(tool, refused).await.is_err()
    }

    async fn version(schemas: &Schemas, of: u32) -> Value {
        let known = schemas.of("x", || ready(tools(of))).await;
        known.expect("a schema")["version"].clone()
    }

    #[tokio::test(start_paused = true)]
    async fn tools_are_asked_for_once_and_again_after_a_while() {
        let schemas = Schemas::default();
        assert!(is_asked(&schemas, "x").await);
        assert_eq!(version(&schemas, 1).await, 1);
        assert!(!is_asked(&schemas, "x").await && !is_asked(&schemas, "y").await);
        tokio::time::advance(LIFETIME * 2).await;
        assert!(is_asked(&schemas, "y").await);
        // A listing of its own accord comes too late for who starts it.
        assert_eq!(version(&schemas, 2).await, 1);
        tokio::task::yield_now().await;
        assert_eq!(version(&schemas, 3).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_changed_is_asked_for_once() {
        let schemas = Schemas::default();
        version(&schemas, 1).await;
        tokio::time::advance(Duration::from_secs(1)).await;
        let begun = Instant::now();
        schemas.forget(begun);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(version(&schemas, 2).await, 2);
        // Another call that was refused for the same change.
        schemas.forget(begun);
        assert_eq!(version(&schemas, 3).await, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_slow_listing_is_shared_and_delays_no_known_tool() {
        let schemas = Schemas::default();
        version(&schemas, 1).await;
        tokio::time::advance(LIFETIME * 2).await;
        let (answer, listed) = oneshot::channel::<Listed>();
        let slow = async move { listed.await.expect("an answer") };
        let one = schemas.of("new", || slow);
        tokio::pin!(one);
        assert!((&mut one).now_or_never().is_none());
        assert_eq!(version(&schemas, 3).await, 1);
        let other = schemas.of("other", pending::<Listed>);
        answer.send(tools(2)).expect("a listing");
        let (one, other) = tokio::join!(one, other);
        assert!(one.is_ok() && other.is_ok());
        assert_eq!(version(&schemas, 3).await, 2);
    }
}
