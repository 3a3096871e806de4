//! One attempt at an upstream: in one era from its beginning to its end,
//! whatever is found out of the upstream meanwhile.

use std::sync::Arc;

use hexagram_core::Era;

use super::Forward;
use crate::upstream::Upstream;

/// Where a request goes, and how.
#[derive(Clone, Copy)]
pub(crate) struct Attempt<'a> {
    pub(crate) upstream: &'a Arc<Upstream>,
    /// The name that the upstream knows, where it is not the client's.
    pub(super) name: Option<&'a str>,
    /// The era in which the upstream is spoken to.
    pub(crate) era: Era,
    client: Era,
}

impl Attempt<'_> {
    /// Whether the upstream is spoken to in another era than the client.
    pub(crate) fn is_across(&self) -> bool {
        self.era != self.client
    }
}

impl Forward<'_> {
    /// An attempt at this upstream, once it is known what that speaks.
    pub(crate) async fn attempt<'a>(
        &self,
        upstream: &'a Arc<Upstream>,
        name: Option<&'a str>,
    ) -> Attempt<'a> {
        upstream.settle().await;
        let client = self.call.era();
        Attempt {
            upstream,
            name,
            era: upstream.era_for(client),
            client,
        }
    }
}
