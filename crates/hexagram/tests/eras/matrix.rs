//! The table: each client era, at each kind of upstream, does each thing.

use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;

use crate::cell::{Cell, Era};
use crate::cluster::{Cluster, clients};
use crate::fixture::{Fixture, Spoken};
use crate::{asking, calls, changes};

type Check = for<'a> fn(&'a Cell<'_>) -> LocalBoxFuture<'a, ()>;

const CHECKS: [(&str, Check); 9] = [
    ("tool call", |cell| calls::tool_call(cell).boxed_local()),
    ("progress", |cell| calls::progress(cell).boxed_local()),
    ("log message", |cell| calls::log_message(cell).boxed_local()),
    ("resource update", |cell| {
        changes::resource_update(cell).boxed_local()
    }),
    ("list change", |cell| {
        changes::list_change(cell).boxed_local()
    }),
    ("cancel", |cell| calls::cancel(cell).boxed_local()),
    ("unknown tool", |cell| {
        calls::unknown_tool(cell).boxed_local()
    }),
    ("missing resource", |cell| {
        calls::missing_resource(cell).boxed_local()
    }),
    ("server request", |cell| {
        asking::server_request(cell).boxed_local()
    }),
];

/// Makes every check before it fails, so that one run shows the whole row.
async fn check(spoken: Spoken) {
    let fixture = Fixture::start(spoken).await;
    let cluster = Cluster::start(2, 2, &[&fixture.argument()]).await;
    let mut failed = Vec::new();
    for era in [Era::Legacy, Era::Modern] {
        let cell = Cell {
            era,
            spoken,
            cluster: &cluster,
            fixture: &fixture,
        };
        for (name, check) in CHECKS {
            let checked = AssertUnwindSafe(check(&cell)).catch_unwind().await;
            if checked.is_err() {
                failed.push(format!("{era:?} client: {name}"));
            }
        }
    }
    assert!(failed.is_empty(), "{spoken:?} upstream: {failed:#?}");
    official_clients(&cluster.urls()).await;
}

/// One of each era finds its way as well.
async fn official_clients(urls: &[String]) {
    for client in clients::ONE_PER_ERA {
        let report = clients::run(client, urls.to_vec(), vec!["--tools-only".to_owned()]).await;
        assert!(report.success, "{report:?}");
        assert_eq!(report.line["version"], client.version, "{report:?}");
    }
}

#[tokio::test]
async fn at_a_legacy_upstream() {
    check(Spoken::Legacy).await;
}

#[tokio::test]
async fn at_a_modern_upstream() {
    check(Spoken::Modern).await;
}

#[tokio::test]
async fn at_an_upstream_of_both_eras() {
    check(Spoken::Both).await;
}
