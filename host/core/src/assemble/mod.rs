//! The next snapshot, from everything that is known now.
//!
//! What is different in the sources flows from stage to stage (objects, middlewares, transports,
//! services, routers, tables, names), and each stage makes anew what it touches and nothing else:
//! the cost of a snapshot is that of the change. Services that are made of others are looked at all
//! together when any service is different. Only another frame (entrypoints, plugins, the list of
//! providers) makes everything anew.
//!
//! **Invariant:** a snapshot is the same whatever came before it; but what did not change keeps its
//! identity from one to the next: bindings (and so warm guests), balancers, routers, figures, and a
//! middleware whose file is not good any more, or whose plugin does not take it any more, goes on as it
//! was. What is wrong becomes a problem and costs itself.

mod bind;
mod backends;
mod chain;
mod charge;
mod complaints;
mod compound;
mod contents;
mod doubts;
mod entrypoint;
mod groups;
mod likeness;
mod newest;
mod merge;
mod unplugged;
mod overlap;
mod own;
mod parts;
mod resolve;
mod routers;
mod services;
mod stages;
#[cfg(test)]
mod bind_tests;
#[cfg(test)]
mod chain_tests;
#[cfg(test)]
mod change_tests;
#[cfg(test)]
mod contents_tests;
#[cfg(test)]
mod departed_tests;
#[cfg(test)]
mod missing_tests;
#[cfg(test)]
mod newest_tests;
#[cfg(test)]
mod overlap_tests;
#[cfg(test)]
mod retry_tests;
#[cfg(test)]
mod service_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod unplugged_tests;

pub use bind::Unsettled;
pub use entrypoint::{Entrypoint, Redirected};
pub use own::is_own_middleware;
pub use resolve::{CONFIG, INTERNAL, INTERNAL_SERVICES};
pub use routers::RulePriority;

use std::{mem, sync::Arc};

use crate::{
    catalog::Source,
    matcher::{MatcherCache, MatcherSet},
    name::ObjectName,
    port::{FileAsk, Files, MatcherPlugin, MiddlewarePlugin},
    snapshot::Snapshot,
    zone::DnsConfig,
};

use bind::Bindings;
use contents::Supply;
use resolve::{Provider, providers};
use routers::Rules;
use stages::{Board, Turn};

/// Everything that a snapshot is made of.
#[derive(Clone, Debug, Default)]
pub struct Inputs {
    /// The entrypoints of the configuration.
    pub entrypoints: Vec<Entrypoint>,
    /// Which of two routers without a priority has precedence.
    pub rule_priority: RulePriority,
    /// A reference to the transport of services that name none; `None`: the system's trust.
    pub default_transport: Option<Arc<str>>,
    /// Zones and edge addresses.
    pub dns: DnsConfig,
    /// What providers reported; `config.toml` is one of them.
    pub sources: Vec<Arc<Source>>,
    /// Plugins that add matchers.
    pub matchers: Vec<Arc<dyn MatcherPlugin>>,
    /// Plugins that middlewares are made of.
    pub middlewares: Vec<Arc<dyn MiddlewarePlugin>>,
    /// Files that configurations of middlewares name; `None`: there are none to be had.
    pub files: Option<Arc<dyn Files>>,
}

/// Makes snapshots, one after the other.
#[derive(Clone, Debug, Default)]
pub struct Assembler {
    frame: Option<Frame>,
    board: Board,
    bindings: Bindings,
    /// Those of the turn before.
    files: Option<Arc<dyn Files>>,
    rules: Rules,
    /// Middlewares whose plugins are to be asked again.
    again: Vec<ObjectName>,
    matcher_cache: Arc<MatcherCache>,
    previous: Arc<Snapshot>,
    generation: u64,
}

/// What everything depends on.
#[derive(Clone, Debug, Default, PartialEq)]
struct Frame {
    entrypoints: Vec<Entrypoint>,
    rule_priority: RulePriority,
    default_transport: Option<Arc<str>>,
    providers: Vec<Provider>,
    /// By their fingerprints.
    matchers: Vec<String>,
    /// By their names and fingerprints.
    middlewares: Vec<(String, String)>,
}

impl Frame {
    fn of(inputs: &Inputs) -> Self {
        let matchers = inputs.matchers.iter().map(|plugin| plugin.fingerprint().to_owned());
        let middlewares = inputs.middlewares.iter();
        Self {
            entrypoints: inputs.entrypoints.clone(),
            rule_priority: inputs.rule_priority,
            default_transport: inputs.default_transport.clone(),
            providers: providers(inputs.sources.iter().map(|source| &**source)),
            matchers: matchers.collect(),
            middlewares: middlewares
                .map(|plugin| (plugin.name().to_owned(), plugin.fingerprint().to_owned()))
                .collect(),
        }
    }
}

impl Assembler {
    /// The next snapshot. What stays is carried over from the one before.
    pub fn assemble(&mut self, inputs: &Inputs) -> Arc<Snapshot> {
        let frame = Frame::of(inputs);
        let is_new = self.frame.as_ref() != Some(&frame);
        if is_new {
            let matchers = self.frame.as_ref().map(|frame| &frame.matchers);
            self.rules.begin_anew(matchers == Some(&frame.matchers));
            self.board = Board::new(inputs);
        }
        let supply = Supply { plugins: &inputs.middlewares, files: inputs.files.as_deref() };
        self.bindings.begin_turn();
        let mut stale = mem::take(&mut self.again);
        if !is_new && !contents::are_the_same(&self.files, &inputs.files) {
            stale.extend(self.bindings.stale(&supply));
        }
        self.files.clone_from(&inputs.files);
        let frame = self.frame.insert(frame);
        self.generation += 1;
        let cache = &self.matcher_cache;
        let mut turn = Turn {
            inputs,
            providers: &frame.providers,
            previous: &self.previous,
            board: &mut self.board,
            bindings: &mut self.bindings,
            supply,
            stale,
            rules: &mut self.rules,
            matchers: &mut || MatcherSet::build(&inputs.matchers, cache),
            set: None,
        };
        if is_new {
            turn.complain_of_matchers();
        }
        self.previous = Arc::new(turn.take(self.generation));
        if is_new {
            self.rules.end_anew();
            self.bindings.retain(|name| self.previous.middlewares.get(name).is_some());
        }
        self.previous.clone()
    }

    /// The same with inputs that may be refused, on the side: if they are, everything stays as it
    /// was, with its state. Answers whether they are good.
    pub fn try_out(&mut self, inputs: &Inputs, is_good: impl FnOnce(&Snapshot) -> bool) -> bool {
        let mut trial = self.clone();
        let is_good = is_good(&trial.assemble(inputs));
        if is_good {
            *self = trial;
        }
        is_good
    }

    /// Whether plugins failed while they read configurations, as they may not the next time.
    pub fn unsettled(&self) -> Unsettled {
        self.bindings.unsettled()
    }

    /// Has the next turn ask those plugins again. Until then what they answered holds.
    pub fn ask_again(&mut self) {
        self.again = self.bindings.ask_again();
    }

    /// The internal services that routers refer to and that are not there.
    pub fn missing_internal_services(&self) -> impl Iterator<Item = &str> {
        self.board.missing_services(INTERNAL)
    }

    /// The same for internal middlewares.
    pub fn missing_internal_middlewares(&self) -> impl Iterator<Item = &str> {
        self.board.missing_middlewares(INTERNAL)
    }

    /// The rules of routers, each once.
    pub fn rules(&self) -> impl Iterator<Item = &str> {
        self.rules.texts()
    }

    /// The files that middlewares ask for, in no order, some perhaps more than once.
    pub fn files(&self) -> impl Iterator<Item = &FileAsk> {
        self.bindings.files()
    }
}
