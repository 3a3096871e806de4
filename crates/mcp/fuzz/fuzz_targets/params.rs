//! `Mcp-Param-*`: a schema and arguments of any shape, as `[properties,
//! arguments]`. What we send is accepted, and refused once a header is changed.
#![no_main]

use std::collections::HashSet;

use hexagram_mcp::header::{check_params, decode_value, param_headers};
use http::{HeaderMap, HeaderName, HeaderValue};
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// What no argument mirrors: the fuzzer would have to find it first.
const OTHER: HeaderValue = HeaderValue::from_static("a value from nowhere");

fuzz_target!(|input: &[u8]| {
    let Ok([properties, arguments]) = serde_json::from_slice::<[Value; 2]>(input) else {
        return;
    };
    let sent: Vec<(HeaderName, HeaderValue)> = param_headers(&properties, &arguments)
        .into_iter()
        .map(|(name, value)| (name, value.parse().expect("a header value")))
        .collect();
    for (_, value) in &sent {
        assert!(decode_value(value).is_ok());
    }
    let check = |headers: &HeaderMap| check_params(headers, &properties, || arguments.clone());
    let names: HashSet<_> = sent.iter().map(|(name, _)| name.clone()).collect();
    let mut headers: HeaderMap = sent.iter().cloned().collect();
    if names.len() < sent.len() || clashing(&properties) {
        let _ = check(&headers);
        return;
    }
    assert_eq!(check(&headers), Ok(()));
    for (name, value) in sent.into_iter().filter(|(_, value)| value != OTHER) {
        headers.insert(name.clone(), OTHER);
        assert!(check(&headers).is_err());
        headers.remove(&name);
        assert!(check(&headers).is_err());
        headers.append(name.clone(), value.clone());
        headers.append(name.clone(), value.clone());
        assert!(check(&headers).is_err());
        headers.insert(name, value);
    }
});

/// Whether two properties are mirrored in one header, which no schema may ask for.
fn clashing(properties: &Value) -> bool {
    let mut seen = HashSet::new();
    !unique(properties, &mut seen)
}

fn unique(properties: &Value, seen: &mut HashSet<String>) -> bool {
    let members = properties.as_object().into_iter().flatten();
    members.map(|(_, property)| property).all(|property| {
        let header = property["x-mcp-header"].as_str();
        header.is_none_or(|header| seen.insert(header.to_ascii_lowercase()))
            && unique(&property["properties"], seen)
    })
}
