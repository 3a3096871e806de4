//! Request states and task ids that are forged, expired, another's or for
//! something else: one answer, and never a hint at what is wrong.

use std::fs;

use serde_json::{Value, json};

use hexagram_core::{Handle, KeyRing, Purpose, Sealer};

use crate::cluster::http::{Ask, Http};
use crate::cluster::mcp::{MODERN, Refusal, refused, request, result};
use crate::cluster::{Cluster, Server};

/// Asks for a confirmation and gives a request state.
const ASKING: &str = "test_input_required_result_request_state";
/// The same of another tool.
const OTHER: &str = "test_input_required_result_multi_round";

/// A modern request of a client that can do all that is needed here.
fn ask(method: &str, params: &Value) -> Ask {
    let mut params = params.clone();
    params["_meta"] = json!({
        "io.modelcontextprotocol/protocolVersion": MODERN,
        "io.modelcontextprotocol/clientCapabilities": {
            "elicitation": {},
            "extensions": {"io.modelcontextprotocol/tasks": {}},
        },
    });
    let name = params["name"].as_str().or(params["taskId"].as_str());
    Ask::post(request(5, method, &params))
        .header("mcp-protocol-version", MODERN)
        .header("mcp-method", method)
        .header("mcp-name", name.unwrap_or_default())
}

fn call(tool: &str) -> Ask {
    ask("tools/call", &json!({"name": tool, "arguments": {}}))
}

fn retry(tool: &str, state: &str) -> Ask {
    let params = json!({"name": tool, "arguments": {}, "requestState": state});
    ask("tools/call", &params)
}

fn task(method: &str, id: &str) -> Ask {
    ask(method, &json!({"taskId": id}))
}

/// A request state and a task's id, as a client gets them.
async fn handles(http: &mut Http, whose: &[(&str, &str)]) -> (String, String) {
    let signed = |ask: Ask| whose.iter().fold(ask, |ask, (n, v)| ask.header(n, v));
    let asked = result(&http.send(&signed(call(ASKING))).await);
    let slow = json!({"name": "slow_compute", "arguments": {"seconds": 60}});
    let begun = result(&http.send(&signed(ask("tools/call", &slow))).await);
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&asked["requestState"]), text(&begun["taskId"]))
}

async fn unknown(http: &mut Http, ask: &Ask) {
    eprintln!("{ask:?}");
    let expected = Refusal(400, json!(5), -32602, "invalid_params");
    refused(&http.send(ask).await, &expected);
}

#[tokio::test]
async fn forged_and_misused() {
    let server = Server::local(&["--demo=conformance"]).await;
    let mut http = Http::connect(server.listen).await;
    let (state, id) = handles(&mut http, &[]).await;
    let changed = |token: &str| {
        let last = if token.ends_with('A') { "B" } else { "A" };
        format!("{}{last}", &token[..token.len() - 1])
    };
    for token in ["", "x", &changed(&state), &format!("{state}A"), &id] {
        unknown(&mut http, &retry(ASKING, token)).await;
    }
    for token in ["x", &changed(&id), &id[..id.len() - 4], &state] {
        for method in ["tasks/get", "tasks/update", "tasks/cancel"] {
            unknown(&mut http, &task(method, token)).await;
        }
    }
    unknown(&mut http, &retry(OTHER, &state)).await;
    let elsewhere = json!({"name": ASKING, "requestState": state});
    unknown(&mut http, &ask("prompts/get", &elsewhere)).await;
    let asked = result(&http.send(&retry(ASKING, &state)).await);
    assert_eq!(asked["resultType"], "input_required", "its own still opens");
    let found = result(&http.send(&task("tasks/get", &id)).await);
    assert_eq!(found["taskId"], json!(id));
}

#[tokio::test]
async fn of_another_principal() {
    let args = [
        "--demo=conformance",
        "--auth=trusted-header",
        "--trusted-proxies=127.0.0.0/8",
    ];
    let server = Server::local(&args).await;
    let mut http = Http::connect(server.listen).await;
    let (alice, bob) = (("x-forwarded-user", "alice"), ("x-forwarded-user", "bob"));
    let (state, id) = handles(&mut http, &[alice]).await;
    for ask in [
        retry(ASKING, &state),
        task("tasks/get", &id),
        task("tasks/cancel", &id),
    ] {
        unknown(&mut http, &ask.clone().header(bob.0, bob.1)).await;
    }
    let own = task("tasks/get", &id).header(alice.0, alice.1);
    assert_eq!(result(&http.send(&own).await)["status"], "working");
}

/// The same contents, sealed a day and an hour ago.
#[tokio::test]
async fn expired() {
    let cluster = Cluster::start(1, 1, &["--demo=conformance", "--tasks-in-memory"]).await;
    let ring = KeyRing::parse(&fs::read_to_string(&cluster.ring).unwrap()).unwrap();
    let sealer = Sealer::new(&ring, "hexagram");
    let aged = |purpose, token: &str, seconds| {
        let mut handle = Handle::open(&sealer, purpose, token).unwrap();
        handle.created -= seconds;
        handle.seal(&sealer, purpose, [7; 24])
    };
    let mut http = Http::connect(cluster.edges[0].listen).await;
    let (state, id) = handles(&mut http, &[]).await;
    let old_state = aged(Purpose::RequestState, &state, 25 * 3600);
    unknown(&mut http, &retry(ASKING, &old_state)).await;
    let old_id = aged(Purpose::Task, &id, 25 * 3600);
    unknown(&mut http, &task("tasks/get", &old_id)).await;
    let younger = aged(Purpose::Task, &id, 3600);
    let found = result(&http.send(&task("tasks/get", &younger)).await);
    assert_eq!(found["status"], "working");
}
