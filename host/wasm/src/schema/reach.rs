//! What of a configuration names something outside: `"x-reaches": "http-client"` marks a URL,
//! `"x-reaches": "files"` a path.

use portolan_core::pointer::child;
use serde_json::Value;

use super::canonical::Walk;

/// Something outside that a configuration names.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Reach {
    /// JSON Pointer into the configuration.
    pub(crate) path: String,
    /// The capability that it takes.
    pub(crate) capability: String,
    /// The URL or the path.
    pub(crate) text: String,
}

/// Everything that a configuration names, in canonical spelling, and what holds by default.
pub(super) fn reaches(root: &Value, config: &Value) -> Vec<Reach> {
    let mut found = Vec::new();
    gather(&Walk::new(root), root, config, "", &mut found);
    found
}

fn gather(walk: &Walk<'_>, schema: &Value, value: &Value, path: &str, found: &mut Vec<Reach>) {
    let depth = path.matches('/').count();
    let part = walk.alternative(schema, value, depth);
    match value {
        Value::String(text) if !text.is_empty() => {
            // A reference may stand beside the keyword.
            let word = [schema, part].iter().find_map(|it| it.get(KEYWORD)?.as_str());
            found.extend(word.map(|capability| Reach {
                path: path.to_owned(),
                capability: capability.to_owned(),
                text: text.clone(),
            }));
        }
        Value::Array(items) => {
            let Some(of) = part.get("items") else { return };
            for (place, item) in items.iter().enumerate() {
                gather(walk, of, item, &format!("{path}/{place}"), found);
            }
        }
        Value::Object(fields) => {
            for (name, of) in walk.shape(part, depth).properties {
                if let Some(value) = fields.get(name).or_else(|| of.get("default")) {
                    gather(walk, of, value, &child(path, name), found);
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => (),
    }
}

const KEYWORD: &str = "x-reaches";
