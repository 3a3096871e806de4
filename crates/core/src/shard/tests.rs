//! Golden vectors and the spread of the shard hash.

use crate::{ClientId, Principal, ShardCount, ShardCountError, shard_of};

/// Cross-checked with the reference xxHash library.
#[test]
fn the_mapping_never_changes() {
    // ClientId, then its shard of 1, 2, 64 and 1024.
    let golden: [(u128, [u16; 4]); 5] = [
        (0, [0, 1, 52, 834]),
        (1, [0, 0, 16, 261]),
        (0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10, [0, 1, 58, 941]),
        (0xdead_beef << 64, [0, 1, 37, 595]),
        (u128::MAX, [0, 0, 28, 456]),
    ];
    for (client, shards) in golden {
        let found = [1, 2, 64, 1024].map(|count| {
            let count = ShardCount::try_from(count).unwrap();
            shard_of(ClientId::from_u128(client), count).get()
        });
        assert_eq!(found, shards, "client {client:x}");
    }
}

/// Chi-square with 63 degrees of freedom exceeds this with probability 0.001.
const CRITICAL: f64 = 103.442;

fn chi_square(clients: impl ExactSizeIterator<Item = ClientId>) -> f64 {
    let expected = clients.len() as f64 / 64.0;
    let mut counts = [0.0; 64];
    for client in clients {
        counts[shard_of(client, ShardCount::default()).index()] += 1.0;
    }
    let excess = counts.map(|count: f64| (count - expected).powi(2) / expected);
    excess.iter().sum()
}

#[test]
fn sessions_of_one_principal_spread_evenly() {
    let principal = Principal::anonymous().id();
    let clients = (0..131_072).map(|nonce| ClientId::for_session(principal, nonce as u128));
    assert!(chi_square(clients) < CRITICAL);
}

/// The hash spreads by itself, also where only a few bits of the ids differ.
#[test]
fn counted_ids_spread_evenly() {
    let low = (0..131_072).map(|n| ClientId::from_u128(n as u128));
    let high = (0..131_072).map(|n| ClientId::from_u128((n as u128) << 108));
    assert!(chi_square(low) < CRITICAL);
    assert!(chi_square(high) < CRITICAL);
}

#[test]
fn doubling_the_count_splits_each_shard_in_two() {
    let wide = ShardCount::try_from(128).unwrap();
    for client in (0..1000).map(ClientId::from_u128) {
        let half = shard_of(client, ShardCount::default()).get();
        assert_eq!(shard_of(client, wide).get() / 2, half);
    }
}

#[test]
fn only_powers_of_two_up_to_1024_are_counts() {
    let valid: Vec<u16> = (0..=u16::MAX)
        .filter(|count| ShardCount::try_from(*count).is_ok())
        .collect();
    assert_eq!(valid, [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024]);
}

#[test]
fn counts_are_read_from_text() {
    let count: ShardCount = "256".parse().unwrap();
    assert_eq!(count.to_string(), "256");
    let odd = "60".parse::<ShardCount>();
    assert_eq!(odd, Err(ShardCountError::NotPowerOfTwo(60)));
    for text in ["", "many", "-64", "65536"] {
        let error = ShardCountError::NotANumber(text.to_owned());
        assert_eq!(text.parse::<ShardCount>(), Err(error));
    }
}

#[test]
fn a_count_makes_its_own_shards_only() {
    let count = ShardCount::default();
    assert_eq!(count.shard(64), None);
    assert_eq!(count.shard(17).unwrap().to_string(), "17");
    let all: Vec<u16> = count.iter().map(|shard| shard.get()).collect();
    assert_eq!(all, (0..64).collect::<Vec<_>>());
}
