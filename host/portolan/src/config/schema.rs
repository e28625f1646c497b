//! `config.toml` as it is written: every key, its type, its default.
//!
//! To add a key, add its line here, and its comment to `config/config.toml` (a test insists).
//! What one value cannot tell about itself is checked in `validate.rs`.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroUsize,
    path::PathBuf,
    time::Duration,
};

use portolan_core::{
    assemble::RulePriority,
    name::fold,
    policy::{Curve, Suite, TlsVersion},
    router::TraceVerbosity,
};
use portolan_net::tls::acme::{Challenge, KeyType, LETS_ENCRYPT};
use serde_json::Value as Json;
use toml::Spanned;

use super::{
    counting::Metrics,
    dns::Dns,
    limits::{Amounts, Encoded, Http2, Timeouts},
    observe::{AccessLog, Tracing},
    plugins::AllPlugins,
    read::{Named, Node, OneOrMany, Read, Reading, Switch, table},
    tls::{ClientAuthMode, RedirectScheme, StorageKind},
    value::{Network, Word, read_word},
};
use crate::telemetry::Format;

table! {
    /// The whole file.
    pub(super) struct File {
        /// Required; that it is absent is said in `validate`, so that the rest is checked too.
        data_dir: Option<Option<PathBuf>> = None,
        /// Default: one per core.
        threads: Option<NonZeroUsize> = None,
        /// None by default: no socket is opened that nobody asked for.
        entrypoints: Named<Entrypoint> = Named(Vec::new()),
        tls: CommonTls = CommonTls::default(),
        acme: Named<Acme> = Named(Vec::new()),
        /// On by default, on loopback: `portolan explain` and the dashboard need it.
        admin: Switch<Admin> = Switch(Some(Admin::default())),
        /// Off by default.
        dns: Switch<Dns> = Switch(None),
        plugins: AllPlugins = AllPlugins::default(),
        providers: Named<Provider> = Named(Vec::new()),
        /// `[http]`
        http: Http = Http::default(),
        log: Log = Log::default(),
        /// Off by default.
        access_log: Switch<AccessLog> = Switch(None),
        metrics: Metrics = Metrics::default(),
        /// Off by default.
        tracing: Switch<Tracing> = Switch(None),
        drain: Drain = Drain::default(),
    }
}

/// `[http]`: dynamic configuration, which the catalog judges, and what holds for all routers.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Http {
    /// `length`, or `specificity`.
    pub(super) rule_priority: RulePriority,
    /// Providers in their order, for routers of one priority; what is left out comes behind.
    pub(super) provider_precedence: Vec<Spanned<String>>,
    /// A reference to the transport of services that name none; `None`: the system's trust.
    pub(super) default_transport: Option<String>,
    /// In which header our own answers say why; `None`: in none.
    pub(super) reason_header: Option<Spanned<String>>,
    /// All the rest.
    pub(super) declared: Json,
}

impl Default for Http {
    fn default() -> Self {
        let declared = Json::Object(serde_json::Map::new());
        Self {
            rule_priority: RulePriority::default(),
            provider_precedence: Vec::new(),
            default_transport: None,
            reason_header: None,
            declared,
        }
    }
}

/// A key of `[http]` that is not the catalog's.
enum Ours {
    RulePriority,
    ProviderPrecedence,
    DefaultTransport,
    ReasonHeader,
}

impl Read for Http {
    const EXPECTED: &'static str = Json::EXPECTED;

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let mut http = Self { declared: Json::read(node, reading)?, ..Self::default() };
        let ours = |key: &str| match &*fold(key) {
            "rulepriority" => Some(Ours::RulePriority),
            "providerprecedence" => Some(Ours::ProviderPrecedence),
            "defaultserverstransport" => Some(Ours::DefaultTransport),
            "reasonheader" => Some(Ours::ReasonHeader),
            _ => None,
        };
        for (key, value) in node.entries() {
            let Some(ours) = ours(key.get_ref().as_ref()) else { continue };
            let node = node.child(key, value);
            match ours {
                Ours::RulePriority => {
                    http.rule_priority = read_word(&node, reading).unwrap_or_default();
                }
                Ours::ProviderPrecedence => {
                    http.provider_precedence = Read::read(&node, reading).unwrap_or_default();
                }
                Ours::DefaultTransport => http.default_transport = Read::read(&node, reading),
                Ours::ReasonHeader => http.reason_header = Read::read(&node, reading),
            }
        }
        if let Json::Object(declared) = &mut http.declared {
            declared.retain(|key, _| ours(key).is_none());
        }
        Some(http)
    }
}

impl Word for RulePriority {
    const WORDS: &'static [(&'static str, Self)] =
        &[("length", Self::Length), ("specificity", Self::Specificity)];
}

table! {
    /// `[entrypoints.<name>]`
    pub(super) struct Entrypoint {
        address: Spanned<SocketAddr>,
        tls: Switch<Tls> = Switch(None),
        forwarded_headers: Forwarding = Forwarding::default(),
        proxy_protocol: Proxies = Proxies::default(),
        /// Default: requests meet routers.
        redirect: Option<Redirect> = None,
        as_default: bool = false,
        middlewares: Vec<String> = Vec::new(),
        timeouts: Timeouts = Timeouts::default(),
        limits: Amounts = Amounts::default(),
        http2: Http2 = Http2::default(),
        encoded_characters: Encoded = Encoded::default(),
        encode_query_semicolons: bool = false,
        observability: Observed = Observed::default(),
    }
}

table! {
    /// `observability = { … }` of an entrypoint: for its routers that do not say.
    pub(super) struct Observed {
        access_logs: bool = true,
        metrics: bool = true,
        tracing: bool = true,
        /// Default: as `[tracing]` says.
        trace_verbosity: Option<TraceVerbosity> = None,
    }
}

table! {
    /// `forwarded-headers` of an entrypoint.
    pub(super) struct Forwarding {
        /// Nobody by default.
        trusted_ips: Vec<Network> = Vec::new(),
        not_append_x_forwarded_for: bool = false,
        add_x_forwarded_scheme_headers: bool = false,
        connection: Vec<Spanned<String>> = Vec::new(),
    }
}

table! {
    /// `{ trusted-ips = [ … ] }`
    pub(super) struct Proxies {
        /// Nobody by default.
        trusted_ips: Vec<Network> = Vec::new(),
    }
}

table! {
    /// `tls = { … }` of an entrypoint.
    pub(super) struct Tls {
        certificates: Vec<Certificate> = Vec::new(),
        /// Default: `default`.
        options: Option<Spanned<String>> = None,
        /// Default: the local authority.
        resolver: Option<Spanned<String>> = None,
        plain_routers: bool = true,
    }
}

table! {
    /// `redirect = { … }` of an entrypoint.
    pub(super) struct Redirect {
        to: Spanned<String>,
        scheme: RedirectScheme = RedirectScheme::Https,
        permanent: bool = true,
        /// Default: it comes before every router.
        priority: Option<i64> = None,
    }
}

table! {
    /// `[tls]`: what holds for all entrypoints.
    pub(super) struct CommonTls {
        certificates: Vec<Certificate> = Vec::new(),
        /// Default: one of the local authority.
        default_certificate: Option<Certificate> = None,
        options: Named<Options> = Named(Vec::new()),
    }
}

table! {
    /// `[tls.options.<name>]`
    pub(super) struct Options {
        min_version: Spanned<TlsVersion> = unplaced(TlsVersion::V12),
        max_version: Spanned<TlsVersion> = unplaced(TlsVersion::V13),
        /// Default: all that are good.
        cipher_suites: Vec<Suite> = Vec::new(),
        /// Default: all that are good.
        curve_preferences: Vec<Curve> = Vec::new(),
        alpn_protocols: Spanned<Vec<Spanned<String>>> =
            unplaced(vec![unplaced("h2".to_owned()), unplaced("http/1.1".to_owned())]),
        /// Default: clients are not asked.
        client_auth: Option<ClientAuth> = None,
        sni_strict: bool = false,
        session_tickets: bool = true,
    }
}

table! {
    /// `client-auth = { … }`
    pub(super) struct ClientAuth {
        ca_files: Spanned<Vec<Spanned<PathBuf>>>,
        mode: ClientAuthMode = ClientAuthMode::RequireAndVerify,
    }
}

table! {
    /// `[acme.<resolver>]`
    pub(super) struct Acme {
        email: Option<Spanned<String>> = None,
        directory: Spanned<String> = unplaced(LETS_ENCRYPT.to_owned()),
        challenge: Challenge = Challenge::Http01,
        /// Default: those that the system trusts.
        root_certificates: Option<Spanned<PathBuf>> = None,
        key_type: KeyType = KeyType::Ec256,
        eab: Option<ExternalAccount> = None,
        storage: Spanned<StorageKind> = unplaced(StorageKind::File),
    }
}

table! {
    /// `eab = { … }`
    pub(super) struct ExternalAccount {
        key_id: String,
        hmac_file: Spanned<PathBuf>,
    }
}

table! {
    /// `{ cert = "…", key = "…" }`
    pub(super) struct Certificate {
        cert: Spanned<PathBuf>,
        key: Spanned<PathBuf>,
    }
}

table! {
    /// `[admin]`: dashboard, API and metrics.
    pub(super) struct Admin {
        /// Where it listens.
        address: Spanned<SocketAddr> = unplaced(loopback(8080)),
        /// Names that it answers to, beside those that need no mention.
        hosts: Vec<Spanned<String>> = Vec::new(),
    }
}

table! {
    /// `[providers.<name>]`
    pub(super) struct Provider {
        /// Default: the provider's name.
        plugin: Option<String> = None,
        config: Json = Json::Object(serde_json::Map::new()),
        grants: Grants = Grants::default(),
        /// Default: whom the system trusts, and nothing to show.
        tls: Option<PeerTls> = None,
    }
}

table! {
    /// `[providers.<name>.tls]`, `[tracing.tls]`: how encrypted connections to it are made.
    pub(super) struct PeerTls {
        /// A file of authorities, or several.
        ca: OneOrMany<Spanned<PathBuf>> = OneOrMany(Vec::new()),
        cert: Option<Spanned<PathBuf>> = None,
        key: Option<Spanned<PathBuf>> = None,
        /// Default: the host of the address.
        server_name: Option<String> = None,
        insecure_skip_verify: bool = false,
    }
}

table! {
    /// `grants = { … }`
    pub(super) struct Grants {
        http_client: Vec<Spanned<String>> = Vec::new(),
        files: Vec<PathBuf> = Vec::new(),
    }
}

table! {
    /// `[log]`
    pub(super) struct Log {
        level: Spanned<String> = unplaced("info".to_owned()),
        format: Format = Format::Text,
    }
}

table! {
    /// `[drain]`: how we end.
    pub(crate) struct Drain {
        /// Before that, connections are accepted for this long, while `/ping` says that we leave.
        accept: Duration = Duration::ZERO,
        /// Open requests have this long to finish; then they are cut.
        timeout: Duration = Duration::from_secs(30),
    }
}

impl Word for Format {
    const WORDS: &'static [(&'static str, Self)] = &[("text", Self::Text), ("json", Self::Json)];
}

impl Read for Format {
    const EXPECTED: &'static str = "one of `text` and `json`";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        read_word(node, reading)
    }
}

/// A default, which stands nowhere in the file.
pub(super) fn unplaced<T>(value: T) -> Spanned<T> {
    Spanned::new(0..0, value)
}

pub(super) fn loopback(port: u16) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)
}
