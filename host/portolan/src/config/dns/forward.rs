//! `[dns.forward]`, `[dns.cache]` and `[dns.filter]`: names that are not ours.

use std::{
    collections::{HashMap, hash_map::Entry},
    hash::Hash,
    net::SocketAddr,
    ops::Range,
    path::PathBuf,
    time::Duration,
};

use portolan_core::zone::Name;
use portolan_net::dns::{BlockAnswer, CacheConfig, Mode, Protocol, Rebind, UpstreamConfig};
use toml::Spanned;

use crate::config::{
    quantity::ByteSize,
    read::{Named, Node, Read, Reading, table},
    report::Finding,
    value::{Ttl, Upstream, Word, read_word},
};

table! {
    /// `[dns.cache]`
    pub(in crate::config) struct Cache {
        /// Of each worker; 0: nothing is remembered.
        size: ByteSize = ByteSize(CacheConfig::default().bytes as u64),
        min_ttl: Ttl = Ttl(CacheConfig::default().min_ttl),
        max_ttl: Ttl = Ttl(CacheConfig::default().max_ttl),
        negative_ttl: Ttl = Ttl(CacheConfig::default().negative_ttl),
        prefetch: bool = CacheConfig::default().prefetch,
        /// How long an answer that is too old may serve; 0: not at all.
        serve_stale: Duration = Duration::from_secs(CacheConfig::default().stale.into()),
    }
}

table! {
    /// `[dns.filter]`
    pub(in crate::config) struct Filter {
        rebind_protection: Rebinding = Rebinding(Rebind::Outside),
        rebind_localhost: bool = false,
        rebind_exempt: Vec<Spanned<String>> = Vec::new(),
        domain_needed: bool = true,
        bogus_priv: bool = true,
        /// Files and folders.
        block_lists: Vec<PathBuf> = Vec::new(),
        block_answer: Blocking = Blocking(BlockAnswer::NoSuchName),
    }
}

/// In which order upstreams are asked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::config) struct UpstreamMode(pub(in crate::config) Mode);

impl Word for UpstreamMode {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("fastest", Self(Mode::Fastest)),
        ("strict", Self(Mode::Strict)),
        ("parallel", Self(Mode::Parallel)),
    ];
}

impl Read for UpstreamMode {
    const EXPECTED: &'static str = "one of `fastest`, `strict` and `parallel`";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_word(node, reading)
    }
}

/// Whose answers may not lead into our own networks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::config) struct Rebinding(Rebind);

impl Word for Rebinding {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("outside", Self(Rebind::Outside)),
        ("all", Self(Rebind::All)),
        ("off", Self(Rebind::Off)),
    ];
}

impl Read for Rebinding {
    const EXPECTED: &'static str = "one of `outside`, `all` and `off`";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_word(node, reading)
    }
}

/// How blocked names are answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::config) struct Blocking(BlockAnswer);

impl Word for Blocking {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("nxdomain", Self(BlockAnswer::NoSuchName)),
        ("nodata", Self(BlockAnswer::NoData)),
        ("zero", Self(BlockAnswer::Zero)),
        ("refused", Self(BlockAnswer::Refused)),
    ];
}

impl Read for Blocking {
    const EXPECTED: &'static str = "one of `nxdomain`, `nodata`, `zero` and `refused`";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_word(node, reading)
    }
}

/// What is taken out of answers, and what is asked of nobody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct FilterConfig {
    pub(crate) rebind: Rebind,
    pub(crate) rebind_localhost: bool,
    pub(crate) rebind_exempt: Vec<Name>,
    pub(crate) domain_needed: bool,
    /// Whether nobody is asked for the names of private addresses.
    pub(crate) bogus_priv: bool,
    /// Files, and folders of files.
    pub(crate) block_lists: Vec<PathBuf>,
    pub(crate) block_answer: BlockAnswer,
}

/// What `[dns.cache]` says.
pub(super) fn cache(cache: &Cache) -> CacheConfig {
    CacheConfig {
        bytes: usize::try_from(cache.size.0).unwrap_or(usize::MAX),
        min_ttl: cache.min_ttl.0,
        max_ttl: cache.max_ttl.0,
        negative_ttl: cache.negative_ttl.0,
        prefetch: cache.prefetch,
        stale: u32::try_from(cache.serve_stale.as_secs()).unwrap_or(u32::MAX),
    }
}

/// What `[dns.filter]` says.
pub(super) fn filter(filter: Filter, reading: &mut Reading<'_>) -> FilterConfig {
    let exempt = filter.rebind_exempt.iter();
    FilterConfig {
        rebind: filter.rebind_protection.0,
        rebind_localhost: filter.rebind_localhost,
        rebind_exempt: exempt.filter_map(|text| name(text, reading)).collect(),
        domain_needed: filter.domain_needed,
        bogus_priv: filter.bogus_priv,
        block_lists: filter.block_lists,
        block_answer: filter.block_answer.0,
    }
}

/// Suffixes with those who are asked for them.
pub(super) fn suffixes(
    forward: Named<Vec<Spanned<Upstream>>>,
    reading: &mut Reading<'_>,
) -> Vec<(Name, Vec<Spanned<UpstreamConfig>>)> {
    let mut places = Places::default();
    let suffixes = forward.0.into_iter().filter_map(|(suffix, upstreams)| {
        let place = suffix.span();
        let suffix = name(&suffix, reading)?;
        places.note(suffix.clone(), place, reading).then_some(())?;
        let upstreams = upstreams.into_iter().map(|upstream| {
            let span = upstream.span();
            Spanned::new(span, upstream.into_inner().0)
        });
        Some((suffix, upstreams.collect()))
    });
    suffixes.collect()
}

/// Those who say where upstreams are: they are spoken to without any certificate.
pub(super) fn bootstrap(
    upstreams: Vec<Spanned<Upstream>>,
    reading: &mut Reading<'_>,
) -> Vec<SocketAddr> {
    let addresses = upstreams.into_iter().filter_map(|upstream| {
        let config = &upstream.get_ref().0;
        let address = config.address().filter(|_| config.protocol == Protocol::Udp);
        if address.is_none() {
            let message = "this must be an IP address, with a port if it is not 53";
            let finding = Finding::error(upstream.span(), message);
            reading.add(finding.hint("it is asked before any certificate can be looked at"));
        }
        address
    });
    addresses.collect()
}

/// Where each thing was said that may be said once, however it is spelt.
#[derive(Debug)]
pub(super) struct Places<T>(HashMap<T, Range<usize>>);

impl<T> Default for Places<T> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<T: Eq + Hash> Places<T> {
    /// False: it was said before, which is told.
    pub(super) fn note(&mut self, it: T, place: Range<usize>, reading: &mut Reading<'_>) -> bool {
        match self.0.entry(it) {
            Entry::Vacant(vacant) => {
                vacant.insert(place);
                true
            }
            Entry::Occupied(first) => {
                let finding = Finding::error(place, "this name is there twice");
                reading.add(finding.also(first.get().clone(), "first here"));
                false
            }
        }
    }
}

/// A name; a dot before it changes nothing.
pub(super) fn name(text: &Spanned<String>, reading: &mut Reading<'_>) -> Option<Name> {
    let bare = text.get_ref().trim_start_matches("*.").trim_start_matches('.');
    match Name::parse(if bare.is_empty() { text.get_ref() } else { bare }) {
        Ok(name) => Some(name.to_lower()),
        Err(error) => {
            let message = format!("{:?} is not a name: {error}", text.get_ref());
            reading.add(Finding::error(text.span(), message));
            None
        }
    }
}
