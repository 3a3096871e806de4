//! The claims' bytes, big-endian:
//!
//! ```text
//! layout 1 | client 16 | principal 16 | epoch 8 | serial 8 | created 8
//! | version 1 | capabilities 4 | flags 1 | length 1, name | length 1, version
//! ```
//!
//! One value has one encoding, and anything else is refused: a session has one
//! id.

use thiserror::Error;

use super::{Serial, SessionClaims, SessionKey};
use crate::{Capabilities, ClientId, Epoch, PrincipalId, ProtocolVersion};

const LAYOUT: u8 = 1;
const HAS_RECORD: u8 = 1;

/// Bytes of the client's name and version. With them the claims are at most
/// 129 bytes, 171 sealed, 228 characters: below the 256 of DESIGN section 4.
const NAME_LIMIT: usize = 44;
const VERSION_LIMIT: usize = 20;

/// Bytes that are no claims.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClaimsError {
    /// Another layout, from another release.
    #[error("session claims of layout {0} are unknown here: finish the upgrade of every process")]
    UnknownLayout(u8),
    /// A protocol revision that another release added.
    #[error("session claims name protocol version code {0}, unknown here: finish the upgrade")]
    UnknownVersion(u8),
    /// Damaged, or never claims; what is wrong with them.
    #[error("session claims are malformed ({0}): answer 404, so that the client initializes again")]
    Malformed(&'static str),
}

pub(super) fn encode(claims: &SessionClaims) -> Vec<u8> {
    let mut out = vec![LAYOUT];
    out.extend(claims.client.as_u128().to_be_bytes());
    out.extend(claims.principal.as_u128().to_be_bytes());
    out.extend(claims.key.epoch.get().to_be_bytes());
    out.extend(claims.key.serial.get().to_be_bytes());
    out.extend(claims.created.to_be_bytes());
    out.push(claims.version.code());
    out.extend(claims.capabilities.bits().to_be_bytes());
    out.push(if claims.has_record { HAS_RECORD } else { 0 });
    push_text(&mut out, &claims.client_name, NAME_LIMIT);
    push_text(&mut out, &claims.client_version, VERSION_LIMIT);
    out
}

pub(super) fn decode(bytes: &[u8]) -> Result<SessionClaims, ClaimsError> {
    let mut bytes = Reader(bytes);
    match bytes.byte()? {
        LAYOUT => {}
        other => return Err(ClaimsError::UnknownLayout(other)),
    }
    let claims = SessionClaims {
        client: ClientId::from_u128(u128::from_be_bytes(bytes.take()?)),
        principal: PrincipalId::from_u128(u128::from_be_bytes(bytes.take()?)),
        key: bytes.key()?,
        created: bytes.number()?,
        version: bytes.version()?,
        capabilities: Capabilities::from_bits(u32::from_be_bytes(bytes.take()?)),
        has_record: bytes.has_record()?,
        client_name: bytes.text(NAME_LIMIT)?,
        client_version: bytes.text(VERSION_LIMIT)?,
    };
    bytes.end()?;
    Ok(claims)
}

fn push_text(out: &mut Vec<u8>, text: &str, limit: usize) {
    let text = cut(text, limit);
    // Both limits are below 256, so the length fits its byte.
    out.push(text.len() as u8);
    out.extend(text.as_bytes());
}

/// The longest start of `text` that has at most `limit` bytes.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// What is left to read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], ClaimsError> {
        let (head, rest) = self.0.split_first_chunk().ok_or(CUT_SHORT)?;
        self.0 = rest;
        Ok(*head)
    }

    fn byte(&mut self) -> Result<u8, ClaimsError> {
        self.take().map(|[byte]| byte)
    }

    fn number(&mut self) -> Result<u64, ClaimsError> {
        self.take().map(u64::from_be_bytes)
    }

    fn key(&mut self) -> Result<SessionKey, ClaimsError> {
        let epoch = Epoch::new(self.number()?).ok_or(ClaimsError::Malformed("epoch 0"))?;
        let serial = Serial::new(self.number()?);
        Ok(SessionKey { epoch, serial })
    }

    fn version(&mut self) -> Result<ProtocolVersion, ClaimsError> {
        let code = self.byte()?;
        ProtocolVersion::from_code(code).ok_or(ClaimsError::UnknownVersion(code))
    }

    fn has_record(&mut self) -> Result<bool, ClaimsError> {
        match self.byte()? {
            0 => Ok(false),
            HAS_RECORD => Ok(true),
            _ => Err(ClaimsError::Malformed("unknown flag")),
        }
    }

    fn text(&mut self, limit: usize) -> Result<String, ClaimsError> {
        let length = usize::from(self.byte()?);
        if length > limit {
            return Err(ClaimsError::Malformed("text too long"));
        }
        let (text, rest) = self.0.split_at_checked(length).ok_or(CUT_SHORT)?;
        self.0 = rest;
        String::from_utf8(text.to_vec()).map_err(|_| ClaimsError::Malformed("text not UTF-8"))
    }

    fn end(self) -> Result<(), ClaimsError> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(ClaimsError::Malformed("bytes left over"))
        }
    }
}

const CUT_SHORT: ClaimsError = ClaimsError::Malformed("cut short");
