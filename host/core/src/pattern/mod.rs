//! Regular expressions as Go reads them, and what is put in the place of what they find.
//!
//! **Invariant:** an expression is compiled once, when it is configured. Asking whether it is found
//! allocates nothing for ASCII, and a rewritten text has a bound, whatever was configured.

mod go;
mod replacement;

use std::fmt;

use regex::bytes::{CaptureLocations, Regex};
use replacement::Part;

pub(crate) use go::{GoRegex, is_repetition};

/// A regular expression in Go's syntax.
pub struct Pattern {
    text: Box<str>,
    regex: GoRegex,
}

/// A regular expression, and what takes the place of what it finds: Go's `ReplaceAllString`.
pub struct Rewriting {
    pattern: Pattern,
    replacement: Box<str>,
    parts: Vec<Part>,
}

/// What is wrong with the option of a middleware that the host reads for its plugin.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{option}: {message}")]
pub struct BadOption {
    /// JSON Pointer into the configuration: `/regex`, `/regex/0`, `/replacement`.
    pub option: String,
    /// One sentence in lower case, without a full stop.
    pub message: String,
}

/// What works, but is perhaps not what was meant.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Remark {
    /// JSON Pointer into the configuration.
    pub option: String,
    /// One sentence in lower case, without a full stop.
    pub message: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

/// A text became longer than anything that can be asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct TooLong;

impl Pattern {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// One sentence on why it does not compile.
    pub fn compile(text: &str) -> Result<Self, String> {
        GoRegex::compile(text).map(|regex| Self { text: text.into(), regex })
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether it is found in a text.
    pub fn is_match(&self, text: &str) -> bool {
        self.regex.fitting(text).is_match(text.as_bytes())
    }

    /// What it finds first in a text.
    pub fn find<'t>(&self, text: &'t str) -> Option<&'t str> {
        let found = self.regex.fitting(text).find(text.as_bytes())?;
        text.get(found.range())
    }
}

impl Rewriting {
    /// The longest result, in bytes: what a request's target may have.
    pub const LONGEST: usize = u16::MAX as usize;

    /// Compiles an expression and what is to be in its place: `$1`, `${1}` and `${name}` stand for what
    /// its groups found, `$$` for a dollar sign.
    ///
    /// # Errors
    ///
    /// What is wrong at `/regex`.
    pub fn compile(regex: &str, replacement: &str) -> Result<Self, BadOption> {
        let bad = |message| BadOption { option: "/regex".to_owned(), message };
        let pattern = Pattern::compile(regex).map_err(bad)?;
        let parts = replacement::parse(replacement, &pattern.regex).0;
        Ok(Self { pattern, replacement: replacement.into(), parts })
    }

    /// The expression.
    pub fn pattern(&self) -> &Pattern {
        &self.pattern
    }

    /// What is put in the place of what it finds, as it was written.
    pub fn replacement(&self) -> &str {
        &self.replacement
    }

    /// The pieces of the replacement that are the same in every result.
    pub fn literals(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().filter_map(|part| match part {
            Part::Text(text) => Some(&**text),
            Part::Group(_) => None,
        })
    }

    /// What is perhaps not meant as it is written.
    pub fn remarks(&self) -> Vec<Remark> {
        replacement::parse(&self.replacement, &self.pattern.regex).1
    }

    /// The text with everything replaced that the expression finds; `None`: it finds nothing.
    pub fn rewrite(&self, text: &str) -> Option<Result<String, TooLong>> {
        self.pattern.is_match(text).then(|| self.replace_all(text))
    }

    fn replace_all(&self, text: &str) -> Result<String, TooLong> {
        let regex = self.pattern.regex.fitting(text);
        let mut places = regex.capture_locations();
        let mut out = String::with_capacity(text.len() + self.replacement.len());
        let (mut at, mut copied, mut last_end) = (0, 0, None);
        while let Some((start, end)) = find_at(regex, &mut places, text, at) {
            // As in Go, nothing is not found once more behind what was found just before. Nor is it found
            // within a character.
            if (end > start || last_end != Some(start))
                && let (Some(before), Some(_)) = (text.get(copied..start), text.get(start..end))
            {
                out.push_str(before);
                self.expand(text, &places, &mut out);
                (copied, last_end) = (end, Some(end));
            }
            if out.len() > Self::LONGEST {
                return Err(TooLong);
            }
            let next =
                at + text.get(at..).and_then(|it| it.chars().next()).map_or(1, char::len_utf8);
            at = end.max(next);
        }
        out.push_str(text.get(copied..).unwrap_or_default());
        if out.len() > Self::LONGEST { Err(TooLong) } else { Ok(out) }
    }

    /// Writes the replacement for one place. A group that found nothing is nothing.
    fn expand(&self, text: &str, places: &CaptureLocations, out: &mut String) {
        for part in &self.parts {
            out.push_str(match part {
                Part::Text(literal) => literal,
                Part::Group(group) => {
                    let found = places.get(*group).and_then(|(start, end)| text.get(start..end));
                    found.unwrap_or_default()
                }
            });
        }
    }
}

fn find_at(
    regex: &Regex,
    places: &mut CaptureLocations,
    text: &str,
    at: usize,
) -> Option<(usize, usize)> {
    let found =
        (at <= text.len()).then(|| regex.captures_read_at(places, text.as_bytes(), at))??;
    Some((found.start(), found.end()))
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Pattern").field(&self.text).finish()
    }
}

impl fmt::Debug for Rewriting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Rewriting").field(&self.pattern.text).field(&self.replacement).finish()
    }
}

#[cfg(test)]
mod tests;
