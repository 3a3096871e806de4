//! The register over HTTP: joining, following, ordering.

#![allow(clippy::unwrap_used, reason = "a test ends at what it cannot use")]

#[allow(dead_code, reason = "shared with the tests of the controller alone")]
mod support;

use std::net::SocketAddr;

use hexagram_control::{Api, HttpSource, Joining, MemoryRegister};
use hexagram_core::Setup;
use reqwest::{Client, Method, StatusCode};
use support::{Puppet, SHARDS, control, owned, rests, shards, until};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// A controller behind a port; `at` port 0 takes any.
async fn serving(at: SocketAddr, register: &MemoryRegister) -> (SocketAddr, CancellationToken) {
    let listener = TcpListener::bind(at).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (control, end) = control(register, 2);
    let api = Api::new(control, register.clone(), "c", shards());
    tokio::spawn(api.run(listener, end.clone()));
    (address, end)
}

fn any_port() -> SocketAddr {
    ([127, 0, 0, 1], 0).into()
}

fn member(source: &HttpSource, puppet: &Puppet) -> CancellationToken {
    member_with(source, puppet, Setup::default())
}

fn member_with(source: &HttpSource, puppet: &Puppet, setup: Setup) -> CancellationToken {
    let (source, end) = (source.clone(), CancellationToken::new());
    let mut who = puppet.introduced();
    who.setup = setup;
    let token = end.clone();
    tokio::spawn(async move { source.member(move || who.clone(), token).await });
    end
}

async fn post(at: SocketAddr, path: &str, body: &str) -> (StatusCode, String) {
    send(Method::POST, at, path, body).await
}

async fn send(method: Method, at: SocketAddr, path: &str, body: &str) -> (StatusCode, String) {
    let request = Client::new()
        .request(method, format!("http://{at}{path}"))
        .body(body.to_owned());
    let answer = request.send().await.unwrap();
    (answer.status(), answer.text().await.unwrap())
}

#[tokio::test]
async fn workers_join_and_leave_and_edges_follow() {
    let register = MemoryRegister::default();
    let (address, _end) = serving(any_port(), &register).await;
    let source = HttpSource::new(&address.to_string(), "c", shards()).unwrap();
    let mut maps = source.follow();
    let a = Puppet::start(0, 1, &register).await;
    let b = Puppet::start(1, 1, &register).await;
    let (_a, b_end) = (member(&source, &a), member(&source, &b));
    until("a first map", &mut maps, |_| true).await;
    let (code, said) = post(address, "/v1/drains", r#"{"worker": "worker-1"}"#).await;
    assert_eq!(code, StatusCode::OK, "{said}");
    let drained = |map: &_| owned(map, &a.owner) == usize::from(SHARDS) && rests(map);
    until("a drain", &mut maps, drained).await;
    let other = r#"{"worker": "worker-0"}"#;
    let (code, said) = send(Method::DELETE, address, "/v1/drains", other).await;
    assert_eq!(code, StatusCode::CONFLICT, "{said}");
    assert!(said.contains("worker-0 is not being drained"), "{said}");
    b.die();
    b_end.cancel();
    let gone = |map: &hexagram_core::RegisterMap| !map.addresses().contains_key(&b.owner);
    until("b is forgotten", &mut maps, gone).await;
}

#[tokio::test]
async fn a_follower_keeps_its_map_while_the_controller_is_down_and_goes_on_after() {
    let register = MemoryRegister::default();
    let (address, end) = serving(any_port(), &register).await;
    let source = HttpSource::new(&format!("http://{address}/"), "c", shards()).unwrap();
    let mut maps = source.follow();
    let a = Puppet::start(0, 1, &register).await;
    let b = Puppet::start(1, 1, &register).await;
    let _ends = [member(&source, &a), member(&source, &b)];
    let before = until("a first map", &mut maps, |_| true).await;
    end.cancel();
    let empty = MemoryRegister::default();
    let again = support::eventually("the port", async || {
        TcpListener::bind(address).await.ok().map(drop)
    });
    again.await;
    assert_eq!(maps.borrow().as_deref(), Some(&*before));
    let (_, _end) = serving(address, &empty).await;
    let newer = |map: &hexagram_core::RegisterMap| map.version() > before.version();
    let after = until("a later map", &mut maps, newer).await;
    assert!(after.entries().eq(before.entries()), "nothing moved");
}

#[tokio::test]
async fn who_does_not_belong_here_is_told_why() {
    let register = MemoryRegister::default();
    let (address, _end) = serving(any_port(), &register).await;
    let join = |cluster: &str, shards: u16| {
        format!(
            r#"{{"cluster": "{cluster}", "shards": {shards}, "name": "w", "incarnation": "7", "address": "127.0.0.1:1"}}"#
        )
    };
    for (path, body, code, text) in [
        ("/v1/workers", join("d", SHARDS), 409, "--cluster"),
        ("/v1/workers", join("c", 64), 409, "--shards"),
        ("/v1/workers", "{".to_owned(), 400, "EOF"),
        (
            "/v1/moves",
            r#"{"shard": 1, "to": "w"}"#.to_owned(),
            409,
            "no shard map yet",
        ),
        (
            "/v1/moves",
            r#"{"shard": 1, "to": "W!"}"#.to_owned(),
            400,
            "no worker name",
        ),
        ("/v1/else", String::new(), 404, "no page"),
    ] {
        let (status, said) = post(address, path, &body).await;
        assert_eq!(status.as_u16(), code, "{path}: {said}");
        assert!(said.contains(text), "{path}: {said}");
    }
}

#[tokio::test]
async fn who_does_not_go_with_a_living_worker_is_refused_while_it_lives() {
    let register = MemoryRegister::default();
    let (address, _end) = serving(any_port(), &register).await;
    let source = HttpSource::new(&address.to_string(), "c", shards()).unwrap();
    let mut maps = source.follow();
    let setup = |keys: &[u64]| Setup {
        keys: keys.to_vec(),
        store: Some(String::new()),
    };
    let a = Puppet::start(0, 1, &register).await;
    let b = Puppet::start(1, 1, &register).await;
    let a_end = member_with(&source, &a, setup(&[7]));
    let _b = member_with(&source, &b, setup(&[u64::MAX, 7]));
    until("a first map", &mut maps, |_| true).await;
    let join = |keys: &str, store: &str| {
        format!(
            r#"{{"cluster": "c", "shards": {SHARDS}, "name": "w", "incarnation": "7",
                "address": "127.0.0.1:1", "keys": {keys}, "store": "{store}"}}"#
        )
    };
    for (body, text) in [
        (join(r#"["8"]"#, ""), "no key in common"),
        (
            join(r#"["7"]"#, "s:1/0"),
            "w has a session store and worker-",
        ),
        (join(r#"["x"]"#, ""), "no fingerprint"),
        // One living worker is enough, whoever joined first.
        (
            join(r#"["ffffffffffffffff"]"#, ""),
            "of w and worker-0 have no key",
        ),
    ] {
        let (status, said) = post(address, "/v1/workers", &body).await;
        assert_eq!(status, StatusCode::CONFLICT, "{body}: {said}");
        assert!(said.contains(text), "{body}: {said}");
    }
    a.die();
    a_end.cancel();
    let gone = |map: &hexagram_core::RegisterMap| !map.addresses().contains_key(&a.owner);
    until("a is forgotten", &mut maps, gone).await;
    let body = join(r#"["ffffffffffffffff"]"#, "");
    let (status, said) = post(address, "/v1/workers", &body).await;
    assert_eq!(status, StatusCode::OK, "{said}");
}

#[tokio::test]
async fn a_worker_waits_for_its_name_while_another_process_has_it() {
    let register = MemoryRegister::default();
    let (address, _end) = serving(any_port(), &register).await;
    let source = || HttpSource::new(&address.to_string(), "c", shards()).unwrap();
    let mut maps = source().follow();
    let a = Puppet::start(0, 1, &register).await;
    let b = Puppet::start(1, 1, &register).await;
    let _ends = [member(&source(), &a), member(&source(), &b)];
    until("a first map", &mut maps, |_| true).await;
    let second = Puppet::start(0, 2, &register).await;
    let late = source();
    let mut joining = late.joining();
    let _end = member(&late, &second);
    let refused = |now: &Joining| matches!(now, Joining::Vain(why) if why.contains("--name"));
    drop(joining.wait_for(refused).await.unwrap());
    assert!(owned(&maps.borrow().clone().unwrap(), &a.owner) > 0);
    a.die();
    drop(
        joining
            .wait_for(|now| *now == Joining::Joined)
            .await
            .unwrap(),
    );
    let named = |map: &hexagram_core::RegisterMap| map.addresses().contains_key(&second.owner);
    until("the second is a member", &mut maps, named).await;
}
