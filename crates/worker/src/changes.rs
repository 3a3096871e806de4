//! What changed in the lists and resources of handlers: told to all who listen
//! in any process of the cluster.
//!
//! A modern client's subscription and the call that changes something may be
//! on different shards, and so on different workers. Announcements travel over
//! the links: worker, its edges, the other workers. They are hints: one that
//! is lost while a link is down is not repeated.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hexagram_proto::link::Announce;
use parking_lot::Mutex;
use tokio::sync::broadcast;

/// Changes that wait for a slow listener; it learns of older ones by `Lagged`.
const KEPT: usize = 64;

/// Processes whose announcements are told apart.
const MAX_ORIGINS: usize = 1_024;

/// One change.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Change {
    /// The list of tools.
    Tools,
    /// The list of prompts.
    Prompts,
    /// The list of resources.
    Resources,
    /// The content of the resource with this URI.
    Resource(String),
}

/// The bus on which handlers tell each other of changes; clones share it. A
/// process has one, given to its handlers and its workers.
#[derive(Debug, Clone)]
pub struct Changes(Arc<Bus>);

#[derive(Debug)]
struct Bus {
    origin: u64,
    serial: AtomicU64,
    listeners: broadcast::Sender<Change>,
    links: broadcast::Sender<Announce>,
    // The last serial heard of each origin: with several edges every
    // announcement comes several times.
    heard: Mutex<HashMap<u64, u64>>,
}

impl Default for Changes {
    fn default() -> Self {
        Self::new()
    }
}

impl Changes {
    /// A bus that nobody listens to yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Bus {
            origin: u64::from_be_bytes(hexagram_runtime::random::bytes()),
            serial: AtomicU64::new(0),
            listeners: broadcast::Sender::new(KEPT),
            links: broadcast::Sender::new(KEPT),
            heard: Mutex::default(),
        }))
    }

    /// Tells all who listen now, in this process and the others.
    pub fn announce(&self, change: Change) {
        let (method, uri) = wire(&change);
        let announce = Announce {
            origin: self.0.origin,
            serial: self.0.serial.fetch_add(1, Ordering::Relaxed) + 1,
            method: method.to_owned(),
            uri,
        };
        // Without links or listeners there is nobody to tell.
        let _ = self.0.links.send(announce);
        let _ = self.0.listeners.send(change);
    }

    /// The changes from now on.
    #[must_use]
    pub fn subscribe(&self) -> broadcast::Receiver<Change> {
        self.0.listeners.subscribe()
    }

    /// This process's announcements from now on, for a link.
    pub(crate) fn outgoing(&self) -> broadcast::Receiver<Announce> {
        self.0.links.subscribe()
    }

    /// Hears another process's announcement, once.
    pub(crate) fn hear(&self, announce: &Announce) {
        if announce.origin == self.0.origin || !self.is_news(announce) {
            return;
        }
        if let Some(change) = read(announce) {
            let _ = self.0.listeners.send(change);
        }
    }

    fn is_news(&self, announce: &Announce) -> bool {
        let mut heard = self.0.heard.lock();
        if heard.len() >= MAX_ORIGINS && !heard.contains_key(&announce.origin) {
            // Most are long gone; to hear one change twice does no harm.
            heard.clear();
        }
        let last = heard.entry(announce.origin).or_default();
        let news = announce.serial > *last;
        *last = announce.serial.max(*last);
        news
    }
}

const TOOLS: &str = "notifications/tools/list_changed";
const PROMPTS: &str = "notifications/prompts/list_changed";
const RESOURCES: &str = "notifications/resources/list_changed";
const RESOURCE: &str = "notifications/resources/updated";

fn wire(change: &Change) -> (&'static str, String) {
    match change {
        Change::Tools => (TOOLS, String::new()),
        Change::Prompts => (PROMPTS, String::new()),
        Change::Resources => (RESOURCES, String::new()),
        Change::Resource(uri) => (RESOURCE, uri.clone()),
    }
}

/// `None` for a kind that a newer release added.
fn read(announce: &Announce) -> Option<Change> {
    match &*announce.method {
        TOOLS => Some(Change::Tools),
        PROMPTS => Some(Change::Prompts),
        RESOURCES => Some(Change::Resources),
        RESOURCE => Some(Change::Resource(announce.uri.clone())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_reaches_the_other_process_once() {
        let (ours, theirs) = (Changes::new(), Changes::new());
        let (mut link, mut heard) = (ours.outgoing(), theirs.subscribe());
        let all = [
            Change::Tools,
            Change::Prompts,
            Change::Resources,
            Change::Resource("x:1".to_owned()),
        ];
        for change in all {
            ours.announce(change.clone());
            let announce = link.try_recv().expect("an announcement");
            theirs.hear(&announce);
            theirs.hear(&announce);
            assert_eq!(heard.try_recv(), Ok(change));
            assert!(heard.try_recv().is_err(), "once");
        }
    }

    #[test]
    fn our_own_words_come_back_unheard() {
        let changes = Changes::new();
        let mut link = changes.outgoing();
        let mut heard = changes.subscribe();
        changes.announce(Change::Tools);
        changes.hear(&link.try_recv().expect("an announcement"));
        assert_eq!(heard.try_recv(), Ok(Change::Tools));
        assert!(heard.try_recv().is_err());
    }
}
