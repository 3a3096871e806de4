//! A TCP balancer on loopback: what a Kubernetes service is to edges. It
//! alternates between them, so that two requests in a row meet two edges.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context, Result};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A running balancer; it ends when dropped.
pub(super) struct Balancer {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Balancer {
    /// Listens on a free port.
    pub(super) async fn start(targets: Vec<SocketAddr>) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.context("bind a port for the balancer")?;
        Ok(Self {
            address: listener.local_addr()?,
            task: tokio::spawn(balance(listener, targets)),
        })
    }

    /// Where clients connect.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn balance(listener: TcpListener, targets: Vec<SocketAddr>) {
    let mut turns = targets.into_iter().cycle();
    while let (Ok((client, _)), Some(target)) = (listener.accept().await, turns.next()) {
        tokio::spawn(join(client, target));
    }
}

/// Both ends see it when the other one closes.
async fn join(mut client: TcpStream, target: SocketAddr) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    // Small messages both ways: none may wait for the next.
    let quick = client.set_nodelay(true).and(server.set_nodelay(true));
    if quick.is_ok() {
        let _ = copy_bidirectional(&mut client, &mut server).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// A server that says its name to whoever connects.
    async fn server(name: &'static [u8]) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                stream.write_all(name).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn alternates() {
        let targets = vec![server(b"a").await, server(b"b").await];
        let balancer = Balancer::start(targets).await.unwrap();
        let mut met = String::new();
        for _ in 0..4 {
            let mut stream = TcpStream::connect(balancer.address()).await.unwrap();
            stream.read_to_string(&mut met).await.unwrap();
        }
        assert_eq!(met, "abab");
    }
}
