//! What this worker serves, for its log: one line for all that changes at once.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::handoffs::Handoffs;

/// Changes within this time share a line.
const TOGETHER: Duration = Duration::from_millis(100);

/// Logs which shards come and go, for as long as this worker lives.
pub(crate) async fn narrate(handoffs: Arc<Handoffs>) {
    let mut changes = handoffs.changes();
    let mut before = BTreeSet::new();
    while changes.changed().await.is_ok() {
        tokio::time::sleep(TOGETHER).await;
        changes.mark_unchanged();
        let now = handoffs.served();
        let gained = ranges(now.difference(&before));
        let left = ranges(before.difference(&now));
        if now != before {
            tracing::info!(serving = now.len(), gained, left, "shards");
        }
        before = now;
    }
}

impl Handoffs {
    /// Numbers of the shards served here.
    fn served(&self) -> BTreeSet<u16> {
        self.host.shards().map(|shard| shard.id.get()).collect()
    }
}

/// Numbers in order, as people write them: `0-3, 7`.
fn ranges<'a>(numbers: impl Iterator<Item = &'a u16>) -> String {
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for &number in numbers {
        match ranges.last_mut() {
            Some((_, last)) if *last + 1 == number => *last = number,
            _ => ranges.push((number, number)),
        }
    }
    let text = ranges.iter().map(|(first, last)| match first == last {
        true => first.to_string(),
        false => format!("{first}-{last}"),
    });
    text.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_share_a_range() {
        assert_eq!(ranges([0, 1, 2, 3, 7, 9, 10].iter()), "0-3, 7, 9-10");
        assert_eq!(ranges([].iter()), "");
    }
}
