//! The order of steps and the count, with steps made up for it.

use std::path::PathBuf;

use anyhow::bail;

use super::*;

const PASSES: Step = step("passes", |suite, _| {
    suite.tally.passed += 3;
    Ok(Some("3 passed".into()))
});
const FAILS: Step = step("fails", |_, _| bail!("clippy found something"));
const FAILS_TESTS: Step = step("fails tests", |suite, _| {
    suite.tally.failed += 2;
    bail!("2 tests failed")
});
const NO_TESTS: Step = step("no tests", |suite, task| {
    suite.test(task, vec![Command::new("true")])
});
const TWO_RUNNERS: Step = step("two runners", |suite, task| {
    let mut first = Command::new("echo");
    first.arg("test result: ok. 4 passed; 0 failed; 0 ignored");
    let mut second = Command::new("sh");
    second.args([
        "-c",
        "echo 'test result: FAILED. 1 passed; 2 failed'; exit 101",
    ]);
    suite.test(task, vec![first, second])
});

const fn step(name: &'static str, run: fn(&mut Suite<'_>, &mut Task) -> Result<Note>) -> Step {
    Step {
        name,
        about: "",
        run,
    }
}

/// How many steps passed, and the count.
fn outcome(steps: &[&Step]) -> (usize, u64, u64) {
    let workspace = Workspace {
        root: PathBuf::new(),
        target: PathBuf::new(),
    };
    let cache = Cache::at("unused");
    let mut suite = Suite {
        workspace: &workspace,
        cache: &cache,
        tally: Tally::default(),
    };
    let passed = run_steps(steps, &mut suite);
    (passed, suite.tally.passed, suite.tally.failed)
}

#[test]
fn counts_over_all_steps() {
    assert_eq!(outcome(&[&PASSES, &PASSES]), (2, 6, 0));
}

#[test]
fn stops_at_the_first_failure_and_counts_it() {
    assert_eq!(outcome(&[&PASSES, &FAILS, &PASSES]), (1, 3, 1));
}

#[test]
fn failed_tests_are_not_counted_twice() {
    assert_eq!(outcome(&[&FAILS_TESTS]), (0, 0, 2));
}

#[test]
fn a_test_step_without_tests_fails() {
    assert_eq!(outcome(&[&NO_TESTS]), (0, 0, 1));
}

#[test]
fn a_failing_runner_counts_after_one_that_passed() {
    assert_eq!(outcome(&[&TWO_RUNNERS]), (0, 5, 2));
}

#[test]
fn step_names_are_unique() {
    let mut names = names();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), STEPS.len());
}
