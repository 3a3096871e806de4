//! The modern era, 2026-07-28: what every request says of itself, and what a
//! server must make of it.

mod listen;
mod speaker;

use hexagram_mcp::header::names::{MCP_METHOD, MCP_PROTOCOL_VERSION};
use reqwest::StatusCode;
use reqwest::header::ORIGIN;
use serde_json::{Value, json};

use crate::check::client::{Ask, Client};
use crate::check::foreign::{MALFORMED, NO_VERSION, ORIGIN_2025_11_25, STRANGER};
use crate::check::lists;
use crate::check::notes::{Notes, Rule};
use crate::check::progress::Progress;
use crate::check::reply::{Outcome, Reply, quoted, told};
use crate::check::report::{EraFacts, Finding, Revision, Server, Transport};
use speaker::{Modern, VERSION};

const DISCOVER: Rule = Rule {
    feature: "discover",
    sent: "server/discover",
    wanted: "a result with resultType, supportedVersions and capabilities",
};
const CACHING: Rule = Rule {
    feature: "caching_hints",
    sent: "server/discover and lists",
    wanted: "ttlMs and cacheScope in every result",
};
const RESULT_TYPE: Rule = Rule {
    feature: "result_type",
    sent: "server/discover and lists",
    wanted: "resultType in every result",
};
const SESSIONLESS: Rule = Rule {
    feature: "sessionless",
    sent: "server/discover and lists",
    wanted: "no Mcp-Session-Id in any answer",
};
const HEADERS: Rule = Rule {
    feature: "header_validation",
    sent: "server/discover with Mcp-Method: tools/list",
    wanted: "HTTP 400 with JSON-RPC error -32020",
};
const UNKNOWN_METHOD: Rule = Rule {
    feature: "unknown_method_refused",
    sent: "a request with the method hexagram-check/no-such-method",
    wanted: "HTTP 404 with JSON-RPC error -32601",
};
const UNKNOWN_VERSION: Rule = Rule {
    feature: "unknown_version_refused",
    sent: "server/discover in version 1900-01-01",
    wanted: "HTTP 400 with JSON-RPC error -32022 and the versions in data.supported",
};

/// What is known of the modern era.
#[derive(Debug)]
pub(super) struct ModernEra {
    pub(super) revision: Revision,
    pub(super) server: Option<Server>,
    pub(super) facts: Option<EraFacts>,
    pub(super) findings: Vec<Finding>,
}

/// The opening question.
pub(super) async fn discover(client: &Client) -> Outcome {
    Modern::new(client).discover(VERSION).await
}

/// Judges the answer to [`discover`] and, if the revision is spoken, the rest.
pub(super) async fn probe(client: &Client, discovered: &Outcome, progress: &Progress) -> ModernEra {
    let mut era = ModernEra {
        revision: row(discovered),
        server: None,
        facts: None,
        findings: Vec::new(),
    };
    if let (Some(true), Ok(reply)) = (era.revision.spoken, discovered) {
        era.look_around(client, reply, progress).await;
    }
    era
}

impl ModernEra {
    async fn look_around(&mut self, client: &Client, discovered: &Reply, progress: &Progress) {
        let mut notes = Notes::new(VERSION);
        let mut modern = Modern::new(client);
        modern.take_note("server/discover", discovered);
        let result = discovered.result().unwrap_or(&Value::Null);
        let capabilities = &result["capabilities"];
        discovery(discovered, result, &mut notes);
        progress.say("lists of 2026-07-28");
        let lists = lists::all(&mut modern, capabilities).await;
        results(&modern, &mut notes);
        progress.say("refusals of 2026-07-28");
        refusals(&modern, &mut notes).await;
        progress.say("subscriptions/listen");
        listen::probe(&modern, capabilities, &mut notes).await;
        let info = &result["_meta"]["io.modelcontextprotocol/serverInfo"];
        self.server = Server::read(info);
        self.findings = notes.findings;
        self.facts = Some(EraFacts {
            revision: VERSION,
            transport: Transport::StreamableHttp,
            capabilities: capabilities.clone(),
            lists,
            features: notes.features,
        });
    }
}

/// A server speaks the revision if it says so.
fn row(discovered: &Outcome) -> Revision {
    let result = discovered.as_ref().ok().and_then(Reply::result);
    let listed = result.map(|result| versions(&result["supportedVersions"]));
    let (spoken, how) = match listed {
        Some(listed) if listed.contains(&VERSION) => {
            (Some(true), "server/discover lists it".to_owned())
        }
        Some(listed) => {
            let how = format!("server/discover lists {}", listed.join(", "));
            (Some(false), quoted(&how))
        }
        None => {
            let spoken = discovered.as_ref().is_ok_and(|reply| !reply.is_temporary());
            let spoken = spoken.then_some(false);
            (spoken, format!("server/discover: {}", told(discovered)))
        }
    };
    Revision {
        revision: VERSION,
        spoken,
        how,
    }
}

fn versions(list: &Value) -> Vec<&str> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

fn discovery(reply: &Reply, result: &Value, notes: &mut Notes) {
    let listed = versions(&result["supportedVersions"]).join(", ");
    notes.feature(DISCOVER.feature, Some(true), quoted(&listed));
    if !result["capabilities"].is_object() {
        notes.broken(&DISCOVER, reply.to_string());
    }
}

/// What every result has to hold.
fn results(modern: &Modern<'_>, notes: &mut Notes) {
    for (rule, lacking) in [
        (&CACHING, &modern.without_hints),
        (&RESULT_TYPE, &modern.without_type),
        (&SESSIONLESS, &modern.with_session),
    ] {
        let holds = lacking.is_empty();
        let note = match holds {
            true => rule.wanted.to_owned(),
            false => format!("otherwise: {}", lacking.join(", ")),
        };
        notes.feature(rule.feature, Some(holds), note.as_str());
        if !holds {
            notes.broken(rule, note);
        }
    }
}

/// Requests that a server is to refuse.
async fn refusals(modern: &Modern<'_>, notes: &mut Notes) {
    let bad = StatusCode::BAD_REQUEST;
    let outcome = modern.discover_with(MCP_METHOD, "tools/list").await;
    notes.must(&HEADERS, &outcome, |reply| reply.refuses(bad, -32020));
    let outcome = modern
        .request("hexagram-check/no-such-method", json!({}))
        .await;
    let missing = StatusCode::NOT_FOUND;
    notes.must(&UNKNOWN_METHOD, &outcome, |reply| {
        reply.refuses(missing, -32601)
    });
    let outcome = modern.discover(NO_VERSION).await;
    notes.must(&UNKNOWN_VERSION, &outcome, |reply| {
        let supported = reply
            .error()
            .map(|error| versions(&error.data["supported"]));
        reply.refuses(bad, -32022) && supported.is_some_and(|list| !list.is_empty())
    });
    let outcome = modern.discover_with(ORIGIN, STRANGER).await;
    notes.must(&ORIGIN_2025_11_25, &outcome, |reply| {
        reply.status == StatusCode::FORBIDDEN
    });
    let ask = Ask::post(MALFORMED.text).mirrored(VERSION, "server/discover");
    let outcome = modern.client.tell(ask).await;
    notes.must(&MALFORMED.rule, &outcome, Reply::is_refusal);
    methods(modern.client, notes).await;
}

/// Only POST is left. That the others get 405 is no MUST.
async fn methods(client: &Client, notes: &mut Notes) {
    for (feature, ask) in [
        ("get_refused", Ask::get()),
        ("delete_refused", Ask::delete()),
    ] {
        let outcome = client.tell(ask.header(MCP_PROTOCOL_VERSION, VERSION)).await;
        notes.optional(feature, &outcome, |reply| {
            reply.status == StatusCode::METHOD_NOT_ALLOWED
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::failure::Failure;
    use crate::check::reply::tests::reply;

    fn spoken(response: Value) -> Option<bool> {
        let mut response = response;
        response["jsonrpc"] = json!("2.0");
        response["id"] = json!(1);
        row(&Ok(reply(200, &response.to_string()))).spoken
    }

    #[test]
    fn the_revision_is_spoken_if_discover_lists_it() {
        let listing = |list: Value| json!({"result": {"supportedVersions": list}});
        assert_eq!(spoken(listing(json!(["2025-11-25", VERSION]))), Some(true));
        assert_eq!(spoken(listing(json!(["2027-01-01"]))), Some(false));
        assert_eq!(spoken(json!({"result": {}})), Some(false));
        assert_eq!(spoken(json!({"error": {"code": -32601}})), Some(false));
        assert_eq!(row(&Err(Failure::OutOfTime)).spoken, None);
    }
}
