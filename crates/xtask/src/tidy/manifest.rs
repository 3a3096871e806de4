//! Rules for the manifest of a workspace member: lints and versions are said
//! once, in the workspace manifest.

use anyhow::Result;
use toml::{Table, Value};

const DEPENDENCY_TABLES: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// What is wrong with one member's manifest.
///
/// # Errors
/// When it is not TOML.
pub fn problems(manifest: &str) -> Result<Vec<String>> {
    let manifest: Table = manifest.parse()?;
    let mut problems = Vec::new();
    if !inherits(manifest.get("lints")) {
        problems.push("lints are not the workspace's: add `[lints] workspace = true`".to_owned());
    }
    let platforms = manifest.get("target").and_then(Value::as_table);
    let platforms = platforms.into_iter().flat_map(Table::values);
    for table in platforms.filter_map(Value::as_table).chain([&manifest]) {
        problems.extend(own_versions(table));
    }
    Ok(problems)
}

/// Dependencies that do not come from the workspace's table.
fn own_versions(table: &Table) -> impl Iterator<Item = String> {
    DEPENDENCY_TABLES
        .iter()
        .filter_map(|name| table.get(*name)?.as_table())
        .flatten()
        .filter(|(_, value)| !inherits(Some(value)))
        .map(|(name, _)| format!("dependency `{name}` must say `{name}.workspace = true`"))
}

fn inherits(value: Option<&Value>) -> bool {
    let workspace = value.and_then(|value| value.get("workspace"));
    workspace.and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINTS: &str = "[lints]\nworkspace = true\n";

    #[test]
    fn a_manifest_that_inherits_everything_is_fine() {
        let manifest = format!(
            "{LINTS}[dependencies]\na.workspace = true\nb = {{ workspace = true, features = [\"x\"] }}\n"
        );
        assert_eq!(problems(&manifest).unwrap(), [""; 0]);
    }

    #[test]
    fn own_lints_are_found() {
        for manifest in ["", "[lints.rust]\nunsafe_code = \"allow\"\n"] {
            assert_eq!(problems(manifest).unwrap().len(), 1, "{manifest}");
        }
    }

    #[test]
    fn own_versions_are_found_in_every_table() {
        for table in [
            "dependencies",
            "dev-dependencies",
            "build-dependencies",
            "target.'cfg(unix)'.dependencies",
        ] {
            for value in ["\"1\"", "{ version = \"1\" }", "{ path = \"../a\" }"] {
                let manifest = format!("{LINTS}[{table}]\na = {value}\n");
                let found = problems(&manifest).unwrap();
                assert_eq!(
                    found,
                    ["dependency `a` must say `a.workspace = true`"],
                    "{manifest}"
                );
            }
        }
    }
}
