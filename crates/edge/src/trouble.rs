//! What keeps a link down: told once, for an edge tries again for as long as it runs, and
//! shown for as long as it lasts.

use parking_lot::Mutex;

/// Why there is no link to one worker; nothing while there is one.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<Cause>);

#[derive(Debug, Default)]
struct Cause {
    now: Option<String>,
    /// The one that was told last.
    told: Option<String>,
}

impl Trouble {
    /// The link cannot be had for this `cause`. Gives whether it is to be told: it is another
    /// than the last one.
    pub(crate) fn is_news(&self, cause: &str) -> bool {
        let mut trouble = self.0.lock();
        trouble.now = Some(cause.to_owned());
        let is_news = trouble.told.as_deref() != Some(cause);
        if is_news {
            trouble.told = Some(cause.to_owned());
        }
        is_news
    }

    /// A link that was there went down for this `cause`.
    pub(crate) fn begins(&self, cause: String) {
        self.0.lock().now = Some(cause);
    }

    /// It is over; gives whether any was told that kept a link from being made.
    pub(crate) fn ends(&self) -> bool {
        std::mem::take(&mut *self.0.lock()).told.is_some()
    }

    /// The cause now.
    pub(crate) fn now(&self) -> Option<String> {
        self.0.lock().now.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once_and_its_end_as_well() {
        let trouble = Trouble::default();
        assert!(!trouble.ends(), "it went well from the start");
        let told =
            ["keys", "keys", "cluster", "cluster", "keys"].map(|cause| trouble.is_news(cause));
        assert_eq!(told, [true, false, true, false, true]);
        assert!(trouble.ends());
        assert!(!trouble.ends());
        assert!(trouble.is_news("keys"), "it begins anew");
    }

    #[test]
    fn the_last_cause_is_shown_until_it_is_over() {
        let trouble = Trouble::default();
        assert_eq!(trouble.now(), None);
        trouble.begins("closed".to_owned());
        assert_eq!(trouble.now().as_deref(), Some("closed"));
        trouble.is_news("refused");
        trouble.is_news("refused");
        assert_eq!(trouble.now().as_deref(), Some("refused"));
        assert!(trouble.ends());
        assert_eq!(trouble.now(), None);
        trouble.begins("closed".to_owned());
        assert!(!trouble.ends(), "its driver has told of that");
    }
}
