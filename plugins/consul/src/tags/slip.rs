//! Words in tags that are slips of the hand, and what was probably meant.

use crate::fault::{distance, fold, nearest};

/// `, did you mean …?` for a first word that nobody knows.
pub(super) fn meant(first: &str) -> String {
    let parts = ["routers", "services", "middlewares", "serversTransports"];
    let known = ["http", "enable", "consulcatalog"];
    let part = parts.into_iter().find(|part| fold(part) == fold(first));
    let part = part.map(|part| format!("http.{part}"));
    let meant = part.or_else(|| nearest(first, known.into_iter()).map(str::to_owned));
    meant.map(|meant| format!(", did you mean `{meant}`?")).unwrap_or_default()
}

/// Whether a path is `enable`, or a slip of it.
pub(super) fn is_enable(path: &str) -> bool {
    nearest(path, ["enable"].into_iter()).is_some()
}

/// Whether a word behind the name of a router may have been meant as `rule`.
pub(super) fn may_be_rule(word: &str) -> bool {
    distance(&fold(word.split('[').next().unwrap_or_default()), "rule") <= 2
}

/// Whether a path with a first word that nobody knows speaks of who may pass a router:
/// `htp.routers.a.middlewares`, `routers.a.tls`. The host closes that router.
pub(super) fn says_who_may_pass(path: &str) -> bool {
    let words: Vec<_> = path.split(['.', '[']).map(fold).collect();
    let is_near =
        |word: &String, known: &[&'static str]| nearest(word, known.iter().copied()).is_some();
    let says = |word: &String| is_near(word, &PROTECTING);
    if let Some(place) = words.iter().take(2).position(|word| is_near(word, &["routers"])) {
        // Behind the name of the router, which may be called anything.
        return words.iter().skip(place + 2).any(says);
    }
    // A dot is missing, or there is a word too many. What is said of other things is not meant.
    let Some((_, before)) = words.split_last() else { return false };
    let is_other = |word: &String| is_near(word, &["services", "middlewares", "serverstransports"]);
    before.iter().any(|word| word.contains("router"))
        && !before.iter().take(3).any(is_other)
        && words.iter().skip(1).any(says)
}

const PROTECTING: [&str; 3] = ["middlewares", "entrypoints", "tls"];
