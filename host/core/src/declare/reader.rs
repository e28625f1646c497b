//! Reads a JSON tree in which keys may be spelled in any way and values may be text.
//!
//! A key with nothing behind it says nothing, as in Traefik: `tls:` in YAML, whatever is commented
//! out below a key, a `null` of a provider. And where text is wanted, numbers and booleans are what
//! they are written as, since tags have nothing but text.
//!
//! A reader knows its JSON Pointer, so that whatever it complains of has a place.

use serde_json::{Map, Value};

use super::Flaw;
use crate::{
    name::{fold, nearest},
    pointer::child,
    problem::Severity,
};

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Reader<'a> {
    pub(super) value: &'a Value,
    pub(super) pointer: String,
}

/// What a table may hold, and what happens to the rest.
pub(super) struct Keys {
    /// Those that mean something.
    pub(super) known: &'static [&'static str],
    /// Traefik's, which have no effect here.
    pub(super) foreign: &'static [&'static str],
}

impl Keys {
    /// Whether a key means something, here or to Traefik.
    pub(super) fn has(&self, written: &str) -> bool {
        let folded = fold(written);
        self.known.iter().chain(self.foreign).any(|key| fold(key) == folded)
    }
}

/// Yes or no as Traefik reads it in tags: the words of Go's `strconv.ParseBool`, in any case.
pub fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

impl<'a> Reader<'a> {
    pub(super) fn root(value: &'a Value, pointer: &str) -> Self {
        Self { value, pointer: pointer.to_owned() }
    }

    /// The entries of a table that say something, keys as written. Text is no table, but `true` is
    /// an empty one: `tls=true` in a tag (Traefik's "allow empty").
    pub(super) fn entries(&self, flaws: &mut Vec<Flaw>) -> Vec<(&'a str, Self)> {
        let mut entries = self.all_entries(flaws);
        entries.retain(|(_, value)| !value.value.is_null());
        entries
    }

    /// The same with those that say nothing, for where a key alone says enough.
    pub(super) fn all_entries(&self, flaws: &mut Vec<Flaw>) -> Vec<(&'a str, Self)> {
        match self.value {
            Value::Object(map) => self.children(map),
            Value::Bool(true) | Value::Null => Vec::new(),
            Value::String(text) if text.is_empty() || text.eq_ignore_ascii_case("true") => {
                Vec::new()
            }
            other => {
                self.flaw(flaws, format!("expected a table, found {}", kind(other)));
                Vec::new()
            }
        }
    }

    /// Sorted, so that messages come in one order whatever map serde_json was built with.
    fn children(&self, map: &'a Map<String, Value>) -> Vec<(&'a str, Self)> {
        let mut children: Vec<_> =
            map.iter().map(|(key, value)| (key.as_str(), self.child(key, value))).collect();
        children.sort_by_key(|(key, _)| *key);
        children
    }

    fn child(&self, key: &str, value: &'a Value) -> Self {
        Self { value, pointer: child(&self.pointer, key) }
    }

    /// The entries of a table whose keys are known, with the canonical spelling of each. A key
    /// that is unknown, or stands there twice, is a flaw.
    pub(super) fn fields(&self, keys: &Keys, flaws: &mut Vec<Flaw>) -> Vec<(&'static str, Self)> {
        let mut fields: Vec<(&'static str, Self)> = Vec::new();
        for (written, value) in self.entries(flaws) {
            let folded = fold(written);
            let is = |key: &&&'static str| fold(key) == folded;
            if let Some(key) = keys.known.iter().find(is) {
                match fields.iter().any(|(taken, _)| taken == key) {
                    true => value.flaw(flaws, format!("`{key}` stands here twice")),
                    false => fields.push((*key, value)),
                }
            } else if keys.foreign.iter().any(|key| fold(key) == folded) {
                value.doubt(flaws, format!("`{written}` is not supported and has no effect"));
            } else {
                let meant = nearest(written, keys.known.iter().copied());
                let hint = meant.map(|meant| format!("did you mean `{meant}`?"));
                value.flaw_with(flaws, format!("unknown key `{written}`"), hint);
            }
        }
        fields
    }

    /// The entries of a table that say something, and whose keys mean nothing.
    pub(super) fn unknown(&self, keys: &Keys) -> Vec<(&'a str, Self)> {
        let Value::Object(table) = self.value else { return Vec::new() };
        let mut unknown = self.children(table);
        unknown.retain(|(written, value)| !value.value.is_null() && !keys.has(written));
        unknown
    }

    /// Those of the known keys that unknown ones seem to mean.
    pub(super) fn misspelt(&self, keys: &Keys) -> Vec<&'static str> {
        let unknown = self.unknown(keys).into_iter();
        unknown.filter_map(|(written, _)| nearest(written, keys.known.iter().copied())).collect()
    }

    pub(super) fn text(&self, flaws: &mut Vec<Flaw>) -> Option<String> {
        match self.value {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            Value::Bool(value) => Some(value.to_string()),
            other => self.wrong(flaws, "text", other),
        }
    }

    pub(super) fn boolean(&self, flaws: &mut Vec<Flaw>) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(*value),
            Value::String(text) if boolean(text).is_some() => boolean(text),
            other => self.wrong(flaws, "`true` or `false`", other),
        }
    }

    /// A whole number between two bounds.
    pub(super) fn integer<N: TryFrom<i64>>(
        &self,
        flaws: &mut Vec<Flaw>,
        expected: &str,
    ) -> Option<N> {
        let number = match self.value {
            Value::Number(number) => number.as_i64(),
            Value::String(text) => text.trim().parse().ok(),
            _ => None,
        };
        match number.and_then(|number| N::try_from(number).ok()) {
            Some(number) => Some(number),
            None => self.wrong(flaws, expected, self.value),
        }
    }

    /// A list of texts: an array, or text with commas (Traefik's rule for tags). A number is one text.
    pub(super) fn list(&self, flaws: &mut Vec<Flaw>) -> Vec<String> {
        match self.value {
            Value::Array(_) => {
                self.elements(flaws).iter().filter_map(|element| element.text(flaws)).collect()
            }
            Value::String(text) => text
                .split(',')
                .map(str::trim)
                .filter(|part| !part.is_empty())
                .map(str::to_owned)
                .collect(),
            Value::Number(number) => vec![number.to_string()],
            other => {
                self.flaw(flaws, format!("expected a list, found {}", kind(other)));
                Vec::new()
            }
        }
    }

    /// The elements of an array.
    pub(super) fn elements(&self, flaws: &mut Vec<Flaw>) -> Vec<Self> {
        let Value::Array(array) = self.value else {
            self.flaw(flaws, format!("expected a list, found {}", kind(self.value)));
            return Vec::new();
        };
        array
            .iter()
            .enumerate()
            .map(|(place, value)| Self { value, pointer: format!("{}/{place}", self.pointer) })
            .collect()
    }

    pub(super) fn flaw(&self, flaws: &mut Vec<Flaw>, message: String) {
        self.flaw_with(flaws, message, None);
    }

    pub(super) fn flaw_with(&self, flaws: &mut Vec<Flaw>, message: String, hint: Option<String>) {
        flaws.push(Flaw {
            severity: Severity::Error,
            pointer: self.pointer.clone(),
            message,
            hint,
        });
    }

    pub(super) fn doubt(&self, flaws: &mut Vec<Flaw>, message: String) {
        self.doubt_with(flaws, message, None);
    }

    /// The same, and what to do about it.
    pub(super) fn doubt_with(&self, flaws: &mut Vec<Flaw>, message: String, hint: Option<String>) {
        let (severity, pointer) = (Severity::Warning, self.pointer.clone());
        flaws.push(Flaw { severity, pointer, message, hint });
    }

    pub(super) fn wrong<T>(
        &self,
        flaws: &mut Vec<Flaw>,
        expected: &str,
        found: &Value,
    ) -> Option<T> {
        self.flaw(flaws, format!("expected {expected}, found {}", kind(found)));
        None
    }
}

/// What a value is, for messages.
fn kind(value: &Value) -> String {
    match value {
        Value::Null => "nothing".to_owned(),
        Value::Bool(value) => format!("`{value}`"),
        Value::Number(number) => format!("`{number}`"),
        Value::String(text) => format!("\"{text}\""),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
    }
}
