//! Whether an edge is ready, and why: what it sees of its workers decides.

use std::time::Duration;

/// An edge that could serve stays ready for so long when it cannot: a lost worker's shards
/// have other owners sooner (DESIGN 8).
const AWAY: Duration = Duration::from_secs(5);
/// Workers named with what keeps their link down.
const MOST_NAMED: usize = 3;
/// Characters of what keeps one down.
const LONGEST: usize = 160;

/// A worker as an edge sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    pub(super) name: &'a str,
    pub(super) is_linked: bool,
    pub(super) owns_shards: bool,
    /// What keeps its link down, if that is known.
    pub(super) trouble: Option<&'a str>,
}

/// How many are linked.
pub(super) fn count_linked(workers: &[Seen<'_>]) -> usize {
    workers.iter().filter(|worker| worker.is_linked).count()
}

/// Whether anything can be served now. The other workers' shards are refused at once, which
/// must not keep these from being served.
pub(super) fn serves(workers: &[Seen<'_>]) -> bool {
    let serves = |worker: &Seen<'_>| worker.is_linked && worker.owns_shards;
    workers.iter().any(serves)
}

/// Whether an edge is ready that could serve `ago`, if ever; `is_complete`: all workers were
/// linked once, or had their time.
pub(super) fn is_ready(is_complete: bool, ago: Option<Duration>) -> bool {
    is_complete && ago.is_some_and(|ago| ago < AWAY)
}

/// What people are to know of it.
pub(super) fn why(workers: &[Seen<'_>]) -> String {
    let linked = count_linked(workers);
    let mut why = format!("{linked} of {} workers linked", workers.len());
    if linked > 0 && !serves(workers) {
        why += ", and no shard is theirs";
    }
    let down = workers.iter().filter(|worker| !worker.is_linked);
    let mut down = down.filter_map(|worker| Some((worker.name, worker.trouble?)));
    for (name, trouble) in down.by_ref().take(MOST_NAMED) {
        why += &format!("; {name}: {}", cut(trouble));
    }
    match down.count() {
        0 => why,
        more => why + &format!("; {more} more"),
    }
}

fn cut(text: &str) -> &str {
    let end = text.char_indices().nth(LONGEST);
    end.map_or(text, |(end, _)| &text[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked(name: &str, owns_shards: bool) -> Seen<'_> {
        Seen {
            name,
            is_linked: true,
            owns_shards,
            trouble: None,
        }
    }

    fn down<'a>(name: &'a str, trouble: Option<&'a str>) -> Seen<'a> {
        Seen {
            name,
            is_linked: false,
            owns_shards: true,
            trouble,
        }
    }

    #[test]
    fn one_linked_owner_is_enough_and_nobody_else_is() {
        assert!(!serves(&[]));
        assert!(!serves(&[down("a", None), linked("b", false)]));
        assert!(serves(&[down("a", None), linked("b", true)]));
    }

    #[test]
    fn ready_is_who_could_serve_a_moment_ago() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert!(is_ready(true, seconds(0)) && is_ready(true, seconds(4)));
        assert!(!is_ready(true, seconds(5)), "away for too long");
        assert!(!is_ready(true, None), "it never could");
        assert!(!is_ready(false, seconds(0)), "others may come in a moment");
    }

    #[test]
    fn the_reason_names_some_workers_and_stays_short() {
        let up = linked("a", true);
        assert_eq!(why(&[up]), "1 of 1 workers linked");
        assert_eq!(why(&[up, down("b", None)]), "1 of 2 workers linked");
        assert_eq!(
            why(&[up, down("b", Some("refused"))]),
            "1 of 2 workers linked; b: refused"
        );
        assert_eq!(
            why(&[linked("a", false), down("b", Some("late"))]),
            "1 of 2 workers linked, and no shard is theirs; b: late"
        );
        let long = "é".repeat(1000);
        let all = ["a", "b", "c", "d", "e"].map(|name| down(name, Some(&long)));
        let said = why(&all);
        assert!(said.contains("; c: é") && !said.contains("d:"), "{said}");
        assert!(said.ends_with("é; 2 more"), "{said}");
        assert!(said.chars().count() < 600, "{said}");
    }
}
