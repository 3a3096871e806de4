//! Lists that a modern upstream lets others keep: `ttlMs` says for how long,
//! `cacheScope` for whom (MCP 2026-07-28, "Caching"; ADR 0013). Time comes in as
//! an argument; who asks is `forward` and `merged`.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bytes::Bytes;
use hexagram_core::PrincipalId;
use hexagram_mcp::envelope::{Envelope, scan};
use tokio::time::Instant;

use crate::raw::{RawObject, raw};

/// What is kept at most.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Pages of lists.
    pub(crate) pages: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
}

/// One upstream's limits.
pub(crate) const LIMITS: Limits = Limits {
    pages: 256,
    bytes: 4 << 20,
};

/// A page of a list that somebody asks for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Asked {
    page: (Box<str>, Option<Box<str>>),
    principal: PrincipalId,
    /// How often the lists had changed: an answer that was under way meanwhile
    /// may be the old one.
    changes: u64,
}

/// A page and whose it is; nobody's are everybody's.
type Key = ((Box<str>, Option<Box<str>>), Option<PrincipalId>);

#[derive(Debug)]
struct Kept {
    result: Bytes,
    since: Instant,
    ttl: Duration,
    used: u64,
}

/// The lists of one upstream.
#[derive(Debug)]
pub(crate) struct ListCache {
    limits: Limits,
    kept: HashMap<Key, Kept>,
    // The keys by their last use, the longest unused first.
    order: BTreeMap<u64, Key>,
    uses: u64,
    bytes: usize,
    changes: u64,
}

impl ListCache {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            limits,
            kept: HashMap::new(),
            order: BTreeMap::new(),
            uses: 0,
            bytes: 0,
            changes: 0,
        }
    }

    /// The page that a list request asks for; `None` where it says more.
    pub(crate) fn asked(
        &self,
        request: &Envelope<'_>,
        cursor: Option<&str>,
        principal: PrincipalId,
    ) -> Option<Asked> {
        let method = request.method.as_deref()?;
        let params = request
            .params
            .and_then(RawObject::parse)
            .unwrap_or_default();
        let plain = params
            .names()
            .all(|name| matches!(name, "cursor" | "_meta"));
        plain.then(|| Asked {
            page: (method.into(), cursor.map(Into::into)),
            principal,
            changes: self.changes,
        })
    }

    /// The raw result kept for this page, saying how long it still holds.
    pub(crate) fn get(&mut self, asked: &Asked, now: Instant) -> Option<Bytes> {
        let own = (asked.page.clone(), Some(asked.principal));
        let shared = (asked.page.clone(), None);
        let found = self.fresh(own, now);
        found.or_else(|| self.fresh(shared, now))
    }

    fn fresh(&mut self, key: Key, now: Instant) -> Option<Bytes> {
        let kept = self.kept.get_mut(&key)?;
        let age = now.saturating_duration_since(kept.since);
        // A page that holds for less than a millisecond holds for none.
        let left = kept.ttl.saturating_sub(age).as_millis();
        if left == 0 {
            self.remove(&key);
            return None;
        }
        self.order.remove(&kept.used);
        self.uses += 1;
        kept.used = self.uses;
        self.order.insert(self.uses, key);
        let mut result = RawObject::parse(&kept.result)?;
        result.put("ttlMs", raw(&left)?);
        serde_json::to_vec(&result).ok().map(Bytes::from)
    }

    /// Keeps the response to a request, if it may be kept.
    pub(crate) fn keep(&mut self, asked: Asked, response: &[u8], now: Instant) {
        let Some((result, hint)) = hint(response) else {
            return;
        };
        if asked.changes != self.changes || result.len() > self.limits.bytes {
            return;
        }
        let key = (asked.page, hint.is_private.then_some(asked.principal));
        self.remove(&key);
        self.uses += 1;
        self.bytes += result.len();
        let kept = Kept {
            result,
            since: now,
            ttl: hint.ttl,
            used: self.uses,
        };
        self.order.insert(self.uses, key.clone());
        self.kept.insert(key, kept);
        while self.kept.len() > self.limits.pages || self.bytes > self.limits.bytes {
            let Some((_, oldest)) = self.order.pop_first() else {
                return;
            };
            self.remove(&oldest);
        }
    }

    /// Forgets everything: the lists have changed, or may have unheard.
    pub(crate) fn forget(&mut self) {
        self.kept.clear();
        self.order.clear();
        self.bytes = 0;
        self.changes += 1;
    }

    fn remove(&mut self, key: &Key) {
        if let Some(kept) = self.kept.remove(key) {
            self.order.remove(&kept.used);
            self.bytes -= kept.result.len();
        }
    }
}

/// What an upstream says of who may keep a result, and for how long.
struct Hint {
    ttl: Duration,
    is_private: bool,
}

/// A response's result, if it may be kept at all. A result without a scope is
/// its asker's alone.
fn hint(response: &[u8]) -> Option<(Bytes, Hint)> {
    let result = scan(response).ok()?.result?;
    let object = RawObject::parse(result)?;
    let ttl: u64 = serde_json::from_str(object.get("ttlMs")?.get()).ok()?;
    let is_complete = object
        .text("resultType")
        .is_none_or(|kind| kind == "complete");
    let hint = Hint {
        ttl: Duration::from_millis(ttl),
        is_private: object.text("cacheScope").as_deref() != Some("public"),
    };
    (ttl > 0 && is_complete).then(|| (Bytes::copy_from_slice(result), hint))
}

#[cfg(test)]
mod tests;
