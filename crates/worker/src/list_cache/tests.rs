//! What is kept, for whom and how long: against a model that forgets nothing.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SMALL: Limits = Limits {
    pages: 4,
    bytes: 1 << 10,
};

fn asked_by(cache: &ListCache, cursor: Option<&str>, principal: u128) -> Asked {
    let request = br#"{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{}}}"#;
    let principal = PrincipalId::from_u128(principal);
    cache
        .asked(&scan(request).unwrap(), cursor, principal)
        .unwrap()
}

fn response(ttl: &Value, scope: &str, text: &str) -> String {
    let result = json!({"ttlMs": ttl, "cacheScope": scope, "tools": [text]});
    json!({"jsonrpc": "2.0", "id": 1, "result": result}).to_string()
}

fn read(result: &[u8]) -> (u64, String) {
    let result: Value = serde_json::from_slice(result).unwrap();
    let text = result["tools"][0].as_str().unwrap().to_owned();
    (result["ttlMs"].as_u64().unwrap(), text)
}

fn kept(response: &str) -> bool {
    let (mut cache, now) = (ListCache::new(SMALL), Instant::now());
    let asked = asked_by(&cache, None, 1);
    cache.keep(asked.clone(), response.as_bytes(), now);
    cache.get(&asked, now).is_some()
}

#[test]
fn only_what_the_upstream_allows_is_kept() {
    assert!(kept(&response(&json!(5), "public", "x")));
    assert!(kept(&response(&json!(5), "private", "x")));
    assert!(kept(&response(&json!(u64::MAX), "public", "x")));
    for ttl in [json!(0), json!(-5), json!("5"), json!(null), json!(0.5)] {
        assert!(!kept(&response(&ttl, "public", "x")), "{ttl}");
    }
    let large = "x".repeat(SMALL.bytes);
    assert!(!kept(&response(&json!(5), "public", &large)));
    for other in [
        r#"{"jsonrpc":"2.0","id":1,"result":{"tools":[]}}"#,
        r#"{"jsonrpc":"2.0","id":1,"error":{"code":1,"message":"m"}}"#,
        r#"{"jsonrpc":"2.0","id":1,"result":{"ttlMs":5,"resultType":"input_required"}}"#,
        "no message",
    ] {
        assert!(!kept(other), "{other}");
    }
}

#[test]
fn a_request_that_says_more_is_asked_each_time() {
    let cache = ListCache::new(SMALL);
    let asked = |method: &str, params: &str| {
        let request =
            format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}"#);
        let request = scan(request.as_bytes()).unwrap();
        cache
            .asked(&request, None, PrincipalId::from_u128(1))
            .is_some()
    };
    assert!(asked("tools/list", "{}"));
    assert!(asked(
        "resources/templates/list",
        r#"{"cursor":"x","_meta":{}}"#
    ));
    assert!(!asked("tools/list", r#"{"filter":"x"}"#));
}

#[test]
fn ages_do_not_add_up() {
    let (mut cache, now) = (ListCache::new(SMALL), Instant::now());
    let asked = asked_by(&cache, None, 1);
    let response = response(&json!(1_000), "public", "x");
    cache.keep(asked.clone(), response.as_bytes(), now);
    let at = |ms| now + Duration::from_millis(ms);
    assert_eq!(read(&cache.get(&asked, at(400)).unwrap()).0, 600);
    assert_eq!(read(&cache.get(&asked, at(999)).unwrap()).0, 1);
    assert!(cache.get(&asked, at(1_000)).is_none());
    assert_eq!(cache.bytes, 0, "it is gone");
}

#[test]
fn an_answer_from_before_a_change_is_not_kept() {
    let (mut cache, now) = (ListCache::new(SMALL), Instant::now());
    let before = asked_by(&cache, None, 1);
    cache.forget();
    let response = response(&json!(1_000), "public", "x");
    cache.keep(before.clone(), response.as_bytes(), now);
    assert!(cache.get(&before, now).is_none());
}

/// What happens to a cache.
#[derive(Debug, Clone)]
enum Step {
    Keep {
        page: u8,
        who: u8,
        ttl: u64,
        private: bool,
        size: usize,
    },
    Get {
        page: u8,
        who: u8,
    },
    Wait(u64),
    Change,
}

fn step() -> impl Strategy<Value = Step> {
    let keep = (0u8..4, 0u8..3, 0u64..50, any::<bool>(), 0usize..400);
    let keep = keep.prop_map(|(page, who, ttl, private, size)| Step::Keep {
        page,
        who,
        ttl,
        private,
        size,
    });
    prop_oneof![
        4 => keep,
        4 => (0u8..4, 0u8..3).prop_map(|(page, who)| Step::Get { page, who }),
        2 => (0u64..30).prop_map(Step::Wait),
        1 => Just(Step::Change),
    ]
}

/// A page as the model knows it: its text, until when, and whose.
type Known = HashMap<(u8, Option<u8>), (String, u64)>;

proptest! {
    /// Whatever comes out went in last under this page for this principal, still
    /// holds for as long as it says, and nothing is kept beyond the limits.
    #[test]
    fn nobody_gets_what_is_old_or_anothers(steps in prop::collection::vec(step(), 1..80)) {
        let (mut cache, start) = (ListCache::new(SMALL), Instant::now());
        let (mut known, mut ms) = (Known::new(), 0);
        for (n, step) in steps.into_iter().enumerate() {
            let now = start + Duration::from_millis(ms);
            match step {
                Step::Keep { page, who, ttl, private, size } => {
                    let asked = asked_by(&cache, Some(&page.to_string()), who.into());
                    let text = format!("{n}:{}", "x".repeat(size));
                    let scope = if private { "private" } else { "public" };
                    cache.keep(asked, response(&json!(ttl), scope, &text).as_bytes(), now);
                    if ttl > 0 {
                        known.insert((page, private.then_some(who)), (text, ms + ttl));
                    }
                }
                Step::Get { page, who } => {
                    let asked = asked_by(&cache, Some(&page.to_string()), who.into());
                    if let Some(result) = cache.get(&asked, now) {
                        let (left, text) = read(&result);
                        let mut may = [Some(who), None].into_iter().filter_map(|of| known.get(&(page, of)));
                        prop_assert!(left > 0);
                        prop_assert!(may.any(|(known, end)| *known == text && ms + left == *end));
                    }
                }
                Step::Wait(more) => ms += more,
                Step::Change => {
                    cache.forget();
                    known.clear();
                }
            }
            let bytes: usize = cache.kept.values().map(|kept| kept.result.len()).sum();
            prop_assert_eq!(bytes, cache.bytes);
            prop_assert_eq!(cache.kept.len(), cache.order.len());
            prop_assert!(cache.kept.len() <= SMALL.pages && bytes <= SMALL.bytes);
        }
    }
}

#[test]
fn the_longest_unused_goes_first() {
    let (mut cache, now) = (ListCache::new(SMALL), Instant::now());
    let page = |cache: &ListCache, n: usize| asked_by(cache, Some(&n.to_string()), 1);
    for n in 0..SMALL.pages {
        let asked = page(&cache, n);
        cache.keep(asked, response(&json!(9), "public", "x").as_bytes(), now);
    }
    let first = page(&cache, 0);
    assert!(cache.get(&first, now).is_some());
    let more = page(&cache, SMALL.pages);
    cache.keep(more, response(&json!(9), "public", "x").as_bytes(), now);
    assert!(cache.get(&first, now).is_some(), "it was just used");
    let second = page(&cache, 1);
    assert!(cache.get(&second, now).is_none());
}
