//! What a client said survives as bits, or is reported as more than they tell.

use proptest::prelude::*;

use super::*;

fn read(capabilities: &Value) -> InitializeParams {
    let params = json!({
        "protocolVersion": "2025-06-18",
        "capabilities": capabilities,
        "clientInfo": { "name": "probe", "version": "1", "title": "ignored" },
    });
    InitializeParams::from_params(params.to_string().as_bytes()).unwrap()
}

fn bits(list: &[Capabilities]) -> Capabilities {
    list.iter()
        .fold(Capabilities::default(), |all, bit| all.union(*bit))
}

#[test]
fn the_client_is_read() {
    let params = read(&json!({}));
    assert_eq!(params.protocol_version, "2025-06-18");
    assert_eq!(
        (params.client_name.as_str(), params.client_version.as_str()),
        ("probe", "1")
    );
    assert_eq!(
        (params.capabilities, params.has_unknown),
        (Capabilities::default(), false)
    );
}

#[test]
fn spellings_of_the_same_capability_need_no_record() {
    let form = Capabilities::ELICITATION_FORM;
    let table = [
        (json!({ "elicitation": {} }), form),
        (json!({ "elicitation": { "form": {} } }), form),
        (
            json!({ "elicitation": { "url": {} } }),
            Capabilities::ELICITATION_URL,
        ),
        (
            json!({ "roots": { "listChanged": false } }),
            Capabilities::ROOTS,
        ),
        (
            json!({ "roots": { "listChanged": true } }),
            bits(&[Capabilities::ROOTS, Capabilities::ROOTS_LIST_CHANGED]),
        ),
        (
            json!({ "sampling": { "tools": {} }, "tasks": { "cancel": {} } }),
            bits(&[
                Capabilities::SAMPLING,
                Capabilities::SAMPLING_TOOLS,
                Capabilities::TASKS,
                Capabilities::TASKS_CANCEL,
            ]),
        ),
    ];
    for (said, expected) in table {
        let params = read(&said);
        assert_eq!(
            (params.capabilities, params.has_unknown),
            (expected, false),
            "{said}"
        );
    }
}

#[test]
fn what_no_bit_tells_is_reported() {
    let table = [
        json!({ "experimental": { "x": {} } }),
        json!({ "extensions": {} }),
        json!({ "roots": { "other": true } }),
        json!({ "roots": { "listChanged": "yes" } }),
        json!({ "sampling": { "tools": { "max": 3 } } }),
        json!({ "sampling": true }),
        json!({ "tasks": { "requests": { "sampling": {} } } }),
        json!({ "elicitation": null }),
    ];
    for said in table {
        assert!(read(&said).has_unknown, "{said}");
    }
}

#[test]
fn form_alone_is_said_as_every_revision_knows_it() {
    assert_eq!(
        capabilities_json(Capabilities::ELICITATION_FORM),
        json!({ "elicitation": {} })
    );
    let both = bits(&[
        Capabilities::ELICITATION_FORM,
        Capabilities::ELICITATION_URL,
    ]);
    assert_eq!(
        capabilities_json(both),
        json!({ "elicitation": { "form": {}, "url": {} } })
    );
}

#[test]
fn incomplete_params_are_refused() {
    for params in [
        "{}",
        r#"{"protocolVersion":1,"capabilities":{},"clientInfo":{"name":"a","version":"1"}}"#,
        r#"{"protocolVersion":"x","capabilities":[],"clientInfo":{"name":"a","version":"1"}}"#,
        r#"{"protocolVersion":"x","capabilities":{},"clientInfo":{"name":"a"}}"#,
        "not json",
    ] {
        let problem = InitializeParams::from_params(params.as_bytes()).unwrap_err();
        assert_eq!(problem.code(), -32602, "{params}");
    }
}

proptest! {
    /// Inner bits come with their outer one, as they are read.
    #[test]
    fn bits_survive_json(subset in proptest::sample::subsequence(PLACES.to_vec(), 0..=12)) {
        let mut all = Capabilities::default();
        for (place, bit) in subset {
            all.insert(bit);
            let outer = PLACES.iter().find(|(p, _)| place.starts_with(&format!("{p}/")));
            all.insert(outer.map_or(bit, |(_, outer)| *outer));
        }
        let params = read(&capabilities_json(all));
        prop_assert_eq!((params.capabilities, params.has_unknown), (all, false));
    }
}
