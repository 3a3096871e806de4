//! HTTP headers of the MCP transports: names, values that carry any text, and
//! the mirrored headers of 2026-07-28 (Streamable HTTP, "Request Metadata").

pub mod names;

mod accept;
mod params;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hexagram_core::ProtocolVersion;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::envelope::{Envelope, Kind};

pub use accept::{accepts_json_and_sse, accepts_sse, is_json_content};
pub use params::{check_params, param_headers};

/// Why a header was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// The value is no text.
    #[error("a header value is {what}; send visible ASCII, or other text as =?base64?...?=")]
    Undecodable {
        /// What is wrong with it.
        what: &'static str,
    },
    /// Two lines where one value counts.
    #[error("the header {name} is there twice; send it once")]
    Repeated {
        /// The header.
        name: String,
    },
    /// A required header is not there.
    #[error("the header {name} is missing; send it with the body's value {body:?}")]
    Missing {
        /// The header.
        name: String,
        /// What it should hold.
        body: String,
    },
    /// A required header is not there, and the body lacks what it mirrors.
    #[error("the header {name} and the body's params.{member} are missing; send both")]
    Unnamed {
        /// The header.
        name: String,
        /// The member of `params` that it mirrors.
        member: &'static str,
    },
    /// Header and body disagree.
    #[error("the header {name} says {header:?} but the body {body:?}; send the same in both")]
    Mismatch {
        /// The header.
        name: String,
        /// Its decoded value.
        header: String,
        /// The body's value; empty when the body has none.
        body: String,
    },
    /// MCP-Protocol-Version names no version of ours.
    #[error("protocol version {requested:?} is not supported")]
    UnsupportedVersion {
        /// The header's value.
        requested: String,
    },
}

/// The text of a header value: visible ASCII as it is, or the UTF-8 inside the
/// sentinel `=?base64?...?=`.
///
/// # Errors
/// [`HeaderError::Undecodable`] when it is not visible ASCII, or the sentinel
/// holds no (padded, standard) base64 of UTF-8.
pub fn decode_value(value: &HeaderValue) -> Result<Cow<'_, str>, HeaderError> {
    let text = plain(value)?;
    let sentinel = text
        .strip_prefix("=?base64?")
        .and_then(|rest| rest.strip_suffix("?="));
    let Some(encoded) = sentinel else {
        return Ok(Cow::Borrowed(text));
    };
    let bytes = STANDARD
        .decode(encoded)
        .map_err(|_| HeaderError::Undecodable {
            what: "not base64 inside its sentinel",
        })?;
    String::from_utf8(bytes)
        .map(Cow::Owned)
        .map_err(|_| HeaderError::Undecodable {
            what: "not UTF-8 inside its sentinel",
        })
}

/// The text as a header value: as it is where that is plain, else inside the
/// sentinel `=?base64?...?=`.
#[must_use]
pub fn encode_value(text: &str) -> String {
    let visible = text.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    let bare = text.trim_matches([' ', '\t']) == text;
    let sentinel = text.starts_with("=?base64?") && text.ends_with("?=");
    match visible && bare && !sentinel {
        true => text.to_owned(),
        false => format!("=?base64?{}?=", STANDARD.encode(text)),
    }
}

/// The version that MCP-Protocol-Version names, if the header is there.
///
/// # Errors
/// [`HeaderError::UnsupportedVersion`] with what was asked for, or another
/// error when the header is repeated or no text.
pub fn protocol_version(headers: &HeaderMap) -> Result<Option<ProtocolVersion>, HeaderError> {
    let Some(text) = version_text(headers)? else {
        return Ok(None);
    };
    match ProtocolVersion::parse(text) {
        Some(version) => Ok(Some(version)),
        None => Err(HeaderError::UnsupportedVersion {
            requested: text.to_owned(),
        }),
    }
}

/// What MCP-Protocol-Version holds, supported or not.
pub(crate) fn version_text(headers: &HeaderMap) -> Result<Option<&str>, HeaderError> {
    single(headers, &names::MCP_PROTOCOL_VERSION)?
        .map(plain)
        .transpose()
}

/// Checks the headers a modern request mirrors from its body: Mcp-Method, and
/// Mcp-Name for the methods aimed at something (tools, prompts, resources, tasks). A notification
/// may leave them out: the revision defines none for it.
///
/// # Errors
/// When one is missing, repeated, undecodable or differs from the body.
pub fn check_mirrored(headers: &HeaderMap, env: &Envelope<'_>) -> Result<(), HeaderError> {
    let Some(method) = env.method.as_deref() else {
        return Ok(());
    };
    if env.kind == Kind::Notification && !headers.contains_key(names::MCP_METHOD) {
        return Ok(());
    }
    let sent = single(headers, &names::MCP_METHOD)?
        .map(plain)
        .transpose()?;
    same(&names::MCP_METHOD, sent, Some(method))?;
    let Some(member) = name_member(method) else {
        return Ok(());
    };
    let sent = single(headers, &names::MCP_NAME)?
        .map(decode_value)
        .transpose()?;
    match (sent, &env.name) {
        (None, None) => Err(HeaderError::Unnamed {
            name: names::MCP_NAME.to_string(),
            member,
        }),
        (sent, name) => same(&names::MCP_NAME, sent.as_deref(), name.as_deref()),
    }
}

/// The headers that mirror a modern message: what [`check_mirrored`] and the
/// era rules want to see.
#[must_use]
pub fn mirror(env: &Envelope<'_>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut put = |name: HeaderName, text: &str| {
        if let Ok(value) = HeaderValue::from_str(&encode_value(text)) {
            headers.insert(name, value);
        }
    };
    if let Some(version) = &env.meta.protocol_version {
        put(names::MCP_PROTOCOL_VERSION, version);
    }
    if let Some(method) = &env.method {
        put(names::MCP_METHOD, method);
    }
    if let Some(name) = env
        .name
        .as_ref()
        .filter(|_| name_member(env.method.as_deref().unwrap_or_default()).is_some())
    {
        put(names::MCP_NAME, name);
    }
    headers
}

/// The member of `params` that a method mirrors in Mcp-Name (SEP-2243, SEP-2663).
fn name_member(method: &str) -> Option<&'static str> {
    match method {
        "tools/call" | "prompts/get" => Some("name"),
        "resources/read" => Some("uri"),
        "tasks/get" | "tasks/update" | "tasks/cancel" => Some("taskId"),
        _ => None,
    }
}

fn same(name: &HeaderName, header: Option<&str>, body: Option<&str>) -> Result<(), HeaderError> {
    if header == body {
        return Ok(());
    }
    let name = name.to_string();
    let body = body.unwrap_or_default().to_owned();
    Err(match header {
        None => HeaderError::Missing { name, body },
        Some(header) => HeaderError::Mismatch {
            name,
            header: header.to_owned(),
            body,
        },
    })
}

/// The one value of a header. Proxies disagree on which of two lines counts.
fn single<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a HeaderValue>, HeaderError> {
    let mut lines = headers.get_all(name).iter();
    let first = lines.next();
    match lines.next() {
        None => Ok(first),
        Some(_) => Err(HeaderError::Repeated {
            name: name.to_string(),
        }),
    }
}

fn plain(value: &HeaderValue) -> Result<&str, HeaderError> {
    value.to_str().map_err(|_| HeaderError::Undecodable {
        what: "not visible ASCII",
    })
}
