//! A server without memory left: it refuses what needs some, and nothing else.

use hexagram_store::{Change, Store, StoreError, Wrote};

use crate::server::Server;
use crate::speech::{KEEP, claim, group, load, session, set, write, yours};

#[tokio::test]
async fn a_full_server_takes_claims_and_removals() {
    let server = Server::start(&["--maxmemory-policy", "noeviction"]).await;
    let store = server.store().await;
    claim(&store, 1, KEEP).await;
    write(&store, 1, 1, vec![set(1, "a"), set(2, "b")]).await;
    let () = server.ask(&["CONFIG", "SET", "maxmemory", "1"]).await;

    let refused = store.write(&[group(1, 2, vec![set(3, "c")])]).await;
    let Err(StoreError::Lost(why)) = refused else {
        panic!("{refused:?}");
    };
    assert!(why.contains("raise its maxmemory"), "{why}");
    let forget = vec![Change::Forget(session(1, 1))];
    assert_eq!(write(&store, 1, 2, forget).await, Wrote::Stored);
    assert_eq!(write(&store, 1, 2, vec![]).await, Wrote::Stored);
    assert_eq!(claim(&store, 2, KEEP).await, yours(1, true));
    assert_eq!(
        load(&store).await.sessions,
        crate::speech::sessions(&[(2, "b")])
    );
}
