//! Every provider: what it reported, how it is, and who runs it.
//!
//! **Invariant:** a provider that is started anew (its plugin or its configuration changed) takes
//! over with its first good step; until then the one before goes on.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::SystemTime};

use portolan_core::{
    catalog::{Source, UpdateError},
    item::{Step, Update},
    port::{BindError, Provider},
    problem::Problem,
};
use tokio::sync::mpsc;

use super::{
    board::{ProviderReport, ProviderState},
    event::Event,
    provider::{Report, Runner},
    state::{Keeper, read},
};

/// Every provider, by its key under `[providers]`.
#[derive(Debug)]
pub(super) struct Sources {
    folder: PathBuf,
    events: mpsc::Sender<Event>,
    next_runner: u64,
    by_name: BTreeMap<Arc<str>, Tenant>,
}

/// A provider that can be started.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) name: Arc<str>,
    pub(super) plugin: Arc<str>,
    /// What the provider points at: changes with its configuration, not with its plugin's code.
    pub(super) identity: String,
    /// Changes with anything that wants a new start.
    pub(super) fingerprint: String,
    pub(super) grants: Vec<String>,
    /// The provider, or why it cannot be started.
    pub(super) provider: Result<Arc<dyn Provider>, BindError>,
}

#[derive(Debug)]
struct Tenant {
    source: Arc<Source>,
    report: ProviderReport,
    identity: String,
    /// What the provider pointed at when it reported `source`.
    origin: String,
    fingerprint: String,
    cursor: Option<Vec<u8>>,
    /// The provider, and what it points at.
    provider: Option<(Arc<dyn Provider>, String)>,
    running: Option<Runner>,
    /// Why the configuration as it is now is not used.
    refused: Option<Refusal>,
    /// Started, and not yet heard.
    coming: Option<Runner>,
    keeper: Keeper,
    /// Why its state is not on disk, or was not to be had from there.
    unkept: Option<String>,
}

/// Why a configuration is not used.
#[derive(Debug)]
enum Refusal {
    /// Nothing can be started with it.
    Start(String),
    /// What was started with it does not get to a first step.
    Step(String),
}

impl Sources {
    /// No provider yet. `folder` is where their states are kept.
    pub(super) fn new(folder: PathBuf, events: mpsc::Sender<Event>) -> Self {
        Self { folder, events, next_runner: 0, by_name: BTreeMap::new() }
    }

    /// What each provider reported.
    pub(super) fn sources(&self) -> impl Iterator<Item = Arc<Source>> + '_ {
        self.by_name.values().map(|tenant| tenant.source.clone())
    }

    /// The providers that look up what they do not report.
    pub(super) fn seekers(&self) -> Vec<Arc<dyn Provider>> {
        let providers = self.by_name.values().filter_map(|tenant| tenant.provider.as_ref());
        let providers = providers.map(|(provider, _)| provider);
        providers.filter(|provider| provider.looks_up()).cloned().collect()
    }

    /// How each provider is.
    pub(super) fn reports(&self) -> Vec<ProviderReport> {
        self.by_name.values().map(|tenant| tenant.report.clone()).collect()
    }

    /// What is wrong with providers.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let refused = |tenant: &Tenant| {
            let is_running = tenant.running.is_some();
            let reason = match tenant.refused.as_ref()? {
                // One of the configuration before was begun anew, and waits for its first step.
                Refusal::Start(reason) if is_running || tenant.coming.is_some() => reason,
                Refusal::Step(reason) if is_running => reason,
                Refusal::Start(_) | Refusal::Step(_) => return None,
            };
            let message = format!("the configuration before goes on: {reason}");
            Some(Problem::error(&*tenant.report.name, "provider", message))
        };
        let wrong = |tenant: &Tenant| {
            let report = &tenant.report;
            let (name, error) = (&*report.name, report.error.clone()?);
            match report.state {
                ProviderState::Failed => Some(Problem::error(name, "provider", error)),
                ProviderState::Stale => {
                    let message = format!("the last known state is served: {error}");
                    Some(Problem::warning(name, "provider", message))
                }
                // Waiting for a source that was never there is no problem: it may be optional.
                ProviderState::Waiting | ProviderState::Synced => None,
            }
        };
        let unkept = |tenant: &Tenant| {
            let reason = tenant.unkept.as_deref()?;
            let problem = Problem::warning(&*tenant.report.name, "provider", reason);
            Some(problem.hint("a restart while the source is away would begin without it"))
        };
        let tenants = || self.by_name.values();
        let problems = tenants().filter_map(wrong).chain(tenants().filter_map(refused));
        problems.chain(tenants().filter_map(unkept)).collect()
    }

    /// Runs these providers and no others. What did not change goes on as it is.
    pub(super) fn apply(&mut self, candidates: Vec<Candidate>) {
        self.by_name.retain(|name, _| candidates.iter().any(|candidate| candidate.name == *name));
        for candidate in candidates {
            let known = self.by_name.get(&candidate.name);
            if known.is_none_or(|tenant| tenant.identity != candidate.identity) {
                let tenant = self.tenant(&candidate);
                // One that now points elsewhere goes on with its old state until the first step.
                if let Some(before) = self.by_name.insert(candidate.name.clone(), tenant) {
                    self.inherit(&candidate.name, before);
                }
            }
            self.start(candidate);
        }
    }

    /// Starts every provider from the beginning: its next state replaces all that is known.
    pub(super) fn resync(&mut self) {
        for name in self.by_name.keys().cloned().collect::<Vec<_>>() {
            self.restart(&name);
        }
    }

    /// Takes in what a provider reported. Answers whether anything that is served changed.
    pub(super) fn take(&mut self, name: &Arc<str>, runner: u64, report: Report) -> bool {
        let Some(tenant) = self.by_name.get_mut(name) else { return false };
        tenant.note_refusal(runner, &report);
        if !tenant.hears(runner, &report) {
            return false;
        }
        match report {
            Report::Step(step) => match tenant.step(step) {
                Ok(changed) => changed,
                Err(error) => {
                    tracing::warn!(provider = %name, %error, "update refused, provider begins anew");
                    self.restart(name);
                    false
                }
            },
            Report::Failed(reason) => {
                tenant.failed(reason);
                false
            }
            Report::GaveUp(reason) => {
                tracing::error!(provider = %name, error = %reason, "provider gave up");
                tenant.report.set(ProviderState::Failed);
                tenant.report.error = Some(reason);
                false
            }
        }
    }

    /// How keeping the state of a provider went.
    pub(super) fn note_kept(&mut self, name: &Arc<str>, outcome: Result<(), String>) {
        if let Some(tenant) = self.by_name.get_mut(name) {
            tenant.unkept = outcome.err().map(|reason| format!("its state is not kept: {reason}"));
        }
    }

    /// Ends every provider and writes what is not written yet.
    pub(super) async fn finish(self) {
        for tenant in self.by_name.into_values() {
            drop((tenant.running, tenant.coming));
            tenant.keeper.finish().await;
        }
    }

    /// A provider that has not run, with what was kept of it.
    fn tenant(&self, candidate: &Candidate) -> Tenant {
        let Candidate { name, plugin, identity, .. } = candidate;
        let mut source = Source::new(name.clone(), plugin.clone());
        let mut report = candidate.report();
        let kept = read(&self.folder, name, identity);
        let unread = kept.as_ref().err();
        let unkept = unread.map(|reason| format!("its kept state cannot be read: {reason}"));
        if let Some(reason) = &unkept {
            tracing::warn!(provider = %name, "{reason}");
        }
        if let Ok(Some(kept)) = kept {
            match source.apply(Update::Snapshot(kept.items), Vec::new()) {
                Ok(_) => {
                    report.state = ProviderState::Stale;
                    report.since = kept.saved;
                    report.last_success = Some(kept.saved);
                    report.from_disk = true;
                    report.count(&source);
                }
                Err(error) => tracing::warn!(provider = %name, %error, "kept state not used"),
            }
        }
        Tenant {
            source: Arc::new(source),
            report,
            identity: identity.clone(),
            origin: identity.clone(),
            fingerprint: String::new(),
            cursor: None,
            provider: None,
            running: None,
            refused: None,
            coming: None,
            keeper: Keeper::start(&self.folder, name.clone(), self.events.clone()),
            unkept,
        }
    }

    /// A provider that points elsewhere now goes on with what it had. What was kept on disk of that
    /// other place is older, and serves only where nothing else is known.
    fn inherit(&mut self, name: &Arc<str>, before: Tenant) {
        let Some(tenant) = self.by_name.get_mut(name) else { return };
        // It may still be writing, and two would write over each other.
        tenant.keeper = before.keeper;
        tenant.unkept = before.unkept.or_else(|| tenant.unkept.take());
        if before.source.synced || !tenant.source.synced {
            (tenant.source, tenant.origin) = (before.source, before.origin);
            tenant.report.from_disk = before.report.from_disk;
            (tenant.report.state, tenant.report.since) = (before.report.state, before.report.since);
            tenant.running = before.running;
            (tenant.provider, tenant.coming) = (before.provider, before.coming);
            tenant.report.grants = before.report.grants;
            tenant.report.last_success = before.report.last_success;
            tenant.report.count(&tenant.source);
        }
    }

    fn start(&mut self, candidate: Candidate) {
        let Some(tenant) = self.by_name.get_mut(&candidate.name) else { return };
        if tenant.fingerprint == candidate.fingerprint {
            return;
        }
        tenant.fingerprint = candidate.fingerprint;
        // Who may do less from now on does not go on with what it could do before.
        if !tenant.report.grants.iter().all(|grant| candidate.grants.contains(grant)) {
            (tenant.provider, tenant.running, tenant.coming) = (None, None, None);
        }
        tenant.report.grants = candidate.grants;
        match candidate.provider {
            Ok(provider) => {
                tenant.refused = None;
                let provider = (provider, tenant.identity.clone());
                tenant.provider = Some(provider.clone());
                let cursor = tenant.cursor.clone();
                let runner = self.runner(candidate.name.clone(), provider, cursor);
                if let Some(tenant) = self.by_name.get_mut(&candidate.name) {
                    tenant.coming = Some(runner);
                }
            }
            // The one before goes on, if there is one.
            Err(error) => {
                let reason = error.to_string();
                tracing::error!(provider = %candidate.name, error = %reason, "provider not started");
                if tenant.running.is_none() && tenant.coming.is_none() {
                    tenant.report.set(ProviderState::Failed);
                }
                tenant.report.error = Some(reason.clone());
                tenant.refused = Some(Refusal::Start(reason));
            }
        }
    }

    fn restart(&mut self, name: &Arc<str>) {
        let Some(tenant) = self.by_name.get_mut(name) else { return };
        let Some(provider) = tenant.provider.clone() else { return };
        (tenant.cursor, tenant.running) = (None, None);
        let runner = self.runner(name.clone(), provider, None);
        if let Some(tenant) = self.by_name.get_mut(name) {
            tenant.coming = Some(runner);
        }
    }

    fn runner(
        &mut self,
        name: Arc<str>,
        provider: (Arc<dyn Provider>, String),
        cursor: Option<Vec<u8>>,
    ) -> Runner {
        self.next_runner += 1;
        Runner::start(self.next_runner, name, provider, cursor, self.events.clone())
    }
}

impl Candidate {
    /// A provider that has not reported anything.
    pub(super) fn report(&self) -> ProviderReport {
        ProviderReport {
            name: self.name.clone(),
            plugin: self.plugin.clone(),
            state: ProviderState::Waiting,
            since: SystemTime::now(),
            last_success: None,
            last_change: None,
            from_disk: false,
            error: None,
            items: [0; 3],
            steps: [0; 2],
            grants: self.grants.clone(),
        }
    }
}

impl Tenant {
    /// Whether a report counts. The first good step of a runner that was started makes it the one
    /// that runs.
    fn hears(&mut self, runner: u64, report: &Report) -> bool {
        let is = |known: &Option<Runner>| known.as_ref().is_some_and(|known| known.id == runner);
        if is(&self.coming) && matches!(report, Report::Step(_)) {
            self.running = self.coming.take();
            self.refused = self.refused.take().filter(|it| matches!(it, Refusal::Start(_)));
        }
        is(&self.running) || is(&self.coming) && self.running.is_none()
    }

    /// One that was started and fails while the one before goes on is not heard, but said.
    fn note_refusal(&mut self, runner: u64, report: &Report) {
        let is_coming = self.coming.as_ref().is_some_and(|coming| coming.id == runner);
        if let (Report::Failed(reason) | Report::GaveUp(reason), true) = (report, is_coming)
            && !matches!(self.refused, Some(Refusal::Start(_)))
        {
            self.refused = Some(Refusal::Step(reason.clone()));
        }
    }

    fn step(&mut self, step: Step) -> Result<bool, UpdateError> {
        let Step { update, cursor, notices, .. } = step;
        let identity = self.running.as_ref().map_or(&self.identity, |it| &it.identity).clone();
        let is_moved = self.origin != identity;
        let update = match update {
            // What was known of services that could not be read is of another place.
            Update::Excerpt { items, .. } if is_moved => Update::Snapshot(items),
            update => update,
        };
        let changed = Arc::make_mut(&mut self.source).apply(update, notices)?;
        self.origin.clone_from(&identity);
        self.cursor = Some(cursor);
        let now = SystemTime::now();
        if self.report.state != ProviderState::Synced {
            tracing::info!(provider = %self.report.name, "provider synced");
        }
        self.report.set(ProviderState::Synced);
        self.report.from_disk = false;
        self.report.error = None;
        self.report.last_success = Some(now);
        self.report.steps[0] += 1;
        if changed {
            self.report.last_change = Some(now);
            self.report.count(&self.source);
        }
        if changed || is_moved {
            self.keeper.keep(identity, self.source.clone());
        }
        Ok(changed)
    }

    fn failed(&mut self, reason: String) {
        let report = &mut self.report;
        let first = report.error.as_deref() != Some(&reason);
        match report.state {
            // Said once: a source that is away says the same every two seconds.
            ProviderState::Synced => {
                tracing::warn!(provider = %report.name, error = %reason, "last known state served");
            }
            _ if first => {
                tracing::info!(provider = %report.name, reason = %reason, "provider waits");
            }
            _ => tracing::debug!(provider = %report.name, reason = %reason, "provider waits"),
        }
        let known = self.source.synced;
        report.set(if known { ProviderState::Stale } else { ProviderState::Waiting });
        report.error = Some(reason);
        report.steps[0] += 1;
        report.steps[1] += 1;
    }
}

impl ProviderReport {
    fn set(&mut self, state: ProviderState) {
        if self.state != state {
            self.state = state;
            self.since = SystemTime::now();
        }
    }

    fn count(&mut self, source: &Source) {
        self.items = [source.nodes.len(), source.instances.len(), source.fragments.len()];
    }
}
