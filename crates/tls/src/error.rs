//! What is wrong with what a process was given.

use std::io;
use std::path::PathBuf;

use crate::role::Role;

/// Why certificates cannot be used, or made. Gives no key away.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file of the folder cannot be read.
    #[error(
        "cannot read {0} of the link's certificates: {1}; --link-tls names a folder with ca.crt, \
         tls.crt and tls.key, as `hexagram keys link --out DIR` makes one for each role"
    )]
    Read(PathBuf, io::Error),
    /// One of them is not what its name says.
    #[error("{what} of the link's certificates is unusable: {reason}; it must be PEM")]
    Unusable {
        /// Which one.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Certificate and key do not go together, or are of a kind that TLS 1.3 has not.
    #[error(
        "tls.crt and tls.key of the link's certificates do not go together: {0}; make both anew"
    )]
    Pair(rustls::Error),
    /// It was made for somebody else.
    #[error(
        "the link's certificate is {found}, and this process is {}: give it the one for \
         {}", .wanted.one(), .wanted.name()
    )]
    OtherRole {
        /// Whose it is.
        found: String,
        /// Whose it must be.
        wanted: Role,
    },
    /// Others would not let its holder in.
    #[error("nobody would trust the link's certificate: {0}")]
    Distrusted(rustls::Error),
    /// Certificates cannot be made.
    #[error("a certificate for links cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// The CA is over.
    #[error("the CA of the links has ended: make a new one")]
    Over,
}

impl TlsError {
    pub(crate) fn unusable(what: &'static str, reason: &impl ToString) -> Self {
        let reason = reason.to_string();
        Self::Unusable { what, reason }
    }
}
