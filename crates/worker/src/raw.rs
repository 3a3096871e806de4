//! JSON objects with their members left as they are: renaming one member must
//! not change the digits of a number or the order of keys beside it.

use std::fmt;

use hexagram_mcp::envelope::scan;
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

/// An object in its own order, each value as its text.
#[derive(Debug, Clone, Default)]
pub(crate) struct RawObject(Vec<(String, Box<RawValue>)>);

impl RawObject {
    /// Reads an object; `None` where the text is none.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    pub(crate) fn get(&self, name: &str) -> Option<&RawValue> {
        let member = self.0.iter().find(|(key, _)| key == name)?;
        Some(&member.1)
    }

    /// The names of its members.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| &**key)
    }

    fn get_mut(&mut self, name: &str) -> Option<&mut Box<RawValue>> {
        let member = self.0.iter_mut().find(|(key, _)| key == name)?;
        Some(&mut member.1)
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|(key, _)| key != name);
    }

    /// Sets a member to a string.
    pub(crate) fn set(&mut self, name: &str, value: &str) {
        if let Some(value) = raw(value) {
            self.put(name, value);
        }
    }

    /// Sets a member.
    pub(crate) fn put(&mut self, name: &str, value: Box<RawValue>) {
        match self.get_mut(name) {
            Some(member) => *member = value,
            None => self.0.push((name.to_owned(), value)),
        }
    }

    /// A member that is a string.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// A member that is an object; empty where there is none.
    pub(crate) fn object(&self, name: &str) -> Self {
        self.get(name)
            .and_then(|member| Self::parse(member.get().as_bytes()))
            .unwrap_or_default()
    }

    /// Changes a member that is an object.
    pub(crate) fn edit(&mut self, name: &str, change: impl FnOnce(&mut RawObject)) {
        if let Some(member) = self.get_mut(name) {
            edit(member, change);
        }
    }

    /// Changes each object in a member that is an array.
    pub(crate) fn edit_items(&mut self, name: &str, mut change: impl FnMut(&mut RawObject)) {
        let Some(member) = self.get_mut(name) else {
            return;
        };
        let Ok(mut items) = serde_json::from_str::<Vec<Box<RawValue>>>(member.get()) else {
            return;
        };
        items.iter_mut().for_each(|item| edit(item, &mut change));
        replace(member, &items);
    }

    /// The items of a member that is an array.
    pub(crate) fn items(&self, name: &str) -> Vec<Box<RawValue>> {
        self.get(name)
            .and_then(|list| serde_json::from_str(list.get()).ok())
            .unwrap_or_default()
    }
}

fn edit(value: &mut Box<RawValue>, change: impl FnOnce(&mut RawObject)) {
    if let Some(mut object) = RawObject::parse(value.get().as_bytes()) {
        change(&mut object);
        replace(value, &object);
    }
}

fn replace(value: &mut Box<RawValue>, with: &impl Serialize) {
    if let Some(with) = raw(with) {
        *value = with;
    }
}

/// A value as its text; `None` where it has none in JSON.
pub(crate) fn raw(value: &(impl Serialize + ?Sized)) -> Option<Box<RawValue>> {
    to_raw_value(value).ok()
}

/// The code of a response that is an error.
pub(crate) fn error_code(response: &[u8]) -> Option<i64> {
    #[derive(Deserialize)]
    struct Error {
        code: i64,
    }
    let error: Error = serde_json::from_slice(scan(response).ok()?.error?).ok()?;
    Some(error.code)
}

impl<'de> Deserialize<'de> for RawObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;

        impl<'de> Visitor<'de> for Members {
            type Value = RawObject;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawObject, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(RawObject(members))
            }
        }

        deserializer.deserialize_map(Members)
    }
}

/// How many items an array has; nothing of them is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) usize);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;

        impl<'de> Visitor<'de> for Items {
            type Value = Count;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Count, A::Error> {
                let mut count = 0;
                while items.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(Count(count))
            }
        }

        deserializer.deserialize_seq(Items)
    }
}

impl Serialize for RawObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_changed_member_changes() {
        let text = r#"{"z":12345678901234567890123,"a":[{"uri":"x","n":1.10}],"name":"t"}"#;
        let mut object = RawObject::parse(text.as_bytes()).expect("an object");
        object.set("name", "up__t");
        object.edit_items("a", |item| item.set("uri", "up+x"));
        let text = serde_json::to_string(&object).expect("text");
        assert_eq!(
            text,
            r#"{"z":12345678901234567890123,"a":[{"uri":"up+x","n":1.10}],"name":"up__t"}"#
        );
    }

    #[test]
    fn what_is_no_object_is_left() {
        assert!(RawObject::parse(b"[1]").is_none());
        let mut object = RawObject::parse(br#"{"a":1,"b":[2]}"#).expect("an object");
        object.edit("a", |inner| inner.set("x", "y"));
        object.edit_items("b", |inner| inner.set("x", "y"));
        assert_eq!(
            serde_json::to_string(&object).expect("text"),
            r#"{"a":1,"b":[2]}"#
        );
    }
}
