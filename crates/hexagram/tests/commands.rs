//! The commands beside serving: status, config, keys, bench; and what a
//! command says when it cannot do what it is asked for.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::collections::BTreeMap;
use std::fs;
use std::process::Output;

use serde_json::Value;

use cluster::process::{Launch, Process};
use cluster::{Cluster, Server, wait};

/// The exit code of flags that are wrong, missing or do not go together.
const EXIT_USAGE: i32 = 2;
/// The exit code of a wrong variable or file (`EX_CONFIG`).
const EXIT_CONFIG: i32 = 78;
/// The codepoints of the 64 hexagrams.
const HEXAGRAMS: std::ops::RangeInclusive<char> = '\u{4dc0}'..='\u{4dff}';

/// Runs a command to its end, which must come.
async fn run(launch: Launch) -> Output {
    let mut command = tokio::process::Command::from(launch.command());
    let output = wait::within(format!("{launch:?}"), command.kill_on_drop(true).output()).await;
    output.unwrap()
}

async fn hexagram(args: &[&str]) -> Output {
    run(Launch::hexagram().args(args)).await
}

#[track_caller]
fn out(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What a command said that failed with this exit code.
#[track_caller]
fn complaint(output: &Output, code: i32) -> String {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(output.status.code(), Some(code), "{text}");
    text
}

async fn status(server: &Server) -> (String, Value) {
    let admin = format!("--admin={}", server.admin);
    let text = out(&hexagram(&["status", &admin]).await);
    let url = format!("--admin=http://{}", server.admin);
    let json = out(&hexagram(&["status", &url, "-o", "json"]).await);
    (text, serde_json::from_str(&json).unwrap())
}

/// How many shards each worker owns.
fn owners(status: &Value) -> BTreeMap<String, usize> {
    let mut count = BTreeMap::new();
    for shard in status["shards"].as_array().unwrap() {
        *count
            .entry(shard["owner"].as_str().unwrap().to_owned())
            .or_default() += 1;
    }
    count
}

#[tokio::test]
async fn status_shows_the_shards_of_local() {
    let local = Server::local(&["--demo=echo", "--workers=4"]).await;
    let (text, status) = status(&local).await;
    assert!(text.contains("64 shards"), "{text}");
    let drawn = text.chars().filter(|c| HEXAGRAMS.contains(c)).count();
    assert_eq!(drawn, 64, "{text}");
    let mut lines = text.lines();
    let demo = lines.find(|line| line.contains("upstream demo: reachable for "));
    assert!(
        demo.is_some_and(|line| line.ends_with(", 0 requests, 0 in flight")),
        "{text}"
    );
    assert_eq!(status["upstreams"][0]["name"], "demo");
    let key = status["keys"][0].as_str().unwrap();
    assert!(text.contains(&format!("  keys: {key} mints\n")), "{text}");
    let owners = owners(&status);
    assert_eq!(owners.values().sum::<usize>(), 64);
    let names: Vec<_> = owners.keys().map(String::as_str).collect();
    assert_eq!(names, ["worker-0", "worker-1", "worker-2", "worker-3"]);
    assert!(
        owners.values().all(|count| (12..=20).contains(count)),
        "{owners:?}"
    );
    for name in names {
        assert!(text.contains(name), "{text}");
    }
}

#[tokio::test]
async fn status_shows_the_shards_of_a_cluster() {
    let cluster = Cluster::start(1, 2, &["--demo=echo"]).await;
    let (text, edge) = status(&cluster.edges[0]).await;
    assert!(text.contains("link to worker-1: up"), "{text}");
    let seen = owners(&edge);
    assert_eq!(seen.values().sum::<usize>(), 64);
    for (worker, name) in cluster.workers.iter().zip(["worker-0", "worker-1"]) {
        let (said, own) = status(worker).await;
        assert!(said.contains("upstream demo: "), "{said}");
        let own_of_all = format!("{} of 64 shards", seen[name]);
        assert!(said.contains(&own_of_all), "{said}");
        assert!((24..=40).contains(&seen[name]), "{seen:?}");
        assert_eq!(
            owners(&own),
            BTreeMap::from([(name.to_owned(), seen[name])])
        );
    }
}

#[tokio::test]
async fn a_drain_can_be_cancelled() {
    let local = Server::local(&["--demo=echo"]).await;
    let admin = format!("--admin={}", local.admin);
    let cancel = ["drain", "worker-0", "--cancel", &admin];
    let said = complaint(&hexagram(&cancel).await, 1);
    assert!(said.contains("worker-0 is not being drained"), "{said}");
    out(&hexagram(&["drain", "worker-0", &admin]).await);
    assert_eq!(owners(&local.status().await).get("worker-0"), None);
    let said = out(&hexagram(&cancel).await);
    assert!(said.contains("given shards again"), "{said}");
    wait::until("its share", async || {
        let owners = owners(&local.status().await);
        owners.contains_key("worker-0").then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_watches_sees_a_process_go_and_come_back() {
    let mut local = Server::local(&["--demo=echo"]).await;
    let admin = format!("--admin={}", local.admin);
    let watch = Launch::hexagram().args(["status", "--watch", &admin]);
    let watch = Process::spawn(watch);
    let looks = || watch.log().matches("64 shards").count();
    wait::until("a first look", async || (looks() > 0).then_some(())).await;
    local.process.kill().await;
    let complains = || watch.log().contains("asking again");
    wait::until("an error", async || complains().then_some(())).await;
    let before = looks();
    local.process.respawn();
    let sees_it_again = || looks() > before;
    wait::until("another look", async || sees_it_again().then_some(())).await;
    let once = hexagram(&["status", "--admin=127.0.0.1:1"]).await;
    assert!(complaint(&once, 1).contains("127.0.0.1:1"));
}

/// Edges and workers have admin addresses too, but take no orders.
#[tokio::test]
async fn an_order_at_the_wrong_address_says_whom_to_give_it() {
    let cluster = Cluster::start(1, 1, &["--demo=echo"]).await;
    for (server, name) in [
        (&cluster.edges[0], "edge edge-0"),
        (&cluster.workers[0], "worker worker-0"),
    ] {
        let admin = format!("--admin={}", server.admin);
        for order in [&["move", "3", "worker-0"][..], &["drain", "worker-0"]] {
            let order = [order, &[admin.as_str()]].concat();
            let said = complaint(&hexagram(&order).await, EXIT_USAGE);
            for part in [name, "takes no orders", "--admin of `hexagram control`"] {
                assert!(said.contains(part), "{order:?}: {said}");
            }
        }
    }
}

/// `local` prints where it is and what it serves, before it is asked.
#[tokio::test]
async fn local_greets() {
    let local = Server::local(&[]).await;
    let greeting = local.process.log();
    assert!(greeting.contains(&local.url()), "{greeting}");
    assert_eq!(
        greeting.chars().filter(|c| HEXAGRAMS.contains(c)).count(),
        64
    );
}

#[tokio::test]
async fn flags_win_over_variables_and_they_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hexagram.toml");
    fs::write(
        &file,
        "workers = 3\ndemo = \"echo\"\n\n[max]\nmessage = 4096\n",
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let launch = Launch::hexagram()
        .args(["config", "local", "--workers=4", "--config", file])
        .variable("HEXAGRAM_WORKERS", "2")
        .variable("HEXAGRAM_DEMO", "tour");
    let text = out(&run(launch).await);
    let lines: Vec<_> = text.lines().collect();
    let from_file = format!("max-message = 4096 # {file}:5");
    for line in [
        "workers = 4 # flag",
        "demo = \"tour\" # variable HEXAGRAM_DEMO",
        from_file.as_str(),
        "routing-spread = 16 # default",
    ] {
        assert!(lines.contains(&line), "{line} is missing in\n{text}");
    }
    // What it prints is a file again.
    let again = folder.path().join("again.toml");
    fs::write(&again, &text).unwrap();
    let text = out(&hexagram(&["config", "local", "--config", again.to_str().unwrap()]).await);
    assert!(text.contains("workers = 4 #"), "{text}");
}

#[tokio::test]
async fn a_bad_config_file_is_named_with_line_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hexagram.toml");
    for (text, line, key) in [
        ("workers = 2\n\n[max]\nmesage = 5\n", 4, "max-mesage"),
        ("\nworkers = \"many\"\n", 2, "workers"),
        ("workers = 0\n", 1, "workers"),
        ("shards = 63\n", 1, "shards"),
        ("demo = \"tour\"\nworkers = = 2\n", 2, ""),
    ] {
        fs::write(&file, text).unwrap();
        let output = hexagram(&["local", "--config", file.to_str().unwrap()]).await;
        let said = complaint(&output, EXIT_CONFIG);
        let place = format!("{}:{line}: ", file.display());
        assert!(
            said.contains(&place) && said.contains(key),
            "{text}: {said}"
        );
    }
    let output = hexagram(&["local", "--config", "/no/such/file.toml"]).await;
    assert!(complaint(&output, EXIT_CONFIG).contains("/no/such/file.toml"));
}

#[tokio::test]
async fn a_bad_variable_is_named() {
    let launch = Launch::hexagram()
        .args(["local"])
        .variable("HEXAGRAM_WORKERS", "many");
    assert!(complaint(&run(launch).await, EXIT_CONFIG).contains("HEXAGRAM_WORKERS"));
}

#[tokio::test]
async fn a_port_in_use_names_the_flag_to_change() {
    let local = Server::local(&["--demo=echo"]).await;
    let (listen, admin) = (local.listen.to_string(), local.admin.to_string());
    let free = "127.0.0.1:0";
    let output = hexagram(&["local", "--listen", &listen, "--admin", free]).await;
    let said = complaint(&output, 1);
    assert!(
        said.contains(&listen) && said.contains("--listen"),
        "{said}"
    );
    assert_eq!(said.matches("in use").count(), 1, "said once: {said}");
    let output = hexagram(&["local", "--listen", free, "--admin", &admin]).await;
    let said = complaint(&output, 1);
    assert!(said.contains(&admin) && said.contains("--admin"), "{said}");
}

/// Settings that cannot work, the exit code they end with, and what must be said.
const HOPELESS: [(&[&str], i32, &str); 11] = [
    (&["local", "--auth=api-keys"], EXIT_USAGE, "--auth-keys"),
    (
        &["local", "--auth=trusted-header"],
        EXIT_USAGE,
        "--trusted-proxies",
    ),
    (
        &["local", "--routing-header=x-client"],
        EXIT_USAGE,
        "--trusted-proxies",
    ),
    (
        &["local", "--auth=api-keys", "--auth-keys=/no/such/file"],
        EXIT_CONFIG,
        "/no/such/file",
    ),
    (&["edge", PEER], EXIT_USAGE, "hexagram keys ring"),
    (&["edge", PEER, PEER], EXIT_USAGE, "two workers are named"),
    (&["worker", "--name=other", PEER], EXIT_USAGE, "--peer"),
    (
        &[
            "worker",
            "--name=worker-0",
            PEER,
            "--upstream=a=some command",
        ],
        EXIT_USAGE,
        "hexagram local",
    ),
    (
        &["local", "--keys=/no/such/ring"],
        EXIT_CONFIG,
        "/no/such/ring",
    ),
    (&["local", "--keys=/dev/null"], EXIT_CONFIG, "/dev/null"),
    (
        &[
            "local",
            "--upstream=a=http://127.0.0.1:1/mcp",
            "--upstream=a=true",
        ],
        EXIT_USAGE,
        "two upstreams are called a",
    ),
];
const PEER: &str = "--peer=worker-0=127.0.0.1:1";

#[tokio::test]
async fn settings_that_cannot_work_say_what_is_missing() {
    for (args, code, hint) in HOPELESS {
        let mut all = args.to_vec();
        all.extend(["--admin=127.0.0.1:0"]);
        all.extend(args.contains(&"local").then_some("--listen=127.0.0.1:0"));
        let said = complaint(&hexagram(&all).await, code);
        assert!(said.contains(hint), "{args:?}: {said}");
    }
}

/// What a role would not start with, `hexagram config` does not pass.
#[tokio::test]
async fn config_checks_what_the_role_would() {
    for (args, code, hint) in HOPELESS {
        let mut all = vec!["config"];
        all.extend(args);
        let output = hexagram(&all).await;
        let said = complaint(&output, code);
        assert!(said.contains(hint), "{args:?}: {said}");
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(printed.contains("# flag"), "{args:?}: {printed}");
    }
}

#[tokio::test]
async fn wrong_flags_are_usage_errors_that_say_what_to_write() {
    for (args, hint) in [
        (&["local", "--listen=somewhere"][..], "127.0.0.1:8080"),
        (&["local", "--workers=two"], "whole number"),
        (&["local", "--trusted-proxies=here"], "10.0.0.0/8"),
        (&["local", "--log=loud"], "TARGET=LEVEL"),
        (&["edge"], "--peer"),
        (&["edge", "--peer=x"], "NAME=HOST:PORT"),
        (&["edge", PEER, "--control=127.0.0.1:1"], "not go together"),
        (&["edge", PEER, "--ask=127.0.0.1:1"], "--ask goes with"),
        (&["edge", "--ask=here"], "HOST:PORT"),
        (&["worker", "--name=w", PEER, "--ask=h:1"], "--shard-map"),
        (&["edge", "--ask=http://here:1"], "is a URL"),
        (&["keys", "ring", "--id=256"], "0..=255"),
        (&["move", "one", "worker-0"], "SHARD"),
        (&["drain", "Worker 0"], "no worker name"),
        (&["local", "--upstream=x"], "NAME=URL"),
        (&["keys", "api", "two words"], "white space"),
        (
            &["bench", "http", "--url=https://example.org"],
            "plain HTTP",
        ),
        (&["bench", "http", "--seconds=soon"], "seconds"),
        (&["bench", "http", "--header=bad name: x"], "Name: value"),
        (&["nothing"], "--help"),
    ] {
        let said = complaint(&hexagram(args).await, EXIT_USAGE);
        assert!(said.contains(hint), "{args:?}: {said}");
    }
}

/// A full disk is no reason for a backtrace.
#[tokio::test]
async fn a_result_that_cannot_be_written_is_an_error() {
    for args in [
        &["config", "local"][..],
        &["keys", "ring"],
        &["keys", "api", "alice"],
    ] {
        let mut command = Launch::hexagram().args(args).command();
        let full = fs::File::options().write(true).open("/dev/full").unwrap();
        let output = command.stdout(full).output().unwrap();
        let said = complaint(&output, 1);
        assert!(said.contains("standard output"), "{args:?}: {said}");
        assert!(
            !said.contains("panicked") && said.lines().count() == 1,
            "{said}"
        );
    }
}

#[tokio::test]
async fn a_variable_holds_several_upstreams_one_a_line() {
    let two = "a=http://127.0.0.1:1/mcp\nb=http://127.0.0.1:2/mcp?x=1,2";
    let launch = Launch::hexagram()
        .args(["config", "local"])
        .variable("HEXAGRAM_UPSTREAM", two);
    let text = out(&run(launch).await);
    let list = two.replace('\n', "\", \"");
    let line = format!("upstream = [\"{list}\"] # variable HEXAGRAM_UPSTREAM");
    assert!(text.lines().any(|found| found == line), "{text}");
}

#[tokio::test]
async fn keys_are_fresh_each_time() {
    let rings = [
        hexagram(&["keys", "ring"]).await,
        hexagram(&["keys", "ring"]).await,
    ];
    let [one, two] = rings.map(|output| out(&output));
    assert_ne!(one, two);
    hexagram_core::KeyRing::parse(&one).unwrap();
    let api = hexagram(&["keys", "api", "alice"]).await;
    let line = out(&api);
    let (name, digest) = line.trim_end().split_once(' ').unwrap();
    assert_eq!((name, digest.len()), ("alice", 64));
    assert!(!String::from_utf8_lossy(&api.stderr).contains(digest));
}

#[tokio::test]
async fn bench_calls_without_errors_in_both_eras() {
    let local = Server::local(&["--demo=echo"]).await;
    for era in ["legacy", "modern"] {
        let pid = local.process.pid().to_string();
        let url = local.url();
        let args = [
            "bench",
            "http",
            "--url",
            &url,
            "--era",
            era,
            "--connections=4",
            "--seconds=0.5",
            "--pid",
            &pid,
            "-o",
            "json",
        ];
        let report: Value = serde_json::from_str(&out(&hexagram(&args).await)).unwrap();
        assert_eq!(report["errors"], 0, "{era}: {report}");
        assert!(
            report["calls_per_second"].as_f64().unwrap() > 0.0,
            "{era}: {report}"
        );
    }
}

/// Figures of a failing server are worth nothing, so they fail the command.
#[tokio::test]
async fn bench_fails_where_calls_fail() {
    let local = Server::local(&["--demo=echo"]).await;
    let url = local.url();
    let args = [
        "bench",
        "http",
        "--url",
        &url,
        "--tool=nothing",
        "--connections=1",
        "--seconds=0.2",
    ];
    let output = hexagram(&args).await;
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    // The server's own words, once for all failures of the kind.
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said.matches("nothing").count(), 1, "{said}");
}

#[tokio::test]
async fn bench_compare_gives_ratios() {
    let local = Server::local(&["--demo=echo"]).await;
    let (url, pid) = (local.url(), local.process.pid().to_string());
    let args = [
        "bench",
        "compare",
        "--url",
        &url,
        "--pid",
        &pid,
        "--rounds=1",
        "--seconds=0.2",
        "--rate=200",
        "--connections=2",
    ];
    let text = out(&hexagram(&args).await);
    for line in ["throughput ", "cpu per call "] {
        let found = text.lines().find(|found| found.starts_with(line));
        assert!(
            found.is_some_and(|line| line.contains(" of bare")),
            "{text}"
        );
    }
    let mut json = args.to_vec();
    json.extend(["-o", "json"]);
    let report: Value = serde_json::from_str(&out(&hexagram(&json).await)).unwrap();
    for figure in ["throughput", "cpu_micros_per_call"] {
        assert!(report[figure]["median"].is_object(), "{report}");
    }
}
