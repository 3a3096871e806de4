//! The headers of a call to a modern upstream for a client whose era mirrors
//! nothing (SEP-2243).

use ::http::{HeaderMap, HeaderValue};
use hexagram_mcp::envelope::Envelope;
use hexagram_mcp::header::param_headers;
use serde_json::Value;

use super::{Upstream, UpstreamError};
use crate::across;
use crate::facts::ClientFacts;
use crate::upstream::requests;

/// Pages of an upstream's tools that are read.
const MAX_PAGES: usize = 64;

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
        &self,
        tool: &str,
        call: &Envelope<'_>,
        facts: &ClientFacts,
    ) -> Result<HeaderMap, UpstreamError> {
        let properties = self.schemas.of(tool, self.tools(facts)).await?;
        let headers = param_headers(&properties, &arguments(call)).into_iter();
        let headers = headers.filter_map(|(name, value)| {
            let value = HeaderValue::from_str(&value).ok()?;
            Some((name, value))
        });
        Ok(headers.collect())
    }

    /// Asks for the tools' schemas anew before the next call.
    pub(crate) async fn forget_schemas(&self) {
        self.schemas.forget().await;
    }

    async fn tools(&self, facts: &ClientFacts) -> Result<Vec<Value>, UpstreamError> {
        let mut tools = Vec::new();
        let mut cursor = None;
        for _ in 0..MAX_PAGES {
            let connection = self.open_stateless(facts, HeaderMap::new())?;
            let page = requests::list_tools(&across::meta(facts), cursor.as_deref());
            let mut page = page.ask(&connection).await?;
            if let Some(Value::Array(items)) = page.get_mut("tools").map(Value::take) {
                tools.extend(items);
            }
            cursor = page["nextCursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        Ok(tools)
    }
}
