//! A validating JSON scanner: walks the text once, borrows, builds nothing.
//!
//! It accepts exactly what `serde_json` accepts as a `Value`, so that no later
//! parser can see another message than the one that was routed. Nesting is kept
//! in a bit stack, never on the call stack.

mod lexis;

use std::borrow::Cow;
use std::ops::Range;

/// Deepest nesting accepted: `serde_json`'s recursion limit of 128 refuses the 128th level.
pub const MAX_DEPTH: u32 = 127;

/// Where and why a text is not JSON. Small on purpose: with its result it fits
/// two registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct JsonFault {
    pub(crate) offset: usize,
    pub(crate) what: JsonRule,
}

/// A rule of JSON that a text breaks. A word wide: results around a byte are
/// copied in odd pieces, which stalls the scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[repr(usize)]
pub enum JsonRule {
    /// The text stops too early.
    #[error("unexpected end")]
    End,
    /// Bytes that are no UTF-8.
    #[error("invalid UTF-8")]
    Utf8,
    /// No value where one must stand.
    #[error("expected a value")]
    Value,
    /// No name where one must stand.
    #[error("expected a member name in quotes")]
    Name,
    /// No colon behind a name.
    #[error("expected ':'")]
    Colon,
    /// Neither another member nor the end of the object.
    #[error("expected ',' or '}}'")]
    Member,
    /// Neither another element nor the end of the array.
    #[error("expected ',' or ']'")]
    Element,
    /// More than one JSON text.
    #[error("trailing characters after the JSON text")]
    Trailing,
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("nested deeper than 127 levels")]
    Depth,
    /// A raw control character in a string.
    #[error("control character in a string (escape it)")]
    Control,
    /// A backslash before something else than an escape.
    #[error("invalid escape")]
    Escape,
    /// Half of a surrogate pair.
    #[error("lone surrogate in an escape")]
    Surrogate,
    /// A number without a digit where one must stand.
    #[error("expected a digit")]
    Digit,
    /// A number that no double can hold.
    #[error("number out of range")]
    Range,
}

type Result<T> = std::result::Result<T, JsonFault>;

/// A piece of the body and the byte at which it starts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Raw<'a> {
    pub(crate) text: &'a str,
    pub(crate) at: usize,
}

impl Raw<'_> {
    /// The bytes of the body it covers.
    pub(crate) fn span(&self) -> Range<usize> {
        self.at..self.at + self.text.len()
    }
}

/// A JSON string: its value, and the bytes of the body it covers, quotes included.
#[derive(Debug)]
pub(crate) struct Text<'a> {
    pub(crate) value: Cow<'a, str>,
    pub(crate) span: Range<usize>,
}

/// The scanner's position in one text. Every method that reads a value expects
/// to stand on its first byte and ends just behind it.
pub(crate) struct Scanner<'a> {
    text: &'a str,
    bytes: &'a [u8],
    pos: usize,
    depth: u32,
    /// One bit per open container, innermost lowest: set for an object.
    objects: u128,
}

impl<'a> Scanner<'a> {
    /// Stands on the first byte that is not blank.
    pub(crate) fn new(bytes: &'a [u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|e| JsonFault {
            offset: e.valid_up_to(),
            what: JsonRule::Utf8,
        })?;
        let mut scanner = Self {
            text,
            bytes,
            pos: 0,
            depth: 0,
            objects: 0,
        };
        scanner.blank();
        Ok(scanner)
    }

    /// The byte to read next; 0, which starts nothing in JSON, at the end.
    #[inline]
    pub(crate) fn peek(&self) -> u8 {
        self.bytes.get(self.pos).copied().unwrap_or(0)
    }

    /// Reads a value of any kind.
    #[inline]
    pub(crate) fn value(&mut self) -> Result<Raw<'a>> {
        let at = self.pos;
        self.skip()?;
        Ok(self.since(at))
    }

    /// Reads a value and keeps it when it is a string.
    #[inline]
    pub(crate) fn text(&mut self) -> Result<Option<Text<'a>>> {
        if self.peek() != b'"' {
            self.skip()?;
            return Ok(None);
        }
        let at = self.pos;
        let value = self.quoted()?;
        let span = at..self.pos;
        Ok(Some(Text { value, span }))
    }

    /// Reads an object, member by member: `each` must read the member's value.
    #[inline]
    pub(crate) fn members(
        &mut self,
        mut each: impl FnMut(&mut Self, &str) -> Result<()>,
    ) -> Result<Raw<'a>> {
        let at = self.pos;
        self.open(true)?;
        let mut more = self.peek() != b'}';
        while more {
            let name = self.key()?;
            each(self, &name)?;
            self.blank();
            more = self.peek() == b',';
            if more {
                self.advance();
            }
        }
        if self.peek() != b'}' {
            return self.fail(JsonRule::Member);
        }
        self.close();
        Ok(self.since(at))
    }

    /// Reads an array, value by value: `each` must read the value.
    pub(crate) fn elements(&mut self, mut each: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let mut more = self.enter_array()?;
        while more {
            each(self)?;
            more = !self.leave()?;
        }
        Ok(())
    }

    /// Checks that only blanks are left.
    pub(crate) fn end(&mut self) -> Result<()> {
        self.blank();
        if self.pos < self.bytes.len() {
            return self.fail(JsonRule::Trailing);
        }
        Ok(())
    }

    /// Passes over a value of any kind and depth.
    pub(crate) fn skip(&mut self) -> Result<()> {
        let floor = self.depth;
        loop {
            if self.enter()? {
                continue;
            }
            while self.depth > floor && self.leave()? {}
            if self.depth == floor {
                return Ok(());
            }
        }
    }

    /// Passes over a scalar, an empty container, or the opening of one; true
    /// when a first inner value comes next.
    #[inline]
    fn enter(&mut self) -> Result<bool> {
        match self.peek() {
            b'"' => self.string().map(|_| false),
            b'{' => self.enter_object(),
            b'[' => self.enter_array(),
            b'-' | b'0'..=b'9' => self.number().map(|()| false),
            b't' => self.literal("true").map(|()| false),
            b'f' => self.literal("false").map(|()| false),
            b'n' => self.literal("null").map(|()| false),
            _ => self.fail(JsonRule::Value),
        }
    }

    /// Opens an object and passes over its first name; false when it was empty
    /// and is closed again.
    #[inline]
    fn enter_object(&mut self) -> Result<bool> {
        self.open(true)?;
        if self.peek() == b'}' {
            self.close();
            return Ok(false);
        }
        self.name()?;
        Ok(true)
    }

    /// Opens an array; false when it was empty and is closed again.
    #[inline]
    fn enter_array(&mut self) -> Result<bool> {
        self.open(false)?;
        if self.peek() == b']' {
            self.close();
            return Ok(false);
        }
        Ok(true)
    }

    /// After a value inside a container: true when the container closed, false
    /// when another value of it comes next.
    #[inline]
    fn leave(&mut self) -> Result<bool> {
        self.blank();
        match (self.peek(), self.objects & 1 == 1) {
            (b',', in_object) => {
                self.advance();
                if in_object {
                    self.name()?;
                }
                Ok(false)
            }
            (b'}', true) | (b']', false) => {
                self.close();
                Ok(true)
            }
            (_, true) => self.fail(JsonRule::Member),
            (_, false) => self.fail(JsonRule::Element),
        }
    }

    /// Reads a member's name and passes over its colon; stands on the value.
    #[inline]
    fn key(&mut self) -> Result<Cow<'a, str>> {
        if self.peek() != b'"' {
            return self.fail(JsonRule::Name);
        }
        let name = self.quoted()?;
        self.colon()?;
        Ok(name)
    }

    /// Passes over a member's name and its colon; stands on the value.
    #[inline]
    fn name(&mut self) -> Result<()> {
        if self.peek() != b'"' {
            return self.fail(JsonRule::Name);
        }
        self.string()?;
        self.colon()
    }

    #[inline]
    fn colon(&mut self) -> Result<()> {
        self.blank();
        if self.peek() != b':' {
            return self.fail(JsonRule::Colon);
        }
        self.advance();
        Ok(())
    }

    /// Reads a string, standing on its opening quote; allocates only when it
    /// holds an escape.
    #[inline]
    fn quoted(&mut self) -> Result<Cow<'a, str>> {
        let at = self.pos;
        if self.string()? {
            return self.unescape(at).map(Cow::Owned);
        }
        Ok(Cow::Borrowed(&self.text[at + 1..self.pos - 1]))
    }

    #[cold]
    fn unescape(&self, at: usize) -> Result<String> {
        serde_json::from_str(self.since(at).text).map_err(|_| JsonFault {
            offset: at,
            what: JsonRule::Escape,
        })
    }

    #[inline]
    fn open(&mut self, object: bool) -> Result<()> {
        if self.depth == MAX_DEPTH {
            return self.fail(JsonRule::Depth);
        }
        self.depth += 1;
        self.objects = (self.objects << 1) | u128::from(object);
        self.advance();
        Ok(())
    }

    /// Closes the innermost container.
    #[inline]
    fn close(&mut self) {
        self.depth -= 1;
        self.objects >>= 1;
        self.pos += 1;
    }

    /// Passes over one byte of punctuation and the blanks behind it.
    #[inline]
    fn advance(&mut self) {
        self.pos += 1;
        self.blank();
    }

    #[inline]
    fn blank(&mut self) {
        while matches!(self.peek(), b' ' | b'\n' | b'\r' | b'\t') {
            self.pos += 1;
        }
    }

    #[inline]
    fn since(&self, at: usize) -> Raw<'a> {
        Raw {
            text: &self.text[at..self.pos],
            at,
        }
    }

    #[cold]
    fn fail<T>(&self, rule: JsonRule) -> Result<T> {
        let at_end = self.pos >= self.bytes.len();
        let what = if at_end { JsonRule::End } else { rule };
        Err(JsonFault {
            offset: self.pos,
            what,
        })
    }
}
