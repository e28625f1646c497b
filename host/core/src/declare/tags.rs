//! Tags to a tree: `http.routers.grafana.rule = …` is one leaf of the schema.
//!
//! Map keys keep the spelling that came first and compare without case, as in Traefik. A part in
//! brackets is a place in a list: `servers[0].url`.

use std::collections::HashMap;

use serde_json::{Map, Value};

use super::Flaw;
use crate::{item::Declaration, pointer::child, problem::Severity};

/// What the tags of an instance declare, as one tree, and which tag each part comes from.
#[derive(Clone, Debug, Default)]
pub struct Tree {
    /// The value of `http`.
    pub http: Value,
    /// Tags by the JSON Pointer of what they declare.
    origins: HashMap<String, String>,
    /// Tags that do not fit into the tree.
    pub flaws: Vec<(String, Flaw)>,
}

impl Tree {
    /// The tag that declares what stands at a pointer, or something in it; `None` when no tag
    /// does.
    pub fn origin(&self, pointer: &str) -> Option<&str> {
        if let Some(origin) = self.origins.get(pointer) {
            return Some(origin);
        }
        let inside = format!("{pointer}/");
        let mut within: Vec<_> =
            self.origins.iter().filter(|(place, _)| place.starts_with(&inside)).collect();
        within.sort();
        within.first().map(|(_, origin)| origin.as_str())
    }
}

/// Puts the declarations of an instance together.
pub fn tree(declarations: &[Declaration]) -> Tree {
    let mut tree = Tree { http: Value::Object(Map::new()), ..Tree::default() };
    let mut root = Value::Object(Map::new());
    for declaration in declarations {
        let steps = match steps(&declaration.path) {
            Ok(steps) => steps,
            Err(message) => {
                tree.reject(declaration, message);
                continue;
            }
        };
        match insert(&mut root, &steps, &declaration.value) {
            Ok(pointer) => {
                tree.origins.insert(pointer, declaration.origin.clone());
            }
            Err(message) => tree.reject(declaration, message),
        }
    }
    if let Value::Object(mut map) = root
        && let Some(http) = map.remove("http")
    {
        tree.http = http;
    }
    tree
}

impl Tree {
    fn reject(&mut self, declaration: &Declaration, message: String) {
        let flaw = Flaw { severity: Severity::Error, pointer: String::new(), message, hint: None };
        self.flaws.push((declaration.origin.clone(), flaw));
    }
}

/// One step of a path: into a table, or to a place in a list.
#[derive(Debug)]
enum Part<'a> {
    Key(&'a str),
    Place(usize),
}

/// A list in tags is short; a place beyond this is a slip of the hand.
const MAX_PLACE: usize = 255;
/// The schema is not deep, and a tree without a bound could not be walked safely.
const MAX_STEPS: usize = 32;

fn steps(path: &str) -> Result<Vec<Part<'_>>, String> {
    let mut steps = Vec::new();
    for part in path.split('.') {
        if steps.len() >= MAX_STEPS {
            return Err(format!("the tag has more than {MAX_STEPS} parts"));
        }
        let (key, places) = part.split_once('[').unwrap_or((part, ""));
        if key.is_empty() {
            return Err("the tag has two dots in a row, or ends with one".to_owned());
        }
        // Only the first step is ours; its case does not matter.
        let first = steps.is_empty() && key.eq_ignore_ascii_case("http");
        steps.push(Part::Key(if first { "http" } else { key }));
        for place in places.split_terminator('[') {
            let number = place.strip_suffix(']').and_then(|place| place.parse().ok());
            match number.filter(|number| *number <= MAX_PLACE) {
                Some(number) => steps.push(Part::Place(number)),
                None => return Err(format!("`[{place}` is not a place in a list")),
            }
        }
    }
    Ok(steps)
}

/// Puts a leaf into the tree; answers its pointer below `http`.
fn insert(root: &mut Value, steps: &[Part<'_>], value: &str) -> Result<String, String> {
    let (mut here, mut pointer) = (root, String::new());
    for (depth, step) in steps.iter().enumerate() {
        here = match step {
            Part::Key(key) => {
                let map = table(here)?;
                let known = map.keys().find(|known| known.eq_ignore_ascii_case(key)).cloned();
                let key = known.unwrap_or_else(|| (*key).to_owned());
                if depth > 0 {
                    pointer = child(&pointer, &key);
                }
                map.entry(key).or_insert(Value::Null)
            }
            Part::Place(place) => {
                pointer = format!("{pointer}/{place}");
                let list = list(here)?;
                if list.len() <= *place {
                    list.resize(place + 1, Value::Null);
                }
                list.get_mut(*place).ok_or("the list ends before that place")?
            }
        };
    }
    match here {
        // In whichever order the tags come.
        Value::Object(map) if !map.is_empty() && value.eq_ignore_ascii_case("true") => Ok(pointer),
        Value::Object(map) if !map.is_empty() => {
            Err("another tag declares something inside of this".to_owned())
        }
        // The last of equal tags wins, as in Traefik.
        leaf => {
            *leaf = Value::String(value.to_owned());
            Ok(pointer)
        }
    }
}

/// A leaf that says `true` gives way to a table: `tls=true` beside `tls.options=…`.
fn table(value: &mut Value) -> Result<&mut Map<String, Value>, String> {
    let gives_way = match value {
        Value::Null => true,
        Value::String(text) => text.eq_ignore_ascii_case("true"),
        _ => false,
    };
    if gives_way {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => Ok(map),
        _ => Err("another tag gives the table around this a value".to_owned()),
    }
}

fn list(value: &mut Value) -> Result<&mut Vec<Value>, String> {
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(list) => Ok(list),
        _ => Err("another tag gives the list around this a value".to_owned()),
    }
}
