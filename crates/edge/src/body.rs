//! Reads a request's body within the limit, and leaves the connection usable
//! when it is over.

use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hexagram_mcp::error::Problem;
use http_body::Body;
use http_body_util::BodyExt;

/// Of a refused body, this much is read and thrown away to keep the
/// connection; a longer one costs the client its connection. Bytes.
const DISCARD_LIMIT: u64 = 16 << 20;

/// A body that takes longer holds memory for nothing.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// The whole body, within [`BODY_TIMEOUT`].
///
/// # Errors
/// [`Problem::TooLarge`] over `limit` bytes; [`Problem::ParseError`] when the
/// client broke off.
pub(crate) async fn read<B>(body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    let late = |_| Problem::ParseError {
        detail: format!(
            "the body did not arrive within {} s",
            BODY_TIMEOUT.as_secs()
        ),
    };
    let mut body = std::pin::pin!(whole(body, limit));
    // Most bodies are there with their heads and need no timer.
    if let Poll::Ready(body) = futures_util::poll!(&mut body) {
        return body;
    }
    tokio::time::timeout(BODY_TIMEOUT, body)
        .await
        .map_err(late)?
}

async fn whole<B>(mut body: B, limit: usize) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() > limit as u64 {
        return Err(discard(body, 0, limit).await);
    }
    let first = next(&mut body).await?;
    if body.is_end_stream() && first.len() <= limit {
        return Ok(first);
    }
    let mut all = BytesMut::from(first);
    loop {
        if all.len() > limit {
            return Err(discard(body, all.len() as u64, limit).await);
        }
        let piece = next(&mut body).await?;
        if piece.is_empty() {
            return Ok(all.freeze());
        }
        all.extend_from_slice(&piece);
    }
}

/// The next piece of data; empty at the end.
async fn next<B>(body: &mut B) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes> + Unpin,
{
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Problem::ParseError {
            detail: "the body ended early".to_owned(),
        })?;
        match frame.into_data() {
            Ok(data) if !data.is_empty() => return Ok(data),
            _ => {}
        }
    }
    Ok(Bytes::new())
}

async fn discard<B>(mut body: B, mut read: u64, limit: usize) -> Problem
where
    B: Body<Data = Bytes> + Unpin,
{
    if body.size_hint().lower() <= DISCARD_LIMIT {
        while let Ok(piece) = next(&mut body).await {
            read += piece.len() as u64;
            if piece.is_empty() || read > DISCARD_LIMIT {
                break;
            }
        }
    }
    Problem::TooLarge { limit }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::StreamExt;
    use http_body_util::{Full, StreamBody};
    use hyper::body::Frame;

    fn pieces(
        count: usize,
        size: usize,
    ) -> impl Body<Data = Bytes, Error = std::convert::Infallible> + Unpin {
        let frames = (0..count).map(move |_| Ok(Frame::data(Bytes::from(vec![b'x'; size]))));
        StreamBody::new(futures_util::stream::iter(frames))
    }

    #[tokio::test]
    async fn whole_and_in_pieces() {
        assert_eq!(
            read(Full::new(Bytes::from("abc")), 3).await.ok().as_deref(),
            Some(&b"abc"[..])
        );
        assert_eq!(read(pieces(3, 2), 6).await.ok().map(|b| b.len()), Some(6));
        assert_eq!(
            read(Full::new(Bytes::new()), 3).await.ok().map(|b| b.len()),
            Some(0)
        );
    }

    #[tokio::test]
    async fn over_the_limit() {
        let whole = read(Full::new(Bytes::from("abcd")), 3).await;
        assert!(matches!(whole, Err(Problem::TooLarge { limit: 3 })));
        let split = read(pieces(1000, 2), 3).await;
        assert!(matches!(split, Err(Problem::TooLarge { limit: 3 })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_does_not_end_is_given_up() {
        let begun = futures_util::stream::once(async { Ok(Frame::data(Bytes::from("{"))) });
        let endless = begun.chain(futures_util::stream::pending::<
            Result<_, std::convert::Infallible>,
        >());
        let started = tokio::time::Instant::now();
        let given_up = read(StreamBody::new(Box::pin(endless)), 3).await;
        assert!(matches!(given_up, Err(Problem::ParseError { .. })));
        assert_eq!(started.elapsed(), BODY_TIMEOUT);
    }
}
