//! Where what a call says goes: straight to its client while a plain answer is
//! all there may be; from the first event on a stream that the client can
//! resume. A disconnect cancels nothing in the legacy era.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::StreamKind;
use hexagram_mcp::error::Problem;
use http::StatusCode;

use crate::host::Call;
use crate::last_words;
use crate::reply::{Reply, deposed};
use crate::session::Session;
use crate::stream::{Resumption, Stream};

/// A call that is quiet for so long begins its stream, so that its client can
/// hear the answer even if the connection breaks before it.
const PRIME_AFTER: Duration = Duration::from_secs(5);

/// A call's way to its client.
pub(crate) struct Outlet<'a> {
    session: &'a Session,
    call: &'a Call,
    resumption: Resumption,
    reply: Option<Reply>,
    stream: Option<Arc<Stream>>,
    streaming: bool,
    // Raw id of the client's request, once the stream has the reply.
    id: Box<str>,
}

impl<'a> Outlet<'a> {
    pub(crate) fn new(session: &'a Session, call: &'a Call, reply: Reply) -> Self {
        let resumption = match call.claims {
            // A batch's messages share the batch's stream.
            Some(_) if !call.batched => Resumption::of(call.version),
            _ => Resumption::No,
        };
        Self {
            session,
            call,
            resumption,
            reply: Some(reply),
            stream: None,
            streaming: false,
            id: Box::default(),
        }
    }

    /// Raw id of the client's request.
    pub(crate) fn id(&self) -> &str {
        self.reply.as_ref().map_or(&self.id, Reply::id)
    }

    /// Whether something was said before the response.
    pub(crate) fn is_streaming(&self) -> bool {
        self.streaming
    }

    /// Waits for `work`, and begins the stream when that takes long.
    pub(crate) async fn during<T>(&mut self, work: impl Future<Output = T>) -> T {
        if self.resumption != Resumption::Polling || self.stream.is_some() {
            return work.await;
        }
        tokio::pin!(work);
        tokio::select! {
            biased;
            done = &mut work => return done,
            () = tokio::time::sleep(PRIME_AFTER) => {}
        }
        self.begin().await;
        work.await
    }

    /// Begins the stream, where the client's revision lets it come back to one.
    pub(crate) async fn prime(&mut self) {
        if self.resumption == Resumption::Polling {
            self.begin().await;
        }
    }

    /// Sends a message that is not the last.
    pub(crate) async fn event(&mut self, message: Bytes) {
        self.streaming = true;
        if self.resumption != Resumption::No {
            self.begin().await;
        }
        match (&self.stream, &mut self.reply) {
            (Some(stream), _) => stream.say(message).await,
            (None, Some(reply)) => drop(reply.event(message).await),
            (None, None) => {}
        }
    }

    /// Sends the response.
    pub(crate) async fn finish(self, message: Bytes) {
        self.conclude(message, StatusCode::OK).await;
    }

    /// Sends the response; a reply that consists of it has this status.
    pub(crate) async fn conclude(mut self, message: Bytes, status: StatusCode) {
        match (&self.stream, self.reply.take()) {
            (Some(stream), _) => {
                let kept = message.clone();
                let heard = |id| last_words::bequeath(self.call, id, kept);
                stream.finish(message, heard).await;
            }
            (None, Some(reply)) => reply.conclude(message, status).await,
            (None, None) => {}
        }
    }

    /// Answers with an error.
    pub(crate) async fn refuse(mut self, problem: &Problem) {
        match self.reply.take() {
            Some(reply) => reply.refuse(problem),
            None => {
                let body = problem.body(Some(&self.id));
                self.finish(body).await;
            }
        }
    }

    /// Ends without a response: the client has cancelled.
    pub(crate) async fn end_unanswered(mut self) {
        match (&self.stream, self.reply.take()) {
            (Some(stream), _) => stream.end().await,
            (None, Some(reply)) => reply.end_unanswered(),
            (None, None) => {}
        }
    }

    /// Lets the client go for now, where its revision has it come back.
    pub(crate) async fn close(&mut self) {
        if self.resumption == Resumption::Polling {
            self.begin().await;
            if let Some(stream) = &self.stream {
                stream.close().await;
            }
        }
    }

    /// Begins the stream. A client that is gone already has no id to come back with.
    async fn begin(&mut self) {
        if self
            .reply
            .as_ref()
            .is_none_or(|reply| reply.flow().is_gone())
        {
            return;
        }
        if let Some(reply) = self.reply.take() {
            self.id = reply.id().into();
            let streams = &self.session.streams;
            let id = self.call.shard.stream_id(StreamKind::Call);
            let stream = streams.call(id, self.resumption);
            self.stream = Some(Arc::clone(&stream));
            stream.attach(reply, Some(stream.id.event(0))).await;
        }
    }
}

/// Dropped unanswered, its reader gets an error.
impl Drop for Outlet<'_> {
    fn drop(&mut self) {
        let Some(stream) = &self.stream else { return };
        let is_deposed = self.call.shard.deposed.is_cancelled();
        let problem = match (self.session.is_deleted(), is_deposed) {
            (true, _) => Problem::SessionNotFound,
            (false, true) => deposed(),
            (false, false) => Problem::Internal,
        };
        stream.abandon(&problem.body(Some(&self.id)), !is_deposed);
        self.session.streams.end_call(stream.id);
    }
}
