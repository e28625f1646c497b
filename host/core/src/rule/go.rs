//! Regular expressions as Go's RE2 reads them, for the library that we have, which reads a few things
//! otherwise: <https://github.com/google/re2/wiki/Syntax>.
//!
//! Go compares characters, and takes each byte that is part of none for U+FFFD. Nearly all that is
//! compared is ASCII, where bytes are characters and expressions are much smaller.

use std::{borrow::Cow, sync::OnceLock};

use regex::bytes::{Regex, RegexBuilder};

/// Bytes of a compiled expression; the text is bounded by what a rule may hold.
const SIZE: usize = 4 << 20;

/// A compiled expression.
pub(crate) struct GoRegex {
    /// For ASCII.
    regex: Regex,
    /// For the rest, from when there is some; absent: the same.
    of_characters: OnceLock<Option<Regex>>,
}

impl GoRegex {
    /// Compiles an expression.
    pub(super) fn compile(pattern: &str) -> Result<Self, regex::Error> {
        let pattern = translated(pattern);
        match build(&pattern, false) {
            Ok(regex) => Ok(Self { regex, of_characters: OnceLock::new() }),
            Err(error @ regex::Error::CompiledTooBig(_)) => Err(error),
            // It speaks of characters beyond ASCII.
            Err(_) => {
                let of_characters = OnceLock::from(None);
                build(&pattern, true).map(|regex| Self { regex, of_characters })
            }
        }
    }

    pub(crate) fn is_match(&self, text: &[u8]) -> bool {
        if text.is_ascii() {
            return self.regex.is_match(text);
        }
        // One that is too large for characters is better than none.
        let regex = self
            .of_characters
            .get_or_init(|| build(self.regex.as_str(), true).ok())
            .as_ref()
            .unwrap_or(&self.regex);
        regex.is_match(characters(text).as_bytes())
    }
}

fn build(pattern: &str, unicode: bool) -> Result<Regex, regex::Error> {
    RegexBuilder::new(pattern).unicode(unicode).size_limit(SIZE).build()
}

/// The text as Go sees it.
fn characters(text: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(text) {
        return Cow::Borrowed(text);
    }
    let mut seen = String::with_capacity(text.len() + 8);
    for chunk in text.utf8_chunks() {
        seen.push_str(chunk.valid());
        seen.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(seen)
}

/// The same pattern in the library's syntax. What neither takes is left for the library to refuse.
fn translated(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 8);
    let mut rest = pattern;
    while let Some(next) = rest.chars().next() {
        let after = rest.get(next.len_utf8()..).unwrap_or_default();
        rest = match next {
            // Quoted text.
            '\\' if after.starts_with('Q') => {
                let text = after.get(1..).unwrap_or_default();
                let (quoted, behind) = text.split_once("\\E").unwrap_or((text, ""));
                out.push_str(&regex::escape(quoted));
                behind
            }
            '\\' => escape(after, false, &mut out),
            '[' => class(after, &mut out),
            // Where no repetition stands, Go means the brace itself.
            '{' if !is_repetition(after) => {
                out.push_str("\\{");
                after
            }
            other => {
                out.push(other);
                after
            }
        };
    }
    out
}

/// Writes a class of characters, whose bracket is open; answers what follows it. A hyphen that does not
/// stand between two characters is one, and classes within it and operations on it are unknown to Go.
fn class<'a>(text: &'a str, out: &mut String) -> &'a str {
    let negated = text.strip_prefix('^');
    out.push_str(if negated.is_some() { "[^" } else { "[" });
    let (mut rest, mut is_first) = (negated.unwrap_or(text), true);
    while !rest.is_empty() {
        if let Some(behind) = rest.strip_prefix(']').filter(|_| !is_first) {
            out.push(']');
            return behind;
        }
        is_first = false;
        let posix = rest.strip_prefix("[:").and_then(|name| name.find(":]"));
        if let Some(end) = posix {
            let (named, behind) = rest.split_at_checked(end + 4).unwrap_or((rest, ""));
            out.push_str(named);
            rest = behind;
            continue;
        }
        let escaped = rest.strip_prefix('\\');
        if let Some(after) = escaped.filter(|it| it.starts_with(CLASSES)) {
            rest = escape(after, true, out);
            continue;
        }
        rest = member(rest, out);
        if let Some(after) =
            rest.strip_prefix('-').filter(|it| !it.is_empty() && !it.starts_with(']'))
        {
            out.push('-');
            rest = member(after, out);
        }
    }
    rest
}

/// What stands for several characters behind a backslash.
const CLASSES: [char; 8] = ['d', 'D', 'w', 'W', 's', 'S', 'p', 'P'];

/// Writes one character of a class; answers what follows it.
fn member<'a>(text: &'a str, out: &mut String) -> &'a str {
    let Some(next) = text.chars().next() else { return text };
    let after = text.get(next.len_utf8()..).unwrap_or_default();
    if next == '\\' {
        return escape(after, true, out);
    }
    if matches!(next, '[' | ']' | '^' | '&' | '~' | '-') {
        out.push('\\');
    }
    out.push(next);
    after
}

/// Writes what a backslash begins; answers what follows. The classes of Perl are of ASCII.
fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    // Numbers and names in braces.
    if after.starts_with(['x', 'p', 'P'])
        && after.get(1..).is_some_and(|rest| rest.starts_with('{'))
        && let Some(end) = after.find('}')
    {
        let (one, behind) = after.split_at_checked(end + 1).unwrap_or((after, ""));
        out.extend(["\\", one]);
        return behind;
    }
    let Some(letter) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let behind = after.get(letter.len_utf8()..).unwrap_or_default();
    let class = match letter {
        'd' | 'D' => "0-9",
        'w' | 'W' => "0-9A-Za-z_",
        's' | 'S' => "\\t\\n\\f\\r ",
        // Borders of words, and no punctuation.
        'b' | 'B' if !in_class => {
            out.push_str(if letter == 'b' { r"(?-u:\b)" } else { r"(?-u:\B)" });
            return behind;
        }
        '<' | '>' => {
            out.push(letter);
            return behind;
        }
        '0'..='7' => return octal(after, out),
        'p' | 'P' => {
            let name = behind.chars().next().map_or(0, char::len_utf8);
            let (name, behind) = behind.split_at_checked(name).unwrap_or((behind, ""));
            out.extend([if letter == 'p' { "\\p" } else { "\\P" }, name]);
            return behind;
        }
        _ => {
            out.push('\\');
            out.push(letter);
            return behind;
        }
    };
    out.extend([if letter.is_ascii_uppercase() { "[^" } else { "[" }, class, "]"]);
    behind
}

/// `\123`, `\0`: a character by its number. What would refer back, `\1`, is left to be refused.
fn octal<'a>(after: &'a str, out: &mut String) -> &'a str {
    let digits = after.bytes().take(3).take_while(|digit| matches!(digit, b'0'..=b'7')).count();
    let (number, behind) = after.split_at_checked(digits).unwrap_or((after, ""));
    match u32::from_str_radix(number, 8) {
        Ok(number) if digits > 1 || number == 0 => out.push_str(&format!("\\x{{{number:X}}}")),
        _ => out.extend(["\\", number]),
    }
    behind
}

/// Whether what follows a `{` makes it a repetition: `3}`, `3,}`, `3,5}`.
pub(super) fn is_repetition(after: &str) -> bool {
    let Some((bounds, _)) = after.split_once('}') else { return false };
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|it| it.is_ascii_digit());
    match bounds.split_once(',') {
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
        None => is_number(bounds),
    }
}

#[cfg(test)]
mod tests {
    use super::{GoRegex, translated};

    #[test]
    fn what_go_reads_otherwise_is_written_otherwise() {
        for (go, ours) in [
            (r"^/api/\w{1,3}$", r"^/api/[0-9A-Za-z_]{1,3}$"),
            (r"\D[\d\S.]", r"[^0-9][[0-9][^\t\n\f\r ].]"),
            (r"[\w-.]", r"[[0-9A-Za-z_]\-.]"),
            (r"[\w-]", r"[[0-9A-Za-z_]\-]"),
            (r"[+--]", r"[+-\-]"),
            (r"[a-z0-9-]", r"[a-z0-9\-]"),
            (r"[-a^]", r"[\-a\^]"),
            (r"\bа\B\<\>", r"(?-u:\b)а(?-u:\B)<>"),
            (r"\0\101\1234\18", r"\x{0}\x{41}\x{53}4\18"),
            (r"^/{id}$", r"^/\{id}$"),
            (r"\Qa.b{\E.", r"a\.b\{."),
            (r"\Qa.b", r"a\.b"),
            (r"[[]", r"[\[]"),
            (r"[]a]", r"[\]a]"),
            (r"[^]a]", r"[^\]a]"),
            (r"[a&&b~~]", r"[a\&\&b\~\~]"),
            (r"[[:alpha:]_]", r"[[:alpha:]_]"),
            (r"\[a{2,}\{", r"\[a{2,}\{"),
            (r"[\]\-]{2}", r"[\]\-]{2}"),
        ] {
            assert_eq!(translated(go), ours, "{go}");
        }
    }

    #[test]
    fn characters_are_compared_and_not_bytes() {
        let check = |pattern: &str, text: &[u8]| GoRegex::compile(pattern).unwrap().is_match(text);
        for (pattern, text, expected) in [
            (r"^/.{3}$", "/müé", true),
            (r"^/.{5}$", "/müé", false),
            (r"^/[^/]$", "/é", true),
            (r"^\w+$", "mü", false),
            (r"^[\wü]+$", "mü", true),
            (r"^[\wü]+$", "mé", false),
            (r"(?i)^É$", "é", true),
            (r"\bü", "aü", true),
            (r"^a\x{fc}$", "aü", true),
            (r"\s", "\u{b}", false),
            (r"\<b\>", "a<b>", true),
            (r"^\pL+$", "mü", true),
            (r"^\p{Greek}\x{61}\x62{2}$", "αabb", true),
            (r"^.{3}$", "abc", true),
            (r"^\101$", "A", true),
            (r"^[\w-.]+$", "a-b.c", true),
            (r"^[\w-\.]+$", "a-b.c", true),
            (r"[\w-~]", "`", false),
            (r"[\s-a]", "A", false),
            (r"[\s-a]", "-", true),
            (r"^[^\s-_]$", "A", true),
            (r"^[^\s-_]$", "-", false),
            (r"^[\pL-.]+$", "ü-.", true),
            (r"[+--]", ",", true),
            (r"^[[:alpha:]-_]+$", "a-_", true),
        ] {
            assert_eq!(check(pattern, text.as_bytes()), expected, "{pattern} {text}");
        }
        assert!(check(r"^/.{3}$", b"/a\xe2\x82"), "each byte that is part of none is one");
        assert!(check(r"\x{fffd}", b"\xff"));
        assert!(GoRegex::compile(r"\1").is_err());
    }
}
