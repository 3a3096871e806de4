//! How a process reaches the workers of other processes, and shows whether it reaches
//! its controller.

use std::sync::Arc;

use hexagram_edge::{Dial, WorkerAddress};
use hexagram_runtime::metrics::Metrics;
use tokio::sync::watch;

/// The address of a worker in another process, as it stands in the map.
pub(crate) fn over_tcp() -> Dial {
    Arc::new(|address| WorkerAddress::Tcp(address.to_owned()))
}

/// Shows among `metrics` whether the controller answers, for as long as it is followed.
pub(crate) fn show_reached(metrics: &Metrics, mut reached: watch::Receiver<bool>) {
    let gauge = metrics.gauge(
        "hexagram_controller_reached",
        "Whether the controller, or its ShardMap, answered when it was asked last.",
    );
    tokio::spawn(async move {
        loop {
            gauge.set(i64::from(*reached.borrow_and_update()));
            if reached.changed().await.is_err() {
                return;
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_controller_that_is_lost_is_shown() {
        let (metrics, reached) = (Metrics::new(), watch::Sender::new(true));
        show_reached(&metrics, reached.subscribe());
        for (now, line) in [(true, "reached 1"), (false, "reached 0")] {
            reached.send_replace(now);
            while !metrics
                .encode()
                .contains(&format!("hexagram_controller_{line}\n"))
            {
                tokio::task::yield_now().await;
            }
        }
    }
}
