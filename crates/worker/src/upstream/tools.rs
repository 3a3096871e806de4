//! What an upstream's tools say of themselves: which arguments they want mirrored
//! in headers, for calls of clients whose era knows no such thing, and whether they
//! may run twice.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use parking_lot::Mutex;
use serde_json::Value;
use tokio::time::Instant;

use super::{UpstreamError, retry};

/// What is known of an upstream's tools holds this long; an upstream that
/// refuses a header before makes us ask anew.
const LIFETIME: Duration = Duration::from_secs(60);

/// The tools of one upstream, as it listed them last.
#[derive(Default)]
pub(super) struct Tools(Mutex<State>);

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
    tools: HashMap<String, Tool>,
}

/// What of a tool is of use here.
struct Tool {
    /// The `properties` of its input schema.
    properties: Value,
    may_run_twice: bool,
}

impl Known {
    fn properties(&self, tool: &str) -> Value {
        let tool = self.tools.get(tool);
        tool.map(|tool| tool.properties.clone()).unwrap_or_default()
    }

    fn may_run_twice(&self, tool: &str) -> bool {
        self.tools.get(tool).is_some_and(|tool| tool.may_run_twice)
    }

    fn is_fresh(&self) -> bool {
        self.at.elapsed() <= LIFETIME
    }
}

impl Tools {
    /// The properties of one tool; `list` gives all tools when they are not
    /// known or no longer. What is known of a tool serves until the listing is
    /// there: an upstream that finds it outdated says so.
    ///
    /// # Errors
    /// What `list` fails with.
    pub(super) async fn properties<F>(
        &self,
        tool: &str,
        list: impl FnOnce() -> F,
    ) -> Result<Value, UpstreamError>
    where
        F: Future<Output = Result<Vec<Value>, UpstreamError>> + Send + 'static,
    {
        let (known, listing) = self.look(list);
        let known = known.filter(|known| listing.is_none() || known.tools.contains_key(tool));
        match (known, listing) {
            (Some(known), _) => Ok(known.properties(tool)),
            (None, Some(listing)) => Ok(listing.listed.await?.properties(tool)),
            (None, None) => Ok(Value::Null),
        }
    }

    /// Whether a tool declares that it may run twice. Nobody else would notice that
    /// this is outdated, so a listing under way is waited for.
    ///
    /// # Errors
    /// What `list` fails with.
    pub(super) async fn may_run_twice<F>(
        &self,
        tool: &str,
        list: impl FnOnce() -> F,
    ) -> Result<bool, UpstreamError>
    where
        F: Future<Output = Result<Vec<Value>, UpstreamError>> + Send + 'static,
    {
        match self.look(list) {
            (_, Some(listing)) => Ok(listing.listed.await?.may_run_twice(tool)),
            (known, None) => Ok(known.is_some_and(|known| known.may_run_twice(tool))),
        }
    }

    /// What is known, and where that is not fresh, the listing under way.
    fn look<F>(&self, list: impl FnOnce() -> F) -> (Option<Arc<Known>>, Option<Listing>)
    where
        F: Future<Output = Result<Vec<Value>, UpstreamError>> + Send + 'static,
    {
        let mut state = self.0.lock();
        state.take_over();
        let known = state.known.clone();
        if known.as_ref().is_some_and(|known| known.is_fresh()) {
            return (known, None);
        }
        let listing = state.listing.get_or_insert_with(|| begin(list())).clone();
        (known, Some(listing))
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
        let tools = tools.iter().filter_map(tool).collect();
        let at = begun;
        Ok(Arc::new(Known { at, tools }))
    };
    let listed = listed.boxed().shared();
    tokio::spawn(listed.clone());
    Listing { begun, listed }
}

fn tool(listed: &Value) -> Option<(String, Tool)> {
    let tool = Tool {
        properties: listed["inputSchema"]["properties"].clone(),
        may_run_twice: retry::declares(listed),
    };
    Some((listed["name"].as_str()?.to_owned(), tool))
}
