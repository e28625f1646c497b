//! Which questions are asked, and what their answers change. No clock, no network: time and answers
//! come in as arguments.
//!
//! Up to [`MOST_WATCHES`] services are watched one by one, which tells at once what changed. Above
//! that, three blocking queries (services, nodes, all checks) tell that something changed, and the
//! services that it may concern are read again.
//!
//! **Invariant:** a service leaves the ledger only after a good answer to a question that did not
//! block said that it is gone; an agent that stumbles costs nothing. A service that Consul does not
//! answer for costs that service: what the host knew of it stays.

mod question;
mod tracked;

use std::collections::{BTreeMap, BTreeSet};

use portolan_plugin::{Notice, Update};

use crate::{
    address::Vantage,
    api::{Check, Entry, NodeAnswer, Services, home, segment},
    canary,
    ledger::Ledger,
    policy::Policy,
    watch::Watch,
};

pub(crate) use question::{Answer, Question, Subject, parse, percent_encoded};
use tracked::{Age, Noticed, Tracked};

/// An agent takes 200 connections of one client.
pub(crate) const MOST_WATCHES: usize = 100;

/// How many services are read at once when they are not watched.
const MOST_READS: usize = 8;
/// Milliseconds until everything is read again after a change that the list does show.
const REREAD_MS: u64 = 250;

/// Which datacenters there are is asked again after so many milliseconds: no answer of Consul waits for
/// another one.
const DATACENTERS_MS: u64 = 60_000;

/// An empty catalog has not even Consul itself in it: a weak token, or a server without its data.
/// It is believed when it stays so for this long.
const EMPTY_GRACE_MS: u64 = 30_000;

/// What is known of a Consul.
#[derive(Debug)]
pub(crate) struct Catalog {
    policy: Policy,
    datacenter: String,
    serial: u64,
    services: Watch,
    nodes: Watch,
    datacenters: Watch,
    checks: Watch,
    /// The agent's own datacenter, where that has to be known.
    home: Option<Home>,
    /// By name, as the catalog spells it.
    entries: BTreeMap<String, Tracked>,
    /// Services of which the host keeps what it had, which we do not know, since they have never been
    /// read.
    unread: BTreeSet<String>,
    last_checks: BTreeSet<Check>,
    ledger: Ledger,
    /// When everything is read again, because behind a change that the list shows there may be
    /// others that it does not.
    reread_at: Option<u64>,
    /// Since when the catalog is empty.
    empty_since: Option<u64>,
    /// Why the last question about the services failed.
    trouble: Option<String>,
    remarks: BTreeMap<Subject, String>,
}

/// The agent's own datacenter.
#[derive(Debug, Default)]
struct Home {
    watch: Watch,
    /// Empty: it may not be known.
    name: String,
}

impl Catalog {
    /// Nothing known yet. `datacenter` stands in where answers have none.
    pub(crate) fn new(policy: Policy, datacenter: &str) -> Self {
        Self {
            policy,
            datacenter: datacenter.to_owned(),
            serial: 0,
            services: Watch::default(),
            nodes: Watch::default(),
            datacenters: Watch::default(),
            checks: Watch::default(),
            home: None,
            entries: BTreeMap::new(),
            unread: BTreeSet::new(),
            last_checks: BTreeSet::new(),
            ledger: Ledger::default(),
            reread_at: None,
            empty_since: None,
            trouble: None,
            remarks: BTreeMap::new(),
        }
    }

    /// Whether everything was answered once, but for services that Consul does not answer for.
    pub(crate) fn is_complete(&self) -> bool {
        let services = self.entries.values().all(Tracked::is_settled);
        // Names that nobody but another datacenter has are no reason to have none.
        let is_known = self.datacenters.is_ready || self.datacenters.is_failing();
        self.services.is_ready && self.nodes.is_ready && is_known && services
    }

    /// Whether there is something to tell the host.
    pub(crate) fn has_news(&self) -> bool {
        self.ledger.has_news() || !self.unread.iter().all(|name| self.is_unread(name))
    }

    /// Everything there is. Of services that were never read the host keeps what it has.
    pub(crate) fn snapshot(&mut self) -> Update {
        let unread = self.entries.iter().filter(|(_, tracked)| !tracked.watch.is_ready);
        self.unread = unread.map(|(name, _)| name.clone()).collect();
        self.ledger.snapshot(&self.unread)
    }

    /// What has changed since the last update that was taken.
    pub(crate) fn delta(&mut self) -> Update {
        let mut unread = std::mem::take(&mut self.unread);
        let before = unread.len();
        unread.retain(|name| self.is_unread(name));
        self.unread = unread;
        if self.unread.len() == before {
            return self.ledger.delta();
        }
        // What the host kept of it and what has to go of that is not known here.
        self.ledger.snapshot(&self.unread)
    }

    fn is_unread(&self, name: &str) -> bool {
        self.entries.get(name).is_some_and(|tracked| !tracked.watch.is_ready)
    }

    /// Whether Consul answers.
    pub(crate) fn is_reached(&self) -> bool {
        let is_lost = self.home.as_ref().is_some_and(|home| home.watch.is_failing());
        self.services.is_ready && !self.services.is_failing() && !is_lost
    }

    /// Why Consul cannot be reached, if it cannot.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// What was left out, and what a person should know.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        let tags = self.entries.values().flat_map(|tracked| tracked.notices.iter().cloned());
        self.policy.notices().iter().cloned().chain(self.remarks()).chain(tags).collect()
    }

    /// The first thing that is the matter with an answer.
    pub(crate) fn remark(&self) -> Option<Notice> {
        self.remarks().next()
    }

    /// While Consul is away, that says it all: that this or that question failed is no news.
    fn remarks(&self) -> impl Iterator<Item = Notice> {
        let is_away = self.services.is_failing();
        let told = move |subject: &Subject| *subject == Subject::Services || !is_away;
        let remarks = self.remarks.iter().filter(move |(subject, _)| told(subject));
        remarks.map(|(subject, text)| Notice::new(subject.path(), text))
    }

    /// Whoever called waited long enough: whether Consul is there is asked again now.
    pub(crate) fn retry(&mut self) {
        self.trouble = None;
        let home = self.home.as_mut().map(|home| &mut home.watch);
        for watch in std::iter::once(&mut self.services).chain(home).filter(|it| it.is_failing()) {
            watch.wait_until(0);
        }
    }

    fn end_backoff(&mut self) {
        for watch in self.watches() {
            if watch.is_failing() {
                watch.wait_until(0);
            }
        }
    }

    /// The questions to ask now.
    pub(crate) fn questions(&mut self, now: u64) -> Vec<Question> {
        let is_bulk = self.is_bulk();
        if self.reread_at.take_if(|at| *at <= now).is_some() {
            self.entries.values_mut().for_each(Tracked::doubt);
        }
        let mut subjects = vec![Subject::Services, Subject::Datacenters];
        if self.is_lost() {
            subjects.push(Subject::Home);
            return self.begin_all(subjects, now);
        }
        subjects.insert(1, Subject::Nodes);
        if self.is_nowhere() {
            subjects.push(Subject::Home);
        }
        if is_bulk {
            subjects.push(Subject::Checks);
        }
        let under_way = self.entries.values().filter(|it| it.watch.due().is_none()).count();
        let is_wanted = |tracked: &Tracked| {
            (!is_bulk || tracked.is_wanted()) && tracked.watch.due().is_some_and(|due| due <= now)
        };
        let wanted = self.entries.iter().filter(|(_, tracked)| is_wanted(tracked));
        // What changed does not wait for what only may have.
        let urgent = wanted.clone().filter(|(_, tracked)| tracked.is_urgent());
        let others = wanted.filter(|(_, tracked)| !tracked.is_urgent());
        let most = if is_bulk { MOST_READS.saturating_sub(under_way) } else { usize::MAX };
        let services = urgent.chain(others).take(most);
        subjects.extend(services.map(|(name, _)| Subject::Service(name.clone())));
        self.begin_all(subjects, now)
    }

    /// Whether what is said of nodes and instances makes no sense until it is known where the agent is.
    fn is_lost(&self) -> bool {
        self.home.as_ref().is_some_and(|home| !home.watch.is_ready)
    }

    /// Whether it was not said where the agent is: it may be, when the token is allowed to know.
    fn is_nowhere(&self) -> bool {
        self.home.as_ref().is_some_and(|home| home.watch.is_ready && home.name.is_empty())
    }

    /// When there will be something to ask; none: not before an answer comes.
    pub(crate) fn next_due(&self) -> Option<u64> {
        if self.is_lost() {
            let home = self.home.as_ref().and_then(|home| home.watch.due());
            return [self.services.due(), self.datacenters.due(), home].into_iter().flatten().min();
        }
        let is_bulk = self.is_bulk();
        let is_wanted = |tracked: &&Tracked| !is_bulk || tracked.is_wanted();
        let services = self.entries.values().filter(is_wanted).filter_map(|it| it.watch.due());
        let checks = if is_bulk { self.checks.due() } else { None };
        let reread = self.reread_at.filter(|_| is_bulk);
        let home = self.home.as_ref().filter(|_| self.is_nowhere()).and_then(|it| it.watch.due());
        let lists =
            [self.services.due(), self.nodes.due(), self.datacenters.due(), checks, reread, home];
        services.chain(lists.into_iter().flatten()).min()
    }

    /// Whether the answer to a question is still wanted.
    pub(crate) fn awaits(&mut self, question: &Question) -> bool {
        let serial = question.serial;
        self.watch(&question.subject).is_some_and(|watch| watch.awaits(serial))
    }

    /// There is no answer, or it is no good: everything stays as it is.
    pub(crate) fn failed(&mut self, question: &Question, reason: String, now: u64) {
        if !self.awaits(question) {
            return;
        }
        if let Some(watch) = self.watch(&question.subject) {
            watch.failed(now);
        }
        if matches!(question.subject, Subject::Services | Subject::Home) {
            self.trouble = Some(reason);
        } else {
            self.remarks.insert(question.subject.clone(), reason);
        }
    }

    /// An answer with status 200. If its content makes no sense, it is a failure like any other.
    pub(crate) fn answered(&mut self, question: &Question, answer: Answer, now: u64) {
        if !self.awaits(question) {
            return;
        }
        // The last word of the subject is replaced; reading the answer may have one to add.
        match &answer.remark {
            Some(remark) => drop(self.remarks.insert(question.subject.clone(), remark.clone())),
            None => drop(self.remarks.remove(&question.subject)),
        }
        let has_addresses = matches!(question.subject, Subject::Nodes | Subject::Service(_));
        if has_addresses && answer.translates && !self.datacenter.is_empty() {
            // Whether they are translated depends on whether that is another datacenter.
            self.home.get_or_insert_default();
            if self.is_lost() {
                self.watch(&question.subject).into_iter().for_each(Watch::restart);
                return;
            }
        }
        let translates = answer.translates;
        let taken = match &question.subject {
            Subject::Services => parse(&answer).map(|listed| self.set_services(listed, now)),
            Subject::Nodes => parse(&answer).map(|nodes| self.set_nodes(nodes, translates)),
            Subject::Datacenters => parse(&answer).map(|names| self.set_datacenters(names, now)),
            Subject::Checks => parse(&answer).map(|checks| self.set_checks(checks)),
            Subject::Home => parse(&answer).map(|servers| self.set_home(servers, now)),
            Subject::Service(name) => parse(&answer)
                .map(|entries| self.set_service(name, entries, question.index, translates)),
        };
        let taken = match taken {
            Ok(taken) => taken,
            Err(reason) => return self.failed(question, reason, now),
        };
        if question.subject == Subject::Services && self.services.is_failing() {
            // It is back: whatever failed meanwhile need not wait any longer, nor be told of.
            self.end_backoff();
            self.remarks.retain(|subject, _| *subject == Subject::Services);
        }
        let Some(watch) = self.watch(&question.subject) else { return };
        match taken {
            Taken::Believed => watch.succeeded(answer.index),
            Taken::Read { again } => {
                watch.succeeded(None);
                watch.restart();
                watch.wait_until(again);
            }
            Taken::AskAgain { at } => {
                watch.restart();
                watch.wait_until(at);
            }
        }
        if matches!(question.subject, Subject::Services | Subject::Home) {
            self.trouble = None;
        }
    }

    fn set_services(&mut self, listed: Services, now: u64) -> Taken {
        if listed.is_empty() {
            let since = *self.empty_since.get_or_insert(now);
            if now < since + EMPTY_GRACE_MS {
                let text = "the catalog is empty, without even Consul itself: is the token allowed \
                    to read it? what was known is kept for now";
                self.trouble = None;
                self.remarks.insert(Subject::Services, text.to_owned());
                return Taken::AskAgain { at: now + 1000 };
            }
        } else {
            self.empty_since = None;
        }
        let was_known = self.services.is_ready;
        let was_bulk = self.is_bulk();
        let mut has_changed = false;
        // Of one that was never read nothing is known that an answer could bear out.
        let is_gone =
            |name: &String, it: &mut Tracked| !it.watch.is_ready && !listed.contains_key(name);
        for (name, _) in self.entries.extract_if(.., is_gone) {
            self.remarks.remove(&Subject::Service(name));
        }
        for (name, tracked) in &mut self.entries {
            if !listed.contains_key(name) && !tracked.is_doubtful {
                // Gone from the list: ask about it once more, and do not wait for an answer.
                tracked.is_doubtful = true;
                tracked.age = Age::Stale;
                tracked.watch.restart();
                has_changed = true;
            }
        }
        for (name, tags) in listed {
            let tracked = self.entries.entry(name).or_default();
            if tracked.tags != tags || !tracked.watch.is_ready {
                tracked.tags = tags;
                tracked.age = Age::Stale;
                has_changed = true;
            }
        }
        // The list wakes up for a port or an address as well, and does not show whose.
        if was_bulk && was_known {
            // What it does show comes first.
            let wait = if has_changed { REREAD_MS } else { 0 };
            let at = self.reread_at.get_or_insert(now + wait);
            *at = (*at).min(now + wait);
        }
        if !was_bulk && self.is_bulk() {
            // Too many now: those that block give their connections back.
            self.entries.values_mut().for_each(|tracked| tracked.watch.restart());
        }
        Taken::Believed
    }

    fn set_nodes(&mut self, nodes: Vec<NodeAnswer>, translates: bool) -> Taken {
        let vantage = vantage(self.home.as_ref(), translates);
        let node = |node: NodeAnswer| node.into_node(&self.datacenter, vantage);
        self.ledger.set_nodes(nodes.into_iter().map(node).collect());
        Taken::Believed
    }

    fn set_home(&mut self, servers: Vec<Entry>, now: u64) -> Taken {
        let name = home(servers);
        let known = self.home.get_or_insert_default();
        if known.name != name {
            known.name = name;
            // What has been read was read as from nowhere.
            self.nodes.restart();
            for tracked in self.entries.values_mut() {
                tracked.doubt();
                tracked.watch.restart();
            }
        }
        if self.home.as_ref().is_some_and(|home| home.name.is_empty()) {
            return Taken::Read { again: now + DATACENTERS_MS };
        }
        Taken::Believed
    }

    fn set_datacenters(&mut self, names: Vec<String>, now: u64) -> Taken {
        self.ledger.set_datacenters(&names);
        Taken::Read { again: now + DATACENTERS_MS }
    }

    /// Services with a check that is new, gone or otherwise are read again; a check of a node
    /// concerns all that run on it.
    fn set_checks(&mut self, checks: Vec<Check>) -> Taken {
        let checks: BTreeSet<_> = checks.into_iter().collect();
        for check in checks.symmetric_difference(&self.last_checks) {
            for (name, tracked) in &mut self.entries {
                let is_of_node = check.service_name.is_empty()
                    && tracked.instances.iter().any(|id| is_on(id, &check.node));
                if is_of_node || check.service_name == *name {
                    tracked.age = Age::Stale;
                }
            }
        }
        self.last_checks = checks;
        Taken::Believed
    }

    fn set_service(
        &mut self,
        name: &str,
        answer: Vec<Entry>,
        index: Option<u64>,
        translates: bool,
    ) -> Taken {
        let vantage = vantage(self.home.as_ref(), translates);
        let Some(tracked) = self.entries.get_mut(name) else { return Taken::Believed };
        if answer.is_empty() && index.is_some() && !tracked.instances.is_empty() {
            // A blocking query ends with nothing in more cases than that nothing is left.
            tracked.is_doubtful = true;
            tracked.age = Age::Stale;
            return Taken::AskAgain { at: 0 };
        }
        let mut noticed = Noticed::default();
        let mut instances = Vec::with_capacity(answer.len());
        for entry in answer {
            let is_mesh = entry.is_mesh();
            let mut instance = entry.into_instance(&self.datacenter, vantage);
            if !is_mesh {
                noticed.add(&instance.id.clone(), self.policy.judge(&mut instance));
            }
            instances.push(instance);
        }
        canary::join(&mut instances);
        tracked.notices = noticed.told();
        let ids = instances.iter().map(|instance| instance.id.clone()).collect();
        let before = std::mem::replace(&mut tracked.instances, ids);
        let is_gone = instances.is_empty() && tracked.is_doubtful;
        tracked.is_doubtful = false;
        tracked.age = Age::Fresh;
        self.ledger.set_instances(name, &before, instances);
        if is_gone {
            self.entries.remove(name);
            self.remarks.remove(&Subject::Service(name.to_owned()));
        }
        Taken::Believed
    }

    fn begin_all(&mut self, subjects: Vec<Subject>, now: u64) -> Vec<Question> {
        let is_bulk = self.is_bulk();
        subjects.into_iter().filter_map(|subject| self.begin(subject, now, is_bulk)).collect()
    }

    fn begin(&mut self, subject: Subject, now: u64, is_bulk: bool) -> Option<Question> {
        self.serial += 1;
        let serial = self.serial;
        let watch = self.watch(&subject)?;
        if watch.due().is_none_or(|due| due > now) {
            return None;
        }
        let index = watch.begin(serial, now);
        // Services that are not watched are read, not waited for.
        let is_read = is_bulk && matches!(subject, Subject::Service(_));
        Some(Question { subject, index: index.filter(|_| !is_read), serial })
    }

    fn is_bulk(&self) -> bool {
        self.entries.len() > MOST_WATCHES
    }

    fn watch(&mut self, subject: &Subject) -> Option<&mut Watch> {
        match subject {
            Subject::Services => Some(&mut self.services),
            Subject::Nodes => Some(&mut self.nodes),
            Subject::Datacenters => Some(&mut self.datacenters),
            Subject::Checks => Some(&mut self.checks),
            Subject::Home => self.home.as_mut().map(|home| &mut home.watch),
            Subject::Service(name) => self.entries.get_mut(name).map(|tracked| &mut tracked.watch),
        }
    }

    fn watches(&mut self) -> impl Iterator<Item = &mut Watch> {
        let services = self.entries.values_mut().map(|tracked| &mut tracked.watch);
        let lists = [&mut self.services, &mut self.nodes, &mut self.datacenters, &mut self.checks];
        let home = self.home.as_mut().map(|home| &mut home.watch);
        lists.into_iter().chain(home).chain(services)
    }
}

fn vantage(home: Option<&Home>, translates: bool) -> Vantage<'_> {
    let own = home.map(|home| home.name.as_str()).filter(|name| !name.is_empty());
    Vantage { translates_from: own.filter(|_| translates) }
}

/// What became of an answer.
enum Taken {
    Believed,
    /// It was no blocking query: ask again at this time.
    Read {
        again: u64,
    },
    /// It is doubted: ask again at this time, without blocking.
    AskAgain {
        at: u64,
    },
}

/// Whether an instance is of a node, by its id.
fn is_on(id: &str, node: &str) -> bool {
    id.split('/').nth(1) == Some(&*segment(node))
}

#[cfg(test)]
mod tests;
