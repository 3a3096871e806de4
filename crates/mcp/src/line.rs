//! A message on one line, as server-sent events and stdio carry it.

/// Puts a space for every line break. In JSON one can only be white space
/// between tokens, so the message says the same.
pub fn unbreak(message: &mut [u8]) {
    for byte in message {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}

#[cfg(test)]
mod tests {
    use super::unbreak;

    #[test]
    fn every_line_break_becomes_a_space() {
        let mut message = *b"{\r\n\"a\":\n1}";
        unbreak(&mut message);
        assert_eq!(&message, b"{  \"a\": 1}");
    }
}
