//! Reading typed values out of a TOML document, every problem and not only the first.
//!
//! **Invariant:** a value that cannot be read leaves a finding, so `None` never stands alone.
//!
//! serde's derive stops at the first thing that it does not like; hence [`Read`] and [`table!`],
//! which declares a table, its keys, their defaults and their documentation in one place.

use std::{borrow::Cow, ops::Range, path::Path};

use portolan_core::name::nearest;
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::report::Finding;

/// What is at hand while a document is read.
pub(super) struct Reading<'r> {
    /// What relative paths are relative to.
    pub(super) base: &'r Path,
    /// The fields of the root: a key of it below a `[table]` is a common slip.
    pub(super) root_fields: &'static [&'static str],
    /// What was wrong so far.
    pub(super) findings: Vec<Finding>,
}

impl Reading<'_> {
    pub(super) fn add(&mut self, finding: Finding) {
        self.findings.push(finding);
    }
}

/// A value in the document and how it is called.
pub(super) struct Node<'d> {
    /// As a person would name it: `entrypoints.web.address`; empty for the root.
    pub(super) name: String,
    /// What to underline: a table's key, else the value.
    pub(super) span: Range<usize>,
    pub(super) value: &'d DeValue<'d>,
}

impl<'d> Node<'d> {
    /// The entries of a table; none of anything else.
    pub(super) fn entries(
        &self,
    ) -> impl Iterator<Item = (&'d Spanned<Cow<'d, str>>, &'d Spanned<DeValue<'d>>)> + use<'d> {
        let table = match self.value {
            DeValue::Table(table) => Some(table),
            _ => None,
        };
        table.into_iter().flat_map(|table| table.iter())
    }

    /// What stands under a key.
    pub(super) fn child(
        &self,
        key: &Spanned<impl AsRef<str>>,
        value: &'d Spanned<DeValue<'d>>,
    ) -> Self {
        let written = key.get_ref().as_ref();
        let bare = !written.is_empty()
            && written.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_');
        let key_name = if bare { written.to_owned() } else { format!("{written:?}") };
        let name = match self.name.as_str() {
            "" => key_name,
            parent => format!("{parent}.{key_name}"),
        };
        let span = if value.get_ref().is_table() { key.span() } else { value.span() };
        Self { name, span, value: value.get_ref() }
    }

    /// The value is not of the kind that is expected here.
    pub(super) fn mismatch(&self, expected: &str) -> Finding {
        let found = match self.value {
            DeValue::Boolean(_) => "a boolean",
            DeValue::Datetime(_) => "a date or time",
            DeValue::Float(_) => "a decimal number",
            DeValue::Integer(_) => "an integer",
            DeValue::String(_) => "a string",
            DeValue::Array(_) => "a list",
            DeValue::Table(_) => "a table",
        };
        self.wrong(format!("must be {expected}")).label(format!("this is {found}"))
    }

    /// The value is of the right kind, but makes no sense.
    pub(super) fn wrong(&self, predicate: impl AsRef<str>) -> Finding {
        Finding::error(self.span.clone(), format!("`{}` {}", self.name, predicate.as_ref()))
    }
}

/// What can be read from a configuration file.
pub(super) trait Read: Sized {
    /// What is expected, for a message: `a duration such as "5s"`.
    const EXPECTED: &'static str;

    /// The value, or a finding.
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self>;
}

/// A table whose keys are known.
pub(super) struct Table<'d> {
    pub(super) node: &'d Node<'d>,
    table: &'d DeTable<'d>,
}

impl<'d> Table<'d> {
    /// Takes the node as a table with these keys and no others. The names are those of Rust
    /// fields: `data_dir` stands for `data-dir`.
    pub(super) fn open(
        node: &'d Node<'d>,
        fields: &[&str],
        reading: &mut Reading<'_>,
    ) -> Option<Self> {
        let DeValue::Table(table) = node.value else {
            reading.add(node.mismatch("a table"));
            return None;
        };
        let keys: Vec<_> = fields.iter().map(|field| key_of(field)).collect();
        for (key, _) in table {
            let written = key.get_ref().as_ref();
            if !keys.iter().any(|known| known == written) {
                reading.add(unknown_key(node, key.span(), written, &keys, reading.root_fields));
            }
        }
        Some(Self { node, table })
    }

    /// The value of a field, its default if it is absent, a finding if it has none.
    ///
    /// A value that cannot be read counts as absent as well, so that what stands beside it is
    /// checked nevertheless.
    pub(super) fn take<T: Read>(
        &self,
        field: &str,
        default: Option<T>,
        reading: &mut Reading<'_>,
    ) -> Option<T> {
        let key = key_of(field);
        let found = self.table.iter().find(|(written, _)| written.get_ref().as_ref() == key);
        match (found, default) {
            (Some((written, value)), default) => {
                T::read(&self.node.child(written, value), reading).or(default)
            }
            (None, Some(default)) => Some(default),
            (None, None) => {
                let message = format!("`{}` needs `{key}`", self.node.name);
                let finding = Finding::error(self.node.span.clone(), message);
                reading.add(finding.hint(format!("`{key}` is {}", T::EXPECTED)));
                None
            }
        }
    }
}

/// `data_dir` → `data-dir`, `r#type` → `type`.
pub(super) fn key_of(field: &str) -> String {
    field.strip_prefix("r#").unwrap_or(field).replace('_', "-")
}

fn unknown_key(
    node: &Node<'_>,
    at: Range<usize>,
    written: &str,
    keys: &[String],
    root_fields: &[&str],
) -> Finding {
    let message = match node.name.as_str() {
        "" => format!("unknown key `{written}`"),
        name => format!("unknown key `{written}` in `{name}`"),
    };
    let finding = Finding::error(at, message);
    let candidate = nearest(written, keys.iter().map(String::as_str));
    if candidate.is_some() {
        finding.did_you_mean(candidate)
    } else if root_fields.iter().any(|field| key_of(field) == written) {
        finding.hint(format!("`{written}` belongs at the top, before the first `[table]`"))
    } else {
        finding.hint(format!("the keys here are {}", listed(keys)))
    }
}

/// `` `a`, `b` and `c` ``.
pub(super) fn listed(words: &[impl AsRef<str>]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("`{}`", word.as_ref())).collect();
    match quoted.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => quoted.concat(),
    }
}

/// Things of one kind, each under a name of its own, in the order of the file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Named<T>(pub(super) Vec<(Spanned<String>, T)>);

impl<T: Read> Read for Named<T> {
    const EXPECTED: &'static str = "a table of tables";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Table(table) = node.value else {
            reading.add(node.mismatch(Self::EXPECTED));
            return None;
        };
        // TOML's own order is lost: the parser sorts by key.
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(key, _)| key.span().start);
        let read = entries.into_iter().filter_map(|(key, value)| {
            let name = Spanned::new(key.span(), key.get_ref().to_string());
            Some((name, T::read(&node.child(key, value), reading)?))
        });
        Some(Self(read.collect()))
    }
}

impl<T: Read> Read for Vec<T> {
    const EXPECTED: &'static str = "a list";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Array(items) = node.value else {
            reading.add(node.mismatch(&format!("a list, each item {}", T::EXPECTED)));
            return None;
        };
        let read = items.iter().enumerate().filter_map(|(index, item)| {
            let name = format!("{}[{index}]", node.name);
            T::read(&Node { name, span: item.span(), value: item.get_ref() }, reading)
        });
        Some(read.collect())
    }
}

/// One thing, or a list of them.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct OneOrMany<T>(pub(super) Vec<T>);

impl<T: Read> Read for OneOrMany<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        match node.value {
            DeValue::Array(_) => Vec::read(node, reading).map(Self),
            _ => T::read(node, reading).map(|one| Self(vec![one])),
        }
    }
}

/// Something that may be off (`false`), on as it comes (`true`) or on as described (a table).
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Switch<T>(pub(super) Option<T>);

impl<T: Read> Read for Switch<T> {
    const EXPECTED: &'static str = "a boolean or a table";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        match node.value {
            DeValue::Boolean(false) => Some(Self(None)),
            DeValue::Boolean(true) => {
                let value = DeValue::Table(DeTable::new());
                let node = Node { name: node.name.clone(), span: node.span.clone(), value: &value };
                T::read(&node, reading).map(|on| Self(Some(on)))
            }
            DeValue::Table(_) => T::read(node, reading).map(|on| Self(Some(on))),
            _ => {
                reading.add(node.mismatch(Self::EXPECTED));
                None
            }
        }
    }
}

/// `None`: absent, or not to be read. Of two `Option`s, the outer one says whether it is there.
impl<T: Read> Read for Option<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        Some(T::read(node, reading))
    }
}

impl<T: Read> Read for Spanned<T> {
    const EXPECTED: &'static str = T::EXPECTED;

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        T::read(node, reading).map(|value| Self::new(node.span.clone(), value))
    }
}

/// Declares a table of the configuration: each line is a key, its type, its default and its
/// meaning. `data_dir` is written `data-dir`; a key without a default is required.
///
/// Where every key has a default, so has the table.
macro_rules! table {
    (
        $(#[$meta:meta])* $vis:vis struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty = $default:expr, )*
        }
    ) => {
        table!(@read $(#[$meta])* $vis $name { $( $(#[$field_meta])* $field: $type [$default], )* });

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }
    };
    (
        $(#[$meta:meta])* $vis:vis struct $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty $(= $default:expr)?, )*
        }
    ) => {
        table!(@read $(#[$meta])* $vis $name {
            $( $(#[$field_meta])* $field: $type [$($default)?], )*
        });
    };
    (
        @read $(#[$meta:meta])* $vis:vis $name:ident {
            $( $(#[$field_meta:meta])* $field:ident: $type:ty [$($default:expr)?], )*
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        $vis struct $name {
            $( $(#[$field_meta])* $vis $field: $type, )*
        }

        impl $name {
            /// The keys, as fields.
            pub(in crate::config) const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];
        }

        impl $crate::config::read::Read for $name {
            const EXPECTED: &'static str = "a table";

            fn read(
                node: &$crate::config::read::Node<'_>,
                reading: &mut $crate::config::read::Reading<'_>,
            ) -> Option<Self> {
                let table = $crate::config::read::Table::open(node, Self::FIELDS, reading)?;
                // All are read before the first that is missing ends the reading.
                $( let $field = table.take(
                    stringify!($field),
                    table!(@default $($default)?),
                    reading,
                ); )*
                Some(Self { $( $field: $field?, )* })
            }
        }
    };
    (@default) => { None };
    (@default $default:expr) => { Some($default) };
}
pub(super) use table;
