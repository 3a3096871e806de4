//! What is due: decided from what stands in the certificates and Secrets, and the time.

use std::time::Duration;

use hexagram_tls::{Authority, Facts, Identity, Role, TlsError};

const DAY: Duration = Duration::from_secs(86_400);
/// A CA signs for the first half of it.
const CA_LIFE: Duration = Duration::from_secs(730 * 86_400);
/// Renewed when half of it is over.
const LEAF_LIFE: Duration = Duration::from_secs(90 * 86_400);
/// Who mounts a Secret trusts what it has held for so long: mounted Secrets follow within
/// two minutes, and a node may be away for a while.
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

/// What the Secret of a role holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) identity: Identity,
    /// When it was written, in seconds from 1970, if it says so.
    pub(super) written: Option<u64>,
}

impl Held {
    /// Whether all who mount it trust `authority` by now.
    fn has_spread(&self, authority: &Authority, now: u64) -> bool {
        let is_settled = |written: u64| written.saturating_add(SETTLED.as_secs()) <= now;
        self.identity.ca.contains(authority.certificate()) && self.written.is_some_and(is_settled)
    }
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

    /// Takes the step that is due; gives whether there was one. `held` is what each role's
    /// Secret holds, if anything.
    pub(super) fn advance(&mut self, held: &[Option<Held>], now: u64) -> Result<bool, TlsError> {
        let before = self.former.len();
        self.former.retain(|former| !is_over(former, now));
        let is_shorter = self.former.len() < before;
        let next = self.next.as_ref().map(|next| {
            let mut held = held.iter().map(Option::as_ref);
            held.all(|held| held.is_some_and(|held| held.has_spread(next, now)))
        });
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

    /// Made for `role`, and usable.
    pub(super) fn issue(&self, role: Role, now: u64) -> Result<Identity, TlsError> {
        let made = self.signer.issue(role, now, LEAF_LIFE, &self.trusted())?;
        // With a key that is another CA's, it would be made again and again.
        made.check(role, self.signer.certificate(), now)?;
        Ok(made)
    }
}

fn is_over(certificate: &str, now: u64) -> bool {
    Facts::read(certificate).map_or(true, |facts| facts.not_after <= now)
}

/// `next` is whether everybody trusts the CA that will sign, if there is one.
fn step(signer: &Facts, next: Option<bool>, now: u64) -> Step {
    let is_over = signer.not_after <= now;
    match next {
        None if is_over => Step::Replace,
        None if signer.half() <= now => Step::Add,
        // Nobody holds a certificate any more that others could trust.
        Some(is_trusted) if is_trusted || is_over => Step::Promote,
        _ => Step::Rest,
    }
}

/// Why what a role holds is made anew.
#[derive(Debug, thiserror::Error)]
pub(super) enum Due {
    #[error("half of its life is over")]
    Half,
    #[error("another CA signs now")]
    OtherSigner,
    #[error("other CAs are to be trusted")]
    OtherTrusted,
    #[error("when it was written is not known")]
    Undated,
    #[error(transparent)]
    Unusable(#[from] TlsError),
}

/// Whether what `role` holds is to be made anew, and why.
pub(super) fn due(held: &Held, role: Role, authorities: &Authorities, now: u64) -> Result<(), Due> {
    let (signer, identity) = (&authorities.signer, &held.identity);
    let leaf = Facts::read(&identity.certificate)?;
    if leaf.half() <= now {
        return Err(Due::Half);
    }
    if leaf.issuer != signer.facts().subject {
        return Err(Due::OtherSigner);
    }
    if identity.ca != authorities.trusted() {
        return Err(Due::OtherTrusted);
    }
    // One from a time to come would hold the next CA back.
    if held.written.is_none_or(|written| written > now) {
        return Err(Due::Undated);
    }
    Ok(identity.check(role, signer.certificate(), now)?)
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

    fn held(authorities: &Authorities, role: Role, now: u64) -> Held {
        Held {
            identity: authorities.issue(role, now).unwrap(),
            written: Some(now),
        }
    }

    fn why(held: &Held, role: Role, authorities: &Authorities, now: u64) -> String {
        let due = due(held, role, authorities, now);
        due.map_or_else(|due| due.to_string(), |()| String::new())
    }

    #[test]
    fn a_ca_is_added_at_half_of_its_life_and_signs_once_it_is_trusted() {
        let signer = facts(0, 200);
        assert_eq!(step(&signer, None, 99), Step::Rest);
        assert_eq!(step(&signer, None, 100), Step::Add);
        assert_eq!(step(&signer, Some(false), 199), Step::Rest);
        assert_eq!(step(&signer, Some(true), 101), Step::Promote);
    }

    /// The operator was away for that long.
    #[test]
    fn a_ca_that_is_over_signs_no_more() {
        let signer = facts(0, 100);
        assert_eq!(step(&signer, None, 100), Step::Replace);
        assert_eq!(step(&signer, Some(false), 100), Step::Promote);
    }

    /// Its Secret could not be written for days, or a hand put an older one back.
    #[test]
    fn a_ca_does_not_sign_before_each_secret_has_had_it_for_a_day() {
        let day = DAY.as_secs();
        let mut authorities = Authorities::fresh(NOW).unwrap();
        let without = held(&authorities, Role::Edge, NOW);
        authorities.next = Some(Authority::generate(NOW, CA_LIFE).unwrap());
        let edge = held(&authorities, Role::Edge, NOW);
        let worker = held(&authorities, Role::Worker, NOW + 5 * day);
        let undated = Held {
            written: None,
            ..edge.clone()
        };
        let late = NOW + 6 * day;
        let next = authorities.next.as_ref().unwrap().key().to_owned();
        for (others, now) in [
            (Some(worker.clone()), late - 1),
            (Some(without), late),
            (Some(undated), late),
            (None, late),
        ] {
            let held = [Some(edge.clone()), others];
            assert!(!authorities.advance(&held, now).unwrap());
            assert_ne!(authorities.signer.key(), next);
        }
        let held = [Some(edge), Some(worker)];
        assert!(authorities.advance(&held, late).unwrap());
        assert_eq!(authorities.signer.key(), next);
    }

    #[test]
    fn what_others_would_refuse_is_made_anew_and_says_why() {
        let authorities = Authorities::fresh(NOW).unwrap();
        let good = held(&authorities, Role::Edge, NOW);
        let other = held(&authorities, Role::Edge, NOW);
        let is_due = |change: &dyn Fn(&mut Held), said: &str| {
            let mut changed = good.clone();
            change(&mut changed);
            let why = why(&changed, Role::Edge, &authorities, NOW);
            assert!(why.contains(said) && !said.is_empty(), "{said}: {why}");
            assert!(!why.contains("PRIVATE"), "{why}");
        };
        assert_eq!(why(&good, Role::Edge, &authorities, NOW), "");
        is_due(
            &|held| held.identity.key.clone_from(&other.identity.key),
            "do not go together",
        );
        is_due(&|held| held.identity.key.clear(), "tls.key");
        is_due(
            &|held| held.identity.certificate = "x".to_owned(),
            "certificate",
        );
        is_due(&|held| held.written = None, "when it was written");
        is_due(&|held| held.written = Some(NOW + 1), "when it was written");
        let worker = authorities.issue(Role::Worker, NOW).unwrap();
        is_due(&|held| held.identity = worker.clone(), "the workers'");
        let day = DAY.as_secs();
        let later = authorities.issue(Role::Edge, NOW + day).unwrap();
        is_due(&|held| held.identity = later.clone(), "not valid yet");
    }

    /// Its name alone is the CA's.
    #[test]
    fn what_the_ca_has_not_signed_is_made_anew() {
        let mut authorities = Authorities::fresh(NOW).unwrap();
        let (ca, key) = (&authorities.signer, Authorities::fresh(NOW).unwrap().signer);
        let forger = Authority::from_pem(ca.certificate().to_owned(), key.key().to_owned());
        let forger = forger.unwrap();
        let forged = forger.issue(Role::Edge, NOW, LEAF_LIFE, &authorities.trusted());
        let forged = Held {
            identity: forged.unwrap(),
            written: Some(NOW),
        };
        let why = why(&forged, Role::Edge, &authorities, NOW);
        assert!(why.contains("nobody would trust"), "{why}");
        // Nor is it made at all with such a key.
        authorities.signer = forger;
        let made = authorities.issue(Role::Edge, NOW);
        assert!(matches!(made, Err(TlsError::Distrusted(_))), "{made:?}");
    }

    #[test]
    fn a_leaf_is_due_at_half_of_its_life_or_when_the_cas_change() {
        let mut authorities = Authorities::fresh(NOW).unwrap();
        let leaf = held(&authorities, Role::Edge, NOW);
        let why =
            |leaf: &Held, authorities: &Authorities, now| why(leaf, Role::Edge, authorities, now);
        let half = Facts::read(&leaf.identity.certificate).unwrap().half();
        assert_eq!(why(&leaf, &authorities, half - 1), "");
        assert_eq!(why(&leaf, &authorities, half), Due::Half.to_string());
        authorities.next = Some(Authority::generate(NOW, CA_LIFE).unwrap());
        let other = Due::OtherTrusted.to_string();
        assert_eq!(why(&leaf, &authorities, NOW), other);
        let leaf = held(&authorities, Role::Edge, NOW);
        assert_eq!(why(&leaf, &authorities, NOW), "");
        authorities.promote();
        let other = Due::OtherSigner.to_string();
        assert_eq!(why(&leaf, &authorities, NOW), other);
    }

    /// Over ten years with a look a day: nobody ever holds a certificate that another, who
    /// is a round behind, does not trust, and never more CAs than three are trusted.
    #[test]
    fn whoever_is_a_day_behind_is_understood() {
        let mut authorities = Authorities::fresh(NOW).unwrap();
        let mut leaf = held(&authorities, Role::Edge, NOW);
        let mut signers = 1;
        for day in (0..3650).map(|day| NOW + day * DAY.as_secs()) {
            let late = leaf.identity.clone();
            let before = authorities.signer.facts().clone();
            authorities.advance(&[Some(leaf.clone())], day).unwrap();
            if due(&leaf, Role::Edge, &authorities, day).is_err() {
                leaf = held(&authorities, Role::Edge, day);
            }
            signers += u32::from(before != *authorities.signer.facts());
            assert!(late.ca.contains(authorities.signer.certificate()), "{day}");
            assert!(authorities.former.len() <= 2, "{day}");
            let facts = Facts::read(&leaf.identity.certificate).unwrap();
            assert!(facts.not_after > day + 40 * DAY.as_secs(), "{day}");
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
