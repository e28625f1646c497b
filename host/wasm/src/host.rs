//! The plugin host: one for a process.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, Weak},
    time::{Duration, Instant},
};

use portolan_core::{
    plugin::{PluginFigures, PluginInfo, Want},
    port::Ports,
};
use wasmtime::{
    Engine,
    component::{Component, InstancePre, Linker},
};

use crate::{
    artifact::{Cache, Said, Surface},
    compile::{Compiler, InProcess},
    engine::Running,
    error::{HOSTCALL, HostError, LoadError, PROVIDER_HOSTCALL},
    facets::Places,
    guest::{Budget, Guest},
    imports::{self, WAITING},
    kind::{Matchers, Middlewares},
    load::{self, Code},
    outbound::Tls,
    plugin::{Loaded, Loading, Plugin},
    runtime::{Limits, Runtime},
    schema::Schema,
};

/// Where compiled code is kept, and what plugins may use. Sizes are in bytes.
#[derive(Clone, Debug)]
pub struct HostConfig {
    /// A directory of our own for compiled code; the key that guards it is made beside it. `None`:
    /// every start compiles anew.
    pub cache_dir: Option<PathBuf>,
    /// The largest file that is read as a plugin.
    pub max_file: usize,
    /// Memory of one instance of a middleware or matcher.
    pub instance_memory: usize,
    /// Memory of an instance of a provider, which holds a whole catalog at times.
    pub provider_memory: usize,
    /// Memory of all instances of one plugin.
    pub plugin_memory: usize,
    /// Time for one hook, unless its plugin or its binding may take longer.
    pub call_limit: Duration,
    /// Time to read one configuration, or to compile one call of a matcher.
    pub configure_limit: Duration,
    /// Time that one call of a provider may run, apart from what it waits: much more than it takes to
    /// read the largest catalog, but a guest that loops does not keep a core for a minute.
    pub running_limit: Duration,
    /// An instance is replaced after so many calls.
    pub instance_uses: u32,
    /// Where components are compiled.
    pub compiler: Arc<dyn Compiler>,
}

impl Default for HostConfig {
    fn default() -> Self {
        Self {
            cache_dir: None,
            max_file: 64 << 20,
            instance_memory: 64 << 20,
            provider_memory: 256 << 20,
            plugin_memory: 512 << 20,
            call_limit: Duration::from_millis(50),
            configure_limit: Duration::from_secs(1),
            running_limit: Duration::from_secs(10),
            instance_uses: 1_000_000,
            compiler: Arc::new(InProcess),
        }
    }
}

/// Loads plugins. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Host(Arc<Inner>);

struct Inner {
    config: HostConfig,
    running: Running,
    cache: Option<Cache>,
    /// What every plugin may import.
    linker: Arc<Linker<Guest>>,
    /// The same, and what can wait as something that traps.
    closed: Linker<Guest>,
    /// Everything that there is, to compare types with.
    whole: Linker<Guest>,
    tls: Tls,
    /// What is loaded, so that its compiled code is not pruned.
    loaded: Mutex<Vec<Weak<Loaded>>>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inner").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Host {
    /// Starts the engine and the thread that measures time for it.
    ///
    /// # Errors
    ///
    /// The engine does not run here. That the cache cannot be used is a warning only.
    pub fn new(config: HostConfig) -> Result<Self, HostError> {
        let running = Running::start(config.instance_memory.max(config.provider_memory))?;
        let [linker, closed, whole] =
            linkers(running.engine()).map_err(|error| HostError::Engine(error.into()))?;
        let cache = config.cache_dir.as_deref().and_then(|path| open(path, running.engine()));
        let (tls, loaded) = (Tls::default(), Mutex::default());
        let linker = linker.into();
        let inner = Inner { config, running, cache, linker, closed, whole, tls, loaded };
        Ok(Self(Arc::new(inner)))
    }

    /// Prepares a thread for calls into plugins, which otherwise its first call pays for (some
    /// hundred microseconds). To be called when a serving thread starts.
    pub fn prepare_thread() {
        Engine::tls_eager_initialize();
    }

    /// Makes a plugin of a file's bytes. `file` names it in messages. `previous` are the figures
    /// of the plugin that it takes the place of.
    ///
    /// Blocks: up to some 100 ms for code that is not in the cache, longer for large files.
    ///
    /// # Errors
    ///
    /// It is not a plugin, or not one that runs here, or it fails to describe itself.
    pub fn load(
        &self,
        file: &str,
        bytes: &[u8],
        previous: Option<Arc<PluginFigures>>,
    ) -> Result<Plugin, LoadError> {
        let begun = Instant::now();
        let (inner, limit) = (&*self.0, self.0.config.max_file);
        if bytes.len() > limit {
            return Err(LoadError::TooLarge { size: bytes.len(), limit });
        }
        let hash = blake3::hash(bytes).to_hex().to_string();
        let engine = inner.running.engine();
        let code = match inner.cache.as_ref().and_then(|it| load::cached(it, engine, &hash)) {
            Some(code) => code,
            None => {
                let (cache, compiler) = (inner.cache.as_ref(), &*inner.config.compiler);
                load::compiled(cache, engine, compiler, (file, &hash), bytes)?
            }
        };
        let file = About { file, hash: &hash, size: bytes.len() as u64, begun };
        inner.finish(code, &file, previous.unwrap_or_default())
    }
}

/// The file that a plugin is made of.
struct About<'a> {
    file: &'a str,
    hash: &'a str,
    size: u64,
    begun: Instant,
}

impl Inner {
    fn finish(
        &self,
        code: Code,
        about: &About<'_>,
        figures: Arc<PluginFigures>,
    ) -> Result<Plugin, LoadError> {
        let Code { component, surface, said } = code;
        surface.check()?;
        let cached = said.is_some();
        let pre = self.link(&component)?;
        let places = Places::find(&component).ok_or(LoadError::NotAPlugin)?;
        let runtime = |name: &str, hook_limit: Option<u64>, figures: Arc<PluginFigures>| {
            let names = (name.into(), about.hash.into());
            let (clock, pre, places) = (self.running.clock(), pre.clone(), places.clone());
            Runtime::new(names, clock, pre, places, self.budget(figures), self.limits(hook_limit))
        };
        let said = match said {
            Some(said) => said,
            // Its own figures, which nobody sees: it does not have a name yet.
            None => load::ask(&runtime(about.file, None, Arc::default()))?,
        };
        let schema = load::judge(&said)?.map(Arc::new);
        if !cached {
            self.keep(about.hash, &surface, &said);
        }
        let runtime = Arc::new(runtime(&said.name, said.hook_limit, figures));
        let info = info(&said, &surface, about, schema.as_deref());
        let loading = Loading { cached, took: about.begun.elapsed() };
        tracing::debug!(
            plugin.name = %info.name,
            plugin.file = about.file,
            cached,
            took = ?loading.took,
            "plugin loaded"
        );
        let plugin = Arc::new(Loaded {
            info,
            loading,
            ports: ports(&runtime, &said, schema.clone()),
            component,
            surface,
            provider_budget: self.provider_budget(&runtime.budget),
            runtime,
            schema,
            linker: self.linker.clone(),
            tls: self.tls.clone(),
        });
        self.remember(&plugin);
        Ok(Plugin(plugin))
    }

    /// What can wait is linked for a provider that was granted it. In the instances that describe
    /// and judge it traps; but first everything must fit, or a slip would trap one day.
    fn link(&self, component: &Component) -> Result<InstancePre<Guest>, LoadError> {
        let whole = self.whole.instantiate_pre(component);
        let closed = whole.and_then(|_| self.closed.instantiate_pre(component));
        closed.map_err(|error| LoadError::Link(error.into()))
    }

    fn limits(&self, hook_limit: Option<u64>) -> Limits {
        let call = self.config.call_limit;
        Limits {
            call,
            // One that is quicker than it has to be says nothing of that.
            hook: hook_limit.map_or(call, Duration::from_millis).max(call),
            configure: self.config.configure_limit,
            running: self.config.running_limit,
            uses: self.config.instance_uses,
            resting: self.config.instance_memory / 2,
        }
    }

    fn budget(&self, figures: Arc<PluginFigures>) -> Budget {
        let HostConfig { instance_memory, plugin_memory, .. } = self.config;
        Budget { instance: instance_memory, plugin: plugin_memory, hostcall: HOSTCALL, figures }
    }

    fn provider_budget(&self, budget: &Budget) -> Budget {
        let instance = self.config.provider_memory;
        Budget { instance, hostcall: PROVIDER_HOSTCALL, ..budget.clone() }
    }

    fn keep(&self, hash: &str, surface: &Surface, said: &Said) {
        let Some(cache) = &self.cache else { return };
        let used = self.used(hash);
        let kept = cache.keep_card(hash, surface, said).and_then(|()| cache.prune(&used));
        if let Err(error) = kept {
            tracing::warn!(%error, "compiled code not kept");
        }
    }

    fn used(&self, hash: &str) -> Vec<String> {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let used = loaded.iter().filter_map(Weak::upgrade).map(|it| it.info.hash.clone());
        used.chain([hash.to_owned()]).collect()
    }

    fn remember(&self, plugin: &Arc<Loaded>) {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.retain(|it| it.strong_count() > 0);
        loaded.push(Arc::downgrade(plugin));
    }
}

/// What is always there; the same with what can wait closed; the same with all of it.
fn linkers(engine: &Engine) -> wasmtime::Result<[Linker<Guest>; 3]> {
    let linker = imports::linker(engine)?;
    let closed = imports::closed(&linker)?;
    let mut whole = linker.clone();
    for interface in WAITING {
        imports::link_waiting(&mut whole, interface)?;
    }
    Ok([linker, closed, whole])
}

fn open(path: &Path, engine: &Engine) -> Option<Cache> {
    match Cache::open(path, engine) {
        Ok(cache) => Some(cache),
        Err(error) => {
            tracing::warn!(path = %path.display(), %error, "compiled plugins are not kept");
            None
        }
    }
}

fn ports(runtime: &Arc<Runtime>, said: &Said, schema: Option<Arc<Schema>>) -> Ports {
    let mut ports = Ports::default();
    if let Some(declare) = runtime.places.interest {
        ports.middleware = Some(Arc::new(Middlewares::new(runtime.clone(), declare, schema)));
    }
    if let Some((_, compile)) = runtime.places.matchers {
        let signatures = load::signatures_of(said);
        ports.matchers = Some(Arc::new(Matchers::new(runtime.clone(), compile, signatures)));
    }
    ports
}

fn info(said: &Said, surface: &Surface, about: &About<'_>, schema: Option<&Schema>) -> PluginInfo {
    let want = |want: &crate::artifact::WantCard| Want {
        capability: want.capability.clone(),
        scope: want.scope.clone(),
        reason: want.reason.clone(),
    };
    PluginInfo {
        name: said.name.as_str().into(),
        file: about.file.to_owned(),
        version: said.version.clone(),
        summary: said.summary.clone(),
        kinds: surface.kinds(),
        hash: about.hash.to_owned(),
        size: about.size,
        imports: surface.imported(),
        wants: said.wants.iter().map(want).collect(),
        matchers: said.matchers.iter().map(|matcher| matcher.name.clone()).collect(),
        schema: schema.map(|schema| schema.root().clone()),
    }
}
