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

    /// Has what a folder holds now, and what sees its changes from before it was read.
    pub(crate) fn read(
        folder: &Path,
        role: Role,
        metrics: &Metrics,
    ) -> Result<(Self, WatchedFile), TlsError> {
        let files = WatchedFile::new(folder);
        let tls = Self::new(role, metrics);
        tls.take(&Identity::read(folder)?)?;
        Ok((tls, files))
    }

    /// Takes what a folder holds whenever it changes, for as long as somebody uses this.
    pub(crate) fn follow(&self, folder: &Path, files: WatchedFile) {
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use tokio::time::{sleep, timeout};

    use super::*;
    use crate::authority::Authority;
    use crate::identity::{CA_FILE, CERTIFICATE_FILE, KEY_FILE};

    const NOW: u64 = 1_800_000_000;
    const DAY: Duration = Duration::from_secs(86_400);

    fn write(folder: &Path, authority: &Authority, days: u32) {
        let made = authority.issue(Role::Edge, NOW, days * DAY, authority.certificate());
        let Identity {
            ca,
            certificate,
            key,
        } = made.unwrap();
        for (name, text) in [
            (CA_FILE, ca),
            (CERTIFICATE_FILE, certificate),
            (KEY_FILE, key),
        ] {
            fs::write(folder.join(name), text).unwrap();
        }
        // The clock of files may stand still for some milliseconds, and their lengths are alike.
        fs::write(folder.join("note"), "x".repeat(days as usize)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_changes_after_the_first_look_is_not_missed() {
        let folder = tempfile::tempdir().unwrap();
        let (folder, metrics) = (folder.path(), Metrics::new());
        let authority = Authority::generate(NOW, 10 * DAY).unwrap();
        write(folder, &authority, 1);
        let (tls, files) = LinkTls::read(folder, Role::Edge, &metrics).unwrap();
        write(folder, &authority, 2);
        tls.follow(folder, files);
        let end = i64::try_from(NOW + 2 * DAY.as_secs()).unwrap();
        let renewed = async {
            while tls.0.expires.get() != end {
                sleep(Duration::from_millis(100)).await;
            }
        };
        timeout(Duration::from_secs(10), renewed).await.unwrap();
    }
}
