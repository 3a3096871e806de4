//! What the image is built from: `.dockerignore` keeps back all but what it names, and cargo
//! refuses a workspace that lacks a member.

use std::path::Path;

/// What stands before a path that the build is given.
const GIVEN: &str = "!";

/// The members, by their folders below the workspace, that the build is not given.
pub fn problems<'a>(ignore: &str, members: impl IntoIterator<Item = &'a Path>) -> Vec<String> {
    let given: Vec<_> = ignore
        .lines()
        .filter_map(|line| line.trim().strip_prefix(GIVEN))
        .collect();
    let is_missing = |member: &&Path| !given.iter().any(|path| member.starts_with(path));
    let missing = members.into_iter().filter(is_missing);
    missing
        .map(|member| {
            let member = member.display();
            format!(".dockerignore keeps the member {member} from the image's build")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const IGNORE: &str = "# Little.\n*\n!Cargo.toml\n!crates\n!e2e\ncrates/*/fuzz/target\n";

    #[test]
    fn a_member_within_what_is_given_is_there() {
        let members = ["crates/core", "e2e"].map(Path::new);
        assert_eq!(problems(IGNORE, members), [""; 0]);
    }

    #[test]
    fn a_member_that_nobody_names_is_found() {
        let members = ["operator", "crates-too/core"].map(Path::new);
        let found = problems(IGNORE, members);
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0].contains("operator"), "{found:?}");
    }
}
