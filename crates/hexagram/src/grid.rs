//! The shard map for people: 64 shards as the 64 hexagrams, coloured by owner.

use std::collections::BTreeMap;
use std::fmt::Write;

/// First of the 64 hexagram characters of the I Ching.
const FIRST_HEXAGRAM: u32 = 0x4DC0;
const HEXAGRAMS: u32 = 64;
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];
const WIDTH: usize = 8;

/// Draws the owners of all shards, in rows of eight, with a legend. Without
/// colours each row also names its owners by letter.
pub(crate) fn draw(owners: &[String], colours: bool) -> String {
    let index = index(owners);
    let mut out = String::new();
    for (row, shards) in owners.chunks(WIDTH).enumerate() {
        out.push_str("  ");
        for (column, owner) in shards.iter().enumerate() {
            let cell = glyph(row * WIDTH + column);
            let _ = match colours {
                true => write!(out, "{} ", coloured(&cell.to_string(), index[owner])),
                false => write!(out, "{cell}{} ", letter(index[owner])),
            };
        }
        out.push('\n');
    }
    for (owner, number) in &index {
        let count = owners.iter().filter(|other| other == owner).count();
        let key = match colours {
            true => coloured("■", *number),
            false => letter(*number).to_string(),
        };
        let _ = writeln!(out, "  {key} {owner}: {count} shards");
    }
    out
}

fn index(owners: &[String]) -> BTreeMap<&String, usize> {
    let names: std::collections::BTreeSet<_> = owners.iter().collect();
    names.into_iter().zip(0..).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_four_shards_are_eight_rows_and_a_legend() {
        let owners: Vec<_> = (0..64)
            .map(|shard| format!("worker-{}", shard % 2))
            .collect();
        let drawn = draw(&owners, false);
        let lines: Vec<_> = drawn.lines().collect();
        assert_eq!(lines.len(), 10);
        assert!(lines[0].starts_with("  \u{4DC0}a \u{4DC1}b "));
        assert!(lines[7].ends_with("\u{4DFF}b "));
        assert_eq!(lines[8], "  a worker-0: 32 shards");
        assert!(draw(&owners, true).contains("\u{1b}[36m\u{4DC0}\u{1b}[0m"));
    }
}
