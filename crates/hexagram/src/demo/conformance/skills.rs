//! One skill with its files, for the skills extension (SEP-2640).

use rmcp::ErrorData;
use rmcp::model::{
    DIRECTORY_MIME_TYPE, Resource, ResourceContents, Skill, SkillFrontmatter, SkillResource,
    SkillResources,
};
use serde_json::json;

const NAME: &str = "greeting";
const ABOUT: &str = "Says how to greet.";
const FOLDER: &str = "skill://greeting";
const MANIFEST: &str = "skill://greeting/SKILL.md";

/// Each file's URI and text; the first is the manifest.
const FILES: [(&str, &str); 2] = [
    (
        MANIFEST,
        "---\nname: greeting\ndescription: Says how to greet.\n---\n\nRead references/tone.md, then greet.\n",
    ),
    (
        "skill://greeting/references/tone.md",
        "Be kind and brief.\n",
    ),
];

const MARKDOWN: &str = "text/markdown";

/// The skill.
pub(super) fn skill() -> Skill {
    let file = |(uri, text): (&str, &str)| SkillResource::from_bytes(uri, text.as_bytes());
    let files = SkillResources::Files(FILES.map(file).into());
    Skill::new(MANIFEST, SkillFrontmatter::new(NAME, ABOUT), files)
}

/// The skill whose manifest is at `uri`.
pub(super) fn get(uri: &str) -> Result<Skill, ErrorData> {
    match uri {
        MANIFEST => Ok(skill()),
        _ => Err(unknown("no skill", uri)),
    }
}

/// Its manifest as a resource.
pub(super) fn manifest() -> Resource {
    Resource::new(MANIFEST, NAME)
        .with_description(ABOUT)
        .with_mime_type(MARKDOWN)
}

/// The file at `uri`.
pub(super) fn read(uri: &str) -> Option<ResourceContents> {
    let (_, text) = FILES.into_iter().find(|(file, _)| *file == uri)?;
    Some(ResourceContents::text(text, uri).with_mime_type(MARKDOWN))
}

/// What is directly in the directory at `uri`.
pub(super) fn directory(uri: &str) -> Result<Vec<Resource>, ErrorData> {
    let children: Vec<_> = FILES
        .iter()
        .filter_map(|(file, _)| child(file.strip_prefix(uri)?.strip_prefix('/')?, file))
        .collect();
    match uri.starts_with(FOLDER) && !children.is_empty() {
        true => Ok(children),
        false => Err(unknown("no directory", uri)),
    }
}

/// The child on the way to `file`, which is at `rest` in the directory.
fn child(rest: &str, file: &str) -> Option<Resource> {
    if file == MANIFEST {
        return Some(manifest());
    }
    match rest.split_once('/') {
        Some((name, beyond)) => {
            let uri = file.strip_suffix(beyond)?.strip_suffix('/')?;
            Some(Resource::new(uri, name).with_mime_type(DIRECTORY_MIME_TYPE))
        }
        None => Some(Resource::new(file, rest).with_mime_type(MARKDOWN)),
    }
}

fn unknown(what: &str, uri: &str) -> ErrorData {
    ErrorData::invalid_params(format!("{what} {uri}"), Some(json!({"uri": uri})))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

    use super::*;

    #[test]
    fn the_skill_is_valid_and_its_files_are_there() {
        skill().validate().unwrap();
        for (uri, _) in FILES {
            assert!(read(uri).is_some(), "{uri}");
        }
        assert!(get("skill://other/SKILL.md").is_err());
    }

    #[test]
    fn directories_have_their_direct_children_only() {
        let uris = |uri| -> Vec<String> {
            let children = directory(uri).unwrap().into_iter();
            children.map(|child| child.uri).collect()
        };
        assert_eq!(uris(FOLDER), [MANIFEST, "skill://greeting/references"]);
        let tone = "skill://greeting/references/tone.md";
        assert_eq!(uris("skill://greeting/references"), [tone]);
        for uri in [MANIFEST, tone, "skill:/", "skill://greeting/"] {
            assert!(directory(uri).is_err(), "{uri}");
        }
    }
}
