//! The headers of a call to a modern upstream for a client whose era mirrors
//! nothing (SEP-2243).

use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue};
use hexagram_mcp::envelope::Envelope;
use hexagram_mcp::header::param_headers;
use serde_json::Value;
use tokio::time::Instant;

use super::pages::{self, Page};
use super::{Upstream, UpstreamError};
use crate::across;
use crate::facts::ClientFacts;
use crate::upstream::requests;

/// The arguments of a call.
pub(super) fn arguments(call: &Envelope<'_>) -> Value {
    let params: Option<Value> = call
        .params
        .and_then(|params| serde_json::from_slice(params).ok());
    params
        .and_then(|mut params| params.get_mut("arguments").map(Value::take))
        .unwrap_or_default()
}

impl Upstream {
    /// The headers that mirror a legacy client's call of `tool`.
    ///
    /// # Errors
    /// Why the upstream's tools are not known.
    pub(crate) async fn mirrored(
        self: &Arc<Self>,
        tool: &str,
        call: &Envelope<'_>,
        facts: &ClientFacts,
    ) -> Result<HeaderMap, UpstreamError> {
        let list = || Arc::clone(self).tools(facts.clone());
        let properties = self.schemas.of(tool, list).await?;
        let headers = param_headers(&properties, &arguments(call)).into_iter();
        let headers = headers.filter_map(|(name, value)| {
            let value = HeaderValue::from_str(&value).ok()?;
            Some((name, value))
        });
        Ok(headers.collect())
    }

    /// What was known of its tools at `since` holds no more: one has changed.
    pub(crate) fn forget_schemas(&self, since: Instant) {
        self.schemas.forget(since);
    }

    async fn tools(self: Arc<Self>, facts: ClientFacts) -> Result<Vec<Value>, UpstreamError> {
        let (this, facts) = (&self, &facts);
        pages::all(|cursor| async move {
            let connection = this.open_stateless(facts, HeaderMap::new())?;
            let page = requests::list_tools(&across::meta(facts), cursor.as_deref());
            let mut page = page.ask(&connection).await?;
            let items = match page["tools"].take() {
                Value::Array(items) => items,
                _ => Vec::new(),
            };
            let next = page["nextCursor"].as_str().map(str::to_owned);
            Ok(Some(Page { items, next }))
        })
        .await
    }
}
