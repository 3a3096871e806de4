//! HTTP/1.1 by hand: the tests decide over every byte, send what no library
//! would, and see which connection carries what.

use std::fmt;
use std::io::{self, Error, ErrorKind};
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;

use super::wait;

/// Of a body, this many characters are shown when a test fails.
const SHOWN: usize = 1000;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    chunked: bool,
}

impl Ask {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            chunked: false,
        }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self::new("GET", path)
    }

    /// A message to the endpoint, with the headers every client sends.
    pub(crate) fn post(body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", "/mcp")
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream")
            .body(body)
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sets a header; a second call with the same name replaces it.
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        self.without(name).also(name, value)
    }

    /// Adds a header line, even where one of that name is there.
    pub(crate) fn also(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.headers
            .retain(|(have, _)| !have.eq_ignore_ascii_case(name));
        self
    }

    /// Sends the body in chunks, without a length.
    pub(crate) fn chunked(mut self) -> Self {
        self.chunked = true;
        self
    }

    /// The request as it goes over the wire.
    pub(crate) fn bytes(&self, host: SocketAddr) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\n", self.method, self.path);
        let has_host = self.headers.iter().any(|(name, _)| name == "host");
        if !has_host {
            head += &format!("host: {host}\r\n");
        }
        for (name, value) in &self.headers {
            head += &format!("{name}: {value}\r\n");
        }
        let mut out = head.into_bytes();
        if self.chunked {
            out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
            for piece in self.body.chunks(16 << 10) {
                out.extend_from_slice(format!("{:x}\r\n", piece.len()).as_bytes());
                out.extend_from_slice(piece);
                out.extend_from_slice(b"\r\n");
            }
            out.extend_from_slice(b"0\r\n\r\n");
        } else {
            out.extend_from_slice(
                format!("content-length: {}\r\n\r\n", self.body.len()).as_bytes(),
            );
            out.extend_from_slice(&self.body);
        }
        out
    }
}

/// The head of a reply.
#[derive(Debug, Clone)]
pub(crate) struct Head {
    pub(crate) status: u16,
    headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(have, _)| have.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    fn length(&self) -> Option<usize> {
        self.header("content-length")?.parse().ok()
    }

    fn is_chunked(&self) -> bool {
        self.header("transfer-encoding") == Some("chunked")
    }
}

/// A whole reply.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    head: Head,
    body: Vec<u8>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: String = self.text().chars().take(SHOWN).collect();
        write!(f, "{:?} {text}", self.head)
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.header(name)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The messages: of an event stream all, else the one that is the body.
    pub(crate) fn messages(&self) -> Vec<Value> {
        let kind = self.header("content-type").unwrap_or_default();
        if kind.starts_with("text/event-stream") {
            return events(&self.text());
        }
        vec![serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))]
    }

    /// The last message: the response.
    pub(crate) fn response(&self) -> Value {
        let messages = self.messages();
        let last = messages.last();
        last.unwrap_or_else(|| panic!("no message in {self:?}"))
            .clone()
    }
}

/// The messages of an event stream.
fn events(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {data}")))
        .collect()
}

/// One client connection.
#[derive(Debug)]
pub(crate) struct Http {
    stream: BufReader<TcpStream>,
    peer: SocketAddr,
}

impl Http {
    pub(crate) async fn try_connect(peer: SocketAddr) -> io::Result<Self> {
        let stream = BufReader::new(TcpStream::connect(peer).await?);
        Ok(Self { stream, peer })
    }

    pub(crate) async fn connect(peer: SocketAddr) -> Self {
        wait::within("connect", Self::try_connect(peer))
            .await
            .unwrap()
    }

    /// Sends a request and reads the whole reply.
    pub(crate) async fn send(&mut self, ask: &Ask) -> Reply {
        let reply = wait::within("the reply", self.try_send(ask)).await;
        reply.unwrap_or_else(|error| panic!("no reply to {} {}: {error}", ask.method, ask.path))
    }

    pub(crate) async fn try_send(&mut self, ask: &Ask) -> io::Result<Reply> {
        self.write(&ask.bytes(self.peer)).await?;
        self.reply().await
    }

    /// Sends some bytes: a part of a request, or more than one.
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes).await
    }

    /// Sends a request and leaves its reply where it is.
    pub(crate) async fn start(&mut self, ask: &Ask) {
        self.write(&ask.bytes(self.peer)).await.unwrap();
    }

    /// Reads a whole reply.
    pub(crate) async fn reply(&mut self) -> io::Result<Reply> {
        let head = self.head().await?;
        let mut body = Vec::new();
        if let Some(length) = head.length() {
            body.resize(length, 0);
            self.stream.read_exact(&mut body).await?;
        } else if head.is_chunked() {
            while let Some(piece) = self.chunk().await? {
                body.extend_from_slice(&piece);
            }
        }
        Ok(Reply {
            status: head.status,
            head,
            body,
        })
    }

    /// Reads the head of a reply; its body is read by [`Self::chunk`].
    pub(crate) async fn head(&mut self) -> io::Result<Head> {
        let first = self.line().await?;
        let status = first.split(' ').nth(1).and_then(|code| code.parse().ok());
        let status = status.ok_or_else(|| Error::new(ErrorKind::InvalidData, first))?;
        let mut headers = Vec::new();
        loop {
            let line = self.line().await?;
            let Some((name, value)) = line.split_once(':') else {
                return Ok(Head { status, headers });
            };
            headers.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// The next chunk of a body without a length; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line().await?;
        let size = usize::from_str_radix(&size, 16)
            .map_err(|_| Error::new(ErrorKind::InvalidData, format!("chunk of size {size:?}")))?;
        let mut piece = vec![0; size];
        self.stream.read_exact(&mut piece).await?;
        self.line().await?;
        Ok((size > 0).then_some(piece))
    }

    /// Closes this side of the connection; replies still come.
    pub(crate) async fn shut(&mut self) {
        self.stream.get_mut().shutdown().await.unwrap();
    }

    /// Waits until the server closes the connection.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        // A reset closes as well.
        let _ = wait::within("the connection's end", self.stream.read_to_end(&mut rest)).await;
    }

    async fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line).await? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
