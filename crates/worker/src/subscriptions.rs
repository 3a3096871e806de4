//! The resources that a client has subscribed to at its upstreams, so that a
//! new upstream session can be told of them.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use crate::upstream::UpstreamId;

/// Resources that one session may be subscribed to.
const MAX_RESOURCES: usize = 1_000;
/// Longest URI of a subscription, in bytes.
const MAX_URI: usize = 8 << 10;

/// Who listens to what, counted: several subscriptions of one client may name
/// the same resource.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions {
    counts: Mutex<HashMap<(UpstreamId, Box<str>), usize>>,
    // Held while an upstream is told.
    turns: Mutex<HashMap<UpstreamId, Arc<tokio::sync::Mutex<()>>>>,
    changed: Notify,
}

impl Subscriptions {
    /// Counts one more listener; `true` for the first.
    pub(crate) fn add(&self, upstream: UpstreamId, uri: &str) -> bool {
        let mut counts = self.counts.lock();
        let count = counts.entry((upstream, uri.into())).or_default();
        *count += 1;
        *count == 1
    }

    /// Counts one less; `true` when none is left.
    pub(crate) fn remove(&self, upstream: UpstreamId, uri: &str) -> bool {
        let mut counts = self.counts.lock();
        let key = (upstream, uri.into());
        let Some(count) = counts.get_mut(&key) else {
            return false;
        };
        *count -= 1;
        let none = *count == 0;
        if none {
            counts.remove(&key);
        }
        none
    }

    /// Has `tell` tell an upstream whether this resource is wanted, as of when its
    /// turn has come: of those that cross, the last one says what holds.
    pub(crate) async fn tell<F>(
        &self,
        upstream: UpstreamId,
        uri: &str,
        tell: impl FnOnce(bool) -> F,
    ) where
        F: Future<Output = ()>,
    {
        let turn = Arc::clone(self.turns.lock().entry(upstream).or_default());
        let _turn = turn.lock().await;
        let is_wanted = self.counts.lock().contains_key(&(upstream, uri.into()));
        tell(is_wanted).await;
    }

    /// Notes a legacy client's own subscription: asking twice is asking once.
    ///
    /// # Errors
    /// Which limit it exceeds; nothing is noted then.
    pub(crate) fn set(&self, upstream: UpstreamId, uri: &str, on: bool) -> Result<(), String> {
        let key = (upstream, uri.into());
        let mut counts = self.counts.lock();
        if on && uri.len() > MAX_URI {
            return Err(format!("the URI is longer than {MAX_URI} bytes"));
        }
        if on && counts.len() >= MAX_RESOURCES && !counts.contains_key(&key) {
            return Err(format!(
                "the session is subscribed to {MAX_RESOURCES} resources already; unsubscribe first"
            ));
        }
        match on {
            true => drop(counts.insert(key, 1)),
            false => drop(counts.remove(&key)),
        }
        drop(counts);
        self.changed.notify_waiters();
        Ok(())
    }

    /// Waits until a legacy client subscribes or unsubscribes, from this call on.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// The resources of one upstream.
    pub(crate) fn of(&self, upstream: UpstreamId) -> Vec<String> {
        let counts = self.counts.lock();
        let keys = counts.keys().filter(|(of, _)| *of == upstream);
        keys.map(|(_, uri)| uri.to_string()).collect()
    }

    /// Forgets all of one upstream.
    pub(crate) fn forget(&self, upstream: UpstreamId) {
        self.counts.lock().retain(|(of, _), _| *of != upstream);
        self.turns.lock().remove(&upstream);
    }

    /// Whether there are any.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.lock().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_counted() {
        let all = Subscriptions::default();
        let [a, b] = [UpstreamId::next(), UpstreamId::next()];
        assert!(all.is_empty());
        assert!(all.add(a, "x"));
        assert!(!all.add(a, "x"));
        assert!(all.add(b, "x"));
        assert_eq!(all.of(a), ["x"]);
        assert!(!all.remove(a, "x"));
        assert!(all.remove(a, "x"));
        assert!(!all.remove(a, "x"));
        assert_eq!(all.of(a), Vec::<String>::new());
        assert!(!all.is_empty());
    }

    #[tokio::test]
    async fn the_last_said_wins() {
        let all = Subscriptions::default();
        let a = UpstreamId::next();
        let told = Mutex::new(Vec::new());
        let (answer, answered) = tokio::sync::oneshot::channel::<()>();
        let left = all.tell(a, "x", async |is_wanted| {
            let _ = answered.await;
            told.lock().push(is_wanted);
        });
        tokio::pin!(left);
        assert!(futures_util::poll!(&mut left).is_pending());
        // The client is back before the upstream has taken its leave.
        all.add(a, "x");
        let back = all.tell(a, "x", async |is_wanted| told.lock().push(is_wanted));
        tokio::pin!(back);
        assert!(futures_util::poll!(&mut back).is_pending());
        answer.send(()).expect("it waits");
        tokio::join!(left, back);
        assert_eq!(*told.lock(), [false, true]);
    }

    #[tokio::test]
    async fn a_change_before_the_waiting_is_not_missed() {
        let all = Subscriptions::default();
        let changed = all.changed();
        all.set(UpstreamId::next(), "x", true).expect("room");
        changed.await;
    }

    #[test]
    fn asking_twice_is_asking_once() {
        let all = Subscriptions::default();
        let a = UpstreamId::next();
        all.set(a, "x", true).expect("room");
        all.set(a, "x", true).expect("room");
        all.set(a, "x", false).expect("room");
        assert!(all.is_empty());
    }

    #[test]
    fn a_flood_ends_at_the_limits() {
        let all = Subscriptions::default();
        let a = UpstreamId::next();
        for n in 0..MAX_RESOURCES {
            all.set(a, &format!("x:{n}"), true).expect("room");
        }
        assert!(all.set(a, "y", true).is_err());
        all.set(a, "x:0", true).expect("it is there already");
        all.set(a, "x:0", false).expect("less");
        all.set(a, "y", true).expect("room again");
        assert!(all.set(a, &"z".repeat(MAX_URI + 1), true).is_err());
    }
}
