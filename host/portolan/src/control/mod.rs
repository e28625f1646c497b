//! The control plane: one loop that changes what is served.
//!
//! **Invariant:** startup is the first turn of the loop, not a special case; nothing else writes.
//! A turn takes in every event that is waiting, assembles once, and publishes.

mod again;
pub(crate) mod bindings;
pub(crate) mod board;
mod candidate;
mod credentials;
pub(crate) mod event;
mod files;
pub(crate) mod hosts;
pub(crate) mod inputs;
mod internal;
pub(crate) mod lookup;
mod mdns;
mod plugins;
pub(crate) mod preview;
mod provider;
mod records;
mod sources;
mod state;
pub(crate) mod surroundings;

use std::{
    collections::{BTreeSet, HashSet},
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use portolan_core::{
    assemble::{Assembler, CONFIG, is_own_middleware},
    catalog::Source,
    live::Publisher,
    name::fold,
    pointer::child,
    problem::{Problem, Severity},
    snapshot::Snapshot,
};
use portolan_net::health::Prober;
use portolan_wasm::{Host, PluginFile, PluginWatch};
use tokio::sync::{mpsc, oneshot};

use crate::{
    config::{self, Config, Loaded, Report, edge::Whereabouts},
    telemetry::Telemetry,
};
use again::Again;
use bindings::{Bindings, Listeners};
use board::{Board, EntrypointReport, SharedBoard};
use candidate::candidate;
use event::Event;
use files::{ContentFiles, strangers};
use hosts::HostsFiles;
use inputs::{blame, config_source, inputs};
use internal::Internal;
use lookup::{Lookups, SharedLookups};
use plugins::Plugins;
use records::Said;
use sources::Sources;

/// What the loop needs to begin.
pub(crate) struct Start {
    /// The configuration, read.
    pub(crate) loaded: Loaded,
    /// What its file held when it was read last, for whoever watches it.
    pub(crate) seen: config::Seen,
    /// Runs guests.
    pub(crate) host: Host,
    /// The plugins in the binary: stem and bytes.
    pub(crate) embedded: &'static [(&'static str, &'static [u8])],
    /// Publishes snapshots.
    pub(crate) publisher: Publisher,
    /// What listens.
    pub(crate) listeners: Box<dyn Listeners>,
    /// How everything is, for those who ask.
    pub(crate) board: SharedBoard,
    /// The log, which follows the configuration.
    pub(crate) telemetry: Telemetry,
    /// Probes backends.
    pub(crate) prober: Prober,
    /// Who is asked for what the catalog does not have.
    pub(crate) lookups: SharedLookups,
    /// Where to look whether files that middlewares are made of change.
    pub(crate) contents: surroundings::Files,
}

/// The control loop.
pub(crate) struct Controller {
    config: Config,
    /// The configuration of the start: what takes a restart is as it says.
    begun: Config,
    config_file: Option<PathBuf>,
    config_seen: config::Seen,
    config_name: String,
    /// `[http]` of the configuration in use, as a source like any other.
    config_source: Arc<Source>,
    internal: Internal,
    config_error: Option<String>,
    config_problems: Vec<Problem>,
    config_loaded: SystemTime,
    published: SystemTime,
    started: SystemTime,
    plugins: Plugins,
    hosts: HostsFiles,
    /// Where we are now.
    here: Whereabouts,
    /// What fragments of providers say of DNS.
    said: Said,
    /// Files that middlewares are made of.
    files: Arc<ContentFiles>,
    watched: surroundings::Files,
    sources: Sources,
    assembler: Assembler,
    again: Again,
    publisher: Publisher,
    bindings: Bindings,
    certificate_problems: Vec<Problem>,
    transport_problems: Vec<Problem>,
    upstream_problems: Vec<Problem>,
    board: SharedBoard,
    telemetry: Telemetry,
    prober: Prober,
    lookups: SharedLookups,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    /// What changes in the plugins folder.
    plugin_files: mpsc::Receiver<PluginFile>,
}

/// The largest plugin file that is read, in bytes.
const MAX_PLUGIN: usize = 64 << 20;
/// A burst of events is taken in by one turn; more than this waits for the next.
const EVENTS: usize = 256;

impl Controller {
    /// Loads plugins, begins with what was kept on disk, and publishes the first snapshot.
    /// Nothing listens yet: [`run`](Self::run) binds first.
    pub(crate) async fn start(start: Start) -> (Self, mpsc::Sender<Event>) {
        let Start { loaded, host, embedded, publisher, listeners, board, telemetry, .. } = start;
        let (prober, lookups) = (start.prober, start.lookups);
        let (sender, events) = mpsc::channel(EVENTS);
        let config = loaded.config.clone();
        let (plugin_files, files) = watch_plugins(&config.plugins.directory);
        let plugins = Plugins::load(host, embedded, files).await;
        let name = loaded.report.source().name.clone();
        let mut controller = Self {
            config_file: loaded.file().map(PathBuf::from),
            config_seen: start.seen,
            config_source: Arc::new(config_source(&config, &name)),
            internal: Internal::of(&config),
            config_name: name,
            config_error: None,
            config_problems: loaded.report.problems(),
            config_loaded: SystemTime::now(),
            published: SystemTime::now(),
            started: SystemTime::now(),
            sources: Sources::new(config.data_dir.join("state"), sender.clone()),
            // Names may be many, and take no restart.
            begun: Config { dns: None, ..config.clone() },
            config,
            plugins,
            hosts: HostsFiles::default(),
            here: Whereabouts::default(),
            said: Said::default(),
            files: Arc::new(ContentFiles::new(&loaded.config)),
            watched: start.contents,
            assembler: Assembler::default(),
            again: Again::default(),
            publisher,
            bindings: Bindings::new(listeners),
            certificate_problems: Vec::new(),
            transport_problems: Vec::new(),
            upstream_problems: Vec::new(),
            board,
            telemetry,
            prober,
            lookups,
            sender: sender.clone(),
            events,
            plugin_files,
        };
        controller.read_hosts();
        controller.look_where();
        controller.run_providers();
        let snapshot = controller.assemble();
        controller.report_config(&loaded, &snapshot);
        controller.publish(snapshot);
        (controller, sender)
    }

    /// Binds what the configuration wants. Answers what is bound, and what is wrong.
    pub(crate) async fn listen(&mut self) -> (Vec<EntrypointReport>, Vec<Problem>) {
        self.bindings.apply(&self.config).await;
        if self.internal.follow(self.bindings.bound()) {
            let snapshot = self.assemble();
            self.publish(snapshot);
        }
        self.tell();
        (self.bindings.bound().to_vec(), self.bindings.problems().to_vec())
    }

    /// Takes in events until `stop`. What listens is handed back: the admin API tells that we leave for
    /// as long as we do.
    pub(crate) async fn run(mut self, mut stop: oneshot::Receiver<()>) -> Box<dyn Listeners> {
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.turn(event).await,
                    None => break,
                },
                Some(change) = self.plugin_files.recv() => {
                    self.plugins.changed(change, self.sender.clone());
                }
                () = self.bindings.due() => drop(self.listen().await),
                () = self.again.due() => self.ask_again(),
                _ = &mut stop => break,
            }
        }
        self.sources.finish().await;
        self.bindings.end()
    }

    /// One turn: this event and all that are waiting, then one snapshot.
    async fn turn(&mut self, first: Event) {
        let mut next = Some(first);
        let mut changed = false;
        while let Some(event) = next {
            changed |= match event {
                Event::Provider { name, runner, report } => {
                    self.sources.take(&name, runner, report)
                }
                Event::Plugin(outcome) => {
                    let changed = self.plugins.take(outcome) | self.run_providers();
                    // A configuration may have been refused for want of this plugin.
                    changed | (self.config_error.is_some() && self.read_config().await)
                }
                Event::Certificates(problems) => {
                    self.certificate_problems = problems;
                    false
                }
                Event::Transports(problems) => {
                    self.transport_problems = problems;
                    false
                }
                Event::Upstreams(problems) => {
                    self.upstream_problems = problems;
                    false
                }
                Event::Surroundings => {
                    self.listen().await;
                    self.read_hosts() | self.look_where() | self.read_files()
                }
                Event::Kept { provider, outcome } => {
                    self.sources.note_kept(&provider, outcome);
                    false
                }
                Event::Config => self.read_config().await,
                Event::Reload => {
                    self.sources.resync();
                    let changed = self.read_config().await;
                    // Certificate files are read anew though the configuration is the same.
                    self.listen().await;
                    self.bindings.listeners().retry();
                    changed | self.read_files()
                }
            };
            next = self.events.try_recv().ok();
        }
        if changed {
            let snapshot = self.assemble();
            self.publish(snapshot);
        }
        if self.sweep() {
            // What was wrong with them is not wrong any more.
            let snapshot = self.assemble();
            self.publish(snapshot);
        }
        self.tell();
    }

    /// Reads hosts files, if they or their list changed. Answers whether any name did.
    fn read_hosts(&mut self) -> bool {
        let dns = self.config.dns.as_ref();
        let (paths, domain) =
            dns.map_or((&[][..], None), |dns| (dns.hosts.as_slice(), dns.hosts_domain.as_ref()));
        // There may be a hundred thousand lines.
        tokio::task::block_in_place(|| self.hosts.read(paths, domain))
    }

    /// Reads files of middlewares that changed. Answers whether one holds something else.
    fn read_files(&mut self) -> bool {
        let used: HashSet<_> = self.assembler.files().cloned().collect();
        let looked = tokio::task::block_in_place(|| self.files.look_again(&used));
        let is_other = looked.is_some();
        if let Some(files) = looked {
            self.files = Arc::new(files);
        }
        is_other
    }

    /// Looks where we are. Answers whether that is elsewhere than before.
    fn look_where(&mut self) -> bool {
        let here = self.config.whereabouts();
        let is_other = here != self.here;
        self.here = here;
        is_other
    }

    fn assemble(&mut self) -> Arc<Snapshot> {
        let sources = self.all_sources(&self.config, &self.config_source, &self.internal);
        let ttl = self.config.dns.as_ref().map_or(0, |dns| dns.ttl);
        self.said = self.said.follow(&sources, ttl);
        let names = (self.hosts.entries(), self.said.clone());
        let plugins = (&self.plugins, self.files.clone());
        let inputs = inputs(&self.config, self.here.clone(), names, sources, plugins);
        let snapshot = self.assembler.assemble(&inputs);
        // Seldom, and once for each: there are few of them.
        if self.internal.want_missing(&self.assembler) {
            return self.assemble();
        }
        self.again.follow(self.assembler.unsettled());
        let used = self.assembler.files().cloned().collect();
        self.watched.store(Arc::new(self.files.paths(&used)));
        snapshot
    }

    /// Asks the plugins again that failed while they read configurations.
    fn ask_again(&mut self) {
        self.again.begin();
        self.assembler.ask_again();
        let snapshot = self.assemble();
        self.publish(snapshot);
        self.tell();
    }

    /// `[http]` and every provider, those first that go before the others: as the configuration
    /// says, then what is written in files, as in Traefik.
    fn all_sources(
        &self,
        config: &Config,
        source: &Arc<Source>,
        internal: &Internal,
    ) -> Vec<Arc<Source>> {
        let mut sources: Vec<_> =
            std::iter::once(source.clone()).chain(self.sources.sources()).collect();
        let place = |source: &Arc<Source>| {
            let mut named = config.provider_precedence.iter();
            let is_of_files = matches!(&*fold(&source.plugin), "config" | "file");
            (named.position(|name| **name == *source.provider).unwrap_or(usize::MAX), !is_of_files)
        };
        sources.sort_by_key(place);
        sources.extend(internal.source());
        sources
    }

    fn publish(&mut self, snapshot: Arc<Snapshot>) {
        tracing::debug!(generation = snapshot.generation, "published");
        self.prober.follow(snapshot.clone());
        self.publisher.publish(snapshot);
        self.published = SystemTime::now();
        self.bindings.listeners().published();
    }

    /// Reads `config.toml` again. One that is wrong, in itself or in what it says of routers and
    /// middlewares, changes nothing.
    async fn read_config(&mut self) -> bool {
        let Some(file) = self.config_file.clone() else { return false };
        let read = config::load_file(&file);
        let (Ok(Loaded { report, .. }) | Err(report)) = &read;
        self.config_seen.note(&report.source().text);
        let mut loaded = match read {
            Ok(loaded) => loaded,
            Err(report) => return self.refuse(&report),
        };
        if loaded.config == self.config && self.config_error.is_none() {
            return false;
        }
        // Snapshots tell their own problems themselves.
        let told = loaded.report.problems();
        let source = Arc::new(config_source(&loaded.config, &self.config_name));
        let internal = self.internal.under(&loaded.config);
        let sources = self.all_sources(&loaded.config, &source, &internal);
        let names = (self.hosts.entries(), self.said.clone());
        let files = self.files.under(&loaded.config);
        let plugins = (&self.plugins, files.clone());
        let trial = inputs(&loaded.config, loaded.config.whereabouts(), names, sources, plugins);
        // Those of another folder are read when the file is in use.
        let is_elsewhere = loaded.config.plugins.directory != self.config.plugins.directory;
        let waits = |candidate: &Snapshot, problem: &Problem| {
            let mut unplugged = candidate.middlewares.iter().filter(|entry| {
                *entry.entry.name.provider == *CONFIG
                    && self.plugins.find(&entry.plugin).is_none()
                    && !is_own_middleware(&entry.plugin)
            });
            is_elsewhere
                && unplugged.any(|entry| {
                    let place = child("/http/middlewares", &entry.entry.name.name);
                    problem.path == child(&place, &entry.plugin)
                })
        };
        let is_good = self.assembler.try_out(&trial, |candidate| {
            let problems = candidate.problems.iter();
            blame(&mut loaded.report, problems.filter(|problem| !waits(candidate, problem)));
            !loaded.report.has_errors()
        });
        if !is_good {
            return self.refuse(&loaded.report);
        }
        if !loaded.report.is_empty() {
            tracing::warn!("{}", loaded.report.render(config::Colour::Never));
        }
        (self.files, self.internal) = (files, internal);
        self.accept(loaded, told, source).await;
        true
    }

    fn refuse(&mut self, report: &Report) -> bool {
        let text = report.render(config::Colour::Never);
        tracing::error!("configuration not used, the one before goes on\n{text}");
        self.config_error = Some(text);
        self.config_problems = report.problems();
        false
    }

    async fn accept(&mut self, loaded: Loaded, told: Vec<Problem>, source: Arc<Source>) {
        let before = std::mem::replace(&mut self.config, loaded.config);
        self.config_source = source;
        self.config_error = None;
        self.config_loaded = SystemTime::now();
        self.config_problems = told;
        self.config_problems.extend(needs_restart(&self.begun, &self.config, &self.config_name));
        if before.plugins.directory != self.config.plugins.directory {
            let (changes, files) = watch_plugins(&self.config.plugins.directory);
            self.plugin_files = changes;
            self.plugins.only(&files);
            for file in files {
                self.plugins.changed(file, self.sender.clone());
            }
        }
        self.telemetry.apply(&self.config.log);
        self.run_providers();
        self.read_hosts();
        self.look_where();
        // Routers for a new entrypoint first, then the entrypoint.
        let snapshot = self.assemble();
        self.publish(snapshot);
        self.listen().await;
        tracing::info!(file = %self.config_name, "configuration in use");
    }

    /// Starts the providers of the configuration, with the plugins as they are now.
    fn run_providers(&mut self) -> bool {
        let (config, plugins) = (&self.config, &self.plugins);
        let candidates = config.providers.iter().map(|one| candidate(one, config, plugins));
        self.sources.apply(candidates.collect());
        let zones = config.dns.iter().flat_map(|dns| dns.zones.iter().cloned());
        let lookups = Lookups { providers: self.sources.seekers(), zones: zones.collect() };
        self.lookups.store(Arc::new(lookups));
        true
    }

    /// Lets go of plugins whose files are gone and that nothing uses. Answers whether there were any.
    fn sweep(&mut self) -> bool {
        if !self.plugins.is_any_gone() {
            return false;
        }
        let snapshot = self.publisher.current();
        let mut used: BTreeSet<_> =
            snapshot.middlewares.iter().map(|entry| fold(&entry.plugin)).collect();
        used.extend(self.config.providers.iter().map(|provider| fold(&provider.plugin)));
        // A rule names matchers, not plugins.
        let called = |name: &&str| self.plugins.is_called(name, self.assembler.rules());
        used.extend(self.plugins.gone().filter(called).map(fold));
        self.plugins.sweep(|name| used.contains(&fold(name)))
    }

    /// Puts everything on the board.
    fn tell(&self) {
        let mut problems = self.config_problems.clone();
        problems.extend(self.bindings.problems().iter().cloned());
        problems.extend(self.hosts.problems().iter().cloned());
        let dns = self.config.dns.as_ref();
        let (snapshot, files) = (self.publisher.current(), self.hosts.entries());
        problems.extend(dns.and_then(|dns| mdns::problem(dns, &snapshot, &files)));
        problems.extend(self.certificate_problems.iter().cloned());
        problems.extend(self.transport_problems.iter().cloned());
        problems.extend(self.upstream_problems.iter().cloned());
        problems.extend(self.plugins.problems());
        problems.extend(strangers(&self.config, &self.config_name, self.plugins.names()));
        problems.extend(self.sources.problems());
        let zones = dns.into_iter().flat_map(|dns| &dns.zones);
        let admin = self.config.admin.iter();
        self.board.store(Arc::new(Board {
            zones: zones.map(|zone| zone.origin.to_ascii_lowercase()).collect(),
            admin_hosts: admin.flat_map(|admin| &admin.hosts).cloned().collect(),
            drain: self.config.drain.clone(),
            config_file: self.config_name.clone(),
            config_error: self.config_error.clone(),
            config_loaded: self.config_loaded,
            published: self.published,
            started: self.started,
            entrypoints: self.bindings.bound().to_vec(),
            providers: self.sources.reports(),
            plugins: self.plugins.reports(),
            plugin_files: self.config.plugin_files.clone(),
            problems,
        }));
    }

    /// At the start, what is wrong with `[http]` is left out and said.
    fn report_config(&self, loaded: &Loaded, snapshot: &Snapshot) {
        let mut report = loaded.report.clone();
        blame(&mut report, snapshot.problems.iter());
        if !report.is_empty() {
            tracing::warn!("what is wrong is left out\n{}", report.render(config::Colour::Never));
        }
    }
}

/// What is in the plugins folder, and what changes there from now on. The watch has a task of its own,
/// which ends when nobody takes its changes.
fn watch_plugins(directory: &Path) -> (mpsc::Receiver<PluginFile>, Vec<PluginFile>) {
    let (watch, files) = PluginWatch::open(directory, MAX_PLUGIN);
    let (sender, changes) = mpsc::channel(1);
    tokio::spawn(watch.run(sender));
    (changes, files)
}

/// What cannot change while the process runs.
fn needs_restart(before: &Config, after: &Config, file: &str) -> Vec<Problem> {
    let changed = [
        ("plugins.memory-limit", before.plugins.memory_limit != after.plugins.memory_limit),
        ("plugins.time-limit", before.plugins.time_limit != after.plugins.time_limit),
        ("threads", before.threads != after.threads),
        ("data-dir", before.data_dir != after.data_dir),
        ("http.reason-header", before.reason_header != after.reason_header),
        ("access-log", before.access_log != after.access_log),
        ("metrics", before.counting != after.counting),
        ("tracing", before.traces != after.traces),
    ];
    let problem = |key: &str| {
        let message = format!("a change of `{key}` takes a restart");
        Problem { severity: Severity::Warning, ..Problem::warning(CONFIG, file, message) }
    };
    changed.iter().filter(|(_, changed)| *changed).map(|(key, _)| problem(key)).collect()
}
