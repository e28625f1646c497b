//! Regular expressions as Go's RE2 reads them, for the library that we have, which reads a few things
//! otherwise: <https://github.com/google/re2/wiki/Syntax>.

/// The same pattern in the library's syntax. What neither takes is left for the library to refuse.
pub(super) fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(next) = rest.chars().next() {
        let after = rest.get(next.len_utf8()..).unwrap_or_default();
        match next {
            // Quoted text.
            '\\' if !in_class && after.starts_with('Q') => {
                let text = after.get(1..).unwrap_or_default();
                let (quoted, behind) = text.split_once("\\E").unwrap_or((text, ""));
                out.push_str(&regex::escape(quoted));
                rest = behind;
                continue;
            }
            '\\' => {
                let escaped = after.chars().next().map_or(0, char::len_utf8);
                let (one, behind) = after.split_at_checked(escaped).unwrap_or((after, ""));
                out.push('\\');
                out.push_str(one);
                rest = behind;
                continue;
            }
            // Where no repetition stands, Go means the brace itself.
            '{' if !in_class && !is_repetition(after) => out.push_str("\\{"),
            '[' if !in_class => {
                in_class = true;
                let negated = after.strip_prefix('^');
                out.push_str(if negated.is_some() { "[^" } else { "[" });
                rest = negated.unwrap_or(after);
                // The first bracket is one of the class.
                if let Some(behind) = rest.strip_prefix(']') {
                    out.push_str("\\]");
                    rest = behind;
                }
                continue;
            }
            // Classes within classes and operations on them are unknown to Go, but `[:alpha:]`.
            '[' if in_class && !after.starts_with(':') => out.push_str("\\["),
            '[' => {
                let end = after.find(":]").map_or(0, |at| at + 2);
                out.push('[');
                out.push_str(after.get(..end).unwrap_or_default());
                rest = after.get(end..).unwrap_or_default();
                continue;
            }
            '&' | '~' if in_class => {
                out.push('\\');
                out.push(next);
            }
            '-' if in_class && after.starts_with('-') => out.push_str("\\-"),
            ']' => {
                in_class = false;
                out.push(']');
            }
            other => out.push(other),
        }
        rest = after;
    }
    out
}

/// Whether what follows a `{` makes it a repetition: `3}`, `3,}`, `3,5}`.
fn is_repetition(after: &str) -> bool {
    let Some((bounds, _)) = after.split_once('}') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    match bounds.split_once(',') {
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        None => is_number(bounds),
    }
}

#[cfg(test)]
mod tests {
    use super::translated;

    #[test]
    fn what_go_reads_otherwise_is_written_otherwise() {
        for (go, ours) in [
            (r"^/api/\w{1,3}$", r"^/api/\w{1,3}$"),
            (r"^/{id}$", r"^/\{id}$"),
            (r"\Qa.b{\E.", r"a\.b\{."),
            (r"\Qa.b", r"a\.b"),
            (r"[[]", r"[\[]"),
            (r"[]a]", r"[\]a]"),
            (r"[^]a]", r"[^\]a]"),
            (r"[a&&b--c~~]", r"[a\&\&b\--c\~\~]"),
            (r"[[:alpha:]_]", r"[[:alpha:]_]"),
            (r"\[a{2,}\{", r"\[a{2,}\{"),
            (r"[\]\-]{2}", r"[\]\-]{2}"),
        ] {
            assert_eq!(translated(go), ours, "{go}");
        }
    }
}
