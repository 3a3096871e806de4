//! Experimental tasks (2025-11-25) of several upstreams: each is found again at
//! the one that began it, though all call theirs alike.

use serde_json::{Value, json};

use crate::cluster::http::{Http, Reply};
use crate::cluster::mcp::{MODERN, Session, initialize, modern, result, text};
use crate::cluster::upstream::{Behaviour, Upstream};
use crate::cluster::{Cluster, Server};

const RELATED: &str = "io.modelcontextprotocol/related-task";

fn error_code(reply: &Reply) -> Value {
    reply.response()["error"]["code"].clone()
}

#[tokio::test]
async fn each_upstream_finds_its_own() {
    let upstreams = [
        ("a", Upstream::start(Behaviour::Tasks("of a")).await),
        ("b", Upstream::start(Behaviour::Tasks("of b")).await),
        ("plain", Upstream::start(Behaviour::Good).await),
    ];
    let args = upstreams.each_ref().map(|(name, up)| up.argument(name));
    let server = Server::local(&args.each_ref().map(String::as_str)).await;
    let mut session = Session::open(server.listen).await;
    let mut names = Vec::new();
    for (upstream, status) in [("a", "of a"), ("b", "of b")] {
        let tool = format!("{upstream}__act");
        let begun = result(&session.call(&tool, &json!({})).await);
        let name = begun["task"]["taskId"].clone();
        assert_ne!(name, "t");
        let params = json!({"taskId": name});
        for method in ["tasks/get", "tasks/cancel"] {
            let found = result(&session.ask(method, &params).await);
            assert_eq!(found["statusMessage"], status);
            assert_eq!(found["taskId"], name, "one name for one task");
        }
        let done = session.ask("tasks/result", &params).await;
        assert_eq!(text(&done), status);
        assert_eq!(result(&done)["_meta"][RELATED]["taskId"], name);
        names.push(name);
    }
    let listed = result(&session.ask("tasks/list", &json!({})).await);
    let listed: Vec<_> = listed["tasks"].as_array().unwrap().iter().collect();
    let listed: Vec<_> = listed.iter().map(|task| task["taskId"].clone()).collect();
    assert_eq!(listed, names);
    for forged in ["t", "", &format!("{}A", names[0].as_str().unwrap())] {
        let reply = session.ask("tasks/get", &json!({"taskId": forged})).await;
        assert_eq!(error_code(&reply), -32602, "{forged}");
    }
    let unnamed = session.ask("tasks/result", &json!({})).await;
    assert_eq!(error_code(&unnamed), -32602);
    let list = modern(5, "tasks/list", &json!({}));
    let reply = Http::connect(server.listen).await.send(&list).await;
    assert_eq!(error_code(&reply), -32601, "none in {MODERN}");
}

#[tokio::test]
async fn a_single_upstream_keeps_its_words() {
    let upstream = Upstream::start(Behaviour::Tasks("of it")).await;
    let server = Server::local(&[&upstream.argument("a")]).await;
    let mut session = Session::open(server.listen).await;
    let begun = result(&session.call("act", &json!({})).await);
    assert_eq!(begun["task"]["taskId"], "t");
    let found = result(&session.ask("tasks/get", &json!({"taskId": "t"})).await);
    assert_eq!(found["statusMessage"], "of it");
}

/// They are not translated, so a modern client must not be promised them.
#[tokio::test]
async fn tasks_are_offered_in_their_own_era_only() {
    let upstream = Upstream::start(Behaviour::Tasks("of it")).await;
    let server = Server::local(&[&upstream.argument("a")]).await;
    let mut http = Http::connect(server.listen).await;
    let opened = result(&http.send(&initialize()).await);
    assert!(opened["capabilities"]["tasks"].is_object(), "{opened}");
    let discover = modern(5, "server/discover", &json!({}));
    let found = result(&http.send(&discover).await)["capabilities"].clone();
    assert!(found["tools"].is_object(), "{found}");
    assert_eq!(found["tasks"], Value::Null);
}

/// Durable before the reply: nobody finds the task of a worker that died.
#[tokio::test]
async fn a_cluster_without_a_store_offers_none_of_its_own() {
    let extension = "io.modelcontextprotocol/tasks";
    let capabilities = json!({"extensions": {extension: {}}});
    let meta = json!({"io.modelcontextprotocol/clientCapabilities": capabilities});
    let discover = modern(5, "server/discover", &json!({"_meta": meta}));
    let slow = json!({"name": "slow_compute", "arguments": {"seconds": 0}, "_meta": meta});
    let slow = modern(5, "tools/call", &slow);
    for (flags, offered) in [(&[][..], false), (&["--tasks-in-memory"], true)] {
        let cluster = Cluster::start(1, 2, &[&["--demo=conformance"], flags].concat()).await;
        let mut http = Http::connect(cluster.edges[0].listen).await;
        let found = result(&http.send(&discover).await);
        let known = &found["capabilities"]["extensions"][extension];
        assert_eq!(known.is_object(), offered, "{found}");
        let answer = result(&http.send(&slow).await);
        let expected = if offered { "task" } else { "complete" };
        assert_eq!(answer["resultType"], expected, "{answer}");
    }
}
