//! Upstreams that are down, silent or speak garbage: their callers get an
//! error that names them, the others notice nothing.

use serde_json::{Value, json};

use crate::cluster::http::{Http, Reply};
use crate::cluster::mcp::{Refusal, Session, echo, modern, refused, result, text};
use crate::cluster::upstream::{Behaviour, Upstream};
use crate::cluster::{Server, ports};

/// Two upstreams, `bad` and `good`.
struct Pair {
    server: Server,
    _upstreams: [Upstream; 2],
}

impl Pair {
    async fn start(bad: Behaviour) -> Self {
        let upstreams = [
            Upstream::start(bad).await,
            Upstream::start(Behaviour::Good).await,
        ];
        let (bad, good) = (upstreams[0].argument("bad"), upstreams[1].argument("good"));
        let server = Server::local(&[&bad, &good, "--upstream-timeout=1"]).await;
        Self {
            server,
            _upstreams: upstreams,
        }
    }
}

/// Calls `bad` while `good` goes on; gives the reply of `bad` and its request's id.
async fn call_bad(behaviour: Behaviour) -> (Reply, Value) {
    let pair = Pair::start(behaviour).await;
    let mut bad = Session::open(pair.server.listen).await;
    let mut good = Session::open(pair.server.listen).await;
    let arguments = json!({});
    let (reply, neighbour) = tokio::join!(
        bad.call("bad__act", &arguments),
        good.call("good__act", &arguments),
    );
    assert_eq!(text(&neighbour), "ok");
    // The same session, its other upstream.
    assert_eq!(text(&bad.call("good__act", &arguments).await), "ok");
    let again = bad.call("bad__act", &arguments).await;
    assert_eq!(
        again.response()["error"]["code"],
        reply.response()["error"]["code"]
    );
    let status = pair.server.status().await;
    let failures = |index: usize| status["upstreams"][index]["failures"].as_object().unwrap();
    assert!(!failures(0).is_empty(), "{status}");
    assert!(failures(1).is_empty(), "{status}");
    (reply, json!(3))
}

/// It answered, but not as MCP wants it.
#[tokio::test]
async fn garbage() {
    for behaviour in [
        Behaviour::NotJson,
        Behaviour::NotJsonRpc,
        Behaviour::WrongId,
        Behaviour::Error500,
        Behaviour::NotHttp,
    ] {
        eprintln!("{behaviour:?}");
        let (reply, id) = call_bad(behaviour).await;
        let response = reply.response();
        let error = &response["error"];
        assert_eq!(response["id"], id);
        // Whether the tool acted is unknown where no answer to the call came.
        let expected: [i64; 2] = [-32013, -32012];
        assert!(
            expected.contains(&error["code"].as_i64().unwrap()),
            "{reply:?}"
        );
        assert!(
            error["message"].as_str().unwrap().contains("bad"),
            "{reply:?}"
        );
        assert_eq!(error["data"]["upstream"], "bad", "{reply:?}");
    }
}

/// It had the call and no answer came: nobody knows whether the tool acted.
#[tokio::test]
async fn an_answer_that_does_not_come() {
    for behaviour in [
        Behaviour::Close,
        Behaviour::CloseInJson,
        Behaviour::CloseInEvents,
        Behaviour::Silent,
    ] {
        eprintln!("{behaviour:?}");
        let (reply, id) = call_bad(behaviour).await;
        let error = refused(&reply, &Refusal(200, id, -32012, "outcome_unknown"));
        assert!(
            error["message"].as_str().unwrap().contains("bad"),
            "{reply:?}"
        );
        assert_eq!(error["data"]["upstream"], "bad", "{reply:?}");
    }
}

/// Its setting says another era than it speaks: callers are told which setting that is.
#[tokio::test]
async fn another_era_than_its_setting_says() {
    let upstream = Upstream::start(Behaviour::Lasting).await;
    let named = upstream.argument("bad");
    let server = Server::local(&[&named, "--upstream-era=bad=legacy"]).await;
    let mut http = Http::connect(server.listen).await;
    let reply = http.send(&modern(5, "tools/list", &json!({}))).await;
    let expected = Refusal(502, json!(5), -32013, "upstream_unavailable");
    let error = refused(&reply, &expected);
    let message = error["message"].as_str().unwrap();
    assert!(message.contains("its setting `era`"), "{reply:?}");
}

/// It never got the call, so the tool did not act.
#[tokio::test]
async fn a_handshake_that_does_not_end() {
    for behaviour in [Behaviour::SilentAtFirst, Behaviour::CloseAtFirst] {
        eprintln!("{behaviour:?}");
        let (reply, id) = call_bad(behaviour).await;
        let down = Refusal(502, id, -32013, "upstream_unavailable");
        assert_eq!(refused(&reply, &down)["data"]["upstream"], "bad");
    }
}

#[tokio::test]
async fn the_only_upstream_is_down() {
    let gone = format!("--upstream=gone=http://{}/mcp", ports::free());
    let server = Server::local(&[&gone]).await;
    let mut http = crate::cluster::http::Http::connect(server.listen).await;
    let reply = http.send(&crate::cluster::mcp::initialize()).await;
    let error = refused(
        &reply,
        &Refusal(502, json!(1), -32013, "upstream_unavailable"),
    );
    assert_eq!(error["data"]["upstream"], "gone");
    assert!(error["message"].as_str().unwrap().contains("gone"));
    let reply = http.send(&modern(2, "tools/call", &echo("x"))).await;
    let error = refused(
        &reply,
        &Refusal(502, json!(2), -32013, "upstream_unavailable"),
    );
    assert_eq!(error["data"]["upstream"], "gone");
}

/// Where an upstream is, and a key in its URL, are the operator's business.
#[tokio::test]
async fn a_refusal_does_not_tell_the_upstreams_address() {
    let gone = ports::free();
    let server = Server::local(&[&format!("--upstream=gone=http://{gone}/mcp?key=secret")]).await;
    let mut http = crate::cluster::http::Http::connect(server.listen).await;
    let reply = http.send(&modern(2, "tools/call", &echo("x"))).await;
    let down = Refusal(502, json!(2), -32013, "upstream_unavailable");
    let error = refused(&reply, &down).to_string();
    for private in ["secret", &gone.to_string()] {
        assert!(!error.contains(private), "{error}");
    }
}

#[tokio::test]
async fn one_of_two_upstreams_is_down() {
    let good = Upstream::start(Behaviour::Good).await;
    let gone = format!("--upstream=gone=http://{}/mcp", ports::free());
    let server = Server::local(&[&good.argument("good"), &gone]).await;
    let mut session = Session::open(server.listen).await;
    let tools = result(&session.ask("tools/list", &json!({})).await);
    let names: Vec<_> = tools["tools"]
        .as_array()
        .unwrap()
        .iter()
        .map(|tool| &tool["name"])
        .collect();
    assert_eq!(names, ["good__act"]);
    assert!(
        tools.to_string().contains("gone"),
        "the list tells what is missing: {tools}"
    );
    assert_eq!(text(&session.call("good__act", &json!({})).await), "ok");
    let reply = session.call("gone__act", &json!({})).await;
    let down = Refusal(502, session.last(), -32013, "upstream_unavailable");
    assert_eq!(refused(&reply, &down)["data"]["upstream"], "gone");
    let reply = session.call("nobody__act", &json!({})).await;
    refused(
        &reply,
        &Refusal(200, session.last(), -32602, "invalid_params"),
    );
}

#[tokio::test]
async fn an_answer_over_the_limit() {
    let (long, good) = (
        Upstream::start(Behaviour::LongJson(100_000)).await,
        Upstream::start(Behaviour::Good).await,
    );
    let (bad, good) = (long.argument("bad"), good.argument("good"));
    let server = Server::local(&[&bad, &good, "--upstream-max-message=65536"]).await;
    let mut session = Session::open(server.listen).await;
    let reply = session.call("bad__act", &json!({})).await;
    assert_eq!(
        reply.response()["error"]["data"]["upstream"],
        "bad",
        "{reply:?}"
    );
    assert!(reply.text().contains("65536"), "{reply:?}");
}

/// A command that does not exist, and one that ends at once.
#[tokio::test]
async fn a_command_that_does_not_run() {
    let good = Upstream::start(Behaviour::Good).await;
    for command in ["/no/such/program", "true", "echo not-json"] {
        let bad = format!("--upstream=bad={command}");
        let server = Server::local(&[&bad, &good.argument("good"), "--upstream-timeout=2"]).await;
        let mut session = Session::open(server.listen).await;
        let reply = session.call("bad__act", &json!({})).await;
        let down = Refusal(502, session.last(), -32013, "upstream_unavailable");
        assert_eq!(
            refused(&reply, &down)["data"]["upstream"],
            "bad",
            "{command}"
        );
        assert_eq!(text(&session.call("good__act", &json!({})).await), "ok");
    }
}
