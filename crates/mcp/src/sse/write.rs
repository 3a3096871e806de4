//! Writing events.

use bytes::BufMut;

/// A comment that keeps proxies from closing a quiet stream.
pub const KEEP_ALIVE: &[u8] = b": keep-alive\n\n";

/// Appends one message event. Data with line breaks becomes several data lines,
/// which a reader joins with LF whatever the break was. An id that a line cannot
/// carry (one with CR, LF or NUL) is left out.
pub fn write_event(out: &mut impl BufMut, id: Option<&str>, data: &[u8]) {
    out.put_slice(b"event: message\n");
    if let Some(id) = id.filter(|id| !id.contains(['\r', '\n', '\0'])) {
        put_line(out, b"id: ", id.as_bytes());
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

fn put_line(out: &mut impl BufMut, field: &[u8], value: &[u8]) {
    out.put_slice(field);
    out.put_slice(value);
    out.put_slice(b"\n");
}
