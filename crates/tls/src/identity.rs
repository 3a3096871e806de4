//! What a process shows and whom it trusts, as PEM.

use std::fmt;
use std::fs;
use std::path::Path;

use crate::error::TlsError;

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
