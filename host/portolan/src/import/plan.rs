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
    /// Names that have no address in particular, with all below them.
    pub(super) nulls: BTreeMap<String, Vec<From<String>>>,
    /// Names, or addresses, in the place of a name or, with `*.`, of those below it.
    pub(super) rewrites: BTreeMap<String, Vec<From<String>>>,
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

    /// The same of a line that was noted.
    pub(super) fn leave_again(&mut self, origin: &str, why: &str) {
        let (place, text) = origin.split_once(": ").unwrap_or((origin, ""));
        let why = why.to_owned();
        self.left.push(Left { place: place.to_owned(), text: text.to_owned(), why });
    }

    /// Adds a record.
    pub(super) fn record(
        &mut self,
        line: &Line,
        owner: &str,
        rtype: &'static str,
        data: impl Into<String>,
        ttl: Option<u32>,
    ) {
        let From { origin, .. } = Self::note(line, ());
        self.record_of(origin, owner, rtype, data, ttl);
    }

    /// The same for a line that was noted.
    pub(super) fn record_of(
        &mut self,
        origin: String,
        owner: &str,
        rtype: &'static str,
        data: impl Into<String>,
        ttl: Option<u32>,
    ) {
        let owner = owner.trim_end_matches('.').to_ascii_lowercase();
        let value = Record { owner, rtype, data: data.into(), ttl };
        self.records.push(From { value, origin });
    }

    /// Where the zone begins that a name lies in: a name that answers for all below it, or a suffix
    /// that is never forwarded; `None`: it lies in none.
    pub(super) fn root(&self, owner: &str) -> Option<&str> {
        let is_local =
            |upstreams: &[From<Option<String>>]| upstreams.iter().all(|it| it.value.is_none());
        let local = self.suffixes.iter().filter(|(_, upstreams)| is_local(upstreams));
        let roots = self.wild.iter().chain(local.map(|(suffix, _)| suffix)).map(String::as_str);
        let is_within = |root: &&str| {
            owner.strip_suffix(*root).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        roots.filter(is_within).max_by_key(|root| root.len())
    }
}
