//! Dynamic configuration: what a file, a table or the tags of an instance declare.
//!
//! There is one schema wherever it comes from: `routers.<name>`, `services.<name>.load-balancer`,
//! `middlewares.<name>.<plugin>`. Keys compare without case and hyphens, values may be text.
//!
//! **Invariant:** one bad value costs that value. Whatever is left out becomes a [`Flaw`] with
//! its place; the rest goes on.

mod reader;
mod schema;
mod tags;
#[cfg(test)]
mod tests;

pub use schema::read;
pub use tags::{Tree, tree};

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::{backend::Scheme, middleware::OnFailure, problem::Severity};

/// Something in a dynamic configuration that was left out, or is doubtful.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Flaw {
    /// How bad it is.
    pub severity: Severity,
    /// JSON Pointer to it.
    pub pointer: String,
    /// One sentence in lower case, without a full stop.
    pub message: String,
    /// What was probably meant.
    pub hint: Option<String>,
}

/// A router as declared.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RouterSpec {
    /// The rule.
    pub rule: Option<String>,
    /// The service, perhaps with `@provider`.
    pub service: Option<String>,
    /// The middlewares, outermost first, perhaps with `@provider`.
    pub middlewares: Vec<String>,
    /// The entrypoints; empty: all.
    pub entrypoints: Vec<String>,
    /// Explicit priority; 0 and absent are the same, as in Traefik.
    pub priority: Option<i64>,
    /// What it says about encryption; then it answers on encrypted connections only.
    pub tls: Option<TlsSpec>,
}

/// What a router says about encryption: `tls = true`, or a table. What options and resolvers
/// there are is a matter of `config.toml`, so names are not checked here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TlsSpec {
    /// The `[tls.options]` of handshakes for its hosts; `None`: those of the entrypoint. What
    /// follows an `@` is left away: Traefik's `mtls@file` is our `mtls`.
    pub options: Option<String>,
    /// The `[acme]` resolver that certifies its hosts; `None`: that of the entrypoint, if any.
    pub resolver: Option<String>,
    /// The certificates to order, in place of one for each host of its rule.
    pub domains: Vec<DomainSpec>,
}

/// A certificate to order: one name, and those that shall stand beside it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DomainSpec {
    /// The first name.
    pub main: String,
    /// The others.
    pub sans: Vec<String>,
}

/// One server of a service, as declared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerSpec {
    /// Scheme and authority of the URL.
    pub scheme: Scheme,
    /// `10.0.0.7:8080`.
    pub authority: String,
    /// Its share of the traffic.
    pub weight: u32,
}

/// A service as declared.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ServiceSpec {
    /// Servers with a URL of their own.
    pub servers: Vec<ServerSpec>,
    /// For an instance: the port to use instead of the one it registered.
    pub port: Option<u16>,
    /// For an instance: how to speak to it.
    pub scheme: Option<Scheme>,
    /// For an instance: its share of the traffic.
    pub weight: Option<u32>,
    /// Whether backends see the client's `Host`.
    pub pass_host_header: Option<bool>,
}

/// A middleware as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct MiddlewareSpec {
    /// The plugin that it is a use of, as written.
    pub plugin: String,
    /// JSON Pointer to the plugin's configuration.
    pub pointer: String,
    /// The plugin's configuration, as written.
    pub config: Arc<Value>,
    /// What happens when the plugin fails.
    pub on_failure: OnFailure,
    /// How long one hook may take; absent: as the plugin says, or the host.
    pub time_limit: Option<Duration>,
}

/// Everything that one source declares. Names are as written; each stands once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Declared {
    /// Routers by name.
    pub routers: Vec<(Arc<str>, RouterSpec)>,
    /// Services by name.
    pub services: Vec<(Arc<str>, ServiceSpec)>,
    /// Middlewares by name.
    pub middlewares: Vec<(Arc<str>, MiddlewareSpec)>,
    /// What was left out.
    pub flaws: Vec<Flaw>,
}
