//! Every plugin: those in the binary, and those in the plugins folder that take their place.
//!
//! **Invariant:** a file that does not load changes nothing but a report; the version that served
//! goes on. Of one name a file that is there serves before the program's own, and that before a file
//! that is gone; this one goes on for as long as something uses it.

use std::{
    collections::BTreeMap,
    num::NonZero,
    path::PathBuf,
    sync::Arc,
    thread::available_parallelism,
    time::{Duration, SystemTime},
};

use futures_util::{StreamExt as _, stream};
use portolan_core::{
    assemble::is_own_middleware,
    name::fold,
    plugin::PluginFigures,
    port::{MatcherPlugin, MiddlewarePlugin},
    problem::{Chain, Problem},
    rule::Rule,
};
use portolan_wasm::{Content, Host, Plugin, PluginFile};
use tokio::{sync::mpsc, task};

use super::{board::PluginReport, event::Event};

/// What became of a file.
#[derive(Debug)]
pub(crate) struct Outcome {
    stem: String,
    /// Which change of the file it is of: some take longer to load than others.
    turn: u64,
    change: Change,
}

/// Loads one plugin, and tells whether it is the one in the binary.
type Load = Box<dyn FnOnce() -> (bool, Outcome) + Send>;

#[derive(Debug)]
enum Change {
    Loaded(Box<Loaded>),
    Refused(String),
    Gone,
}

/// A plugin that loaded, and when.
#[derive(Clone, Debug)]
struct Loaded {
    plugin: Plugin,
    at: SystemTime,
}

/// What is known of one file in the plugins folder.
#[derive(Debug, Default)]
struct Slot {
    /// The last version that loaded.
    loaded: Option<Loaded>,
    /// Why the file as it is now is not in use.
    error: Option<String>,
    /// The file is gone.
    gone: bool,
    /// Where it stands in the order in which files came; 0: it was there at the start.
    since: u64,
}

/// Every plugin, by the stem of its file.
#[derive(Debug)]
pub(super) struct Plugins {
    host: Host,
    embedded: BTreeMap<String, Slot>,
    files: BTreeMap<String, Slot>,
    /// The last change of each file that is being loaded or was.
    turns: BTreeMap<String, u64>,
    /// How many files came after the start.
    came: u64,
}

impl Plugins {
    fn none(host: Host) -> Self {
        let (embedded, files, turns) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        Self { host, embedded, files, turns, came: 0 }
    }

    /// Loads those in the binary and those in the folder, and returns when all are there.
    pub(super) async fn load(
        host: Host,
        embedded: &'static [(&'static str, &'static [u8])],
        files: Vec<PluginFile>,
    ) -> Self {
        let mut plugins = Self::none(host);
        let mut loads: Vec<Load> = Vec::with_capacity(embedded.len() + files.len());
        // One that is replaced is loaded all the same: it goes on should the file not load.
        for (stem, bytes) in embedded {
            let load = plugins.load_one(format!("embedded {stem}.wasm"), *bytes, None);
            loads.push(Box::new(move || {
                (true, Outcome { stem: (*stem).to_owned(), turn: 0, change: load() })
            }));
        }
        for PluginFile { stem, path, content } in files {
            let load = plugins.load_content(path, content, None);
            loads.push(Box::new(move || (false, Outcome { stem, turn: 0, change: load() })));
        }
        // As many at once as there are cores: more would be no faster, and each thread keeps the
        // memory that it used.
        let cores = available_parallelism().map_or(1, NonZero::get);
        let mut loading = stream::iter(loads).map(task::spawn_blocking).buffer_unordered(cores);
        while let Some(loaded) = loading.next().await {
            match loaded {
                Ok((true, outcome)) => plugins.put_embedded(outcome),
                Ok((false, outcome)) => drop(plugins.take(outcome)),
                Err(panic) => tracing::error!(%panic, "plugin not loaded"),
            }
        }
        plugins
    }

    /// Loads a file that changed, off the loop; the outcome comes as an event.
    pub(super) fn changed(&mut self, file: PluginFile, events: mpsc::Sender<Event>) {
        let PluginFile { stem, path, content } = file;
        let before = [self.files.get(&stem), self.embedded.get(&stem)];
        let current = before.into_iter().flatten().find_map(|slot| slot.loaded.as_ref());
        let figures = current.map(|loaded| loaded.plugin.figures());
        let load = self.load_content(path, content, figures);
        let turn = self.turns.entry(stem.clone()).or_default();
        *turn += 1;
        let turn = *turn;
        task::spawn_blocking(move || {
            let outcome = Outcome { stem, turn, change: load() };
            // The loop is gone only when the process ends.
            drop(events.blocking_send(Event::Plugin(outcome)));
        });
    }

    /// There are these files now and no others: the folder is another one.
    pub(super) fn only(&mut self, files: &[PluginFile]) {
        let others = |stem: &&String| !files.iter().any(|file| file.stem == **stem);
        for stem in self.files.keys().filter(others).cloned().collect::<Vec<_>>() {
            let turn = self.turns.entry(stem.clone()).or_default();
            *turn += 1;
            let outcome = Outcome { turn: *turn, stem, change: Change::Gone };
            self.take(outcome);
        }
    }

    /// Takes in what became of a file. Answers whether anything that serves changed.
    pub(super) fn take(&mut self, outcome: Outcome) -> bool {
        let stem = &outcome.stem;
        if self.turns.get(stem).is_some_and(|last| outcome.turn < *last) {
            // The file has changed once more since.
            return false;
        }
        match &outcome.change {
            Change::Loaded(loaded) => {
                let info = loaded.plugin.info();
                tracing::info!(
                    plugin.name = %info.name, plugin.version = %info.version, file = %info.file,
                    took = ?loaded.plugin.loading().took, "plugin in use"
                );
            }
            Change::Refused(reason) => {
                tracing::error!(file = %format!("{stem}.wasm"), error = %reason, "plugin not loaded");
            }
            Change::Gone => tracing::info!(file = %format!("{stem}.wasm"), "plugin file gone"),
        }
        self.put(outcome)
    }

    /// Whether the file of a plugin is gone.
    pub(super) fn is_any_gone(&self) -> bool {
        self.files.values().any(|slot| slot.gone)
    }

    /// The names of the plugins that serve though their files are gone.
    pub(super) fn gone(&self) -> impl Iterator<Item = &str> {
        let gone = self.serving().into_iter().filter(|(_, slot, _)| slot.gone);
        gone.map(|(_, _, loaded)| &*loaded.plugin.info().name)
    }

    /// Forgets files that are gone and that nothing uses. Answers whether there were any.
    pub(super) fn sweep(&mut self, used: impl Fn(&str) -> bool) -> bool {
        let serving = self.serving();
        let is_used = |stem: &str, slot: &Slot| {
            let serves =
                serving.iter().any(|(it, known, _)| *it == stem && std::ptr::eq(*known, slot));
            serves && slot.loaded.as_ref().is_some_and(|it| used(&it.plugin.info().name))
        };
        let gone = self.files.iter().filter(|(stem, slot)| slot.gone && !is_used(stem, slot));
        let gone: Vec<_> = gone.map(|(stem, _)| stem.clone()).collect();
        gone.iter().for_each(|stem| drop(self.files.remove(stem)));
        !gone.is_empty()
    }

    /// A plugin by its name in configurations.
    pub(super) fn find(&self, name: &str) -> Option<&Plugin> {
        let wanted = fold(name);
        self.all().find(|plugin| fold(&plugin.info().name) == wanted)
    }

    /// The names of all plugins that serve.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.all().map(|plugin| &*plugin.info().name)
    }

    /// Those that middlewares can be made of.
    pub(super) fn middlewares(&self) -> Vec<Arc<dyn MiddlewarePlugin>> {
        self.all().filter_map(Plugin::middleware).collect()
    }

    /// Those that add matchers. Of one name the first matcher is used, so first come the program's own
    /// and what takes their place by name, then files in the order in which they came: who drops in a
    /// file does not change what rules mean that are there.
    pub(super) fn matchers(&self) -> Vec<Arc<dyn MatcherPlugin>> {
        self.in_order().filter_map(Plugin::matchers).collect()
    }

    /// Whether a plugin has a matcher that one of these rules calls.
    pub(super) fn is_called<'a>(
        &self,
        plugin: &str,
        mut rules: impl Iterator<Item = &'a str>,
    ) -> bool {
        let has = |it: &Plugin, matcher: &str| {
            it.info().matchers.iter().any(|one| one.eq_ignore_ascii_case(matcher))
        };
        let is_its = |matcher: &&String| {
            let owner = self.in_order().find(|it| has(it, matcher));
            owner.is_some_and(|owner| fold(&owner.info().name) == fold(plugin))
        };
        let matchers = self.find(plugin).map_or(&[][..], |plugin| &plugin.info().matchers);
        let matchers: Vec<&String> = matchers.iter().filter(is_its).collect();
        !matchers.is_empty()
            && rules.any(|rule| {
                let rule = Rule::parse(rule);
                rule.is_ok_and(|rule| matchers.iter().any(|matcher| rule.calls(matcher)))
            })
    }

    /// How each plugin is.
    pub(super) fn reports(&self) -> Vec<PluginReport> {
        let serving = self.serving();
        let serves = |slot: &Slot| serving.iter().any(|(_, it, _)| std::ptr::eq(*it, slot));
        // A file that never loaded is told with what is in the program in its place.
        let broken = |stem: &str| self.files.get(stem).filter(|slot| slot.loaded.is_none());
        let embedded =
            self.embedded.iter().filter(|(_, slot)| serves(slot) || slot.error.is_some());
        let embedded = embedded.map(|(stem, slot)| (stem, slot, broken(stem).or(Some(slot))));
        let is_told = |stem: &str| self.embedded.get(stem).is_some_and(&serves);
        let files =
            self.files.iter().filter(|(stem, slot)| slot.loaded.is_some() || !is_told(stem));
        let files = files.map(|(stem, slot)| (stem, slot, Some(slot)));
        let mut reports: Vec<_> = embedded
            .chain(files)
            .map(|(stem, slot, file)| PluginReport {
                shadowed: !slot.gone && !serves(slot),
                ..report(stem, slot.loaded.as_ref(), file)
            })
            .collect();
        reports.sort_by(|one, other| one.name.cmp(&other.name));
        reports
    }

    /// What is wrong with plugins.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let serving = self.serving();
        let serves = |slot: &Slot| serving.iter().any(|(_, it, _)| std::ptr::eq(*it, slot));
        let mut problems = Vec::new();
        for (stem, slot) in &self.embedded {
            if let Some(error) = &slot.error {
                let origin = format!("embedded {stem}.wasm");
                problems.push(Problem::error("plugins", origin, error.clone()));
            }
        }
        for (stem, slot) in &self.files {
            let file = format!("{stem}.wasm");
            if let Some(error) = &slot.error {
                let problem = Problem::error("plugins", file.clone(), error.clone());
                problems.push(match (&slot.loaded, self.embedded.get(stem)) {
                    (Some(_), _) => problem.hint("the version that was loaded before goes on"),
                    (None, Some(_)) => problem.hint("the one within the program goes on"),
                    (None, None) => problem,
                });
            }
            let Some(loaded) = &slot.loaded else { continue };
            let name = &loaded.plugin.info().name;
            if is_own_middleware(name) && loaded.plugin.middleware().is_some() {
                let message =
                    format!("no middleware is made of it: `{name}` is a part of Portolan");
                let problem = Problem::warning("plugins", file.clone(), message);
                problems.push(problem.hint("give the plugin another name"));
            }
            if slot.gone && serves(slot) {
                let message = "the file is gone, but the plugin is used and goes on";
                problems.push(Problem::warning("plugins", file, message));
            } else if !slot.gone && !serves(slot) {
                let message = format!("another file is the plugin `{name}` already");
                problems.push(Problem::warning("plugins", file, message));
            }
        }
        problems
    }

    fn all(&self) -> impl Iterator<Item = &Plugin> {
        self.serving().into_iter().map(|(_, _, loaded)| &loaded.plugin)
    }

    /// All of them, as their matchers go.
    fn in_order(&self) -> impl Iterator<Item = &Plugin> {
        let mut serving = self.serving();
        let own: Vec<_> = self
            .embedded
            .values()
            .filter_map(|slot| slot.loaded.as_ref())
            .map(|loaded| fold(&loaded.plugin.info().name))
            .collect();
        serving.sort_by_key(|(_, slot, loaded)| {
            (!own.contains(&fold(&loaded.plugin.info().name)), slot.since)
        });
        serving.into_iter().map(|(_, _, loaded)| &loaded.plugin)
    }

    /// What serves, one for each name: see the invariant.
    fn serving(&self) -> Vec<(&str, &Slot, &Loaded)> {
        let files = |gone| self.files.iter().filter(move |(_, slot)| slot.gone == gone);
        let slots = files(false).chain(&self.embedded).chain(files(true));
        let mut taken = Vec::new();
        let mut serving = Vec::new();
        for (stem, slot) in slots {
            let Some(loaded) = &slot.loaded else { continue };
            let name = fold(&loaded.plugin.info().name);
            if !taken.contains(&name) {
                taken.push(name);
                serving.push((stem.as_str(), slot, loaded));
            }
        }
        serving
    }

    fn put_embedded(&mut self, outcome: Outcome) {
        let slot = match outcome.change {
            Change::Loaded(loaded) => Slot { loaded: Some(*loaded), ..Slot::default() },
            Change::Refused(reason) => {
                tracing::error!(plugin = %outcome.stem, error = %reason, "plugin not loaded");
                Slot { error: Some(reason), ..Slot::default() }
            }
            Change::Gone => return,
        };
        self.embedded.insert(outcome.stem, slot);
    }

    fn put(&mut self, outcome: Outcome) -> bool {
        let slot = self.files.entry(outcome.stem).or_default();
        match outcome.change {
            Change::Loaded(loaded) => {
                let is_new = outcome.turn > 0 && (slot.loaded.is_none() || slot.gone);
                self.came += u64::from(is_new);
                let since = if is_new { self.came } else { slot.since };
                *slot = Slot { loaded: Some(*loaded), since, ..Slot::default() };
                true
            }
            Change::Refused(reason) => {
                // One that comes back is there again, whatever is in it.
                (slot.error, slot.gone) = (Some(reason), false);
                false
            }
            Change::Gone => {
                (slot.error, slot.gone) = (None, true);
                true
            }
        }
    }

    fn load_content(
        &self,
        path: PathBuf,
        content: Content,
        figures: Option<Arc<PluginFigures>>,
    ) -> Box<dyn FnOnce() -> Change + Send> {
        match content {
            Content::Bytes(bytes) => {
                Box::new(self.load_one(path.display().to_string(), bytes, figures))
            }
            Content::Unreadable(error) => {
                Box::new(move || Change::Refused(format!("cannot be read: {error}")))
            }
            Content::Gone => Box::new(|| Change::Gone),
        }
    }

    /// Loads on whatever thread it is called; that may take its time.
    fn load_one(
        &self,
        file: String,
        bytes: impl AsRef<[u8]> + Send + 'static,
        figures: Option<Arc<PluginFigures>>,
    ) -> impl FnOnce() -> Change + Send + 'static {
        let host = self.host.clone();
        move || match host.load(&file, bytes.as_ref(), figures) {
            Ok(plugin) => Change::Loaded(Box::new(Loaded { plugin, at: SystemTime::now() })),
            Err(error) => Change::Refused(Chain(&error).to_string()),
        }
    }
}

/// `file` is the file that it is, or that is there in its place.
fn report(stem: &str, current: Option<&Loaded>, file: Option<&Slot>) -> PluginReport {
    let info = current.map(|loaded| loaded.plugin.info().clone());
    PluginReport {
        name: info.as_ref().map_or_else(|| stem.into(), |info| info.name.clone()),
        info,
        error: file.and_then(|slot| slot.error.clone()),
        deleted: file.is_some_and(|slot| slot.gone),
        shadowed: false,
        loaded: current.map(|loaded| loaded.at),
        load_ms: current.map_or(0, |loaded| milliseconds(loaded.plugin.loading().took)),
        cached: current.is_some_and(|loaded| loaded.plugin.loading().cached),
        figures: current.map_or_else(Arc::<PluginFigures>::default, |it| it.plugin.figures()),
    }
}

fn milliseconds(took: Duration) -> u64 {
    took.as_millis().try_into().unwrap_or(u64::MAX)
}
