//! Looks, now and then, whether an upstream leads back to us.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use portolan_net::dns::{Forwardings, Probe};
use tokio::{
    net::UdpSocket,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::control::event::Event;

/// Upstreams are changed by others too, so it is looked again.
const EVERY: Duration = Duration::from_secs(30);

/// Sends a question to each upstream that only we can know, and tells when others than before come
/// back.
pub(super) async fn watch(forwardings: Arc<Forwardings>, events: mpsc::Sender<Event>) {
    loop {
        for probe in forwardings.probes() {
            // One that cannot be reached is no loop.
            if let Err(error) = send(&probe).await {
                tracing::debug!(upstream = %probe.upstream, %error, "not asked for loops");
            }
        }
        let due = Instant::now() + EVERY;
        loop {
            tokio::select! {
                () = sleep_until(due) => break,
                () = forwardings.loops.renewed() => break,
                () = forwardings.loops.changed() => {
                    if events.send(Event::Surroundings).await.is_err() {
                        return;
                    }
                }
            }
        }
    }
}

async fn send(probe: &Probe) -> std::io::Result<()> {
    let any: IpAddr = match probe.upstream {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    UdpSocket::bind((any, 0)).await?.send_to(&probe.message, probe.upstream).await.map(drop)
}
