//! The kind `Upstream`: an MCP server that the cluster of its namespace serves.

#![expect(
    unreachable_pub,
    reason = "the derive repeats each type inside a function"
)]
#![expect(
    clippy::duplicated_attributes,
    reason = "columns have their types in common"
)]

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The condition that says whether an upstream is among those that workers are given.
pub(crate) const ACCEPTED: &str = "Accepted";
/// The condition that says whether it answers them.
pub(crate) const REACHABLE: &str = "Reachable";

/// Where it is and what it is sent.
#[derive(
    CustomResource, KubeSchema, Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize,
)]
#[kube(
    group = "hexagram.dev",
    version = "v1alpha1",
    kind = "Upstream",
    plural = "upstreams",
    shortname = "hexup",
    namespaced,
    status = "UpstreamStatus",
    derive = "PartialEq",
    doc = "An MCP server that the Hexagram cluster of this namespace serves, under the object's name or its prefix: 1 to 32 of a-z, 0-9 and -, a letter first. Objects may come, change and go at any time.",
    annotation("helm.sh/resource-policy", "keep"),
    printcolumn(name = "URL", type_ = "string", json_path = ".spec.url"),
    printcolumn(name = "Service", type_ = "string", json_path = ".spec.service.name"),
    printcolumn(
        name = "Accepted",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].status"
    ),
    printcolumn(
        name = "Reachable",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Reachable\")].status"
    ),
    printcolumn(name = "Era", type_ = "string", json_path = ".status.era"),
    printcolumn(name = "Tools", type_ = "integer", json_path = ".status.tools"),
    printcolumn(
        name = "Reason",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Accepted\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "Prefix",
        type_ = "string",
        json_path = ".spec.prefix",
        priority = 1
    ),
    printcolumn(
        name = "Age",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[x_kube(validation = Rule::new("has(self.url) != has(self.service)").message("exactly one of url and service says where the server is"))]
#[serde(rename_all = "camelCase")]
pub struct UpstreamSpec {
    /// A Streamable HTTP endpoint, http:// or https://.
    #[schemars(length(min = 1, max = 2048))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// A Service of this cluster, in place of the URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service: Option<ServiceRef>,
    /// The name that its tools, prompts and resources have before their own where there are
    /// several upstreams; without it the object's name. Another prefix is another upstream to
    /// clients.
    #[schemars(length(min = 1, max = 32), regex(pattern = r"^[a-z][a-z0-9-]*$"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Which tool calls run again when the worker that had them is lost: those that their
    /// tool declares harmless, or none. Without it as the workers' settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry: Option<RetryChoice>,
    /// What it speaks: auto finds out by asking, legacy and modern are believed. Without it as
    /// the workers' settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub era: Option<EraChoice>,
    /// How long it is waited for; what is absent is as the workers' settings say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeouts: Option<TimeoutSeconds>,
    /// What each request carries beside the protocol's own headers.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["name".into()]))]
    #[schemars(length(max = 32))]
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<HeaderEntry>,
}

/// A port of a Service, and what is behind it.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceRef {
    /// The Service's name.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    pub name: String,
    /// The Service's namespace; without it the object's own.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// The Service's port, as a number: names of ports are not looked up.
    #[schemars(range(min = 1, max = 65535))]
    pub port: u16,
    /// The endpoint's path; without it /mcp.
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = r"^/[A-Za-z0-9/._~%!$&'()*+,;=:@?-]*$")
    )]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Whether it is asked over TLS; without it http.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scheme: Option<Scheme>,
}

/// How an endpoint is asked.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheme {
    /// In the clear.
    Http,
    /// Over TLS; the certificate has to be for NAME.NAMESPACE.svc.
    Https,
}

/// Which tool calls run again.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryChoice {
    /// Those whose tool declares `readOnlyHint` or `idempotentHint`.
    Declared,
    /// None.
    Never,
}

/// How it is known what an upstream speaks.
#[derive(JsonSchema, Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EraChoice {
    /// It is asked.
    Auto,
    /// Sessions (2024-11-05 to 2025-11-25), and it is asked for nothing else.
    Legacy,
    /// Requests without a session (2026-07-28), and it is asked for nothing else.
    Modern,
}

/// How long an upstream is waited for, in seconds.
#[derive(KubeSchema, Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TimeoutSeconds {
    /// For a connection.
    #[schemars(range(min = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect: Option<u32>,
    /// For it to introduce itself; some start slowly.
    #[schemars(range(min = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handshake: Option<u32>,
    /// For each sign of life while it works on a request; progress begins it anew.
    #[schemars(range(min = 1))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence: Option<u32>,
}

/// A header with its value in a Secret.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HeaderEntry {
    /// The header's name, such as authorization.
    #[schemars(length(min = 1, max = 128))]
    pub name: String,
    /// Where its whole value is, such as "Bearer KEY".
    pub secret_key_ref: SecretKey,
}

/// A key of a Secret in the same namespace.
#[derive(KubeSchema, Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretKey {
    /// The Secret, which the operator has to be allowed to read.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
    /// The key in it.
    #[schemars(length(min = 1, max = 253))]
    pub key: String,
}

/// What became of it. All but the condition Accepted is what the workers said last.
#[derive(KubeSchema, Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpstreamStatus {
    /// Whether it answers any of the workers, as of when they used it last; absent while
    /// none has asked it.
    #[serde(default)]
    pub reachable: Option<bool>,
    /// What it speaks: legacy, modern or both.
    #[serde(default)]
    pub era: Option<String>,
    /// How many tools it had when a worker saw the whole list of them last.
    #[serde(default)]
    pub tools: Option<u32>,
    /// Accepted: it is among those that workers are given, or why not. Reachable: it answers
    /// them, or why not.
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    #[schemars(length(max = 8))]
    #[serde(default)]
    pub conditions: Vec<Condition>,
}

impl UpstreamStatus {
    pub(crate) fn condition(&self, type_: &str) -> Option<&Condition> {
        self.conditions.iter().find(|one| one.type_ == type_)
    }
}
