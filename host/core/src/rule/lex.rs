//! The words of the rule language: names, strings and signs, each with its place.
//!
//! **Invariant:** reading is total: any text gives words or an error, and every word but the end
//! takes at least one byte.

use super::error::{RuleError, RuleFault, Span};

/// A word.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Word {
    Name(String),
    Text(String),
    And,
    Or,
    Not,
    Open,
    Close,
    Comma,
    /// A character that starts no word: nothing in the grammar takes it.
    Stray(char),
    End,
}

impl Word {
    /// As it is named in an error.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Name(name) => format!("`{name}`"),
            Self::Text(text) => format!("the string `{text}`"),
            Self::And => "`&&`".to_owned(),
            Self::Or => "`||`".to_owned(),
            Self::Not => "`!`".to_owned(),
            Self::Open => "`(`".to_owned(),
            Self::Close => "`)`".to_owned(),
            Self::Comma => "`,`".to_owned(),
            Self::Stray(character) => format!("`{character}`"),
            Self::End => "the end of the rule".to_owned(),
        }
    }
}

/// Reads a rule word by word.
pub(super) struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// The next word and its place.
    pub(super) fn next(&mut self) -> Result<(Word, Span), RuleError> {
        let blank = self.rest().len() - self.rest().trim_start().len();
        self.at += blank;
        let start = self.at;
        let rest = self.rest();
        let Some(first) = rest.chars().next() else {
            return Ok((Word::End, start..start));
        };
        let sign = match first {
            '(' => Some((Word::Open, 1)),
            ')' => Some((Word::Close, 1)),
            ',' => Some((Word::Comma, 1)),
            '!' => Some((Word::Not, 1)),
            _ if rest.starts_with("&&") => Some((Word::And, 2)),
            _ if rest.starts_with("||") => Some((Word::Or, 2)),
            _ => None,
        };
        let (word, length) = match (sign, first) {
            (Some(sign), _) => sign,
            (None, '`') => self.raw_string(rest)?,
            (None, '"') => self.escaped_string(rest)?,
            (None, first) if first.is_alphabetic() || first == '_' => name(rest),
            (None, first) => (Word::Stray(first), first.len_utf8()),
        };
        self.at = start + length;
        Ok((word, start..self.at))
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// Between backticks everything stands for itself, but a carriage return is left out, as Go
    /// does.
    fn raw_string(&self, rest: &str) -> Result<(Word, usize), RuleError> {
        let body = rest.strip_prefix('`').unwrap_or_default();
        match body.split_once('`') {
            Some((body, _)) => Ok((Word::Text(body.replace('\r', "")), body.len() + 2)),
            None => Err(self.open_ended("a string that starts with a backtick ends with one")),
        }
    }

    /// Between double quotes Go's escapes hold.
    fn escaped_string(&self, rest: &str) -> Result<(Word, usize), RuleError> {
        let mut bytes = Vec::new();
        let mut at = 1;
        loop {
            let here = rest.get(at..).unwrap_or_default();
            match here.chars().next() {
                None | Some('\n') => {
                    return Err(self.open_ended(
                        "a string that starts with a double quote ends with one, on its line",
                    ));
                }
                Some('"') => break,
                Some('\\') => {
                    at += unescape(here, &mut bytes).ok_or_else(|| {
                        let length = here.chars().take(2).map(char::len_utf8).sum::<usize>();
                        self.bad_string(at..at + length, "not an escape that Go knows")
                            .hint("between backticks a backslash is a backslash")
                    })?;
                }
                Some(c) => {
                    bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                    at += c.len_utf8();
                }
            }
        }
        let text = String::from_utf8(bytes)
            .map_err(|_not_utf8| self.bad_string(0..at + 1, "the escapes do not make UTF-8"))?;
        Ok((Word::Text(text), at + 1))
    }

    fn open_ended(&self, message: &'static str) -> RuleError {
        self.bad_string(0..1, message)
    }

    /// An error at a place that counts from here.
    fn bad_string(&self, place: Span, message: &'static str) -> RuleError {
        RuleError::new(self.at + place.start..self.at + place.end, RuleFault::BadString(message))
    }
}

fn name(rest: &str) -> (Word, usize) {
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    let name = rest.get(..end).unwrap_or_default();
    (Word::Name(name.to_owned()), name.len())
}

/// Reads the escape at the start of `here` and answers its length in bytes.
fn unescape(here: &str, bytes: &mut Vec<u8>) -> Option<usize> {
    let kind = here.chars().nth(1)?;
    let (skip, digits, radix) = match kind {
        'a' => return push(bytes, 0x07),
        'b' => return push(bytes, 0x08),
        't' => return push(bytes, b'\t'),
        'n' => return push(bytes, b'\n'),
        'v' => return push(bytes, 0x0b),
        'f' => return push(bytes, 0x0c),
        'r' => return push(bytes, b'\r'),
        '\\' => return push(bytes, b'\\'),
        '"' => return push(bytes, b'"'),
        'x' => (2, 2, 16),
        'u' => (2, 4, 16),
        'U' => (2, 8, 16),
        '0'..='7' => (1, 3, 8),
        _ => return None,
    };
    let text = here.get(skip..skip + digits)?;
    if !text.chars().all(|digit| digit.is_digit(radix)) {
        return None;
    }
    let number = u32::from_str_radix(text, radix).ok()?;
    if matches!(kind, 'u' | 'U') {
        let character = char::from_u32(number)?;
        bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    } else {
        bytes.push(u8::try_from(number).ok()?);
    }
    Some(skip + digits)
}

/// A backslash and one character that stand for one byte.
fn push(bytes: &mut Vec<u8>, byte: u8) -> Option<usize> {
    bytes.push(byte);
    Some(2)
}
