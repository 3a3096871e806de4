//! Keeps what `docs/` says of the code true: limits are compared with the code,
//! and tests that are named must be there.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clap::CommandFactory;

use crate::cli::Cli;

fn tree() -> PathBuf {
    // As cargo says when it runs the test: what it has built may be of another clone.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo runs the tests");
    PathBuf::from(package).join("../..")
}

fn read(file: &str) -> String {
    let path = tree().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The cells of all tables in a document, without their headings.
fn rows(document: &str) -> Vec<Vec<String>> {
    let cells = |line: &str| line.split('|').map(|cell| cell.trim().to_owned()).collect();
    let mut rows = Vec::new();
    let mut in_table = false;
    for line in read(document).lines() {
        let row = line
            .strip_prefix("| ")
            .and_then(|line| line.strip_suffix('|'));
        if let (true, Some(row)) = (in_table, row) {
            rows.push(cells(row));
        }
        in_table = line.starts_with("|---") || (in_table && row.is_some());
    }
    assert!(!rows.is_empty(), "{document} has no table");
    rows
}

/// What a cell holds as code.
fn code(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Flags of the roles that serve, with their defaults.
fn defaults() -> BTreeMap<String, String> {
    let command = Cli::command();
    let serving = ["local", "edge", "worker"].map(|role| command.find_subcommand(role));
    let flags = serving
        .into_iter()
        .flatten()
        .flat_map(|role| role.get_arguments());
    flags
        .filter_map(|flag| {
            let default = flag.get_default_values().first()?.to_str()?;
            Some((format!("--{}", flag.get_long()?), default.to_owned()))
        })
        .collect()
}

/// Checks a limit that is a constant: `NAME: TYPE = VALUE;`, or members of one.
fn check_constant(name: &str, values: &[&str], file: &str) {
    let source = read(file);
    let start = source.find(&format!("const {name}: "));
    let source = &source[start.unwrap_or_else(|| panic!("{file} has no {name}"))..];
    let constant = &source[..=source.find(';').expect("its end")];
    for value in values {
        let stands = match value.contains(": ") {
            true => constant.contains(&format!("{value},")),
            false => constant.ends_with(&format!("= {value};")),
        };
        assert!(
            stands,
            "docs/limits.md: {name} is {value:?}, but {constant}"
        );
    }
}

#[test]
fn limits_are_what_the_code_says() {
    let defaults = defaults();
    let mut named = Vec::new();
    for row in rows("docs/limits.md") {
        let [limit, default, set_by, _, source] = &row[..] else {
            panic!("docs/limits.md: five cells, not {row:?}");
        };
        let (values, source) = (code(default), code(source));
        let Some(name) = code(set_by).first().copied() else {
            continue;
        };
        if name.starts_with("--") {
            let actual = defaults.get(name).map(String::as_str);
            assert_eq!(actual, values.first().copied(), "docs/limits.md: {limit}");
            named.push(name.to_owned());
        } else {
            assert!(!values.is_empty(), "docs/limits.md: {limit} has no value");
            check_constant(name, &values, source[0]);
        }
        source.iter().for_each(|file| drop(read(file)));
    }
    for (flag, default) in defaults {
        let is_number = default.parse::<u64>().is_ok();
        assert!(
            !is_number || named.contains(&flag),
            "docs/limits.md does not name {flag}"
        );
    }
}

/// A test is `file::name` under `crates/`, or `conformance` and a scenario's name.
#[test]
fn named_tests_are_there() {
    for row in rows("docs/compatibility.md") {
        let [subject, _, _, shown_by] = &row[..] else {
            panic!("docs/compatibility.md: four cells, not {row:?}");
        };
        assert!(!shown_by.is_empty(), "nothing shows {subject}");
        for shown in shown_by.split(", ") {
            let test = code(shown)[0];
            match test.split_once("::") {
                Some((file, name)) => {
                    let is_there = has_test(&read(&format!("crates/{file}")), name);
                    assert!(is_there, "docs/compatibility.md: no test {name} in {file}");
                }
                None => assert!(shown.starts_with("conformance "), "{subject}: {shown}"),
            }
        }
    }
}

/// Whether a function of this name stands behind a test's attribute.
fn has_test(source: &str, name: &str) -> bool {
    let attributes = ["#[test]", "#[tokio::test"];
    source.split("\n\n").any(|block| {
        block.contains(&format!("fn {name}("))
            && attributes.iter().any(|attribute| block.contains(attribute))
    })
}
