//! The canonical spelling of a configuration: keys as the schema has them, text turned into the
//! types that the schema asks for, numbers and booleans into text where it asks for that. A key with
//! nothing behind it is left out.
//!
//! Only what is certain is changed. What does not fit is left as it is, for the validator to
//! judge.

use portolan_core::{
    declare::boolean,
    name::{fold, nearest},
    pointer::child,
    port::FieldError,
};
use serde_json::{Map, Number, Value};

/// The configuration in canonical spelling, and the keys that are wrong.
pub(super) fn canonical(root: &Value, config: &Value) -> (Value, Vec<FieldError>) {
    let mut walk = Walk::new(root);
    let value = walk.value(root, config, "", 0);
    (value, walk.errors)
}

/// A walk through a schema and a value at once.
pub(super) struct Walk<'a> {
    root: &'a Value,
    errors: Vec<FieldError>,
}

/// What a schema says of objects.
pub(super) struct Shape<'a> {
    pub(super) properties: Vec<(&'a str, &'a Value)>,
    /// The schema of keys that are not named; `None`: there are no others.
    pub(super) others: Option<&'a Value>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(root: &'a Value) -> Self {
        Self { root, errors: Vec::new() }
    }

    fn value(&mut self, schema: &'a Value, value: &Value, path: &str, depth: usize) -> Value {
        if depth > MAX_DEPTH {
            return value.clone();
        }
        let schema = self.alternative(schema, value, depth);
        let value = coerce(&self.types(schema, depth), value);
        match value {
            Value::Object(fields) => Value::Object(self.object(schema, fields, path, depth)),
            Value::Array(items) => self.array(schema, &items, path, depth),
            scalar => scalar,
        }
    }

    fn array(&mut self, schema: &'a Value, items: &[Value], path: &str, depth: usize) -> Value {
        let of = schema.get("items").unwrap_or(&ANY);
        let each = items.iter().enumerate();
        each.map(|(place, item)| self.value(of, item, &format!("{path}/{place}"), depth + 1))
            .collect()
    }

    fn object(
        &mut self,
        schema: &'a Value,
        fields: Map<String, Value>,
        path: &str,
        depth: usize,
    ) -> Map<String, Value> {
        let shape = self.shape(schema, depth);
        let mut known = Map::new();
        for (key, value) in fields {
            let place = child(path, &key);
            let (name, of) = match (shape.property(&key), shape.others) {
                (Some(found), _) => found,
                (None, Some(of)) => (key.as_str(), of),
                (None, None) if value.is_null() => continue,
                (None, None) => {
                    self.errors.push(unknown(&shape, &key, place));
                    continue;
                }
            };
            if value.is_null() && !self.takes_nothing(of, depth + 1) {
                continue;
            }
            let value = self.value(of, &value, &place, depth + 1);
            if known.insert(name.to_owned(), value).is_some() {
                self.errors.push(FieldError {
                    path: place,
                    message: format!("`{name}` is given twice, in two spellings"),
                    hint: None,
                });
            }
        }
        known
    }

    /// Whether `null` is a value as any other. Where it is not, a key with nothing behind it says
    /// nothing, as in Traefik: what stood below it is commented out.
    fn takes_nothing(&self, schema: &'a Value, depth: usize) -> bool {
        let types = self.types(schema, depth);
        types.is_empty() || types.contains(&"null")
    }

    /// The part of a schema that is meant for a value: references followed, `null` set aside, and
    /// of several the first that takes the kind of value.
    pub(super) fn alternative(&self, schema: &'a Value, value: &Value, depth: usize) -> &'a Value {
        let schema = self.resolve(schema);
        let Some(branches) = ["anyOf", "oneOf"]
            .iter()
            .find_map(|word| schema.get(word).and_then(Value::as_array))
            .filter(|_| depth < MAX_DEPTH)
        else {
            return schema;
        };
        let is_null = |branch: &&'a Value| self.types(branch, depth + 1) == ["null"];
        let branches: Vec<&Value> =
            branches.iter().map(|branch| self.alternative(branch, value, depth + 1)).collect();
        let fits = |branch: &&&Value| {
            let types = self.types(branch, depth + 1);
            let coerced = coerce(&types, value);
            types.is_empty() || types.iter().any(|word| is_of(word, &coerced))
        };
        let (nulls, named): (Vec<&Value>, Vec<&Value>) = branches.into_iter().partition(is_null);
        if let (Value::Null, Some(null)) = (value, nulls.first()) {
            return null;
        }
        named.iter().find(fits).or_else(|| named.first()).copied().unwrap_or(schema)
    }

    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let mut schema = schema;
        for _ in 0..MAX_DEPTH {
            let target = match (schema.get("$ref"), schema.get("allOf")) {
                (Some(Value::String(reference)), _) => {
                    reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer))
                }
                // A description beside a reference is often written as a list of one.
                (_, Some(Value::Array(parts))) if schema.get("properties").is_none() => {
                    match parts.as_slice() {
                        [only] => Some(only),
                        _ => None,
                    }
                }
                _ => None,
            };
            match target {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }

    /// The types that a schema takes, by its own words or by what it speaks of. Empty: any.
    fn types(&self, schema: &'a Value, depth: usize) -> Vec<&'a str> {
        let schema = self.resolve(schema);
        match schema.get("type") {
            Some(Value::String(word)) => return vec![word],
            Some(Value::Array(words)) => return words.iter().filter_map(Value::as_str).collect(),
            _ => (),
        }
        if schema.get("properties").is_some() || schema.get("additionalProperties").is_some() {
            return vec!["object"];
        }
        if schema.get("items").is_some() {
            return vec!["array"];
        }
        let constants = schema.get("enum").and_then(Value::as_array);
        if let Some(constants) = constants {
            return constants.iter().map(type_of).collect();
        }
        if let Some(constant) = schema.get("const") {
            return vec![type_of(constant)];
        }
        let branches = ["anyOf", "oneOf"].iter().find_map(|word| schema.get(word)?.as_array());
        match branches {
            Some(branches) if depth < MAX_DEPTH => {
                branches.iter().flat_map(|branch| self.types(branch, depth + 1)).collect()
            }
            _ => Vec::new(),
        }
    }

    /// The properties of a schema and of all its parts.
    pub(super) fn shape(&self, schema: &'a Value, depth: usize) -> Shape<'a> {
        let schema = self.resolve(schema);
        let named = schema.get("properties").and_then(Value::as_object);
        let mut shape = Shape {
            properties: named.into_iter().flatten().map(|(name, of)| (name.as_str(), of)).collect(),
            others: match schema.get("additionalProperties") {
                Some(Value::Bool(false)) => None,
                Some(of) => Some(of),
                // An object of which something is known is known: a slip of the pen must not
                // pass for a key that happens to be ignored.
                None if named.is_some() || schema.get("patternProperties").is_some() => None,
                None => Some(&ANY),
            },
        };
        if schema.get("patternProperties").is_some() {
            shape.others = Some(&ANY);
        }
        let parts = schema.get("allOf").and_then(Value::as_array).filter(|_| depth < MAX_DEPTH);
        for part in parts.into_iter().flatten() {
            let part = self.shape(part, depth + 1);
            shape.properties.extend(part.properties);
            if named.is_none() {
                shape.others = part.others;
            }
        }
        shape
    }
}

impl<'a> Shape<'a> {
    /// The property of that name, in any spelling; the exact one first.
    fn property(&self, key: &str) -> Option<(&'a str, &'a Value)> {
        let exact = self.properties.iter().find(|(name, _)| *name == key);
        let folded = || {
            let key = fold(key);
            self.properties.iter().find(|(name, _)| fold(name) == key)
        };
        exact.or_else(folded).copied()
    }
}

fn unknown(shape: &Shape<'_>, key: &str, path: String) -> FieldError {
    let names = shape.properties.iter().map(|(name, _)| *name);
    let hint = match nearest(key, names.clone()) {
        Some(name) => Some(format!("did you mean `{name}`?")),
        None if shape.properties.is_empty() => Some("it has no options".to_owned()),
        None => Some(format!(
            "known are {}",
            names.map(|it| format!("`{it}`")).collect::<Vec<_>>().join(", ")
        )),
    };
    FieldError { path, message: format!("unknown option `{}`", key.escape_debug()), hint }
}

/// Turns a value into one of these types if that is certain.
fn coerce(types: &[&str], value: &Value) -> Value {
    if types.is_empty() || types.iter().any(|word| is_of(word, value)) {
        return value.clone();
    }
    let has = |word: &str| types.contains(&word);
    let coerced = match value {
        Value::String(text) => from_text(types, text),
        // `whoami:` in YAML, and Traefik's `compress=true`.
        Value::Null | Value::Bool(true) if has("object") => Some(Value::Object(Map::new())),
        Value::Null => None,
        single if has("array") => Some(Value::Array(vec![single.clone()])),
        // `X-Forwarded-Port: 443` in YAML, which is text in a tag.
        Value::Number(number) if has("string") => Some(Value::String(number.to_string())),
        Value::Bool(value) if has("string") => Some(Value::String(value.to_string())),
        _ => None,
    };
    coerced.unwrap_or_else(|| value.clone())
}

fn from_text(types: &[&str], text: &str) -> Option<Value> {
    let word = text.trim();
    let typed = |name: &&str| match *name {
        "integer" => integer(word),
        "number" => integer(word).or_else(|| word.parse().ok().and_then(Number::from_f64)),
        _ => None,
    };
    if let Some(number) = types.iter().find_map(typed) {
        return Some(Value::Number(number));
    }
    let has = |name: &str| types.contains(&name);
    if let Some(yes) = boolean(word).filter(|_| has("boolean")) {
        return Some(Value::Bool(yes));
    }
    if has("object") && (word.is_empty() || word.eq_ignore_ascii_case("true")) {
        return Some(Value::Object(Map::new()));
    }
    has("array").then(|| list(word))
}

/// Traefik's rule for labels: separated by commas, trimmed.
fn list(text: &str) -> Value {
    let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
    items.map(|item| Value::String(item.to_owned())).collect()
}

fn integer(word: &str) -> Option<Number> {
    let signed = word.parse::<i64>().ok().map(Number::from);
    signed.or_else(|| word.parse::<u64>().ok().map(Number::from))
}

fn is_of(word: &str, value: &Value) -> bool {
    match (word, value) {
        ("number", Value::Number(_)) => true,
        ("integer", Value::Number(number)) => {
            !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0)
        }
        (word, value) => word == type_of(value),
    }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Takes everything.
const ANY: Value = Value::Bool(true);

/// References can make a circle, and so can the values that use them.
const MAX_DEPTH: usize = 32;
