//! The protocol revisions that Hexagram speaks, and the two eras they form
//! (DESIGN section 1).

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// An MCP protocol revision, ordered by date.
///
/// ```
/// use hexagram_core::{Era, ProtocolVersion};
/// let version: ProtocolVersion = "2025-06-18".parse()?;
/// assert_eq!(version.era(), Era::Legacy);
/// assert!(version < ProtocolVersion::LATEST);
/// # Ok::<(), hexagram_core::UnknownVersion>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProtocolVersion {
    /// The first one: HTTP+SSE on two endpoints.
    V2024_11_05,
    /// Streamable HTTP and batches.
    V2025_03_26,
    /// The version header; batches removed.
    V2025_06_18,
    /// URL elicitation and experimental tasks: the last with sessions.
    V2025_11_25,
    /// The stateless core.
    V2026_07_28,
}

/// The two families of revisions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Era {
    /// An `initialize` handshake and a session: up to 2025-11-25.
    Legacy,
    /// Every request stands alone: from 2026-07-28.
    Modern,
}

/// A text that names no revision that this release speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("unknown protocol version: use a date from 2024-11-05 to 2026-07-28 that names a revision")]
pub struct UnknownVersion;

impl ProtocolVersion {
    /// Every revision, oldest first.
    pub const ALL: [Self; 5] = [
        Self::V2024_11_05,
        Self::V2025_03_26,
        Self::V2025_06_18,
        Self::V2025_11_25,
        Self::V2026_07_28,
    ];

    /// The newest revision with sessions.
    pub const LATEST_LEGACY: Self = Self::V2025_11_25;

    /// The newest revision.
    pub const LATEST: Self = Self::V2026_07_28;

    /// The revision's date, as the wire spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }

    /// The revision with this exact date.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.as_str() == text)
    }

    /// The family the revision belongs to.
    #[must_use]
    pub const fn era(self) -> Era {
        match self {
            Self::V2026_07_28 => Era::Modern,
            _ => Era::Legacy,
        }
    }

    /// The revision's number in our own formats, 1..=5. Never reused.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::V2024_11_05 => 1,
            Self::V2025_03_26 => 2,
            Self::V2025_06_18 => 3,
            Self::V2025_11_25 => 4,
            Self::V2026_07_28 => 5,
        }
    }

    /// The revision with this [`code`](Self::code).
    #[must_use]
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|v| v.code() == code)
    }
}

impl FromStr for ProtocolVersion {
    type Err = UnknownVersion;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::parse(text).ok_or(UnknownVersion)
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_version_is_found_by_its_date_and_code() {
        for version in ProtocolVersion::ALL {
            assert_eq!(ProtocolVersion::parse(version.as_str()), Some(version));
            assert_eq!(ProtocolVersion::from_code(version.code()), Some(version));
        }
    }

    #[test]
    fn order_is_by_date_and_codes_are_stable() {
        assert!(ProtocolVersion::ALL.is_sorted_by(|a, b| a < b && a.as_str() < b.as_str()));
        assert_eq!(
            ProtocolVersion::ALL.map(ProtocolVersion::code),
            [1, 2, 3, 4, 5]
        );
    }

    #[test]
    fn only_the_newest_is_modern() {
        let modern = ProtocolVersion::ALL.map(|v| v.era() == Era::Modern);
        assert_eq!(modern, [false, false, false, false, true]);
        assert_eq!(ProtocolVersion::LATEST.era(), Era::Modern);
        assert_eq!(ProtocolVersion::LATEST_LEGACY.era(), Era::Legacy);
    }

    #[test]
    fn other_text_and_codes_are_refused() {
        for text in ["", "2024-10-07", "2025-06-18 ", "2026-07-28-RC"] {
            assert_eq!(text.parse::<ProtocolVersion>(), Err(UnknownVersion));
        }
        assert_eq!(ProtocolVersion::from_code(0), None);
        assert_eq!(ProtocolVersion::from_code(6), None);
    }
}
