//! What stands in a certificate.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use x509_parser::time::ASN1Time;

use crate::error::TlsError;

/// What a certificate says of itself. Nothing of it is checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// From when it holds, in seconds from 1970.
    pub not_before: u64,
    /// Until when, in seconds from 1970.
    pub not_after: u64,
    /// Whose it is.
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
}

impl Facts {
    /// Reads the first certificate of a PEM text.
    ///
    /// # Errors
    /// When there is none.
    pub fn read(pem: &str) -> Result<Self, TlsError> {
        let unusable = |reason: String| TlsError::unusable("a certificate", &reason);
        let der = CertificateDer::from_pem_slice(pem.as_bytes());
        let der = der.map_err(|error| unusable(error.to_string()))?;
        let (_, parsed) = x509_parser::parse_x509_certificate(&der)
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Self {
            not_before: seconds(parsed.validity.not_before),
            not_after: seconds(parsed.validity.not_after),
            subject: parsed.subject.to_string(),
            issuer: parsed.issuer.to_string(),
        })
    }

    /// The moment between beginning and end, in seconds from 1970.
    #[must_use]
    pub const fn half(&self) -> u64 {
        self.not_before.midpoint(self.not_after)
    }
}

fn seconds(time: ASN1Time) -> u64 {
    time.timestamp().try_into().unwrap_or_default()
}
