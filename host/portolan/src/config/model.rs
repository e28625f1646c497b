//! The configuration as the rest of the program uses it: read, checked, nothing left open.
//!
//! **Invariant:** paths are absolute, names are unique, no two listeners share an address (unless
//! its port is 0). What has a default is not an `Option`.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    sync::Arc,
};

use http::HeaderName;
use ipnet::IpNet;
use portolan_core::{
    assemble::{Redirected, RulePriority},
    figure::HeaderLabels,
    policy::Transport,
    router::Observability,
    zone::{Name, ZoneConfig},
};
use portolan_net::{
    dns::{CacheConfig, Mode, Policy, UpstreamConfig},
    http::{AccessConfig, Limits, RedirectConfig},
    tls::{TlsConfig, TlsSettings},
};
use serde_json::Value;

pub(crate) use super::{
    counting::Counting, dns::forward::FilterConfig, observe::Traces, plugins::Plugins,
    schema::Drain,
};
use crate::telemetry;

/// Everything that `config.toml` says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Config {
    /// The folder of the file; guests' relative paths start here too.
    pub(crate) base: PathBuf,
    /// Where the local CA, the last known catalogs and compiled plugins are kept.
    pub(crate) data_dir: PathBuf,
    /// Threads that serve; `None`: one per core.
    pub(crate) threads: Option<NonZeroUsize>,
    /// In the order of the file.
    pub(crate) entrypoints: Vec<Entrypoint>,
    /// Certificates, options and resolvers for all of them.
    pub(crate) tls: TlsSettings,
    /// The admin API and dashboard; `None` when switched off.
    pub(crate) admin: Option<Admin>,
    /// `None` without `[dns]`.
    pub(crate) dns: Option<Dns>,
    /// Where plugins are and what each may use.
    pub(crate) plugins: Plugins,
    /// The files and folders of which configurations of a plugin may name a file, by its name as it
    /// is written.
    pub(crate) plugin_files: Vec<(String, Vec<PathBuf>)>,
    /// In the order of the file.
    pub(crate) providers: Vec<Provider>,
    /// Which of two routers without a priority has precedence.
    pub(crate) rule_priority: RulePriority,
    /// Which provider goes first where routers have one priority; the others come behind.
    pub(crate) provider_precedence: Vec<String>,
    /// A reference to the transport of services that name none.
    pub(crate) default_transport: Option<Arc<str>>,
    /// `[http]` as written: routers, services and middlewares. Its places are in the report's
    /// [`Spans`](super::Spans) under `/http`.
    pub(crate) http: Value,
    /// The header in which answers that Portolan makes itself say why; `None`: they do not.
    pub(crate) reason_header: Option<HeaderName>,
    /// What is logged, and how.
    pub(crate) log: telemetry::Log,
    /// The access log; `None`: there is none.
    pub(crate) access_log: Option<AccessConfig>,
    /// How requests are counted and told.
    pub(crate) counting: Counting,
    /// By which of their headers requests are counted too.
    pub(crate) header_labels: HeaderLabels,
    /// What is traced, and where spans go; `None`: nothing.
    pub(crate) traces: Option<Traces>,
    /// How we end.
    pub(crate) drain: Drain,
}

/// Where dashboard, API and metrics are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Admin {
    /// Where it listens; port 0 lets the system choose.
    pub(crate) address: SocketAddr,
    /// Names that it answers to, beside those that need no mention; in lower case, without a dot at
    /// the end.
    pub(crate) hosts: Vec<String>,
}

/// Where HTTP is spoken.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entrypoint {
    /// Unique.
    pub(crate) name: String,
    /// Where it listens; port 0 lets the system choose.
    pub(crate) address: SocketAddr,
    /// `None`: plain HTTP.
    pub(crate) tls: Option<TlsConfig>,
    /// Whether routers without `tls` are there too, where it is encrypted.
    pub(crate) takes_plain: bool,
    /// Whether routers that name no entrypoint are there. If none is such, all are.
    pub(crate) is_default: bool,
    /// References to middlewares that go before those of each router.
    pub(crate) middlewares: Vec<String>,
    /// Whose `X-Forwarded-…` headers are added to instead of replaced.
    pub(crate) forwarded_headers: Vec<IpNet>,
    /// Whether peers are not added to `X-Forwarded-For`.
    pub(crate) hides_peers: bool,
    /// Whether `X-Forwarded-Scheme` and `X-Scheme` are told too.
    pub(crate) tells_scheme: bool,
    /// What rules and middlewares see though `Connection` names it.
    pub(crate) connection: Vec<HeaderName>,
    /// Whose connections begin with a PROXY protocol header.
    pub(crate) proxy_protocol: Vec<IpNet>,
    /// Where it sends everybody; `None`: requests meet routers.
    pub(crate) redirect: Option<RedirectConfig>,
    /// How far its clients may go.
    pub(crate) limits: Limits,
    /// What is noted of requests, where their router does not say.
    pub(crate) observability: Observability,
}

impl Entrypoint {
    /// Which requests it sends elsewhere, as far as routers are concerned. Who came to a proxy before us
    /// by `https`, which is to be trusted, is there already.
    pub(crate) fn redirected(&self) -> Redirected {
        let Some(redirect) = &self.redirect else { return Redirected::Nobody };
        let is_to_tls = redirect.scheme == http::uri::Scheme::HTTPS;
        match redirect.priority {
            _ if is_to_tls && (self.tls.is_some() || !self.forwarded_headers.is_empty()) => {
                Redirected::Nobody
            }
            None => Redirected::Everybody,
            Some(priority) => Redirected::UpTo(priority),
        }
    }
}

/// How DNS is answered.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Dns {
    /// Each is served over UDP and TCP. At least one.
    pub(crate) addresses: Vec<SocketAddr>,
    /// Where DNS over TLS is spoken.
    pub(crate) tls_addresses: Vec<SocketAddr>,
    /// Where DNS over HTTPS is spoken.
    pub(crate) https_addresses: Vec<SocketAddr>,
    /// Who may ask what, and how much.
    pub(crate) policy: Policy,
    /// Who is asked for names that are not ours; `None`: the resolvers of the system; empty:
    /// nobody.
    pub(crate) upstreams: Option<Vec<UpstreamConfig>>,
    /// In which order upstreams are asked.
    pub(crate) mode: Mode,
    /// Who says where upstreams are that have a name; `None`: the resolvers of the system.
    pub(crate) bootstrap: Option<Vec<SocketAddr>>,
    /// Whether letters of questions to upstreams are mixed.
    pub(crate) mix_case: bool,
    /// Who is asked for a name and those below it; nobody: there are no such names.
    pub(crate) suffixes: Vec<(Name, Vec<UpstreamConfig>)>,
    /// What is remembered of upstreams' answers.
    pub(crate) cache: CacheConfig,
    /// What is not asked, or not believed.
    pub(crate) filter: FilterConfig,
    /// What the hosts of routers resolve to; `None`: [`Config::edges`] works it out.
    pub(crate) edge_addresses: Option<Vec<IpAddr>>,
    /// Of answers from hosts files and such records, in seconds; also what zones have by default.
    pub(crate) ttl: u32,
    /// Of answers for the hosts of routers outside every zone, in seconds.
    pub(crate) router_ttl: u32,
    /// In the order of the file.
    pub(crate) zones: Vec<ZoneConfig>,
    /// Hosts files, and folders of them.
    pub(crate) hosts: Vec<PathBuf>,
    /// Where names of hosts files that have no dot are known too.
    pub(crate) hosts_domain: Option<Name>,
}

/// A source of facts: one use of a provider plugin.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Provider {
    /// Unique; the `consul` of `grafana@consul`.
    pub(crate) name: String,
    /// The plugin that does the work.
    pub(crate) plugin: String,
    /// Handed to the plugin as it is. Its places are under `/providers/<name>/config`.
    pub(crate) config: Value,
    /// What the plugin may reach.
    pub(crate) grants: Grants,
    /// How its encrypted connections are made; `None`: as the system has it.
    pub(crate) tls: Option<Transport>,
}

/// What a plugin may reach. Nothing, unless it stands here.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Grants {
    /// Origins: `http://127.0.0.1:8500`, without path or trailing slash.
    pub(crate) http_client: Vec<String>,
    /// Files and folders, to be read only.
    pub(crate) files: Vec<PathBuf>,
}
