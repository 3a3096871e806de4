//! Hexagram in Kubernetes (DESIGN sections 6 and 9b): the shard map as an object, and the
//! operator that writes it.
//!
//! ```text
//! pods of the workers -> pods -> control::Controller -> register -> ShardMap (API server)
//! ShardMap -> source -> edges and workers
//! ```
//!
//! The controller is `hexagram-control`'s, as in a process cluster; here are a register and
//! a way to find workers. Nothing that serves stops while the API server or the operator
//! is away.

mod client;
mod cost;
mod form;
mod heir;
mod key_ring;
mod kind;
mod lease;
mod link_certs;
mod listing;
mod operator;
mod pace;
mod pods;
mod register;
mod repair;
mod rollout;
mod said;
mod secret;
mod shard_map;
mod sight;
mod source;
mod story;
mod tasks;
#[cfg(test)]
mod testing;
mod trouble;
mod upstream;
mod upstream_endpoint;
mod upstream_files;
mod upstream_names;
mod upstream_secret;
mod upstream_status;
mod upstreams;
mod visits;

pub use client::{ConnectError, Place};
pub use heir::Heir;
pub use key_ring::{KeyMetrics, KeySettings, KeyTimes};
pub use link_certs::LinkSecrets;
pub use operator::{Ended, Leading, Operator, Settings, Standing};
pub use register::KubeRegister;
pub use shard_map::{
    MoveEntry, ShardEntry, ShardMap, ShardMapSpec, ShardMapStatus, Summary, WorkerEntry, crds,
};
pub use source::MapSource;
pub use upstream::{
    EraChoice, HeaderEntry, RetryChoice, Scheme, SecretKey, ServiceRef, TimeoutSeconds, Upstream,
    UpstreamSpec, UpstreamStatus,
};
