use std::collections::BTreeMap;

use hexagram_runtime::metrics::Metrics;
use http::Method;
use serde_json::Value;
use tokio::sync::mpsc;

use super::*;
use crate::testing::{Asked, place, refusal};

fn links() -> LinkSecrets {
    LinkSecrets {
        prefix: "x".to_owned(),
        tls: LinkTls::new(Role::Controller, &Metrics::new()),
    }
}

/// The name of the Secret that is asked for or given.
fn name(asked: &Asked) -> String {
    let given = asked.body["metadata"]["name"].as_str();
    given.unwrap_or_else(|| asked.name()).to_owned()
}

/// A place for Secrets which refuses this of one of them; the names of those that are written
/// are heard.
fn keeping(refused: (Method, &'static str)) -> (Place, mpsc::Receiver<String>) {
    let (tell, written) = mpsc::channel(16);
    let mut kept = BTreeMap::<String, Value>::new();
    let place = place(move |asked| {
        let name = name(asked);
        if (&asked.method, &*name) == (&refused.0, refused.1) {
            return refusal(403);
        }
        if asked.method == Method::GET {
            let found = kept.get(&name).cloned();
            return found.map_or_else(|| refusal(404), |found| Some((200, found)));
        }
        tell.try_send(name.clone()).unwrap();
        kept.insert(name, asked.body.clone());
        Some((200, asked.body.clone()))
    });
    (place, written)
}

fn all(written: &mut mpsc::Receiver<String>) -> Vec<String> {
    std::iter::from_fn(|| written.try_recv().ok()).collect()
}

#[tokio::test(start_paused = true)]
async fn what_is_wrong_with_one_secret_keeps_nothing_from_others() {
    for method in [Method::GET, Method::POST] {
        let (place, mut written) = keeping((method, "x-edge"));
        let links = links();
        let look = links.take(&place).await.unwrap();
        assert_eq!(all(&mut written), ["x-ca"]);
        let error = links.renew_leaves(look).await.unwrap_err().to_string();
        assert!(error.contains("x-edge"), "{error}");
        assert_eq!(all(&mut written), ["x-worker"]);
        assert!(links.ensure(&place).await.is_err());
        assert!(all(&mut written).is_empty(), "nothing is due");
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_ca_nobody_leads() {
    let (place, mut written) = keeping((Method::POST, "x-ca"));
    assert!(links().take(&place).await.is_err());
    assert!(all(&mut written).is_empty());
}
