//! The event reader: the standard's rules, wherever the stream is cut.

#![expect(clippy::unwrap_used, reason = "a panic is how a test reports")]

use bytes::{Bytes, BytesMut};
use hexagram_mcp::sse::write_position;
use hexagram_mcp::{KEEP_ALIVE, SseError, SseEvent, SseParser, write_event};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

const LIMIT: usize = 1_000;

fn read(chunks: &[&[u8]]) -> Vec<SseEvent> {
    let mut parser = SseParser::new(LIMIT);
    let mut events = Vec::new();
    for chunk in chunks {
        parser.push(chunk).unwrap();
        events.extend(parser.by_ref());
    }
    events
}

fn event(id: Option<&str>, event: Option<&str>, data: &str, retry: Option<u64>) -> SseEvent {
    let data = Bytes::copy_from_slice(data.as_bytes());
    SseEvent {
        id: id.map(str::to_owned),
        event: event.map(str::to_owned),
        data,
        retry,
    }
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    const PIECES: [&[u8]; 16] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\n\n",
        b"\r\n\r\n",
        b"\r\r",
        b"data:",
        b"data: x",
        b"data",
        b"id: 7",
        b"event: message",
        b"retry: 30",
        b": hi",
        b" ",
        b"\xEF\xBB\xBF",
        b"{}",
    ];
    vec(select(&PIECES[..]), 0..40).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn cutting_the_stream_changes_nothing(stream in stream(), size in 1..20_usize) {
        let whole = read(&[&stream]);
        prop_assert_eq!(&read(&stream.chunks(size).collect::<Vec<_>>()), &whole);
        for cut in 0..=stream.len() {
            let (head, tail) = stream.split_at(cut);
            prop_assert_eq!(&read(&[head, b"", tail]), &whole);
        }
    }

    #[test]
    fn all_line_ends_are_equal(lines in vec("(data|id|event|retry|:)(: ?[a-z0-9]{0,9})?|", 0..20)) {
        let with = |end: &str| lines.iter().map(|line| format!("{line}{end}")).collect::<String>();
        let expected = read(&[with("\n").as_bytes()]);
        prop_assert_eq!(&read(&[with("\r\n").as_bytes()]), &expected);
        prop_assert_eq!(&read(&[with("\r").as_bytes()]), &expected);
    }

    #[test]
    fn what_is_written_is_read_back(
        messages in vec((proptest::option::of("[!-~]{1,9}"), vec(any::<u8>(), 0..200)), 0..9),
    ) {
        let mut out = BytesMut::new();
        for (id, data) in &messages {
            write_event(&mut out, id.as_deref(), data);
            out.extend_from_slice(KEEP_ALIVE);
        }
        let expected: Vec<_> = messages.into_iter().map(|(id, data)| {
            let data = unix_lines(&data).into();
            SseEvent { id, event: Some("message".to_owned()), data, retry: None }
        }).collect();
        prop_assert_eq!(read(&[&out]), expected);
    }
}

fn unix_lines(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut bytes = data.iter().peekable();
    while let Some(&byte) = bytes.next() {
        if byte == b'\r' {
            bytes.next_if(|&&next| next == b'\n');
        }
        out.push(if byte == b'\r' { b'\n' } else { byte });
    }
    out
}

#[test]
fn fields_are_read_as_the_standard_says() {
    let table: [(&[u8], Vec<SseEvent>); 10] = [
        (
            b"data: a\ndata:b\ndata\n\n",
            vec![event(None, None, "a\nb\n", None)],
        ),
        (b"data:  two\n\n", vec![event(None, None, " two", None)]),
        (
            b"\xEF\xBB\xBFdata: x\n\n",
            vec![event(None, None, "x", None)],
        ),
        (b"id: 1\ndata:\n\n", vec![event(Some("1"), None, "", None)]),
        (b"id: 1\n\n", vec![event(Some("1"), None, "", None)]),
        (b"retry: 30\n\n", vec![event(None, None, "", Some(30))]),
        (b"retry: +3\nretry:\nid: a\0b\nevent: e\n\n", vec![]),
        (b": comment\n\n\n\n", vec![]),
        (b"other: x\nDATA: x\n\n", vec![]),
        (b"data: never ended\n", vec![]),
    ];
    for (stream, expected) in table {
        assert_eq!(
            read(&[stream]),
            expected,
            "{}",
            String::from_utf8_lossy(stream)
        );
    }
}

#[test]
fn an_event_over_the_limit_is_refused_however_it_grows() {
    let too_large = Err(SseError::TooLarge { limit: 16 });
    let endless: [&[u8]; 4] = [b"data: x\n", b"x", b"id: 4\n", b"event: e\n"];
    for piece in endless {
        let mut parser = SseParser::new(16);
        let refused = (0..40).map(|_| parser.push(piece)).find(Result::is_err);
        assert_eq!(
            refused,
            Some(too_large),
            "{}",
            String::from_utf8_lossy(piece)
        );
    }
}

#[test]
fn the_limit_is_per_event() {
    let mut parser = SseParser::new(16);
    for _ in 0..100 {
        parser.push(b"data: 0123456789\n\n: a comment\n").unwrap();
    }
    assert_eq!(parser.count(), 100);
}

#[test]
fn an_id_cannot_smuggle_lines() {
    let mut out = Vec::new();
    write_event(&mut out, Some("1\ndata: forged"), b"{}");
    assert_eq!(out, b"event: message\ndata: {}\n\n");
}

#[test]
fn a_position_is_read_back_without_a_message() {
    for (retry_ms, retry) in [(2_000, Some(2_000)), (0, None)] {
        let mut out = Vec::new();
        write_position(&mut out, "c1.0.0", retry_ms);
        assert_eq!(read(&[&out]), [event(Some("c1.0.0"), None, "", retry)]);
    }
}
