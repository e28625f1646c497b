//! Everything that listens: HTTP and DNS on the workers, the admin API beside them.
//!
//! **Invariant:** what cannot be bound is a problem and costs itself; what is bound already and
//! still wanted is not touched.

use std::{fs, io, net::SocketAddr, sync::Arc};

use portolan_core::problem::{Chain, Problem};
use portolan_net::http::{
    Bound, EncodedCharacters, EntrypointConfig, Limits, RedirectConfig, RedirectTarget, Server,
    Trust,
};
use tokio::sync::watch;

use super::{
    holder::{self, Holder},
    names::Names,
    offline::address_file,
    serving::Serving,
    spoken,
};
use crate::{
    admin::Admin,
    config::{Config, model},
    control::{
        bindings::{Applied, Listeners},
        board::EntrypointReport,
    },
    telemetry,
};

/// Makes the admin API anew for each address it is served on.
pub(super) type MakeAdmin = Box<dyn Fn() -> Admin + Send + Sync>;

/// Everything that listens.
pub(super) struct Open {
    http: Arc<Server>,
    entrypoints: Vec<EntrypointReport>,
    /// Where these and DNS listen.
    addresses: Vec<SocketAddr>,
    names: Names,
    make_admin: MakeAdmin,
    admin: Option<Serving>,
    /// Says true when the process begins to drain.
    draining: watch::Receiver<bool>,
}

impl Open {
    /// Nothing listens yet.
    pub(super) fn new(
        http: Arc<Server>,
        names: Names,
        make_admin: MakeAdmin,
        draining: watch::Receiver<bool>,
    ) -> Self {
        let (entrypoints, addresses) = (Vec::new(), Vec::new());
        Self { http, entrypoints, addresses, names, make_admin, admin: None, draining }
    }

    /// Opens the entrypoints that are wanted; for one that cannot be, the one of its name that is open
    /// stays.
    fn apply_http(&mut self, config: &Config, problems: &mut Vec<Problem>) {
        self.http.keyring().configure(config.tls.clone());
        // Before the first request of a new entrypoint.
        drop(self.http.count_by(&config.header_labels));
        let wanted = config.entrypoints.iter().map(entrypoint).collect();
        let (bound, errors) = self.http.apply(wanted);
        let report = |bound: Bound| EntrypointReport {
            redirect: redirect(config, &bound.name),
            redirect_priority: redirect_priority(config, &bound.name),
            encoded_characters: limits(config, &bound.name).encoded_characters,
            encodes_semicolons: limits(config, &bound.name).encode_query_semicolons,
            trust: trust_at(config, &bound.name),
            configured: configured(config, &bound.name),
            name: bound.name,
            address: bound.address,
            protocol: if bound.tls { "https" } else { "http" },
        };
        self.entrypoints = bound.into_iter().map(report).collect();
        let admin = self.admin.as_ref().map(|serving| serving.bound);
        problems.extend(errors.iter().map(|error| {
            let origin = format!("entrypoint `{}`", error.entrypoint);
            let hint = match admin.is_some_and(|admin| meets(admin, error.address)) {
                true => "our own admin API holds it".to_owned(),
                false => advice(error.address, &error.source),
            };
            Problem::error("http", origin, Chain(error).to_string()).hint(hint)
        }));
    }

    /// Moves the admin API out of the way of something that is bound before it. Answers where it was,
    /// if that leaves it without an address: it is to have one of those that are let go of just then.
    async fn make_room(&mut self, config: &Config) -> Option<SocketAddr> {
        let Some(wanted) = config.admin.as_ref().map(|admin| admin.address) else {
            if let Some(serving) = self.admin.take() {
                serving.end().await;
            }
            return None;
        };
        let is_in_the_way = |it: &&Serving| it.wanted != wanted && is_wanted(config, it.bound);
        self.admin.as_ref().filter(is_in_the_way)?;
        if !self.addresses.iter().any(|other| meets(*other, wanted)) {
            // Where it cannot go it stays; that is said when all others have what they want.
            if let Ok(serving) = self.begin(wanted, false).await {
                self.serve(config, serving).await;
            }
            return None;
        }
        let serving = self.admin.take()?;
        let before = serving.wanted;
        serving.end().await;
        Some(before)
    }

    /// Serves the admin API where it is wanted. `left`: where others listened that have gone from there;
    /// `before`: where it was until it [made room](Self::make_room).
    async fn apply_admin(
        &mut self,
        config: &Config,
        left: &[SocketAddr],
        before: Option<SocketAddr>,
        problems: &mut Vec<Problem>,
    ) {
        let wanted = config.admin.as_ref().map(|admin| admin.address);
        if self.admin.as_ref().map(|serving| serving.wanted) == wanted {
            return;
        }
        let Some(wanted) = wanted else { return };
        let is_left = left.iter().any(|other| meets(*other, wanted));
        match self.begin(wanted, is_left).await {
            Ok(serving) => self.serve(config, serving).await,
            Err(error) => {
                problems.push(
                    Problem::error("admin", "admin", format!("cannot listen on {wanted}: {error}"))
                        .hint(advice(wanted, &error)),
                );
                if let Some(before) = before
                    && let Ok(serving) = self.begin(before, false).await
                {
                    self.serve(config, serving).await;
                }
            }
        }
    }

    async fn begin(&self, address: SocketAddr, is_left: bool) -> io::Result<Serving> {
        Serving::begin((self.make_admin)(), address, is_left, self.draining.clone()).await
    }

    async fn serve(&mut self, config: &Config, serving: Serving) {
        // For `portolan explain` where the port was left to the system.
        if let Err(error) = fs::write(address_file(config), serving.bound.to_string()) {
            tracing::debug!(%error, "admin address not kept");
        }
        if let Some(before) = self.admin.replace(serving) {
            before.end().await;
        }
    }
}

/// Whether something that is no admin API is to listen there.
fn is_wanted(config: &Config, address: SocketAddr) -> bool {
    let entrypoints = config.entrypoints.iter().map(|it| it.address);
    let dns = config.dns.iter().flat_map(|dns| {
        [&dns.addresses, &dns.tls_addresses, &dns.https_addresses].into_iter().flatten().copied()
    });
    entrypoints.chain(dns).any(|other| meets(other, address))
}

/// Whether two addresses cannot be listened on by different programs.
fn meets(one: SocketAddr, other: SocketAddr) -> bool {
    let is_every = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (one.ip() == other.ip() || is_every)
}

impl Listeners for Open {
    fn apply<'a>(&'a mut self, config: &'a Config) -> Applied<'a> {
        Box::pin(async move {
            let mut problems = Vec::new();
            let before = self.make_room(config).await;
            let old = self.addresses.clone();
            self.apply_http(config, &mut problems);
            let names = self.names.apply(config.dns.as_ref(), &self.http, &mut problems);
            let others = self.entrypoints.iter().chain(&names);
            self.addresses = others.map(|report| report.address).collect();
            let is_left = |it: &&SocketAddr| !self.addresses.iter().any(|new| meets(*new, **it));
            let left: Vec<_> = old.iter().filter(is_left).copied().collect();
            self.apply_admin(config, &left, before, &mut problems).await;
            let admin = self.admin.iter().map(|serving| EntrypointReport {
                name: "admin".into(),
                address: serving.bound,
                protocol: "admin",
                redirect: None,
                redirect_priority: None,
                encoded_characters: EncodedCharacters::default(),
                encodes_semicolons: false,
                trust: Trust::default(),
                configured: None,
            });
            let bound = self.entrypoints.iter().cloned().chain(names).chain(admin);
            (bound.collect(), problems)
        })
    }

    fn published(&self) {
        self.http.keyring().published();
    }

    fn say(&self, report: &EntrypointReport) {
        telemetry::listening(&spoken(report));
    }

    fn retry(&self) {
        self.http.keyring().retry();
    }
}

fn entrypoint(entrypoint: &model::Entrypoint) -> EntrypointConfig {
    EntrypointConfig {
        name: entrypoint.name.as_str().into(),
        address: entrypoint.address,
        tls: entrypoint.tls.clone(),
        redirect: entrypoint.redirect.clone(),
        limits: entrypoint.limits.clone(),
        observability: entrypoint.observability,
        trust: trust(entrypoint),
    }
}

/// Whose word about others is taken.
fn trust(entrypoint: &model::Entrypoint) -> Trust {
    Trust {
        forwarded_headers: entrypoint.forwarded_headers.clone(),
        hides_peers: entrypoint.hides_peers,
        tells_scheme: entrypoint.tells_scheme,
        connection: entrypoint.connection.clone(),
        proxy_protocol: entrypoint.proxy_protocol.clone(),
    }
}

/// The same of an entrypoint by its name.
fn trust_at(config: &Config, name: &str) -> Trust {
    let entrypoint = config.entrypoints.iter().find(|entrypoint| entrypoint.name == name);
    entrypoint.map(trust).unwrap_or_default()
}

/// How far clients of an entrypoint may go.
fn limits(config: &Config, name: &str) -> Limits {
    let entrypoint = config.entrypoints.iter().find(|entrypoint| entrypoint.name == name);
    entrypoint.map(|entrypoint| entrypoint.limits.clone()).unwrap_or_default()
}

/// Where an entrypoint sends everybody, as a person would say it.
fn redirect(config: &Config, name: &str) -> Option<Arc<str>> {
    let entrypoint = config.entrypoints.iter().find(|entrypoint| entrypoint.name == name)?;
    let RedirectConfig { to, scheme, .. } = entrypoint.redirect.as_ref()?;
    Some(match to {
        RedirectTarget::Entrypoint(name) => format!("{scheme} at entrypoint `{name}`").into(),
        RedirectTarget::Port(port) => format!("{scheme} at port {port}").into(),
    })
}

/// As it is configured. How much is traced is said in `[tracing]`, where it does not say itself.
fn configured(config: &Config, name: &str) -> Option<Arc<model::Entrypoint>> {
    let mut entrypoint = config.entrypoints.iter().find(|it| it.name == name)?.clone();
    let usual = config.traces.as_ref().map(|traces| traces.config.verbosity);
    let verbosity = &mut entrypoint.observability.trace_verbosity;
    *verbosity = verbosity.or(usual);
    Some(Arc::new(entrypoint))
}

/// Above which priority routers come before that.
fn redirect_priority(config: &Config, name: &str) -> Option<i64> {
    let entrypoint = config.entrypoints.iter().find(|entrypoint| entrypoint.name == name)?;
    entrypoint.redirect.as_ref()?.priority
}

/// What to do about an address that cannot be bound.
pub(super) fn advice(address: SocketAddr, error: &io::Error) -> String {
    use std::io::ErrorKind::{AddrInUse, AddrNotAvailable, PermissionDenied};
    let port = address.port();
    match error.kind() {
        AddrInUse => match Holder::of(address) {
            Some(holder) => {
                let Holder { pid, name } = &holder;
                format!("`{name}` (process {pid}) holds it: {}", holder.advice())
            }
            None if holder::is_stub(address) => {
                format!("systemd-resolved holds it: {}", holder::RESOLVED)
            }
            None => format!("another process holds it: `ss -lnp 'sport = :{port}'` says which"),
        },
        AddrNotAvailable => "no interface of this machine has this address".to_owned(),
        PermissionDenied => format!(
            "ports below 1024 want a capability: `setcap cap_net_bind_service=+ep` on the program, or \
             AmbientCapabilities in its unit (port {port})"
        ),
        _ => "choose another address".to_owned(),
    }
}
