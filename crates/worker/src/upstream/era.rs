//! Which eras an upstream speaks, and how that is found out.

use bytes::Bytes;
use hexagram_core::{Era, ProtocolVersion};
use hexagram_upstreams::EraSetting;
use serde_json::{Value, json};

use super::ServerInfo;

/// The eras that an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Spoken {
    /// Sessions only; also what is not known yet is taken for.
    #[default]
    Legacy,
    /// Requests without a session only.
    Modern,
    /// Either.
    Both,
}

impl Spoken {
    /// The word for it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Legacy => "legacy",
            Self::Modern => "modern",
            Self::Both => "both",
        }
    }

    /// What of it is used under this setting: what it says is believed.
    pub(super) fn within(self, told: EraSetting) -> Self {
        match told {
            EraSetting::Auto => self,
            EraSetting::Legacy => Self::Legacy,
            EraSetting::Modern => Self::Modern,
        }
    }

    /// The era in which it is spoken to for a client of `era`: the client's
    /// own, where the upstream knows that.
    pub(super) fn era_for(self, era: Era) -> Era {
        match self {
            Self::Legacy => Era::Legacy,
            Self::Modern => Era::Modern,
            Self::Both => era,
        }
    }
}

/// `server/discover` with the raw id `id`: a legacy server refuses it.
pub(super) fn discover(id: &str) -> Bytes {
    let meta = json!({
        "io.modelcontextprotocol/protocolVersion": ProtocolVersion::LATEST.as_str(),
        "io.modelcontextprotocol/clientCapabilities": {},
        "io.modelcontextprotocol/clientInfo": {
            "name": "hexagram",
            "version": env!("CARGO_PKG_VERSION"),
        },
    });
    let params = json!({"_meta": meta});
    let method = "server/discover";
    Bytes::from(format!(
        r#"{{"jsonrpc":"2.0","id":{id},"method":"{method}","params":{params}}}"#
    ))
}

/// What the response to [`discover`] says; `None` when it is no result of a
/// version that we speak.
pub(super) fn discovered(response: &[u8]) -> Option<(Spoken, ServerInfo)> {
    let response: Value = serde_json::from_slice(response).ok()?;
    let result = &response["result"];
    let versions = result["supportedVersions"].as_array()?;
    let spoken = versions.iter().filter_map(Value::as_str);
    let eras: Vec<_> = spoken
        .filter_map(ProtocolVersion::parse)
        .map(ProtocolVersion::era)
        .collect();
    let spoken = match (eras.contains(&Era::Legacy), eras.contains(&Era::Modern)) {
        (true, true) => Spoken::Both,
        (false, true) => Spoken::Modern,
        (_, false) => return None,
    };
    let info = ServerInfo {
        capabilities: result["capabilities"].clone(),
        server_info: super::named(&result["_meta"]["io.modelcontextprotocol/serverInfo"]),
        instructions: result["instructions"].as_str().map(str::to_owned),
    };
    Some((spoken, info))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spoken(versions: &Value) -> Option<Spoken> {
        let result = json!({"supportedVersions": versions, "capabilities": {"tools": {}}});
        let response = json!({"jsonrpc": "2.0", "id": 1, "result": result});
        discovered(response.to_string().as_bytes()).map(|(spoken, _)| spoken)
    }

    #[test]
    fn versions_tell_the_eras() {
        assert_eq!(spoken(&json!(["2026-07-28"])), Some(Spoken::Modern));
        let both = json!(["2030-01-01", "2026-07-28", "2025-11-25"]);
        assert_eq!(spoken(&both), Some(Spoken::Both));
        assert_eq!(spoken(&json!(["2030-01-01"])), None);
        assert_eq!(spoken(&json!("2026-07-28")), None);
        assert!(discovered(br#"{"jsonrpc":"2.0","id":1,"error":{"code":-32601}}"#).is_none());
    }

    #[test]
    fn a_client_is_served_in_its_own_era_where_that_is_spoken() {
        for era in [Era::Legacy, Era::Modern] {
            assert_eq!(Spoken::Both.era_for(era), era);
            assert_eq!(Spoken::Modern.era_for(era), Era::Modern);
            assert_eq!(Spoken::Legacy.era_for(era), Era::Legacy);
        }
    }
}
