//! Patterns of Traefik 2, such as `{sub:[a-z]+}.example.com`, and what they are in Traefik 3.

use crate::pattern::is_repetition;

/// What a pattern may stand for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Whole {
    /// A host: a part without an expression is one label.
    Host,
    /// A path: a part without an expression is one segment.
    Path,
    /// What a path begins with.
    PathPrefix,
}

impl Whole {
    /// The call of Traefik 3 that says what the pattern says: ``HostRegexp(`^[a-z]+$`)``. `None`
    /// where it has no part in braces, or one that makes no sense.
    pub(crate) fn translated(self, pattern: &str) -> Option<String> {
        let (matcher, usual, end) = match self {
            Self::Host => ("HostRegexp", "[^.]+", "$"),
            Self::Path => ("PathRegexp", "[^/]+", "$"),
            Self::PathPrefix => ("PathRegexp", "[^/]+", ""),
        };
        let expression = expression(pattern, usual)?;
        Some(format!("{matcher}(`^{expression}{end}`)"))
    }
}

/// What a rule of Traefik 1 is now: `Host:a.io,b.io;PathPrefix:/c`. `None` where it is none.
pub(super) fn of_traefik_1(rule: &str) -> Option<String> {
    let part = |part: &str| {
        let (matcher, values) = part.split_once(':')?;
        let (matcher, whole) = match matcher.trim().to_ascii_lowercase().as_str() {
            "host" => ("Host", Some(Whole::Host)),
            "hostregexp" => ("HostRegexp", Some(Whole::Host)),
            "path" => ("Path", Some(Whole::Path)),
            "pathprefix" => ("PathPrefix", Some(Whole::PathPrefix)),
            "method" => ("Method", None),
            _ => return None,
        };
        let call = |value: &str| {
            let translated = whole.and_then(|whole| whole.translated(value.trim()));
            translated.unwrap_or_else(|| format!("{matcher}(`{}`)", value.trim()))
        };
        let calls: Vec<_> = values.split(',').map(call).collect();
        let is_one = calls.len() == 1 || !rule.contains(';');
        let choice = calls.join(" || ");
        Some(if is_one { choice } else { format!("({choice})") })
    };
    if rule.contains(['`', '(']) {
        return None;
    }
    let parts: Option<Vec<_>> = rule.trim_end_matches(';').split(';').map(part).collect();
    Some(parts?.join(" && "))
}

/// Whether a regular expression demands a brace where Traefik 2 would have seen one of its parts.
pub(super) fn demands_brace(expression: &str) -> bool {
    let (mut rest, mut is_in_class) = (expression, false);
    while let Some(next) = rest.chars().next() {
        let after = rest.get(next.len_utf8()..).unwrap_or_default();
        rest = match next {
            '\\' => behind_escape(after),
            '{' if !is_in_class && !is_repetition(after) => return after.contains('}'),
            other => {
                is_in_class = other == '[' || is_in_class && other != ']';
                after
            }
        };
    }
    false
}

/// What follows an escape: `\d`, `\p{Greek}`.
fn behind_escape(text: &str) -> &str {
    let Some(escaped) = text.chars().next() else { return text };
    let after = text.get(escaped.len_utf8()..).unwrap_or_default();
    match after.strip_prefix('{').and_then(|name| name.split_once('}')) {
        Some((_, behind)) if matches!(escaped, 'p' | 'P' | 'x') => behind,
        _ => after,
    }
}

fn expression(pattern: &str, usual: &str) -> Option<String> {
    let (mut out, mut rest, mut has_parts) = (String::new(), pattern, false);
    while let Some((text, behind)) = rest.split_once('{') {
        escape(text, &mut out);
        let (part, after) = part(behind)?;
        let (name, said) = part.split_once(':').unwrap_or((part, usual));
        if !name.chars().all(|letter| letter.is_ascii_alphanumeric() || "_-".contains(letter)) {
            return None;
        }
        let is_choice = said.contains('|') && !said.starts_with('(');
        out += &if is_choice { format!("({said})") } else { said.to_owned() };
        (rest, has_parts) = (after, true);
    }
    escape(rest, &mut out);
    has_parts.then_some(out)
}

/// A part whose brace is open, and what follows it. There may be braces in its expression.
fn part(text: &str) -> Option<(&str, &str)> {
    let mut open = 1_usize;
    for (at, letter) in text.char_indices() {
        match letter {
            '{' => open += 1,
            '}' => open -= 1,
            _ => (),
        }
        if open == 0 {
            return Some((text.get(..at)?, text.get(at + 1..)?));
        }
    }
    None
}

fn escape(text: &str, out: &mut String) {
    for letter in text.chars() {
        if "\\.+*?()|[]{}^$".contains(letter) {
            out.push('\\');
        }
        out.push(letter);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_traefik_2_have_a_form_in_traefik_3() {
        for (whole, pattern, expected) in [
            (Whole::Host, "{sub:[a-z]+}.x.local", Some(r"HostRegexp(`^[a-z]+\.x\.local$`)")),
            (Whole::Host, "{host:.+}", Some("HostRegexp(`^.+$`)")),
            (Whole::Host, "{sub}.{zone:a|b}.io", Some(r"HostRegexp(`^[^.]+\.(a|b)\.io$`)")),
            (Whole::Path, "/a/{id:[0-9]{2}}/", Some("PathRegexp(`^/a/[0-9]{2}/$`)")),
            (Whole::PathPrefix, "/{id}", Some("PathRegexp(`^/[^/]+`)")),
            (Whole::Path, "/a", None),
            (Whole::Path, "/{a", None),
            (Whole::Path, "/{a b:c}", None),
        ] {
            assert_eq!(whole.translated(pattern).as_deref(), expected, "{pattern}");
        }
    }

    #[test]
    fn rules_of_traefik_1_have_a_form_in_traefik_3() {
        for (rule, expected) in [
            ("Host:a.io", Some("Host(`a.io`)")),
            ("Host:a.io,b.io", Some("Host(`a.io`) || Host(`b.io`)")),
            (
                "Host:a.io, b.io;PathPrefix:/c",
                Some("(Host(`a.io`) || Host(`b.io`)) && PathPrefix(`/c`)"),
            ),
            ("HostRegexp:{sub:.+}.a.io;", Some(r"HostRegexp(`^.+\.a\.io$`)")),
            ("PathPrefixStrip:/a", None),
            ("Host(`a:b`", None),
            ("Host", None),
        ] {
            assert_eq!(of_traefik_1(rule).as_deref(), expected, "{rule}");
        }
    }

    #[test]
    fn a_brace_is_told_from_a_repetition() {
        for (expression, expected) in [
            ("{host:.+}", true),
            (r"^a{2}\.{sub}$", true),
            (r"^a{2}b{1,}c{1,3}$", false),
            (r"^\p{Greek}\x{41}\{a\}[{}]$", false),
            ("^a{b$", false),
        ] {
            assert_eq!(demands_brace(expression), expected, "{expression}");
        }
    }
}
