//! What people say of an upstream: its name, where it is, what it is sent, what it speaks and
//! whether its calls may run again. On the command line, in a file of a folder, or in
//! Kubernetes.

mod era;
mod file;
mod folder;
mod retry;
mod rule;
mod spec;

pub use era::{EraRule, EraSetting};
pub use file::{Timeouts, UpstreamFile, UpstreamText};
pub use folder::{UpstreamFileError, UpstreamFolder};
pub use retry::{Retry, RetryRule};
pub use rule::Rule;
pub use spec::{UpstreamName, UpstreamSpec, UpstreamTarget};
