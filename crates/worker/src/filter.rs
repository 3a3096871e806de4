//! What a client wants to hear of on a subscription.

use std::collections::HashSet;

use bytes::Bytes;
use hexagram_mcp::envelope::scan;
use hexagram_mcp::error::Problem;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::raw::RawObject;
use crate::upstream::Upstream;

/// Resources that one subscription may name.
const MAX_RESOURCES: usize = 1_000;

/// The kinds of change of `subscriptions/listen` (MCP 2026-07-28,
/// "Subscriptions"); kinds unknown here are not accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Filter {
    #[serde(skip_serializing_if = "is_false")]
    tools_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    prompts_list_changed: bool,
    #[serde(skip_serializing_if = "is_false")]
    resources_list_changed: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    resource_subscriptions: Vec<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde's skip_serializing_if gives a reference"
)]
fn is_false(flag: &bool) -> bool {
    !flag
}

impl Filter {
    /// The filter in the raw `params` of a request.
    pub(crate) fn of(params: Option<&[u8]>) -> Result<Self, Problem> {
        #[derive(Deserialize)]
        struct Params {
            // Not the filter itself: serde reads a struct from an array too.
            notifications: Map<String, Value>,
        }
        let params: Params = serde_json::from_slice(params.unwrap_or(b"{}")).map_err(invalid)?;
        let filter = Value::Object(params.notifications);
        let filter: Self = serde_json::from_value(filter).map_err(invalid)?;
        match filter.resource_subscriptions.len() {
            0..=MAX_RESOURCES => Ok(filter),
            many => Err(Problem::InvalidParams {
                detail: format!(
                    "resourceSubscriptions names {many} resources, at most {MAX_RESOURCES} are allowed"
                ),
            }),
        }
    }

    /// All lists, and these resources.
    pub(crate) fn all(resources: Vec<String>) -> Self {
        Self {
            tools_list_changed: true,
            prompts_list_changed: true,
            resources_list_changed: true,
            resource_subscriptions: resources,
        }
    }

    /// The resources named.
    pub(crate) fn resources(&self) -> &[String] {
        &self.resource_subscriptions
    }

    /// The same kinds with other resources.
    pub(crate) fn with_resources(&self, resources: Vec<String>) -> Self {
        Self {
            resource_subscriptions: resources,
            ..*self
        }
    }

    /// What of it a server with these capabilities tells.
    pub(crate) fn supported_by(self, capabilities: &Value) -> Self {
        let has = |pointer| capabilities.pointer(pointer).is_some_and(|on| on == true);
        Self {
            tools_list_changed: self.tools_list_changed && has("/tools/listChanged"),
            prompts_list_changed: self.prompts_list_changed && has("/prompts/listChanged"),
            resources_list_changed: self.resources_list_changed && has("/resources/listChanged"),
            resource_subscriptions: match has("/resources/subscribe") {
                true => self.resource_subscriptions,
                false => Vec::new(),
            },
        }
    }

    /// What of it this upstream tells, by what is known of it.
    pub(crate) fn told_by(self, upstream: &Upstream) -> Self {
        let known = upstream.known_info();
        let capabilities = known.map(|known| known.capabilities.clone());
        self.supported_by(&capabilities.unwrap_or_default())
    }

    /// Both together.
    pub(crate) fn join(&mut self, other: Self) {
        self.tools_list_changed |= other.tools_list_changed;
        self.prompts_list_changed |= other.prompts_list_changed;
        self.resources_list_changed |= other.resources_list_changed;
        let known: HashSet<_> = self.resource_subscriptions.iter().collect();
        let mut new = other.resource_subscriptions;
        // An upstream that comes back agrees to the same once more.
        new.retain(|uri| !known.contains(uri));
        self.resource_subscriptions.extend(new);
    }

    /// Whether this message is a notification that belongs to it.
    pub(crate) fn admits(&self, message: &[u8]) -> bool {
        let Ok(envelope) = scan(message) else {
            return false;
        };
        let uri = envelope.params.and_then(RawObject::parse);
        let uri = uri.and_then(|params| params.text("uri"));
        let method = envelope.method.as_deref().unwrap_or_default();
        self.wants(method, uri.as_deref())
    }

    /// Whether this notification belongs to it; `uri` is that of the resource.
    fn wants(&self, method: &str, uri: Option<&str>) -> bool {
        match method {
            "notifications/tools/list_changed" => self.tools_list_changed,
            "notifications/prompts/list_changed" => self.prompts_list_changed,
            "notifications/resources/list_changed" => self.resources_list_changed,
            "notifications/resources/updated" => uri.is_some_and(|uri| {
                self.resource_subscriptions
                    .iter()
                    .any(|known| covers(known, uri))
            }),
            _ => false,
        }
    }

    /// The changes that may have been missed while nobody listened: hints that
    /// do no harm when nothing changed.
    pub(crate) fn hints(&self) -> Vec<Bytes> {
        let lists = [
            (self.tools_list_changed, "tools"),
            (self.prompts_list_changed, "prompts"),
            (self.resources_list_changed, "resources"),
        ];
        let lists = lists.into_iter().filter(|(on, _)| *on).map(|(_, list)| {
            let method = format!("notifications/{list}/list_changed");
            serde_json::json!({"jsonrpc": "2.0", "method": method})
        });
        let resources = self.resource_subscriptions.iter().map(|uri| {
            let method = "notifications/resources/updated";
            serde_json::json!({"jsonrpc": "2.0", "method": method, "params": {"uri": uri}})
        });
        let hints = lists.chain(resources);
        hints.map(|hint| hint.to_string().into()).collect()
    }
}

/// Whether `uri` is the resource `known` or one below it: an update may name a
/// sub-resource of what was subscribed to (`ResourceUpdatedNotification`).
fn covers(known: &str, uri: &str) -> bool {
    uri.strip_prefix(known).is_some_and(|rest| {
        rest.is_empty() || known.ends_with('/') || rest.starts_with(['/', '?', '#'])
    })
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err wants")]
fn invalid(error: serde_json::Error) -> Problem {
    Problem::InvalidParams {
        detail: format!("subscriptions/listen: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn filter(notifications: &Value) -> Result<Filter, Problem> {
        let params = json!({"notifications": notifications}).to_string();
        Filter::of(Some(params.as_bytes()))
    }

    #[test]
    fn a_filter_reads_what_it_knows() {
        let read = filter(&json!({"toolsListChanged": true, "news": [1]})).expect("a filter");
        assert!(read.wants("notifications/tools/list_changed", None));
        assert!(!read.wants("notifications/prompts/list_changed", None));
        let shown = serde_json::to_value(&read).expect("JSON");
        assert_eq!(shown, json!({"toolsListChanged": true}));
    }

    #[test]
    fn who_agrees_to_the_same_again_adds_nothing() {
        let of = |resources: &[&str]| {
            let resources = resources.iter().map(|uri| (*uri).to_owned());
            Filter::default().with_resources(resources.collect())
        };
        let mut agreed = of(&["x:1", "x:2"]);
        agreed.join(of(&["x:2", "x:3"]));
        agreed.join(Filter::all(vec!["x:1".to_owned()]));
        assert_eq!(
            agreed,
            Filter::all(of(&["x:1", "x:2", "x:3"]).resource_subscriptions)
        );
    }

    #[test]
    fn what_is_no_filter_is_refused() {
        for bad in [json!([]), json!({"toolsListChanged": "yes"}), json!(7)] {
            assert!(filter(&bad).is_err(), "{bad}");
        }
        assert!(Filter::of(None).is_err());
        let many: Vec<_> = (0..=MAX_RESOURCES).map(|n| format!("x:{n}")).collect();
        let refused = filter(&json!({"resourceSubscriptions": many}));
        assert!(refused.is_err_and(|problem| problem.to_string().contains("at most 1000")));
    }

    #[test]
    fn only_named_resources_count() {
        let read = filter(&json!({"resourceSubscriptions": ["x:1"]})).expect("a filter");
        let updated = "notifications/resources/updated";
        assert!(read.wants(updated, Some("x:1")));
        assert!(!read.wants(updated, Some("x:2")) && !read.wants(updated, Some("x:12")));
        assert!(read.wants(updated, Some("x:1/sub")));
        assert!(!read.wants(updated, None));
        let hint: Value = serde_json::from_slice(&read.hints()[0]).expect("JSON");
        assert_eq!(hint["params"]["uri"], "x:1");
    }

    #[test]
    fn capabilities_limit_it_and_several_join() {
        let all = json!({
            "toolsListChanged": true,
            "promptsListChanged": true,
            "resourcesListChanged": true,
            "resourceSubscriptions": ["x:1"],
        });
        let all = filter(&all).expect("a filter");
        let tools = json!({"tools": {"listChanged": true}, "prompts": {}});
        let mut known = all.clone().supported_by(&tools);
        assert_eq!(
            serde_json::to_value(&known).expect("JSON"),
            json!({"toolsListChanged": true})
        );
        known.join(all.supported_by(&json!({"resources": {"subscribe": true}})));
        assert_eq!(known.resources(), ["x:1"]);
        assert_eq!(known.hints().len(), 2);
    }
}
