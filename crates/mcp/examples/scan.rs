//! Prints what a scan costs beside `serde_json` walking the same body without
//! keeping anything: `cargo run --release -p hexagram-mcp --example scan`.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]
#![expect(clippy::disallowed_methods, reason = "it times, and no test runs it")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use serde::de::IgnoredAny;

const ROUNDS: u32 = 15;
const CALLS: u32 = 100_000;

fn main() {
    println!("body                 bytes   scan ns  serde_json ns  ratio");
    for (name, body) in bodies() {
        let bytes = body.as_bytes();
        let (scan, reference) = best(bytes);
        let ratio = scan / reference;
        println!(
            "{name:20} {:5} {scan:9.0} {reference:14.0} {ratio:6.2}",
            bytes.len()
        );
    }
}

/// The best round of each, taken in turns so that both see the same machine.
fn best(body: &[u8]) -> (f64, f64) {
    let mut best = (f64::MAX, f64::MAX);
    for _ in 0..ROUNDS {
        best.0 = best.0.min(nanos(|| {
            drop(black_box(hexagram_mcp::scan(black_box(body))));
        }));
        best.1 = best.1.min(nanos(|| {
            drop(black_box(serde_json::from_slice::<IgnoredAny>(black_box(
                body,
            ))));
        }));
    }
    best
}

fn nanos(call: impl Fn()) -> f64 {
    let start = Instant::now();
    for _ in 0..CALLS {
        call();
    }
    per_call(start.elapsed())
}

fn per_call(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn bodies() -> [(&'static str, String); 5] {
    let meta = r#""_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"progressToken":"t-1"}"#;
    let call = |arguments: &str| {
        format!(
            r#"{{"jsonrpc":"2.0","id":12345,"method":"tools/call","params":{{"name":"echo",{meta},"arguments":{arguments}}}}}"#
        )
    };
    let code = r#"fn main() {\n    println!(\"hello\");\n}\n"#.repeat(40);
    let rows = r#"{"id":17,"price":3.25,"tags":["a","b"]},"#.repeat(100);
    [
        (
            "ping",
            r#"{"jsonrpc":"2.0","id":1,"method":"ping"}"#.to_owned(),
        ),
        ("tools/call", call(r#"{"message":"hello, hello"}"#)),
        ("escaped text", call(&format!(r#"{{"code":"{code}"}}"#))),
        (
            "plain text",
            call(&format!(r#"{{"text":"{}"}}"#, "lorem ipsum ".repeat(300))),
        ),
        (
            "numbers and lists",
            call(&format!(r#"{{"rows":[{rows}null]}}"#)),
        ),
    ]
}
