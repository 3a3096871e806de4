//! When a session is idle, and that its end misses nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use futures_util::FutureExt;
use hexagram_core::{Capabilities, ClientId, PrincipalId, ProtocolVersion};

use tokio::sync::Notify;

use super::*;
use crate::upstream::fake::{Request, Server, greeting, upstream as upstream_at};
use crate::upstream::{ChildLimit, UpstreamLimits};

const IDLE: Duration = Duration::from_secs(60);
/// No wait in a test is longer; one that succeeds is far shorter.
const DEADLINE: Duration = Duration::from_secs(20);

pub(crate) fn session() -> Arc<Session> {
    let facts = ClientFacts {
        version: ProtocolVersion::LATEST_LEGACY,
        capabilities: Capabilities::default(),
        name: "test".to_owned(),
        software_version: "1".to_owned(),
    };
    let tasks = TaskNames::new(ClientId::from_u128(1), PrincipalId::from_u128(1));
    Arc::new(Session::new(facts, IDLE, tasks))
}

/// A child that answers `initialize` and then says nothing.
fn upstream() -> Arc<Upstream> {
    let result = r#"{"protocolVersion":"2025-11-25","capabilities":{},"serverInfo":{}}"#;
    let answer = format!(r#"{{"jsonrpc":"2.0","id":"0","result":{result}}}"#);
    let spec = format!("up=read line; echo '{answer}'; cat >/dev/null");
    let limits = UpstreamLimits {
        connect: DEADLINE,
        handshake: DEADLINE,
        silence: DEADLINE,
        max_message: 1 << 20,
    };
    let upstream = Upstream::from_spec(spec.parse().unwrap(), limits, &ChildLimit::new(4));
    Arc::new(upstream.unwrap())
}

async fn connection(session: &Arc<Session>, upstream: &Arc<Upstream>) -> Arc<Connection> {
    let opened = tokio::time::timeout(DEADLINE, session.connection(upstream)).await;
    opened.expect("it never opened").unwrap()
}

fn request(connection: &Arc<Connection>) -> InFlight {
    InFlight {
        connection: Arc::clone(connection),
        upstream_id: "\"1.1\"".to_owned(),
        cancelled: CancellationToken::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn idle_is_who_was_unused_for_long_enough() {
    let session = session();
    tokio::time::advance(IDLE).await;
    assert!(!session.is_idle(), "just in time");
    tokio::time::advance(Duration::from_millis(1)).await;
    assert!(session.is_idle());
    session.touch();
    assert!(!session.is_idle());
}

#[tokio::test(start_paused = true)]
async fn whoever_uses_or_follows_a_session_keeps_it() {
    let session = session();
    tokio::time::advance(2 * IDLE).await;
    let user = Arc::clone(&session);
    assert!(!session.is_idle());
    drop(user);
    let listener = session.opened();
    assert!(!session.is_idle());
    drop(listener);
    assert!(session.is_idle());
}

#[tokio::test]
async fn a_request_under_way_is_known_by_the_clients_id_until_its_guard_goes() {
    let (session, upstream) = (session(), upstream());
    let connection = connection(&session, &upstream).await;
    let guard = session.begin("7", request(&connection));
    assert_eq!(session.in_flight("7").unwrap().upstream_id, "\"1.1\"");
    assert!(session.in_flight("8").is_none());
    let used = *session.used.lock();
    drop(guard);
    assert!(session.in_flight("7").is_none());
    assert!(*session.used.lock() > used, "its end counts as use");
    session.close().await;
}

#[tokio::test]
async fn an_upstream_session_is_opened_once_and_again_when_forgotten() {
    let (session, upstream) = (session(), upstream());
    assert!(session.open_connection(upstream.id()).is_none());
    let first = connection(&session, &upstream).await;
    assert!(Arc::ptr_eq(&first, &connection(&session, &upstream).await));
    assert_eq!(session.open_connections().len(), 1);
    session.forget(&upstream, &first).await;
    let second = connection(&session, &upstream).await;
    assert!(!Arc::ptr_eq(&first, &second));
    // Who still holds the first one must not take the second away.
    session.forget(&upstream, &first).await;
    assert!(Arc::ptr_eq(&second, &connection(&session, &upstream).await));
    first.close().await;
    session.close().await;
    assert!(!second.is_open() && session.open_connections().is_empty());
}

/// The closing cannot see what is still being opened.
#[tokio::test]
async fn what_is_opened_while_the_session_closes_is_closed_too() {
    let (session, upstream) = (session(), upstream());
    let opening = session.connection(&upstream);
    tokio::pin!(opening);
    assert!((&mut opening).now_or_never().is_none(), "it takes a child");
    session.close().await;
    let opened = tokio::time::timeout(DEADLINE, opening).await;
    assert!(!opened.expect("it never opened").unwrap().is_open());
}

#[tokio::test]
async fn a_retired_upstream_is_left_and_not_opened_again() {
    let (session, upstream) = (session(), upstream());
    let open = connection(&session, &upstream).await;
    session
        .subscriptions
        .set(upstream.id(), "x:1", true)
        .unwrap();
    upstream.retire();
    assert!(Arc::ptr_eq(&open, &connection(&session, &upstream).await));
    session.leave(&upstream).await;
    assert!(!open.is_open() && session.open_connections().is_empty());
    assert!(session.subscriptions.is_empty());
    let again = session.connection(&upstream).await;
    assert!(matches!(again, Err(UpstreamError::Removed)));
}

/// Its client may leave at any time, also between the answer to `initialize`
/// and the end of the handshake.
#[tokio::test]
async fn what_its_opener_left_is_there_for_the_next() {
    let taken = Arc::new(Notify::new());
    let server = Server::start({
        let taken = Arc::clone(&taken);
        move |request: &Request| {
            if request.body.contains("notifications/initialized") {
                taken.notify_one();
            }
            greeting(request)
        }
    })
    .await;
    let (session, upstream) = (session(), upstream_at(&server.url()));
    tokio::select! {
        biased;
        () = taken.notified() => {}
        _ = session.connection(&upstream) => unreachable!("the handshake has just ended"),
    }
    connection(&session, &upstream).await;
    let asked = server.seen();
    let opened = asked.iter().filter(|r| r.body.contains("\"initialize\""));
    assert_eq!(opened.count(), 1, "{asked:?}");
}
