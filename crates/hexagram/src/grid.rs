//! The shard map for people: 64 shards as the 64 hexagrams, coloured by owner.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// First of the 64 hexagram characters of the I Ching.
const FIRST_HEXAGRAM: u32 = 0x4DC0;
const HEXAGRAMS: u32 = 64;
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];
const WIDTH: usize = 8;

/// Draws the owners of all shards in rows of eight, each behind the number of its
/// first shard, with a legend. `blank` says what a shard is of which no owner is
/// given. Without colours each shard also names its owner by letter. `others`: who may
/// own shards again, and keeps its colour and letter meanwhile.
pub(crate) fn draw(
    owners: &[Option<String>],
    others: &[String],
    blank: &str,
    colours: bool,
) -> String {
    let keys = Keys::of(owners, others, colours);
    let mut out = String::new();
    for (row, shards) in owners.chunks(WIDTH).enumerate() {
        let first = row * WIDTH;
        let _ = write!(out, "  {first:>width$}  ", width = digits(owners.len()));
        for (shard, owner) in (first..).zip(shards) {
            out += &keys.cell(shard, owner.as_ref());
        }
        out.push('\n');
    }
    out + &legend(owners, blank, &keys)
}

fn legend(owners: &[Option<String>], blank: &str, keys: &Keys<'_>) -> String {
    let mut out = String::new();
    let count =
        |name: Option<&String>| owners.iter().filter(|owner| owner.as_ref() == name).count();
    for (owner, number) in &keys.numbers {
        let (key, shards) = (keys.sign(*number), counted(count(Some(owner))));
        let _ = writeln!(out, "  {key} {owner}: {shards}");
    }
    match count(None) {
        0 => out,
        shards => out + &format!("  {} {blank}: {}\n", keys.no_sign(), counted(shards)),
    }
}

/// So many shards, in words.
pub(crate) fn counted(shards: usize) -> String {
    match shards {
        1 => "1 shard".to_owned(),
        shards => format!("{shards} shards"),
    }
}

/// How wide the highest of so many numbers is, from 0.
fn digits(count: usize) -> usize {
    count.saturating_sub(1).max(1).ilog10() as usize + 1
}

/// How owners are told apart.
struct Keys<'a> {
    numbers: BTreeMap<&'a String, usize>,
    colours: bool,
}

impl<'a> Keys<'a> {
    fn of(owners: &'a [Option<String>], others: &'a [String], colours: bool) -> Self {
        let names: BTreeSet<_> = owners.iter().flatten().chain(others).collect();
        Self {
            numbers: names.into_iter().zip(0..).collect(),
            colours,
        }
    }

    fn cell(&self, shard: usize, owner: Option<&String>) -> String {
        let glyph = glyph(shard);
        let number = owner.and_then(|owner| self.numbers.get(owner));
        match (number, self.colours) {
            (Some(number), true) => coloured(&glyph.to_string(), *number) + " ",
            (Some(number), false) => format!("{glyph}{} ", letter(*number)),
            (None, true) => dim(&glyph.to_string()) + " ",
            (None, false) => format!("{glyph}. "),
        }
    }

    fn sign(&self, number: usize) -> String {
        match self.colours {
            true => coloured("■", number),
            false => letter(number).to_string(),
        }
    }

    fn no_sign(&self) -> String {
        match self.colours {
            true => dim("■"),
            false => ".".to_owned(),
        }
    }
}

fn glyph(shard: usize) -> char {
    let offset = u32::try_from(shard).unwrap_or_default() % HEXAGRAMS;
    char::from_u32(FIRST_HEXAGRAM + offset).unwrap_or('?')
}

fn letter(number: usize) -> char {
    char::from(b'a' + (number % 26) as u8)
}

fn coloured(text: &str, number: usize) -> String {
    let bright = number / COLOURS.len() % 2 * 60;
    let colour = usize::from(COLOURS[number % COLOURS.len()]) + bright;
    format!("\u{1b}[{colour}m{text}\u{1b}[0m")
}

fn dim(text: &str) -> String {
    format!("\u{1b}[2m{text}\u{1b}[0m")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_shards_are_eight_rows_and_a_legend() {
        let owners: Vec<_> = (0..64)
            .map(|shard| Some(format!("worker-{}", shard % 2)))
            .collect();
        let drawn = draw(&owners, &[], "nobody's", false);
        let lines: Vec<_> = drawn.lines().collect();
        assert_eq!(lines.len(), 10);
        assert!(lines[0].starts_with("   0  \u{4DC0}a \u{4DC1}b "));
        assert!(lines[1].starts_with("   8  \u{4DC8}a "));
        assert!(lines[7].starts_with("  56  ") && lines[7].ends_with("\u{4DFF}b "));
        assert_eq!(lines[8], "  a worker-0: 32 shards");
        assert!(draw(&owners, &[], "nobody's", true).contains("\u{1b}[36m\u{4DC0}\u{1b}[0m"));
    }

    #[test]
    fn what_nobody_owns_keeps_its_place() {
        let owner = |shard| (shard == 9).then(|| "w".to_owned());
        let owners: Vec<_> = (0..16).map(owner).collect();
        let drawn = draw(&owners, &[], "elsewhere", false);
        let lines: Vec<_> = drawn.lines().collect();
        assert!(lines[0].starts_with("   0  \u{4DC0}. "), "{drawn}");
        assert!(
            lines[1].starts_with("   8  \u{4DC8}. \u{4DC9}a "),
            "{drawn}"
        );
        assert_eq!(lines[2..], ["  a w: 1 shard", "  . elsewhere: 15 shards"]);
        assert!(draw(&owners, &[], "elsewhere", true).contains("\u{1b}[2m\u{4DC0}\u{1b}[0m"));
        assert_eq!(draw(&[], &[], "elsewhere", false), "");
    }
}
