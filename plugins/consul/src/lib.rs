//! `consul`: services, nodes and tags of a Consul, as they are at any moment.
//!
//! Reading order: the provider here ([`Consul::poll`] is one step), [`agent`] (questions as HTTP),
//! [`catalog`] (which questions, and what answers change), [`watch`] (one blocking query), [`api`]
//! (the shapes of answers), [`address`] (where things are), [`policy`] (who is routed to, and by which rule), [`tags`], [`canary`]
//! (the router that one gets by itself), [`ledger`] (what the host has to be told), [`lookup`] (what is asked for on demand).

mod address;
mod agent;
mod api;
mod canary;
mod catalog;
mod config;
mod constraint;
mod fault;
mod ledger;
mod literal;
mod lookup;
mod policy;
mod secret;
mod tags;
mod template;
mod watch;

use portolan_plugin::{
    Failure, Invalid, Notice, Plugin, Provider, Step, Update, Want, clock, entropy, register,
};

use crate::{agent::Agent, catalog::Catalog, config::Config, lookup::Datacenters, policy::Policy};

struct Consul {
    agent: Agent,
    catalog: Catalog,
    /// Tells the cursors of this instance from those of others, whose state it does not have.
    nonce: u64,
    /// Counts the steps that changed something; the last cursor names the last of them.
    steps: u64,
    notices: Vec<Notice>,
    /// Whether the host was told that Consul cannot be reached, and nothing since.
    is_away: bool,
    datacenters: Datacenters,
}

/// After the first news, what follows closely is waited for, so that a burst is one step.
const BURST_MS: u64 = 50;
const QUIET_MS: u64 = 15;

impl Plugin for Consul {
    type Config = Config;
    const NAME: &'static str = "consul";
    const SUMMARY: &'static str = "Reads services and their tags from Consul, as they change.";

    fn wants() -> Vec<Want> {
        let reason = "to read the catalog from Consul's HTTP API";
        let secret = "to read what `token-file` or `password-file` names";
        vec![
            Want::new("http-client", ["http://127.0.0.1:8500"], reason),
            Want::optional("files", secret),
        ]
    }

    fn new(config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        let policy = Policy::new(&config, &mut invalid);
        let catalog = Catalog::new(policy, &config.datacenter);
        let agent = Agent::new(&config, &mut invalid);
        let (steps, notices, is_away) = (0, Vec::new(), false);
        let (nonce, datacenters) = (entropy::next_u64(), Datacenters::default());
        invalid.or(Self { agent, catalog, nonce, steps, notices, is_away, datacenters })
    }
}

impl Provider for Consul {
    fn poll(&mut self, cursor: Option<Vec<u8>>, wait_ms: u32) -> Result<Step, Failure> {
        if cursor.as_ref().is_some_and(|cursor| *cursor != self.cursor()) {
            let reason = "the cursor is of another instance, or of an earlier step";
            return Err(Failure::Resync(reason.to_owned()));
        }
        let deadline = now() + u64::from(wait_ms);
        self.catalog.retry();
        loop {
            if let Some(step) = self.step(cursor.is_none()) {
                self.is_away = false;
                return Ok(step);
            }
            if let Some(trouble) = self.catalog.trouble() {
                self.is_away = true;
                return Err(Failure::Temporary(self.agent.describe(trouble)));
            }
            let now = now();
            // That it is back is news, whether or not anything has changed.
            let is_back = self.is_away && cursor.is_some() && self.catalog.is_reached();
            if now >= deadline || is_back {
                self.is_away = false;
                return self.nothing_new(cursor);
            }
            self.agent.exchange(&mut self.catalog, deadline, now);
            if self.has_news() {
                self.gather(deadline);
            }
        }
    }
}

register!(Consul: Provider + Lookup);

impl Consul {
    /// Waits until a burst of news is over.
    fn gather(&mut self, deadline: u64) {
        let end = deadline.min(now() + BURST_MS);
        loop {
            let now = now();
            let until = end.min(now + QUIET_MS);
            if now >= end || !self.agent.exchange(&mut self.catalog, until, now) {
                return;
            }
        }
    }

    fn has_news(&self) -> bool {
        self.catalog.has_news() || self.notices != self.notices()
    }

    fn notices(&self) -> Vec<Notice> {
        let mut notices = self.agent.notices();
        notices.extend(self.catalog.notices());
        notices
    }

    /// A step, if there is something to say.
    fn step(&mut self, is_first: bool) -> Option<Step> {
        let update = match is_first {
            true if self.catalog.is_complete() => self.catalog.snapshot(),
            false if self.has_news() => self.catalog.delta(),
            _ => return None,
        };
        self.steps += 1;
        self.notices = self.notices();
        Some(Step::new(update, self.cursor(), self.notices.clone()))
    }

    fn nothing_new(&self, cursor: Option<Vec<u8>>) -> Result<Step, Failure> {
        match cursor {
            Some(cursor) => Ok(Step::new(Update::Unchanged, cursor, Vec::new())),
            None => {
                let reason = match self.catalog.remark() {
                    Some(Notice { origin, message }) => {
                        format!("is incomplete: {origin} {message}")
                    }
                    None => "has not answered every question yet".to_owned(),
                };
                Err(Failure::Temporary(self.agent.describe(&reason)))
            }
        }
    }

    fn cursor(&self) -> Vec<u8> {
        [self.nonce.to_be_bytes(), self.steps.to_be_bytes()].concat()
    }
}

/// Milliseconds since some fixed moment.
fn now() -> u64 {
    clock::monotonic_nanos() / 1_000_000
}
