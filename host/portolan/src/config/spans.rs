//! Where each value of a TOML document stands, by JSON Pointer (RFC 6901).
//!
//! **Invariant:** every range lies within the text that it was made from, on character boundaries.

use std::{collections::HashMap, ops::Range};

use portolan_core::{name::fold, pointer::child};
use toml::de::{DeTable, DeValue};

/// The places of all values of a document.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spans {
    exact: HashMap<String, Range<usize>>,
    /// The same with folded keys: a pointer may spell `stripPrefix` what the file calls
    /// `strip-prefix`. Where two fold to one, either is as good.
    folded: HashMap<String, Range<usize>>,
}

impl Spans {
    /// The places of everything in `table`.
    pub(super) fn of(table: &DeTable<'_>) -> Self {
        let mut spans = Self::default();
        spans.walk_table("", table);
        spans
    }

    /// The place of the value at `pointer`, or of the nearest thing around it that was written.
    ///
    /// A table is shown by its key: its whole extent would underline half a file.
    pub(crate) fn locate(&self, pointer: &str) -> Option<Range<usize>> {
        let mut pointer = pointer;
        loop {
            let span = self.exact.get(pointer).or_else(|| self.folded.get(&fold(pointer)));
            if let Some(span) = span {
                return Some(span.clone());
            }
            (pointer, _) = pointer.rsplit_once('/')?;
        }
    }

    fn walk_table(&mut self, pointer: &str, table: &DeTable<'_>) {
        for (key, value) in table {
            let pointer = child(pointer, key.get_ref());
            let span = if value.get_ref().is_table() { key.span() } else { value.span() };
            self.walk(pointer, span, value.get_ref());
        }
    }

    fn walk(&mut self, pointer: String, span: Range<usize>, value: &DeValue<'_>) {
        match value {
            DeValue::Table(table) => self.walk_table(&pointer, table),
            DeValue::Array(items) => {
                for (index, item) in items.iter().enumerate() {
                    self.walk(format!("{pointer}/{index}"), item.span(), item.get_ref());
                }
            }
            DeValue::String(_)
            | DeValue::Integer(_)
            | DeValue::Float(_)
            | DeValue::Boolean(_)
            | DeValue::Datetime(_) => (),
        }
        self.folded.insert(fold(&pointer), span.clone());
        self.exact.insert(pointer, span);
    }
}

/// Line and column of a byte offset, both counted from one; columns are characters.
pub(super) fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..text.floor_char_boundary(offset)).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or(before).chars().count() + 1;
    (line, column)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
[http.routers.whoami]
rule = 'Host(`ä`)'
middlewares = [
    'hello', { x = 1 },
]
[http.middlewares.m.strip-prefix]
prefixes = ['/a']
[http.services.'a/b']
";

    fn located(pointer: &str) -> Option<&'static str> {
        let spans = Spans::of(DeTable::parse(TEXT).unwrap().get_ref());
        spans.locate(pointer).map(|span| TEXT.get(span).unwrap())
    }

    #[test]
    fn a_pointer_leads_to_what_was_written() {
        for (pointer, text) in [
            ("/http/routers/whoami/rule", "'Host(`ä`)'"),
            ("/http/routers/whoami/middlewares/0", "'hello'"),
            ("/http/routers/whoami/middlewares/1/x", "1"),
            ("/http/routers/whoami", "whoami"),
            ("/http/middlewares/m/strip-prefix", "strip-prefix"),
            ("/http/services/a~1b", "'a/b'"),
        ] {
            assert_eq!(located(pointer), Some(text), "{pointer}");
        }
    }

    #[test]
    fn keys_compare_without_case_and_hyphens() {
        assert_eq!(located("/http/middlewares/m/stripPrefix/prefixes/0"), Some("'/a'"));
    }

    #[test]
    fn what_was_not_written_is_shown_at_what_is_around_it() {
        assert_eq!(located("/http/routers/whoami/service"), Some("whoami"));
        assert_eq!(located("/http/routers/other/rule"), Some("routers"));
        assert_eq!(located("/dns/address"), None);
        assert_eq!(located(""), None);
    }

    #[test]
    fn lines_and_columns_count_characters_from_one() {
        assert_eq!(line_column("ab\nä=x", 0), (1, 1));
        assert_eq!(line_column("ab\nä=x", 6), (2, 3));
        assert_eq!(line_column("ab\n", 99), (2, 1));
    }
}
