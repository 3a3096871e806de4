//! Who was not let in, and why: counted each time, and told once a minute per reason.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use hexagram_runtime::metrics::Metrics;
use parking_lot::Mutex;
use prometheus::IntCounterVec;
use rustls::{AlertDescription, Error};
use tokio::time::Instant;

use crate::flaw::{Flaw, cause};

/// Between two log lines about the same reason.
const PAUSE: Duration = Duration::from_secs(60);

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
    #[error(
        "it speaks TLS, and this worker was not given --link-tls: give it to this worker as well, \
         or to neither"
    )]
    Tls,
    #[error("it connected and said nothing")]
    Silent,
    #[error("it took too long")]
    Late,
    #[error("too many connect at the same time, and it was not through when its place was needed")]
    Crowded,
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
            Self::Tls => "tls",
            Self::Silent => "silent",
            Self::Late => "late",
            Self::Crowded => "crowded",
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
            Some(Error::InvalidCertificate(bad)) => match Flaw::of(bad) {
                Flaw::ForeignCa => Self::ForeignCa,
                Flaw::Ended => Self::Ended,
                Flaw::OtherRole => Self::NoRole,
                Flaw::Other => Self::Other(error),
            },
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

/// Counts refusals, and tells of them.
#[derive(Debug)]
pub(crate) struct Refusals {
    counts: IntCounterVec,
    told: Mutex<Told>,
}

impl Refusals {
    pub(crate) fn new(metrics: &Metrics) -> Self {
        Self {
            counts: metrics.counters(
                "hexagram_worker_links_refused_total",
                "Connections to the link's port that were not let in, by reason.",
                &["reason"],
            ),
            told: Mutex::default(),
        }
    }

    pub(crate) fn note(&self, peer: SocketAddr, refusal: &Refusal) {
        let label = refusal.label();
        self.counts.with_label_values(&[label]).inc();
        // Who only knocks, as probes do, is no news.
        let is_knock = matches!(refusal, Refusal::Left);
        let untold = (!is_knock).then(|| self.told.lock().hear(label, Instant::now()));
        match untold.flatten() {
            Some(untold) => {
                tracing::warn!(%peer, reason = %refusal, untold, "a connection is refused; for a minute, others for this reason are only counted");
            }
            None => tracing::debug!(%peer, reason = %refusal, "a connection is refused"),
        }
    }
}

/// What was told of each reason; there are as many as [`Refusal`] has labels.
#[derive(Debug, Default)]
struct Told(BTreeMap<&'static str, Met>);

#[derive(Debug, Default)]
struct Met {
    told: Option<Instant>,
    /// How often it was met since then.
    untold: u64,
}

impl Told {
    /// Whether to tell of this reason now; then how often it was met untold.
    fn hear(&mut self, reason: &'static str, now: Instant) -> Option<u64> {
        let met = self.0.entry(reason).or_default();
        if met
            .told
            .is_some_and(|told| now.duration_since(told) < PAUSE)
        {
            met.untold += 1;
            return None;
        }
        met.told = Some(now);
        Some(std::mem::take(&mut met.untold))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_told_once_a_minute_with_what_was_not_told() {
        let (mut told, start) = (Told::default(), Instant::now());
        let mut hear = |reason, millis| told.hear(reason, start + Duration::from_millis(millis));
        assert_eq!(hear("ended", 0), Some(0));
        assert_eq!(hear("ended", 1), None);
        assert_eq!(hear("plain", 2), Some(0), "another reason");
        assert_eq!(hear("ended", 59_999), None);
        assert_eq!(hear("ended", 60_000), Some(2));
        assert_eq!(hear("ended", 60_001), None);
        assert_eq!(hear("ended", 300_000), Some(1));
        assert_eq!(hear("ended", 400_000), Some(0));
    }
}
