//! Which calls run again at an upstream when the worker that had them is lost.

use std::str::FromStr;

use crate::rule::Rule;

/// Which tool calls that may have run already are run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Retry {
    /// Those whose tool declares that this does no harm: `readOnlyHint` or
    /// `idempotentHint` among its annotations.
    #[default]
    Declared,
    /// None: what tools say of themselves is not believed.
    Never,
}

impl FromStr for Retry {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "declared" => Ok(Self::Declared),
            "never" => Ok(Self::Never),
            _ => Err(format!("{text:?} is neither declared nor never")),
        }
    }
}

/// `[NAME=]declared|never` from the command line.
pub type RetryRule = Rule<Retry>;
