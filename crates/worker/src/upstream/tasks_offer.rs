//! What a server's capabilities say of tasks. Each era has its own kind: a
//! capability in 2025-11-25, an extension (SEP-2663) in 2026-07-28. Neither
//! kind is translated, so clients of the other era must not be promised it.

use hexagram_core::Era;
use serde_json::Value;

/// The capability of 2025-11-25.
const CAPABILITY: &str = "tasks";
/// The extension of SEP-2663.
pub(super) const EXTENSION: &str = "io.modelcontextprotocol/tasks";

/// Takes the tasks of `era` out of `capabilities`.
pub(super) fn withdraw(era: Era, capabilities: &mut Value) {
    let (holder, name) = match era {
        Era::Legacy => (Some(capabilities), CAPABILITY),
        Era::Modern => (capabilities.get_mut("extensions"), EXTENSION),
    };
    if let Some(Value::Object(holder)) = holder {
        holder.remove(name);
    }
}

/// `capabilities` as clients of `era` see them.
pub(super) fn for_clients_of(era: Era, capabilities: &Value) -> Value {
    let other = match era {
        Era::Legacy => Era::Modern,
        Era::Modern => Era::Legacy,
    };
    let mut capabilities = capabilities.clone();
    withdraw(other, &mut capabilities);
    capabilities
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_era_sees_its_own_tasks() {
        let all = json!({"tools": {}, "tasks": {}, "extensions": {EXTENSION: {}, "other": {}}});
        let legacy = json!({"tools": {}, "tasks": {}, "extensions": {"other": {}}});
        let modern = json!({"tools": {}, "extensions": {EXTENSION: {}, "other": {}}});
        assert_eq!(for_clients_of(Era::Legacy, &all), legacy);
        assert_eq!(for_clients_of(Era::Modern, &all), modern);
        for none in [json!({}), json!({"extensions": 1}), Value::Null] {
            assert_eq!(for_clients_of(Era::Legacy, &none), none);
            assert_eq!(for_clients_of(Era::Modern, &none), none);
        }
    }
}
