//! Writing events.

use bytes::BufMut;

/// A comment that keeps proxies from closing a quiet stream.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Appends one message event. Data with line breaks becomes several data lines,
/// which a reader joins with LF whatever the break was. An id that a line cannot
/// carry (one with CR, LF or NUL) is left out.
pub fn write_event(out: &mut impl BufMut, id: Option<&str>, data: &[u8]) {
    out.put_slice(b"event: message\n");
    if let Some(id) = id {
        write_id(out, id);
    }
    let mut rest = data;
    while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
        put_line(out, b"data: ", &rest[..end]);
        rest = &rest[end..];
        rest = rest.strip_prefix(b"\r\n").unwrap_or(&rest[1..]);
    }
    put_line(out, b"data: ", rest);
    out.put_slice(b"\n");
}

/// Appends the line with an event's id, unless a line cannot carry it.
pub fn write_id(out: &mut impl BufMut, id: &str) {
    if !id.contains(['\r', '\n', '\0']) {
        put_line(out, b"id: ", id.as_bytes());
    }
}

/// Appends an event without a message: from `id` on the client may resume, after
/// `retry_ms` milliseconds unless they are 0 (MCP 2025-11-25, "Sending Messages to
/// the Server").
pub fn write_position(out: &mut impl BufMut, id: &str, retry_ms: u32) {
    write_id(out, id);
    if retry_ms > 0 {
        put_line(out, b"retry: ", retry_ms.to_string().as_bytes());
    }
    out.put_slice(b"data:\n\n");
}

fn put_line(out: &mut impl BufMut, field: &[u8], value: &[u8]) {
    out.put_slice(field);
    out.put_slice(value);
    out.put_slice(b"\n");
}
