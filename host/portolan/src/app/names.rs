//! DNS on the workers: a UDP and a TCP socket of each address for every worker.
//!
//! **Invariant:** when addresses change, the new sockets answer before the old ones stop.

use std::{
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
};

use arc_swap::ArcSwap;
use portolan_core::{
    live::Live,
    problem::{Chain, Problem},
};
use portolan_net::{
    dns::{
        BindError, DnsContext, DnsFigures, Forwarding, bind_tcp, bind_udp, serve_tcp, serve_udp,
        system_upstreams, without_own,
    },
    drain::{Stop, Trigger, signal},
    http::Server,
    worker::{Job, WorkerContext},
};

use super::listeners::advice;
use crate::{config::model::Dns, control::board::EntrypointReport};

/// Old sockets finish what came in before the new ones were there.
const LAST_ANSWERS: std::time::Duration = std::time::Duration::from_secs(2);
/// With port 0 the port that UDP was given may be taken for TCP; then another is tried.
const TRIES: usize = 16;

/// DNS, as far as it listens.
pub(super) struct Names {
    live: Live,
    figures: Arc<DnsFigures>,
    forwarding: Arc<ArcSwap<Forwarding>>,
    /// As configured, and as bound.
    addresses: Vec<(SocketAddr, SocketAddr)>,
    trigger: Option<Trigger>,
}

/// The sockets of one worker.
type Sockets = Vec<(UdpSocket, TcpListener)>;

impl Names {
    /// Nothing listens yet.
    pub(super) fn new(live: Live, figures: Arc<DnsFigures>) -> Self {
        Self { live, figures, forwarding: Arc::default(), addresses: Vec::new(), trigger: None }
    }

    /// Listens on the addresses that are wanted, and forwards to the upstreams that are.
    pub(super) fn apply(
        &mut self,
        wanted: Option<&Dns>,
        server: &Server,
        problems: &mut Vec<Problem>,
    ) -> Vec<EntrypointReport> {
        let addresses = wanted.map_or(&[][..], |dns| &dns.addresses);
        if !addresses.iter().eq(self.addresses.iter().map(|(wanted, _)| wanted)) {
            self.listen(addresses, server, problems);
        }
        if let Some(dns) = wanted {
            self.forward(dns, problems);
        }
        let report = |(_, bound): &(SocketAddr, SocketAddr)| EntrypointReport {
            name: "dns".into(),
            address: *bound,
            protocol: "dns",
            redirect: None,
        };
        self.addresses.iter().map(report).collect()
    }

    fn listen(&mut self, wanted: &[SocketAddr], server: &Server, problems: &mut Vec<Problem>) {
        let count = server.workers().count();
        let mut sockets: Vec<Sockets> = (0..count).map(|_| Vec::new()).collect();
        let mut bound = Vec::new();
        for address in wanted {
            match bind(*address, count) {
                Ok((address_bound, of_each)) => {
                    bound.push((*address, address_bound));
                    for (worker, pair) in sockets.iter_mut().zip(of_each) {
                        worker.push(pair);
                    }
                }
                Err(error) => problems.push(refused(*address, &error)),
            }
        }
        let (trigger, stop) = signal();
        let mut sockets = sockets.into_iter();
        server.workers().run(|_| self.job(sockets.next().unwrap_or_default(), stop.clone()));
        self.addresses = bound;
        if let Some(before) = self.trigger.replace(trigger) {
            before.pull(LAST_ANSWERS);
        }
    }

    fn job(&self, sockets: Sockets, stop: Stop) -> Job {
        let (live, figures) = (self.live.clone(), self.figures.clone());
        let forwarding = self.forwarding.clone();
        Box::new(move |worker: WorkerContext| {
            let context = DnsContext::new(&live, forwarding, figures);
            Box::pin(async move {
                let mut serving = tokio::task::JoinSet::new();
                for (udp, tcp) in sockets {
                    let stops = [(); 2].map(|()| either(stop.clone(), worker.stop.clone()));
                    let [first, second] = stops;
                    serving.spawn_local(serve_udp(udp, context.clone(), first));
                    serving.spawn_local(serve_tcp(tcp, context.clone(), second));
                }
                while let Some(ended) = serving.join_next().await {
                    if let Ok(Err(error)) = ended {
                        tracing::error!(%error, "DNS listener ended");
                    }
                }
            })
        })
    }

    fn forward(&self, dns: &Dns, problems: &mut Vec<Problem>) {
        let own: Vec<_> = self.addresses.iter().map(|(_, bound)| *bound).collect();
        let upstreams = match &dns.upstreams {
            None => system_upstreams(&own),
            Some(upstreams) => {
                let (good, ours) = without_own(upstreams, &own);
                problems.extend(ours.iter().map(|upstream| {
                    let message = format!("upstream {upstream} is this process: it is not asked");
                    Problem::warning("dns", "dns.upstreams", message)
                }));
                good
            }
        };
        let forwarding = Forwarding { upstreams, ..Forwarding::default() };
        if **self.forwarding.load() != forwarding {
            self.forwarding.store(Arc::new(forwarding));
        }
    }
}

/// Ends with the first of two signals.
async fn either(mut one: Stop, mut other: Stop) {
    tokio::select! {
        _ = one.requested() => (),
        _ = other.requested() => (),
    }
}

/// A pair of sockets for each worker, all on one port.
fn bind(wanted: SocketAddr, count: usize) -> Result<(SocketAddr, Sockets), BindError> {
    let mut tries = 0;
    let (address, udp, tcp) = loop {
        tries += 1;
        let udp = bind_udp(wanted, true)?;
        let address = udp.local_addr().unwrap_or(wanted);
        match bind_tcp(address, true) {
            Ok(tcp) => break (address, udp, tcp),
            Err(error) if wanted.port() != 0 || tries == TRIES => return Err(error),
            Err(_taken) => (),
        }
    };
    let mut sockets = vec![(udp, tcp)];
    for _ in 1..count {
        sockets.push((bind_udp(address, true)?, bind_tcp(address, true)?));
    }
    Ok((address, sockets))
}

fn refused(address: SocketAddr, error: &BindError) -> Problem {
    use std::error::Error as _;
    let cause = error.source().and_then(|source| source.downcast_ref::<io::Error>());
    let problem = Problem::error("dns", "dns.address", Chain(error).to_string());
    match cause {
        Some(cause) => problem.hint(advice(address, cause)),
        None => problem,
    }
}
