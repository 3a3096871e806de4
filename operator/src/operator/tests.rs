use hexagram_control::ControlMetrics;
use hexagram_core::ShardCount;
use hexagram_proto::WorkerAddress;
use hexagram_runtime::metrics::Metrics;
use hexagram_tls::{LinkTls, Role};
use http::Method;
use tokio::time::timeout;

use super::*;
use crate::key_ring::{KeyMetrics, KeyTimes};
use crate::shard_map::{ShardMap, ShardMapSpec};
use crate::testing::{Answer, Asked, place, refusal};

fn settings() -> Settings {
    let metrics = Metrics::new();
    let name = || "hexagram".to_owned();
    Settings {
        name: name(),
        shard_map: name(),
        lease: name(),
        keys: KeySettings {
            secret: "hexagram-keys".to_owned(),
            times: KeyTimes {
                period: Duration::ZERO,
                settle: Duration::ZERO,
                lifetime: Duration::ZERO,
            },
            metrics: KeyMetrics::register(&metrics),
        },
        upstreams_secret: None,
        header_secrets: BTreeSet::new(),
        names_taken: BTreeSet::new(),
        links: Some(LinkSecrets {
            prefix: "link".to_owned(),
            tls: LinkTls::new(Role::Controller, &metrics),
        }),
        workers: String::new(),
        link_port: 7100,
        control: hexagram_control::Settings {
            cluster: "c".to_owned(),
            shards: ShardCount::try_from(1).unwrap(),
            expected: None,
            dial: Arc::new(|address| WorkerAddress::Tcp(address.to_owned())),
            metrics: ControlMetrics::register(&metrics),
        },
    }
}

/// An API server that has the shard map and takes a CA, and refuses all else.
fn frugal(asked: &Asked) -> Answer {
    let spec = ShardMapSpec {
        cluster: "c".to_owned(),
        shards: 1,
    };
    let map = serde_json::to_value(ShardMap::new("hexagram", spec)).unwrap();
    match (&asked.method, asked.name()) {
        (&Method::GET, "hexagram") => Some((200, map)),
        (&Method::GET, "link-ca") => refusal(404),
        (&Method::POST, _) if asked.body["metadata"]["name"] == "link-ca" => {
            Some((201, asked.body.clone()))
        }
        _ => refusal(403),
    }
}

#[tokio::test(start_paused = true)]
async fn what_only_edges_and_workers_need_keeps_nobody_from_leading() {
    let operator = Operator::new(place(frugal), settings());
    let prepared = timeout(Duration::from_secs(60), operator.prepared()).await;
    assert!(prepared.is_ok());
}
