//! Servers that ask their clients: in one era by a request, in the other by a
//! result, and not at all from one era to the other.

use serde_json::json;

use crate::cell::{Cell, Client, Era};
use crate::cluster::mcp::{Refusal, refused, result, text};

pub(crate) async fn server_request(cell: &Cell<'_>) {
    let mut client = cell.client().await;
    match (cell.era, cell.is_across()) {
        (Era::Legacy, false) => asked_by_request(&mut client).await,
        (Era::Modern, false) => asked_by_result(&mut client).await,
        (Era::Legacy, true) => {
            let (ask, id) = client.prepare("tools/call", &call());
            let reply = client.send(&ask).await;
            refused(&reply, &Refusal(200, id, -32015, "not_across_eras"));
        }
        (Era::Modern, true) => {
            // The upstream is told; what it makes of that is its own.
            let reply = client.ask("tools/call", &call()).await;
            assert_eq!(result(&reply)["isError"], true);
            assert!(text(&reply).contains("-32015"), "{reply:?}");
        }
    }
}

fn call() -> serde_json::Value {
    json!({"name": "ask", "arguments": {}})
}

async fn asked_by_request(client: &mut Client) {
    let (mut stream, _) = client.stream("tools/call", &call()).await;
    let question = stream.message().await.message();
    assert_eq!(question["method"], "sampling/createMessage", "{question}");
    let content = json!({"type": "text", "text": "hi"});
    let answer = json!({"role": "assistant", "model": "tiny", "content": content});
    let answer = json!({"jsonrpc": "2.0", "id": question["id"], "result": answer});
    client.tell(&answer).await;
    assert_eq!(stream.message().await.text(), "the model is tiny");
}

async fn asked_by_result(client: &mut Client) {
    let question = result(&client.ask("tools/call", &call()).await);
    assert_eq!(question["resultType"], "input_required", "{question}");
    let asked = &question["inputRequests"]["who"];
    assert_eq!(asked["method"], "sampling/createMessage", "{question}");
    let content = json!({"type": "text", "text": "hi"});
    let answer = json!({"role": "assistant", "model": "tiny", "content": content});
    let mut again = call();
    again["inputResponses"] = json!({"who": answer});
    let reply = client.ask("tools/call", &again).await;
    assert_eq!(text(&reply), "the model is tiny");
}
