//! The spelling of Traefik's API: options in camel case. What is no option, such as the name of a
//! header, is as it was written.

use portolan_core::name::camel;
use serde_json::Value;

use super::canonical::Walk;

/// A configuration in canonical spelling, in camel case.
pub(super) fn shown(root: &Value, config: &Value) -> Value {
    spelled(&Walk::new(root), root, config, 0)
}

fn spelled(walk: &Walk<'_>, schema: &Value, value: &Value, depth: usize) -> Value {
    let part = walk.alternative(schema, value, depth);
    match value {
        Value::Array(items) => match part.get("items") {
            Some(of) => items.iter().map(|item| spelled(walk, of, item, depth + 1)).collect(),
            None => value.clone(),
        },
        Value::Object(fields) => {
            let shape = walk.shape(part, depth);
            let field = |(key, value): (&String, &Value)| {
                let known = shape.properties.iter().find(|(name, _)| name == key);
                match (known, shape.others) {
                    (Some((name, of)), _) => (camel(name), spelled(walk, of, value, depth + 1)),
                    (None, Some(of)) => (key.clone(), spelled(walk, of, value, depth + 1)),
                    (None, None) => (key.clone(), value.clone()),
                }
            };
            Value::Object(fields.iter().map(field).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
    }
}
