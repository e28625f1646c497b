//! What is put in the place of what an expression finds: Go's template of `Regexp.Expand`.
//!
//! A name behind `$` is as long as it can be: `$1x` is the group `1x`, and not the first one. A group that
//! is not there is nothing, and a `$` without a name is itself.

use super::{GoRegex, Remark};

/// A piece of a replacement.
pub(super) enum Part {
    /// As it stands.
    Text(Box<str>),
    /// What the group of that number found.
    Group(usize),
}

/// The groups of an expression.
struct Groups<'a>(Vec<Option<&'a str>>);

/// What stands behind a `$`.
struct Name<'a> {
    name: &'a str,
    rest: &'a str,
}

/// Reads a replacement for an expression.
pub(super) fn parse(template: &str, regex: &GoRegex) -> (Vec<Part>, Vec<Remark>) {
    let groups = Groups(regex.fitting("").capture_names().collect());
    let (mut parts, mut remarks) = (Vec::new(), Vec::new());
    let (mut text, mut rest) = (String::new(), template);
    while let Some((before, after)) = rest.split_once('$') {
        text.push_str(before);
        if let Some(behind) = after.strip_prefix('$') {
            text.push('$');
            remarks.extend(name(behind).and_then(|name| doubled(&name, behind, &groups)));
            rest = behind;
            continue;
        }
        let Some(found) = name(after) else {
            text.push('$');
            rest = after;
            continue;
        };
        match groups.find(found.name) {
            Some(group) => {
                if !text.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut text).into()));
                }
                parts.push(Part::Group(group));
            }
            None => remarks.push(missing(found.name, &groups)),
        }
        rest = found.rest;
    }
    text.push_str(rest);
    if !text.is_empty() {
        parts.push(Part::Text(text.into()));
    }
    (parts, remarks)
}

/// The name that a text begins with, with or without braces.
fn name(text: &str) -> Option<Name<'_>> {
    let braced = text.strip_prefix('{');
    let begin = braced.unwrap_or(text);
    let end = begin.find(|it: char| !it.is_alphanumeric() && it != '_').unwrap_or(begin.len());
    let (name, behind) = begin.split_at_checked(end).filter(|(name, _)| !name.is_empty())?;
    let rest = if braced.is_some() { behind.strip_prefix('}')? } else { behind };
    Some(Name { name, rest })
}

impl Groups<'_> {
    /// The number of the group of that name, or of that number. One with a zero before it is a name.
    fn find(&self, name: &str) -> Option<usize> {
        match number(name) {
            Some(number) => (number < self.0.len()).then_some(number),
            None => self.0.iter().position(|known| *known == Some(name)),
        }
    }

    /// Without the whole, which is number 0.
    fn count(&self) -> usize {
        self.0.len().saturating_sub(1)
    }
}

fn number(name: &str) -> Option<usize> {
    let is_number = name.bytes().all(|digit| digit.is_ascii_digit());
    let has_zero_before = name.len() > 1 && name.starts_with('0');
    name.parse().ok().filter(|_| is_number && !has_zero_before)
}

fn remark(message: String, hint: Option<String>) -> Remark {
    Remark { option: "/replacement".to_owned(), message, hint }
}

/// `$$1` is how docker-compose wants `$1`.
fn doubled(name: &Name<'_>, behind: &str, groups: &Groups<'_>) -> Option<Remark> {
    groups.find(name.name)?;
    let (written, _) = behind.split_at_checked(behind.len() - name.rest.len())?;
    Some(remark(
        format!(
            "`$${written}` stands for the text `${written}`, not for what the expression found"
        ),
        Some(format!("write `${written}`; only docker-compose wants `$$` for `$`")),
    ))
}

fn missing(name: &str, groups: &Groups<'_>) -> Remark {
    let count = match groups.count() {
        0 => "no groups".to_owned(),
        1 => "one group".to_owned(),
        count => format!("{count} groups"),
    };
    if number(name).is_some() {
        return remark(format!("`${name}` stands for nothing: the expression has {count}"), None);
    }
    let digits = name.find(|it: char| !it.is_ascii_digit()).unwrap_or(name.len());
    let meant = name.split_at_checked(digits).filter(|(begin, _)| groups.find(begin).is_some());
    remark(
        format!("`${name}` stands for nothing: the expression has no group `{name}`"),
        meant.map(|(begin, rest)| format!("did you mean `${{{begin}}}{rest}`?")),
    )
}
