//! Which instances are routed to, by their tags: Traefik's ``Tag(`blue`) && !TagRegex(`^dev-`)``.
//!
//! Precedence is that of rules: `!` before `&&` before `||`. A tag is compared as it is, prefix and
//! value included; a regular expression may match anywhere in it.

use regex_lite::Regex;

use crate::{
    fault::{Fault, proposal},
    literal,
};

/// A condition on the tags of an instance.
#[derive(Clone, Debug)]
pub(crate) enum Constraint {
    Tag(String),
    TagRegex(Regex),
    Not(Box<Self>),
    /// All of them.
    And(Vec<Self>),
    /// One of them at least.
    Or(Vec<Self>),
}

impl Constraint {
    /// Reads a condition; none if there is only white space.
    pub(crate) fn parse(text: &str) -> Result<Option<Self>, Fault> {
        let mut reader = Reader { text, at: 0, depth: 0 };
        reader.skip_blanks();
        if reader.rest().is_empty() {
            return Ok(None);
        }
        let constraint = reader.any()?;
        match reader.rest().is_empty() {
            true => Ok(Some(constraint)),
            false => Err(reader.expected("`&&`, `||` or the end")),
        }
    }

    /// Whether an instance with these tags is routed to.
    pub(crate) fn allows(&self, tags: &[String]) -> bool {
        match self {
            Self::Tag(wanted) => tags.iter().any(|tag| tag == wanted),
            Self::TagRegex(regex) => tags.iter().any(|tag| regex.is_match(tag)),
            Self::Not(inner) => !inner.allows(tags),
            Self::And(all) => all.iter().all(|one| one.allows(tags)),
            Self::Or(all) => all.iter().any(|one| one.allows(tags)),
        }
    }

    /// Whether it speaks of a tag, or of one with the same key and another value.
    pub(crate) fn names(&self, tag: &str) -> bool {
        let key = |tag: &str| tag.split_once('=').map(|(key, _)| key.to_owned());
        self.any_part(&|part| match part {
            Self::Tag(wanted) => wanted == tag || key(wanted).is_some() && key(wanted) == key(tag),
            _ => false,
        })
    }

    /// Whether one of its regular expressions is found in a tag.
    pub(crate) fn may_mean(&self, tag: &str) -> bool {
        self.any_part(&|part| matches!(part, Self::TagRegex(regex) if regex.is_match(tag)))
    }

    fn any_part(&self, is: &dyn Fn(&Self) -> bool) -> bool {
        match self {
            Self::Tag(_) | Self::TagRegex(_) => is(self),
            Self::Not(inner) => inner.any_part(is),
            Self::And(all) | Self::Or(all) => all.iter().any(|one| one.any_part(is)),
        }
    }
}

struct Reader<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
}

/// Deeper than anybody writes, and far from the end of the stack.
const MOST_DEPTH: usize = 64;

impl<'a> Reader<'a> {
    fn any(&mut self) -> Result<Constraint, Fault> {
        let mut all = vec![self.all()?];
        while self.take("||") {
            all.push(self.all()?);
        }
        Ok(one_or(all, Constraint::Or))
    }

    fn all(&mut self) -> Result<Constraint, Fault> {
        let mut all = vec![self.single()?];
        while self.take("&&") {
            all.push(self.single()?);
        }
        Ok(one_or(all, Constraint::And))
    }

    fn single(&mut self) -> Result<Constraint, Fault> {
        self.depth += 1;
        if self.depth > MOST_DEPTH {
            return Err(Fault::new(self.at, format!("more than {MOST_DEPTH} levels deep")));
        }
        let read = if self.take("!") {
            self.single().map(|inner| Constraint::Not(Box::new(inner)))
        } else if self.take("(") {
            let inner = self.any()?;
            self.demand(")").map(|()| inner)
        } else {
            self.call()
        };
        self.depth -= 1;
        read
    }

    fn call(&mut self) -> Result<Constraint, Fault> {
        let start = self.at;
        let end = literal::name_end(self.text, start);
        let name = self.text.get(start..end).unwrap_or_default();
        let folded = name.to_ascii_lowercase();
        if name.is_empty() {
            return Err(self.expected("`Tag(…)`, `TagRegex(…)`, `!` or `(`"));
        }
        if !matches!(folded.as_str(), "tag" | "tagregex") {
            let meant = proposal(name, ["Tag", "TagRegex"].into_iter());
            let message = format!("unknown function `{name}`{meant}");
            return Err(Fault::new(start, message));
        }
        self.advance(end);
        self.demand("(")?;
        let place = self.at;
        let Some((argument, end)) = literal::string(self.text, place)? else {
            return Err(self.expected("a string between backticks"));
        };
        self.advance(end);
        self.demand(")")?;
        if folded == "tag" {
            return Ok(Constraint::Tag(argument));
        }
        let regex = Regex::new(&argument);
        regex.map(Constraint::TagRegex).map_err(|error| Fault::new(place, error.to_string()))
    }

    fn rest(&self) -> &'a str {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn skip_blanks(&mut self) {
        self.at += self.rest().len() - self.rest().trim_start().len();
    }

    fn advance(&mut self, to: usize) {
        self.at = to;
        self.skip_blanks();
    }

    fn take(&mut self, sign: &str) -> bool {
        let is_there = self.rest().starts_with(sign);
        if is_there {
            self.advance(self.at + sign.len());
        }
        is_there
    }

    fn demand(&mut self, sign: &str) -> Result<(), Fault> {
        if self.take(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }

    fn expected(&self, what: &str) -> Fault {
        Fault::new(self.at, format!("expected {what}"))
    }
}

fn one_or(mut all: Vec<Constraint>, many: fn(Vec<Constraint>) -> Constraint) -> Constraint {
    match all.len() {
        1 => all.swap_remove(0),
        _ => many(all),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_constraint_looks_at_tags() {
        let check = |text: &str, tags: &[&str], allows: bool| {
            let tags: Vec<_> = tags.iter().map(|&tag| tag.to_owned()).collect();
            let constraint = Constraint::parse(text).unwrap().unwrap();
            assert_eq!(constraint.allows(&tags), allows, "{text} for {tags:?}");
        };
        check("Tag(`a`)", &["b", "a"], true);
        check("Tag(`a`)", &["A", "ab"], false);
        check("tag(\"a=b\")", &["a=b"], true);
        check("TagRegex(`^dev-\\d+$`)", &["dev-7"], true);
        check("TagRegex(`ev`)", &["dev-7"], true);
        check("!Tag(`a`) && !!Tag(`b`)", &["b"], true);
        check("!Tag(`a`)", &[], true);
        check("Tag(`a`) || Tag(`b`) && Tag(`c`)", &["a"], true);
        check("(Tag(`a`) || Tag(`b`)) && Tag(`c`)", &["a"], false);
        check("(Tag(`a`) || Tag(`b`)) && Tag(`c`)", &["c", "b"], true);
    }

    #[test]
    fn nothing_constrains_nothing() {
        assert!(Constraint::parse(" \n").unwrap().is_none());
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let check = |text: &str, expected: &str| {
            assert_eq!(Constraint::parse(text).unwrap_err().told(text), expected);
        };
        check(
            "Tags(`a`)",
            "unknown function `Tags`, did you mean `Tag`?, at character 1: Tags(`a`)",
        );
        check("Tag(`a`) & Tag(`b`)", "expected `&&`, `||` or the end, at character 10: & Tag(`b`)");
        check("Tag(`a`) &&", "expected `Tag(…)`, `TagRegex(…)`, `!` or `(`, at its end");
        check("(Tag(`a`)", "expected `)`, at its end");
        check("Tag(a)", "expected a string between backticks, at character 5: a)");
        check("Tag(`a)", "a string that begins with a backtick ends with one, at character 5: `a)");
        let told = Constraint::parse("TagRegex(`(`)").unwrap_err().told("TagRegex(`(`)");
        assert!(told.ends_with("at character 10: `(`)"), "{told}");
        let deep = "!".repeat(1000);
        assert!(Constraint::parse(&deep).unwrap_err().message.contains("levels deep"));
    }
}
