//! A request as its upstream reads it, and the way there.

use std::sync::Arc;

use bytes::Bytes;
use hexagram_core::{Era, ProtocolVersion};
use hexagram_mcp::client::capability_bits;
use hexagram_mcp::envelope::{Envelope, scan};
use hexagram_mcp::splice;
use http::HeaderMap;
use serde_json::Value;

use super::{Attempt, Forward};
use crate::across;
use crate::facts::ClientFacts;
use crate::federation::list_member;
use crate::list_cache::Asked;
use crate::relay::{Outgoing, outgoing};
use crate::upstream::{Connection, Upstream, UpstreamError};

impl Forward<'_> {
    pub(super) fn outgoing(&self, attempt: &Attempt<'_>) -> Result<Outgoing, UpstreamError> {
        let out = self.translated(attempt.name)?;
        let body = match (attempt.is_across(), self.call.era()) {
            (false, _) => out.body,
            (true, Era::Legacy) => self.to_modern(&out.body)?,
            (true, Era::Modern) => across::request_to_legacy(out.body),
        };
        Ok(Outgoing { body, ..out })
    }

    /// The request under our id, and under the name that its upstream knows.
    fn translated(&self, name: Option<&str>) -> Result<Outgoing, UpstreamError> {
        let id = self.call.shard.upstream_id();
        let Some(name) = name else {
            return Ok(outgoing(&id, self.body, self.envelope));
        };
        let body = splice::with_name(self.body, self.envelope, name);
        let envelope = scan(&body).map_err(|error| UpstreamError::Garbage(error.to_string()))?;
        Ok(outgoing(&id, &body, &envelope))
    }

    /// A legacy client's request as a modern upstream reads it.
    pub(crate) fn to_modern(&self, body: &[u8]) -> Result<Bytes, UpstreamError> {
        let level = self.session.log_level();
        across::to_modern(body, &self.session.facts, level.as_deref())
            .ok_or_else(|| UpstreamError::Garbage("the request is no object".to_owned()))
    }

    /// The client's session with the upstream, or a fresh one for this request
    /// where the upstream needs none.
    pub(crate) async fn connection(
        &self,
        attempt: &Attempt<'_>,
    ) -> Result<Arc<Connection>, UpstreamError> {
        let connection = self.connected(attempt).await;
        self.call.opening.end();
        connection
    }

    async fn connected(&self, attempt: &Attempt<'_>) -> Result<Arc<Connection>, UpstreamError> {
        let upstream = attempt.upstream;
        if attempt.era == Era::Legacy {
            let connection = self.session.connection(upstream).await?;
            // Its id is stored before the first result that it gives is told.
            self.session.record(&self.federation).await;
            return Ok(connection);
        }
        let connection = match self.call.era() {
            Era::Modern => {
                let facts = modern_facts(self.call.version, self.envelope);
                upstream.open_stateless(&facts, self.call.params.clone())
            }
            Era::Legacy => {
                let params = self.mirrored(attempt).await?;
                upstream.open_stateless(&self.session.facts, params)
            }
        };
        connection.map(Arc::new)
    }

    /// The page of a list that the request asks for, where it may be kept.
    pub(crate) fn asked(&self, upstream: &Upstream, cursor: Option<&str>) -> Option<Asked> {
        list_member(self.method)?;
        let (era, principal) = (self.call.era(), self.call.principal);
        upstream.asked(era, self.envelope, cursor, principal)
    }

    /// The result that is kept for the page that the request asks for.
    pub(super) fn listed(&self, upstream: &Upstream) -> Option<Bytes> {
        let asked = self.asked(upstream, self.envelope.cursor.as_deref())?;
        self.federation.listed(upstream, &asked)
    }

    /// A legacy client's arguments, mirrored as a modern upstream wants them.
    async fn mirrored(&self, attempt: &Attempt<'_>) -> Result<HeaderMap, UpstreamError> {
        let tool = attempt.name.or(self.envelope.name.as_deref());
        match tool.filter(|_| self.method == "tools/call") {
            Some(tool) => {
                let facts = &self.session.facts;
                attempt.upstream.mirrored(tool, self.envelope, facts).await
            }
            None => Ok(HeaderMap::new()),
        }
    }
}

/// What a modern request says of its client.
pub(super) fn modern_facts(version: ProtocolVersion, envelope: &Envelope<'_>) -> ClientFacts {
    let raw = |part: Option<&[u8]>| -> Value {
        part.and_then(|part| serde_json::from_slice(part).ok())
            .unwrap_or_default()
    };
    let info = raw(envelope.meta.client_info);
    let text = |member: &str| info[member].as_str().unwrap_or_default().to_owned();
    ClientFacts {
        version,
        capabilities: capability_bits(raw(envelope.meta.client_capabilities)).0,
        name: text("name"),
        software_version: text("version"),
    }
}
