//! Names, as configuration, catalog and plugins use them.
//!
//! **Invariant:** two spellings of a key or plugin that differ in case and hyphens only are one
//! ([`fold`]); an [`ObjectName`] always knows the provider that it came from.

use std::{fmt, sync::Arc};

/// The name of a router, service or middleware, and the provider that declared it:
/// `grafana@consul`, in Traefik's notation.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ObjectName {
    /// The name alone.
    pub name: Arc<str>,
    /// The provider: `config` for `config.toml`, else the key under `[providers]`.
    pub provider: Arc<str>,
}

impl ObjectName {
    /// Puts the two parts together.
    pub fn new(name: impl Into<Arc<str>>, provider: impl Into<Arc<str>>) -> Self {
        Self { name: name.into(), provider: provider.into() }
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.name, self.provider)
    }
}

/// The form in which keys and plugin names are compared: lower case, without hyphens.
///
/// `stripPrefix`, `stripprefix` and `strip-prefix` are one thing, so that Traefik's tags work
/// unchanged.
pub fn fold(key: &str) -> String {
    key.chars().filter(|c| *c != '-').map(|c| c.to_ascii_lowercase()).collect()
}

/// A key or the name of a plugin as Traefik's API spells it: `stripPrefix` for `strip-prefix`,
/// `excludedIPs` for `excluded-ips`.
pub fn camel(key: &str) -> String {
    let mut words = key.split('-');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut all, word| {
        match word {
            "ips" => return all + "IPs",
            "sts" | "url" | "xss" => return all + &word.to_ascii_uppercase(),
            _ => {}
        }
        let mut letters = word.chars();
        all.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        all + letters.as_str()
    })
}

/// The candidate that was probably meant by `word`, for "did you mean" hints.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = Word::new(word);
    candidates
        .into_iter()
        .filter_map(|candidate| Some((word.distance(candidate)?, candidate)))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// A word that may be a slip of another.
#[derive(Clone, Debug)]
pub(crate) struct Word {
    folded: String,
    length: usize,
    /// How often it has each letter.
    letters: Letters,
}

/// How often a word has each letter, as far as it is ASCII.
type Letters = [i8; 128];

impl Word {
    /// A word as it was written.
    pub(crate) fn new(word: &str) -> Self {
        let folded = fold(word);
        Self { length: folded.chars().count(), letters: letters(&folded), folded }
    }

    /// How many slips lead to a candidate; `None` when they are too many for it to be meant.
    pub(crate) fn distance(&self, candidate: &str) -> Option<usize> {
        let most = 1 + candidate.len() / 4;
        let folded = fold(candidate);
        // Each slip changes the length, and the number of a letter, by one at most: that rules out
        // nearly all of ten thousand candidates, and is found out fast.
        if folded.chars().count().abs_diff(self.length) > most {
            return None;
        }
        if folded.is_ascii() && self.folded.is_ascii() {
            let pairs = self.letters.iter().zip(letters(&folded));
            let (more, fewer) = pairs.fold((0_usize, 0_usize), |(more, fewer), (one, other)| {
                let change = i16::from(*one) - i16::from(other);
                (more + change.max(0) as usize, fewer + (-change).max(0) as usize)
            });
            if more.max(fewer) > most {
                return None;
            }
        }
        let distance = strsim::damerau_levenshtein(&self.folded, &folded);
        (distance <= most).then_some(distance)
    }
}

/// Saturates: the difference is then too small, and rules out less.
fn letters(word: &str) -> Letters {
    let mut letters = [0; 128];
    for byte in word.bytes() {
        if let Some(count) = letters.get_mut(usize::from(byte)) {
            *count = i8::saturating_add(*count, 1);
        }
    }
    letters
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_key_are_one() {
        for key in ["stripPrefix", "stripprefix", "strip-prefix", "STRIP-Prefix"] {
            assert_eq!(fold(key), "stripprefix");
        }
        assert_eq!(ObjectName::new("grafana", "consul").to_string(), "grafana@consul");
    }

    #[test]
    fn keys_are_spelt_as_traefik_spells_them() {
        for (key, spelt) in [
            ("strip-prefix", "stripPrefix"),
            ("users", "users"),
            ("excluded-ips", "excludedIPs"),
            ("force-sts-header", "forceSTSHeader"),
            ("sts-seconds", "stsSeconds"),
            ("custom-browser-xss-value", "customBrowserXSSValue"),
            ("ipv6-subnet", "ipv6Subnet"),
        ] {
            assert_eq!(camel(key), spelt);
        }
    }

    #[test]
    fn a_slip_is_recognised_and_another_word_is_not() {
        let known = ["headers", "strip-prefix", "add-prefix", "whoami"];
        for (word, meant) in [
            ("header", Some("headers")),
            ("haeders", Some("headers")),
            ("StripPrefx", Some("strip-prefix")),
            ("whoam", Some("whoami")),
            ("rate-limit", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, known), meant, "{word}");
        }
    }
}
