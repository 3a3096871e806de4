//! How a process reaches the workers of other processes, and shows whether it reaches
//! its controller.

use std::sync::Arc;

use hexagram_edge::{Connector, Dial, WorkerAddress};
use hexagram_runtime::metrics::Metrics;
use hexagram_tls::LinkTls;
use tokio::sync::watch;

/// The way to a worker in another process, at its address as it stands in the map.
pub(crate) fn way(tls: Option<LinkTls>) -> Dial {
    match tls {
        Some(tls) => Arc::new(move |address| over_tls(tls.clone(), address)),
        None => Arc::new(|address| WorkerAddress::Tcp(address.to_owned())),
    }
}

fn over_tls(tls: LinkTls, address: &str) -> WorkerAddress {
    let place = address.to_owned();
    let connect = move || {
        let (tls, place) = (tls.clone(), place.clone());
        async move { tls.connect(&place).await }
    };
    WorkerAddress::By(Connector::new(address.to_owned(), connect))
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
