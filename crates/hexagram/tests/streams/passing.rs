//! What passes between a client and its upstream beside calls and answers.

use serde_json::{Value, json};

use crate::cluster::http::{Ask, Http};
use crate::cluster::listener::Listener;
use crate::cluster::mcp::call;
use crate::standing::{cluster, listening};

fn notification(method: &str, params: &Value) -> Value {
    json!({"jsonrpc": "2.0", "method": method, "params": params})
}

/// The client sees what its upstream said; a request that is taken back is
/// named as the client knows it.
#[tokio::test]
async fn what_a_server_tells_is_passed_on() {
    let (cluster, mut puppet) = cluster().await;
    let (_session, mut stream, mut line) = listening(&cluster, &mut puppet).await;
    let told = [
        notification(
            "notifications/elicitation/complete",
            &json!({"elicitationId": "e"}),
        ),
        notification(
            "notifications/tasks/status",
            &json!({"taskId": "t", "status": "working"}),
        ),
        notification("notifications/tools/list_changed", &json!({})),
        notification(
            "notifications/resources/updated",
            &json!({"uri": "test://x"}),
        ),
        notification(
            "notifications/new/in/a/later/revision",
            &json!({"x": [1.0]}),
        ),
    ];
    for message in told {
        line.send(&message).await;
        assert_eq!(stream.message().await.message(), message);
    }
    let ask = json!({"jsonrpc": "2.0", "id": 5, "method": "roots/list"});
    line.send(&ask).await;
    let asked = stream.message().await.message();
    assert_eq!(asked["method"], "roots/list");
    line.send(&notification(
        "notifications/cancelled",
        &json!({"requestId": 5}),
    ))
    .await;
    let taken_back = stream.message().await.message();
    assert_eq!(taken_back["params"]["requestId"], asked["id"]);
}

#[tokio::test]
async fn a_cancelled_call_ends_without_a_response() {
    let (cluster, mut puppet) = cluster().await;
    let (mut session, _stream, _line) = listening(&cluster, &mut puppet).await;
    let peer = cluster.edges[0].listen;
    let ask = session.prepare("tools/call", &call("act", &json!({})));
    let (mut stream, line) = tokio::join!(Listener::open(peer, &ask), async {
        let mut line = puppet.call().await;
        line.say("begun").await;
        line
    });
    assert_eq!(stream.message().await.said(), "begun");
    let cancelled = notification(
        "notifications/cancelled",
        &json!({"requestId": session.last()}),
    );
    let cancel = session.signed(Ask::post(cancelled.to_string()));
    let reply = Http::connect(peer).await.send(&cancel).await;
    assert_eq!((reply.status, reply.text().as_str()), (202, ""));
    let rest = stream.rest().await;
    assert!(rest.iter().all(|event| event.data.is_empty()), "{rest:?}");
    drop(line);
}
