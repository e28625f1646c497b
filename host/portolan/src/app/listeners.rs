//! Everything that listens: HTTP and DNS on the workers, the admin API beside them.
//!
//! **Invariant:** what cannot be bound is a problem and costs itself; what is bound already and
//! still wanted is not touched.

use std::{fs, net::SocketAddr, sync::Arc};

use portolan_core::problem::{Chain, Problem};
use portolan_net::http::{
    Bound, EncodedCharacters, EntrypointConfig, RedirectConfig, RedirectTarget, Server, Trust,
};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{
    holder::{self, Holder},
    names::Names,
    offline::address_file,
    spoken,
};
use crate::{
    admin::Admin,
    config::{Config, model},
    control::{Applied, Listeners, board::EntrypointReport},
    telemetry,
};

/// Makes the admin API anew for each address it is served on.
pub(super) type MakeAdmin = Box<dyn Fn() -> Admin + Send + Sync>;

/// Everything that listens.
pub(super) struct Open {
    http: Arc<Server>,
    entrypoints: Vec<EntrypointReport>,
    names: Names,
    make_admin: MakeAdmin,
    admin: Option<Serving>,
    /// Says true when the process begins to drain.
    draining: watch::Receiver<bool>,
}

/// The admin API at an address.
struct Serving {
    wanted: SocketAddr,
    bound: SocketAddr,
    task: JoinHandle<()>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Open {
    /// Nothing listens yet.
    pub(super) fn new(
        http: Arc<Server>,
        names: Names,
        make_admin: MakeAdmin,
        draining: watch::Receiver<bool>,
    ) -> Self {
        Self { http, entrypoints: Vec::new(), names, make_admin, admin: None, draining }
    }

    /// Opens the entrypoints that are wanted; for one that cannot be, the one of its name that is open
    /// stays.
    fn apply_http(&mut self, config: &Config, problems: &mut Vec<Problem>) {
        self.http.keyring().configure(config.tls.clone());
        let wanted = config.entrypoints.iter().map(entrypoint).collect();
        let (bound, errors) = self.http.apply(wanted);
        let report = |bound: Bound| EntrypointReport {
            redirect: redirect(config, &bound.name),
            encoded_characters: encoded_characters(config, &bound.name),
            name: bound.name,
            address: bound.address,
            protocol: if bound.tls { "https" } else { "http" },
        };
        self.entrypoints = bound.into_iter().map(report).collect();
        problems.extend(errors.iter().map(|error| {
            let origin = format!("entrypoint `{}`", error.entrypoint);
            Problem::error("http", origin, Chain(error).to_string())
                .hint(advice(error.address, &error.source))
        }));
    }

    async fn apply_admin(&mut self, config: &Config, problems: &mut Vec<Problem>) {
        let wanted = config.admin.as_ref().map(|admin| admin.address);
        if self.admin.as_ref().map(|serving| serving.wanted) == wanted {
            return;
        }
        let Some(wanted) = wanted else {
            self.admin = None;
            return;
        };
        match TcpListener::bind(wanted).await.and_then(|it| Ok((it.local_addr()?, it))) {
            Ok((bound, listener)) => {
                let served = (self.make_admin)().serve(listener, self.draining.clone());
                let task = tokio::spawn(async move {
                    if let Err(error) = served.await {
                        tracing::error!(%error, "admin API ended");
                    }
                });
                self.admin = Some(Serving { wanted, bound, task });
                // For `portolan explain` where the port was left to the system.
                if let Err(error) = fs::write(address_file(config), bound.to_string()) {
                    tracing::debug!(%error, "admin address not kept");
                }
            }
            Err(error) => problems.push(
                Problem::error("admin", "admin", format!("cannot listen on {wanted}: {error}"))
                    .hint(advice(wanted, &error)),
            ),
        }
    }
}

impl Listeners for Open {
    fn apply<'a>(&'a mut self, config: &'a Config) -> Applied<'a> {
        Box::pin(async move {
            let mut problems = Vec::new();
            self.apply_http(config, &mut problems);
            let (dns, edges) = (config.dns.as_ref(), config.edges());
            let names = self.names.apply(dns, &edges, &self.http, &mut problems);
            self.apply_admin(config, &mut problems).await;
            let admin = self.admin.iter().map(|serving| EntrypointReport {
                name: "admin".into(),
                address: serving.bound,
                protocol: "admin",
                redirect: None,
                encoded_characters: EncodedCharacters::default(),
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
        trust: Trust {
            forwarded_headers: entrypoint.forwarded_headers.clone(),
            proxy_protocol: entrypoint.proxy_protocol.clone(),
        },
    }
}

/// What may not stand in the paths of an entrypoint.
fn encoded_characters(config: &Config, name: &str) -> EncodedCharacters {
    let entrypoint = config.entrypoints.iter().find(|entrypoint| entrypoint.name == name);
    entrypoint.map(|entrypoint| entrypoint.limits.encoded_characters).unwrap_or_default()
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

/// What to do about an address that cannot be bound.
pub(super) fn advice(address: SocketAddr, error: &std::io::Error) -> String {
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
