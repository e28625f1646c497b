//! DNS on the workers: sockets of each address for every worker.
//!
//! **Invariant:** when addresses change, the new sockets answer before the old ones stop.

use std::{net::SocketAddr, path::PathBuf, sync::Arc};

use portolan_core::{
    live::Live,
    problem::{Chain, Problem},
};
use portolan_net::{
    dns::{
        BindError, DnsContext, DnsFigures, Filter, Forwarding, Forwardings, Nearby, Place,
        Policies, Room, UpstreamConfig, serve_https, serve_tcp, serve_tls, serve_udp, system_files,
        system_upstreams, without_own,
    },
    drain::{Stop, Trigger, signal},
    http::{EncodedCharacters, Server, Trust},
    interfaces::interfaces,
    tls::{TlsContext, TlsError},
    worker::{Job, WorkerContext},
};

use super::{
    block_lists::BlockLists,
    listeners::advice,
    seats::{Kind, Sockets, Wanted, bind},
};
use crate::{
    config::model::Dns,
    control::{board::EntrypointReport, surroundings::Files},
};

/// Old sockets finish what came in before the new ones were there.
const LAST_ANSWERS: std::time::Duration = std::time::Duration::from_secs(2);

/// DNS, as far as it listens.
pub(super) struct Names {
    live: Live,
    /// Of each worker.
    figures: Arc<[Arc<DnsFigures>]>,
    forwarding: Arc<Forwardings>,
    policies: Arc<Policies>,
    /// As configured, and as bound.
    addresses: Vec<(Wanted, SocketAddr)>,
    /// For DNS over TLS and over HTTPS, once they are spoken.
    encryption: Option<Encryption>,
    block_lists: BlockLists,
    around: Files,
    trigger: Option<Trigger>,
}

/// What handshakes are answered with.
#[derive(Clone)]
struct Encryption {
    tls: Arc<TlsContext>,
    https: Arc<TlsContext>,
}

impl Names {
    /// Nothing listens yet.
    pub(super) fn new(
        live: Live,
        figures: Arc<[Arc<DnsFigures>]>,
        (forwarding, policies): (Arc<Forwardings>, Arc<Policies>),
        around: Files,
    ) -> Self {
        Self {
            live,
            figures,
            forwarding,
            policies,
            addresses: Vec::new(),
            encryption: None,
            block_lists: BlockLists::default(),
            around,
            trigger: None,
        }
    }

    /// Listens on the addresses that are wanted, and forwards to the upstreams that are.
    pub(super) fn apply(
        &mut self,
        wanted: Option<&Dns>,
        server: &Server,
        problems: &mut Vec<Problem>,
    ) -> Vec<EntrypointReport> {
        let addresses: Vec<_> = wanted.into_iter().flat_map(Wanted::of).collect();
        if !addresses.iter().eq(self.addresses.iter().map(|(wanted, _)| wanted)) {
            self.listen(&addresses, server, problems);
        }
        if let Some(dns) = wanted {
            self.forward(dns, problems);
            self.govern(dns);
            problems.extend(self.absent());
        }
        let report = |(wanted, bound): &(Wanted, SocketAddr)| EntrypointReport {
            name: wanted.kind.as_str().into(),
            address: *bound,
            protocol: wanted.kind.as_str(),
            redirect: None,
            redirect_priority: None,
            encoded_characters: EncodedCharacters::default(),
            encodes_semicolons: false,
            trust: Trust::default(),
            configured: None,
        };
        self.addresses.iter().map(report).collect()
    }

    fn listen(&mut self, wanted: &[Wanted], server: &Server, problems: &mut Vec<Problem>) {
        let is_encrypted = wanted.iter().any(|wanted| wanted.kind != Kind::Plain);
        if is_encrypted && self.encryption.is_none() {
            match encryption(server) {
                Ok(encryption) => self.encryption = Some(encryption),
                Err(error) => {
                    let message = Chain(&error).to_string();
                    problems.push(Problem::error("dns", "dns.tls-address", message));
                }
            }
        }
        let count = server.workers().count();
        let mut sockets: Vec<Vec<Sockets>> = (0..count).map(|_| Vec::new()).collect();
        let mut bound: Vec<(Wanted, SocketAddr)> = Vec::new();
        let mut failed: Vec<(&Wanted, BindError)> = Vec::new();
        // What is new first: when nothing of it can be had, what serves is left alone.
        let is_served = |it: &&Wanted| self.addresses.iter().any(|(served, _)| served == *it);
        let (served, new): (Vec<&Wanted>, Vec<&Wanted>) = wanted.iter().partition(is_served);
        let is_left = self.addresses.len() > served.len();
        let mut is_same = false;
        for (index, wanted) in new.iter().chain(&served).copied().enumerate() {
            is_same |= index == new.len() && bound.is_empty() && !is_left;
            if is_same {
                bound.clone_from(&self.addresses);
                break;
            }
            // Our own sockets are in nobody's way: those that are let go of as soon as the new ones
            // serve, and those that take what comes to this address too.
            let port = wanted.address.port();
            let is_ours = self.addresses.iter().any(|(_, bound)| bound.port() == port)
                || bound.iter().any(|(other, bound)| wanted.meets(other, *bound));
            match bind(*wanted, count, !is_ours) {
                Ok((address, of_each)) => {
                    bound.push((*wanted, address));
                    for (worker, own) in sockets.iter_mut().zip(of_each) {
                        worker.push(own);
                    }
                }
                Err(error) => failed.push((wanted, error)),
            }
        }
        for (wanted, error) in failed {
            // Without one address others may do; without any there is no DNS.
            let is_lost = !bound.iter().any(|(other, _)| other.kind == wanted.kind);
            let problem = if is_lost { Problem::error } else { Problem::warning };
            let problem = problem("dns", wanted.kind.key(), Chain(&error).to_string());
            problems.push(problem.hint(advice(wanted.address, &error.source)));
        }
        // What is served so far is better than nothing.
        let has = |kind| bound.iter().any(|(it, _)| it.kind == kind);
        let is_wanted = |kind| wanted.iter().any(|it| it.kind == kind);
        let is_lost = |it: &Wanted| is_wanted(it.kind) && !has(it.kind);
        if is_same || self.addresses.iter().any(|(it, _)| is_lost(it)) {
            return;
        }
        bound.sort_by_key(|(it, _)| wanted.iter().position(|other| other == it));
        let (trigger, stop) = signal();
        let mut sockets = sockets.into_iter();
        server
            .workers()
            .run(|place| self.job(place, sockets.next().unwrap_or_default(), stop.clone()));
        self.addresses = bound;
        if let Some(before) = self.trigger.replace(trigger) {
            before.pull(LAST_ANSWERS);
        }
    }

    fn job(&self, place: usize, sockets: Vec<Sockets>, stop: Stop) -> Job {
        let live = self.live.clone();
        let figures = self.figures.get(place).cloned().unwrap_or_default();
        let (forwarding, policies) = (self.forwarding.clone(), self.policies.clone());
        let encryption = self.encryption.clone();
        Box::new(move |worker: WorkerContext| {
            let context = DnsContext::new(&live, forwarding, policies, figures);
            Box::pin(async move {
                let mut serving = tokio::task::JoinSet::new();
                let stopped = || either(stop.clone(), worker.stop.clone());
                for sockets in sockets {
                    let context = context.clone();
                    match (sockets, &encryption) {
                        (Sockets::Plain(udp, tcp), _) => {
                            serving.spawn_local(serve_udp(udp, context.clone(), stopped()));
                            serving.spawn_local(serve_tcp(tcp, context, stopped()));
                        }
                        (Sockets::Tls(listener), Some(Encryption { tls, .. })) => {
                            let tls = tls.clone();
                            serving.spawn_local(serve_tls(listener, tls, context, stopped()));
                        }
                        (Sockets::Https(listener), Some(Encryption { https, .. })) => {
                            let tls = https.clone();
                            serving.spawn_local(serve_https(listener, tls, context, stopped()));
                        }
                        (Sockets::Tls(_) | Sockets::Https(_), None) => (),
                    }
                }
                while let Some(ended) = serving.join_next().await {
                    if let Ok(Err(error)) = ended {
                        tracing::error!(%error, "DNS listener ended");
                    }
                }
            })
        })
    }

    fn forward(&mut self, dns: &Dns, problems: &mut Vec<Problem>) {
        let own: Vec<_> = self.addresses.iter().map(|(_, bound)| *bound).collect();
        let mut others = |upstreams: &[UpstreamConfig], key: &str| -> Vec<UpstreamConfig> {
            let (good, ours) = without_own(upstreams, &own);
            problems.extend(ours.iter().map(|upstream| {
                let message = format!("upstream {upstream} is this process: it is not asked");
                Problem::warning("dns", key, message)
            }));
            let looping = self.forwarding.loops.found();
            let is_loop =
                |it: &&UpstreamConfig| it.address().is_some_and(|at| looping.contains(&at));
            problems.extend(good.iter().filter(is_loop).map(|upstream| {
                let message = format!("upstream {upstream} asks Portolan in turn: it is not asked");
                Problem::error("dns", key, message)
                    .hint("tell it to ask somebody else, or take it out; this is looked at again every 30 s")
            }));
            good
        };
        let upstreams = match &dns.upstreams {
            None => system_upstreams(&own),
            Some(upstreams) => others(upstreams, "dns.upstreams"),
        };
        let suffixes = dns.suffixes.iter().map(|(suffix, upstreams)| {
            (suffix.clone(), others(upstreams, &format!("dns.forward.{suffix}")))
        });
        let suffixes: Vec<_> = suffixes.collect();
        // Where upstreams are that have a name is asked of the system too, if nobody else is said to know.
        let mut all = upstreams.iter().chain(suffixes.iter().flat_map(|(_, upstreams)| upstreams));
        let is_named = all.any(|upstream| matches!(upstream.place, Place::Named { .. }));
        let asks_system = dns.upstreams.is_none() || is_named && dns.bootstrap.is_none();
        let (blocked, unreadable) = self.block_lists.read(&dns.filter.block_lists);
        problems.extend(unreadable);
        let system = asks_system.then(system_files).into_iter().flatten();
        let around = system.map(PathBuf::from).chain(dns.filter.block_lists.iter().cloned());
        let around = around.chain(dns.hosts.iter().cloned());
        self.around.store(Arc::new(around.collect()));
        let filter = Filter {
            rebind: dns.filter.rebind,
            rebind_localhost: dns.filter.rebind_localhost,
            rebind_exempt: dns.filter.rebind_exempt.clone(),
            domain_needed: dns.filter.domain_needed,
            blocked,
            block_answer: dns.filter.block_answer,
        };
        let bootstrap = match &dns.bootstrap {
            Some(bootstrap) => bootstrap.clone(),
            None if is_named => {
                system_upstreams(&own).iter().filter_map(UpstreamConfig::address).collect()
            }
            None => Vec::new(),
        };
        let (mode, mix_case, cache) = (dns.mode, dns.mix_case, dns.cache);
        let room = Room::default();
        let settings =
            Forwarding { upstreams, suffixes, bootstrap, mode, mix_case, cache, filter, room };
        if self.forwarding.set(settings) {
            tracing::debug!("upstreams, cache or filters are others now");
        }
    }

    /// Who may ask, and what is near to whom as things stand now.
    fn govern(&self, dns: &Dns) {
        let edges = Nearby::new(&interfaces());
        self.policies.set(portolan_net::dns::Policy { edges, ..dns.policy.clone() });
    }

    /// Addresses that this machine does not have (yet).
    fn absent(&self) -> impl Iterator<Item = Problem> {
        let here = interfaces();
        let is_absent = move |(_, bound): &&(Wanted, SocketAddr)| {
            let ip = bound.ip();
            let is_here = here.iter().any(|interface| interface.addr() == ip);
            !(is_here || ip.is_unspecified() || ip.is_loopback() || here.is_empty())
        };
        self.addresses.iter().filter(is_absent).map(|(wanted, bound)| {
            let message = format!("no interface has the address {} yet", bound.ip());
            Problem::warning("dns", wanted.kind.key(), message)
                .hint("it is answered on as soon as one has; nothing needs to be restarted")
        })
    }
}

fn encryption(server: &Server) -> Result<Encryption, TlsError> {
    let keyring = server.keyring();
    Ok(Encryption {
        tls: keyring.beside("dns-over-tls", &["dot"])?,
        https: keyring.beside("dns-over-https", &["h2", "http/1.1"])?,
    })
}

/// Ends with the first of two signals.
async fn either(mut one: Stop, mut other: Stop) {
    tokio::select! {
        _ = one.requested() => (),
        _ = other.requested() => (),
    }
}
