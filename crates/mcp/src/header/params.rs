//! `Mcp-Param-*`: arguments of a tool call mirrored in headers where the
//! tool's schema says so with `x-mcp-header` (SEP-2243).

use http::{HeaderMap, HeaderName};
use serde_json::Value;

use super::names::MCP_PARAM_PREFIX;
use super::{HeaderError, decode_value, same, single};

/// An argument that is mirrored.
struct Annotation<'a> {
    header: &'a str,
    path: Vec<&'a str>,
}

/// Checks the headers of a call against its arguments, as the `properties` of
/// the tool's input schema ask. Headers that they do not name are not looked
/// at, and arguments are read only where there is something to check.
///
/// # Errors
/// When a header is missing, repeated, undecodable, differs from its argument
/// or mirrors one that is not there.
pub fn check_params(
    headers: &HeaderMap,
    properties: &Value,
    arguments: impl FnOnce() -> Value,
) -> Result<(), HeaderError> {
    let annotations = annotations(properties);
    if annotations.is_empty() {
        return Ok(());
    }
    let arguments = arguments();
    annotations.iter().try_for_each(|annotation| {
        let Some(name) = name_of(annotation.header) else {
            return Ok(());
        };
        let sent = single(headers, &name)?.map(decode_value).transpose()?;
        let argument = annotation
            .path
            .iter()
            .try_fold(&arguments, |value, key| value.get(key));
        if numerically_equal(sent.as_deref(), argument) {
            return Ok(());
        }
        let argument = argument.and_then(text);
        same(&name, sent.as_deref(), argument.as_deref())
    })
}

/// The headers that mirror the arguments of a call, for a server that checks them.
#[must_use]
pub fn param_headers(properties: &Value, arguments: &Value) -> Vec<(HeaderName, String)> {
    let mirrored = annotations(properties)
        .into_iter()
        .filter_map(|annotation| {
            let mut path = annotation.path.iter();
            let value = path.try_fold(arguments, |value, key| value.get(key))?;
            Some((
                name_of(annotation.header)?,
                super::encode_value(&text(value)?),
            ))
        });
    mirrored.collect()
}

fn name_of(header: &str) -> Option<HeaderName> {
    format!("{MCP_PARAM_PREFIX}{header}").parse().ok()
}

/// Annotations count along chains of `properties` only.
fn annotations(properties: &Value) -> Vec<Annotation<'_>> {
    let mut found = Vec::new();
    collect(properties, &mut Vec::new(), &mut found);
    found
}

fn collect<'a>(properties: &'a Value, path: &mut Vec<&'a str>, found: &mut Vec<Annotation<'a>>) {
    let Some(properties) = properties.as_object() else {
        return;
    };
    for (name, property) in properties {
        path.push(name);
        if let Some(header) = property["x-mcp-header"].as_str() {
            let path = path.clone();
            found.push(Annotation { header, path });
        }
        collect(&property["properties"], path, found);
        path.pop();
    }
}

/// A primitive as its header shows it; null is as good as absent.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// `7` and `7.0` are one number, but two texts.
fn numerically_equal(header: Option<&str>, argument: Option<&Value>) -> bool {
    let header = header.and_then(|text| text.parse::<f64>().ok());
    header.is_some() && header == argument.and_then(Value::as_f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;
    use serde_json::json;

    fn properties() -> Value {
        json!({
            "region": {"type": "string", "x-mcp-header": "Region"},
            "free": {"type": "string"},
            "deep": {"properties": {"n": {"type": "integer", "x-mcp-header": "N"}}},
        })
    }

    fn check(headers: &[(&'static str, &'static str)], arguments: &Value) -> bool {
        let headers: HeaderMap = headers
            .iter()
            .map(|(name, value)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            })
            .collect();
        check_params(&headers, &properties(), || arguments.clone()).is_ok()
    }

    #[test]
    fn headers_agree_with_their_arguments() {
        let region = ("mcp-param-region", "eu");
        assert!(check(&[], &json!({})));
        assert!(check(&[], &json!({"region": null, "free": "x"})));
        assert!(check(&[region], &json!({"region": "eu"})));
        assert!(check(&[("mcp-param-other", "x")], &json!({})));
        let deep = json!({"region": "eu", "deep": {"n": 7}});
        assert!(check(&[region, ("mcp-param-n", "7.0")], &deep));
        let encoded = ("mcp-param-region", "=?base64?w7w=?=");
        assert!(check(&[encoded], &json!({"region": "ü"})));
    }

    #[test]
    fn what_does_not_agree_is_refused() {
        let region = ("mcp-param-region", "eu");
        assert!(!check(&[region], &json!({"region": "us"})));
        assert!(!check(&[region], &json!({})));
        assert!(!check(&[], &json!({"region": "eu"})));
        assert!(!check(&[], &json!({"deep": {"n": 7}})));
        assert!(!check(&[region, region], &json!({"region": "eu"})));
        let number = ("mcp-param-region", "7.0");
        assert!(
            !check(&[number], &json!({"region": "7"})),
            "text is no number"
        );
        for bad in ["=?base64?SGVsbG8?=", "=?base64?SGVs!!!bG8=?="] {
            let bad = ("mcp-param-region", bad);
            assert!(!check(&[bad], &json!({"region": "Hello"})), "{bad:?}");
        }
    }

    #[test]
    fn what_is_sent_is_accepted() {
        for region in ["eu", "ü", " x", "=?base64?x?=", ""] {
            let arguments = json!({"region": region, "deep": {"n": -3}});
            let headers: HeaderMap = param_headers(&properties(), &arguments)
                .into_iter()
                .map(|(name, value)| (name, value.parse().expect("a header value")))
                .collect();
            assert_eq!(headers.len(), 2);
            let checked = check_params(&headers, &properties(), || arguments.clone());
            assert_eq!(checked, Ok(()), "{region:?}");
        }
    }
}
