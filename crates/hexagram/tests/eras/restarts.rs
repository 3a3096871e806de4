//! An upstream that comes back, the same or one of the other era.

use std::collections::HashSet;

use serde_json::json;

use crate::cell::{Client, Era, heard};
use crate::cluster::Server;
use crate::cluster::listener::Listener;
use crate::cluster::mcp::{result, text};
use crate::fixture::{Change, Fixture, Spoken};
use crate::handler::WATCHED;

const UPDATED: &str = "notifications/resources/updated";
const TOOLS_CHANGED: &str = "notifications/tools/list_changed";
/// After a change of era this many calls may fail before one is answered.
const MAY_FAIL: usize = 2;

async fn local(spoken: Spoken) -> (Server, Fixture) {
    let fixture = Fixture::start(spoken).await;
    let server = Server::local(&[&fixture.argument()]).await;
    (server, fixture)
}

/// A legacy session at an upstream that forgets it: opened again once, and
/// asked what the client had asked.
async fn a_session_is_restored(spoken: Spoken) {
    let (server, mut fixture) = local(spoken).await;
    let mut client = Client::new(Era::Legacy, &[server.listen]).await;
    let level = json!({"level": "error"});
    result(&client.ask("logging/setLevel", &level).await);
    let mut stream = client.listen(WATCHED).await;
    heard(&fixture, &Change::Resource, &mut stream, UPDATED).await;

    fixture.restart(spoken).await;
    assert_eq!(text(&client.call("echo").await), "Echo: hello");
    heard(&fixture, &Change::Resource, &mut stream, UPDATED).await;
    let restored = [
        "initialize raw",
        "level \"error\"",
        "subscribe test://watched",
    ];
    assert_eq!(fixture.seen(), restored.map(str::to_owned).into());
    assert_eq!(fixture.count("initialize raw"), 1);
}

#[tokio::test]
async fn a_session_is_restored_at_a_legacy_upstream() {
    a_session_is_restored(Spoken::Legacy).await;
}

#[tokio::test]
async fn a_session_is_restored_at_an_upstream_of_both_eras() {
    a_session_is_restored(Spoken::Both).await;
}

/// Nothing has changed while the upstream was away: what comes are the hints.
async fn hints_come(era: Era, before: Spoken, after: Spoken) {
    let (server, mut fixture) = local(before).await;
    let mut client = Client::new(era, &[server.listen]).await;
    let mut stream = client.listen(WATCHED).await;
    // A legacy stream is open once it is heard.
    heard(&fixture, &Change::Tools, &mut stream, TOOLS_CHANGED).await;
    fixture.restart(after).await;
    hinted(&mut stream).await;
    heard(&fixture, &Change::Resource, &mut stream, UPDATED).await;
}

/// Waits for a hint of everything.
async fn hinted(stream: &mut Listener) {
    let mut missing: HashSet<_> = [UPDATED, TOOLS_CHANGED].into();
    while !missing.is_empty() {
        let hint = stream.message().await.message();
        missing.retain(|method| hint["method"] != *method);
    }
}

#[tokio::test]
async fn a_listener_is_told_what_it_may_have_missed() {
    hints_come(Era::Modern, Spoken::Modern, Spoken::Modern).await;
}

#[tokio::test]
async fn a_modern_listener_is_told_what_it_may_have_missed_at_a_legacy_upstream() {
    hints_come(Era::Modern, Spoken::Legacy, Spoken::Legacy).await;
}

#[tokio::test]
async fn a_legacy_listener_is_told_what_it_may_have_missed() {
    hints_come(Era::Legacy, Spoken::Legacy, Spoken::Legacy).await;
}

#[tokio::test]
async fn a_legacy_listener_is_told_what_it_may_have_missed_at_a_modern_upstream() {
    hints_come(Era::Legacy, Spoken::Modern, Spoken::Modern).await;
}

#[tokio::test]
async fn a_legacy_listener_follows_its_upstream_into_the_modern_era() {
    hints_come(Era::Legacy, Spoken::Legacy, Spoken::Modern).await;
}

#[tokio::test]
async fn a_legacy_listener_follows_its_upstream_into_the_legacy_era() {
    hints_come(Era::Legacy, Spoken::Modern, Spoken::Legacy).await;
}

#[tokio::test]
async fn a_modern_listener_follows_its_upstream_into_the_modern_era() {
    hints_come(Era::Modern, Spoken::Legacy, Spoken::Modern).await;
}

#[tokio::test]
async fn a_modern_listener_follows_its_upstream_into_the_legacy_era() {
    hints_come(Era::Modern, Spoken::Modern, Spoken::Legacy).await;
}

/// A client that does nothing but listen hears on after the upstream was away.
async fn a_listener_hears_on(era: Era, spoken: Spoken) {
    let (server, mut fixture) = local(spoken).await;
    let mut client = Client::new(era, &[server.listen]).await;
    let mut stream = client.listen(WATCHED).await;
    heard(&fixture, &Change::Resource, &mut stream, UPDATED).await;
    fixture.restart(spoken).await;
    heard(&fixture, &Change::Resource, &mut stream, UPDATED).await;
    heard(&fixture, &Change::Tools, &mut stream, TOOLS_CHANGED).await;
}

#[tokio::test]
async fn a_legacy_listener_hears_on_at_a_legacy_upstream() {
    a_listener_hears_on(Era::Legacy, Spoken::Legacy).await;
}

#[tokio::test]
async fn a_modern_listener_hears_on_at_a_legacy_upstream() {
    a_listener_hears_on(Era::Modern, Spoken::Legacy).await;
}

#[tokio::test]
async fn a_legacy_listener_hears_on_at_a_modern_upstream() {
    a_listener_hears_on(Era::Legacy, Spoken::Modern).await;
}

/// An upstream that drains ends its subscriptions in their own form: its clients keep
/// theirs, and learn that something may have changed meanwhile.
#[tokio::test]
async fn an_upstream_that_ends_a_subscription_is_listened_to_again() {
    let (server, fixture) = local(Spoken::Modern).await;
    let mut client = Client::new(Era::Modern, &[server.listen]).await;
    let mut stream = client.listen(WATCHED).await;
    fixture.has_seen("listen", 1).await;
    fixture.announce(Change::Over);
    fixture.has_seen("listen", 2).await;
    hinted(&mut stream).await;
    heard(&fixture, &Change::Resource, &mut stream, UPDATED).await;
}

/// One of two upstreams is away when the client subscribes.
#[tokio::test]
async fn an_upstream_that_was_away_at_first_is_heard_later() {
    let here = Fixture::start(Spoken::Modern).await;
    let mut away = Fixture::start(Spoken::Modern).await;
    away.stop().await;
    let server = Server::local(&[&here.argument(), &away.named("away")]).await;
    let mut client = Client::new(Era::Modern, &[server.listen]).await;
    let wanted = json!({"notifications": {"toolsListChanged": true}});
    let (mut stream, _) = client.stream("subscriptions/listen", &wanted).await;
    let first = stream.message().await.message();
    assert_eq!(first["method"], "notifications/subscriptions/acknowledged");
    away.restart(Spoken::Modern).await;
    away.has_seen("listen", 1).await;
    let hint = stream.message().await.message();
    assert_eq!(hint["method"], TOOLS_CHANGED, "{hint}");
    heard(&away, &Change::Tools, &mut stream, TOOLS_CHANGED).await;
}

/// Another server on the upstream's port: its era is noticed soon.
async fn another_era_is_noticed(era: Era, before: Spoken, after: Spoken) {
    let (server, mut fixture) = local(before).await;
    let mut client = Client::new(era, &[server.listen]).await;
    assert_eq!(text(&client.call("echo").await), "Echo: hello");
    fixture.restart(after).await;
    let mut failed = Vec::new();
    let answer = loop {
        let reply = client.call("echo").await;
        if reply.response().get("result").is_some() {
            break text(&reply);
        }
        failed.push(reply.response());
        assert!(failed.len() <= MAY_FAIL, "{failed:#?}");
    };
    assert_eq!(answer, "Echo: hello");
}

#[tokio::test]
async fn a_legacy_client_goes_on_when_its_upstream_turns_modern() {
    another_era_is_noticed(Era::Legacy, Spoken::Legacy, Spoken::Modern).await;
}

#[tokio::test]
async fn a_legacy_client_goes_on_when_its_upstream_turns_legacy() {
    another_era_is_noticed(Era::Legacy, Spoken::Modern, Spoken::Legacy).await;
}

#[tokio::test]
async fn a_modern_client_goes_on_when_its_upstream_turns_modern() {
    another_era_is_noticed(Era::Modern, Spoken::Legacy, Spoken::Modern).await;
}

#[tokio::test]
async fn a_modern_client_goes_on_when_its_upstream_turns_legacy() {
    another_era_is_noticed(Era::Modern, Spoken::Modern, Spoken::Legacy).await;
}
