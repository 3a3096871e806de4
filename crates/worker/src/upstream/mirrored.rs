//! The headers of a call to a modern upstream for a client whose era mirrors
//! nothing (SEP-2243).

use std::sync::Arc;

use ::http::{HeaderMap, HeaderValue};
use hexagram_mcp::envelope::Envelope;
use hexagram_mcp::header::param_headers;
use serde_json::Value;

use super::{Upstream, UpstreamError};
use crate::facts::ClientFacts;

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
        let list = || Arc::clone(self).tools_without_session(facts.clone());
        let properties = self.tools.properties(tool, list).await?;
        let headers = param_headers(&properties, &arguments(call)).into_iter();
        let headers = headers.filter_map(|(name, value)| {
            let value = HeaderValue::from_str(&value).ok()?;
            Some((name, value))
        });
        Ok(headers.collect())
    }
}
