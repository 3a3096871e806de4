//! The upstreams change under a running process: whoever uses those that stay
//! notices nothing but the news (ADR 0010).

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod cluster;

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use cluster::http::Http;
use cluster::listener::Listener;
use cluster::mcp::{Session, call, modern, result, text};
use cluster::puppet::{Line, Puppet};
use cluster::upstream::{Behaviour, Upstream};
use cluster::{Cluster, Server, wait};

const LISTS: [&str; 3] = ["tools", "prompts", "resources"];

/// A config file that a test writes again and again.
struct Config {
    folder: TempDir,
}

impl Config {
    fn new(upstreams: &[(&str, &str)]) -> Self {
        let this = Self {
            folder: tempfile::tempdir().unwrap(),
        };
        this.set(upstreams);
        this
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("hexagram.toml")
    }

    fn set(&self, upstreams: &[(&str, &str)]) {
        let all = upstreams.iter().map(|(name, url)| format!("{name}={url}"));
        let all: Vec<_> = all.collect();
        self.write(&format!("upstream = {}\n", json!(all)));
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).unwrap();
    }

    async fn local(&self, more: &[&str]) -> Server {
        let path = self.path();
        let args = [&["--config", path.to_str().unwrap()], more].concat();
        Server::local(&args).await
    }
}

/// Waits until the process has said this so many times.
async fn said(server: &Server, what: &str, times: usize) {
    let process = &server.process;
    wait::until(format!("{what:?} in the log"), async || {
        (process.log().matches(what).count() >= times).then_some(())
    })
    .await;
}

/// Sends SIGHUP and waits until the file was read.
async fn reload(server: &Server) {
    let done = "configuration reloaded";
    let before = server.process.log().matches(done).count();
    server.process.signal(Signal::HUP);
    said(server, done, before + 1).await;
}

/// The tools that a client of the session sees.
async fn tools(session: &mut Session) -> Vec<String> {
    let reply = session.ask("tools/list", &json!({})).await;
    let list = result(&reply)["tools"].clone();
    let names = list.as_array().into_iter().flatten();
    let mut names: Vec<_> = names
        .map(|tool| tool["name"].as_str().unwrap().to_owned())
        .collect();
    names.sort();
    names
}

/// A call at the puppet, answered.
async fn answered(session: &mut Session, tool: &str, puppet: &mut Puppet) {
    let ask = session.prepare("tools/call", &call(tool, &json!({})));
    session.http.start(&ask).await;
    puppet.call().await.answer("done").await;
    assert_eq!(text(&session.reply().await), "done");
}

/// A session that uses the only upstream, and both ends of its standing stream.
async fn listening(server: &Server, puppet: &mut Puppet) -> (Session, Listener, Line) {
    let mut session = Session::open(server.listen).await;
    let stream = Listener::listen(server.listen, &session, None).await;
    answered(&mut session, "act", puppet).await;
    let line = puppet.listener().await;
    (session, stream, line)
}

/// Checks that the client is told of all lists.
async fn is_told(stream: &mut Listener) {
    for list in LISTS {
        let method = format!("notifications/{list}/list_changed");
        assert_eq!(stream.message().await.message()["method"], method);
    }
}

#[tokio::test]
async fn one_more_upstream_appears_and_the_old_session_goes_on() {
    let (mut a, b) = (
        Puppet::start().await,
        Upstream::start(Behaviour::Good).await,
    );
    let config = Config::new(&[("a", &a.url())]);
    let server = config.local(&[]).await;
    let (mut session, mut stream, mut line) = listening(&server, &mut a).await;
    config.set(&[("a", &a.url()), ("b", &b.url())]);
    reload(&server).await;
    is_told(&mut stream).await;
    line.say("still here").await;
    assert_eq!(stream.message().await.said(), "still here");
    assert_eq!(tools(&mut session).await, ["b__act"], "a has none");
    let reply = session.call("b__act", &json!({})).await;
    assert_eq!(text(&reply), "ok");
    answered(&mut session, "a__act", &mut a).await;
    let upstreams = server.status().await["upstreams"].clone();
    for (index, name) in ["a", "b"].into_iter().enumerate() {
        let upstream = &upstreams[index];
        assert_eq!(upstream["name"], name, "{upstreams}");
        assert_eq!(upstream["reachable"], true, "{upstreams}");
        assert_eq!(upstream["era"], "legacy", "{upstreams}");
    }
    assert_eq!(upstreams[0]["server"], "puppet 1", "{upstreams}");
}

/// The subscription of a modern client to the list of tools.
async fn subscribe(server: &Server) -> Listener {
    let filter = json!({"notifications": {"toolsListChanged": true}});
    let mut stream =
        Listener::open(server.listen, &modern(7, "subscriptions/listen", &filter)).await;
    let acknowledged = stream.message().await.message();
    assert_eq!(
        acknowledged["params"]["notifications"],
        json!({"toolsListChanged": true})
    );
    stream
}

#[tokio::test]
async fn a_modern_client_hears_of_an_upstream_of_its_own_era() {
    let (a, tour) = (
        Upstream::start(Behaviour::Good).await,
        Server::local(&[]).await,
    );
    let config = Config::new(&[("a", &a.url())]);
    let server = config.local(&[]).await;
    let mut stream = subscribe(&server).await;
    // Nobody tells the process: it sees that the file is another.
    config.set(&[("a", &a.url()), ("tour", &tour.url())]);
    let told = stream.message().await.message();
    assert_eq!(told["method"], "notifications/tools/list_changed");
    let mut http = Http::connect(server.listen).await;
    let params = call("tour__echo", &json!({"message": "hi"}));
    let reply = http.send(&modern(8, "tools/call", &params)).await;
    assert!(text(&reply).contains("hi"), "{reply:?}");
    let reply = http
        .send(&modern(9, "tools/call", &call("a__act", &json!({}))))
        .await;
    assert_eq!(text(&reply), "ok");
}

#[tokio::test]
async fn a_removed_upstream_ends_after_its_last_call() {
    let (mut a, mut b) = (Puppet::start().await, Puppet::start().await);
    let c = Upstream::start(Behaviour::Good).await;
    let all = [("a", &*a.url()), ("b", &*b.url()), ("c", &*c.url())];
    let config = Config::new(&all);
    let server = config.local(&[]).await;
    let mut session = Session::open(server.listen).await;
    answered(&mut session, "a__act", &mut a).await;
    a.ended().await;
    b.ended().await;
    let mut other = session.prepare("tools/call", &call("b__act", &json!({})));
    session.http.start(&other).await;
    let mut running = b.call().await;
    config.set(&[all[0], all[2]]);
    reload(&server).await;
    let mut aside = Http::connect(server.listen).await;
    other = session.prepare("tools/call", &call("b__act", &json!({})));
    let refused = aside.send(&other).await.response();
    let message = refused["error"]["message"].as_str().unwrap();
    assert!(message.contains("names no upstream"), "{refused}");
    running.answer("at last").await;
    assert_eq!(text(&session.reply().await), "at last");
    b.ended().await;
    answered(&mut session, "a__act", &mut a).await;
}

#[tokio::test]
async fn an_upstream_that_moved_is_used_where_it_is_now() {
    let (mut old, new) = (
        Puppet::start().await,
        Upstream::start(Behaviour::Good).await,
    );
    let config = Config::new(&[("a", &old.url())]);
    let server = config.local(&[]).await;
    let (mut session, mut stream, _line) = listening(&server, &mut old).await;
    old.ended().await;
    config.set(&[("a", &new.url())]);
    reload(&server).await;
    is_told(&mut stream).await;
    old.ended().await;
    assert_eq!(tools(&mut session).await, ["act"]);
    assert_eq!(text(&session.call("act", &json!({})).await), "ok");
}

#[tokio::test]
async fn a_broken_file_changes_nothing_and_is_told_by_line_and_key() {
    let a = Upstream::start(Behaviour::Good).await;
    let config = Config::new(&[("a", &a.url())]);
    let server = config.local(&[]).await;
    let mut session = Session::open(server.listen).await;
    for (text, told) in [
        ("upstream = [", "hexagram.toml:1: "),
        ("\nupstraem = []", "hexagram.toml:2: unknown key `upstraem`"),
        (
            "\n\nupstream = [\"a=ftp://x\"]",
            "hexagram.toml:3: wrong value for `upstream`",
        ),
        (
            "upstream = [\"a=http://127.0.0.1:1\", \"a=http://127.0.0.1:2\"]",
            "hexagram.toml:1: wrong value for `upstream`: two upstreams are called a",
        ),
    ] {
        config.write(text);
        server.process.signal(Signal::HUP);
        said(&server, told, 1).await;
        assert_eq!(self::text(&session.call("act", &json!({})).await), "ok");
    }
    assert!(!server.process.log().contains("configuration reloaded"));
}

#[tokio::test]
async fn what_cannot_be_followed_is_told() {
    let a = Upstream::start(Behaviour::Good).await;
    let config = Config::new(&[]);
    config.write("log = \"warn\"");
    let server = config.local(&[&a.argument("a")]).await;
    let upstream = "upstream = [\"b=http://127.0.0.1:1\"]";
    config.write(&format!("log = \"info\"\nworkers = 3\n{upstream}"));
    reload(&server).await;
    let log = server.process.log();
    for (key, reason) in [
        ("workers", "it is read at the next start"),
        ("upstream", "the flag wins over it"),
    ] {
        let line = |line: &str| line.contains(&format!("key=\"{key}\"")) && line.contains(reason);
        assert!(log.lines().any(line), "{log}");
    }
    let names = |status: &Value| status["upstreams"][0]["name"].clone();
    assert_eq!(names(&server.status().await), "a");
}

#[tokio::test]
async fn a_worker_reloads_too() {
    let (a, b) = (
        Upstream::start(Behaviour::Good).await,
        Upstream::start(Behaviour::Good).await,
    );
    let config = Config::new(&[("a", &a.url())]);
    let path = config.path();
    let cluster = Cluster::start(1, 1, &["--config", path.to_str().unwrap()]).await;
    let edge = cluster.edges[0].listen;
    let mut session = Session::open(edge).await;
    let mut stream = Listener::listen(edge, &session, None).await;
    config.set(&[("a", &a.url()), ("b", &b.url())]);
    reload(&cluster.workers[0]).await;
    is_told(&mut stream).await;
    assert_eq!(tools(&mut session).await, ["a__act", "b__act"]);
}

/// Waits until the client's list of tools is this.
async fn sees(session: &mut Session, expected: &[&str]) {
    wait::until(format!("{expected:?} in the list"), async || {
        (tools(session).await == expected).then_some(())
    })
    .await;
}

/// Files of a folder, without any config file.
#[tokio::test]
async fn upstreams_come_change_and_go_as_files_of_a_folder() {
    let (a, b) = (
        Upstream::start(Behaviour::Good).await,
        Upstream::start(Behaviour::Good).await,
    );
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    write("a.toml", &format!("url = {:?}\n", a.url()));
    let folder_flag = format!("--upstream-dir={}", folder.path().display());
    let server = Server::local(&[&folder_flag]).await;
    let mut session = Session::open(server.listen).await;
    sees(&mut session, &["act"]).await;
    write("b.toml", &format!("url = {:?}\n", b.url()));
    sees(&mut session, &["a__act", "b__act"]).await;
    write("b.toml", "url = 'ftp://nowhere'\n");
    said(&server, "an upstream's file cannot be used", 1).await;
    said(&server, "goes_on=true", 1).await;
    sees(&mut session, &["a__act", "b__act"]).await;
    fs::remove_file(folder.path().join("b.toml")).unwrap();
    sees(&mut session, &["act"]).await;
}

/// A worker without a built-in server, whose folder has nothing at first.
#[tokio::test]
async fn the_last_file_of_a_folder_may_go_and_the_folder_may_not() {
    let a = Upstream::start(Behaviour::Good).await;
    let outer = tempfile::tempdir().unwrap();
    let folder = outer.path().join("upstreams");
    fs::create_dir(&folder).unwrap();
    let flag = format!("--upstream-dir={}", folder.display());
    let cluster = Cluster::start(1, 1, &[&flag]).await;
    let worker = &cluster.workers[0];
    said(worker, "no upstream yet", 1).await;
    let mut session = Session::open(cluster.edges[0].listen).await;
    assert!(tools(&mut session).await.is_empty());
    let (file, text) = (folder.join("a.toml"), format!("url = {:?}\n", a.url()));
    fs::write(&file, &text).unwrap();
    sees(&mut session, &["act"]).await;
    fs::remove_file(&file).unwrap();
    sees(&mut session, &[]).await;
    said(worker, "no upstream is left", 1).await;
    fs::write(&file, &text).unwrap();
    sees(&mut session, &["act"]).await;
    fs::remove_dir_all(&folder).unwrap();
    said(worker, "what it had is served on", 1).await;
    sees(&mut session, &["act"]).await;
}
