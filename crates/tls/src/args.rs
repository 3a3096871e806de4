//! The flag.

use std::path::PathBuf;

use clap::Args;
use hexagram_runtime::metrics::Metrics;

use crate::error::TlsError;
use crate::link_tls::LinkTls;
use crate::role::Role;

/// Whether links are encrypted, and who this process is on them.
#[derive(Debug, Clone, Args)]
pub struct LinkTlsArgs {
    /// Folder with ca.crt, tls.crt and tls.key (`hexagram keys link`): links to workers
    /// use mutual TLS. Give it to all processes or to none. Renewed files are taken
    /// without a restart.
    #[arg(long, value_name = "DIR")]
    pub link_tls: Option<PathBuf>,
}

impl LinkTlsArgs {
    /// What the folder makes of `role`, followed from now on; `None` where links are plain.
    /// Needs a tokio runtime.
    ///
    /// # Errors
    /// When the folder's files cannot be used.
    pub fn open(&self, role: Role, metrics: &Metrics) -> Result<Option<LinkTls>, TlsError> {
        let Some(folder) = &self.link_tls else {
            return Ok(None);
        };
        let (tls, files) = LinkTls::read(folder, role, metrics)?;
        tls.follow(folder, files);
        Ok(Some(tls))
    }

    /// Whether [`Self::open`] would succeed.
    ///
    /// # Errors
    /// As it.
    pub fn check(&self, role: Role) -> Result<(), TlsError> {
        let Some(folder) = &self.link_tls else {
            return Ok(());
        };
        LinkTls::read(folder, role, &Metrics::new()).map(drop)
    }
}
