//! The event reader: where the stream is cut must not matter, what it keeps is
//! bounded, and what is read can be written and read again. The first two bytes
//! say where to cut.
#![no_main]

use hexagram_mcp::{SseError, SseEvent, SseParser, write_event};
use libfuzzer_sys::fuzz_target;

const LIMIT: usize = 256;

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<SseEvent>, Result<(), SseError>) {
    let mut parser = SseParser::new(LIMIT);
    let mut events = Vec::new();
    for chunk in chunks {
        let pushed = parser.push(chunk);
        events.extend(parser.by_ref());
        if pushed.is_err() {
            return (events, pushed);
        }
    }
    (events, Ok(()))
}

/// Bytes of the stream that an event holds; a replaced byte counts as the one it was.
fn kept(event: &SseEvent) -> usize {
    let texts = [event.id.as_deref(), event.event.as_deref()];
    let read = |text: &str| {
        text.chars()
            .map(|c| if c == '\u{fffd}' { 1 } else { c.len_utf8() })
            .sum::<usize>()
    };
    event.data.len() + texts.into_iter().flatten().map(read).sum::<usize>()
}

fuzz_target!(|input: &[u8]| {
    let [size, cut, stream @ ..] = input else {
        return;
    };
    let whole = read([stream].into_iter());
    let (head, tail) = stream.split_at(usize::from(*cut).min(stream.len()));
    assert_eq!(read([head, tail].into_iter()), whole);
    assert_eq!(read(stream.chunks(usize::from(*size).max(1))), whole);
    for event in whole.0 {
        assert!(kept(&event) <= LIMIT);
        let mut out = Vec::new();
        write_event(&mut out, event.id.as_deref(), &event.data);
        let mut parser = SseParser::new(4 * LIMIT + 100);
        assert_eq!(parser.push(&out), Ok(()));
        let again = parser.next().expect("an event was written");
        assert_eq!((again.id, again.data), (event.id, event.data));
    }
});
