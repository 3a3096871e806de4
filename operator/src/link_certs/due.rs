//! What is due: decided from what stands in the certificates, and the time.

use std::time::Duration;

use hexagram_tls::{Authority, Facts, Identity, Role, TlsError};

const DAY: Duration = Duration::from_secs(86_400);
/// A CA signs for the first half of it.
const CA_LIFE: Duration = Duration::from_secs(730 * 86_400);
/// Renewed when half of it is over.
const LEAF_LIFE: Duration = Duration::from_secs(90 * 86_400);
/// By then everybody trusts a CA that was added: mounted Secrets follow within two minutes,
/// and a node may be away for a while.
const SETTLED: Duration = DAY;

/// The CA that signs, and those that are trusted beside it.
#[derive(Debug)]
pub(super) struct Authorities {
    pub(super) signer: Authority,
    /// Trusted already, and will sign.
    pub(super) next: Option<Authority>,
    /// Certificates of those that signed before, as PEM.
    pub(super) former: Vec<String>,
}

/// What is to be done about the CAs.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Rest,
    /// Have another one trusted.
    Add,
    /// Have the trusted one sign.
    Promote,
    /// Nothing is left to go on with.
    Replace,
}

impl Authorities {
    pub(super) fn fresh(now: u64) -> Result<Self, TlsError> {
        Ok(Self {
            signer: Authority::generate(now, CA_LIFE)?,
            next: None,
            former: Vec::new(),
        })
    }

    /// Takes the step that is due; gives whether there was one.
    pub(super) fn advance(&mut self, now: u64) -> Result<bool, TlsError> {
        let before = self.former.len();
        self.former.retain(|former| !is_over(former, now));
        let is_shorter = self.former.len() < before;
        let next = self.next.as_ref().map(Authority::facts);
        match step(self.signer.facts(), next, now) {
            Step::Rest => return Ok(is_shorter),
            Step::Add => self.next = Some(Authority::generate(now, CA_LIFE)?),
            Step::Promote => self.promote(),
            Step::Replace => *self = Self::fresh(now)?,
        }
        Ok(true)
    }

    fn promote(&mut self) {
        if let Some(next) = self.next.take() {
            let former = std::mem::replace(&mut self.signer, next);
            self.former.push(former.certificate().to_owned());
        }
    }

    /// All that are trusted, as PEM.
    pub(super) fn trusted(&self) -> String {
        let next = self.next.iter().map(Authority::certificate);
        let former = self.former.iter().map(String::as_str);
        let all = [self.signer.certificate()].into_iter().chain(next);
        all.chain(former).collect()
    }

    pub(super) fn issue(&self, role: Role, now: u64) -> Result<Identity, TlsError> {
        self.signer.issue(role, now, LEAF_LIFE, &self.trusted())
    }
}

fn is_over(certificate: &str, now: u64) -> bool {
    Facts::read(certificate).map_or(true, |facts| facts.not_after <= now)
}

fn step(signer: &Facts, next: Option<&Facts>, now: u64) -> Step {
    let is_over = signer.not_after <= now;
    match next {
        None if is_over => Step::Replace,
        None if signer.half() <= now => Step::Add,
        Some(next) if is_over || next.not_before + SETTLED.as_secs() <= now => Step::Promote,
        _ => Step::Rest,
    }
}

/// Whether what a role holds is to be made anew.
pub(super) fn is_due(held: &Identity, authorities: &Authorities, now: u64) -> bool {
    let Ok(leaf) = Facts::read(&held.certificate) else {
        return true;
    };
    leaf.half() <= now
        || leaf.issuer != authorities.signer.facts().subject
        || held.ca != authorities.trusted()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn facts(not_before: u64, not_after: u64) -> Facts {
        Facts {
            not_before,
            not_after,
            subject: "ca".to_owned(),
            issuer: "ca".to_owned(),
        }
    }

    #[test]
    fn a_ca_is_added_at_half_of_its_life_and_signs_a_day_later() {
        let day = DAY.as_secs();
        let signer = facts(0, 200 * day);
        assert_eq!(step(&signer, None, 100 * day - 1), Step::Rest);
        assert_eq!(step(&signer, None, 100 * day), Step::Add);
        let next = facts(100 * day, 300 * day);
        assert_eq!(step(&signer, Some(&next), 101 * day - 1), Step::Rest);
        assert_eq!(step(&signer, Some(&next), 101 * day), Step::Promote);
    }

    /// The operator was away for that long.
    #[test]
    fn a_ca_that_is_over_signs_no_more() {
        let signer = facts(0, 100);
        assert_eq!(step(&signer, None, 100), Step::Replace);
        assert_eq!(step(&signer, Some(&facts(99, 300)), 100), Step::Promote);
    }

    #[test]
    fn a_leaf_is_due_at_half_of_its_life_or_when_the_cas_change() {
        let mut authorities = Authorities::fresh(NOW).unwrap();
        let held = authorities.issue(Role::Edge, NOW).unwrap();
        let half = Facts::read(&held.certificate).unwrap().half();
        assert!(!is_due(&held, &authorities, NOW));
        assert!(!is_due(&held, &authorities, half - 1));
        assert!(is_due(&held, &authorities, half));
        authorities.next = Some(Authority::generate(NOW, CA_LIFE).unwrap());
        assert!(
            is_due(&held, &authorities, NOW),
            "another CA is to be trusted"
        );
        let held = authorities.issue(Role::Edge, NOW).unwrap();
        assert!(!is_due(&held, &authorities, NOW));
        authorities.promote();
        assert!(is_due(&held, &authorities, NOW), "another CA signs");
        let nonsense = Identity {
            certificate: "x".to_owned(),
            ..held
        };
        assert!(is_due(&nonsense, &authorities, NOW));
    }

    /// Over ten years with a look a day: nobody ever holds a certificate that another, who
    /// is a round behind, does not trust, and never more CAs than three are trusted.
    #[test]
    fn whoever_is_a_day_behind_is_understood() {
        let mut authorities = Authorities::fresh(NOW).unwrap();
        let mut held = authorities.issue(Role::Edge, NOW).unwrap();
        let mut signers = 1;
        for day in (0..3650).map(|day| NOW + day * DAY.as_secs()) {
            let late = held.clone();
            let before = authorities.signer.facts().clone();
            authorities.advance(day).unwrap();
            if is_due(&held, &authorities, day) {
                held = authorities.issue(Role::Edge, day).unwrap();
            }
            signers += u32::from(before != *authorities.signer.facts());
            assert!(late.ca.contains(authorities.signer.certificate()), "{day}");
            assert!(authorities.former.len() <= 2, "{day}");
            let leaf = Facts::read(&held.certificate).unwrap();
            assert!(leaf.not_after > day + 40 * DAY.as_secs(), "{day}");
            let is_trusted = |leaf: &Identity| {
                let issuer = Facts::read(&leaf.certificate).unwrap().issuer;
                let signer = &authorities.signer.facts().subject;
                let former = authorities
                    .former
                    .iter()
                    .map(|pem| Facts::read(pem).unwrap());
                issuer == *signer || former.into_iter().any(|facts| facts.subject == issuer)
            };
            assert!(is_trusted(&late), "{day}");
        }
        assert!((9..=11).contains(&signers), "{signers}");
    }
}
