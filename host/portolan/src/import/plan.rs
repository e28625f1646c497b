//! What the lines add up to.

use std::collections::BTreeMap;

use super::lines::Line;

/// A value, and the line that it comes from.
#[derive(Clone, Debug)]
pub(super) struct From<T> {
    pub(super) value: T,
    pub(super) origin: String,
}

/// A line that could not be taken as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Left {
    pub(super) place: String,
    pub(super) text: String,
    /// What it means that it was left, and what to do.
    pub(super) why: String,
}

/// A static record; its owner is whole.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) owner: String,
    pub(super) rtype: &'static str,
    pub(super) data: String,
    pub(super) ttl: Option<u32>,
}

/// What the lines add up to.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) listen: Vec<From<String>>,
    pub(super) port: Option<From<u16>>,
    pub(super) upstreams: Vec<From<String>>,
    pub(super) no_resolv: Option<From<()>>,
    /// Upstreams by suffix; empty: never forwarded.
    pub(super) suffixes: BTreeMap<String, Vec<From<Option<String>>>>,
    /// Keys of `[dns]` and of the tables below it, as TOML: table, key, value.
    pub(super) keys: Vec<(&'static str, &'static str, From<String>)>,
    pub(super) hosts: Vec<From<String>>,
    pub(super) no_hosts: bool,
    pub(super) exempt: Vec<From<String>>,
    pub(super) records: Vec<From<Record>>,
    /// Names that answer for all below them too.
    pub(super) wild: Vec<String>,
    pub(super) domain: Option<From<String>>,
    pub(super) expands: bool,
    pub(super) left: Vec<Left>,
}

impl Plan {
    /// Keeps a value with its line.
    pub(super) fn note<T>(line: &Line, value: T) -> From<T> {
        From { value, origin: format!("{}: {}", line.place, line.text) }
    }

    /// Sets a key of a table; the last line counts, as with dnsmasq.
    pub(super) fn set(
        &mut self,
        line: &Line,
        table: &'static str,
        key: &'static str,
        value: impl ToString,
    ) {
        self.keys.retain(|(other, known, _)| (*other, *known) != (table, key));
        self.keys.push((table, key, Self::note(line, value.to_string())));
    }

    /// Sets a key that no line sets to what dnsmasq does by itself.
    pub(super) fn set_by_default(&mut self, table: &'static str, key: &'static str, value: &str) {
        if !self.keys.iter().any(|(other, known, _)| (*other, *known) == (table, key)) {
            let origin = format!("what dnsmasq does without `{key}`");
            self.keys.push((table, key, From { value: value.to_owned(), origin }));
        }
    }

    /// Tells that a line was not taken as it is.
    pub(super) fn leave(&mut self, line: &Line, why: impl Into<String>) {
        let Line { place, text, .. } = line;
        self.left.push(Left { place: place.clone(), text: text.clone(), why: why.into() });
    }

    /// Adds a record.
    pub(super) fn record(
        &mut self,
        line: &Line,
        owner: &str,
        rtype: &'static str,
        data: impl Into<String>,
    ) {
        let owner = owner.trim_end_matches('.').to_ascii_lowercase();
        let record = Record { owner, rtype, data: data.into(), ttl: None };
        self.records.push(Self::note(line, record));
    }
}
