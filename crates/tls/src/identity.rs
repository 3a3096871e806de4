//! What a process shows and whom it trusts, as PEM.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::configs;
use crate::error::TlsError;
use crate::role::Role;

/// The CAs that are trusted, in a folder or a Secret.
pub const CA_FILE: &str = "ca.crt";
/// The certificate that is shown.
pub const CERTIFICATE_FILE: &str = "tls.crt";
/// Its key.
pub const KEY_FILE: &str = "tls.key";

/// Certificate, key, and the CAs that are trusted. `Debug` leaves the key out.
#[derive(Clone, PartialEq, Eq)]
pub struct Identity {
    /// Trusted CAs, one or more: while a CA is exchanged there are two.
    pub ca: String,
    /// The certificate.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Identity {
    /// Reads it from a folder with `ca.crt`, `tls.crt` and `tls.key`.
    ///
    /// # Errors
    /// When one of them cannot be read; whether they are usable is not looked at.
    pub fn read(folder: &Path) -> Result<Self, TlsError> {
        let file = |name: &str| {
            let path = folder.join(name);
            fs::read_to_string(&path).map_err(|error| TlsError::Read(path, error))
        };
        Ok(Self {
            ca: file(CA_FILE)?,
            certificate: file(CERTIFICATE_FILE)?,
            key: file(KEY_FILE)?,
        })
    }

    /// Whether a process of `role` gets on with it at `now`, in seconds from 1970, among
    /// others who trust `ca`, as PEM, and no more than that.
    ///
    /// # Errors
    /// Why not: it cannot be read, key and certificate do not go together, or others would
    /// refuse it.
    pub fn check(&self, role: Role, ca: &str, now: u64) -> Result<(), TlsError> {
        let among = Self {
            ca: ca.to_owned(),
            ..self.clone()
        };
        configs::check(&among, role, now)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ca, certificate, ..
        } = self;
        let mut shown = f.debug_struct("Identity");
        shown.field("ca", ca).field("certificate", certificate);
        shown.finish_non_exhaustive()
    }
}
