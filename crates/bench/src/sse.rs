//! Server-sent events: of a whole body without copying, or of a stream as it comes.

use std::borrow::Cow;
use std::time::Duration;

use memchr::memmem;

/// The data of each server-sent event, its `data:` lines joined by a newline.
pub(crate) fn events(mut stream: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    std::iter::from_fn(move || {
        let mut data: Option<Cow<'_, [u8]>> = None;
        while !stream.is_empty() {
            let line = take_line(&mut stream);
            match (line.is_empty(), field(line, b"data:")) {
                (true, _) if data.is_some() => break,
                (_, Some(more)) => data = Some(join(data, more)),
                _ => {}
            }
        }
        data
    })
}

fn take_line<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let end = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
    let line = &rest[..end];
    *rest = rest.get(end + 1..).unwrap_or_default();
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let value = line.strip_prefix(name)?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

fn join<'a>(data: Option<Cow<'a, [u8]>>, more: &'a [u8]) -> Cow<'a, [u8]> {
    match data {
        None => Cow::Borrowed(more),
        Some(data) => Cow::Owned([&data, b"\n".as_slice(), more].concat()),
    }
}

/// From where a stream can be taken up again, and after which time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Position {
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<Duration>,
}

impl Position {
    /// The position after a stream that ended, or broke, there.
    pub(crate) fn after(stream: &[u8]) -> Self {
        let mut position = Self::default();
        position.pass(&stream[..whole(stream)]);
        position
    }

    fn pass(&mut self, mut events: &[u8]) {
        while !events.is_empty() {
            let line = take_line(&mut events);
            if let Some(id) = text(line, b"id:") {
                // An empty id takes the former back.
                self.id = Some(id.to_owned()).filter(|id| !id.is_empty());
            }
            if let Some(millis) = text(line, b"retry:").and_then(|text| text.parse().ok()) {
                self.retry = Some(Duration::from_millis(millis));
            }
        }
    }
}

fn text<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a str> {
    std::str::from_utf8(field(line, name)?).ok()
}

/// The length of the events that are complete: what follows may still change.
fn whole(stream: &[u8]) -> usize {
    let after = |end: &[u8]| memmem::rfind(stream, end).map_or(0, |at| at + end.len());
    after(b"\n\n").max(after(b"\n\r\n"))
}

/// Reads a stream as it comes.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    rest: Vec<u8>,
    position: Position,
}

impl Reader {
    /// Takes a piece; the data of the events that it completes.
    pub(crate) fn take(&mut self, piece: &[u8]) -> Vec<Vec<u8>> {
        self.rest.extend_from_slice(piece);
        let whole = whole(&self.rest);
        let complete: Vec<u8> = self.rest.drain(..whole).collect();
        self.position.pass(&complete);
        events(&complete).map(Cow::into_owned).collect()
    }

    /// Where the stream stands.
    pub(crate) fn position(self) -> Position {
        self.position
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_complete_however_they_are_cut() {
        let stream =
            b": hi\n\nid: 7\nretry: 250\ndata: a\ndata: b\n\r\nid: 8\ndata:\n\nid: 9\ndata: c";
        for size in 1..stream.len() {
            let mut reader = Reader::default();
            let data: Vec<_> = stream
                .chunks(size)
                .flat_map(|piece| reader.take(piece))
                .collect();
            assert_eq!(data, [b"a\nb".to_vec(), Vec::new()], "pieces of {size}");
            let position = reader.position();
            assert_eq!(position.id.as_deref(), Some("8"), "9 never arrived");
            assert_eq!(position.retry, Some(Duration::from_millis(250)));
        }
    }

    #[test]
    fn a_body_has_the_same_position_as_a_stream() {
        assert_eq!(Position::after(b"data: x\n\n"), Position::default());
        let position = Position::after(b"id: 1\ndata:\n\nid:\ndata: x\n\n");
        assert_eq!(position.id, None, "taken back");
        assert_eq!(
            Position::after(b"id: 1\ndata:\n\nid: 2\n").id.as_deref(),
            Some("1")
        );
    }
}
