//! When it is measured how busy the shards keep this worker.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::busy::Threads;
use crate::host::Host;

/// Between two measurements.
const SAMPLE: Duration = Duration::from_secs(1);

/// Measures each second, for as long as this worker lives.
pub(crate) async fn measure(host: Arc<Host>) {
    let Some(busy) = &host.busy else {
        return;
    };
    let mut ticks = interval(SAMPLE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut threads) = (Instant::now(), Threads::default());
    loop {
        let now = ticks.tick().await;
        let is_served = |shard| host.place_of(shard).shard().is_some();
        busy.sample(&mut threads, now - before, is_served);
        before = now;
    }
}
