//! `subscriptions/listen`: a modern client's subscription, fed by every
//! upstream, whatever era it speaks.

mod source;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hexagram_mcp::{Problem, SUBSCRIPTION_ID, completion};
use serde_json::json;
use serde_json::value::RawValue;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout_at};

use crate::federation::{Destination, Federation};
use crate::filter::Filter;
use crate::followers;
use crate::forward::Forward;
use crate::host::Host;
use crate::raw::{RawObject, raw};
use crate::reply::Reply;
use crate::rest::Pauses;
use crate::upstream::Upstream;
use source::{Event, Source};

/// Messages that wait for a client; a slower one slows its upstreams' streams.
const QUEUE: usize = 64;
/// An upstream that has not agreed by then is not waited for; what it tells
/// later still reaches the client.
const PATIENCE: Duration = Duration::from_secs(5);

/// Serves the subscription until the client leaves or this worker drains. An upstream
/// that ends its part does not end it.
pub(crate) async fn run(forward: &Forward<'_>, reply: Reply) {
    // What its sources open stays with its bridge, and is waited for there.
    forward.call.opening.end();
    let requested = match Filter::of(forward.envelope.params) {
        Ok(requested) => requested,
        Err(problem) => return reply.refuse(&problem),
    };
    let (sender, events) = mpsc::channel(QUEUE);
    let subscription = Subscription {
        events,
        reply,
        lists: requested.with_resources(Vec::new()),
        agreed: Filter::default(),
    };
    // It owns the sender: where no upstream is left, no more events come.
    let sources = followers::each(forward.host.federations(), move |upstream| {
        let source = Source {
            forward,
            filter: part(forward.host, &upstream, &requested),
            upstream,
            events: sender.clone(),
            pauses: Pauses::default(),
        };
        source.follow()
    });
    let served = subscription.serve(forward);
    tokio::select! {
        () = served => {}
        () = async { sources.await; std::future::pending().await } => {}
    }
}

/// What of the client's filter concerns one upstream, under its own names.
fn part(host: &Host, upstream: &Upstream, requested: &Filter) -> Filter {
    let federation = host.federation();
    let is_its = |index: usize| federation.get(index).id() == upstream.id();
    let own = |uri: &String| match federation.destination("resources/read", Some(uri)) {
        Ok(Destination::One(of, name)) if is_its(of) => Some(name.unwrap_or_else(|| uri.clone())),
        _ => None,
    };
    requested.with_resources(requested.resources().iter().filter_map(own).collect())
}

/// One client's subscription.
struct Subscription {
    events: mpsc::Receiver<Event>,
    reply: Reply,
    /// The lists that the client wants to hear of.
    lists: Filter,
    agreed: Filter,
}

impl Subscription {
    async fn serve(mut self, forward: &Forward<'_>) {
        let sources = forward.federation.all().len();
        let early = match self.agree(sources).await {
            Ok(early) => early,
            Err(problem) => return self.reply.refuse(&problem),
        };
        self.agree_to_lists(forward.host);
        if forward.call.reattached {
            self.hint().await;
        } else {
            self.acknowledge().await;
        }
        for message in early {
            self.tell(&message).await;
        }
        tokio::select! {
            () = self.relay(forward.host.federations()) => {}
            () = forward.host.drained() => {}
            () = forward.call.shard.moved.cancelled() => return self.reply.reattach(),
        }
        self.complete().await;
    }

    /// Waits until every upstream has agreed or refused; gives what has come
    /// meanwhile, or the reason when nobody agrees.
    async fn agree(&mut self, sources: usize) -> Result<Vec<Bytes>, Problem> {
        let deadline = Instant::now() + PATIENCE;
        let mut answers = Answers::awaited(sources);
        while answers.waiting > 0 {
            match timeout_at(deadline, self.events.recv()).await {
                Ok(Some(event)) => answers.take(event),
                Ok(None) | Err(_) => break,
            }
        }
        if let Some(problem) = answers.refusal() {
            return Err(problem);
        }
        self.agreed.join(answers.agreed);
        Ok(answers.early)
    }

    /// Lists change with the upstreams too, whatever these tell of themselves.
    fn agree_to_lists(&mut self, host: &Host) {
        let federation = host.federation();
        let known = federation.all().iter();
        let known: Vec<_> = known.filter_map(|upstream| upstream.known_info()).collect();
        let info = federation.describe(&known);
        let lists = self.lists.clone();
        self.agreed.join(lists.supported_by(&info.capabilities));
    }

    async fn acknowledge(&mut self) {
        let acknowledged = json!({
            "jsonrpc": "2.0",
            "method": "notifications/subscriptions/acknowledged",
            "params": {"notifications": self.agreed},
        });
        let acknowledged = acknowledged.to_string();
        if let Some(message) = tagged(acknowledged.as_bytes(), self.reply.id()) {
            self.reply.event(message).await;
        }
    }

    async fn relay(&mut self, mut federations: watch::Receiver<Arc<Federation>>) {
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.take(event).await,
                    None => return,
                },
                _ = federations.changed() => self.hint().await,
            }
        }
    }

    /// Tells the client what it may have missed: it asks again, to no harm.
    async fn hint(&mut self) {
        for hint in self.lists.hints() {
            self.tell(&hint).await;
        }
    }

    async fn take(&mut self, event: Event) {
        match event {
            Event::Message(message) => self.tell(&message).await,
            // An upstream that was late, or came back.
            Event::Agreed(filter) | Event::Back(filter) => self.agreed.join(filter),
            Event::Refused(_) => {}
        }
    }

    /// Tells the client what it has asked for.
    async fn tell(&mut self, message: &[u8]) {
        if self.agreed.admits(message)
            && let Some(message) = tagged(message, self.reply.id())
        {
            self.reply.event(message).await;
        }
    }

    /// Ends the subscription in its own form: the client listens again.
    async fn complete(self) {
        let message = completion(self.reply.id());
        self.reply.finish(message).await;
    }
}

/// What the upstreams have answered to a new subscription.
#[derive(Default)]
struct Answers {
    /// So many have not answered yet.
    waiting: usize,
    agreed: Filter,
    is_any_heard: bool,
    refusal: Option<Problem>,
    /// What they told already.
    early: Vec<Bytes>,
}

impl Answers {
    fn awaited(sources: usize) -> Self {
        Self {
            waiting: sources,
            ..Self::default()
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Message(message) => self.early.push(message),
            // It has answered before.
            Event::Back(filter) => self.hear(filter),
            Event::Agreed(filter) => {
                self.waiting -= 1;
                self.hear(filter);
            }
            Event::Refused(problem) => {
                self.waiting -= 1;
                self.refusal = Some(problem);
            }
        }
    }

    fn hear(&mut self, filter: Filter) {
        self.agreed.join(filter);
        self.is_any_heard = true;
    }

    /// The reason why nobody is heard, once all have refused.
    fn refusal(&mut self) -> Option<Problem> {
        let is_refused = self.waiting == 0 && !self.is_any_heard;
        self.refusal.take().filter(|_| is_refused)
    }
}

/// The notification with the subscription's raw id in its `_meta`.
fn tagged(message: &[u8], id: &str) -> Option<Bytes> {
    let id = RawValue::from_string(id.to_owned()).ok()?;
    let mut message = RawObject::parse(message)?;
    let mut params = message.object("params");
    let mut meta = params.object("_meta");
    meta.put(SUBSCRIPTION_ID, id);
    params.put("_meta", raw(&meta)?);
    message.put("params", raw(&params)?);
    serde_json::to_vec(&message).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(resource: &str) -> Filter {
        Filter::default().with_resources(vec![resource.to_owned()])
    }

    #[test]
    fn each_upstream_answers_once() {
        let mut answers = Answers::awaited(2);
        answers.take(Event::Refused(Problem::Internal));
        answers.take(Event::Back(of("a")));
        assert_eq!(answers.waiting, 1, "the other one is waited for");
        answers.take(Event::Agreed(of("b")));
        assert_eq!(answers.waiting, 0);
        assert!(answers.refusal().is_none());
        assert_eq!(answers.agreed.resources(), ["a", "b"]);
    }

    #[test]
    fn nobody_is_heard_once_all_have_refused() {
        let refused = |sources| {
            let mut answers = Answers::awaited(sources);
            answers.take(Event::Refused(Problem::Internal));
            answers
        };
        assert!(refused(1).refusal().is_some());
        assert!(refused(2).refusal().is_none(), "one may still agree");
        let mut back = refused(1);
        back.take(Event::Back(of("a")));
        assert!(back.refusal().is_none());
        assert!(Answers::awaited(0).refusal().is_none());
    }

    #[test]
    fn every_message_says_its_subscription() {
        let plain = br#"{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}"#;
        let message = tagged(plain, "\"a\\\"b\"").expect("a message");
        let message: serde_json::Value = serde_json::from_slice(&message).expect("JSON");
        assert_eq!(message["params"]["_meta"][SUBSCRIPTION_ID], "a\"b");
        let of_an_upstream = br#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x","_meta":{"io.modelcontextprotocol/subscriptionId":"1.7","k":1.0}}}"#;
        let message = tagged(of_an_upstream, "7").expect("a message");
        assert_eq!(
            message,
            Bytes::from_static(br#"{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"x","_meta":{"io.modelcontextprotocol/subscriptionId":7,"k":1.0}}}"#)
        );
    }
}
