//! When the calls of an open loop are meant to be sent.
//!
//! Times are fixed beforehand and never move: latency counts from the intended
//! time, so a server that stalls cannot hide the calls it kept from being sent
//! (coordinated omission; REQUIREMENTS S4).

use std::time::Duration;

const NANOS: u128 = 1_000_000_000;
/// Rates are kept in thousandths, so that a client may call less than once a second.
const MILLIS: u64 = 1_000;

/// Evenly spaced calls, dealt in turn to the connections.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Schedule {
    /// Calls per 1000 seconds over all connections; above 0.
    rate: u64,
    connections: usize,
}

impl Schedule {
    /// `rate` calls a second over all connections.
    pub(crate) fn in_all(rate: u64, connections: usize) -> Self {
        let rate = rate.saturating_mul(MILLIS);
        Self { rate, connections }
    }

    /// `rate` calls in 1000 seconds on each connection.
    pub(crate) fn of_each(rate: u64, connections: usize) -> Self {
        let rate = rate.saturating_mul(connections as u64);
        Self { rate, connections }
    }

    /// The offsets from the start at which `connection` (counted from 0) sends,
    /// up to `length`.
    pub(crate) fn intended(
        self,
        connection: usize,
        length: Duration,
    ) -> impl Iterator<Item = Duration> {
        (connection as u128..)
            .step_by(self.connections)
            .map(move |nth| offset(nth, self.rate))
            .take_while(move |at| *at < length)
    }
}

fn offset(nth: u128, rate: u64) -> Duration {
    let nanos = nth * NANOS * u128::from(MILLIS) / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(rate: u64, connections: usize, length: Duration) -> Vec<Duration> {
        let schedule = Schedule::in_all(rate, connections);
        let mut times: Vec<_> = (0..connections)
            .flat_map(|connection| schedule.intended(connection, length))
            .collect();
        times.sort();
        times
    }

    #[test]
    fn the_rate_is_met_exactly_whatever_the_connections() {
        for connections in [1, 3, 100, 15_000] {
            let times = all(8000, connections, Duration::from_secs(1));
            assert_eq!(times.len(), 8000, "{connections} connections");
            assert!(
                times
                    .windows(2)
                    .all(|pair| pair[1] - pair[0] == Duration::from_micros(125))
            );
        }
    }

    #[test]
    fn a_rate_that_does_not_divide_does_not_drift() {
        let times = all(3, 2, Duration::from_secs(10));
        assert_eq!(times.len(), 30);
        assert_eq!(times[27], Duration::from_secs(9));
    }

    #[test]
    fn each_connection_has_its_rate_and_a_time_of_its_own() {
        let schedule = Schedule::of_each(500, 4);
        let length = Duration::from_secs(4);
        for connection in 0..4 {
            let first = Duration::from_millis(500 * connection as u64);
            let second = first + Duration::from_secs(2);
            let times: Vec<_> = schedule.intended(connection, length).collect();
            assert_eq!(times, [first, second]);
        }
    }

    #[test]
    fn nothing_is_due_in_no_time() {
        assert!(all(1000, 4, Duration::ZERO).is_empty());
    }
}
