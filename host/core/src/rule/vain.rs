//! Comparisons that no request can pass, as far as that can be seen in their values: Traefik takes them, and
//! nobody learns why their router gets nothing.

use super::{
    field::{Field, Op},
    predicate::{Predicate, Test},
    template::{Whole, demands_brace},
};
use crate::target::as_seen;

/// What is wrong with a comparison, and what to write.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Vain {
    /// One sentence in lower case, without a full stop.
    pub(crate) message: String,
    /// What was probably meant.
    pub(crate) hint: String,
}

impl Predicate {
    /// The first comparison that makes no sense.
    pub(crate) fn vain(&self) -> Option<Vain> {
        match self {
            Self::Always | Self::Never => None,
            Self::All(parts) | Self::Any(parts) => parts.iter().find_map(Self::vain),
            Self::Not(inner) => inner.vain(),
            Self::Test(test) => test.vain(),
        }
    }
}

impl Test {
    fn vain(&self) -> Option<Vain> {
        let values = || self.values().iter();
        match (self.field(), self.op()) {
            (Field::Path, Op::Equals) => {
                values().find_map(|path| vain(path, path, as_seen(path), Whole::Path))
            }
            (Field::Path, Op::Prefix | Op::PathPrefix) => values().find_map(|it| vain_prefix(it)),
            (Field::Host, Op::Regex) => {
                let mut expressions = values().filter(|it| demands_brace(it));
                expressions.next().map(|it| literal(it, Whole::Host))
            }
            // What a matcher for a parameter without a value makes of `a=b`.
            (Field::Query(key), Op::Equals) if values().all(String::is_empty) => {
                let (name, value) = key.split_once('=')?;
                let message =
                    format!("the name of a parameter ends before `=`, so none is `{key}`");
                let hint = format!("write Query(`{name}`, `{value}`), as Traefik 3 has it");
                Some(Vain { message, hint })
            }
            _ => None,
        }
    }
}

/// The last segment of a prefix may go on, and so may what is encoded there.
fn vain_prefix(prefix: &str) -> Option<Vain> {
    /// Stands for all that may follow.
    const MORE: &str = "x";
    let cut = prefix.rfind('%').filter(|at| at + 3 > prefix.len());
    let begin = prefix.get(..cut.unwrap_or(prefix.len())).unwrap_or_default();
    let seen = as_seen(&format!("{begin}{MORE}"));
    let seen = seen.and_then(|seen| seen.strip_suffix(MORE).map(str::to_owned));
    vain(prefix, begin, seen, Whole::PathPrefix)
}

/// What is wrong with a path, of which as much as was looked at is seen otherwise.
fn vain(path: &str, looked_at: &str, seen: Option<String>, whole: Whole) -> Option<Vain> {
    let never = || format!("no path is ever `{}`", path.escape_debug());
    if let Some((before, after)) = path.split_once('?') {
        let hint = format!(
            "what stands behind `?` is no path: `{before}`, and ``Query(`…`)`` for `{after}`"
        );
        return Some(Vain { message: never(), hint });
    }
    if let Some((before, _)) = path.split_once('#') {
        let hint = format!("no client sends what stands behind `#`: `{before}`");
        return Some(Vain { message: never(), hint });
    }
    match seen {
        None => {
            let hint = "a percent sign is written `%25`".to_owned();
            Some(Vain { message: never(), hint })
        }
        Some(seen) if seen != looked_at => {
            let hint = format!("rules see paths in one form: `{}`", seen.escape_debug());
            Some(Vain { message: never(), hint })
        }
        Some(_) if is_template(path) => Some(literal(path, whole)),
        Some(_) => None,
    }
}

/// Braces that no request has.
fn literal(pattern: &str, whole: Whole) -> Vain {
    let matcher = match whole {
        Whole::Host => "HostRegexp(`…`)",
        Whole::Path | Whole::PathPrefix => "PathRegexp(`…`)",
    };
    let meant = whole.translated(pattern).unwrap_or_else(|| matcher.to_owned());
    Vain {
        message: format!("the braces of `{pattern}` stand for themselves"),
        hint: format!("a pattern of Traefik 2 is written {meant}"),
    }
}

/// Whether a path looks like one of Traefik 2: `/{id:[0-9]+}`.
fn is_template(path: &str) -> bool {
    path.split_once('{').is_some_and(|(_, rest)| rest.contains('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(op: Op, path: &str) -> String {
        let test = Test::new(Field::Path, op, vec![path.to_owned()]).unwrap();
        let not = Predicate::Not(Box::new(Predicate::Test(test)));
        not.vain().map_or_else(|| "fine".to_owned(), |vain| vain.hint)
    }

    #[test]
    fn a_path_that_no_request_has_is_told_with_what_to_write() {
        for (path, said) in [
            ("/", "fine"),
            ("/a/", "fine"),
            ("/a b", "fine"),
            ("/é", "fine"),
            ("/a%2Fb", "fine"),
            ("/a%25", "fine"),
            ("/.well-known/x", "fine"),
            ("/{", "fine"),
            ("/a%20b", "rules see paths in one form: `/a b`"),
            ("/%7Euser", "rules see paths in one form: `/~user`"),
            ("/a%2fb", "rules see paths in one form: `/a%2Fb`"),
            ("/a//b", "rules see paths in one form: `/a/b`"),
            ("/a/../b", "rules see paths in one form: `/b`"),
            ("/a/.", "rules see paths in one form: `/a/`"),
            ("/a%", "a percent sign is written `%25`"),
            ("/a?b=c", "what stands behind `?` is no path: `/a`, and ``Query(`…`)`` for `b=c`"),
            ("/a#b", "no client sends what stands behind `#`: `/a`"),
            ("/{id:[0-9]+}", "a pattern of Traefik 2 is written PathRegexp(`^/[0-9]+$`)"),
            ("/{a b}", "a pattern of Traefik 2 is written PathRegexp(`…`)"),
        ] {
            assert_eq!(hint(Op::Equals, path), said, "{path}");
        }
    }

    #[test]
    fn what_traefik_2_took_otherwise_is_told_with_what_to_write() {
        let hint = |field: Field, op, value: &str| {
            let test = Test::new(field, op, vec![value.to_owned()]).unwrap();
            test.vain().map_or_else(|| "fine".to_owned(), |vain| vain.hint)
        };
        let host = |expression: &str| hint(Field::Host, Op::Regex, expression);
        assert_eq!(
            host("{sub:[a-z]+}.x.local"),
            r"a pattern of Traefik 2 is written HostRegexp(`^[a-z]+\.x\.local$`)"
        );
        assert_eq!(host(r"^[a-z]{2}\.local$"), "fine");
        let query = |key: &str, value| hint(Field::Query(key.to_owned()), Op::Equals, value);
        assert_eq!(query("a=b", ""), "write Query(`a`, `b`), as Traefik 3 has it");
        assert_eq!(query("a", ""), "fine");
        assert_eq!(query("a", "b=c"), "fine");
    }

    #[test]
    fn a_prefix_may_go_on() {
        for (path, said) in [
            ("/", "fine"),
            ("/a", "fine"),
            ("/a/", "fine"),
            ("/.", "fine"),
            ("/a/..", "fine"),
            ("/a%", "fine"),
            ("/a%2", "fine"),
            ("/a%2F", "fine"),
            ("/a//", "rules see paths in one form: `/a/`"),
            ("//", "rules see paths in one form: `/`"),
            ("/a//b%2", "rules see paths in one form: `/a/b`"),
            ("/a/../", "rules see paths in one form: `/`"),
            ("/a%20b", "rules see paths in one form: `/a b`"),
            ("/a?b", "what stands behind `?` is no path: `/a`, and ``Query(`…`)`` for `b`"),
        ] {
            assert_eq!(hint(Op::Prefix, path), said, "{path}");
        }
    }
}
