//! How late the next step of a rotation is: as long as it is known to be waited for, and as
//! long as looks at the Secret have left something undone.

use std::time::Duration;

use tokio::time::Instant;

use super::KeyRingError;
use super::due::{LATE, Wait};

/// How a look at the Secret went: what is waited for, or why it came to no end.
pub(super) type Went = Result<Option<Wait>, KeyRingError>;

/// How late it was at the last look, while each one leaves something undone.
#[derive(Debug, Default)]
pub(super) struct Lateness(Option<(Instant, Duration)>);

impl Lateness {
    /// How late it is after another look; zero where nothing is left undone.
    pub(super) fn after(&mut self, went: &Went) -> Duration {
        let waited = match went {
            // The keys of a foreign Secret are another one's to rotate.
            Ok(None) | Err(KeyRingError::Foreign(_)) => {
                self.0 = None;
                return Duration::ZERO;
            }
            Ok(Some(wait)) => wait.since,
            Err(_) => Duration::ZERO,
        };
        let now = Instant::now();
        let grown = self.0.map_or(Duration::ZERO, |(at, late)| {
            late.saturating_add(now.duration_since(at))
        });
        let late = waited.max(grown);
        self.0 = Some((now, late));
        late
    }
}

/// What is told of a look after which it is so late.
pub(super) fn told(secret: &str, went: Went, late: Duration) -> Result<(), KeyRingError> {
    match went? {
        Some(wait) if late >= LATE => Err(KeyRingError::Waits(secret.to_owned(), wait.on)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const ROUND: Duration = Duration::from_secs(10);

    fn fails() -> Went {
        Err(KeyRingError::Unusable("k".to_owned(), "empty".to_owned()))
    }

    fn waits(seconds: u64) -> Went {
        Ok(Some(Wait {
            on: "a".to_owned(),
            since: Duration::from_secs(seconds),
        }))
    }

    #[tokio::test(start_paused = true)]
    async fn looks_that_fail_make_it_later_until_one_does_not() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.after(&fails()), Duration::ZERO);
        for looks in 1..400 {
            advance(ROUND).await;
            assert_eq!(lateness.after(&fails()), ROUND * looks);
        }
        assert_eq!(lateness.after(&Ok(None)), Duration::ZERO);
        advance(ROUND).await;
        assert_eq!(lateness.after(&fails()), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn what_the_history_says_counts_and_an_error_takes_none_of_it() {
        let mut lateness = Lateness::default();
        assert_eq!(lateness.after(&waits(5000)), Duration::from_secs(5000));
        advance(ROUND).await;
        assert_eq!(lateness.after(&fails()), Duration::from_secs(5010));
        // A full ring, of which nothing says since when.
        advance(ROUND).await;
        assert_eq!(lateness.after(&waits(0)), Duration::from_secs(5020));
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_that_becomes_foreign_is_never_late() {
        let mut lateness = Lateness::default();
        lateness.after(&waits(5000));
        let foreign = Err(KeyRingError::Foreign("k".to_owned()));
        assert_eq!(lateness.after(&foreign), Duration::ZERO);
        assert!(told("k", foreign, Duration::ZERO).is_err());
    }

    #[test]
    fn a_wait_is_told_when_it_is_late() {
        assert!(told("k", waits(0), Duration::ZERO).is_ok());
        let error = told("k", waits(0), LATE).unwrap_err().to_string();
        assert!(error.ends_with("Secret k waits: a"), "{error}");
        assert!(told("k", fails(), Duration::ZERO).is_err());
    }
}
