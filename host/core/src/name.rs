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

/// The candidate that was probably meant by `word`, for "did you mean" hints.
pub fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = fold(word);
    candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&word, &fold(candidate)), candidate))
        .filter(|(distance, candidate)| *distance <= 1 + candidate.len() / 4)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
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
