//! What TLS has against the other end.

use std::io;

use rustls::{CertificateError, Error};

/// What is wrong with the other end's certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// Nobody who is trusted has signed it.
    ForeignCa,
    /// It has ended, or does not hold yet.
    Ended,
    /// It is for none of the roles that may be there.
    OtherRole,
    Other,
}

impl Flaw {
    pub(crate) fn of(bad: &CertificateError) -> Self {
        use CertificateError as Bad;
        match bad {
            Bad::UnknownIssuer | Bad::BadSignature => Self::ForeignCa,
            Bad::Expired
            | Bad::ExpiredContext { .. }
            | Bad::NotValidYet
            | Bad::NotValidYetContext { .. } => Self::Ended,
            Bad::NotValidForName
            | Bad::NotValidForNameContext { .. }
            | Bad::ApplicationVerificationFailure
            | Bad::InvalidPurpose
            | Bad::InvalidPurposeContext { .. } => Self::OtherRole,
            _ => Self::Other,
        }
    }
}

/// What TLS has against a connection; none where the connection itself failed.
pub(crate) fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}
