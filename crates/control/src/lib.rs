//! The controller of a cluster: it finds out which workers live, and writes who
//! owns which shard into the register (DESIGN sections 6 to 9).
//!
//! ```text
//! Admin.Watch of each worker -> watcher -> controller -> decide -> register
//! joins and orders over HTTP ----------->                          |
//! edges and workers <- source <- http (GET /v1/map) <--------------+
//! edges that start without a controller <- told <- Admin.Map of some workers
//! a worker that takes over by itself <- decide::inherit <- told <- Admin.Map of all others
//! ```
//!
//! It knows no Kubernetes, and nothing that already serves stops without it.

mod controller;
pub mod decide;
mod driver;
mod fleet;
mod form;
mod http;
mod introduction;
mod losses;
mod metrics;
mod overview;
mod register;
mod request;
mod sights;
mod source;
#[cfg(test)]
mod testing;
mod told;
mod visit;
mod watcher;

pub use controller::{Controller, JoinError};
pub use decide::Why;
pub use fleet::{Fleet, Held, Life, Member, NotTaken, Report};
pub use form::{FormError, MapForm};
pub use http::Api;
pub use introduction::{Introduction, Misfit};
pub use metrics::ControlMetrics;
pub use overview::{LostOverview, Overview, WorkerOverview};
pub use register::{
    MapSender, Maps, MemoryRegister, Register, RegisterError, fed, follows, goes_back,
};
pub use request::{News, OrderError, Settings, Written};
pub use sights::{Sight, Sights, ToolsSeen};
pub use source::{Ask, HttpSource, Joining, SourceError, named};
pub use told::{GoesBy, Tellers};
pub use visit::{Unheard, VisitError, Visited, visit};
