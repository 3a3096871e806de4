//! The report for people.

use std::fmt::{self, Display, Write};

use serde_json::Value;

use super::lists::Listing;
use super::report::{EraFacts, Feature, Finding, Problem, Report, Transport};

/// Lines are at most this wide, in characters, where words allow it.
const WIDTH: usize = 100;

/// The report as text, without a control character of a server in it.
pub(super) fn draw(report: &Report) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write_report(&mut out, report);
    out.chars().map(harmless).collect()
}

/// What a server says of itself must not move the terminal's cursor.
fn harmless(c: char) -> char {
    match c {
        '\n' => c,
        c if c.is_control() => '\u{fffd}',
        c => c,
    }
}

fn write_report(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "{}", headline(report))?;
    if let Some(problem) = &report.problem {
        return write_problem(out, problem);
    }
    write_revisions(out, report)?;
    for facts in [&report.legacy, &report.modern].into_iter().flatten() {
        write_facts(out, facts)?;
    }
    write_findings(out, &report.findings)?;
    for date in &report.missing {
        writeln!(out, "\nRequired but not spoken: {date}")?;
    }
    Ok(())
}

fn headline(report: &Report) -> String {
    let verdict = match (&report.problem, report.is_mcp) {
        (Some(problem), _) if !problem.reachable => "cannot be reached",
        (_, true) => "is an MCP endpoint",
        (_, false) => "does not answer as an MCP endpoint",
    };
    let server = report.server.as_ref();
    let server = server.map(|server| format!(": {} {}", server.name, server.version));
    let server = server.unwrap_or_default();
    format!("{} {verdict}{}", report.url, server.trim_end())
}

fn write_problem(out: &mut String, problem: &Problem) -> fmt::Result {
    entry(out, "  cause  ", &problem.cause)?;
    entry(out, "  fix    ", &problem.fix)
}

fn write_revisions(out: &mut String, report: &Report) -> fmt::Result {
    writeln!(out, "\nRevision    Spoken  How that was found")?;
    for row in &report.revisions {
        let label = format!("{}  {:6}  ", row.revision, word(row.spoken));
        entry(out, &label, &row.how)?;
    }
    Ok(())
}

fn write_facts(out: &mut String, facts: &EraFacts) -> fmt::Result {
    let transport = match facts.transport {
        Transport::StreamableHttp => "Streamable HTTP",
        Transport::HttpSse => "HTTP+SSE",
    };
    writeln!(out, "\nRevision {} over {transport}", facts.revision)?;
    entry(
        out,
        &label("capabilities"),
        capabilities(&facts.capabilities),
    )?;
    for (name, listing) in &facts.lists {
        entry(out, &label(name), counted(listing))?;
    }
    for (name, feature) in &facts.features {
        entry(out, &label(name), featured(feature))?;
    }
    Ok(())
}

fn label(name: &str) -> String {
    format!("  {:26}", name.replace('_', " "))
}

fn word(seen: Option<bool>) -> &'static str {
    match seen {
        Some(true) => "yes",
        Some(false) => "no",
        None => "?",
    }
}

fn featured(feature: &Feature) -> String {
    format!("{:4}{}", word(feature.seen), feature.note)
}

fn counted(listing: &Listing) -> String {
    let pages = match listing.pages {
        0 | 1 => String::new(),
        pages => format!(" on {pages} pages"),
    };
    match &listing.problem {
        None => format!("{}{pages}", listing.count),
        Some(problem) if listing.pages == 0 => format!("?   {problem}"),
        Some(problem) => format!("{}{pages} or more: {problem}", listing.count),
    }
}

/// Names, each with the settings that are on.
fn capabilities(declared: &Value) -> String {
    let members = declared.as_object().into_iter().flatten();
    let all: Vec<_> = members
        .map(|(name, value)| capability(name, value))
        .collect();
    match all.is_empty() {
        true => "none".to_owned(),
        false => all.join(", "),
    }
}

fn capability(name: &str, value: &Value) -> String {
    let settings = value.as_object().into_iter().flatten();
    let on: Vec<_> = settings
        .filter(|(_, value)| **value != Value::Bool(false))
        .map(|(name, _)| name.as_str())
        .collect();
    match on.is_empty() {
        true => name.to_owned(),
        false => format!("{name} ({})", on.join(", ")),
    }
}

fn write_findings(out: &mut String, findings: &[Finding]) -> fmt::Result {
    match findings.len() {
        0 => return writeln!(out, "\nNo MUST of the specification was seen broken."),
        1 => writeln!(out, "\n1 MUST of the specification is broken:")?,
        many => writeln!(out, "\n{many} times a MUST of the specification is broken:")?,
    }
    for finding in findings {
        entry(
            out,
            &format!("  {}  sent    ", finding.revision),
            finding.sent,
        )?;
        entry(out, "              seen    ", &finding.seen)?;
        entry(out, "              wanted  ", finding.wanted)?;
    }
    Ok(())
}

/// A label and a text, which goes on below itself where it is long.
fn entry(out: &mut String, label: &str, text: impl Display) -> fmt::Result {
    let indent = label.chars().count();
    let mut line = label.to_owned();
    let mut is_empty = true;
    for word in text.to_string().split_inclusive(' ') {
        let width = line.chars().count() + word.trim_end().chars().count();
        if width > WIDTH && !is_empty {
            writeln!(out, "{}", line.trim_end())?;
            line = " ".repeat(indent);
        }
        line.push_str(word);
        is_empty = false;
    }
    writeln!(out, "{}", line.trim_end())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::check::report::{Revision, Server};

    fn report() -> Report {
        let mut report = Report::new(&"http://localhost/mcp".parse().expect("a URL"));
        report.is_mcp = true;
        report.server = Some(Server {
            name: "git\u{1b}[2J".to_owned(),
            version: "1.2".to_owned(),
        });
        report.revisions.push(Revision {
            revision: "2025-11-25",
            spoken: Some(true),
            how: "initialize chose it".to_owned(),
        });
        report
    }

    fn facts() -> EraFacts {
        let listing = |pages, problem: Option<&str>| Listing {
            count: 12,
            pages,
            problem: problem.map(str::to_owned),
        };
        let refused = Feature {
            seen: Some(false),
            note: "HTTP 500".to_owned(),
        };
        EraFacts {
            revision: "2025-11-25",
            transport: Transport::StreamableHttp,
            capabilities: json!({"tools": {"listChanged": true}, "prompts": {"listChanged": false}}),
            lists: vec![
                ("tools", listing(2, None)),
                ("resource_templates", listing(0, Some("HTTP 404"))),
                ("prompts", listing(1, Some("HTTP 502"))),
            ],
            features: vec![("ping", refused)],
        }
    }

    #[test]
    fn facts_are_one_to_a_line() {
        let mut report = report();
        report.legacy = Some(facts());
        let drawn = draw(&report);
        for line in [
            "http://localhost/mcp is an MCP endpoint: git\u{fffd}[2J 1.2",
            "2025-11-25  yes     initialize chose it",
            "Revision 2025-11-25 over Streamable HTTP",
            "  capabilities              prompts, tools (listChanged)",
            "  tools                     12 on 2 pages",
            "  resource templates        ?   HTTP 404",
            "  prompts                   12 or more: HTTP 502",
            "  ping                      no  HTTP 500",
            "No MUST of the specification was seen broken.",
        ] {
            assert!(drawn.lines().any(|found| found == line), "{line}\n{drawn}");
        }
    }

    #[test]
    fn what_is_wrong_stands_last() {
        let mut report = report();
        report.missing = vec!["2026-07-28"];
        report.findings.push(Finding {
            revision: "2025-11-25",
            sent: "ping",
            seen: "HTTP 500".to_owned(),
            wanted: "an empty result",
        });
        let end = "
1 MUST of the specification is broken:
  2025-11-25  sent    ping
              seen    HTTP 500
              wanted  an empty result

Required but not spoken: 2026-07-28
";
        let drawn = draw(&report);
        assert!(drawn.ends_with(end), "{drawn}");
    }

    #[test]
    fn a_problem_is_all_there_is() {
        let mut report = report();
        report.server = None;
        report.problem = Some(Problem {
            connected: false,
            reachable: false,
            cause: "refused".to_owned(),
            fix: "start it".to_owned(),
        });
        let expected =
            "http://localhost/mcp cannot be reached\n  cause  refused\n  fix    start it\n";
        assert_eq!(draw(&report), expected);
    }

    #[test]
    fn long_texts_go_on_below_themselves() {
        let mut out = String::new();
        entry(&mut out, "  label  ", "word ".repeat(30)).expect("a string takes all");
        assert_eq!(out.lines().count(), 2);
        assert!(out.lines().all(|line| line.len() <= WIDTH));
        assert!(
            out.lines()
                .nth(1)
                .is_some_and(|line| line.starts_with("         word"))
        );
    }
}
