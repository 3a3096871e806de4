//! What the clients call, and whether it can be called: errors of the set-up are told
//! before the load begins, in full.

use std::fmt;
use std::sync::Arc;

use anyhow::Context;
use serde::Deserialize;
use serde_json::{Value, json};

use super::args::SessionsArgs;
use super::caller::Caller;
use super::client::check;
use super::ledger::SharedLedger;
use crate::endpoint::Endpoint;
use crate::era::Era;
use crate::failure::Failure;
use crate::message::Message;

/// A list of tools is read this far.
const MAX_PAGES: usize = 20;
const NO_SUCH_METHOD: i64 = -32601;

/// What is called.
#[derive(Debug)]
pub(super) struct Chosen {
    tool: Option<String>,
    legacy: Arc<Message>,
    modern: Arc<Message>,
}

impl Chosen {
    /// Calls `tool`, or something that every server has.
    fn new(tool: Option<String>, arguments: &Value) -> anyhow::Result<Self> {
        let message = |era| match &tool {
            Some(name) => {
                let params = json!({ "name": name, "arguments": arguments });
                Message::new(era, "tools/call", params)
            }
            None => Message::new(era, without_tool(era), json!({})),
        };
        Ok(Self {
            legacy: Arc::new(message(Era::Legacy)?),
            modern: Arc::new(message(Era::Modern)?),
            tool,
        })
    }

    pub(super) fn message(&self, era: Era) -> Arc<Message> {
        match era {
            Era::Legacy => self.legacy.clone(),
            Era::Modern => self.modern.clone(),
        }
    }
}

impl fmt::Display for Chosen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.tool {
            Some(tool) => write!(f, "tool {tool}"),
            None => write!(f, "ping (legacy), tools/list (modern)"),
        }
    }
}

fn without_tool(era: Era) -> &'static str {
    match era {
        Era::Legacy => "ping",
        Era::Modern => "tools/list",
    }
}

/// Chooses what to call, and calls it once in each era that takes part.
pub(super) async fn choose(
    args: &SessionsArgs,
    endpoint: &Arc<Endpoint>,
) -> anyhow::Result<Chosen> {
    let eras = [(Era::Legacy, args.legacy), (Era::Modern, args.modern)];
    let mut callers: Vec<_> = eras
        .into_iter()
        .filter(|(_, clients)| *clients > 0)
        .map(|(era, _)| {
            (
                era,
                Caller::new(endpoint.clone(), era, SharedLedger::default()),
            )
        })
        .collect();
    let tool = match (&args.tool, callers.first_mut()) {
        (None, Some((era, caller))) => {
            let found = find_tool(*era, caller).await;
            found.map_err(|error| explained(error, *era, args))?
        }
        (named, _) => named.clone(),
    };
    let arguments = args.arguments.clone().unwrap_or_default();
    let chosen = Chosen::new(tool, &arguments.into())?;
    for (era, mut caller) in callers {
        let tried = caller.call(&chosen.message(era), check).await;
        tried
            .with_context(|| format!("cannot call {chosen}"))
            .map_err(|error| explained(error, era, args))?;
        // How sessions end is seen when the clients' do.
        let _ = caller.farewell().await;
    }
    Ok(chosen)
}

/// The error, with who had it and what to do.
fn explained(error: anyhow::Error, era: Era, args: &SessionsArgs) -> anyhow::Error {
    let (who, without) = match era {
        Era::Legacy => ("legacy (2025-11-25)", "; --legacy 0 leaves them out"),
        Era::Modern => ("modern (2026-07-28)", "; --modern 0 leaves them out"),
    };
    let advice = match error.downcast_ref() {
        Some(Failure::ToolError(_) | Failure::Refused { status: 200, .. }) => {
            "; name what to call with --tool and --arguments"
        }
        // So a server answers that does not speak the era.
        Some(Failure::Refused {
            status: 400 | 404..=406 | 415,
            ..
        }) if args.legacy > 0 && args.modern > 0 => without,
        _ => "",
    };
    error.context(format!("{who} clients cannot use {}{advice}", args.url))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ToolList {
    #[serde(default)]
    tools: Vec<Tool>,
    next_cursor: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    name: String,
    #[serde(default)]
    input_schema: Schema,
    #[serde(default)]
    annotations: Annotations,
    #[serde(default)]
    execution: Execution,
}

#[derive(Debug, Default, Deserialize)]
struct Schema {
    #[serde(default)]
    required: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Annotations {
    read_only_hint: Option<bool>,
    destructive_hint: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Execution {
    task_support: Option<String>,
}

/// The tool to call; none where the server has none that fits.
async fn find_tool(era: Era, caller: &mut Caller) -> anyhow::Result<Option<String>> {
    let mut params = json!({});
    let mut tools = Vec::new();
    for _ in 0..MAX_PAGES {
        let message = Message::new(era, "tools/list", params)?;
        let page = match caller.call(&message, page).await {
            Ok(page) => page,
            Err(Failure::Refused {
                code: Some(NO_SUCH_METHOD),
                ..
            }) => break,
            Err(failure) => return Err(failure.into()),
        };
        tools.extend(page.tools);
        match page.next_cursor {
            Some(cursor) => params = json!({ "cursor": cursor }),
            None => break,
        }
    }
    Ok(best(tools))
}

fn page(result: &str) -> Result<ToolList, Failure> {
    serde_json::from_str(result).map_err(|_| Failure::NoAnswer)
}

/// The first that needs no argument, a harmless one before others.
fn best(tools: Vec<Tool>) -> Option<String> {
    let fits = |tool: &Tool| {
        tool.input_schema.required.is_empty()
            && tool.annotations.destructive_hint != Some(true)
            && tool.execution.task_support.as_deref() != Some("required")
    };
    let mut fitting: Vec<_> = tools.into_iter().filter(fits).collect();
    fitting.sort_by_key(|tool| tool.annotations.read_only_hint != Some(true));
    fitting.into_iter().next().map(|tool| tool.name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn best_of(tools: &Value) -> Option<String> {
        let list = json!({ "tools": tools }).to_string();
        best(page(&list).expect("a list").tools)
    }

    #[test]
    fn the_first_tool_that_needs_nothing_is_called() {
        let needs = json!({ "name": "a", "inputSchema": { "required": ["x"] } });
        let none = json!({ "name": "b", "inputSchema": { "type": "object" } });
        let other = json!({ "name": "c", "inputSchema": {} });
        assert_eq!(best_of(&json!([needs, none, other])).as_deref(), Some("b"));
        assert_eq!(best_of(&json!([needs])), None);
    }

    #[test]
    fn a_harmless_tool_goes_before_and_a_destructive_one_never() {
        let plain = json!({ "name": "a" });
        let destructive = json!({ "name": "b", "annotations": { "destructiveHint": true } });
        let harmless = json!({ "name": "c", "annotations": { "readOnlyHint": true } });
        let task = json!({ "name": "d", "execution": { "taskSupport": "required" } });
        assert_eq!(best_of(&json!([plain, harmless])).as_deref(), Some("c"));
        assert_eq!(best_of(&json!([destructive, task])), None);
    }

    #[test]
    fn without_a_tool_each_era_has_something_to_call() {
        let chosen = Chosen::new(None, &json!({})).expect("messages");
        assert_eq!(chosen.to_string(), "ping (legacy), tools/list (modern)");
        assert!(
            chosen
                .message(Era::Modern)
                .headers()
                .contains_key("mcp-method")
        );
    }
}
