//! Under which names a client knows its upstreams' tasks: their ids, sealed with
//! whom they belong to (ADR 0012), and in one session always the same, so that a
//! notification names the task as the call's result did.

use std::collections::HashMap;

use bytes::Bytes;
use hexagram_core::{Binding, ClientId, Handle, PrincipalId, Purpose, Sealer};
use parking_lot::Mutex;

use crate::raw::RawObject;

/// Tasks of one session whose names are remembered; when there are more, all
/// are forgotten: a task whose name is asked for again gets another, and its
/// former ones still open.
const MAX_TASKS: usize = 1_024;

/// The member of `_meta` that names a message's task (MCP 2025-11-25, "Tasks").
const RELATED: &str = "io.modelcontextprotocol/related-task";
const TASK_ID: &str = "taskId";

/// One client's names of tasks.
#[derive(Debug)]
pub(crate) struct TaskNames {
    client: ClientId,
    principal: PrincipalId,
    // By upstream and the id it uses.
    known: Mutex<HashMap<(String, String), String>>,
}

impl TaskNames {
    pub(crate) fn new(client: ClientId, principal: PrincipalId) -> Self {
        Self {
            client,
            principal,
            known: Mutex::default(),
        }
    }

    /// Whose tasks they are.
    pub(crate) const fn owner(&self) -> (ClientId, PrincipalId) {
        (self.client, self.principal)
    }

    /// The client knows a task by this name.
    pub(crate) fn learn(&self, upstream: &str, id: &str, name: &str) {
        let mut known = self.known.lock();
        if known.len() >= MAX_TASKS {
            known.clear();
        }
        known.insert((upstream.to_owned(), id.to_owned()), name.to_owned());
    }

    /// The name of the task that an upstream calls `id`.
    pub(crate) fn name(&self, sealer: &Sealer, upstream: &str, id: String) -> String {
        let key = (upstream.to_owned(), id);
        if let Some(name) = self.known.lock().get(&key) {
            return name.clone();
        }
        let (upstream, id) = key;
        let handle = Handle {
            client: self.client,
            principal: self.principal,
            created: hexagram_runtime::clock::unix_seconds(),
            binding: Binding::ANY,
            upstream,
            inner: id,
        };
        let name = handle.seal(sealer, Purpose::Task, hexagram_runtime::random::bytes());
        self.learn(&handle.upstream, &handle.inner, &name);
        name
    }

    /// An upstream's message with our names in place of its own.
    pub(crate) fn present(&self, sealer: &Sealer, upstream: &str, message: Bytes) -> Bytes {
        if !holds(&message, "\"taskId\"") {
            return message;
        }
        let Some(mut object) = RawObject::parse(&message) else {
            return message;
        };
        let ours = |id| Some(self.name(sealer, upstream, id));
        let method = object.text("method").unwrap_or_default();
        object.edit("params", |params| {
            // A request's task id is the client's own.
            if method.starts_with("notifications/tasks") {
                rename(params, ours);
            }
            rename_related(params, ours);
        });
        object.edit("result", |result| rename_all(result, ours));
        serde_json::to_vec(&object).map_or(message, Bytes::from)
    }

    /// The same of a result alone.
    pub(crate) fn present_result(&self, sealer: &Sealer, upstream: &str, result: &mut RawObject) {
        rename_all(result, |id| Some(self.name(sealer, upstream, id)));
    }

    /// A client's message with its upstream's own words where it says which task
    /// it belongs to. Another principal's name stays: no upstream knows it.
    pub(crate) fn restore(&self, sealer: &Sealer, message: Bytes) -> Bytes {
        if !holds(&message, RELATED) {
            return message;
        }
        let Some(mut object) = RawObject::parse(&message) else {
            return message;
        };
        let theirs = |name: String| {
            let handle = Handle::open(sealer, Purpose::Task, &name).ok()?;
            (handle.principal == self.principal).then_some(handle.inner)
        };
        for part in ["params", "result"] {
            object.edit(part, |part| rename_related(part, theirs));
        }
        serde_json::to_vec(&object).map_or(message, Bytes::from)
    }
}

fn holds(message: &[u8], text: &str) -> bool {
    memchr::memmem::find(message, text.as_bytes()).is_some()
}

/// The task that a result is, begins, lists or belongs to.
fn rename_all(result: &mut RawObject, to: impl Fn(String) -> Option<String> + Copy) {
    rename(result, to);
    result.edit("task", |task| rename(task, to));
    result.edit_items("tasks", |task| rename(task, to));
    rename_related(result, to);
}

fn rename_related(part: &mut RawObject, to: impl Fn(String) -> Option<String>) {
    part.edit("_meta", |meta| {
        meta.edit(RELATED, |related| rename(related, to));
    });
}

fn rename(object: &mut RawObject, to: impl Fn(String) -> Option<String>) {
    if let Some(name) = object.text(TASK_ID).and_then(to) {
        object.set(TASK_ID, &name);
    }
}

#[cfg(test)]
mod tests {
    use hexagram_core::KeyRing;
    use serde_json::{Value, json};

    use super::*;

    fn sealer() -> Sealer {
        Sealer::new(&KeyRing::generate(1, [7; 32]), "test")
    }

    fn names(principal: u128) -> TaskNames {
        TaskNames::new(ClientId::from_u128(1), PrincipalId::from_u128(principal))
    }

    fn presented(names: &TaskNames, upstream: &str, message: &Value) -> Value {
        let message = Bytes::from(message.to_string());
        let shown = names.present(&sealer(), upstream, message);
        serde_json::from_slice(&shown).expect("JSON")
    }

    fn opened(name: &Value) -> Handle {
        let name = name.as_str().expect("a name");
        Handle::open(&sealer(), Purpose::Task, name).expect("one of ours")
    }

    #[test]
    fn a_task_has_one_name_wherever_it_is_named() {
        let names = names(2);
        let related = json!({RELATED: {"taskId": "t", "n": 1.5}});
        let messages = [
            (
                json!({"id": 1, "result": {"task": {"taskId": "t"}}}),
                "/result/task/taskId",
            ),
            (
                json!({"id": 1, "result": {"taskId": "t", "resultType": "task"}}),
                "/result/taskId",
            ),
            (
                json!({"id": 1, "result": {"tasks": [{"taskId": "t"}]}}),
                "/result/tasks/0/taskId",
            ),
            (
                json!({"id": 1, "result": {"_meta": related}}),
                "/result/_meta/io.modelcontextprotocol~1related-task/taskId",
            ),
            (
                json!({"method": "notifications/tasks", "params": {"taskId": "t"}}),
                "/params/taskId",
            ),
            (
                json!({"method": "notifications/tasks/status", "params": {"taskId": "t"}}),
                "/params/taskId",
            ),
            (
                json!({"id": 2, "method": "elicitation/create", "params": {"_meta": related}}),
                "/params/_meta/io.modelcontextprotocol~1related-task/taskId",
            ),
        ];
        let name = names.name(&sealer(), "up", "t".to_owned());
        for (message, place) in messages {
            let shown = presented(&names, "up", &message);
            assert_eq!(shown.pointer(place), Some(&json!(name)), "{message}");
        }
        let handle = opened(&json!(name));
        assert_eq!((&*handle.upstream, &*handle.inner), ("up", "t"));
    }

    #[test]
    fn other_upstreams_and_other_words_are_left_apart() {
        let names = names(2);
        let task = json!({"id": 1, "result": {"taskId": "t"}});
        let (one, two) = (presented(&names, "a", &task), presented(&names, "b", &task));
        assert_ne!(one["result"]["taskId"], two["result"]["taskId"]);
        for own in [
            json!({"id": 1, "method": "tasks/get", "params": {"taskId": "of the client"}}),
            json!({"id": 1, "result": {"structuredContent": {"taskId": "t"}}}),
            json!({"id": 1, "result": {"taskId": 7}}),
        ] {
            assert_eq!(presented(&names, "a", &own), own);
        }
    }

    #[test]
    fn a_name_that_the_client_showed_is_kept() {
        let shown = names(2).name(&sealer(), "up", "t".to_owned());
        let later = names(2);
        later.learn("up", "t", &shown);
        assert_eq!(later.name(&sealer(), "up", "t".to_owned()), shown);
    }

    #[test]
    fn what_a_client_answers_is_said_in_the_upstreams_words() {
        let ours = names(2);
        let name = ours.name(&sealer(), "up", "t".to_owned());
        let answer = json!({"id": 1, "result": {"_meta": {RELATED: {"taskId": name}}}}).to_string();
        let restored = ours.restore(&sealer(), Bytes::from(answer.clone()));
        let expected = json!({"id": 1, "result": {"_meta": {RELATED: {"taskId": "t"}}}});
        let restored: Value = serde_json::from_slice(&restored).expect("JSON");
        assert_eq!(restored, expected);
        let stolen = names(3).restore(&sealer(), Bytes::from(answer.clone()));
        let stolen: Value = serde_json::from_slice(&stolen).expect("JSON");
        assert_eq!(stolen.to_string(), answer, "another principal's");
    }

    #[test]
    fn no_more_names_are_kept_than_allowed() {
        let names = names(2);
        for n in 0..=MAX_TASKS {
            names.learn("up", &n.to_string(), "x");
        }
        assert!(names.known.lock().len() <= MAX_TASKS);
        assert_eq!(names.name(&sealer(), "up", MAX_TASKS.to_string()), "x");
    }
}
