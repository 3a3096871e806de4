//! Strings, numbers and literals: the scanner's inner loops.

use super::{JsonRule, Result, Scanner};

/// Integers this short cannot exceed the range of a double (about 1.8e308).
const SAFE_NUMBER_LEN: usize = 300;

impl Scanner<'_> {
    /// Passes over a string, standing on its opening quote; whether it holds an escape.
    #[inline]
    pub(super) fn string(&mut self) -> Result<bool> {
        self.pos = plain_end(self.bytes, self.pos + 1);
        if self.peek() == b'"' {
            self.pos += 1;
            return Ok(false);
        }
        self.rest_of_string()
    }

    /// Goes on with a string whose first plain run has ended at no quote.
    fn rest_of_string(&mut self) -> Result<bool> {
        while self.peek() != b'"' {
            if self.peek() != b'\\' {
                return self.fail(JsonRule::Control);
            }
            self.escape()?;
            self.pos = plain_end(self.bytes, self.pos);
        }
        self.pos += 1;
        Ok(true)
    }

    fn escape(&mut self) -> Result<()> {
        self.pos += 1;
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.pos += 1,
            b'u' => self.unicode_escape()?,
            _ => return self.fail(JsonRule::Escape),
        }
        Ok(())
    }

    /// `uXXXX`, or the two halves of a surrogate pair.
    fn unicode_escape(&mut self) -> Result<()> {
        match self.hex()? {
            0xD800..=0xDBFF => self.low_surrogate(),
            0xDC00..=0xDFFF => self.fail(JsonRule::Surrogate),
            _ => Ok(()),
        }
    }

    fn low_surrogate(&mut self) -> Result<()> {
        if !self.bytes[self.pos..].starts_with(b"\\u") {
            return self.fail(JsonRule::Surrogate);
        }
        self.pos += 1;
        match self.hex()? {
            0xDC00..=0xDFFF => Ok(()),
            _ => self.fail(JsonRule::Surrogate),
        }
    }

    /// Four hexadecimal digits behind the `u` the scanner stands on.
    fn hex(&mut self) -> Result<u32> {
        let mut code = 0;
        for _ in 0..4 {
            self.pos += 1;
            let Some(digit) = char::from(self.peek()).to_digit(16) else {
                return self.fail(JsonRule::Escape);
            };
            code = code * 16 + digit;
        }
        self.pos += 1;
        Ok(code)
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<()> {
        let at = self.pos;
        self.pos += usize::from(self.peek() == b'-');
        match self.peek() {
            b'0' => self.pos += 1,
            _ => self.digits()?,
        }
        if self.peek() == b'.' {
            self.pos += 1;
            self.digits()?;
        }
        let scaled = self.exponent()?;
        if scaled || self.pos - at > SAFE_NUMBER_LEN {
            return self.check_range(at);
        }
        Ok(())
    }

    fn exponent(&mut self) -> Result<bool> {
        if !matches!(self.peek(), b'e' | b'E') {
            return Ok(false);
        }
        self.pos += 1;
        self.pos += usize::from(matches!(self.peek(), b'+' | b'-'));
        self.digits()?;
        Ok(true)
    }

    #[inline]
    fn digits(&mut self) -> Result<()> {
        if !self.peek().is_ascii_digit() {
            return self.fail(JsonRule::Digit);
        }
        while self.peek().is_ascii_digit() {
            self.pos += 1;
        }
        Ok(())
    }

    /// `serde_json` refuses numbers beyond a double; asking it keeps the verdicts equal.
    #[cold]
    fn check_range(&self, at: usize) -> Result<()> {
        match serde_json::from_str::<f64>(self.since(at).text) {
            Ok(_) => Ok(()),
            Err(_) => self.fail(JsonRule::Range),
        }
    }

    pub(super) fn literal(&mut self, word: &'static str) -> Result<()> {
        if !self.bytes[self.pos..].starts_with(word.as_bytes()) {
            return self.fail(JsonRule::Value);
        }
        self.pos += word.len();
        Ok(())
    }
}

/// The first byte from `at` on that is a quote, a backslash or a control
/// character, or the end of `bytes`. Most strings are short: words first, then
/// blocks that the compiler turns into vector instructions.
#[inline]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const WORDS_FIRST: usize = 4;
    let mut words = 0;
    while let Some(word) = chunk::<8>(bytes, at) {
        let special = special_bytes(u64::from_le_bytes(*word));
        if special != 0 {
            return at + special.trailing_zeros() as usize / 8;
        }
        at += 8;
        words += 1;
        if words == WORDS_FIRST {
            at = plain_blocks_end(bytes, at);
        }
    }
    while bytes.get(at).is_some_and(|&byte| !is_special(byte)) {
        at += 1;
    }
    at
}

/// Where the blocks from `at` on stop to be plain throughout.
#[inline(never)]
fn plain_blocks_end(bytes: &[u8], mut at: usize) -> usize {
    while let Some(block) = chunk::<32>(bytes, at) {
        if block
            .iter()
            .fold(false, |found, &byte| found | is_special(byte))
        {
            break;
        }
        at += block.len();
    }
    at
}

#[inline]
fn chunk<const N: usize>(bytes: &[u8], at: usize) -> Option<&[u8; N]> {
    bytes.get(at..)?.first_chunk()
}

#[inline]
fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Sets the high bit of each byte of `word` that ends a plain run. Subtraction
/// borrows upwards, so only the lowest set bit is to be trusted.
#[inline]
const fn special_bytes(word: u64) -> u64 {
    const LOW: u64 = u64::MAX / 255;
    const HIGH: u64 = LOW << 7;
    let quote = (word ^ (LOW * b'"' as u64)).wrapping_sub(LOW);
    let backslash = (word ^ (LOW * b'\\' as u64)).wrapping_sub(LOW);
    let control = word.wrapping_sub(LOW * 0x20);
    (quote | backslash | control) & !word & HIGH
}
