//! The legacy era: which of its revisions are spoken, and in the newest of them
//! what a session offers.

mod batch;
mod probes;

use hexagram_core::ProtocolVersion;
use serde_json::Value;

use crate::check::client::Client;
use crate::check::lists;
use crate::check::notes::{Notes, Rule};
use crate::check::progress::Progress;
use crate::check::reply::{Outcome, Reply, quoted, told};
use crate::check::report::{EraFacts, Finding, Revision, Server, Transport};
use crate::check::session::{Handshake, Session, initialize};

const HANDSHAKE: Rule = Rule {
    feature: "initialize",
    sent: "initialize",
    wanted: "a result with protocolVersion, capabilities and serverInfo",
};

/// What is known of the legacy era.
#[derive(Debug, Default)]
pub(super) struct Legacy {
    /// Newest first.
    pub(super) revisions: Vec<Revision>,
    pub(super) server: Option<Server>,
    pub(super) facts: Option<EraFacts>,
    pub(super) findings: Vec<Finding>,
}

/// Tries the other revisions after the newest, whose handshake is `newest`.
pub(super) async fn probe(client: &Client, newest: Handshake<'_>, progress: &Progress) -> Legacy {
    let mut legacy = Legacy::default();
    legacy
        .revision(ProtocolVersion::LATEST_LEGACY, newest, progress)
        .await;
    let older = ProtocolVersion::ALL.into_iter().rev();
    for version in older.filter(|version| *version < ProtocolVersion::LATEST_LEGACY) {
        progress.say(&format!("revision {version}"));
        let handshake = initialize(client, version).await;
        legacy.revision(version, handshake, progress).await;
    }
    legacy
}

impl Legacy {
    /// Judges one revision by its handshake, and ends the session it opened.
    async fn revision(
        &mut self,
        version: ProtocolVersion,
        handshake: Handshake<'_>,
        progress: &Progress,
    ) {
        let row = row(version, &handshake.outcome);
        let is_spoken = row.spoken == Some(true);
        self.revisions.push(row);
        let (Ok(reply), Some(mut session)) = (&handshake.outcome, handshake.session) else {
            return;
        };
        if is_spoken && self.facts.is_none() {
            self.look_around(version, reply, &mut session, progress)
                .await;
        } else {
            if is_spoken && version == ProtocolVersion::V2025_03_26 {
                self.batches(&session).await;
            }
            session.end().await;
        }
    }

    /// Everything that is asked of one revision only.
    async fn look_around(
        &mut self,
        version: ProtocolVersion,
        greeting: &Reply,
        session: &mut Session<'_>,
        progress: &Progress,
    ) {
        let mut notes = Notes::new(version.as_str());
        let result = greeting.result().unwrap_or(&Value::Null);
        if !is_complete(result) {
            notes.broken(&HANDSHAKE, quoted(&result.to_string()));
        }
        probes::handshake(session, &mut notes).await;
        progress.say("lists");
        let lists = lists::all(session, &result["capabilities"]).await;
        progress.say("the session's features");
        if version == ProtocolVersion::V2025_03_26 {
            batch::probe(session, &mut notes).await;
        }
        probes::session(session, &mut notes).await;
        self.server = Server::read(&result["serverInfo"]);
        self.findings.extend(notes.findings);
        self.facts = Some(EraFacts {
            revision: version.as_str(),
            transport: Transport::StreamableHttp,
            capabilities: result["capabilities"].clone(),
            lists,
            features: notes.features,
        });
    }

    /// Batches exist in one revision only, which is seldom the newest spoken.
    async fn batches(&mut self, session: &Session<'_>) {
        let mut notes = Notes::new(ProtocolVersion::V2025_03_26.as_str());
        if session.initialized().await.is_ok() {
            batch::probe(session, &mut notes).await;
        }
        self.findings.extend(notes.findings);
        if let Some(facts) = &mut self.facts {
            facts.features.extend(notes.features);
        }
    }
}

fn is_complete(result: &Value) -> bool {
    result["protocolVersion"].is_string()
        && result["capabilities"].is_object()
        && result["serverInfo"]["name"].is_string()
}

/// A server that knows the version asked for must choose it.
fn row(version: ProtocolVersion, outcome: &Outcome) -> Revision {
    let chosen = outcome.as_ref().ok().and_then(Reply::result);
    let chosen = chosen.map(|result| result["protocolVersion"].as_str().unwrap_or("no version"));
    let asked = version.as_str();
    let (spoken, how) = match chosen {
        Some(chosen) if chosen == asked => (Some(true), "initialize chose it".to_owned()),
        Some(chosen) => (Some(false), format!("initialize chose {chosen} instead")),
        None => {
            let spoken = outcome.as_ref().is_ok_and(|reply| !reply.is_temporary());
            let spoken = spoken.then_some(false);
            (spoken, format!("initialize: {}", told(outcome)))
        }
    };
    Revision {
        revision: asked,
        spoken,
        how,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::failure::Failure;
    use crate::check::reply::tests::reply;

    fn spoken(body: &str) -> Option<bool> {
        row(ProtocolVersion::V2025_06_18, &Ok(reply(200, body))).spoken
    }

    #[test]
    fn a_revision_is_spoken_if_initialize_chose_it() {
        let chose = |version| {
            let result = serde_json::json!({"protocolVersion": version});
            serde_json::json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string()
        };
        assert_eq!(spoken(&chose("2025-06-18")), Some(true));
        assert_eq!(spoken(&chose("2025-03-26")), Some(false));
        assert_eq!(spoken("hello"), Some(false));
        let silent = Err(Failure::OutOfTime);
        assert_eq!(row(ProtocolVersion::V2025_06_18, &silent).spoken, None);
    }
}
