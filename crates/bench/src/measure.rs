//! One run: drive a plan, count, and take the servers' CPU time around it.

use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::fleet::{Fleet, Plan};
use crate::process;
use crate::progress;
use crate::tally::{SharedTally, Tally};

/// What one run came to.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) tally: Tally,
    /// From the start to the last answer.
    pub(crate) elapsed: Duration,
    /// CPU time of the server processes; none when none was named.
    pub(crate) cpu: Option<Duration>,
}

impl Measured {
    /// Answered calls per second.
    pub(crate) fn rate(&self) -> f64 {
        match self.elapsed.as_secs_f64() {
            0.0 => 0.0,
            seconds => self.tally.answered() as f64 / seconds,
        }
    }

    /// Microseconds of server CPU per answered call.
    pub(crate) fn cpu_micros_per_call(&self) -> Option<f64> {
        let calls = self.tally.answered();
        let micros = self.cpu?.as_secs_f64() * 1e6;
        (calls > 0).then(|| micros / calls as f64)
    }
}

/// Runs `plan` over `fleet`, with a progress bar named `label`.
pub(crate) async fn measure(
    label: &str,
    fleet: &mut Fleet,
    plan: Plan,
    pids: &[u32],
) -> anyhow::Result<Measured> {
    let tally = SharedTally::default();
    let before = process::cpu_time(pids)?;
    let start = Instant::now();
    progress::shown(label, plan.length, &tally, fleet.run(plan, &tally)).await;
    let cpu = process::cpu_time(pids)?.saturating_sub(before);
    let tally = std::mem::take(&mut *Mutex::lock(&tally));
    Ok(Measured {
        elapsed: tally.last().map_or(Duration::ZERO, |last| last - start),
        tally,
        cpu: (!pids.is_empty()).then_some(cpu),
    })
}
