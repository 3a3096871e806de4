//! How many threads pods are given: workers as many as their CPU request says, so that a
//! load is a share of the same on every node.

use anyhow::{Result, ensure};

use super::helm::Helm;
use crate::progress::Task;

/// By which a pod learns what it requests.
const REQUESTED: &str = "name: HEXAGRAM_THREADS";
const FLAG: &str = "- --threads=";

/// What is set, as with `--set`, the numbers that edges and workers are given then, and
/// whether workers go by their request.
type Case = (&'static str, &'static [&'static str], bool);

const CASES: [Case; 6] = [
    ("worker.threads=null", &[], true),
    ("worker.resources.requests.cpu=1500m", &[], true),
    ("edge.threads=5", &["5"], true),
    ("edge.threads=5,worker.threads=3", &["5", "3"], false),
    ("worker.resources.requests.cpu=null", &[], false),
    ("worker.resources.requests.cpu=0", &[], false),
];

/// # Errors
/// With the first values that render something else.
pub(super) fn check(helm: &Helm, task: &mut Task) -> Result<()> {
    for (set, given, by_request) in CASES {
        task.line(set);
        let rendered = helm.template(&["--set", set])?;
        let lines = rendered.lines().map(str::trim);
        let found: Vec<_> = lines.filter_map(|line| line.strip_prefix(FLAG)).collect();
        ensure!(
            found == given,
            "`--set {set}` renders the threads {found:?} and not {given:?}"
        );
        ensure!(
            rendered.contains(REQUESTED) == by_request,
            "`--set {set}`: whether workers have their request's threads is not {by_request}"
        );
    }
    Ok(())
}
