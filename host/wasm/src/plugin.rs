//! A loaded plugin: what it is, what it has done, and the ports it fulfils.
//!
//! **Invariant:** what a plugin may reach is what it imports *and* was granted; an import that
//! was not granted is an error that says what to write, never an import that does nothing.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use portolan_core::{
    plugin::{PluginFigures, PluginInfo},
    port::{BindError, MatcherPlugin, MiddlewarePlugin, Ports, Provider},
};
use serde_json::Value;
use wasmtime::component::{Component, Linker};

use crate::{
    artifact::Surface,
    guest::{Budget, Guest},
    imports,
    kind::{BoundProvider, Grant},
    outbound::{Client, Credentials, Folders, Origin, Tls},
    runtime::Runtime,
    schema::Schema,
};

/// A loaded plugin. Cheap to clone; the code is dropped with the last clone and the last use.
#[derive(Clone, Debug)]
pub struct Plugin(pub(crate) Arc<Loaded>);

/// What an operator grants to a provider.
#[derive(Clone, Debug, Default)]
pub struct Grants {
    /// Origins that it may send requests to: `http://127.0.0.1:8500`, `https://*.example.com`.
    pub http_client: Vec<String>,
    /// What its encrypted connections are made with; `None`: with whom the system trusts.
    pub credentials: Option<Arc<dyn Credentials>>,
    /// Folders that it may read.
    pub files: Vec<PathBuf>,
    /// What relative paths are relative to: the folder of the configuration file.
    pub base_dir: PathBuf,
}

/// How loading went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Loading {
    /// Whether compiled code was found in the cache.
    pub cached: bool,
    /// How long it took.
    pub took: Duration,
}

/// What the clones of a plugin share.
pub(crate) struct Loaded {
    pub(crate) info: PluginInfo,
    pub(crate) loading: Loading,
    pub(crate) ports: Ports,
    pub(crate) component: Component,
    pub(crate) surface: Surface,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) schema: Option<Arc<Schema>>,
    /// What every plugin may import.
    pub(crate) linker: Arc<Linker<Guest>>,
    /// For the instances of providers, which may have more memory than those of hooks.
    pub(crate) provider_budget: Budget,
    pub(crate) tls: Tls,
}

impl Plugin {
    /// What it is.
    pub fn info(&self) -> &PluginInfo {
        &self.0.info
    }

    /// What it has done. To be handed to [`Host::load`](crate::Host::load) when its file changes.
    pub fn figures(&self) -> Arc<PluginFigures> {
        self.0.runtime.budget.figures.clone()
    }

    /// How loading it went.
    pub fn loading(&self) -> Loading {
        self.0.loading
    }

    /// As a source of middlewares, if it is one.
    pub fn middleware(&self) -> Option<Arc<dyn MiddlewarePlugin>> {
        self.0.ports.middleware.clone()
    }

    /// As a source of matchers, if it is one.
    pub fn matchers(&self) -> Option<Arc<dyn MatcherPlugin>> {
        self.0.ports.matchers.clone()
    }

    /// Both of the above.
    pub fn ports(&self) -> Ports {
        self.0.ports.clone()
    }

    /// A provider with this configuration and these grants. `label` is its key under
    /// `[providers]`. Blocks while the plugin reads its configuration.
    ///
    /// # Errors
    ///
    /// The configuration is wrong, or the plugin imports what is not granted, or is no provider.
    pub fn provider(
        &self,
        label: &str,
        config: &Value,
        grants: &Grants,
    ) -> Result<Arc<dyn Provider>, BindError> {
        let loaded = &self.0;
        let grant = loaded.grant(label, grants).map_err(BindError::Refused)?;
        let pre = loaded.link(&grant).map_err(|error| {
            let name = &loaded.info.name;
            BindError::Refused(format!("`{name}` cannot be linked: {error:#}"))
        })?;
        let (budget, schema) = (loaded.provider_budget.clone(), loaded.schema.as_deref());
        let runtime = loaded.runtime.clone();
        let bound =
            BoundProvider::bind(runtime, pre, budget, grant.clone(), schema, (label, config))?;
        let beyond = schema.map(|schema| grant.beyond(schema, config)).unwrap_or_default();
        match beyond.is_empty() {
            true => Ok(Arc::new(bound)),
            false => Err(BindError::Config(beyond)),
        }
    }
}

impl Loaded {
    /// What a provider may reach, or what to write so that it may.
    fn grant(&self, label: &str, grants: &Grants) -> Result<Grant, String> {
        let wants = |capability: &str| self.surface.imports(capability);
        let needs = |capability: &str| wants(capability) && !self.can_do_without(capability);
        if needs("http-client") && grants.http_client.is_empty() {
            return Err(self.not_granted(label, "http-client", "http://host:port"));
        }
        if needs("files") && grants.files.is_empty() {
            return Err(self.not_granted(label, "files", "folder"));
        }
        let origins = || {
            grants.http_client.iter().map(|text| Origin::parse(text)).collect::<Result<Vec<_>, _>>()
        };
        let base = match grants.base_dir.as_os_str().is_empty() {
            true => Path::new("."),
            false => &grants.base_dir,
        };
        let http = match wants("http-client") {
            true => {
                let tls = grants.credentials.clone().map_or_else(|| self.tls.clone(), Tls::Own);
                Some(Client::new(origins()?, tls))
            }
            false => None,
        };
        let files = wants("files").then(|| Folders::new(base, &grants.files));
        Ok(Grant { http, files })
    }

    /// Whether a plugin says that only some of its configurations need a capability.
    fn can_do_without(&self, capability: &str) -> bool {
        let mut wants = self.info.wants.iter();
        wants.any(|want| want.capability == capability && want.scope.is_empty())
    }

    fn not_granted(&self, label: &str, capability: &str, example: &str) -> String {
        let want = self.info.wants.iter().find(|want| want.capability == capability);
        let scope: Vec<String> = match want {
            Some(want) if !want.scope.is_empty() => {
                want.scope.iter().map(|scope| format!("{scope:?}")).collect()
            }
            _ => vec![format!("{example:?}")],
        };
        let reason = match want.map(|want| want.reason.as_str()) {
            Some(reason) if !reason.is_empty() => format!(" ({reason})"),
            _ => String::new(),
        };
        format!(
            "`{}` imports `{capability}`{reason}, which is not granted; write \
             `grants = {{ {capability} = [{}] }}` under `[providers.{label}]`",
            self.info.name,
            scope.join(", ")
        )
    }

    fn link(&self, grant: &Grant) -> wasmtime::Result<wasmtime::component::InstancePre<Guest>> {
        let mut linker = Linker::clone(&self.linker);
        imports::link_waiting(&mut linker, "timer")?;
        if grant.http.is_some() {
            imports::link_waiting(&mut linker, "http-client")?;
        }
        if grant.files.is_some() {
            imports::link_waiting(&mut linker, "files")?;
        }
        linker.instantiate_pre(&self.component)
    }
}

impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loaded").field("info", &self.info).finish_non_exhaustive()
    }
}
