//! `[plugins]`: what holds for every plugin, and `[plugins.<name>]`: what one of them may read.

use std::{path::PathBuf, time::Duration};

use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{
    quantity::ByteSize,
    read::{Named, Node, Read, Reading, key_of, table},
    report::Finding,
    validate::check_name,
};

table! {
    /// `[plugins]`: where they are, and what one instance of one may use.
    pub(crate) struct Plugins {
        /// Files here take the place of the embedded ones of the same name. Need not exist.
        directory: PathBuf = PathBuf::from("plugins"),
        /// Linear memory of one instance.
        memory_limit: Spanned<ByteSize> = Spanned::new(0..0, ByteSize(64 << 20)),
        /// One call that handles a request. Providers, which wait for their source, have their own.
        time_limit: Spanned<Duration> = Spanned::new(0..0, Duration::from_millis(100)),
    }
}

table! {
    /// `[plugins.<name>]`
    pub(super) struct Plugin {
        grants: Grants = Grants::default(),
    }
}

table! {
    /// `grants = { … }` of a plugin.
    pub(super) struct Grants {
        files: Vec<PathBuf> = Vec::new(),
    }
}

/// All that stands below `[plugins]`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct AllPlugins {
    pub(super) common: Plugins,
    pub(super) named: Named<Plugin>,
}

impl Plugins {
    /// What one of them may use must be something that it can work with, and that there is.
    pub(super) fn check(&self, reading: &mut Reading<'_>) {
        let limit = self.memory_limit.get_ref().0;
        if !(1 << 20..=4 << 30).contains(&limit) {
            let message = "`plugins.memory-limit` must be 1MiB to 4GiB";
            reading.add(Finding::error(self.memory_limit.span(), message));
        }
        let limit = *self.time_limit.get_ref();
        if !(Duration::from_millis(1)..=Duration::from_secs(60)).contains(&limit) {
            let message = "`plugins.time-limit` must be 1ms to 60s";
            reading.add(Finding::error(self.time_limit.span(), message));
        }
    }
}

impl Default for AllPlugins {
    fn default() -> Self {
        Self { common: Plugins::default(), named: Named(Vec::new()) }
    }
}

impl Read for AllPlugins {
    const EXPECTED: &'static str = "a table";

    /// A table that is no key of ours is that of a plugin.
    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let DeValue::Table(table) = node.value else {
            reading.add(node.mismatch(Self::EXPECTED));
            return None;
        };
        let (mut common, mut named) = (DeTable::new(), DeTable::new());
        for (key, value) in table {
            let is_ours = Plugins::FIELDS.iter().any(|field| key_of(field) == **key.get_ref());
            let part = match value.get_ref().is_table() && !is_ours {
                true => &mut named,
                false => &mut common,
            };
            part.insert(key.clone(), value.clone());
        }
        let [common, named] = [common, named].map(DeValue::Table);
        let part = |value| Node { name: node.name.clone(), span: node.span.clone(), value };
        let common = Plugins::read(&part(&common), reading);
        let named = Named::<Plugin>::read(&part(&named), reading);
        let named = named.inspect(|named| {
            named.0.iter().for_each(|(name, _)| check_name("a plugin", name, reading));
        });
        Some(Self { common: common?, named: named? })
    }
}
