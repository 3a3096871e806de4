//! An upstream's tools, asked for on Hexagram's own account.

use std::sync::Arc;

use ::http::HeaderMap;
use serde_json::Value;
use tokio::time::Instant;

use super::pages::{self, Page};
use super::{Connection, Upstream, UpstreamError, requests};
use crate::across;
use crate::facts::ClientFacts;
use crate::session::Session;

/// On whose behalf an upstream is asked for its tools.
pub(crate) enum Asker {
    /// A client with a session there.
    Session(Arc<Session>),
    /// A client of which a request says this much.
    Client(ClientFacts),
}

impl Upstream {
    /// Whether `tool` declares that it may run twice.
    ///
    /// # Errors
    /// Why the upstream's tools are not known.
    pub(crate) async fn may_run_twice(
        self: &Arc<Self>,
        tool: &str,
        asker: Asker,
    ) -> Result<bool, UpstreamError> {
        let this = Arc::clone(self);
        let list = || async move {
            match asker {
                Asker::Session(session) => this.tools_in(&session).await,
                Asker::Client(facts) => this.tools_without_session(facts).await,
            }
        };
        self.tools.may_run_twice(tool, list).await
    }

    /// What was known of its tools at `since` holds no more: one has changed.
    pub(crate) fn forget_tools(&self, since: Instant) {
        self.tools.forget(since);
    }

    /// All its tools, as it lists them to a modern client.
    pub(super) async fn tools_without_session(
        self: Arc<Self>,
        facts: ClientFacts,
    ) -> Result<Vec<Value>, UpstreamError> {
        let (this, facts) = (&self, &facts);
        let meta = &across::meta(facts);
        let tools = pages::all(|cursor| async move {
            let connection = this.open_stateless(facts, HeaderMap::new())?;
            page(&connection, Some(meta), cursor).await.map(Some)
        });
        self.counted(tools.await)
    }

    async fn tools_in(
        self: &Arc<Self>,
        session: &Arc<Session>,
    ) -> Result<Vec<Value>, UpstreamError> {
        let connection = session.connection(self).await?;
        self.tools_on(connection.as_ref()).await
    }

    /// All its tools, as it lists them in a session.
    pub(super) async fn tools_on(&self, session: &Connection) -> Result<Vec<Value>, UpstreamError> {
        let tools = pages::all(|cursor| async move { page(session, None, cursor).await.map(Some) });
        self.counted(tools.await)
    }

    fn counted(
        &self,
        tools: Result<Vec<Value>, UpstreamError>,
    ) -> Result<Vec<Value>, UpstreamError> {
        tools.inspect(|tools| self.has_tools(tools.len()))
    }
}

async fn page(
    connection: &Connection,
    meta: Option<&str>,
    cursor: Option<String>,
) -> Result<Page<Value>, UpstreamError> {
    let asked = requests::list_tools(meta, cursor.as_deref());
    let mut page = asked.ask(connection).await?;
    let items = match page["tools"].take() {
        Value::Array(items) => items,
        _ => Vec::new(),
    };
    let next = page["nextCursor"].as_str().map(str::to_owned);
    Ok(Page { items, next })
}
