//! What a router says in a place where nobody looks: a key with a slip, a word too many, a name with
//! dots in it. If it may be about who is let through, the router must not go on without it.

use serde_json::Value;

use super::{
    Flaw,
    reader::{Keys, Reader},
};
use crate::name::{fold, nearest};

/// The keys of a router that say who is let through, besides its rule.
pub(super) const PROTECTING: [&str; 5] =
    ["middlewares", "entrypoints", "tls", "rule-syntax", "parent-refs"];

/// Whether a router says something of who is let through that is not read.
pub(super) fn is_doubtful(reader: &Reader<'_>, keys: &Keys) -> bool {
    let Value::Object(table) = reader.value else { return false };
    // A key with a slip, or what a word too many leads to, whatever stands there.
    let is_lost = |(written, below): &(&str, Reader<'_>)| {
        let meant = nearest(written, keys.known.iter().copied());
        is_table(below.value) || meant.is_some_and(|meant| meant == "rule" || protects(meant))
    };
    // What is read of `service` or `timeouts` is not about who is let through, nor is it lost.
    let is_within_another = |(written, value): (&String, &Value)| !protects(written) && says(value);
    let is_twice = |key: &&str| {
        let spellings = table.keys().filter(|written| fold(written) == fold(key));
        (*key == "rule" || protects(key)) && spellings.count() > 1
    };
    reader.unknown(keys).iter().any(is_lost)
        || table.iter().any(is_within_another)
        || keys.known.iter().any(is_twice)
}

fn protects(key: &str) -> bool {
    PROTECTING.iter().any(|known| fold(known) == fold(key))
}

fn is_table(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Array(_))
}

/// Whether a key that says who is let through stands anywhere in it.
fn says(value: &Value) -> bool {
    match value {
        Value::Object(table) => table
            .iter()
            .any(|(key, below)| key == "rule" || nearest(key, PROTECTING).is_some() || says(below)),
        Value::Array(list) => list.iter().any(says),
        _ => false,
    }
}

/// Adds to the flaws of unknown keys what is lost with them, and what was probably meant: whoever
/// gives a router a name with dots in it has made tables of its parts.
pub(super) fn explain(name: &str, reader: &Reader<'_>, keys: &Keys, flaws: &mut [Flaw]) {
    for (written, below) in reader.unknown(keys) {
        let flaw = flaws.iter_mut().find(|flaw| flaw.pointer == below.pointer);
        let (Some(flaw), true) = (flaw, is_table(below.value)) else { continue };
        let mut lost = Vec::new();
        paths(below.value, written, &mut lost);
        let shown: Vec<_> = lost.iter().take(SHOWN).map(|path| format!("`{path}`")).collect();
        let more = match lost.len().saturating_sub(SHOWN) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        flaw.message =
            format!("{}, with which this is lost: {}{more}", flaw.message, shown.join(", "));
        // The words before the one that a router has.
        let rest_of_name = lost.iter().find_map(|path| {
            let words: Vec<_> = path.split('.').collect();
            let place = words.iter().position(|word| keys.has(word))?;
            Some(words.get(..place)?.join("-"))
        });
        if let Some(rest) = rest_of_name {
            flaw.hint = Some(format!("names have no dots: write `{name}-{rest}`"));
        }
    }
}

/// So many are named of those that are lost.
const SHOWN: usize = 4;

/// The paths of all that stands in a table.
fn paths(value: &Value, path: &str, all: &mut Vec<String>) {
    let Value::Object(table) = value else { return all.push(path.to_owned()) };
    let mut keys: Vec<_> = table.iter().collect();
    keys.sort_by_key(|(key, _)| *key);
    for (key, below) in keys {
        paths(below, &format!("{path}.{key}"), all);
    }
}
