//! Host and Origin checks against DNS rebinding (MCP transports, "Security
//! Warning"): a browser page must not reach a server it was not meant for.

use hexagram_mcp::error::Problem;
use http::header::{HOST, ORIGIN};
use http::{HeaderName, Request, Version};

use crate::args::EdgeArgs;
use crate::check::Check;

/// The hosts and origins that may be named.
#[derive(Debug)]
pub(crate) struct Guard {
    hosts: Allowed,
    origins: Allowed,
}

#[derive(Debug, PartialEq, Eq)]
enum Allowed {
    Loopback,
    All,
    These(Vec<String>),
}

impl Allowed {
    fn new(list: &[String]) -> Self {
        if list.is_empty() {
            Self::Loopback
        } else if list.iter().any(|entry| entry == "*") {
            Self::All
        } else {
            Self::These(
                list.iter()
                    .map(|entry| entry.to_ascii_lowercase())
                    .collect(),
            )
        }
    }

    fn host(&self, host: &str) -> bool {
        match self {
            Self::All => true,
            Self::Loopback => is_loopback(host_name(host)),
            Self::These(list) => {
                let host = host.to_ascii_lowercase();
                list.iter()
                    .any(|entry| *entry == host || entry == host_name(&host))
            }
        }
    }

    fn origin(&self, origin: &str) -> bool {
        match self {
            Self::All => true,
            Self::Loopback => origin
                .split_once("://")
                .is_some_and(|(_, host)| is_loopback(host_name(host))),
            Self::These(list) => list.contains(&origin.to_ascii_lowercase()),
        }
    }
}

/// A host without its port: `[::1]:80` and `a:80` lose it.
fn host_name(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_loopback(name: &str) -> bool {
    let address = name.trim_start_matches('[').trim_end_matches(']');
    name.eq_ignore_ascii_case("localhost")
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

impl Guard {
    pub(crate) fn new(args: &EdgeArgs) -> Self {
        Self {
            hosts: Allowed::new(&args.allowed_hosts),
            origins: Allowed::new(&args.allowed_origins),
        }
    }
}

impl Check for Guard {
    fn check<B>(&self, request: &mut Request<B>) -> Result<(), Problem> {
        one_host(request)?;
        // HTTP/2 names the host in the URI, HTTP/1.1 in its header.
        let host = match request.uri().authority() {
            Some(authority) => Some(authority.as_str()),
            None => text(request, &HOST),
        };
        if !host.is_some_and(|host| self.hosts.host(host)) {
            return Err(Problem::ForbiddenHost);
        }
        match request.headers().contains_key(ORIGIN) {
            true if !text(request, &ORIGIN).is_some_and(|origin| self.origins.origin(origin)) => {
                Err(Problem::ForbiddenOrigin)
            }
            _ => Ok(()),
        }
    }
}

/// HTTP/1.1 has exactly one (RFC 9112, 3.2): with two, a proxy in front may have
/// judged the other.
fn one_host<B>(request: &Request<B>) -> Result<(), Problem> {
    let detail = match request.headers().get_all(HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => "no Host header; send one",
        0 | 1 => return Ok(()),
        _ => "more than one Host header; send one",
    };
    Err(Problem::InvalidRequest {
        detail: detail.to_owned(),
    })
}

fn text<'a, B>(request: &'a Request<B>, name: &HeaderName) -> Option<&'a str> {
    request
        .headers()
        .get(name)
        .and_then(|value| value.to_str().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(
        hosts: &[&str],
        origins: &[&str],
        host: &str,
        origin: Option<&str>,
    ) -> Result<(), Problem> {
        let own = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        let guard = Guard {
            hosts: Allowed::new(&own(hosts)),
            origins: Allowed::new(&own(origins)),
        };
        let mut request = Request::builder().header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        guard.check(&mut request.body(()).expect("a request"))
    }

    #[test]
    fn only_loopback_by_default() {
        for host in [
            "localhost",
            "LOCALHOST:8080",
            "127.0.0.1:1",
            "[::1]:8080",
            "127.9.9.9",
        ] {
            assert!(decide(&[], &[], host, None).is_ok(), "{host}");
        }
        for host in [
            "example.com",
            "localhost.example.com",
            "10.0.0.1",
            "evil:80",
            "",
        ] {
            assert!(
                matches!(decide(&[], &[], host, None), Err(Problem::ForbiddenHost)),
                "{host}"
            );
        }
        assert!(decide(&[], &[], "localhost", Some("http://localhost:3000")).is_ok());
        for origin in [
            "https://evil.example",
            "null",
            "http://localhost.evil.example",
        ] {
            let refused = decide(&[], &[], "localhost", Some(origin));
            assert!(matches!(refused, Err(Problem::ForbiddenOrigin)), "{origin}");
        }
    }

    #[test]
    fn a_second_host_is_refused_whatever_it_says() {
        let guard = Guard {
            hosts: Allowed::All,
            origins: Allowed::All,
        };
        for uri in ["/mcp", "http://localhost/mcp"] {
            let request = Request::builder().uri(uri);
            let request = request.header(HOST, "localhost").header(HOST, "localhost");
            let refused = guard.check(&mut request.body(()).expect("a request"));
            let Err(problem @ Problem::InvalidRequest { .. }) = refused else {
                panic!("{uri}: {refused:?}");
            };
            assert_eq!(problem.http_status(), http::StatusCode::BAD_REQUEST);
        }
    }

    #[test]
    fn configured_names_replace_loopback() {
        let hosts = ["mcp.example.com"];
        assert!(decide(&hosts, &[], "MCP.example.com:443", None).is_ok());
        assert!(decide(&hosts, &[], "localhost", None).is_err());
        let origins = ["https://app.example.com"];
        assert!(decide(&["*"], &origins, "any", Some("https://app.example.com")).is_ok());
        assert!(
            decide(
                &["*"],
                &origins,
                "any",
                Some("https://app.example.com.evil")
            )
            .is_err()
        );
        assert!(decide(&["*"], &["*"], "any", Some("null")).is_ok());
    }
}
