//! The certificates in use, and how they are exchanged.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwapOption;
use hexagram_runtime::metrics::Metrics;
use hexagram_runtime::watched::WatchedFile;
use prometheus::IntGauge;

use crate::configs::Configs;
use crate::error::TlsError;
use crate::identity::Identity;
use crate::role::Role;

/// One process's way to speak TLS on links. Clones are the same.
///
/// An exchange of certificates counts for new connections; those there are stay.
#[derive(Debug, Clone)]
pub struct LinkTls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    role: Role,
    configs: ArcSwapOption<Configs>,
    expires: IntGauge,
}

impl LinkTls {
    /// Has no certificate yet: connections fail until it takes one.
    ///
    /// # Panics
    /// When `metrics` have one already.
    #[must_use]
    pub fn new(role: Role, metrics: &Metrics) -> Self {
        let expires = metrics.gauge(
            "hexagram_link_certificate_expires_seconds",
            "When this process's certificate for links ends, in seconds from 1970.",
        );
        Self(Arc::new(Inner {
            role,
            configs: ArcSwapOption::empty(),
            expires,
        }))
    }

    /// Uses this identity from now on.
    ///
    /// # Errors
    /// When it is unusable; then the one before stays.
    pub fn take(&self, identity: &Identity) -> Result<(), TlsError> {
        let configs = Configs::new(identity, self.0.role)?;
        let end = configs.facts.not_after;
        self.0.expires.set(end.try_into().unwrap_or(i64::MAX));
        self.0.configs.store(Some(Arc::new(configs)));
        Ok(())
    }

    pub(crate) fn configs(&self) -> Option<Arc<Configs>> {
        self.0.configs.load_full()
    }

    /// Takes what a folder holds whenever it changes, for as long as somebody uses this.
    pub(crate) fn follow(&self, folder: &Path) {
        let files = WatchedFile::new(folder);
        tokio::spawn(follow(Arc::downgrade(&self.0), folder.to_owned(), files));
    }
}

async fn follow(tls: Weak<Inner>, folder: PathBuf, mut files: WatchedFile) {
    loop {
        files.changed().await;
        let Some(inner) = tls.upgrade() else { return };
        reload(&LinkTls(inner), &folder);
    }
}

fn reload(tls: &LinkTls, folder: &Path) {
    let taken = Identity::read(folder).and_then(|identity| tls.take(&identity));
    let folder = folder.display();
    match taken {
        Ok(()) => {
            tracing::info!(%folder, "the link's certificates are renewed: new connections use them");
        }
        Err(error) => {
            tracing::error!(%folder, %error, "the link's certificates are not renewed, the old ones stay");
        }
    }
}
