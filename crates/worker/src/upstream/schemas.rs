//! Which arguments an upstream's tools want mirrored in headers, for calls of
//! clients whose era knows no such thing.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

/// What is known of an upstream's tools holds this long; an upstream that
/// refuses a header before makes us ask anew.
const LIFETIME: Duration = Duration::from_secs(60);

/// The `properties` of the tools' input schemas.
#[derive(Debug, Default)]
pub(super) struct Schemas(tokio::sync::Mutex<Option<Known>>);

#[derive(Debug)]
struct Known {
    at: Instant,
    properties: HashMap<String, Value>,
}

impl Schemas {
    /// The properties of one tool; `list` gives all tools when they are not
    /// known or no longer.
    ///
    /// # Errors
    /// What `list` fails with.
    pub(super) async fn of<E>(
        &self,
        tool: &str,
        list: impl Future<Output = Result<Vec<Value>, E>>,
    ) -> Result<Value, E> {
        let mut known = self.0.lock().await;
        if known
            .as_ref()
            .is_none_or(|known| known.at.elapsed() > LIFETIME)
        {
            *known = Some(Known {
                at: Instant::now(),
                properties: list.await?.iter().filter_map(properties).collect(),
            });
        }
        let properties = known.as_ref().and_then(|known| known.properties.get(tool));
        Ok(properties.cloned().unwrap_or_default())
    }

    /// Forgets: a tool has changed.
    pub(super) async fn forget(&self) {
        *self.0.lock().await = None;
    }
}

fn properties(tool: &Value) -> Option<(String, Value)> {
    let name = tool["name"].as_str()?.to_owned();
    Some((name, tool["inputSchema"]["properties"].clone()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    async fn none() -> Result<Vec<Value>, &'static str> {
        Err("not asked")
    }

    #[tokio::test(start_paused = true)]
    async fn tools_are_asked_for_once_and_again_after_a_while() {
        let schemas = Schemas::default();
        let tool = json!({"name": "x", "inputSchema": {"properties": {"a": 1}}});
        let list = || async { Ok::<_, &str>(vec![tool.clone()]) };
        assert_eq!(schemas.of("x", none()).await, Err("not asked"));
        assert_eq!(schemas.of("x", list()).await, Ok(json!({"a": 1})));
        assert_eq!(schemas.of("y", none()).await, Ok(Value::Null));
        tokio::time::advance(LIFETIME * 2).await;
        assert_eq!(schemas.of("x", none()).await, Err("not asked"));
        schemas.of("x", list()).await.expect("asked");
        schemas.forget().await;
        assert_eq!(schemas.of("x", none()).await, Err("not asked"));
    }
}
