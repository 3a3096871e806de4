//! How a process reaches the workers of other processes.

use std::sync::Arc;

use hexagram_edge::{Dial, WorkerAddress};

/// The address of a worker in another process, as it stands in the map.
pub(crate) fn over_tcp() -> Dial {
    Arc::new(|address| WorkerAddress::Tcp(address.to_owned()))
}
