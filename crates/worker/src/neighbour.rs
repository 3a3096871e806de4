//! Another worker that had a shard before, or has it now.

use hexagram_proto::handoff::Move;
use hexagram_proto::handoff::handoff_client::HandoffClient;
use hexagram_proto::{WorkerAddress, innermost};
use tokio::sync::OnceCell;
use tonic::Status;
use tonic::transport::Channel;

/// A worker on the other side of a move.
pub(crate) struct Neighbour {
    /// The move by which it gave or got the shard.
    pub(crate) named: Move,
    address: WorkerAddress,
    channel: OnceCell<HandoffClient<Channel>>,
}

impl Neighbour {
    pub(crate) fn new(named: Move, address: WorkerAddress) -> Self {
        Self {
            named,
            address,
            channel: OnceCell::new(),
        }
    }

    /// The way to it, dialled once.
    ///
    /// # Errors
    /// Where it is out of reach now.
    pub(crate) async fn client(&self) -> Result<HandoffClient<Channel>, Status> {
        let client = self.channel.get_or_try_init(|| self.dial()).await?;
        Ok(client.clone())
    }

    async fn dial(&self) -> Result<HandoffClient<Channel>, Status> {
        let dialled = self.address.dial().await;
        let channel = dialled.map_err(|error| Status::unavailable(innermost(&error)))?;
        Ok(HandoffClient::new(channel))
    }
}
