//! Texts that parsers disagree on: what one reads, another behind it must not
//! read in another way. So they are refused, or pass as they are.

use serde_json::{Value, json};

use crate::cluster::Server;
use crate::cluster::http::Ask;
use crate::cluster::mcp::{Refusal, Session, refused, text};

/// A call of `echo` with a second argument, as raw JSON.
fn call(id: &[u8], odd: &[u8]) -> Vec<u8> {
    [
        br#"{"jsonrpc":"2.0","id":"#,
        id,
        br#","method":"tools/call","params":{"name":"echo","arguments":{"message":"x","odd":"#,
        odd,
        b"}}}",
    ]
    .concat()
}

/// Sends each body, expects the refusal, and then that the session goes on.
async fn all_refused(bodies: &[Vec<u8>], expected: &Refusal<'_>) {
    let server = Server::local(&["--demo=echo"]).await;
    let mut session = Session::open(server.listen).await;
    for body in bodies {
        eprintln!("{}", String::from_utf8_lossy(&body[..body.len().min(200)]));
        let ask = session.signed(Ask::post(body.clone()));
        refused(&session.http.send(&ask).await, expected);
    }
    let ask = session.signed(Ask::post(call(b"1", b"1")));
    assert_eq!(text(&session.http.send(&ask).await), "x");
}

#[tokio::test]
async fn numbers_that_are_none() {
    let digits = "9".repeat(1000).into_bytes();
    let numbers: [&[u8]; 11] = [
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b"nan",
        b"1e999",
        b"01",
        b"+1",
        b".5",
        b"1.",
        b"0x1",
        &digits,
    ];
    let as_id = numbers.map(|number| call(number, b"1"));
    let as_argument = numbers.map(|number| call(b"1", number));
    let bodies = [as_id, as_argument].concat();
    all_refused(&bodies, &Refusal(400, Value::Null, -32700, "parse_error")).await;
}

#[tokio::test]
async fn text_that_is_no_unicode() {
    let texts: [&[u8]; 7] = [
        br#""\ud800""#,
        br#""\udc00""#,
        br#""\ude00\ud83d""#,
        b"\"\xff\"",
        b"\"\xed\xa0\x80\"",
        b"\"\xc0\x80\"",
        b"\"\0\"",
    ];
    let as_id = texts.map(|text| call(text, b"1"));
    let as_argument = texts.map(|text| call(b"1", text));
    let utf16: Vec<u8> = r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let bodies = [&as_id[..], &as_argument[..], &[utf16]].concat();
    all_refused(&bodies, &Refusal(400, Value::Null, -32700, "parse_error")).await;
}

#[tokio::test]
async fn ids_that_are_none() {
    let ids: [&[u8]; 9] = [
        b"null",
        b"true",
        b"[1]",
        b"{}",
        b"1.0",
        b"1e2",
        b"-0",
        b"9223372036854775808",
        b"123456789012345678901234567890",
    ];
    let bodies = ids.map(|id| call(id, b"1"));
    let expected = Refusal(400, Value::Null, -32600, "invalid_request");
    all_refused(&bodies, &expected).await;
}

#[tokio::test]
async fn members_that_are_there_twice() {
    let twice = [
        r#""method":"ping","method":"tools/list""#,
        r#""method":"tools/list","params":{},"params":{}"#,
        r#""method":"tools/call","params":{"name":"echo","name":"other"}"#,
        r#""method":"tools/call","params":{"name":"echo","n\u0061me":"other"}"#,
        r#""method":"tools/call","params":{"name":"echo","_meta":{},"_meta":{}}"#,
        r#""method":"tools/call","params":{"name":"echo","requestState":5,"requestState":"s"}"#,
        r#""method":"tasks/get","params":{"taskId":5,"taskId":"t"}"#,
        r#""method":"resources/read","params":{"uri":"a:1","uri":"a:2"}"#,
    ];
    let bodies = twice.map(|members| format!(r#"{{"jsonrpc":"2.0","id":1,{members}}}"#).into());
    let expected = Refusal(400, json!(1), -32600, "invalid_request");
    all_refused(&bodies, &expected).await;
}

#[tokio::test]
async fn nesting_up_to_the_limit() {
    // Around the argument are four objects.
    let nested = |depth: usize| {
        let inner = depth - 3;
        call(b"1", &[vec![b'['; inner], vec![b']'; inner]].concat())
    };
    let server = Server::local(&["--demo=echo"]).await;
    let mut session = Session::open(server.listen).await;
    let deepest = session.signed(Ask::post(nested(hexagram_mcp::MAX_DEPTH as usize)));
    assert_eq!(text(&session.http.send(&deepest).await), "x");
    let deeper = session.signed(Ask::post(nested(hexagram_mcp::MAX_DEPTH as usize + 1)));
    let expected = Refusal(400, Value::Null, -32700, "parse_error");
    let error = refused(&session.http.send(&deeper).await, &expected);
    assert!(error["message"].as_str().unwrap().contains("nested deeper"));
}
