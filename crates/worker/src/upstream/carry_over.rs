//! Which upstreams of a new configuration are those of the old one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::{Kind, Upstream};

/// The upstreams of `new`, where `old` has the same one that one: whoever uses
/// it goes on. It takes the new limits for sessions opened from now on, the new rule
/// for calls that may have run already, and the era that it is now said to speak.
/// What is in both already stays as it is.
#[must_use]
pub fn carry_over(old: &[Arc<Upstream>], new: Vec<Arc<Upstream>>) -> Vec<Arc<Upstream>> {
    let carried = |new: Arc<Upstream>| {
        if old.iter().any(|old| Arc::ptr_eq(old, &new)) {
            return new;
        }
        match old.iter().find(|old| old.is_same(&new)) {
            Some(old) => {
                old.take_limits(&new);
                Arc::clone(old)
            }
            None => new,
        }
    };
    new.into_iter().map(carried).collect()
}

impl Upstream {
    /// Whether a file of a folder names it.
    pub(crate) fn is_in_folder(&self) -> bool {
        self.in_folder.load(Relaxed)
    }

    pub(crate) fn put_in_folder(&self, in_folder: bool) {
        self.in_folder.store(in_folder, Relaxed);
    }

    /// Whether the other has its name and is in the same place.
    fn is_same(&self, other: &Self) -> bool {
        let same_place = match (&self.kind, &other.kind) {
            (Kind::Http(one), Kind::Http(other)) => one.lock().url() == other.lock().url(),
            (Kind::Command(one), Kind::Command(other)) => one.line() == other.line(),
            // The configuration says nothing of them but that they are there.
            (Kind::Handler(_), Kind::Handler(_)) | (Kind::Native(_), Kind::Native(_)) => true,
            _ => false,
        };
        self.name == other.name && same_place
    }

    fn take_limits(&self, other: &Self) {
        *self.retry.lock() = other.retry();
        self.take_era(other.told_era());
        self.put_in_folder(other.is_in_folder());
        match (&self.kind, &other.kind) {
            (Kind::Http(one), Kind::Http(other)) => one.lock().take(&other.lock()),
            (Kind::Command(one), Kind::Command(other)) => one.set_limits(other.limits()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::UpstreamLimits;
    use super::super::tests::{limits, upstream, upstream_with};
    use super::*;

    #[test]
    fn what_has_the_same_name_and_place_is_the_same() {
        let old = [upstream("http://127.0.0.1:1/a"), upstream("cat")];
        for (index, target) in ["http://127.0.0.1:1/a", "cat"].into_iter().enumerate() {
            let carried = carry_over(&old, vec![upstream(target)]);
            assert!(Arc::ptr_eq(&carried[0], &old[index]), "{target}");
        }
        for target in ["http://127.0.0.1:1/b", "cat -u"] {
            let carried = carry_over(&old, vec![upstream(target)]);
            assert!(
                !old.iter().any(|old| old.id() == carried[0].id()),
                "{target}"
            );
        }
    }

    #[test]
    fn what_goes_on_is_in_both_already() {
        let old = [upstream("http://127.0.0.1:1/a")];
        let carried = carry_over(&old, old.to_vec());
        assert!(Arc::ptr_eq(&carried[0], &old[0]));
    }

    #[test]
    fn new_limits_hold_for_the_same_upstream() {
        let hasty = UpstreamLimits {
            handshake: Duration::from_millis(7),
            ..limits()
        };
        for target in ["http://127.0.0.1:1/a", "cat"] {
            let old = upstream(target);
            let carried = carry_over(&[Arc::clone(&old)], vec![upstream_with(target, hasty)]);
            assert!(Arc::ptr_eq(&carried[0], &old));
            let handshake = match &old.kind {
                Kind::Http(target) => target.lock().limits().handshake,
                Kind::Command(launcher) => launcher.limits().handshake,
                _ => unreachable!("neither handler nor native"),
            };
            assert_eq!(handshake, hasty.handshake, "{target}");
        }
    }
}
