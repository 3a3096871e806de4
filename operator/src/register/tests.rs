//! What an API server is asked when a register is opened.

use kube::{Client, Config};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::*;

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

#[tokio::test]
async fn who_never_makes_the_object_reads_it_once() {
    let spec = ShardMapSpec {
        cluster: "c".to_owned(),
        shards: 1,
    };
    let object = serde_json::to_string(&ShardMap::new("hexagram", spec)).unwrap();
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
