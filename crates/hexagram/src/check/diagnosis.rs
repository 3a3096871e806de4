//! What an endpoint is that speaks no revision, and what to do about it.

use reqwest::header::{LOCATION, WWW_AUTHENTICATE};
use reqwest::{StatusCode, Url};

use super::failure::Failure;
use super::reply::{Outcome, Reply, quoted, told};
use super::report::Problem;

/// What was tried.
pub(super) struct Tried<'a> {
    pub(super) url: &'a Url,
    /// Whether the user gave headers, so perhaps credentials.
    pub(super) has_headers: bool,
    pub(super) discovered: &'a Outcome,
    pub(super) initialized: &'a Outcome,
}

const AUTHORIZE: &str = "pass credentials: --header 'Authorization: Bearer TOKEN'";
const REFUSED: &str = "the headers that were given are not accepted: are they valid here, and is \
                       the token not expired?";
const FORBIDDEN: &str = "these credentials may not use it, or it does not allow this host name: \
                         check both at the server";
const PATH: &str = "is the path right? it is often /mcp (or /sse for a server of 2024-11-05)";
const BROKEN: &str = "look at the log of the server, or of the gateway before it";

/// Whether nobody has to ask further: no other request would fare better.
pub(super) fn is_final(tried: &Tried<'_>) -> bool {
    let is_final = |outcome: &Outcome| match outcome {
        Ok(reply) => reply.status.is_redirection() || refuses_credentials(reply.status),
        Err(_) => true,
    };
    is_final(tried.discovered) && is_final(tried.initialized)
}

fn refuses_credentials(status: StatusCode) -> bool {
    [StatusCode::UNAUTHORIZED, StatusCode::FORBIDDEN].contains(&status)
}

/// Names the cause and the fix.
pub(super) fn problem(tried: &Tried<'_>) -> Problem {
    match (tried.initialized, tried.discovered) {
        (Ok(reply), _) | (Err(_), Ok(reply)) => answered(tried, reply),
        (Err(Failure::OutOfTime), Err(failure)) | (Err(failure), Err(_)) => unanswered(failure),
    }
}

fn unanswered(failure: &Failure) -> Problem {
    let (reachable, fix) = match failure {
        Failure::Unreachable(_) => (
            false,
            "is the server running, are host and port right, and does no firewall or \
             NetworkPolicy keep you out?",
        ),
        Failure::Ignored => (
            false,
            "is the server running, are host and port right, and does no firewall or \
             NetworkPolicy keep you out? or raise --timeout",
        ),
        Failure::Tls(_) => (
            false,
            "the URL's host must be a name in a certificate that this machine trusts; a server \
             without TLS needs http:// in the URL",
        ),
        Failure::Silent(_) | Failure::OutOfTime => (
            false,
            "the port is open, but nobody answers in time: look at the server, or raise --timeout",
        ),
        Failure::Broken(_) => (
            false,
            "is it an HTTP server? one with TLS needs https:// in the URL",
        ),
        Failure::Endless(_) | Failure::TooLarge => (true, PATH),
    };
    Problem {
        connected: failure.is_connected(),
        reachable,
        cause: failure.to_string(),
        fix: fix.to_owned(),
    }
}

fn answered(tried: &Tried<'_>, reply: &Reply) -> Problem {
    let (cause, fix) = match reply.status {
        StatusCode::UNAUTHORIZED => unauthorized(tried, reply),
        StatusCode::FORBIDDEN => (reply.to_string(), forbidden(tried).to_owned()),
        status if status.is_redirection() => redirect(tried, reply),
        StatusCode::NOT_FOUND => {
            let path = tried.url.path();
            (
                format!("nothing to talk to at {path}: {reply}"),
                PATH.to_owned(),
            )
        }
        StatusCode::METHOD_NOT_ALLOWED => (format!("{reply} to a POST"), PATH.to_owned()),
        _ if reply.is_html() => (reply.to_string(), PATH.to_owned()),
        status if status.is_server_error() => (reply.to_string(), BROKEN.to_owned()),
        _ if reply.message.is_some() => (refusals(tried), BROKEN.to_owned()),
        _ => (
            format!("what it answers is no MCP: {reply}"),
            PATH.to_owned(),
        ),
    };
    Problem {
        connected: true,
        reachable: true,
        cause,
        fix,
    }
}

fn refusals(tried: &Tried<'_>) -> String {
    format!(
        "it refuses initialize ({}) and server/discover ({})",
        told(tried.initialized),
        told(tried.discovered)
    )
}

fn unauthorized(tried: &Tried<'_>, reply: &Reply) -> (String, String) {
    let wanted = header(reply, &WWW_AUTHENTICATE);
    let cause = match wanted {
        Some(wanted) => format!("it wants credentials (HTTP 401, WWW-Authenticate: {wanted})"),
        None => "it wants credentials (HTTP 401)".to_owned(),
    };
    let fix = if tried.has_headers {
        REFUSED
    } else {
        AUTHORIZE
    };
    (cause, fix.to_owned())
}

fn forbidden(tried: &Tried<'_>) -> &'static str {
    match tried.has_headers {
        true => FORBIDDEN,
        false => AUTHORIZE,
    }
}

fn redirect(tried: &Tried<'_>, reply: &Reply) -> (String, String) {
    let location = header(reply, &LOCATION).unwrap_or_default();
    let target = tried.url.join(&location).map(String::from);
    let target = target.unwrap_or(location);
    (
        format!("it redirects to {target} (HTTP {})", reply.status.as_u16()),
        "check that URL, if you trust it: redirects are not followed, so that no credentials leak"
            .to_owned(),
    )
}

fn header(reply: &Reply, name: &reqwest::header::HeaderName) -> Option<String> {
    let value = reply.headers.get(name)?;
    Some(quoted(&String::from_utf8_lossy(value.as_bytes())))
}

#[cfg(test)]
mod tests {
    use reqwest::header::{CONTENT_TYPE, HeaderValue};

    use super::super::reply::tests::reply;
    use super::*;

    fn diagnosed(outcome: &Outcome, has_headers: bool) -> (bool, String) {
        let url = "http://localhost/here".parse().expect("a URL");
        let tried = Tried {
            url: &url,
            has_headers,
            discovered: &Err(Failure::OutOfTime),
            initialized: outcome,
        };
        let Problem {
            reachable,
            cause,
            fix,
            ..
        } = problem(&tried);
        (reachable, format!("{cause}; {fix}"))
    }

    #[test]
    fn every_answer_has_its_advice() {
        let with = |status, name, value: &'static str| {
            let mut reply = reply(status, "");
            reply.headers.insert(name, HeaderValue::from_static(value));
            reply
        };
        let error = r#"{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}"#;
        for (reply, advice) in [
            (
                with(401, WWW_AUTHENTICATE, "Bearer a=b"),
                "WWW-Authenticate: Bearer a=b",
            ),
            (reply(401, ""), "--header 'Authorization"),
            (reply(403, ""), "--header 'Authorization"),
            (
                with(308, LOCATION, "/mcp/"),
                "redirects to http://localhost/mcp/",
            ),
            (reply(404, "x"), "nothing to talk to at /here"),
            (reply(405, ""), "is the path right?"),
            (with(200, CONTENT_TYPE, "text/html"), "a web page"),
            (reply(502, "x"), "gateway"),
            (reply(400, error), "it refuses initialize (HTTP 400, -1 no)"),
            (reply(200, "hello"), "no MCP: HTTP 200: hello"),
        ] {
            let (reachable, said) = diagnosed(&Ok(reply), false);
            assert!(reachable && said.contains(advice), "{said}");
        }
        let (_, said) = diagnosed(&Ok(reply(401, "")), true);
        assert!(said.contains("not accepted"), "{said}");
    }

    #[test]
    fn what_did_not_answer_is_not_reachable() {
        let text = || "cause".to_owned();
        for (failure, reachable, advice) in [
            (Failure::Unreachable(text()), false, "running"),
            (Failure::Unreachable(text()), false, "NetworkPolicy"),
            (Failure::Ignored, false, "NetworkPolicy"),
            (Failure::Ignored, false, "--timeout"),
            (Failure::Tls(text()), false, "certificate"),
            (Failure::OutOfTime, false, "--timeout"),
            (Failure::Broken(text()), false, "https://"),
            (Failure::TooLarge, true, "path"),
        ] {
            let (is_reachable, said) = diagnosed(&Err(failure), false);
            assert_eq!(is_reachable, reachable, "{said}");
            assert!(said.contains(advice), "{said}");
        }
    }
}
