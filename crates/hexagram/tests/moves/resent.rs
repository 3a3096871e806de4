//! Calls that run on a worker when it is killed: which run again.

use serde_json::json;
use tokio::task::JoinSet;

use crate::cluster::http::{Http, Reply};
use crate::cluster::mcp::{call, modern};
use crate::cluster::{Controlled, wait};
use crate::held::{Held, TOOLS};

/// Clients, each with a call of each tool.
const CLIENTS: u64 = 16;
/// "The worker was lost while it worked on this."
const LOST: i64 = -32012;

/// A call's tool and argument, and its reply.
type Answered = (String, u64, Reply);

/// Begins a call of each tool at each client; gives what will come of them.
async fn begin(cluster: &Controlled) -> JoinSet<Answered> {
    let mut calls = JoinSet::new();
    for number in 0..CLIENTS {
        for tool in TOOLS {
            let peer = cluster.edges[0].listen;
            calls.spawn(async move {
                let params = call(tool, &json!({ "number": number }));
                let ask = modern(number, "tools/call", &params);
                let reply = Http::connect(peer).await.send(&ask).await;
                (tool.to_owned(), number, reply)
            });
        }
    }
    calls
}

/// Exchanges under way at a worker, as the edge counts them.
async fn in_flight(cluster: &Controlled, worker: &str) -> u64 {
    let status = cluster.edges[0].status().await;
    let mut links = status["links"].as_array().into_iter().flatten();
    let link = links.find(|link| link["worker"] == worker);
    link.unwrap()["in_flight"].as_u64().unwrap()
}

async fn kill_while_all_run(retry: &[&str]) -> (Held, Vec<Answered>, u64) {
    let held = Held::start().await;
    let upstream = held.argument();
    let args: Vec<_> = [upstream.as_str()].iter().chain(retry).copied().collect();
    let mut cluster = Controlled::start(1, 2, &args, &[]).await;
    let calls = begin(&cluster).await;
    wait::until("calls that run", async || {
        (held.runs().len() as u64 == CLIENTS * TOOLS.len() as u64).then_some(())
    })
    .await;
    let lost = in_flight(&cluster, "worker-0").await;
    assert!(lost > 0, "no call came to worker-0");
    cluster.workers[0].process.kill().await;
    held.release();
    let answered = wait::within("all answers", calls.join_all()).await;
    (held, answered, lost)
}

#[tokio::test(flavor = "multi_thread")]
async fn declared_tools_run_again_and_no_others() {
    let (held, answered, lost) = kill_while_all_run(&[]).await;
    let (mut unknown, mut again) = (0, 0);
    for (tool, number, reply) in answered {
        let runs = held.runs()[&(tool.clone(), number)];
        let response = reply.response();
        assert_eq!(response["id"], number, "{reply:?}");
        match response["error"]["code"].as_i64() {
            None => assert_eq!(
                response["result"]["content"][0]["text"], "done",
                "{reply:?}"
            ),
            Some(code) => {
                assert_eq!((tool.as_str(), code), ("act", LOST), "{reply:?}");
                unknown += 1;
            }
        }
        again += runs - 1;
        assert!(
            runs == 1 || tool != "act" && runs == 2,
            "{tool} ran {runs} times"
        );
    }
    eprintln!("kill -9: {lost} calls lost, {again} ran again, {unknown} unknown");
    assert_eq!(again + unknown, lost);
    assert!(again > 0 && unknown > 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_runs_again_where_tools_are_not_believed() {
    let (held, answered, lost) = kill_while_all_run(&["--upstream-retry=held=never"]).await;
    assert!(held.runs().values().all(|runs| *runs == 1));
    let code = |reply: &Reply| reply.response()["error"]["code"].as_i64();
    let codes: Vec<_> = answered
        .iter()
        .filter_map(|(_, _, reply)| code(reply))
        .collect();
    assert_eq!(codes, vec![LOST; usize::try_from(lost).unwrap()]);
}
