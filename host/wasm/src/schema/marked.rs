//! Texts of a configuration that the schema marks by a keyword: `"x-reaches": "http-client"` a URL and
//! `"x-reaches": "files"` a path that a provider will ask for, `"x-content-of": "file"` a path in whose
//! place a middleware is given what the file holds (`"file-or-pem"`: unless it is no path but PEM itself).

use portolan_core::pointer::child;
use serde_json::{Map, Value};

use super::canonical::Walk;

/// A text that is marked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Marked {
    /// JSON Pointer into the configuration.
    pub(crate) path: String,
    /// What the keyword says of it.
    pub(crate) word: String,
    /// The text; never empty.
    pub(crate) text: String,
}

/// Everything that a keyword marks in a configuration, in canonical spelling, and in what holds by
/// default.
pub(super) fn marked(root: &Value, config: &Value, keyword: &str) -> Vec<Marked> {
    let mut found = Vec::new();
    let search = Search { walk: Walk::new(root), keyword };
    search.gather(root, config, "", &mut found);
    found
}

struct Search<'a> {
    walk: Walk<'a>,
    keyword: &'a str,
}

impl<'a> Search<'a> {
    fn gather(&self, schema: &'a Value, value: &Value, path: &str, found: &mut Vec<Marked>) {
        let depth = path.matches('/').count();
        let part = self.walk.alternative(schema, value, depth);
        match value {
            Value::String(text) if !text.is_empty() => {
                // A reference may stand beside the keyword.
                let word = [schema, part].iter().find_map(|it| it.get(self.keyword)?.as_str());
                found.extend(word.map(|word| Marked {
                    path: path.to_owned(),
                    word: word.to_owned(),
                    text: text.clone(),
                }));
            }
            Value::Array(items) => {
                let Some(of) = part.get("items") else { return };
                for (place, item) in items.iter().enumerate() {
                    self.gather(of, item, &format!("{path}/{place}"), found);
                }
            }
            Value::Object(fields) => {
                let shape = self.walk.shape(part, depth);
                for (name, of) in &shape.properties {
                    if let Some(value) = fields.get(*name).or_else(|| of.get("default")) {
                        self.gather(of, value, &child(path, name), found);
                    }
                }
                let is_other =
                    |name: &&String| shape.properties.iter().all(|(known, _)| known != name);
                for name in fields.keys().filter(is_other) {
                    if let (Some(of), Some(value)) = (shape.others, fields.get(name)) {
                        self.gather(of, value, &child(path, name), found);
                    }
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
        }
    }
}

/// Puts a text at a place, be there something already or not.
pub(super) fn put(config: &mut Value, path: &str, text: &str) {
    let mut place = config;
    for key in path.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        place = match place {
            Value::Array(items) => {
                let item = key.parse().ok().and_then(|item: usize| items.get_mut(item));
                let Some(item) = item else { return };
                item
            }
            Value::Object(fields) => fields.entry(key).or_insert(Value::Null),
            // What holds by default is an object where nothing was written.
            other => {
                *other = Value::Object(Map::new());
                let Value::Object(fields) = other else { return };
                fields.entry(key).or_insert(Value::Null)
            }
        };
    }
    *place = Value::String(text.to_owned());
}
