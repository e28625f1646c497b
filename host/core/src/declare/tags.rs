//! Tags to a tree: `http.routers.grafana.rule = …` is one leaf of the schema.
//!
//! Map keys keep the spelling that came first and compare without case, as in Traefik. A part in
//! brackets is a place in a list: `servers[0].url`.

use std::{borrow::Cow, collections::HashMap};

use serde_json::{Map, Value};

use super::Flaw;
use crate::{item::Declaration, name::fold, pointer::child, problem::Severity};

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
    /// The tag that declares what stands at a pointer. Where several declare something in it, it is
    /// what they have in common; `None` when no tag does.
    pub fn origin(&self, pointer: &str) -> Option<Cow<'_, str>> {
        let spelt_otherwise = || {
            let folded = fold(pointer);
            self.origins.iter().find(|(place, _)| fold(place) == folded).map(|(_, origin)| origin)
        };
        if let Some(origin) = self.origins.get(pointer).or_else(spelt_otherwise) {
            return Some(Cow::Borrowed(origin));
        }
        let inside = format!("{pointer}/");
        let mut within = self.origins.iter().filter(|(place, _)| place.starts_with(&inside));
        let first = within.next()?;
        let mut is_one = true;
        let (place, origin) = within.fold(first, |first, next| {
            is_one = false;
            first.min(next)
        });
        let below = place.get(inside.len()..).unwrap_or_default();
        let common = (!is_one).then(|| without(origin, below)).flatten();
        Some(Cow::Borrowed(common.unwrap_or(origin)))
    }
}

/// A tag without what leads from a place to what is below it. `None`: it is not written so.
fn without<'a>(tag: &'a str, below: &str) -> Option<&'a str> {
    below.rsplit('/').try_fold(tag, |tag, step| {
        let cut = tag.trim_end_matches(']').rfind(['.', '['])?;
        let (rest, last) = tag.split_at_checked(cut)?;
        let last = last.trim_matches(['.', '[', ']']);
        last.eq_ignore_ascii_case(&step.replace("~1", "/").replace("~0", "~")).then_some(rest)
    })
}

/// Puts the declarations of an instance together.
pub fn tree(declarations: &[Declaration]) -> Tree {
    let mut tree = Tree { http: Value::Object(Map::new()), ..Tree::default() };
    let mut root = Value::Object(Map::new());
    for declaration in declarations {
        let steps = match steps(&declaration.path) {
            Ok(steps) => steps,
            Err(message) => {
                tree.reject(declaration, wrong(message));
                continue;
            }
        };
        match insert(&mut root, &steps, &declaration.value) {
            Ok(pointer) => {
                tree.origins.insert(pointer, declaration.origin.clone());
            }
            Err(flaw) => tree.reject(declaration, flaw),
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
    fn reject(&mut self, declaration: &Declaration, flaw: Flaw) {
        self.flaws.push((declaration.origin.clone(), flaw));
    }
}

fn wrong(message: impl Into<String>) -> Flaw {
    let (pointer, message) = (String::new(), message.into());
    Flaw { severity: Severity::Error, pointer, message, hint: None }
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
fn insert(root: &mut Value, steps: &[Part<'_>], value: &str) -> Result<String, Flaw> {
    let (mut here, mut pointer, mut is_switch) = (root, String::new(), false);
    for (depth, step) in steps.iter().enumerate() {
        if is_switch && is_off(here) {
            return Err(idle("this has no effect: another tag switches off what is around it"));
        }
        here = match step {
            Part::Key(key) => {
                let map = table(here)?;
                let known = map.keys().find(|known| known.eq_ignore_ascii_case(key)).cloned();
                let key = known.unwrap_or_else(|| (*key).to_owned());
                if depth > 0 {
                    pointer = child(&pointer, &key);
                }
                is_switch = SWITCHES.contains(&fold(&key).as_str());
                map.entry(key).or_insert(Value::Null)
            }
            Part::Place(place) => {
                pointer = format!("{pointer}/{place}");
                let list = list(here)?;
                if list.len() <= *place {
                    list.resize(place + 1, Value::Null);
                }
                is_switch = false;
                list.get_mut(*place).ok_or_else(|| wrong("the list ends before that place"))?
            }
        };
    }
    let is_table = matches!(here, Value::Object(map) if !map.is_empty());
    // In whichever order the tags come.
    if is_table && is_empty(value) {
        return Ok(pointer);
    }
    if is_table && !is_switch {
        return Err(wrong("another tag declares something inside of this"));
    }
    // The last of equal tags wins, as in Traefik.
    *here = Value::String(value.to_owned());
    match is_table {
        true => Err(idle("this switches off what other tags declare inside of it")),
        false => Ok(pointer),
    }
}

/// Tables that a tag may switch on with `true`, and off with any other word (Traefik's "allow empty").
const SWITCHES: [&str; 3] = ["tls", "sticky", "cookie"];

/// A word in the place of a table that is nothing but an empty one.
fn is_empty(word: &str) -> bool {
    word.is_empty() || word.eq_ignore_ascii_case("true")
}

fn is_off(value: &Value) -> bool {
    matches!(value, Value::String(word) if !is_empty(word))
}

/// A tag that is no error, but of no use.
fn idle(message: &str) -> Flaw {
    Flaw { severity: Severity::Warning, ..wrong(message) }
}

/// A leaf that says `true` gives way to a table: `tls=true` beside `tls.options=…`.
fn table(value: &mut Value) -> Result<&mut Map<String, Value>, Flaw> {
    let gives_way = match value {
        Value::Null => true,
        Value::String(word) => is_empty(word),
        _ => false,
    };
    if gives_way {
        *value = Value::Object(Map::new());
    }
    match value {
        Value::Object(map) => Ok(map),
        _ => Err(wrong("another tag gives the table around this a value")),
    }
}

fn list(value: &mut Value) -> Result<&mut Vec<Value>, Flaw> {
    if value.is_null() {
        *value = Value::Array(Vec::new());
    }
    match value {
        Value::Array(list) => Ok(list),
        _ => Err(wrong("another tag gives the list around this a value")),
    }
}
