//! The era that an upstream's settings say it speaks, where they do (ADR 0011).

use hexagram_upstreams::EraSetting;
use serde_json::Value;

use super::era::{Spoken, discovered};
use super::{Kind, ServerInfo, UNSUPPORTED_VERSION, Upstream, UpstreamError};

/// What a server says to a first message of an era that it does not speak: it knows no such
/// method, request, parameters or version.
const NOT_SPOKEN: [i64; 4] = [-32601, -32600, -32602, UNSUPPORTED_VERSION];

impl Upstream {
    /// As it is, spoken to in the era that `told` says. Only what has a URL may speak either.
    #[must_use]
    pub fn speaking(self, told: EraSetting) -> Self {
        self.take_era(told);
        self
    }

    pub(super) fn told_era(&self) -> EraSetting {
        *self.told_era.lock()
    }

    /// Takes over what its settings say now. Where that is something else, it is asked anew, and
    /// what it is being asked now counts for nothing.
    pub(super) fn take_era(&self, told: EraSetting) {
        if !matches!(self.kind, Kind::Http(_)) {
            return;
        }
        let mut now = self.told_era.lock();
        if std::mem::replace(&mut *now, told) == told {
            return;
        }
        let was_known = self.info.lock().take().is_some();
        self.forget_lists();
        self.spoken.send_modify(|spoken| {
            *spoken = match told {
                // Nothing but the setting before ever said what it speaks.
                EraSetting::Auto if !was_known => Spoken::default(),
                told => spoken.within(told),
            };
        });
    }

    /// As [`in_told_era`], for a client's message. One that has introduced itself speaks that
    /// era, and refuses for a reason of its own.
    pub(crate) fn explained(&self, error: &UpstreamError) -> UpstreamError {
        match self.known_info() {
            Some(_) => error.clone(),
            None => in_told_era(self.told_era(), error.clone()),
        }
    }
}

/// An error of the first message of one that is `told` so, with the setting where it comes of
/// that.
pub(super) fn in_told_era(told: EraSetting, error: UpstreamError) -> UpstreamError {
    match is_not_spoken(&error) {
        true => blamed(told, error),
        false => error,
    }
}

/// What the answer to `server/discover` says of one that is told to be modern.
///
/// # Errors
/// Why it does not introduce itself, with the setting where it comes of that.
pub(super) fn told_modern(answer: &[u8]) -> Result<(Spoken, ServerInfo), UpstreamError> {
    discovered(answer).ok_or_else(|| {
        let method = "server/discover";
        let response: Value = serde_json::from_slice(answer).unwrap_or_default();
        match UpstreamError::denied(method, &response) {
            Some(error) => in_told_era(EraSetting::Modern, error),
            None => {
                let why = format!("{method}: no version that is spoken here");
                blamed(EraSetting::Modern, UpstreamError::Garbage(why))
            }
        }
    })
}

/// Whether it answered as one that does not speak the era.
fn is_not_spoken(error: &UpstreamError) -> bool {
    match error {
        UpstreamError::Denied { code, .. } => NOT_SPOKEN.contains(code),
        // An ingress says 404 too, while what is behind it is replaced; but not in JSON-RPC.
        UpstreamError::Refused {
            status: 404, code, ..
        } => code.is_some_and(|code| NOT_SPOKEN.contains(&code)),
        UpstreamError::Refused { status, .. } => matches!(status, 400 | 405 | 406 | 415),
        _ => false,
    }
}

fn blamed(told: EraSetting, error: UpstreamError) -> UpstreamError {
    match told {
        EraSetting::Auto => error,
        told => UpstreamError::OtherEra {
            told: told.as_str(),
            why: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use hexagram_core::Era;
    use serde_json::json;

    use super::super::http::tests::{Request, Server, reply};
    use super::super::tests::{facts, greeting, limits, soon, upstream};
    use super::super::{ChildLimit, carry_over};
    use super::*;

    fn told(url: &str, era: EraSetting) -> Arc<Upstream> {
        let spec = format!("up={url}").parse().expect("a spec");
        let upstream = Upstream::from_spec(spec, limits(), &ChildLimit::new(0));
        Arc::new(upstream.expect("an upstream").speaking(era))
    }

    /// A server of both eras.
    fn modern(request: &Request) -> Vec<u8> {
        let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
        if body["method"] != "server/discover" {
            return greeting(request);
        }
        let result = json!({"supportedVersions": ["2026-07-28"], "capabilities": {}});
        let response = json!({"jsonrpc": "2.0", "id": body["id"], "result": result});
        let headers = "Content-Type: application/json\r\n";
        reply("200 OK", headers, &response.to_string())
    }

    /// The methods that it was asked.
    fn asked(server: &Server) -> Vec<String> {
        let seen = server.seen();
        let bodies = seen
            .iter()
            .filter_map(|request| serde_json::from_str::<Value>(&request.body).ok());
        let methods = bodies.filter_map(|body| body["method"].as_str().map(str::to_owned));
        methods.collect()
    }

    #[tokio::test]
    async fn an_upstream_is_asked_in_the_era_that_it_is_said_to_speak_only() {
        for (era, name, methods) in [
            (
                EraSetting::Legacy,
                "legacy",
                &["initialize", "notifications/initialized"][..],
            ),
            (EraSetting::Modern, "modern", &["server/discover"][..]),
        ] {
            let server = Server::start(modern).await;
            let upstream = told(&server.url(), era);
            soon(upstream.info()).await.expect("it answers");
            assert_eq!(asked(&server), methods);
            assert_eq!(upstream.health().era, Some(name));
        }
    }

    /// Answers each request with this status, and an error of this code that names the
    /// request or none. It says more than is quoted of it.
    fn denies(status: &'static str, code: i64, is_named: bool) -> impl Fn(&Request) -> Vec<u8> {
        move |request: &Request| {
            let body: Value = serde_json::from_str(&request.body).unwrap_or_default();
            let id = is_named.then(|| body["id"].clone());
            let error = json!({"code": code, "message": "not here ".repeat(50)});
            let response = json!({"jsonrpc": "2.0", "id": id, "error": error});
            let headers = "Content-Type: application/json\r\n";
            reply(status, headers, &response.to_string())
        }
    }

    #[tokio::test]
    async fn one_that_does_not_speak_what_it_is_said_to_names_the_setting() {
        let not_found = "404 Not Found";
        for server in [
            Server::start(|_| reply("400 Bad Request", "", "what?")).await,
            Server::start(|_| reply("405 Method Not Allowed", "", "")).await,
            Server::start(denies("200 OK", -32601, true)).await,
            Server::start(denies("400 Bad Request", -32022, true)).await,
            Server::start(denies(not_found, -32601, true)).await,
            Server::start(denies(not_found, -32601, false)).await,
        ] {
            for era in [EraSetting::Legacy, EraSetting::Modern] {
                let upstream = told(&server.url(), era);
                let error = soon(upstream.info()).await.expect_err("it does not");
                assert_eq!(error.kind(), "other_era", "{error}");
                let text = error.to_string();
                let expected = format!(
                    "it does not speak {}, which its setting `era`",
                    era.as_str()
                );
                assert!(text.starts_with(&expected), "{text}");
                assert_eq!(upstream.health().reachable, Some(false));
            }
            let asked = soon(upstream(&server.url()).info()).await;
            let error = asked.expect_err("it does not");
            assert_ne!(error.kind(), "other_era", "nobody said what it speaks");
        }
    }

    #[tokio::test]
    async fn one_that_fails_in_its_era_does_not_name_the_setting() {
        for server in [
            Server::start(denies("200 OK", -32603, true)).await,
            Server::start(denies("500 Internal Server Error", -32603, false)).await,
            Server::start(|_| reply("404 Not Found", "", "default backend - 404")).await,
            Server::start(|_| reply("503 Service Unavailable", "", "")).await,
            Server::start(|_| reply("200 OK", "", "<html>")).await,
        ] {
            for era in [EraSetting::Legacy, EraSetting::Modern] {
                let asked = soon(told(&server.url(), era).info()).await;
                let error = asked.expect_err("it fails");
                assert_ne!(error.kind(), "other_era", "{error}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_down_or_refuses_for_a_reason_of_its_own_is_not_of_another_era() {
        let refused = UpstreamError::Refused {
            status: 400,
            code: None,
            detail: String::new(),
        };
        let server = Server::start(modern).await;
        let upstream = told(&server.url(), EraSetting::Modern);
        assert_eq!(upstream.explained(&refused).kind(), "other_era");
        let down = UpstreamError::Unreachable("refused".to_owned());
        assert_eq!(upstream.explained(&down).kind(), "unreachable");
        soon(upstream.info()).await.expect("it answers");
        assert_eq!(upstream.explained(&refused).kind(), "refused");
    }

    #[test]
    fn a_command_is_legacy_whatever_is_said() {
        let spec = "up=cat".parse().expect("a spec");
        let upstream = Upstream::from_spec(spec, limits(), &ChildLimit::new(0));
        let upstream = upstream.expect("an upstream").speaking(EraSetting::Modern);
        assert_eq!(upstream.era_for(Era::Modern), Era::Legacy);
    }

    /// A legacy server that breaks at the question of the other era, rather than refuse it.
    fn breaks_at_discover(request: &Request) -> Vec<u8> {
        match request.body.contains("server/discover") {
            true => reply("500 Internal Server Error", "", ""),
            false => greeting(request),
        }
    }

    #[tokio::test]
    async fn a_setting_that_was_wrong_leaves_no_trace() {
        let server = Server::start(breaks_at_discover).await;
        let upstream = told(&server.url(), EraSetting::Modern);
        soon(upstream.info()).await.expect_err("it is not modern");
        upstream.take_era(EraSetting::Auto);
        soon(upstream.info()).await.expect("it is legacy");
        assert_eq!(upstream.health().era, Some("legacy"));
        assert_eq!(upstream.era_for(Era::Modern), Era::Legacy);
    }

    /// A modern server that opens no sessions.
    fn modern_only(request: &Request) -> Vec<u8> {
        match request.body.contains("\"initialize\"") {
            true => reply("400 Bad Request", "", "no such era"),
            false => modern(request),
        }
    }

    /// A server, and its upstream, whose setting is another while `initialize` is under way.
    async fn turning(
        from: EraSetting,
        to: EraSetting,
        answer: fn(&Request) -> Vec<u8>,
    ) -> (Server, Arc<Upstream>) {
        let slot: Arc<OnceLock<Arc<Upstream>>> = Arc::default();
        let server = Server::start({
            let slot = Arc::clone(&slot);
            move |request: &Request| {
                if request.body.contains("\"initialize\"")
                    && let Some(upstream) = slot.get()
                {
                    upstream.take_era(to);
                }
                answer(request)
            }
        })
        .await;
        let upstream = told(&server.url(), from);
        slot.set(Arc::clone(&upstream)).ok().expect("set once");
        (server, upstream)
    }

    #[tokio::test]
    async fn what_a_session_says_under_a_setting_that_is_gone_counts_for_nothing() {
        let (_server, upstream) = turning(EraSetting::Legacy, EraSetting::Auto, modern).await;
        soon(upstream.open(&facts())).await.expect("a session");
        assert!(upstream.known_info().is_none(), "it is asked anew");
        soon(upstream.info()).await.expect("it answers");
        assert_eq!(upstream.health().era, Some("both"));
    }

    #[tokio::test]
    async fn who_waits_gets_what_is_found_under_the_setting_of_now() {
        for answer in [modern as fn(&Request) -> Vec<u8>, modern_only] {
            let (server, upstream) = turning(EraSetting::Legacy, EraSetting::Modern, answer).await;
            soon(upstream.info()).await.expect("it answers");
            assert_eq!(
                asked(&server).last().map(String::as_str),
                Some("server/discover")
            );
            assert_eq!(upstream.health().era, Some("modern"));
        }
    }

    #[tokio::test]
    async fn another_setting_is_taken_over_by_the_same_upstream() {
        let server = Server::start(modern).await;
        let old = told(&server.url(), EraSetting::Legacy);
        soon(old.info()).await.expect("it answers");
        let new = told(&server.url(), EraSetting::Modern);
        let carried = carry_over(&[Arc::clone(&old)], vec![new]);
        assert!(Arc::ptr_eq(&carried[0], &old));
        assert_eq!(old.era_for(Era::Legacy), Era::Modern, "at once");
        assert!(old.known_info().is_none(), "it is asked anew");
        soon(old.info()).await.expect("it answers");
        assert_eq!(old.health().era, Some("modern"));
    }
}
