//! One server out of several upstreams (DESIGN 5b): which upstream a message
//! is for, and under which names clients see its tools, prompts and resources.
//!
//! With one upstream everything passes untouched. With more, tools and prompts
//! are `<upstream>__<name>` and resources `<upstream>+<uri>`: both can be read
//! back without a table, so they survive moves and restarts.

use std::borrow::Cow;
use std::collections::HashSet;

use hexagram_mcp::error::Problem;
use serde_json::{Value, json};

use crate::upstream::{ServerInfo, Upstream};

const NAME_SEPARATOR: &str = "__";
const URI_SEPARATOR: char = '+';

/// The upstreams of a worker, in the order of the command line.
pub(crate) struct Federation {
    upstreams: Vec<Upstream>,
}

/// Two upstreams of the same name, or none at all.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FederationError {
    /// No upstream was given.
    #[error("no upstream: give at least one with --upstream NAME=URL")]
    Empty,
    /// A name was used twice.
    #[error("two upstreams are called {0}: names must differ")]
    Duplicate(String),
}

/// Where a message goes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Destination {
    /// To one upstream, under this name there; `None` leaves it as it is.
    One(usize, Option<String>),
    /// To all, their lists merged under this member of the result.
    Merge(&'static str),
    /// To every upstream that has a session of the client.
    Everywhere,
}

impl Federation {
    pub(crate) fn new(upstreams: Vec<Upstream>) -> Result<Self, FederationError> {
        if upstreams.is_empty() {
            return Err(FederationError::Empty);
        }
        let mut names = HashSet::new();
        for upstream in &upstreams {
            if !names.insert(upstream.name()) {
                return Err(FederationError::Duplicate(upstream.name().to_owned()));
            }
        }
        Ok(Self { upstreams })
    }

    pub(crate) fn len(&self) -> usize {
        self.upstreams.len()
    }

    pub(crate) fn all(&self) -> &[Upstream] {
        &self.upstreams
    }

    pub(crate) fn get(&self, index: usize) -> &Upstream {
        &self.upstreams[index]
    }

    pub(crate) fn index_of(&self, name: &str) -> Option<usize> {
        self.upstreams
            .iter()
            .position(|upstream| upstream.name() == name)
    }

    /// The only upstream, where there is one: nothing is renamed then.
    pub(crate) fn single(&self) -> Option<&Upstream> {
        match &self.upstreams[..] {
            [only] => Some(only),
            _ => None,
        }
    }

    /// Where a request with this method and name or URI goes.
    pub(crate) fn destination(
        &self,
        method: &str,
        name: Option<&str>,
    ) -> Result<Destination, Problem> {
        if method == "logging/setLevel" {
            return Ok(Destination::Everywhere);
        }
        if self.single().is_some() {
            return Ok(Destination::One(0, None));
        }
        if let Some(member) = list_member(method) {
            return Ok(Destination::Merge(member));
        }
        let name = name.ok_or_else(|| unknown_method(method))?;
        self.by_name(name).ok_or_else(|| Problem::InvalidParams {
            detail: format!(
                "{name:?} names no upstream: expected <upstream>__<name> or <upstream>+<uri>"
            ),
        })
    }

    fn by_name(&self, name: &str) -> Option<Destination> {
        let as_name = name.split_once(NAME_SEPARATOR);
        let as_uri = || name.split_once(URI_SEPARATOR);
        [as_name, as_uri()]
            .into_iter()
            .flatten()
            .find_map(|(upstream, inner)| {
                let index = self.index_of(upstream)?;
                Some(Destination::One(index, Some(inner.to_owned())))
            })
    }

    /// The merged description of all upstreams that `infos` knows.
    pub(crate) fn describe(&self, infos: &[ServerInfo]) -> ServerInfo {
        if let (Some(_), [only]) = (self.single(), infos) {
            return only.clone();
        }
        let mut capabilities = json!({});
        for info in infos {
            merge(&mut capabilities, &info.capabilities);
        }
        ServerInfo {
            capabilities,
            server_info: json!({"name": "hexagram", "version": env!("CARGO_PKG_VERSION")}),
            instructions: join_instructions(infos),
        }
    }

    /// Renames what an upstream calls its own in one of its results or
    /// notifications, the way clients see it.
    pub(crate) fn present(&self, index: usize, message: &mut Value) {
        if self.single().is_none() {
            rename(message, self.get(index).name());
        }
    }
}

fn unknown_method(method: &str) -> Problem {
    Problem::MethodNotFound {
        method: method.to_owned(),
    }
}

/// The member of a list's result that holds the list.
pub(crate) fn list_member(method: &str) -> Option<&'static str> {
    match method {
        "tools/list" => Some("tools"),
        "prompts/list" => Some("prompts"),
        "resources/list" => Some("resources"),
        "resources/templates/list" => Some("resourceTemplates"),
        _ => None,
    }
}

/// Capabilities of several servers are the union of theirs.
fn merge(into: &mut Value, from: &Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key.clone()).or_insert(Value::Null), value);
            }
        }
        (Value::Bool(into), Value::Bool(from)) => *into |= from,
        (into, from) => *into = from.clone(),
    }
}

fn join_instructions(infos: &[ServerInfo]) -> Option<String> {
    let all: Vec<_> = infos
        .iter()
        .filter_map(|info| info.instructions.as_deref())
        .collect();
    (!all.is_empty()).then(|| all.join("\n\n"))
}

/// Prefixes names in lists and URIs everywhere MCP puts one.
fn rename(value: &mut Value, upstream: &str) {
    for list in ["tools", "prompts"] {
        for item in items(value, list) {
            prefix(item, "name", upstream, NAME_SEPARATOR);
        }
    }
    rename_uris(value, upstream);
}

fn rename_uris(value: &mut Value, upstream: &str) {
    for member in ["uri", "uriTemplate"] {
        prefix(value, member, upstream, &URI_SEPARATOR.to_string());
    }
    for list in [
        "resources",
        "resourceTemplates",
        "contents",
        "content",
        "messages",
    ] {
        for item in items(value, list) {
            rename_uris(item, upstream);
        }
    }
    // Embedded resources, and a prompt message's single content.
    for member in ["resource", "content"] {
        if let Some(inner) = value.get_mut(member).filter(|inner| inner.is_object()) {
            rename_uris(inner, upstream);
        }
    }
}

fn items<'a>(value: &'a mut Value, list: &str) -> impl Iterator<Item = &'a mut Value> {
    value
        .get_mut(list)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn prefix(value: &mut Value, member: &str, upstream: &str, separator: &str) {
    if let Some(Value::String(text)) = value.get_mut(member) {
        *text = format!("{upstream}{separator}{text}");
    }
}

/// The name of a method's subject, as its envelope gives it.
pub(crate) fn subject<'a>(name: Option<&'a Cow<'_, str>>) -> Option<&'a str> {
    name.map(AsRef::as_ref)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstream::{NativeHandler, NativeRequest};
    use std::sync::Arc;

    struct Nothing;

    impl NativeHandler for Nothing {
        fn info(&self) -> ServerInfo {
            ServerInfo {
                capabilities: json!({"tools": {"listChanged": false}}),
                server_info: json!({"name": "n", "version": "1"}),
                instructions: None,
            }
        }

        fn handle(&self, request: &NativeRequest<'_>) -> Result<Vec<u8>, Problem> {
            Err(unknown_method(request.method))
        }
    }

    fn federation(names: &[&str]) -> Result<Federation, FederationError> {
        let upstream =
            |name: &&str| Upstream::from_native(name.parse().expect("a name"), Arc::new(Nothing));
        Federation::new(names.iter().map(upstream).collect())
    }

    #[test]
    fn names_must_differ() {
        assert_eq!(federation(&[]).err(), Some(FederationError::Empty));
        assert_eq!(
            federation(&["a", "a"]).err(),
            Some(FederationError::Duplicate("a".into()))
        );
    }

    #[test]
    fn one_upstream_is_passed_through() {
        let one = federation(&["a"]).expect("one");
        assert_eq!(
            one.destination("tools/call", Some("b__x")),
            Ok(Destination::One(0, None))
        );
        assert_eq!(
            one.destination("tools/list", None),
            Ok(Destination::One(0, None))
        );
        assert_eq!(
            one.destination("anything/new", None),
            Ok(Destination::One(0, None))
        );
    }

    #[test]
    fn several_are_told_apart_by_name() {
        let two = federation(&["a", "b"]).expect("two");
        let to = |method, name| two.destination(method, name);
        assert_eq!(
            to("tools/call", Some("b__x__y")),
            Ok(Destination::One(1, Some("x__y".into())))
        );
        assert_eq!(
            to("resources/read", Some("a+demo://r+1")),
            Ok(Destination::One(0, Some("demo://r+1".into())))
        );
        assert_eq!(
            to("resources/read", Some("b+x://a__b")),
            Ok(Destination::One(1, Some("x://a__b".into())))
        );
        assert_eq!(to("tools/list", None), Ok(Destination::Merge("tools")));
        assert_eq!(to("logging/setLevel", None), Ok(Destination::Everywhere));
        assert!(matches!(
            to("tools/call", Some("c__x")),
            Err(Problem::InvalidParams { .. })
        ));
        assert!(matches!(
            to("tasks/list", None),
            Err(Problem::MethodNotFound { .. })
        ));
    }

    #[test]
    fn names_read_back_as_they_are_shown() {
        let two = federation(&["a", "b"]).expect("two");
        let mut list = json!({
            "tools": [{"name": "x"}],
            "resources": [{"uri": "demo://1"}],
            "content": [{"type": "resource", "resource": {"uri": "demo://2"}}, {"type": "text", "text": "uri"}],
        });
        two.present(1, &mut list);
        let shown = |pointer: &str| {
            list.pointer(pointer)
                .and_then(Value::as_str)
                .expect("shown")
                .to_owned()
        };
        for (pointer, inner) in [
            ("/tools/0/name", "x"),
            ("/resources/0/uri", "demo://1"),
            ("/content/0/resource/uri", "demo://2"),
        ] {
            let destination = two.destination("tools/call", Some(&shown(pointer)));
            assert_eq!(
                destination,
                Ok(Destination::One(1, Some(inner.into()))),
                "{pointer}"
            );
        }
        assert_eq!(shown("/content/1/text"), "uri");
    }

    #[test]
    fn capabilities_are_the_union() {
        let two = federation(&["a", "b"]).expect("two");
        let info = |capabilities| ServerInfo {
            capabilities,
            server_info: Value::Null,
            instructions: Some("i".into()),
        };
        let all = two.describe(&[
            info(json!({"tools": {"listChanged": false}})),
            info(json!({"tools": {"listChanged": true}, "logging": {}})),
        ]);
        assert_eq!(
            all.capabilities,
            json!({"tools": {"listChanged": true}, "logging": {}})
        );
        assert_eq!(all.instructions.as_deref(), Some("i\n\ni"));
    }
}
