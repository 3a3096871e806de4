//! Built-in servers: something that works before anything is configured.

mod conformance;
mod echo;
mod tour;

use std::sync::Arc;

use clap::ValueEnum;
use hexagram_worker::{Changes, Upstream, UpstreamName, handler, handler_without_tasks};

/// Which built-in server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DemoKind {
    /// Tools, a resource and a prompt to look around with; an rmcp handler.
    Tour,
    /// One tool, `echo`, answered on the raw message; what `bench` measures.
    Echo,
    /// What the MCP conformance suite asks of a server.
    Conformance,
}

/// The built-in server as an upstream; it tells its changes on the bus. `tasks`
/// is whether this process may promise to keep them.
pub(crate) fn upstream(kind: DemoKind, changes: &Changes, tasks: bool) -> Arc<Upstream> {
    let name: UpstreamName = "demo".parse().expect("a literal name");
    Arc::new(match kind {
        DemoKind::Tour => Upstream::from_handler(name, handler(|| tour::Tour)),
        DemoKind::Conformance => {
            let factory = conformance::factory(changes.clone());
            let factory = match tasks {
                true => handler(factory),
                false => handler_without_tasks(factory),
            };
            Upstream::from_handler(name, factory)
        }
        DemoKind::Echo => Upstream::from_native(name, Arc::new(echo::Echo)),
    })
}
