//! The two ways in which a client may speak.

use clap::ValueEnum;
use serde::Serialize;

/// How the client speaks (DESIGN section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Era {
    /// `initialize`, a session, then calls that name it (protocol 2025-11-25).
    Legacy,
    /// Each request carries its version and capabilities (protocol 2026-07-28).
    Modern,
}
