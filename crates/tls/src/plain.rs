//! Somebody who speaks HTTP/2 without TLS is told so in HTTP/2: bytes that he cannot read
//! would only be noise in his log.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The first byte of HTTP/2's preface.
pub(crate) const PREFACE: u8 = b'P';

/// An empty SETTINGS frame, then GOAWAY for stream 0 with INADEQUATE_SECURITY (RFC 9113,
/// 6.8 and 7), which gRPC calls PERMISSION_DENIED.
const ANSWER: [u8; 26] = [
    0, 0, 0, 4, 0, 0, 0, 0, 0, //
    0, 0, 8, 7, 0, 0, 0, 0, 0, //
    0, 0, 0, 0, 0, 0, 0, 0x0c,
];
/// A close with something unread would be a reset, and the answer lost.
const READ_ON: Duration = Duration::from_secs(1);

/// Says that only TLS is spoken here.
pub(crate) async fn turn_away(mut tcp: TcpStream) -> io::Result<()> {
    tcp.write_all(&ANSWER).await?;
    tcp.shutdown().await?;
    let read_on = async {
        let mut waste = [0; 1024];
        while tcp.read(&mut waste).await? > 0 {}
        Ok(())
    };
    timeout(READ_ON, read_on).await.unwrap_or(Ok(()))
}
