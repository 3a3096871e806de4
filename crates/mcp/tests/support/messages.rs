//! Generators: messages that keep the rules, messages that may break them, and
//! texts of them with odd blanks, escapes and damage.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

use super::json::Json;

const METHODS: [&str; 14] = [
    "tools/call",
    "prompts/get",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "tasks/get",
    "tasks/list",
    "tools/list",
    "initialize",
    "notifications/cancelled",
    "notifications/progress",
    "métho\"d",
    "",
];

/// A message that keeps every rule.
pub fn valid() -> impl Strategy<Value = Json> {
    let call = (id(), select(&METHODS[..]), proptest::option::of(params())).prop_map(call);
    let note = (select(&METHODS[..]), params())
        .prop_map(|(method, params)| vec![("method", Json::string(method)), ("params", params)]);
    let response = (id(), value()).prop_map(|(id, result)| vec![("id", id), ("result", result)]);
    let error = (error_id(), object()).prop_map(|(mut id, error)| {
        id.push(("error", error));
        id
    });
    prop_oneof![4 => call, 1 => note, 1 => response, 1 => error]
        .prop_map(|mut members| {
            members.push(("jsonrpc", Json::string("2.0")));
            members.push(("extra", Json::Null));
            named(members)
        })
        .prop_shuffle()
        .prop_map(Json::Object)
}

/// A message of known members, in any number and of any type.
pub fn doubtful() -> impl Strategy<Value = Json> {
    let member = prop_oneof![
        4 => (Just("jsonrpc"), Just(Json::string("2.0"))),
        1 => (Just("jsonrpc"), scalar()),
        3 => (Just("id"), prop_oneof![id(), scalar()]),
        3 => (Just("method"), prop_oneof![4 => method(), 1 => value()]),
        3 => (Just("params"), prop_oneof![4 => doubtful_params(), 1 => value()]),
        1 => (Just("result"), value()),
        1 => (Just("error"), value()),
    ];
    vec(member, 0..6).prop_map(|members| Json::Object(named(members)))
}

/// The text of a message, oddly spelt, and what it says: `serde_json` may read a
/// float as its neighbour.
pub fn spelt(message: impl Strategy<Value = Json>) -> impl Strategy<Value = (Json, Vec<u8>)> {
    (message, vec(any::<u8>(), 1..40)).prop_map(|(message, whims)| {
        let mut out = String::new();
        let mut speller = Speller {
            whims: whims.iter().cycle(),
        };
        speller.value(&mut out, &message);
        (Json::parse(out.as_bytes()).unwrap(), out.into_bytes())
    })
}

/// A text with a few bytes changed, and perhaps its end cut off.
pub fn damaged(text: Vec<u8>, damage: &[(Index, Damage)]) -> Vec<u8> {
    let mut text = text;
    for (at, damage) in damage {
        let at = at.index(text.len() + 1);
        match damage {
            Damage::Cut => text.truncate(at),
            Damage::Remove => drop(text.drain(at..(at + 1).min(text.len()))),
            Damage::Insert(bytes) => drop(text.splice(at..at, bytes.iter().copied())),
        }
    }
    text
}

#[derive(Debug, Clone)]
pub enum Damage {
    Cut,
    Remove,
    Insert(Vec<u8>),
}

pub fn damage() -> impl Strategy<Value = Vec<(Index, Damage)>> {
    const PIECES: [&[u8]; 30] = [
        b"\"",
        b"\\",
        b"\\u",
        b"\\ud800",
        b"\\udc00",
        b"\\ud83d\\ude00",
        b"\\x",
        b"\x00",
        b"\x1f",
        b"\x7f",
        b"\xff",
        b"\xc3",
        b"\xed\xa0\x80",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b" ",
        b"-",
        b"0",
        b"1e400",
        b"1e-400",
        b"NaN",
        b".5",
        b"null",
        b"\"id\":1,",
        b"\xEF\xBB\xBF",
        b"\x0b",
    ];
    let piece = select(&PIECES[..]).prop_map(|piece| Damage::Insert(piece.to_vec()));
    let byte = any::<u8>().prop_map(|byte| Damage::Insert(vec![byte]));
    let one = prop_oneof![1 => Just(Damage::Cut), 3 => Just(Damage::Remove), 6 => piece, 2 => byte];
    vec((any::<Index>(), one), 1..4)
}

/// Any JSON value.
pub fn value() -> impl Strategy<Value = Json> {
    scalar().prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::Array),
            vec((text(), inner), 0..4).prop_map(Json::Object),
        ]
    })
}

pub fn id() -> impl Strategy<Value = Json> {
    prop_oneof![
        text().prop_map(Json::String),
        any::<i64>().prop_map(|id| Json::Number(id.into()))
    ]
}

pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![3 => "[a-z/._-]{0,12}", 1 => "\\PC{0,20}", 1 => any::<String>()]
}

fn scalar() -> impl Strategy<Value = Json> {
    let float = any::<f64>().prop_filter_map("finite", serde_json::Number::from_f64);
    prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::Bool),
        any::<i64>().prop_map(|n| Json::Number(n.into())),
        any::<u64>().prop_map(|n| Json::Number(n.into())),
        float.prop_map(Json::Number),
        text().prop_map(Json::String),
    ]
}

fn object() -> impl Strategy<Value = Json> {
    vec((text(), value()), 0..3).prop_map(Json::Object)
}

fn method() -> impl Strategy<Value = Json> {
    select(&METHODS[..]).prop_map(Json::string)
}

fn error_id() -> impl Strategy<Value = Vec<(&'static str, Json)>> {
    let some = prop_oneof![Just(Json::Null), id()].prop_map(|id| vec![("id", id)]);
    prop_oneof![Just(Vec::new()), some]
}

fn call((id, method, params): (Json, &'static str, Option<Json>)) -> Vec<(&'static str, Json)> {
    let mut members = vec![("id", id), ("method", Json::string(method))];
    members.extend(params.map(|params| ("params", params)));
    members
}

/// Some of the known members, each once, mostly of their type.
fn params() -> impl Strategy<Value = Json> {
    known_params()
        .prop_flat_map(|all| subsequence(all, 0..=9))
        .prop_shuffle()
        .prop_map(Json::Object)
}

fn doubtful_params() -> impl Strategy<Value = Json> {
    (known_params(), known_params(), any::<Index>()).prop_map(|(mut all, more, again)| {
        all.push(again.get(&more).clone());
        Json::Object(all)
    })
}

fn known_params() -> impl Strategy<Value = Vec<(String, Json)>> {
    let odd = |usual: BoxedStrategy<Json>| prop_oneof![9 => usual, 1 => value()];
    let string = || odd(text().prop_map(Json::String).boxed());
    let token = || odd(id().boxed());
    let known = (
        (
            string(),
            string(),
            string(),
            token(),
            token(),
            string(),
            value(),
        ),
        odd(reference().boxed()),
        odd(meta().boxed()),
    );
    known.prop_map(
        |((name, uri, task, request, token, cursor, arguments), reference, meta)| {
            named(vec![
                ("name", name),
                ("uri", uri),
                ("taskId", task),
                ("requestId", request),
                ("progressToken", token),
                ("cursor", cursor),
                ("arguments", arguments),
                ("ref", reference),
                ("_meta", meta),
            ])
        },
    )
}

fn reference() -> impl Strategy<Value = Json> {
    let kind = select(&["ref/prompt", "ref/resource", "ref/other"][..]);
    (kind, text(), text()).prop_map(|(kind, name, uri)| {
        let members = vec![("type", kind.to_owned()), ("name", name), ("uri", uri)];
        Json::Object(named(
            members
                .into_iter()
                .map(|(n, v)| (n, Json::String(v)))
                .collect(),
        ))
    })
}

fn meta() -> impl Strategy<Value = Json> {
    (id(), text(), object(), value(), text()).prop_map(|(token, version, can, info, level)| {
        Json::Object(named(vec![
            ("progressToken", token),
            (
                "io.modelcontextprotocol/protocolVersion",
                Json::String(version),
            ),
            ("io.modelcontextprotocol/clientCapabilities", can),
            ("io.modelcontextprotocol/clientInfo", info),
            ("io.modelcontextprotocol/logLevel", Json::String(level)),
            ("traceparent", Json::Null),
        ]))
    })
}

fn named(members: Vec<(&str, Json)>) -> Vec<(String, Json)> {
    members
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Writes JSON with the blanks and escapes that its whims ask for.
struct Speller<'a, I: Iterator<Item = &'a u8>> {
    whims: I,
}

impl<'a, I: Iterator<Item = &'a u8>> Speller<'a, I> {
    fn whim(&mut self) -> u8 {
        *self.whims.next().unwrap()
    }

    fn blank(&mut self, out: &mut String) {
        let blanks = ["", "", "", "", " ", "\n", "\t", " \r\n "];
        out.push_str(blanks[usize::from(self.whim() % 8)]);
    }

    fn value(&mut self, out: &mut String, value: &Json) {
        self.blank(out);
        match value {
            Json::Null => out.push_str("null"),
            Json::Bool(truth) => out.push_str(&truth.to_string()),
            Json::Number(number) => out.push_str(&number.to_string()),
            Json::String(text) => self.string(out, text),
            Json::Array(values) => self.list(out, "[]", values, Self::value),
            Json::Object(members) => self.list(out, "{}", members, Self::member),
        }
        self.blank(out);
    }

    fn list<T>(
        &mut self,
        out: &mut String,
        brackets: &str,
        items: &[T],
        mut each: impl FnMut(&mut Self, &mut String, &T),
    ) {
        out.push_str(&brackets[..1]);
        self.blank(out);
        for (i, item) in items.iter().enumerate() {
            out.push_str(if i == 0 { "" } else { "," });
            each(self, out, item);
        }
        out.push_str(&brackets[1..]);
    }

    fn member(&mut self, out: &mut String, (name, value): &(String, Json)) {
        self.blank(out);
        self.string(out, name);
        self.blank(out);
        out.push(':');
        self.value(out, value);
    }

    fn string(&mut self, out: &mut String, text: &str) {
        if !self.whim().is_multiple_of(5) {
            out.push_str(&serde_json::to_string(text).unwrap());
            return;
        }
        out.push('"');
        for unit in text.encode_utf16() {
            out.push_str(&format!("\\u{unit:04x}"));
        }
        out.push('"');
    }
}
