//! A CA for links, and the certificates that it makes.

use std::fmt;
use std::time::Duration;

use hexagram_runtime::random;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, SanType, date_time_ymd,
};

use crate::error::TlsError;
use crate::facts::Facts;
use crate::identity::Identity;
use crate::role::Role;

/// A certificate holds this long before it is made: clocks differ.
const BACKDATED: u64 = 3_600;

/// Signs certificates of roles. `Debug` leaves its key out.
pub struct Authority {
    certificate: String,
    key: String,
    facts: Facts,
}

impl Authority {
    /// A new one that holds for `life`; `now` is in seconds from 1970.
    ///
    /// # Errors
    /// When the cryptography fails.
    pub fn generate(now: u64, life: Duration) -> Result<Self, TlsError> {
        let mut params = params(now.saturating_sub(BACKDATED), now + life.as_secs());
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        // Its name is its own: while two are trusted, it tells which one signed.
        let nonce = u64::from_be_bytes(random::bytes());
        let name = format!("Hexagram link CA {nonce:016x}");
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate()?;
        let certificate = params.self_signed(&key)?.pem();
        Self::from_pem(certificate, key.serialize_pem())
    }

    /// One that was made before.
    ///
    /// # Errors
    /// When the certificate is none. The key is looked at when it is used.
    pub fn from_pem(certificate: String, key: String) -> Result<Self, TlsError> {
        let facts = Facts::read(&certificate)?;
        Ok(Self {
            certificate,
            key,
            facts,
        })
    }

    /// Its certificate as PEM: what others trust.
    #[must_use]
    pub fn certificate(&self) -> &str {
        &self.certificate
    }

    /// Its private key as PEM. Keep it to yourself.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What its certificate says.
    #[must_use]
    pub const fn facts(&self) -> &Facts {
        &self.facts
    }

    /// A fresh key and certificate for `role` that hold for `life`, or until the CA ends;
    /// `now` is in seconds from 1970, `trusted` the CAs that the holder is to trust.
    ///
    /// # Errors
    /// When the CA has ended or its key is unusable.
    pub fn issue(
        &self,
        role: Role,
        now: u64,
        life: Duration,
        trusted: &str,
    ) -> Result<Identity, TlsError> {
        let end = self.facts.not_after.min(now + life.as_secs());
        if end <= now {
            return Err(TlsError::Over);
        }
        let signing = KeyPair::from_pem(&self.key)?;
        let issuer = Issuer::from_ca_cert_pem(&self.certificate, signing)?;
        let mut params = params(now.saturating_sub(BACKDATED), end);
        let name = role.name();
        params.distinguished_name.push(DnType::CommonName, name);
        params.subject_alt_names = vec![SanType::DnsName(name.try_into()?)];
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = usages(role);
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?.pem();
        Ok(Identity {
            ca: trusted.to_owned(),
            certificate,
            key: key.serialize_pem(),
        })
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Authority");
        shown.field("facts", &self.facts).finish_non_exhaustive()
    }
}

/// Everybody dials, and only workers are dialled.
fn usages(role: Role) -> Vec<ExtendedKeyUsagePurpose> {
    use ExtendedKeyUsagePurpose::{ClientAuth, ServerAuth};
    match role {
        Role::Worker => vec![ClientAuth, ServerAuth],
        Role::Edge | Role::Controller => vec![ClientAuth],
    }
}

fn params(from: u64, to: u64) -> CertificateParams {
    let epoch = date_time_ymd(1970, 1, 1);
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.not_before = epoch + Duration::from_secs(from);
    params.not_after = epoch + Duration::from_secs(to);
    params
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const DAY: u64 = 86_400;

    fn days(days: u64) -> Duration {
        Duration::from_secs(days * DAY)
    }

    #[test]
    fn a_certificate_holds_for_its_life_and_names_who_signed_it() {
        let authority = Authority::generate(NOW, days(20)).unwrap();
        let ca = authority.facts().clone();
        assert_eq!(
            (ca.not_before, ca.not_after),
            (NOW - BACKDATED, NOW + 20 * DAY)
        );
        let made = authority.issue(Role::Edge, NOW, days(4), "ca").unwrap();
        let leaf = Facts::read(&made.certificate).unwrap();
        assert_eq!(
            (leaf.not_before, leaf.not_after),
            (NOW - BACKDATED, NOW + 4 * DAY)
        );
        assert_eq!(leaf.issuer, ca.subject);
        assert_eq!(made.ca, "ca");
        let other = Authority::generate(NOW, days(20)).unwrap();
        assert_ne!(other.facts().subject, ca.subject);
    }

    #[test]
    fn none_outlives_its_ca() {
        let authority = Authority::generate(NOW, days(20)).unwrap();
        let made = authority.issue(Role::Edge, NOW, days(40), "").unwrap();
        let leaf = Facts::read(&made.certificate).unwrap();
        assert_eq!(leaf.not_after, NOW + 20 * DAY);
        let late = authority.issue(Role::Edge, NOW + 20 * DAY, days(1), "");
        assert!(matches!(late, Err(TlsError::Over)));
    }

    #[test]
    fn no_key_is_shown() {
        let authority = Authority::generate(NOW, days(20)).unwrap();
        let made = authority.issue(Role::Edge, NOW, days(4), "").unwrap();
        let shown = format!("{authority:?} {made:?}");
        assert!(!shown.contains("PRIVATE"), "{shown}");
    }
}
