//! One server out of several upstreams (DESIGN 5b): which upstream a message
//! is for, and under which names clients see its tools, prompts and resources.
//!
//! With one upstream everything passes untouched. With more, tools and prompts
//! are `<upstream>__<name>` and resources `<upstream>+<uri>`: both can be read
//! back without a table, so they survive moves and restarts.

use std::collections::HashSet;
use std::sync::Arc;

use bytes::Bytes;
use hexagram_core::Era;
use hexagram_mcp::error::Problem;
use serde_json::{Value, json};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::list_cache::Asked;
use crate::meter::{Meter, UnderWay, UpstreamStatus};
use crate::metrics::WorkerMetrics;
use crate::raw::RawObject;
use crate::upstream::{ServerInfo, Upstream, UpstreamError};

const NAME_SEPARATOR: &str = "__";
const URI_SEPARATOR: &str = "+";

/// The upstreams of a worker, in the order of the command line; none while a folder
/// has none. It never changes: another one takes its place (ADR 0010). An index
/// means something in one federation only; what outlives a request knows upstreams
/// by their ids.
pub(crate) struct Federation {
    upstreams: Vec<Arc<Upstream>>,
    // By index, as the upstreams.
    meters: Vec<Meter>,
}

/// Upstreams that do not go together.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum FederationError {
    /// A native handler beside others.
    #[error("{0} is a native handler: it cannot be served beside other upstreams")]
    NativeBesideOthers(String),
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
    pub(crate) fn new(
        upstreams: Vec<Arc<Upstream>>,
        metrics: &WorkerMetrics,
    ) -> Result<Self, FederationError> {
        check(&upstreams)?;
        let meter = |upstream: &Arc<Upstream>| Meter::new(metrics, upstream.name());
        Ok(Self {
            meters: upstreams.iter().map(meter).collect(),
            upstreams,
        })
    }

    pub(crate) fn all(&self) -> &[Arc<Upstream>] {
        &self.upstreams
    }

    pub(crate) fn get(&self, index: usize) -> &Arc<Upstream> {
        &self.upstreams[index]
    }

    /// What is known and was counted of each upstream.
    pub(crate) fn status(&self) -> Vec<UpstreamStatus> {
        let all = self.upstreams.iter().zip(&self.meters);
        all.map(|(upstream, meter)| meter.status(upstream.health()))
            .collect()
    }

    /// Counts a request that is answered here and now.
    pub(crate) fn count(&self, index: usize) {
        self.meters[index].count();
    }

    /// Marks and counts a request under way at an upstream.
    pub(crate) fn start(&self, index: usize) -> InUse<'_> {
        InUse {
            _counted: self.meters[index].start(),
            _in_use: self.upstreams[index].in_use(),
        }
    }

    /// Counts a failure to use an upstream.
    pub(crate) fn count_failure(&self, upstream: &Upstream, error: &UpstreamError) {
        upstream.failed(error);
        if let Some(index) = self.index_of(upstream.name()) {
            self.meters[index].failed(error);
        }
    }

    /// What an upstream lets us keep of this page; counted.
    pub(crate) fn listed(&self, upstream: &Upstream, asked: &Asked) -> Option<Bytes> {
        let found = upstream.listed(asked);
        if let Some(index) = self.index_of(upstream.name()) {
            self.meters[index].listed(found.is_some());
        }
        found
    }

    /// The position of the upstream called `name`.
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

    /// Whether clients of `era` know tasks by names of ours. A legacy client of a
    /// single upstream knows them as the upstream does, like all else there.
    pub(crate) fn names_tasks(&self, era: Era) -> bool {
        era == Era::Modern || self.single().is_none()
    }

    /// Where a request with this method and name or URI goes.
    pub(crate) fn destination(
        &self,
        method: &str,
        name: Option<&str>,
    ) -> Result<Destination, Problem> {
        if self.single().is_some() {
            return Ok(Destination::One(0, None));
        }
        if method == "logging/setLevel" {
            return Ok(Destination::Everywhere);
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
    pub(crate) fn describe(&self, infos: &[Arc<ServerInfo>]) -> Arc<ServerInfo> {
        if let (Some(_), [only]) = (self.single(), infos) {
            return Arc::new(ServerInfo {
                capabilities: with_changing_lists(only.capabilities.clone()),
                ..ServerInfo::clone(only)
            });
        }
        let mut capabilities = match self.upstreams.is_empty() {
            // Whoever comes now is told of what comes later.
            true => json!({"tools": {}, "prompts": {}, "resources": {}}),
            false => json!({}),
        };
        for info in infos {
            merge(&mut capabilities, &info.capabilities);
        }
        Arc::new(ServerInfo {
            capabilities: with_changing_lists(capabilities),
            server_info: json!({"name": "hexagram", "version": env!("CARGO_PKG_VERSION")}),
            instructions: join_instructions(infos),
        })
    }

    /// An upstream's message with its names the way clients see them.
    pub(crate) fn present(&self, upstream: &Upstream, message: Bytes) -> Bytes {
        if self.single().is_some() || memchr::memmem::find(&message, b"\"uri").is_none() {
            return message;
        }
        let Some(mut object) = RawObject::parse(&message) else {
            return message;
        };
        for part in ["result", "params"] {
            object.edit(part, |part| rename_uris(part, upstream.name()));
        }
        serde_json::to_vec(&object).map_or(message, Bytes::from)
    }

    /// The items of an upstream's list, named the way clients see them.
    pub(crate) fn present_list(upstream: &Upstream, result: &mut RawObject) {
        let upstream = upstream.name();
        for list in ["tools", "prompts"] {
            result.edit_items(list, |item| prefix(item, "name", upstream, NAME_SEPARATOR));
        }
        rename_uris(result, upstream);
    }
}

/// A request under way at an upstream; dropped, it is over.
pub(crate) struct InUse<'a> {
    _counted: UnderWay<'a>,
    _in_use: TaskTrackerToken,
}

fn check(upstreams: &[Arc<Upstream>]) -> Result<(), FederationError> {
    let mut names = HashSet::new();
    for upstream in upstreams {
        if !names.insert(upstream.name()) {
            return Err(FederationError::Duplicate(upstream.name().to_owned()));
        }
    }
    let native = upstreams
        .iter()
        .find(|upstream| upstream.native().is_some());
    match native {
        Some(native) if upstreams.len() > 1 => Err(FederationError::NativeBesideOthers(
            native.name().to_owned(),
        )),
        _ => Ok(()),
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
        "tasks/list" => Some("tasks"),
        _ => None,
    }
}

/// Lists change when the upstreams do, whatever these say of themselves.
fn with_changing_lists(mut capabilities: Value) -> Value {
    for list in ["tools", "prompts", "resources"] {
        if let Some(Value::Object(list)) = capabilities.get_mut(list) {
            list.insert("listChanged".to_owned(), Value::Bool(true));
        }
    }
    capabilities
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
        (_, Value::Null) => {}
        (into, from) => *into = from.clone(),
    }
}

fn join_instructions(infos: &[Arc<ServerInfo>]) -> Option<String> {
    let all: Vec<_> = infos
        .iter()
        .filter_map(|info| info.instructions.as_deref())
        .collect();
    (!all.is_empty()).then(|| all.join("\n\n"))
}

/// Prefixes URIs everywhere MCP puts one.
fn rename_uris(object: &mut RawObject, upstream: &str) {
    for member in ["uri", "uriTemplate"] {
        prefix(object, member, upstream, URI_SEPARATOR);
    }
    for list in [
        "resources",
        "resourceTemplates",
        "contents",
        "content",
        "messages",
    ] {
        object.edit_items(list, |item| rename_uris(item, upstream));
    }
    // Embedded resources, and a prompt message's single content.
    for member in ["resource", "content"] {
        object.edit(member, |inner| rename_uris(inner, upstream));
    }
}

fn prefix(object: &mut RawObject, member: &str, upstream: &str, separator: &str) {
    if let Some(text) = object.text(member) {
        object.set(member, &format!("{upstream}{separator}{text}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use hexagram_runtime::metrics::Metrics;

    use crate::upstream::{ChildLimit, UpstreamLimits};

    const LIMITS: UpstreamLimits = UpstreamLimits {
        connect: Duration::from_secs(1),
        handshake: Duration::from_secs(1),
        silence: Duration::from_secs(1),
        max_message: 1 << 20,
    };

    fn federation(names: &[&str]) -> Result<Federation, FederationError> {
        let upstream = |name: &&str| {
            let spec = format!("{name}=http://127.0.0.1:1/mcp")
                .parse()
                .expect("a spec");
            let upstream = Upstream::from_spec(spec, LIMITS, &ChildLimit::new(0));
            Arc::new(upstream.expect("an upstream"))
        };
        let metrics = WorkerMetrics::register(&Metrics::new());
        Federation::new(names.iter().map(upstream).collect(), &metrics)
    }

    #[test]
    fn names_must_differ() {
        assert_eq!(
            federation(&["a", "a"]).err(),
            Some(FederationError::Duplicate("a".into()))
        );
    }

    #[test]
    fn without_upstreams_lists_are_empty_and_may_change() {
        let none = federation(&[]).expect("none is enough");
        let to = |method, name| none.destination(method, name);
        assert_eq!(to("tools/list", None), Ok(Destination::Merge("tools")));
        let called = to("tools/call", Some("a__x"));
        assert!(matches!(called, Err(Problem::InvalidParams { .. })));
        let described = none.describe(&[]);
        for list in ["tools", "prompts", "resources"] {
            let says = &described.capabilities[list]["listChanged"];
            assert_eq!(says, &Value::Bool(true), "{list}");
        }
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
        assert_eq!(to("tasks/list", None), Ok(Destination::Merge("tasks")));
        assert!(matches!(
            to("anything/new", None),
            Err(Problem::MethodNotFound { .. })
        ));
    }

    #[test]
    fn names_read_back_as_they_are_shown() {
        let two = federation(&["a", "b"]).expect("two");
        let list = br#"{"tools":[{"name":"x"}],"resources":[{"uri":"demo://1"}]}"#;
        let mut list = RawObject::parse(list).expect("a result");
        Federation::present_list(two.get(1), &mut list);
        let shown = serde_json::to_string(&list).expect("text");
        assert_eq!(
            shown,
            r#"{"tools":[{"name":"b__x"}],"resources":[{"uri":"b+demo://1"}]}"#
        );
        for (shown, inner) in [("b__x", "x"), ("b+demo://1", "demo://1")] {
            let destination = two.destination("tools/call", Some(shown));
            assert_eq!(destination, Ok(Destination::One(1, Some(inner.into()))));
        }
    }

    #[test]
    fn only_uris_of_a_result_are_renamed() {
        let two = federation(&["a", "b"]).expect("two");
        let present = |text: &str| two.present(two.get(0), Bytes::copy_from_slice(text.as_bytes()));
        let plain = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"type":"text","text":"\"uri\""}],"n":1.10}}"#;
        assert_eq!(present(plain), plain);
        let linked = r#"{"jsonrpc":"2.0","id":1,"result":{"content":[{"resource":{"uri":"d://1"}}],"n":1.10}}"#;
        assert_eq!(present(linked), linked.replace("d://1", "a+d://1"));
        let one = federation(&["a"]).expect("one");
        let linked = Bytes::from(linked);
        assert_eq!(one.present(one.get(0), linked.clone()), linked);
    }

    #[test]
    fn capabilities_are_the_union() {
        let two = federation(&["a", "b"]).expect("two");
        let info = |capabilities| {
            Arc::new(ServerInfo {
                capabilities,
                server_info: Value::Null,
                instructions: Some("i".into()),
            })
        };
        let all = two.describe(&[
            info(json!({"tools": {"listChanged": false}, "tasks": {"list": {}}})),
            info(json!({"tools": {"listChanged": true}, "logging": {}})),
        ]);
        assert_eq!(
            all.capabilities,
            json!({"tools": {"listChanged": true}, "tasks": {"list": {}}, "logging": {}})
        );
        assert_eq!(all.instructions.as_deref(), Some("i\n\ni"));
        let one = federation(&["a"]).expect("one");
        let all = one.describe(&[info(json!({"prompts": {}, "x": {"y": 1.5}}))]);
        assert_eq!(
            all.capabilities,
            json!({"prompts": {"listChanged": true}, "x": {"y": 1.5}})
        );
    }
}
