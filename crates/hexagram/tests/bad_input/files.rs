//! More clients than the process may have files open: they wait, and whoever looks after
//! the process is answered.

use crate::cluster::http::{Ask, Http};
use crate::cluster::process::Launch;
use crate::cluster::{Server, tools, wait};

/// So low that half of it is for clients.
const FILES: usize = 96;
const ROOM: usize = FILES / 2;

/// `hexagram local` from a shell whose limit of open files was set so.
async fn limited(ulimit: &str) -> Server {
    let script = format!("ulimit {ulimit} && exec \"$0\" \"$@\"");
    let launch = Launch::new("sh").args(["-c", &script]);
    Server::local_as(launch.args([tools::hexagram()]), &["--demo=echo"]).await
}

/// So many clients, each of which was answered and stays.
async fn answered(server: &Server, count: usize) -> Vec<Http> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Http::connect(server.listen).await;
        assert_eq!(client.send(&Ask::get("/")).await.status, 404);
        clients.push(client);
    }
    clients
}

/// So many clients that have asked and were not answered yet.
async fn waiting(server: &Server, count: usize) -> Vec<Http> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut client = Http::connect(server.listen).await;
        client.start(&Ask::get("/")).await;
        clients.push(client);
    }
    clients
}

#[tokio::test]
async fn a_low_soft_limit_is_raised() {
    let server = limited("-S -n 64").await;
    let clients = answered(&server, 150).await;
    let open = server.metric("hexagram_edge_connections").await;
    assert_eq!(open, clients.len() as u64);
}

#[tokio::test]
async fn where_the_hard_limit_is_low_clients_wait_and_the_admin_port_answers() {
    let server = limited(&format!("-n {FILES}")).await;
    let most = server.metric("hexagram_edge_max_connections").await;
    assert_eq!(most, ROOM as u64);
    let log = server.process.log();
    assert!(log.contains("too low for --max-connections"), "{log}");
    let clients = answered(&server, ROOM).await;
    // With these it would have no file left.
    let mut late = waiting(&server, FILES).await;
    for _ in 0..3 {
        let mut admin = Http::connect(server.admin).await;
        assert_eq!(admin.send(&Ask::get("/livez")).await.status, 200);
    }
    assert_eq!(server.metric("hexagram_edge_connections").await, most);
    drop(clients);
    for client in late.iter_mut().take(ROOM) {
        let reply = wait::within("the reply", client.reply()).await.unwrap();
        assert_eq!(reply.status, 404);
    }
}
