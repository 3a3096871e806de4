//! Orders that cannot be followed: refused with the cause, and nothing changes.

use crate::cluster::Controlled;

/// What the order says on standard error, and its exit code.
async fn refused(cluster: &Controlled, args: &[&str]) -> (Option<i32>, String) {
    let before = cluster.owners().await;
    let output = cluster.order(args).await;
    assert_eq!(cluster.owners().await, before, "{args:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), said)
}

#[tokio::test]
async fn a_move_that_is_ordered_again_is_done() {
    let cluster = Controlled::start(1, 2, &["--demo=echo"], &[]).await;
    let other = match cluster.owners().await[3].0.as_str() {
        "worker-0" => "worker-1",
        _ => "worker-0",
    };
    let order = async || {
        let output = cluster.order(&["move", "3", other]).await;
        assert!(output.status.success(), "{output:?}");
        let said = String::from_utf8(output.stdout).unwrap();
        (said, cluster.owners().await[3].clone())
    };
    let (said, first) = order().await;
    assert_eq!(said, format!("shard 3 is on {other}\n"));
    let (said, second) = order().await;
    assert_eq!(said, format!("shard 3 is on {other} already\n"));
    assert_eq!(first, second, "in the same epoch");
}

#[tokio::test]
async fn orders_that_are_refused() {
    let mut cluster = Controlled::start(1, 2, &["--demo=echo"], &[]).await;
    for (order, code, says) in [
        (["move", "3", "worker-9"], 2, "no worker is called worker-9"),
        (["move", "64", "worker-0"], 2, "there is no shard 64"),
        (["move", "3", "no name"], 2, "no name"),
    ] {
        let (status, said) = refused(&cluster, &order).await;
        assert_eq!(status, Some(code), "{order:?}: {said}");
        assert!(said.contains(says), "{order:?}: {said}");
    }
    let (status, said) = refused(&cluster, &["drain", "worker-9"]).await;
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("no worker is called worker-9"), "{said}");
    cluster.workers[1].process.kill().await;
    let output = cluster.order(&["move", "3", "worker-1"]).await;
    let said = String::from_utf8(output.stderr).unwrap();
    // Whether its death is known decides.
    let known = ["no worker is called worker-1", "worker-1 does not answer"];
    assert!(known.iter().any(|cause| said.contains(cause)), "{said}");
    assert!(!output.status.success(), "{said}");
}
