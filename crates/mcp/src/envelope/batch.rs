//! JSON-RPC batches: only MCP 2025-03-26 has them.

use super::{RpcFault, ScanError};
use crate::scanner::{Raw, Scanner};

/// The most messages in a batch: one body must not become unbounded work.
pub const MAX_BATCH: usize = 64;

/// Whether the body is an array rather than one message, judged by its first byte.
#[must_use]
pub fn is_batch(body: &[u8]) -> bool {
    body.trim_ascii_start().first() == Some(&b'[')
}

/// The elements of a batch, each to be scanned on its own.
///
/// # Errors
/// When the body is not JSON, is no array, is empty, or holds more than
/// [`MAX_BATCH`] elements.
pub fn batch(body: &[u8]) -> Result<Vec<&[u8]>, ScanError> {
    let mut scanner = Scanner::new(body)?;
    if scanner.peek() != b'[' {
        scanner.skip()?;
        scanner.end()?;
        return Err(refused(RpcFault::NotABatch));
    }
    let mut messages = Vec::new();
    let mut count = 0;
    scanner.elements(|scanner| {
        let Raw { text, .. } = scanner.value()?;
        count += 1;
        if count <= MAX_BATCH {
            messages.push(text.as_bytes());
        }
        Ok(())
    })?;
    scanner.end()?;
    match count {
        0 => Err(refused(RpcFault::EmptyBatch)),
        1..=MAX_BATCH => Ok(messages),
        _ => Err(refused(RpcFault::LongBatch)),
    }
}

fn refused(fault: RpcFault) -> ScanError {
    ScanError::NotJsonRpc { id: None, fault }
}
