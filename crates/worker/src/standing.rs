//! What a session's upstreams say unasked: for its standing stream (GET), or
//! for the subscriptions of a modern client on legacy upstreams.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use hexagram_core::{Era, EventId};
use hexagram_mcp::envelope::{Kind, scan};
use tokio::sync::{broadcast, mpsc};
use tokio::task::JoinHandle;

use crate::filter::Filter;
use crate::followers;
use crate::gone::Gone;
use crate::hearing::{self, Hearing};
use crate::host::Host;
use crate::relay::{Relayed, Translation};
use crate::reopen::reopen;
use crate::reply::Reply;
use crate::rest::Pauses;
use crate::session::{Opened, Session};
use crate::shard::Shard;
use crate::standing_modern::Changes;
use crate::stream::Stream;
use crate::upstream::{Connection, Upstream, UpstreamId, unread};

/// Messages that wait for a client; a slower one slows its upstreams' streams.
const QUEUE: usize = 64;
/// After its client left, the stream is kept up this long, so that what the
/// upstreams say meanwhile is not lost.
const LINGER: Duration = Duration::from_secs(60);
/// What was heard before a shard freezes is said within this time.
const LAST_WORDS: Duration = Duration::from_millis(20);

/// Listens to the session's stream until the client leaves, the stream ends, or
/// a later listener takes this one's place. One whose `position` is on another
/// stream has missed what cannot be told any more, and hears what is said from
/// now on: to refuse it would cost it the stream for good.
pub(crate) async fn run(
    host: Arc<Host>,
    session: Arc<Session>,
    shard: Arc<Shard>,
    (stream, is_new): (Arc<Stream>, bool),
    position: Option<EventId>,
    reply: Reply,
) {
    let _listening = Listening(&stream);
    let flow = Arc::clone(reply.flow());
    let position = position.filter(|position| position.stream == stream.id);
    stream.attach(reply, position).await;
    if is_new {
        let timer = host.timer(shard.id);
        let (session, shard) = (Arc::clone(&session), Arc::clone(&shard));
        let speaking = speak(host, session, shard, Arc::clone(&stream));
        tokio::spawn(timer.run(Box::pin(speaking)));
    }
    tokio::select! {
        () = stream.listened(&flow) => {}
        () = shard.moved.cancelled() => stream.hand_over().await,
    }
    session.touch();
}

/// A listener; dropped, it listens no more.
struct Listening<'a>(&'a Stream);

impl Drop for Listening<'_> {
    fn drop(&mut self) {
        self.0.listeners.send_modify(|count| *count -= 1);
    }
}

/// Relays what the upstreams say until the session or this worker ends, or
/// nobody has listened for a while. While the shard is about to move they are not
/// heard, and once it has moved the new owner hears them.
async fn speak(host: Arc<Host>, session: Arc<Session>, shard: Arc<Shard>, stream: Arc<Stream>) {
    while let Heard::Hushed = {
        let _speaking = Speaking::begin(&shard);
        hear(&host, &session, &shard, &stream).await
    } {
        tokio::select! {
            () = shard.moved.cancelled() => return,
            () = shard.thawed() => {}
        }
    }
    session.streams.end_standing(&stream);
    stream.end().await;
    session.touch();
}

/// Why the upstreams are not heard any more.
enum Heard {
    /// The stream is over.
    Out,
    /// The shard is about to move.
    Hushed,
}

/// Upstream streams are opened as the client's upstream sessions are, not before.
async fn hear(host: &Arc<Host>, session: &Arc<Session>, shard: &Shard, stream: &Stream) -> Heard {
    let (sender, messages) = mpsc::channel(QUEUE);
    let relayed = relay_all(messages, stream);
    tokio::pin!(relayed);
    let heard = {
        let modern = followers::each(host.federations(), |upstream| {
            let (host, session, client) = (host.as_ref(), session, &sender);
            Changes {
                host,
                session,
                upstream,
                client,
                pauses: Pauses::default(),
            }
            .follow()
        });
        tokio::select! {
            () = shard.quieted() => Heard::Hushed,
            () = session.closed() => Heard::Out,
            () = host.drained() => Heard::Out,
            () = async { modern.await; pending().await } => Heard::Out,
            () = tell_of_others(host, &sender) => Heard::Out,
            () = forsaken(session, stream) => Heard::Out,
            () = attach(Arc::clone(host), Arc::clone(session), Sink::Client(sender.clone())) => Heard::Out,
            () = &mut relayed => Heard::Out,
        }
    };
    drop(sender);
    if let Heard::Hushed = heard {
        // What was heard is said; a reader that takes none is not waited for.
        let _ = tokio::time::timeout(LAST_WORDS, relayed).await;
    }
    heard
}

/// A standing stream on which upstreams are heard.
struct Speaking<'a>(&'a Shard);

impl<'a> Speaking<'a> {
    fn begin(shard: &'a Shard) -> Self {
        shard.speaking.send_modify(|count| *count += 1);
        Self(shard)
    }
}

impl Drop for Speaking<'_> {
    fn drop(&mut self) {
        self.0.speaking.send_modify(|count| *count -= 1);
    }
}

/// Tells the client that its lists are others whenever the upstreams are.
async fn tell_of_others(host: &Host, client: &mpsc::Sender<Bytes>) {
    let mut federations = host.federations();
    while federations.changed().await.is_ok() {
        for hint in Filter::all(Vec::new()).hints() {
            // The stream that reads may just be ending.
            let _ = client.send(hint).await;
        }
    }
}

/// Waits until nobody has listened for [`LINGER`].
async fn forsaken(session: &Session, stream: &Stream) {
    let linger = match stream.is_resumable() {
        true => LINGER,
        false => Duration::ZERO,
    };
    let mut listeners = stream.listeners.subscribe();
    loop {
        // The stream holds the sender, so this never fails.
        let _ = listeners.wait_for(|count| *count == 0).await;
        tokio::time::sleep(linger).await;
        if session.streams.retire(stream) {
            return;
        }
    }
}

async fn relay_all(mut messages: mpsc::Receiver<Bytes>, stream: &Stream) {
    while let Some(message) = messages.recv().await {
        stream.say(message).await;
    }
}

/// A modern client's ear at its legacy upstreams.
pub(crate) fn hearing(host: &Arc<Host>, session: &Arc<Session>) -> Arc<Hearing> {
    session.ear.hearing(|| {
        let (host, of) = (Arc::clone(host), Arc::clone(session));
        Hearing::start(|heard| attach(host, of, Sink::Subscriptions(heard)))
    })
}

/// Follows every upstream session of the client, also those opened later. A
/// session opened in another's place ends the old one's reader.
async fn attach(host: Arc<Host>, session: Arc<Session>, sink: Sink) {
    let mut opened = session.opened();
    let mut readers: HashMap<UpstreamId, Attached> = HashMap::new();
    loop {
        let now = opened.borrow_and_update().clone();
        readers.retain(|id, _| now.iter().any(|opened| opened.upstream.id() == *id));
        for Opened {
            upstream,
            connection,
        } in now
        {
            let id = upstream.id();
            let before = readers.get(&id);
            if before.is_some_and(|reader| Arc::ptr_eq(&reader.connection, &connection)) {
                continue;
            }
            if before.is_some() {
                session.missed.note(id);
            }
            let pauses = before.map_or_else(Pauses::default, |before| before.pauses.successor());
            let pauses = Arc::new(pauses);
            let reader = Reader {
                host: Arc::clone(&host),
                session: Arc::clone(&session),
                upstream,
                connection: Arc::clone(&connection),
                sink: sink.clone(),
                pauses: Arc::clone(&pauses),
            };
            let attached = Attached {
                connection,
                pauses,
                task: tokio::spawn(reader.read()),
            };
            readers.insert(id, attached);
        }
        if opened.changed().await.is_err() {
            return;
        }
    }
}

/// A reader at work; dropped, it stops.
struct Attached {
    connection: Arc<Connection>,
    pauses: Arc<Pauses>,
    task: JoinHandle<()>,
}

impl Drop for Attached {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Reads one upstream's standing stream.
struct Reader {
    host: Arc<Host>,
    session: Arc<Session>,
    upstream: Arc<Upstream>,
    connection: Arc<Connection>,
    sink: Sink,
    pauses: Arc<Pauses>,
}

/// Who reads what upstreams say unasked.
#[derive(Clone)]
enum Sink {
    /// A legacy client, on its standing stream.
    Client(mpsc::Sender<Bytes>),
    /// A modern client's subscriptions, each with its filter.
    Subscriptions(broadcast::Sender<hearing::Heard>),
}

impl Sink {
    /// The era of the clients behind it.
    fn era(&self) -> Era {
        match self {
            Self::Client(_) => Era::Legacy,
            Self::Subscriptions(_) => Era::Modern,
        }
    }
}

impl Reader {
    async fn read(self) {
        while self.hear().await.is_ok() {
            if !self.connection.is_open() {
                self.pauses.lose_session();
            }
            self.pauses.rest(&self.upstream).await;
            self.upstream.settle().await;
            if self.upstream.is_stateless_in(self.sink.era()) {
                return self.leave().await;
            }
            if !self.connection.is_open() {
                return self.renew().await;
            }
        }
    }

    /// Relays the stream until it breaks.
    async fn hear(&self) -> Result<(), Gone> {
        let (id, missed) = (self.upstream.id(), &self.session.missed);
        let resumes = self.connection.resumes();
        // Some answer a GET with their first event, however late that is.
        let _living = self.pauses.living();
        let mut incoming = match self.connection.standing().await {
            Ok(incoming) => incoming,
            Err(error) => {
                tracing::debug!(%error, "an upstream's standing stream is not open");
                // It was open: another server may be there now.
                if missed.is_due(id) {
                    self.upstream.doubt_after(&error);
                }
                self.upstream.failed_stream(&error);
                return Ok(());
            }
        };
        if self.connection.has_stood() {
            self.upstream.answered();
        }
        if missed.take(id) && !resumes {
            self.hint().await?;
        }
        while let Some(Ok(message)) = incoming.next().await {
            self.pauses.begin_anew();
            self.relay(&message).await?;
        }
        self.session.missed.note(id);
        Ok(())
    }

    /// Tells what may have changed while the upstream was not heard.
    async fn hint(&self) -> Result<(), Gone> {
        let resources = self.session.subscriptions.of(self.upstream.id());
        for hint in Filter::all(resources).told_by(&self.upstream).hints() {
            self.relay(&hint).await?;
        }
        Ok(())
    }

    /// The upstream needs no session any more: it is heard in another way.
    async fn leave(self) {
        self.session.forget(&self.upstream, &self.connection).await;
        self.connection.close().await;
    }

    /// Opens a new upstream session in place of one that is gone: a client that
    /// only listens would never notice. The new one gets a reader of its own.
    async fn renew(self) {
        self.session.forget(&self.upstream, &self.connection).await;
        reopen(&self.session, &self.upstream, self.sink.era(), &self.pauses).await;
        self.session.record(&self.host.federation()).await;
    }

    async fn relay(&self, message: &Bytes) -> Result<(), Gone> {
        match &self.sink {
            Sink::Client(client) => self.relay_to(client, message).await,
            Sink::Subscriptions(heard) => {
                self.announce(heard, message).await;
                Ok(())
            }
        }
    }

    /// Notifications go to the subscriptions; a modern client is asked nothing.
    async fn announce(&self, heard: &broadcast::Sender<hearing::Heard>, message: &Bytes) {
        let Ok(envelope) = scan(message) else {
            return;
        };
        if envelope.kind == Kind::Notification {
            let federation = self.host.federation();
            let message = federation.present(&self.upstream, message.clone());
            // The last subscription may just be ending.
            let _ = heard.send((self.upstream.id(), message));
        } else if let Some(answer) = unread::answer(&envelope)
            && let Err(error) = self.connection.send(answer).await
        {
            tracing::debug!(%error, "an upstream's request was not refused");
        }
    }

    /// The message as a legacy client is to see it.
    fn shown(&self, message: Bytes) -> Bytes {
        let federation = self.host.federation();
        let message = federation.present(&self.upstream, message);
        match federation.names_tasks(Era::Legacy) {
            true => {
                let (sealer, name) = (&self.host.sealer, self.upstream.name());
                self.session.tasks.present(sealer, name, message)
            }
            false => message,
        }
    }

    async fn relay_to(&self, client: &mpsc::Sender<Bytes>, message: &Bytes) -> Result<(), Gone> {
        let translation = Translation {
            upstream: self.upstream.name(),
            our_id: None,
            client_id: None,
            client_token: None,
            era: Era::Legacy,
            logs: true,
        };
        match translation.translate(message) {
            Relayed::Message(message) => {
                let message = self.shown(message);
                client.send(message).await.map_err(|_| Gone)
            }
            Relayed::Garbage(error) => {
                tracing::warn!(
                    upstream = translation.upstream,
                    error,
                    "dropped what is not MCP"
                );
                Ok(())
            }
            Relayed::Response(_)
            | Relayed::Refuse(_)
            | Relayed::Begin
            | Relayed::Close
            | Relayed::Drop => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;

    use super::*;
    use crate::forward::tests::host;
    use crate::rest::tests::{NOBODY, is_left_alone};
    use crate::session::tests::session;
    use crate::upstream::fake::{introduce, upstream};

    #[tokio::test(start_paused = true)]
    async fn an_upstream_that_stays_away_is_asked_for_its_stream_by_nobody() {
        let (session, upstream) = (session(), upstream(NOBODY));
        introduce(&upstream, Era::Legacy);
        let connection = upstream.open_stateless(&session.facts, HeaderMap::new());
        let (client, _messages) = mpsc::channel(1);
        let reader = Reader {
            host: host(vec![Arc::clone(&upstream)]),
            session,
            upstream: Arc::clone(&upstream),
            connection: Arc::new(connection.expect("a connection")),
            sink: Sink::Client(client),
            pauses: Arc::default(),
        };
        is_left_alone(&upstream, reader.read()).await;
    }
}
