//! Where upstreams are that have a name instead of an address.
//!
//! Their name is asked of plain upstreams, as a browser's resolver does it, and what was found last
//! is used on while nobody answers: who is reached is proven by a certificate anyway.

use std::{
    cell::{Cell, RefCell},
    io,
    net::{IpAddr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use futures_util::future::join;
use hickory_proto::{op::Message, rr::RData};
use portolan_core::zone::{Name, RecordType};
use tokio::{sync::Mutex, time::Instant};

use super::{
    super::{
        cache::Key,
        forward::{Forwarding, Forwardings, UpstreamConfig},
    },
    Upstream,
};

/// An address is looked up again after this, whatever its TTL says: at least and at most.
const LIFE: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(3600)];

/// Who is asked for the addresses of upstreams, and what was found.
pub(super) struct Bootstrap {
    host: Name,
    port: u16,
    upstreams: Vec<Upstream>,
    known: RefCell<Known>,
    /// The address that was reached last.
    reached: Cell<Option<SocketAddr>>,
    /// Held by the one that asks.
    asking: Mutex<()>,
}

#[derive(Default)]
struct Known {
    addresses: Rc<[SocketAddr]>,
    until: Option<Instant>,
}

impl Bootstrap {
    pub(super) fn new(host: Name, port: u16, settings: &Forwarding, shared: &Forwardings) -> Self {
        let upstreams = settings
            .bootstrap
            .iter()
            .map(|address| Upstream::new(UpstreamConfig::from(*address), settings, shared));
        let upstreams = upstreams.collect();
        let (known, reached, asking) = Default::default();
        Self { host, port, upstreams, known, reached, asking }
    }

    /// An address that was reached: the first to be tried from now on.
    pub(super) fn prefer(&self, address: SocketAddr) {
        self.reached.set(Some(address));
    }

    /// Where the upstream is: at least one address, the one that was reached last first.
    pub(super) async fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        let mut addresses = self.found().await?.to_vec();
        addresses.sort_by_key(|address| Some(*address) != self.reached.get());
        Ok(addresses)
    }

    async fn found(&self) -> io::Result<Rc<[SocketAddr]>> {
        let _turn = self.asking.lock().await;
        let is_good = |until: &Instant| *until > Instant::now();
        if self.known.borrow().until.as_ref().is_some_and(is_good) {
            return Ok(self.known.borrow().addresses.clone());
        }
        for upstream in &self.upstreams {
            let found = self.ask(upstream).await;
            if let Some(found) = found.filter(|found| !found.addresses.is_empty()) {
                let addresses = found.addresses.clone();
                *self.known.borrow_mut() = found;
                return Ok(addresses);
            }
        }
        let known = self.known.borrow().addresses.clone();
        if known.is_empty() {
            let message = format!("nobody knows where {} is", self.host);
            return Err(io::Error::new(io::ErrorKind::HostUnreachable, message));
        }
        Ok(known)
    }

    /// Addresses of both families, IPv4 first: it works nearly everywhere.
    async fn ask(&self, upstream: &Upstream) -> Option<Known> {
        let key = |rtype| Key::plain(self.host.as_bytes(), rtype);
        let (v4, v6) = (key(RecordType::A), key(RecordType::AAAA));
        // Boxed: to ask may need an address, as far as the compiler sees.
        let (v4, v6) = join(Box::pin(upstream.ask(&v4)), Box::pin(upstream.ask(&v6))).await;
        let answers: Vec<_> = [v4, v6].into_iter().filter_map(Result::ok).collect();
        // Answers that must not be remembered are, for the least time: each connection would ask.
        let life = answers.iter().map(|answer| answer.life).filter(|life| *life > 0).min();
        let messages = answers.iter().filter_map(|it| Message::from_vec(it.wire()).ok());
        let addresses = messages.flat_map(|message| message.answers).filter_map(|record| {
            let ip: IpAddr = match record.data {
                RData::A(address) => address.0.into(),
                RData::AAAA(address) => address.0.into(),
                _ => return None,
            };
            Some(SocketAddr::new(ip, self.port))
        });
        let [least, most] = LIFE;
        let life = Duration::from_secs(life.unwrap_or_default().into()).clamp(least, most);
        Some(Known { addresses: addresses.collect(), until: Some(Instant::now() + life) })
    }
}
