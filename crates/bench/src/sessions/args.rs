//! The command line of `bench sessions`.

use std::time::Duration;

use clap::Args;
use serde_json::{Map, Value};

use crate::run_args::{RunArgs, parse_seconds, parse_url};

/// Most calls a second of one client; more needs `bench http`.
const HIGHEST_RATE: f64 = 1000.0;

/// Arguments of `bench sessions`.
#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    /// MCP endpoint, plain http.
    #[arg(long, default_value = "http://127.0.0.1:8080/mcp", value_parser = parse_url)]
    pub(crate) url: String,
    /// Clients with a session (protocol 2025-11-25), each with its own connection.
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub(crate) legacy: u16,
    /// Clients without one (protocol 2026-07-28), each with its own connection.
    #[arg(long, value_name = "N", default_value_t = 300)]
    pub(crate) modern: u16,
    /// Calls a second of each client, at fixed times; a fraction is allowed.
    #[arg(long, default_value = "1", value_parser = parse_rate)]
    pub(crate) rate: u64,
    /// How long to send calls, in seconds.
    #[arg(long, default_value = "60", value_parser = parse_seconds)]
    pub(crate) seconds: Duration,
    /// Clients of each era that also hold a stream on a connection of its own: the
    /// session's standing stream, or a subscription [default: all].
    #[arg(long, value_name = "N")]
    pub(crate) streams: Option<u16>,
    /// Tool to call [default: the first listed that needs no argument, one declared
    /// read-only before others, none declared destructive; without any, ping or tools/list].
    #[arg(long, value_name = "NAME")]
    pub(crate) tool: Option<String>,
    /// Arguments of the tool, a JSON object.
    #[arg(long, value_name = "JSON", requires = "tool", value_parser = parse_arguments)]
    pub(crate) arguments: Option<Map<String, Value>>,
    #[command(flatten)]
    pub(crate) run: RunArgs,
}

/// What `--help` says at its end.
pub(crate) const HELP: &str = "\
A client whose connection is refused, or closed before it heard anything, sends once more
on a new connection. A session that is gone (404) is replaced, a stream that ended is
opened again. Latency counts from the time at which a call was due. An answer may take 30
seconds. SIGINT and SIGTERM end the sending; the report comes when what is under way is
answered, or at the second signal.

JSON (-o json; keys stay):
  ok            nobody noticed anything: all counts marked * are 0
  total         of both eras, as legacy and modern:
    sent, answered
    retried     answered on a second connection
    resumed     answered on a stream that was taken up again
    refused *   by the server; refused_by has status, code, reason, message, count
    unknown *   outcome unknown (-32012)
    failed *    no answer that counts; failed_by has failure, count
    lost *      sent and neither answered nor failed when the run ended
    unsent      due, but the client still waited for an answer when sending ended
    latency_ms  p50, p90, p99, p999, max
    sessions    opened, lost *, not_deleted
    streams     opened, reopened, ended (resumably), broken *, failed * (to open),
                failed_by, not_offered, longest_gap_ms, open (at the end)
  legacy, modern  the same, of one era
  outage_ms     longest time in which no client had an answer; outage_from_ms: its begin
  timeline      for each second: second, answered, failed, slowest_ms
  url, call, clients, rate, seconds

Exit codes:
  0  nobody noticed anything
  1  somebody did, or the endpoint cannot be used
  2  the command line is wrong

Examples:
  hexagram bench sessions --url http://127.0.0.1:8080/mcp
  hexagram bench sessions --legacy 20 --modern 0 --rate 0.5 --seconds 600 -o json
  hexagram bench sessions --tool search --arguments '{\"query\":\"tea\"}' --streams 10
  hexagram bench sessions --url http://mcp.example.com/mcp --header \"Authorization: Bearer $TOKEN\"
The variable HEXAGRAM_HEADER keeps a token out of the list of processes.";

/// Calls in 1000 seconds.
fn parse_rate(text: &str) -> Result<u64, String> {
    match text.parse::<f64>() {
        Ok(rate) if (0.001..=HIGHEST_RATE).contains(&rate) => Ok((rate * 1e3).round() as u64),
        _ => Err("give a rate from 0.001 to 1000 calls a second".to_owned()),
    }
}

fn parse_arguments(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|error| {
        format!("{error}; write the arguments as a JSON object, as in '{{\"text\":\"hi\"}}'")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_may_be_fractions() {
        assert_eq!(parse_rate("1"), Ok(1000));
        assert_eq!(parse_rate("0.2"), Ok(200));
        for wrong in ["0", "-1", "NaN", "1001", "often"] {
            assert!(parse_rate(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn arguments_are_an_object() {
        assert!(parse_arguments(r#"{"a":1}"#).is_ok());
        for wrong in ["", "[]", "text", "{"] {
            let said = parse_arguments(wrong).expect_err(wrong);
            assert!(said.contains("JSON object"), "{said}");
        }
    }
}
