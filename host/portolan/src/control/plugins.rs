//! Every plugin: those in the binary, and those in the plugins folder that take their place.
//!
//! **Invariant:** a file that does not load changes nothing but a report; the version that served
//! goes on. A file that is gone goes on for as long as something uses it.

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
    name::fold,
    plugin::PluginFigures,
    port::{MatcherPlugin, MiddlewarePlugin},
    problem::{Chain, Problem},
};
use portolan_wasm::{Content, Host, Plugin, PluginFile};
use tokio::{sync::mpsc, task};

use super::{board::PluginReport, event::Event};

/// What became of a file.
#[derive(Debug)]
pub(crate) struct Outcome {
    stem: String,
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

/// What is known of one name in the plugins folder.
#[derive(Debug, Default)]
struct Slot {
    /// The version in the binary.
    embedded: Option<Loaded>,
    /// The version of the file, the last one that loaded.
    file: Option<Loaded>,
    /// Why the file as it is now is not in use.
    error: Option<String>,
    /// The file is gone.
    gone: bool,
}

/// Every plugin, by the stem of its file.
#[derive(Debug)]
pub(super) struct Plugins {
    host: Host,
    slots: BTreeMap<String, Slot>,
}

impl Plugins {
    /// Loads those in the binary and those in the folder, and returns when all are there.
    pub(super) async fn load(
        host: Host,
        embedded: &'static [(&'static str, &'static [u8])],
        files: Vec<PluginFile>,
    ) -> Self {
        let mut plugins = Self { host, slots: BTreeMap::new() };
        let mut loads: Vec<Load> = Vec::with_capacity(embedded.len() + files.len());
        // One that is replaced is loaded all the same: it goes on should the file not load.
        for (stem, bytes) in embedded {
            let load = plugins.load_one(format!("embedded {stem}.wasm"), *bytes, None);
            loads.push(Box::new(move || {
                (true, Outcome { stem: (*stem).to_owned(), change: load() })
            }));
        }
        for PluginFile { stem, path, content } in files {
            let load = plugins.load_content(path, content, None);
            loads.push(Box::new(move || (false, Outcome { stem, change: load() })));
        }
        // As many at once as there are cores: more would be no faster, and each thread keeps the
        // memory that it used.
        let cores = available_parallelism().map_or(1, NonZero::get);
        let mut loading = stream::iter(loads).map(task::spawn_blocking).buffer_unordered(cores);
        while let Some(loaded) = loading.next().await {
            match loaded {
                Ok((true, outcome)) => drop(plugins.put(true, outcome)),
                Ok((false, outcome)) => drop(plugins.take(outcome)),
                Err(panic) => tracing::error!(%panic, "plugin not loaded"),
            }
        }
        plugins
    }

    /// Loads a file that changed, off the loop; the outcome comes as an event.
    pub(super) fn changed(&self, file: PluginFile, events: mpsc::Sender<Event>) {
        let PluginFile { stem, path, content } = file;
        let current = self.slots.get(&stem).and_then(Slot::current);
        let figures = current.map(|loaded| loaded.plugin.figures());
        let load = self.load_content(path, content, figures);
        task::spawn_blocking(move || {
            let outcome = Outcome { stem, change: load() };
            // The loop is gone only when the process ends.
            drop(events.blocking_send(Event::Plugin(outcome)));
        });
    }

    /// Takes in what became of a file. Answers whether anything that serves changed.
    pub(super) fn take(&mut self, outcome: Outcome) -> bool {
        let stem = &outcome.stem;
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
        self.put(false, outcome)
    }

    /// Whether the file of a plugin that is not in the binary is gone.
    pub(super) fn is_any_gone(&self) -> bool {
        self.slots.values().any(|slot| slot.gone && slot.embedded.is_none())
    }

    /// Forgets files that are gone and that nothing uses. Answers whether there were any.
    pub(super) fn sweep(&mut self, used: impl Fn(&str) -> bool) -> bool {
        let before = self.slots.len();
        self.slots.retain(|_, slot| {
            let unused = slot.current().is_none_or(|loaded| !used(&loaded.plugin.info().name));
            !(slot.gone && slot.embedded.is_none() && unused)
        });
        before != self.slots.len()
    }

    /// A plugin by its name in configurations.
    pub(super) fn find(&self, name: &str) -> Option<&Plugin> {
        let wanted = fold(name);
        self.serving().map(|(_, loaded)| &loaded.plugin).find(|p| fold(&p.info().name) == wanted)
    }

    /// The names of all plugins that serve.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.serving().map(|(_, loaded)| &*loaded.plugin.info().name)
    }

    /// Those that middlewares can be made of.
    pub(super) fn middlewares(&self) -> Vec<Arc<dyn MiddlewarePlugin>> {
        self.serving().filter_map(|(_, loaded)| loaded.plugin.middleware()).collect()
    }

    /// Those that add matchers.
    pub(super) fn matchers(&self) -> Vec<Arc<dyn MatcherPlugin>> {
        self.serving().filter_map(|(_, loaded)| loaded.plugin.matchers()).collect()
    }

    /// How each plugin is.
    pub(super) fn reports(&self) -> Vec<PluginReport> {
        let report = |(stem, slot): (&String, &Slot)| {
            let current = slot.current();
            let info = current.map(|loaded| loaded.plugin.info().clone());
            PluginReport {
                name: info.as_ref().map_or_else(|| stem.as_str().into(), |info| info.name.clone()),
                info,
                error: slot.error.clone(),
                deleted: slot.gone && slot.embedded.is_none(),
                loaded: current.map(|loaded| loaded.at),
                load_ms: current.map_or(0, |loaded| milliseconds(loaded.plugin.loading().took)),
                cached: current.is_some_and(|loaded| loaded.plugin.loading().cached),
                figures: current.map_or_else(Arc::<PluginFigures>::default, |l| l.plugin.figures()),
            }
        };
        self.slots.iter().map(report).collect()
    }

    /// What is wrong with plugins.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (stem, slot) in &self.slots {
            let file = format!("{stem}.wasm");
            if let Some(error) = &slot.error {
                let problem = Problem::error("plugins", file.clone(), error.clone());
                problems.push(match slot.current() {
                    Some(_) => problem.hint("the version that was loaded before goes on"),
                    None => problem,
                });
            }
            if slot.gone && slot.embedded.is_none() && slot.current().is_some() {
                let message = "the file is gone, but the plugin is used and goes on";
                problems.push(Problem::warning("plugins", file, message));
            }
        }
        let serving: Vec<_> = self.serving().map(|(stem, _)| stem).collect();
        for (stem, slot) in &self.slots {
            if let Some(loaded) = slot.current()
                && !serving.contains(&stem)
            {
                let name = &loaded.plugin.info().name;
                let message = format!("another file is the plugin `{name}` already");
                problems.push(Problem::warning("plugins", format!("{stem}.wasm"), message));
            }
        }
        problems
    }

    /// What serves: files before those in the binary, one for each name.
    fn serving(&self) -> impl Iterator<Item = (&String, &Loaded)> {
        let mut taken = Vec::new();
        let current = |of_file: bool| {
            let slots = self.slots.iter();
            slots.filter(move |(_, slot)| slot.file.is_some() == of_file)
        };
        let mut serving = Vec::new();
        for (stem, slot) in current(true).chain(current(false)) {
            let Some(loaded) = slot.current() else { continue };
            let name = fold(&loaded.plugin.info().name);
            if !taken.contains(&name) {
                taken.push(name);
                serving.push((stem, loaded));
            }
        }
        serving.into_iter()
    }

    fn put(&mut self, embedded: bool, outcome: Outcome) -> bool {
        let slot = self.slots.entry(outcome.stem).or_default();
        match outcome.change {
            Change::Loaded(loaded) if embedded => slot.embedded = Some(*loaded),
            Change::Loaded(loaded) => {
                slot.file = Some(*loaded);
                (slot.error, slot.gone) = (None, false);
            }
            Change::Refused(reason) => {
                (slot.error, slot.gone) = (Some(reason), false);
                return false;
            }
            Change::Gone => {
                (slot.error, slot.gone) = (None, true);
                // The version in the binary comes back.
                return slot.embedded.is_some() && slot.file.take().is_some();
            }
        }
        true
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

impl Slot {
    fn current(&self) -> Option<&Loaded> {
        self.file.as_ref().or(self.embedded.as_ref())
    }
}

fn milliseconds(took: Duration) -> u64 {
    took.as_millis().try_into().unwrap_or(u64::MAX)
}
