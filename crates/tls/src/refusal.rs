//! Who was not let in, and why: counted each time, told once per reason.

use std::io;
use std::net::SocketAddr;

use hexagram_runtime::metrics::Metrics;
use parking_lot::Mutex;
use prometheus::IntCounterVec;
use rustls::{AlertDescription, CertificateError, Error};

/// Why somebody was not let in, and what to do.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("it left before it said anything")]
    Left,
    #[error(
        "it speaks no TLS, and this worker was given --link-tls: give it to whoever dials as well, \
         or to neither"
    )]
    Plain,
    #[error("it took too long")]
    Late,
    #[error("this worker has no certificate yet")]
    NotYet,
    #[error("it shows no certificate: give it one with --link-tls")]
    NoCertificate,
    #[error(
        "its certificate is of a CA that is not in this worker's ca.crt: give both certificates of \
         the same CA"
    )]
    ForeignCa,
    #[error("its certificate has ended, or a clock is wrong: renew it")]
    Ended,
    #[error("its certificate is for no role of a cluster: make one with `hexagram keys link`")]
    NoRole,
    #[error(
        "it does not trust this worker: give both certificates of the same CA, and this one the \
         workers'"
    )]
    Distrusts,
    #[error("{0}")]
    Other(io::Error),
}

impl Refusal {
    const fn label(&self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Plain => "plain",
            Self::Late => "late",
            Self::NotYet => "not_ready",
            Self::NoCertificate => "no_certificate",
            Self::ForeignCa => "foreign_ca",
            Self::Ended => "ended",
            Self::NoRole => "no_role",
            Self::Distrusts => "distrusts",
            Self::Other(_) => "other",
        }
    }
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match cause(&error) {
            Some(Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(Error::InvalidCertificate(bad)) => judged(bad, error_of(bad)),
            Some(Error::AlertReceived(
                AlertDescription::UnknownCA
                | AlertDescription::BadCertificate
                | AlertDescription::CertificateUnknown
                | AlertDescription::CertificateExpired
                | AlertDescription::UnsupportedCertificate
                | AlertDescription::DecryptError,
            )) => Self::Distrusts,
            _ => Self::Other(error),
        }
    }
}

fn judged(bad: &CertificateError, error: io::Error) -> Refusal {
    use CertificateError as Bad;
    match bad {
        Bad::UnknownIssuer | Bad::BadSignature => Refusal::ForeignCa,
        Bad::Expired
        | Bad::ExpiredContext { .. }
        | Bad::NotValidYet
        | Bad::NotValidYetContext { .. } => Refusal::Ended,
        Bad::ApplicationVerificationFailure
        | Bad::InvalidPurpose
        | Bad::InvalidPurposeContext { .. } => Refusal::NoRole,
        _ => Refusal::Other(error),
    }
}

fn error_of(bad: &CertificateError) -> io::Error {
    io::Error::other(Error::InvalidCertificate(bad.clone()))
}

/// What TLS has against a connection; none where the connection itself failed.
pub(crate) fn cause(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

/// Counts refusals, and tells of the first for each reason.
#[derive(Debug)]
pub(crate) struct Refusals {
    counts: IntCounterVec,
    told: Mutex<Vec<&'static str>>,
}

impl Refusals {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            counts: metrics.counters(
                "hexagram_worker_links_refused_total",
                "Connections to the link's port that TLS did not let in, by reason.",
                &["reason"],
            ),
            told: Mutex::default(),
        }
    }

    pub(crate) fn note(&self, peer: SocketAddr, refusal: &Refusal) {
        self.counts.with_label_values(&[refusal.label()]).inc();
        match self.is_news(refusal.label()) {
            true => {
                tracing::warn!(%peer, reason = %refusal, "a connection is refused; later ones for this reason are only counted");
            }
            false => tracing::debug!(%peer, reason = %refusal, "a connection is refused"),
        }
    }

    /// Who only knocks, as probes do, is no news.
    fn is_news(&self, label: &'static str) -> bool {
        let mut told = self.told.lock();
        let is_news = label != "left" && !told.contains(&label);
        if is_news {
            told.push(label);
        }
        is_news
    }
}
