//! All objects of a kind by their names, as the events of a watch tell of them.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::runtime::watcher::Event;

/// What was made of them; none until all were listed once.
pub(crate) struct Listing<T> {
    all: Option<BTreeMap<String, T>>,
    /// What a list that has not ended has had so far.
    begun: BTreeMap<String, T>,
}

impl<T> Listing<T> {
    pub(crate) const fn new() -> Self {
        Self {
            all: None,
            begun: BTreeMap::new(),
        }
    }

    pub(crate) const fn all(&self) -> Option<&BTreeMap<String, T>> {
        self.all.as_ref()
    }

    /// Takes an event in; `read` makes of an object what is kept.
    pub(crate) fn note<K: ResourceExt>(&mut self, event: Event<K>, read: impl Fn(K) -> T) {
        match event {
            Event::Init => self.begun.clear(),
            Event::InitApply(object) => {
                self.begun.insert(object.name_any(), read(object));
            }
            Event::InitDone => self.all = Some(std::mem::take(&mut self.begun)),
            Event::Apply(object) => {
                let all = self.all.get_or_insert_default();
                all.insert(object.name_any(), read(object));
            }
            Event::Delete(object) => {
                self.all.get_or_insert_default().remove(&object.name_any());
            }
        }
    }
}
