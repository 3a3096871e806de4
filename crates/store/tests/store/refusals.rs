//! Servers and stores that must not be used.

use hexagram_core::ShardCount;
use hexagram_store::{RedisSettings, RedisStore, StoreError};

use crate::server::Server;

async fn assert_refused(settings: &RedisSettings, why: &str) {
    match RedisStore::connect(settings).await {
        Err(StoreError::Unusable(text)) if text.contains(why) => {}
        other => panic!("expected a refusal, {why}: {other:?}"),
    }
}

#[tokio::test]
async fn a_server_that_evicts_is_refused() {
    let server =
        Server::start(&["--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"]).await;
    assert_refused(&server.settings(), "maxmemory-policy noeviction").await;
    let keys: Vec<String> = server.ask(&["KEYS", "*"]).await;
    assert!(keys.is_empty(), "{keys:?}");
}

#[tokio::test]
async fn a_server_without_a_limit_evicts_nothing() {
    let server = Server::start(&["--maxmemory-policy", "allkeys-lru"]).await;
    server.store().await;
}

#[tokio::test]
async fn another_clusters_store_is_refused() {
    let server = Server::start(&[]).await;
    server.store().await;
    let other = RedisSettings {
        cluster: "other".to_owned(),
        ..server.settings()
    };
    assert_refused(&other, "belongs to cluster \"test\"").await;
}

#[tokio::test]
async fn another_database_is_another_store() {
    let server = Server::start(&[]).await;
    server.store().await;
    let other = RedisSettings {
        cluster: "other".to_owned(),
        url: format!("{}/1", server.url()),
        ..server.settings()
    };
    RedisStore::connect(&other).await.unwrap();
    let missing = RedisSettings {
        url: format!("{}/99", server.url()),
        ..server.settings()
    };
    assert_refused(&missing, "DB index is out of range").await;
}

#[tokio::test]
async fn a_store_of_another_shard_count_is_refused() {
    let server = Server::start(&[]).await;
    server.store().await;
    let other = RedisSettings {
        shards: ShardCount::try_from(128).unwrap(),
        ..server.settings()
    };
    assert_refused(&other, "made for 64 shards, this cluster has 128").await;
}

#[tokio::test]
async fn a_newer_releases_store_is_refused() {
    let server = Server::start(&[]).await;
    server.store().await;
    let () = server.ask(&["HSET", "hexagram:about", "schema", "2"]).await;
    assert_refused(&server.settings(), "newer release").await;
}

#[tokio::test]
async fn a_replica_is_refused() {
    let primary = Server::start(&[]).await;
    let port = primary.port().to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]).await;
    assert_refused(&replica.settings(), "read-only replica").await;
}

#[tokio::test]
async fn a_server_in_cluster_mode_is_refused() {
    let server = Server::start(&["--cluster-enabled", "yes"]).await;
    assert_refused(&server.settings(), "cluster mode").await;
}

#[tokio::test]
async fn what_something_else_wrote_is_refused() {
    let server = Server::start(&[]).await;
    let () = server.ask(&["SET", "hexagram:about", "a string"]).await;
    assert_refused(&server.settings(), "something else wrote").await;
}

#[tokio::test]
async fn a_server_that_is_down_is_lost_and_not_refused() {
    let mut server = Server::start(&[]).await;
    let settings = server.settings();
    server.kill().await;
    let answer = RedisStore::connect(&settings).await;
    assert!(matches!(answer, Err(StoreError::Lost(_))), "{answer:?}");
}

#[tokio::test]
async fn a_server_with_too_many_clients_is_lost_and_not_refused() {
    let server = Server::start(&[]).await;
    let _only = server.store().await;
    let () = server.ask(&["CONFIG", "SET", "maxclients", "1"]).await;
    let answer = RedisStore::connect(&server.settings()).await;
    assert!(matches!(answer, Err(StoreError::Lost(_))), "{answer:?}");
}
