//! The board: how providers, plugins and the configuration are, for those who ask.
//!
//! The snapshot says what is served; the board says where it comes from and how fresh it is. It
//! is replaced whole by the control loop and read by the admin API.

use std::{path::PathBuf, sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use portolan_core::{
    plugin::{PluginFigures, PluginInfo},
    problem::Problem,
};
use portolan_net::http::{EncodedCharacters, Trust};

use crate::config::{Drain, model::Entrypoint};

/// How a provider is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum ProviderState {
    /// It has not given its first state yet; nothing was kept on disk either.
    Waiting,
    /// Its last step succeeded.
    Synced,
    /// Its source does not answer; the last known state is served.
    Stale,
    /// It will not be asked again before the configuration or its plugin changes.
    Failed,
}

impl ProviderState {
    /// The word for it in the API.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Synced => "synced",
            Self::Stale => "stale",
            Self::Failed => "failed",
        }
    }
}

/// A provider, as configured and as it is.
#[derive(Clone, Debug)]
pub(crate) struct ProviderReport {
    /// The key under `[providers]`.
    pub(crate) name: Arc<str>,
    /// The plugin that it is a use of.
    pub(crate) plugin: Arc<str>,
    /// How it is.
    pub(crate) state: ProviderState,
    /// Since when it is so.
    pub(crate) since: SystemTime,
    /// When its last step succeeded.
    pub(crate) last_success: Option<SystemTime>,
    /// When its state last changed.
    pub(crate) last_change: Option<SystemTime>,
    /// Whether what it serves was read from disk and not confirmed since.
    pub(crate) from_disk: bool,
    /// Why its last step failed.
    pub(crate) error: Option<String>,
    /// How many nodes, instances and fragments it has.
    pub(crate) items: [usize; 3],
    /// Steps made, and how many of them failed.
    pub(crate) steps: [u64; 2],
    /// The origins and folders that it was granted, as `capability: scope`.
    pub(crate) grants: Vec<String>,
}

/// A plugin file, as found and as it is.
#[derive(Clone, Debug)]
pub(crate) struct PluginReport {
    /// What serves now; `None` when no version of it has ever loaded.
    pub(crate) info: Option<PluginInfo>,
    /// Its name in configurations, or its file's stem when it did not load.
    pub(crate) name: Arc<str>,
    /// Why the file as it is now is not in use: the one before goes on.
    pub(crate) error: Option<String>,
    /// The file is gone, but the configuration still uses it.
    pub(crate) deleted: bool,
    /// Another file, or the program, has a plugin of this name that serves.
    pub(crate) shadowed: bool,
    /// When what serves now was loaded.
    pub(crate) loaded: Option<SystemTime>,
    /// How long that took, in milliseconds, and whether its compiled code was in the cache.
    pub(crate) load_ms: u64,
    /// Whether its compiled code was in the cache.
    pub(crate) cached: bool,
    /// What it has done.
    pub(crate) figures: Arc<PluginFigures>,
}

/// A bound address.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EntrypointReport {
    /// `web`, `websecure`; `admin` and `dns` for our own.
    pub(crate) name: Arc<str>,
    /// The address that was bound, with its real port.
    pub(crate) address: std::net::SocketAddr,
    /// `http`, `https`, `dns`, `admin`.
    pub(crate) protocol: &'static str,
    /// Where it sends everybody, as a person would say it; `None`: requests meet routers.
    pub(crate) redirect: Option<Arc<str>>,
    /// Routers of a higher priority come before that; `None`: none does.
    pub(crate) redirect_priority: Option<i64>,
    /// What may not stand in the paths of its requests.
    pub(crate) encoded_characters: EncodedCharacters,
    /// Whether it encodes each `;` in their queries.
    pub(crate) encodes_semicolons: bool,
    /// Whose word about others is taken.
    pub(crate) trust: Trust,
    /// As it is configured, and in its place what `[tracing]` says for it; `None`: it is one of our own.
    pub(crate) configured: Option<Arc<Entrypoint>>,
}

impl EntrypointReport {
    /// Whether clients find the same thing at the same place, whatever becomes of their requests.
    pub(super) fn listens_as(&self, other: &Self) -> bool {
        let key = |it: &Self| (it.name.clone(), it.address, it.protocol);
        key(self) == key(other)
    }
}

/// How everything is.
#[derive(Clone, Debug)]
pub(crate) struct Board {
    /// Of `config.toml`; the file that is used.
    pub(crate) config_file: String,
    /// Why the file as it is now is not in use: the one before goes on.
    pub(crate) config_error: Option<String>,
    /// The zones of DNS, in lower case.
    pub(crate) zones: Vec<String>,
    /// Names that the admin API answers to, beside those that need no mention; in lower case.
    pub(crate) admin_hosts: Vec<String>,
    /// How we end.
    pub(crate) drain: Drain,
    /// When the configuration in use was read.
    pub(crate) config_loaded: SystemTime,
    /// When the snapshot that is served now was published.
    pub(crate) published: SystemTime,
    /// When the process started.
    pub(crate) started: SystemTime,
    /// Bound addresses.
    pub(crate) entrypoints: Vec<EntrypointReport>,
    /// Providers, by name.
    pub(crate) providers: Vec<ProviderReport>,
    /// Plugins, by name.
    pub(crate) plugins: Vec<PluginReport>,
    /// What configurations of a plugin's middlewares may name, by its name as the operator wrote it.
    pub(crate) plugin_files: Vec<(String, Vec<PathBuf>)>,
    /// Problems that no snapshot knows of: of the configuration file, plugins, providers.
    pub(crate) problems: Vec<Problem>,
}

impl Board {
    /// A board that nothing was put on yet.
    pub(crate) fn empty() -> Self {
        let now = SystemTime::now();
        Self {
            zones: Vec::new(),
            admin_hosts: Vec::new(),
            drain: Drain::default(),
            config_file: String::new(),
            config_error: None,
            config_loaded: now,
            published: now,
            started: now,
            entrypoints: Vec::new(),
            providers: Vec::new(),
            plugins: Vec::new(),
            plugin_files: Vec::new(),
            problems: Vec::new(),
        }
    }
}

/// Reads the board; the control loop replaces it.
pub(crate) type SharedBoard = Arc<ArcSwap<Board>>;
