//! Passwords, users and TLS.

use hexagram_store::{RedisSettings, RedisStore, StoreError, Wrote};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

use crate::server::Server;
use crate::speech::{KEEP, claim, load, say, set, write};

/// What a user of ours must be allowed, and `+wait` where replicas are waited for; ADR 0015
/// lists it too.
const ALLOWED: &str = "~hexagram:* +select +info +script|load +evalsha +exists +hset +hget +hmget \
                       +hgetall +hscan +hdel +unlink +expire +time +zadd +zrange +zrem \
                       +zremrangebyscore";

fn with_url(server: &Server, url: String) -> RedisSettings {
    RedisSettings {
        url,
        ..server.settings()
    }
}

async fn assert_unusable(settings: &RedisSettings, why: &str) {
    match RedisStore::connect(settings).await {
        Err(StoreError::Unusable(text)) => {
            assert!(text.contains(why) && !text.contains("secret"), "{text}");
        }
        other => panic!("expected a refusal, {why}: {other:?}"),
    }
}

/// One of everything, so that each command is used.
async fn use_it(store: &RedisStore) {
    claim(store, 1, KEEP).await;
    let changes = vec![set(1, "a"), say(1, "c1.1.1")];
    assert_eq!(write(store, 1, 1, changes).await, Wrote::Stored);
    let forget = hexagram_store::Change::Forget(crate::speech::session(1, 1));
    let changes = vec![forget, say(2, "c1.1.2")];
    assert_eq!(write(store, 1, 2, changes).await, Wrote::Stored);
    let floor = crate::speech::epoch(1);
    assert_eq!(load(store).await.said.len(), 1);
    claim(store, 2, hexagram_store::ClaimMode::Rewrite { floor }).await;
}

#[tokio::test]
async fn the_password_must_be_right() {
    let server = Server::start(&["--requirepass", "secret/1"]).await;
    let host = format!("127.0.0.1:{}", server.port());
    let right = with_url(&server, format!("redis://:secret%2F1@{host}/2"));
    let store = RedisStore::connect(&right).await.unwrap();
    use_it(&store).await;
    assert!(!format!("{store:?}").contains("secret"), "{store:?}");

    let wrong = with_url(&server, format!("redis://:secret@{host}"));
    assert_unusable(&wrong, "check the store's URL").await;
    let none = server.settings();
    assert_unusable(&none, "check the store's URL").await;
}

#[tokio::test]
async fn a_user_with_few_rights_will_do() {
    let server = Server::start(&[]).await;
    let rights: Vec<&str> = ALLOWED.split_whitespace().collect();
    let user = [
        &["ACL", "SETUSER", "hexagram", "on", ">secret"][..],
        &rights,
    ]
    .concat();
    let () = server.ask(&user).await;
    let url = format!("redis://hexagram:secret@127.0.0.1:{}", server.port());
    let store = RedisStore::connect(&with_url(&server, url.clone()))
        .await
        .unwrap();
    use_it(&store).await;

    let waits = RedisSettings {
        wait: 1,
        ..with_url(&server, url.clone())
    };
    assert_unusable(&waits, "'wait'").await;
    let () = server.ask(&["ACL", "SETUSER", "hexagram", "+wait"]).await;
    let asked = RedisStore::connect(&waits).await;
    assert!(
        matches!(asked, Err(StoreError::Unreplicated(_))),
        "{asked:?}"
    );

    let () = server.ask(&["ACL", "SETUSER", "hexagram", "-info"]).await;
    assert_unusable(&with_url(&server, url), "info").await;
}

/// A server with a certificate, and its CA.
async fn tls_server() -> (Server, String) {
    let folder = tempfile::tempdir().unwrap();
    let ca = certificates(&folder);
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (file("server.pem"), file("server.key"));
    let options = [
        "--port",
        "0",
        "--tls-port",
        "{port}",
        "--tls-auth-clients",
        "no",
    ];
    let files = [
        "--tls-cert-file",
        &certificate,
        "--tls-key-file",
        &key,
        "--tls-ca-cert-file",
        &certificate,
    ];
    let options = [&options[..], &files].concat();
    (Server::start_in(folder, &options).await, ca)
}

/// Writes a certificate of 127.0.0.1 and its key; gives the CA that signed it.
fn certificates(folder: &TempDir) -> String {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let names = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
    let certificate = names.signed_by(&key, &ca).unwrap();
    std::fs::write(folder.path().join("server.pem"), certificate.pem()).unwrap();
    std::fs::write(folder.path().join("server.key"), key.serialize_pem()).unwrap();
    ca.pem()
}

#[tokio::test]
async fn tls_needs_a_certificate_that_we_trust() {
    let (server, ca) = tls_server().await;
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let ours = RedisSettings {
        ca: Some(ca.into_bytes()),
        ..with_url(&server, url.clone())
    };
    use_it(&RedisStore::connect(&ours).await.unwrap()).await;
    assert_unusable(&with_url(&server, url), "no certificate that we trust").await;

    let stranger = certificates(&tempfile::tempdir().unwrap());
    let strangers = RedisSettings {
        ca: Some(stranger.into_bytes()),
        ..ours.clone()
    };
    assert_unusable(&strangers, "no certificate that we trust").await;

    let plain = RedisStore::connect(&server.settings()).await;
    assert!(matches!(plain, Err(StoreError::Lost(_))), "{plain:?}");
}

#[tokio::test]
async fn tls_to_a_server_without_is_refused() {
    let server = Server::start(&[]).await;
    let url = format!("rediss://127.0.0.1:{}", server.port());
    let answer = RedisStore::connect(&with_url(&server, url)).await;
    let (Err(StoreError::Unusable(why)) | Err(StoreError::Lost(why))) = answer else {
        panic!("{answer:?}");
    };
    assert!(why.contains("127.0.0.1"), "{why}");
}
