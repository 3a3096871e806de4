//! Counts what a server lists: tools, prompts, resources, templates. Nothing is
//! called or read.

use serde::Serialize;
use serde_json::{Value, json};

use super::reply::{Outcome, quoted, told};

/// Of one list, so many pages are fetched.
const MAX_PAGES: usize = 50;

/// Something that can be asked, in either era.
pub(super) trait Speaker {
    /// Sends a request and gives its answer.
    async fn ask(&mut self, method: &'static str, params: Value) -> Outcome;
}

/// One kind of list.
#[derive(Debug)]
struct Kind {
    name: &'static str,
    method: &'static str,
    /// The member of the result that holds the entries.
    member: &'static str,
    /// The capability that offers it.
    capability: &'static str,
}

const KINDS: [Kind; 4] = [
    Kind {
        name: "tools",
        method: "tools/list",
        member: "tools",
        capability: "tools",
    },
    Kind {
        name: "prompts",
        method: "prompts/list",
        member: "prompts",
        capability: "prompts",
    },
    Kind {
        name: "resources",
        method: "resources/list",
        member: "resources",
        capability: "resources",
    },
    Kind {
        name: "resource_templates",
        method: "resources/templates/list",
        member: "resourceTemplates",
        capability: "resources",
    },
];

/// A list that was fetched.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(super) struct Listing {
    /// Entries on all pages.
    pub(super) count: usize,
    /// More than one: it is paginated.
    pub(super) pages: usize,
    /// Why there may be more than was counted.
    pub(super) problem: Option<String>,
}

/// Fetches every list that the server's `capabilities` offer.
pub(super) async fn all(
    speaker: &mut impl Speaker,
    capabilities: &Value,
) -> Vec<(&'static str, Listing)> {
    let mut lists = Vec::new();
    for kind in &KINDS {
        if capabilities.get(kind.capability).is_some() {
            lists.push((kind.name, fetch(speaker, kind).await));
        }
    }
    lists
}

async fn fetch(speaker: &mut impl Speaker, kind: &Kind) -> Listing {
    let mut listing = Listing::default();
    let mut params = json!({});
    loop {
        let outcome = speaker.ask(kind.method, params).await;
        match listing.add(&outcome, kind) {
            Some(_) if listing.pages == MAX_PAGES => {
                listing.problem = Some(format!("stopped after {MAX_PAGES} pages"));
                return listing;
            }
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => return listing,
        }
    }
}

impl Listing {
    /// Adds a page; gives the cursor of the next.
    fn add(&mut self, outcome: &Outcome, kind: &Kind) -> Option<String> {
        let page = outcome.as_ref().ok().and_then(|reply| reply.result());
        let Some(page) = page else {
            self.problem = Some(told(outcome));
            return None;
        };
        let Some(entries) = page[kind.member].as_array() else {
            self.problem = Some(quoted(&format!("no {} in {page}", kind.member)));
            return None;
        };
        self.pages += 1;
        self.count += entries.len();
        page["nextCursor"].as_str().map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply::tests::reply;
    use super::*;

    /// Lists one tool a page, on so many pages.
    struct Book {
        pages: usize,
        asked: Vec<Value>,
    }

    impl Speaker for Book {
        async fn ask(&mut self, _method: &'static str, params: Value) -> Outcome {
            self.asked.push(params);
            let mut result = json!({"tools": [{"name": "a"}]});
            if self.asked.len() < self.pages {
                result["nextCursor"] = json!(self.asked.len().to_string());
            }
            let response = json!({"jsonrpc": "2.0", "id": 1, "result": result});
            Ok(reply(200, &response.to_string()))
        }
    }

    async fn list(pages: usize) -> (Listing, Vec<Value>) {
        let asked = Vec::new();
        let mut book = Book { pages, asked };
        let mut lists = all(&mut book, &json!({"tools": {}})).await;
        assert_eq!(lists.len(), 1, "only what is offered");
        (lists.remove(0).1, book.asked)
    }

    #[tokio::test]
    async fn pages_are_followed_to_the_end() {
        let (listing, asked) = list(3).await;
        assert_eq!((listing.count, listing.pages), (3, 3));
        assert_eq!(
            asked,
            [json!({}), json!({"cursor": "1"}), json!({"cursor": "2"})]
        );
        assert_eq!(listing.problem, None);
    }

    #[tokio::test]
    async fn an_endless_list_is_left() {
        let (listing, asked) = list(usize::MAX).await;
        assert_eq!(asked.len(), MAX_PAGES);
        assert!(
            listing
                .problem
                .is_some_and(|problem| problem.contains("stopped"))
        );
    }

    #[test]
    fn a_result_without_entries_is_a_problem() {
        let odd = reply(200, r#"{"jsonrpc":"2.0","id":1,"result":{"tool":[]}}"#);
        let mut listing = Listing::default();
        assert_eq!(listing.add(&Ok(odd), &KINDS[0]), None);
        assert!(
            listing
                .problem
                .is_some_and(|problem| problem.contains("no tools"))
        );
    }
}
