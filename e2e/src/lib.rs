//! Hexagram in a real Kubernetes cluster: installed with Helm, loaded, changed and broken
//! from outside, as people and accidents do. `cargo xtask e2e` brings the cluster and says
//! where it is; each test is a [`scenario()`], which writes its line of the report.
//!
//! ```text
//! tests/*.rs --> scenario --> Scene --> Kubectl  objects, pods, orders to Kubernetes
//!                   |        release --> Load     `hexagram bench sessions` as a child
//!                report      mishaps --> probe    fresh sessions: is full service back?
//!              evidence, logs  store --> nodes    the machines' containers: kill -9
//! ```

mod clients;
mod command;
mod evidence;
mod finally;
mod forward;
mod heat;
mod image;
mod keys;
mod kubectl;
mod load;
mod logs;
mod metrics;
mod mishaps;
mod nodes;
mod orders;
mod probe;
mod release;
mod rendered;
mod report;
mod resource_metrics;
mod scenario;
mod scene;
mod setting;
mod shards;
mod store;
mod strangers;
mod upstreams;
mod wait;

pub use clients::{Countdown, Counted, tour};
pub use finally::finally;
pub use heat::{EVEN, Evenness, HOT, Heat};
pub use kubectl::{Kubectl, Pod, Role};
pub use load::{Drive, Figures, Load, Moment};
pub use metrics::Metrics;
pub use orders::Orders;
pub use rendered::Accepted;
pub use report::{
    AVAILABLE, PROMPTLY, RECOVERY, RESUMABLE, SMALL, SOON, SOON_ONCE, UNNOTICED, Verdict, is_light,
    is_to_repeat,
};
pub use scenario::scenario;
pub use scene::{Scene, Size};
pub use setting::Setting;
pub use shards::Shards;
