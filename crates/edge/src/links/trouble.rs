//! What keeps a link down, told once: an edge tries again for as long as it runs.

/// The cause that was told last; none while the link can be had.
#[derive(Debug, Default)]
pub(super) struct Trouble(Option<String>);

impl Trouble {
    /// Gives whether `cause` is to be told: it is another than the last one.
    pub(super) fn is_news(&mut self, cause: &str) -> bool {
        let is_news = self.0.as_deref() != Some(cause);
        if is_news {
            self.0 = Some(cause.to_owned());
        }
        is_news
    }

    /// It is over; gives whether there was any.
    pub(super) fn ends(&mut self) -> bool {
        self.0.take().is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_is_told_once_and_its_end_as_well() {
        let mut trouble = Trouble::default();
        assert!(!trouble.ends(), "it went well from the start");
        let told =
            ["keys", "keys", "cluster", "cluster", "keys"].map(|cause| trouble.is_news(cause));
        assert_eq!(told, [true, false, true, false, true]);
        assert!(trouble.ends());
        assert!(!trouble.ends());
        assert!(trouble.is_news("keys"), "it begins anew");
    }
}
