//! Standard output, where the result of a command goes.

use std::fmt::Display;
use std::io::{self, Write};

use anyhow::{Context, Result};

/// Writes a command's result.
///
/// # Errors
/// When nobody can take it: the disk is full or the reader is gone.
pub(crate) fn print(text: impl Display) -> Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "{text}")
        .and_then(|()| out.flush())
        .context("cannot write the result to standard output")
}
