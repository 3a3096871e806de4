//! An upstream's lists, kept for as long as it allows.

use bytes::Bytes;
use hexagram_core::{Era, PrincipalId};
use hexagram_mcp::envelope::{Envelope, scan};
use tokio::time::Instant;

use super::{Kind, Upstream};
use crate::list_cache::Asked;

impl Upstream {
    /// The page that a request of a client of `era` asks for, where it may be
    /// kept. A handler's lists are in this process anyway, and a legacy server
    /// says nothing of how long its lists hold.
    pub(crate) fn asked(
        &self,
        era: Era,
        request: &Envelope<'_>,
        cursor: Option<&str>,
        principal: PrincipalId,
    ) -> Option<Asked> {
        let keeps = matches!(self.kind, Kind::Http(_)) && self.is_stateless_in(era);
        let lists = keeps.then(|| self.lists.lock())?;
        lists.asked(request, cursor, principal)
    }

    /// The result kept for this page.
    pub(crate) fn listed(&self, asked: &Asked) -> Option<Bytes> {
        self.lists.lock().get(asked, Instant::now())
    }

    /// Keeps the response to a request for this page, if it may be kept.
    pub(crate) fn keep_list(&self, asked: Asked, response: &[u8]) {
        self.lists.lock().keep(asked, response, Instant::now());
    }

    /// Hears what the upstream says on a subscription: a list that has changed is
    /// kept no longer.
    pub(crate) fn heard(&self, message: &[u8]) {
        let method = scan(message).ok().and_then(|message| message.method);
        if method.is_some_and(|method| method.ends_with("/list_changed")) {
            self.forget_lists();
        }
    }

    /// Forgets its lists: they may have changed unheard.
    pub(crate) fn forget_lists(&self) {
        self.lists.lock().forget();
    }
}
