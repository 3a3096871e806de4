//! Changes at the upstream on their way to clients: subscriptions of one era
//! served by those of the other.

use serde_json::{Value, json};

use crate::cell::{Cell, Era, SUBSCRIPTION_ID, heard};
use crate::fixture::Change;
use crate::handler::WATCHED;

pub(crate) async fn resource_update(cell: &Cell<'_>) {
    let update = hear(cell, Change::Resource, "notifications/resources/updated").await;
    assert_eq!(update["params"]["uri"], WATCHED, "{update}");
}

pub(crate) async fn list_change(cell: &Cell<'_>) {
    hear(cell, Change::Tools, "notifications/tools/list_changed").await;
}

async fn hear(cell: &Cell<'_>, change: Change, method: &str) -> Value {
    let mut client = cell.client().await;
    let mut stream = client.listen(WATCHED).await;
    let message = heard(cell.fixture, &change, &mut stream, method).await;
    let subscription = &message["params"]["_meta"][SUBSCRIPTION_ID];
    match cell.era {
        Era::Legacy => assert_eq!(subscription, &json!(null), "{message}"),
        Era::Modern => assert_eq!(subscription, &json!(1), "{message}"),
    }
    message
}
