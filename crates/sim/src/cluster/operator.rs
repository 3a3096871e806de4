//! Who orders moves and drains, on the controller's own machine.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::net::{Http, connect};
use super::scenario::CONTROL_PORT;
use super::scenario::Order;
use super::stage::Here;

/// An order that is not answered by then is given up.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at the clock.
const LOOK: Duration = Duration::from_millis(10);

/// Gives each order when it is due. What comes of it is seen in the register.
pub(super) async fn run(here: Here) {
    while let Some((due, order)) = here.stage.next_order() {
        if here.stage.now() < due {
            sleep(LOOK).await;
            continue;
        }
        here.stage.order_given();
        // Refused, or nobody there: nothing happens.
        let _ = timeout(PATIENCE, give(&here, &order)).await;
    }
}

async fn give(here: &Here, order: &Order) -> Option<()> {
    let (page, body) = match order {
        Order::Move { shard, to } => ("/v1/moves", json!({"shard": shard, "to": to})),
        Order::Drain(worker) => ("/v1/drains", json!({ "worker": worker })),
    };
    let request = Request::builder().method(Method::POST).uri(page);
    let request = request.body(Bytes::from(body.to_string())).ok()?;
    let wire = connect(here, "127.0.0.1", CONTROL_PORT).await.ok()?;
    let mut http = Http::over(wire).await.ok()?;
    let answer = http.send(request).await.ok()?;
    answer.into_body().collect().await.ok().map(drop)
}
