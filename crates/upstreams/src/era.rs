//! Which era an upstream is said to speak.

use std::str::FromStr;

use crate::rule::Rule;

/// How it is known which era of MCP an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EraSetting {
    /// It is asked.
    #[default]
    Auto,
    /// It is spoken to in sessions, and asked for nothing else.
    Legacy,
    /// It is spoken to without sessions, and asked for nothing else.
    Modern,
}

impl EraSetting {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Legacy => "legacy",
            Self::Modern => "modern",
        }
    }
}

impl FromStr for EraSetting {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let all = [Self::Auto, Self::Legacy, Self::Modern];
        let found = all.into_iter().find(|one| one.as_str() == text);
        found.ok_or_else(|| format!("{text:?} is none of auto, legacy and modern"))
    }
}

/// `[NAME=]auto|legacy|modern` from the command line.
pub type EraRule = Rule<EraSetting>;
