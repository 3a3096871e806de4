//! The text form: what it accepts, what it refuses, what it never shows.

use proptest::prelude::*;

use super::{KeyRing, KeyRingError, LineProblem};

/// A line for the key `id`, whose 32 bytes are all `id`.
fn line(id: u8) -> String {
    KeyRing::generate(id, [id; 32]).to_text()
}

fn ids(ring: &KeyRing) -> Vec<u8> {
    ring.keys().iter().map(|key| key.id).collect()
}

#[test]
fn the_text_form_never_changes() {
    assert_eq!(line(171), format!("171 {}\n", "ab".repeat(32)));
}

proptest! {
    #[test]
    fn text_round_trips(secrets in prop::collection::btree_map(any::<u8>(), any::<[u8; 32]>(), 1..=8)) {
        let text: String = secrets
            .iter()
            .map(|(id, secret)| KeyRing::generate(*id, *secret).to_text())
            .collect();
        let ring = KeyRing::parse(&text).unwrap();
        prop_assert_eq!(ring.to_text(), text);
        for key in ring.keys() {
            prop_assert_eq!(key.secret, secrets[&key.id]);
        }
    }

    #[test]
    fn any_text_is_read_without_panic(text in "([0-9]{1,3} [0-9a-zé]{62,66}( mint)?\n?|\\PC{0,9}\n){0,4}") {
        let _ = KeyRing::parse(&text);
    }
}

#[test]
fn comments_blank_lines_and_case_do_not_matter() {
    let upper = line(171).to_uppercase();
    let text = format!("# prod\n\n  {} # since May\r\n\t{}", upper.trim(), line(2));
    assert_eq!(ids(&KeyRing::parse(&text).unwrap()), [171, 2]);
}

#[test]
fn the_first_key_mints_unless_another_is_marked() {
    let plain = KeyRing::parse(&(line(1) + &line(2) + &line(3))).unwrap();
    assert_eq!(ids(&plain), [1, 2, 3]);
    let marked = line(1) + &line(2) + line(3).trim() + " mint\n" + &line(4);
    let marked = KeyRing::parse(&marked).unwrap();
    assert_eq!(ids(&marked), [3, 1, 2, 4]);
    assert_eq!(
        ids(&KeyRing::parse(&marked.to_text()).unwrap()),
        [3, 1, 2, 4]
    );
}

#[test]
fn a_ring_without_keys_is_refused() {
    for text in ["", "\n\n", "# nothing yet"] {
        assert_eq!(KeyRing::parse(text).unwrap_err(), KeyRingError::Empty);
    }
}

/// The problem of `bad` on line 3, after a comment and a good key.
fn problem(bad: &str) -> LineProblem {
    let text = format!("# ring\n{}{bad}", line(1));
    match KeyRing::parse(&text).unwrap_err() {
        KeyRingError::Line { line: 3, problem } => problem,
        other => panic!("{other}"),
    }
}

#[test]
fn a_wrong_line_is_named_with_its_problem() {
    let hex = "5e".repeat(32);
    assert_eq!(problem(&hex), LineProblem::Shape);
    assert_eq!(problem(&format!("2 {hex} main")), LineProblem::Shape);
    assert_eq!(problem(&format!("2 {hex} mint 3")), LineProblem::Shape);
    assert_eq!(problem(&format!("256 {hex}")), LineProblem::Id);
    assert_eq!(problem(&format!("{hex} 2")), LineProblem::Id);
    assert_eq!(problem(&format!("2 {}", &hex[1..])), LineProblem::Secret);
    assert_eq!(problem(&format!("2 {hex}00")), LineProblem::Secret);
    assert_eq!(problem(&format!("2 {}g0", &hex[2..])), LineProblem::Secret);
    assert_eq!(problem(&format!("2 {}é", &hex[2..])), LineProblem::Secret);
    assert_eq!(problem(&line(1)), LineProblem::DuplicateId);
}

#[test]
fn a_second_mark_is_refused() {
    let text = (1..=2).map(|id| line(id).trim().to_owned() + " mint\n");
    let error = KeyRing::parse(&text.collect::<String>()).unwrap_err();
    let problem = LineProblem::SecondMint;
    assert_eq!(error, KeyRingError::Line { line: 2, problem });
}

#[test]
fn a_ninth_key_is_refused() {
    let text: String = (1..=9).map(line).collect();
    let problem = LineProblem::TooMany;
    let error = KeyRing::parse(&text).unwrap_err();
    assert_eq!(error, KeyRingError::Line { line: 9, problem });
    assert_eq!(error.to_string(), format!("key ring line 9: {problem}"));
}

#[test]
fn neither_debug_nor_errors_show_keys() {
    let hex = "5e".repeat(32);
    let ring = KeyRing::parse(&format!("7 {hex}")).unwrap();
    assert_eq!(format!("{ring:?}"), "KeyRing([7])");
    for text in [
        hex.clone(),
        format!("{hex} 7"),
        format!("7 {hex}5e"),
        format!("7 {hex}\n7 {hex}"),
    ] {
        let error = KeyRing::parse(&text).unwrap_err();
        let shown = format!("{error} {error:?}");
        assert!(!shown.contains("5e5e"), "{shown}");
    }
}

#[test]
fn keys_are_added_marked_and_dropped() {
    let ring = KeyRing::parse(&(line(255) + &line(0))).unwrap();
    let [old, older] = ring.fingerprints()[..] else {
        panic!("two keys")
    };
    let ring = ring.with_another([9; 32]).unwrap();
    assert_eq!(ids(&ring), [255, 0, 1]);
    let new = ring.fingerprints()[2];
    let ring = ring.minting(new);
    assert_eq!(ids(&ring), [1, 255, 0]);
    let ring = ring.without(older).without(new);
    assert_eq!(ring.fingerprints(), [new, old]);
    assert_eq!(ids(&ring.clone().minting(older)), [1, 255]);
    let again = KeyRing::parse(&ring.to_text()).unwrap();
    assert_eq!(again.fingerprints(), ring.fingerprints());
}

#[test]
fn a_full_ring_takes_no_more() {
    let text: String = (1..=8).map(line).collect();
    let full = KeyRing::parse(&text).unwrap();
    assert!(full.with_another([9; 32]).is_none());
    let last = full.fingerprints()[7];
    let more = full.without(last).with_another([9; 32]).unwrap();
    assert_eq!(ids(&more), [1, 2, 3, 4, 5, 6, 7, 8]);
}
