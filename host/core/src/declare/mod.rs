//! Dynamic configuration: what a file, a table or the tags of an instance declare.
//!
//! There is one schema wherever it comes from: `routers.<name>`, `services.<name>.load-balancer`,
//! `middlewares.<name>.<plugin>`, `servers-transports.<name>`. Keys compare without case and
//! hyphens, values may be text.
//!
//! **Invariant:** one bad value costs that value. Whatever is left out becomes a [`Flaw`] with
//! its place; the rest goes on.

mod reader;
mod value;
mod options;
mod service;
mod transport;
mod astray;
mod built_in;
mod schema;
mod tags;
mod stray;
#[cfg(test)]
mod nothing_tests;
#[cfg(test)]
mod stray_tests;
#[cfg(test)]
mod tests;

pub use built_in::{ChainSpec, chain, retry, shown_retry};
pub use reader::boolean;
pub use schema::read;
pub use stray::close_strays;
pub use tags::{Tree, tree};

use std::{sync::Arc, time::Duration};

use serde_json::Value;

use crate::{
    backend::Scheme,
    middleware::OnFailure,
    policy::{LoadBalancer, Statuses, Sticky, Timeouts, Transport},
    problem::Severity,
    router::Observability,
};

/// Something in a dynamic configuration that was left out, or is doubtful.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
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
    /// How long its requests may take. What is said here comes before what the service says.
    pub timeouts: Option<Box<Timeouts>>,
    /// What is noted of its requests.
    pub observability: Observability,
    /// Whether what it says of its rule, its middlewares, its entrypoints or its encryption could not
    /// be read: then it may have been meant to be protected.
    pub is_doubtful: bool,
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
    /// What goes before the path of each request: `/base`.
    pub path: Option<String>,
    /// Its share of the traffic.
    pub weight: u32,
}

/// A service as declared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceSpec {
    /// Servers with a URL of their own.
    pub servers: Vec<ServerSpec>,
    /// For an instance: the port to use instead of the one it registered.
    pub port: Option<u16>,
    /// For an instance: how to speak to it.
    pub scheme: Option<Scheme>,
    /// For an instance: its share of the traffic.
    pub weight: Option<u32>,
    /// How backends are treated.
    pub options: Arc<LoadBalancer>,
    /// Whether it has backends, or is made of other services.
    pub kind: KindSpec,
}

impl Default for ServiceSpec {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            port: None,
            scheme: None,
            weight: None,
            options: LoadBalancer::usual(),
            kind: KindSpec::default(),
        }
    }
}

/// What a service is made of, as declared. Names of services are as written, perhaps with
/// `@provider`.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub enum KindSpec {
    /// Of backends.
    #[default]
    Backends,
    /// Of services that share the traffic.
    Weighted {
        /// Which ones.
        members: Vec<MemberSpec>,
        /// Whether a client always gets the same one.
        by_client: bool,
        /// Whether a cookie keeps it there.
        sticky: Option<Sticky>,
    },
    /// Of a service that answers, and some that get copies.
    Mirroring {
        /// Who answers.
        service: String,
        /// Who gets copies.
        mirrors: Vec<MirrorSpec>,
        /// Whether copies have the body too.
        mirror_body: bool,
        /// The most bytes of a body that are kept for copies.
        max_body: u64,
    },
    /// Of a service, and one behind it.
    Failover {
        /// Who is asked first.
        service: String,
        /// Who is asked when that does not work.
        fallback: String,
        /// Answers that are as good as none.
        statuses: Statuses,
        /// The most bytes of a body that are kept to ask again.
        max_body: u64,
    },
}

/// A service that shares traffic with others, as declared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MemberSpec {
    /// Its name.
    pub name: String,
    /// Its share.
    pub weight: u32,
}

/// A service that gets copies, as declared.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MirrorSpec {
    /// Its name.
    pub name: String,
    /// Of how many of a hundred requests.
    pub percent: u8,
}

/// A way of connecting to backends as declared; of one that cannot be used, why.
pub type TransportSpec = Result<Transport, Arc<str>>;

/// A middleware as declared.
#[derive(Clone, Debug, PartialEq)]
pub struct MiddlewareSpec {
    /// The plugin that it is a use of, as written; `None`: it names none or several, so it is of no
    /// use, and whoever declares it has been told.
    pub plugin: Option<String>,
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
    /// Ways of connecting to backends, by name.
    pub transports: Vec<(Arc<str>, TransportSpec)>,
    /// What was left out.
    pub flaws: Vec<Flaw>,
}
