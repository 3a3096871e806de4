//! What the user gave in confidence. A server may repeat it in an error, so it
//! is taken out of all that is printed.

use reqwest::Url;
use reqwest::header::HeaderMap;

/// Shorter values (a number, a yes) are no secrets, and concealing them would
/// tear the output apart.
const SHORTEST: usize = 6;
const CONCEALED: &str = "***";

/// Texts never to print.
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn new(url: &Url, headers: &HeaderMap) -> Self {
        let values = headers.values().filter_map(|value| value.to_str().ok());
        // With a scheme before it ("Bearer ..."), and without.
        let parts = values.flat_map(|value| [Some(value), value.split_whitespace().last()]);
        let texts = parts.flatten().chain(url.password());
        let mut texts: Vec<_> = texts
            .filter(|text| text.len() >= SHORTEST)
            .flat_map(|text| [text.to_owned(), in_json(text)])
            .collect();
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self(texts)
    }

    /// The text without the secrets.
    pub(super) fn conceal(&self, text: &str) -> String {
        let secrets = self.0.iter();
        secrets.fold(text.to_owned(), |text, secret| {
            text.replace(secret, CONCEALED)
        })
    }
}

/// As it stands inside a JSON string.
fn in_json(text: &str) -> String {
    let quoted = serde_json::Value::from(text).to_string();
    quoted[1..quoted.len() - 1].to_owned()
}

#[cfg(test)]
mod tests {
    use reqwest::header::{AUTHORIZATION, HeaderValue};

    use super::*;

    #[test]
    fn a_value_is_concealed_with_and_without_its_scheme() {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer a\"token"));
        let url = "http://me:password@localhost/mcp".parse().expect("a URL");
        let secrets = Secrets::new(&url, &headers);
        for text in [
            "got Bearer a\"token",
            "got a\"token",
            r#""a\"token""#,
            "password@",
        ] {
            let told = secrets.conceal(text);
            assert!(
                !told.contains("token") && !told.contains("password"),
                "{told}"
            );
        }
        assert_eq!(secrets.conceal("Bearer realm"), "Bearer realm");
    }
}
