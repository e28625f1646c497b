//! Lists of names that are not to be had.
//!
//! A name is kept as eight bytes, a hash under a key of its own for each process: a million names
//! take eight megabytes. Two names that hash alike would both be blocked; among a million names the
//! chance that any given other name is one of them is about 1 in 10^13, and nobody outside can
//! choose one, since nobody knows the key.

use std::{
    hash::{BuildHasher as _, RandomState},
    net::IpAddr,
    sync::OnceLock,
};

use portolan_core::zone::{Name, parent};

/// Names that are blocked.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct BlockList {
    /// Names alone, sorted.
    names: Box<[u64]>,
    /// Names and all below them, sorted.
    suffixes: Box<[u64]>,
    /// Names that are not blocked, nor those below them, sorted.
    excepted: Box<[u64]>,
}

/// What a line of a list says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listed {
    /// These names are blocked.
    Names(Vec<Name>),
    /// This name and all below it.
    Suffix(Name),
    /// This name and all below it are not, whatever other lines say.
    Except(Name),
    /// Nothing: it is empty, a comment, or about what is no name.
    Nothing,
}

impl BlockList {
    /// Gathers the lines of all lists.
    pub fn build(lines: impl IntoIterator<Item = Listed>) -> Self {
        let (mut names, mut suffixes, mut excepted) = (Vec::new(), Vec::new(), Vec::new());
        for line in lines {
            match line {
                Listed::Names(all) => names.extend(all.iter().map(|it| hash(it.as_bytes()))),
                Listed::Suffix(name) => suffixes.push(hash(name.as_bytes())),
                Listed::Except(name) => excepted.push(hash(name.as_bytes())),
                Listed::Nothing => (),
            }
        }
        for all in [&mut names, &mut suffixes, &mut excepted] {
            all.sort_unstable();
            all.dedup();
        }
        Self { names: names.into(), suffixes: suffixes.into(), excepted: excepted.into() }
    }

    /// What several lists say together.
    pub fn merge<'a>(lists: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let gather = |part: fn(&Self) -> &[u64]| {
            let mut all: Vec<u64> = lists.clone().flat_map(part).copied().collect();
            all.sort_unstable();
            all.dedup();
            all.into()
        };
        Self {
            names: gather(|list| &list.names),
            suffixes: gather(|list| &list.suffixes),
            excepted: gather(|list| &list.excepted),
        }
    }

    /// How many names and suffixes there are.
    pub fn len(&self) -> usize {
        self.names.len() + self.suffixes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a name in lower case is blocked.
    pub(in crate::dns) fn holds(&self, name: &[u8]) -> bool {
        if self.is_empty() {
            return false;
        }
        let is_below = |suffixes: &[u64]| {
            let mut above = std::iter::successors(Some(name), |name| parent(name));
            !suffixes.is_empty() && above.any(|it| suffixes.binary_search(&hash(it)).is_ok())
        };
        let is_listed = self.names.binary_search(&hash(name)).is_ok() || is_below(&self.suffixes);
        is_listed && !is_below(&self.excepted)
    }
}

impl Listed {
    /// Reads a line: of a hosts file (`0.0.0.0 a.example b.example`: these names alone), a domain
    /// (`a.example`, `*.a.example`: it and all below it), or a filter (`||a.example^`, `@@||…^`:
    /// the same, and the opposite). Other filters are about pages, not names: nothing.
    ///
    /// # Errors
    /// What in the line is no name.
    pub fn parse(line: &str) -> Result<Self, String> {
        let text = line.split('#').next().unwrap_or_default().trim();
        if text.is_empty() || text.starts_with('!') || text.starts_with('[') {
            return Ok(Self::Nothing);
        }
        if let Some(filter) = text.strip_prefix("@@||") {
            return Ok(filtered(filter).map_or(Self::Nothing, Self::Except));
        }
        if let Some(filter) = text.strip_prefix("||") {
            return Ok(filtered(filter).map_or(Self::Nothing, Self::Suffix));
        }
        let mut words = text.split_whitespace();
        let first = words.next().unwrap_or_default();
        if first.parse::<IpAddr>().is_ok() {
            // The names that every such file has for the machine itself.
            let own = ["localhost", "localhost.localdomain", "local", "broadcasthost", "0.0.0.0"];
            let names = words.filter(|word| !own.contains(word)).map(name);
            return Ok(Self::Names(names.collect::<Result<_, _>>()?));
        }
        match words.next() {
            None => name(first.strip_prefix("*.").unwrap_or(first)).map(Self::Suffix),
            Some(_) => Err(text.to_owned()),
        }
    }
}

fn filtered(filter: &str) -> Option<Name> {
    let (domain, rest) = filter.split_once('^')?;
    // Options and paths are about some requests, not about the name.
    rest.is_empty().then(|| name(domain).ok()).flatten()
}

fn name(text: &str) -> Result<Name, String> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte));
    let name = Name::parse(text).ok().filter(|_| is_plain);
    name.map(|name| name.to_lower()).ok_or_else(|| text.to_owned())
}

fn hash(name: &[u8]) -> u64 {
    static KEY: OnceLock<RandomState> = OnceLock::new();
    KEY.get_or_init(RandomState::new).hash_one(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(list: &BlockList, text: &str) -> bool {
        list.holds(Name::parse(text).unwrap().to_lower().as_bytes())
    }

    #[test]
    fn lines_of_every_form_are_read() {
        let lines = [
            "# a comment",
            "0.0.0.0 ads.example track.example # two",
            "127.0.0.1 localhost",
            "Metrics.Example",
            "*.wild.example",
            "||banner.example^",
            "||page.example^$third-party",
            "@@||good.metrics.example^",
            "! filters",
            "",
        ];
        let list = BlockList::build(lines.map(|line| Listed::parse(line).unwrap()));
        assert_eq!(list.len(), 5);
        for (name, expected) in [
            ("ads.example", true),
            ("www.ads.example", false),
            ("ADS.example", true),
            ("metrics.example", true),
            ("a.b.metrics.example", true),
            ("wild.example", true),
            ("good.metrics.example", false),
            ("very.good.metrics.example", false),
            ("x.banner.example", true),
            ("page.example", false),
            ("localhost", false),
            ("example", false),
        ] {
            assert_eq!(holds(&list, name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_no_name_is_told() {
        for line in ["0.0.0.0 a..b", "what is this", "http://x/", "a..b"] {
            assert!(Listed::parse(line).is_err(), "{line}");
        }
    }
}
