//! What a certificate says of its holder.

use std::fmt;

use rustls::pki_types::{CertificateDer, DnsName, ServerName};
use rustls::server::ParsedCertificate;

/// Who is at an end of a link. The names are nobody's in any DNS: nothing resolves them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Dials workers.
    Edge,
    /// Is dialled, and dials other workers.
    Worker,
    /// Dials workers: that of a process cluster, or the one in an operator.
    Controller,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Edge, Self::Worker, Self::Controller];

    /// Its word: of folders and Secrets.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Worker => "worker",
            Self::Controller => "controller",
        }
    }

    /// One of those who have it, in a sentence.
    pub(crate) const fn one(self) -> &'static str {
        match self {
            Self::Edge => "an edge",
            Self::Worker => "a worker",
            Self::Controller => "a controller",
        }
    }

    /// The name in its certificate.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Edge => "edge.hexagram.internal",
            Self::Worker => "worker.hexagram.internal",
            Self::Controller => "controller.hexagram.internal",
        }
    }

    pub(crate) fn server_name(self) -> ServerName<'static> {
        let name = DnsName::try_from_str(self.name()).expect("role names are DNS names");
        ServerName::DnsName(name.to_owned())
    }

    /// The role that a certificate names.
    pub(crate) fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let parsed = ParsedCertificate::try_from(certificate).ok()?;
        let names =
            |role: &Self| rustls::client::verify_server_name(&parsed, &role.server_name()).is_ok();
        Self::ALL.into_iter().find(names)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
