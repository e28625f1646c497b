//! All upstreams that are configured, and which names they are for.
//!
//! **Invariant:** what is known of an upstream is told for as long as the upstream is in the
//! configuration, and no longer: labels of metrics are those that somebody has written. One that comes
//! back is noted where workers note it that have not seen that it was gone.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use arc_swap::ArcSwap;
use hashbrown::{HashMap, HashSet};
use tokio::sync::Notify;

use super::{
    super::forward::{Forwarding, UpstreamConfig},
    Standing,
};

/// What is known of all upstreams. Workers share it.
#[derive(Default)]
pub struct Standings {
    table: ArcSwap<Table>,
    changed: Arc<Notify>,
}

#[derive(Default)]
struct Table {
    groups: Vec<Together>,
    known: HashMap<UpstreamConfig, Arc<Standing>>,
    /// Those that are in the configuration no more, while some worker notes something of them.
    gone: HashMap<UpstreamConfig, Weak<Standing>>,
}

/// Upstreams that stand in for each other.
#[derive(Clone, Debug)]
pub(super) struct Together {
    /// Where they are configured.
    pub(super) key: String,
    /// What they are asked for.
    pub(super) purpose: Purpose,
    pub(super) upstreams: Vec<UpstreamConfig>,
}

/// What upstreams are asked for.
#[derive(Clone, Debug)]
pub(super) enum Purpose {
    /// Names that no suffix is for.
    Rest,
    /// Names that end with this.
    Suffix(String),
    /// The addresses of other upstreams.
    Bootstrap,
}

/// An upstream, and what is known of it.
#[derive(Clone, Debug)]
pub struct KnownUpstream {
    /// Who it is.
    pub config: UpstreamConfig,
    /// The keys of the configuration under which it stands: `dns.upstreams`, `dns.forward.SUFFIX`,
    /// `dns.bootstrap`.
    pub keys: Vec<String>,
    /// How it is.
    pub standing: Arc<Standing>,
}

impl fmt::Debug for Standings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Standings").field("all", &self.all()).finish()
    }
}

impl Standings {
    /// From now on these are the upstreams.
    pub(in crate::dns) fn follow(&self, settings: &Forwarding) {
        let groups = groups(settings);
        let before = self.table.load();
        let mut known = HashMap::new();
        for config in groups.iter().flat_map(|group| &group.upstreams) {
            known.entry(config.clone()).or_insert_with(|| {
                let kept = before.find(config);
                kept.unwrap_or_else(|| Arc::new(Standing::telling(self.changed.clone())))
            });
        }
        let gone = before.gone.iter().filter(|(_, standing)| standing.strong_count() > 0);
        let gone = gone.map(|(config, standing)| (config, standing.clone()));
        let going = before.known.iter().map(|(config, it)| (config, Arc::downgrade(it)));
        let gone = gone.chain(going).filter(|(config, _)| !known.contains_key(*config));
        let gone = gone.map(|(config, standing)| (config.clone(), standing)).collect();
        self.table.store(Arc::new(Table { groups, known, gone }));
        self.changed.notify_one();
    }

    /// What is noted of an upstream. One that is in the configuration no more is told to nobody: some
    /// worker has not seen that yet.
    pub(in crate::dns) fn of(&self, config: &UpstreamConfig) -> Arc<Standing> {
        self.table.load().find(config).unwrap_or_default()
    }

    /// All of them, each once, in the order of the configuration.
    pub fn all(&self) -> Vec<KnownUpstream> {
        let table = self.table.load();
        let mut keys: HashMap<&UpstreamConfig, Vec<String>> = HashMap::new();
        for group in &table.groups {
            for config in group.upstreams.iter().collect::<HashSet<_>>() {
                keys.entry(config).or_default().push(group.key.clone());
            }
        }
        let configs = table.groups.iter().flat_map(|group| &group.upstreams);
        configs
            .filter_map(|config| {
                let keys = keys.remove(config)?;
                let standing = table.known.get(config)?.clone();
                Some(KnownUpstream { config: config.clone(), keys, standing })
            })
            .collect()
    }

    pub(super) fn groups(&self) -> Vec<Together> {
        self.table.load().groups.clone()
    }

    /// Waits until one is lost or found, or there are others.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}

impl Table {
    fn find(&self, config: &UpstreamConfig) -> Option<Arc<Standing>> {
        let known = self.known.get(config).cloned();
        known.or_else(|| self.gone.get(config)?.upgrade())
    }
}

fn groups(settings: &Forwarding) -> Vec<Together> {
    let rest = Together {
        key: "dns.upstreams".to_owned(),
        purpose: Purpose::Rest,
        upstreams: settings.upstreams.clone(),
    };
    let suffixes = settings.suffixes.iter().map(|(suffix, upstreams)| Together {
        key: format!("dns.forward.{suffix}"),
        purpose: Purpose::Suffix(suffix.to_string()),
        upstreams: upstreams.clone(),
    });
    let bootstrap = Together {
        key: "dns.bootstrap".to_owned(),
        purpose: Purpose::Bootstrap,
        upstreams: settings.bootstrap.iter().copied().map(UpstreamConfig::from).collect(),
    };
    [rest].into_iter().chain(suffixes).chain([bootstrap]).collect()
}
