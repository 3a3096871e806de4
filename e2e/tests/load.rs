//! The load test that users run: `cargo xtask e2e --load`.

use hexagram_e2e::{Load, UNNOTICED, Verdict, scenario};

#[tokio::test]
async fn many_clients_are_served() {
    scenario("load", UNNOTICED, async |scene| {
        scene.installed().await?;
        let figures = Load::whole(&scene.setting, "load").await?;
        let rate = figures.total.answered as f64 / figures.seconds;
        let median = figures.total.latency_ms.p50;
        Ok(Verdict::default()
            .shows(format!("{rate:.0} answers a second, median {median:.1} ms"))
            .unnoticed(&figures))
    })
    .await;
}
