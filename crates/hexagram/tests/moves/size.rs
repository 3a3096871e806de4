//! How much load and how many moves a scenario has.

use std::time::Duration;

/// Has the long form run, as docs/movement.md reports it.
const VARIABLE: &str = "HEXAGRAM_SCENARIOS";

/// Of one scenario.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    /// Clients with a session.
    pub(crate) legacy: usize,
    /// Clients of the modern era.
    pub(crate) modern: usize,
    /// Between two messages of one client.
    pub(crate) pace: Duration,
    /// Random moves.
    pub(crate) moves: u64,
    /// How long something is away.
    pub(crate) away: Duration,
}

impl Size {
    /// The short form, or the long one where the environment asks for it.
    ///
    /// # Panics
    /// When it asks for something else.
    pub(crate) fn asked_for() -> Self {
        match std::env::var(VARIABLE).as_deref() {
            Err(_) => Self {
                legacy: 40,
                modern: 20,
                pace: Duration::from_millis(150),
                moves: 60,
                away: Duration::from_secs(4),
            },
            Ok("long") => Self {
                legacy: 200,
                modern: 100,
                pace: Duration::from_millis(750),
                moves: 200,
                away: Duration::from_secs(10),
            },
            Ok(other) => panic!("{VARIABLE} is {other:?}: write \"long\", or unset it"),
        }
    }

    pub(crate) const fn clients(self) -> usize {
        self.legacy + self.modern
    }
}
