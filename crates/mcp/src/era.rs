//! Which era a message belongs to: how a client opens decides (versioning,
//! "Backward Compatibility"), as a pure function of headers and envelope.
//!
//! Whatever a client probes with, the answer lets it go on: a modern request of
//! an unknown version gets -32022 with the versions to choose from, and one
//! without modern metadata is legacy, whose refusals no client takes for modern
//! errors, so that it falls back to `initialize`.

#[cfg(test)]
mod tests;

use hexagram_core::{Era, ProtocolVersion};
use http::HeaderMap;
use serde::Deserialize;

use crate::envelope::{Envelope, Kind};
use crate::error::Problem;
use crate::header::{self, HeaderError, names};

/// How a message opens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opening {
    /// A legacy client asks for a session.
    LegacyInitialize {
        /// The version it names, to be [`negotiate`]d.
        requested: String,
    },
    /// Any other legacy message: it needs a session.
    LegacyMessage,
    /// A message that stands for itself.
    Modern(ProtocolVersion),
}

/// Decides the era of a message that came in a POST.
///
/// 1. A version in `_meta`, or a modern one in MCP-Protocol-Version, decides;
///    where both are, they must agree, and a modern one must be in both.
/// 2. `initialize` without a version in `_meta` is legacy whatever it or the
///    header names: the header has no meaning before the handshake.
/// 3. A modern request must carry its required `_meta`, a handle in it must be
///    a string, and it may not use a method that the modern era removed; a
///    modern response is refused.
/// 4. Everything else is legacy.
///
/// # Errors
/// [`Problem::HeaderMismatch`], [`Problem::UnsupportedVersion`],
/// [`Problem::InvalidParams`], [`Problem::MethodNotFound`] or
/// [`Problem::InvalidRequest`], as the rules say.
pub fn detect(headers: &HeaderMap, env: &Envelope<'_>) -> Result<Opening, Problem> {
    let Some(meta) = env.meta.protocol_version.as_deref() else {
        if opens_session(env) {
            return legacy(env);
        }
        return classify(env, header::version_text(headers)?);
    };
    match header::version_text(headers)? {
        Some(header) if header != meta => Err(mismatch(header, meta)),
        None if is_modern(meta) => Err(missing(meta)),
        _ => classify(env, Some(meta)),
    }
}

/// Decides the era of a message from a transport without headers: stdio, TCP,
/// WebSocket. The rules are those of [`detect`] with `_meta` alone.
///
/// # Errors
/// As [`detect`], without header mismatches.
pub fn detect_without_headers(env: &Envelope<'_>) -> Result<Opening, Problem> {
    classify(env, env.meta.protocol_version.as_deref())
}

/// The version to answer `initialize` with: the requested one if it is a legacy
/// version of ours, else the latest legacy one; never a modern one.
#[must_use]
pub fn negotiate(requested: &str) -> ProtocolVersion {
    ProtocolVersion::parse(requested)
        .filter(|version| version.era() == Era::Legacy)
        .unwrap_or(ProtocolVersion::LATEST_LEGACY)
}

fn classify(env: &Envelope<'_>, version: Option<&str>) -> Result<Opening, Problem> {
    let Some(requested) = version else {
        return legacy(env);
    };
    match ProtocolVersion::parse(requested) {
        None => Err(Problem::UnsupportedVersion {
            requested: requested.to_owned(),
        }),
        Some(version) if version.era() == Era::Modern => modern(env, version),
        Some(_) => legacy(env),
    }
}

fn legacy(env: &Envelope<'_>) -> Result<Opening, Problem> {
    if !opens_session(env) {
        return Ok(Opening::LegacyMessage);
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Requested {
        protocol_version: String,
    }
    let requested = serde_json::from_slice::<Requested>(env.params.unwrap_or(b"{}"));
    match requested {
        Ok(Requested { protocol_version }) => Ok(Opening::LegacyInitialize {
            requested: protocol_version,
        }),
        Err(e) => Err(Problem::InvalidParams {
            detail: format!("initialize: {e}"),
        }),
    }
}

fn modern(env: &Envelope<'_>, version: ProtocolVersion) -> Result<Opening, Problem> {
    match env.kind {
        Kind::Request => check_modern_request(env)?,
        Kind::Notification => {}
        Kind::Response | Kind::ErrorResponse => {
            let detail = "modern clients send no responses; retry the request with inputResponses";
            return Err(Problem::InvalidRequest {
                detail: detail.to_owned(),
            });
        }
    }
    Ok(Opening::Modern(version))
}

fn check_modern_request(env: &Envelope<'_>) -> Result<(), Problem> {
    let required = [
        ("protocolVersion", env.meta.protocol_version.is_some()),
        ("clientCapabilities", env.meta.client_capabilities.is_some()),
    ];
    if let Some((name, _)) = required.iter().find(|(_, there)| !there) {
        let detail = format!("params._meta must hold io.modelcontextprotocol/{name}");
        return Err(Problem::InvalidParams { detail });
    }
    if let Some(member) = env.untyped {
        let detail = format!("params.{member} must be a string");
        return Err(Problem::InvalidParams { detail });
    }
    match env.method.as_deref() {
        Some(method) if removed(method) => Err(Problem::MethodNotFound {
            method: method.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// The methods of the legacy era that the modern one has no more.
fn removed(method: &str) -> bool {
    matches!(
        method,
        "initialize"
            | "ping"
            | "logging/setLevel"
            | "resources/subscribe"
            | "resources/unsubscribe"
    )
}

fn opens_session(env: &Envelope<'_>) -> bool {
    env.kind == Kind::Request && env.method.as_deref() == Some("initialize")
}

fn is_modern(version: &str) -> bool {
    ProtocolVersion::parse(version).is_some_and(|version| version.era() == Era::Modern)
}

fn mismatch(header: &str, body: &str) -> Problem {
    let name = names::MCP_PROTOCOL_VERSION.to_string();
    HeaderError::Mismatch {
        name,
        header: header.to_owned(),
        body: body.to_owned(),
    }
    .into()
}

fn missing(body: &str) -> Problem {
    let name = names::MCP_PROTOCOL_VERSION.to_string();
    HeaderError::Missing {
        name,
        body: body.to_owned(),
    }
    .into()
}
