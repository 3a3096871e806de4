//! The resources: a text, an image, one that may change, a template, and the
//! files of the skill.

use rmcp::ErrorData;
use rmcp::model::{
    ReadResourceResponse, ReadResourceResult, Resource, ResourceContents, ResourceTemplate,
};
use serde_json::json;

use super::skills;

/// A PNG image of one grey pixel.
pub(super) const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR42mNoAAAAggCB2kUIOwAAAABJRU5ErkJggg==";

/// The resource that says when it changes.
pub(super) const WATCHED: &str = "test://watched-resource";

const TEXT: &str = "test://static-text";
const BINARY: &str = "test://static-binary";
const TEMPLATE: &str = "test://template/{id}/data";

/// All of them but those of the template.
pub(super) fn list() -> Vec<Resource> {
    vec![
        Resource::new(TEXT, "static-text")
            .with_description("A text")
            .with_mime_type("text/plain"),
        Resource::new(BINARY, "static-binary")
            .with_description("An image")
            .with_mime_type("image/png"),
        Resource::new(WATCHED, "watched-resource")
            .with_description("Says when it changes")
            .with_mime_type("text/plain"),
        skills::manifest(),
    ]
}

/// The template.
pub(super) fn template() -> ResourceTemplate {
    ResourceTemplate::new(TEMPLATE, "template-data")
        .with_description("Data for each id")
        .with_mime_type("application/json")
}

/// What is at `uri`.
pub(super) fn read(uri: &str) -> Result<ReadResourceResponse, ErrorData> {
    let contents = match uri {
        TEXT => text(uri, "This is the content of the static text resource."),
        WATCHED => text(uri, "This resource may change."),
        BINARY => ResourceContents::blob(PNG, uri).with_mime_type("image/png"),
        _ => from_template(uri)
            .or_else(|| skills::read(uri))
            .ok_or_else(|| unknown(uri))?,
    };
    Ok(ReadResourceResult::new(vec![contents]).into())
}

fn text(uri: &str, text: &str) -> ResourceContents {
    ResourceContents::text(text, uri).with_mime_type("text/plain")
}

fn from_template(uri: &str) -> Option<ResourceContents> {
    let (before, after) = TEMPLATE.split_once("{id}")?;
    let id = uri.strip_prefix(before)?.strip_suffix(after)?;
    let data = json!({"id": id, "templateTest": true, "data": format!("Data for ID: {id}")});
    let contents = ResourceContents::text(data.to_string(), uri);
    (!id.is_empty()).then(|| contents.with_mime_type("application/json"))
}

fn unknown(uri: &str) -> ErrorData {
    ErrorData::resource_not_found("Resource not found", Some(json!({"uri": uri})))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a panic is a test's way to fail")]

    use super::*;

    #[test]
    fn all_that_is_listed_can_be_read() {
        for resource in list() {
            read(&resource.uri).unwrap();
        }
    }

    #[test]
    fn the_template_takes_any_id_but_none() {
        read("test://template/12/data").unwrap();
        for uri in [
            "test://template//data",
            "test://template/12",
            "test://other",
        ] {
            assert_eq!(read(uri).unwrap_err().data, Some(json!({"uri": uri})));
        }
    }
}
