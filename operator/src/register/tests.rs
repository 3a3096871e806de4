//! What an API server is asked when a register is opened, and what becomes of what is written.

use std::collections::BTreeMap;

use hexagram_core::{Entry, Epoch, Incarnation, Owner};
use http::Method;
use kube::{Client, Config};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;
use crate::client::Place;
use crate::shard_map::Summary;
use crate::testing::{place, refusal};

/// An API server that answers everything so; gives the methods that it is asked with.
async fn api_server(status: &str, body: &str) -> (Client, mpsc::Receiver<String>) {
    let length = body.len();
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    );
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, asked) = mpsc::channel(8);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            serve(stream, &tell, &answer).await;
        }
    });
    let config = Config::new(url.parse().unwrap());
    (Client::try_from(config).unwrap(), asked)
}

async fn serve(mut stream: TcpStream, tell: &mpsc::Sender<String>, answer: &str) {
    let (read, mut write) = stream.split();
    let mut head = BufReader::new(read).lines();
    let first = head.next_line().await.unwrap().unwrap();
    while !head.next_line().await.unwrap().unwrap().is_empty() {}
    let (method, _) = first.split_once(' ').unwrap();
    tell.send(method.to_owned()).await.unwrap();
    write.write_all(answer.as_bytes()).await.unwrap();
}

/// The object of a cluster of one shard, without a map yet.
fn object() -> ShardMap {
    let spec = ShardMapSpec {
        cluster: "c".to_owned(),
        shards: 1,
    };
    ShardMap::new("hexagram", spec)
}

#[tokio::test]
async fn who_never_makes_the_object_reads_it_once() {
    let object = serde_json::to_string(&object()).unwrap();
    let missing = r#"{"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}"#;
    for (status, body, is_there) in [
        ("404 Not Found", missing, false),
        ("200 OK", &*object, true),
    ] {
        let (client, mut asked) = api_server(status, body).await;
        let api = Api::namespaced(client, "default");
        let count = ShardCount::try_from(1).unwrap();
        let found = KubeRegister::found(api, "hexagram", "c", count).await;
        assert_eq!(found.unwrap().is_some(), is_there);
        assert_eq!(asked.recv().await.as_deref(), Some("GET"));
        assert!(asked.try_recv().is_err(), "it is asked again");
    }
}

/// A first map.
fn first() -> Arc<RegisterMap> {
    let owner = Owner {
        worker: "worker-0".parse().unwrap(),
        incarnation: Incarnation::new(1).unwrap(),
    };
    let entries = vec![Entry::new(owner, Epoch::FIRST)];
    let count = ShardCount::try_from(1).unwrap();
    Arc::new(RegisterMap::new(1, count, entries, BTreeMap::new()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn a_map_that_a_rule_forbids_is_not_overtaken() {
    let (tell, mut asked) = mpsc::channel(8);
    let place = place(move |request| {
        tell.try_send(request.method.clone()).unwrap();
        match request.method {
            Method::GET => Some((200, serde_json::to_value(object()).unwrap())),
            _ => refusal(422),
        }
    });
    let count = ShardCount::try_from(1).unwrap();
    let register = KubeRegister::open(place.api(), "hexagram", "c", count);
    let register = register.await.unwrap();
    let written = register.compare_and_swap(first()).await;
    let is_refused = matches!(written, Err(RegisterError::Unusable(_)));
    assert!(is_refused, "{written:?}");
    let all: Vec<_> = std::iter::from_fn(|| asked.try_recv().ok()).collect();
    assert_eq!(
        all,
        [Method::GET, Method::PUT, Method::GET],
        "it is read again"
    );
}

type Kept = Arc<Mutex<Option<Value>>>;

/// An API server that keeps one object.
fn keeping(kept: &Kept) -> Place {
    let (kept, mut version) = (Arc::clone(kept), 0);
    place(move |asked| {
        let mut kept = kept.try_lock().unwrap();
        if asked.method != Method::GET {
            version += 1;
            let mut written = asked.body.clone();
            written["metadata"]["resourceVersion"] = json!(version.to_string());
            *kept = Some(written);
        }
        let found = kept.clone();
        found.map_or_else(|| refusal(404), |found| Some((200, found)))
    })
}

#[tokio::test(start_paused = true)]
async fn what_a_hand_changed_or_deleted_is_put_right_and_told() {
    let (kept, count) = (Kept::default(), ShardCount::try_from(1).unwrap());
    let register = KubeRegister::of(keeping(&kept).api(), "hexagram", "c", count, true);
    let mut mends = register.mends();
    register.inner.look().await.unwrap();
    register.compare_and_swap(first()).await.unwrap();
    assert!(mends.try_recv().is_err(), "a new one is no mend");
    for (member, said) in [("version", json!(0)), ("summary", json!(edited()))] {
        kept.lock().await.as_mut().unwrap()["status"][member] = said;
        register.inner.look().await.unwrap();
        assert_eq!(mends.try_recv(), Ok(Mend::Repaired), "{member}");
    }
    *kept.lock().await = None;
    register.inner.look().await.unwrap();
    assert_eq!(mends.try_recv(), Ok(Mend::Remade));
    assert!(mends.try_recv().is_err());
    let map = register.read().await.unwrap().unwrap();
    let status = kept.lock().await.as_ref().unwrap()["status"].clone();
    assert_eq!(status["version"], json!(map.version()));
    assert_eq!(status["summary"], json!(form::summary(&map)));
    register.inner.look().await.unwrap();
    let found = register.read().await.unwrap().unwrap();
    assert_eq!(found, map, "what is right is left alone");
}

/// Counts that are those of no map here.
fn edited() -> Summary {
    Summary {
        workers: 40,
        moving: 2,
        quarantined: 0,
    }
}
