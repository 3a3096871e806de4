//! Hexagram in a real Kubernetes cluster: installed with Helm, loaded, changed and broken
//! from outside, as people and accidents do. `cargo xtask e2e` brings the cluster and says
//! where it is; each test is a [`scenario()`], which writes its line of the report.
//!
//! ```text
//! tests/*.rs --> scenario --> Scene --> Kubectl  objects, pods, orders to Kubernetes
//!                   |               --> Load     `hexagram bench sessions` as a child
//!                report             --> probe    fresh sessions: is full service back?
//!              evidence, logs       --> nodes    the machines' containers: kill -9
//! ```

mod clients;
mod command;
mod evidence;
mod kubectl;
mod load;
mod logs;
mod nodes;
mod probe;
mod report;
mod scenario;
mod scene;
mod setting;
mod shards;
mod wait;

pub use clients::tour;
pub use kubectl::{Kubectl, Pod, Role};
pub use load::{Figures, Load};
pub use report::Verdict;
pub use scenario::scenario;
pub use scene::Scene;
pub use setting::Setting;
pub use shards::Shards;
