//! Upstreams that lead back to us.
//!
//! Each upstream is asked, now and then, for a name that nobody else can know. When we are asked
//! for it, the upstream has passed it on to us, and so it would every question: it is not asked
//! any more until a later round has not come back. dnsmasq does the same (`dns-loop-detect`), but
//! once only.

use std::{
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
};

use arc_swap::{ArcSwap, Guard};
use portolan_core::zone::{RecordType, labels, parent};
use tokio::sync::Notify;

use super::super::policy::is_inside;
use crate::random::Random;

/// Nobody has a name below it (RFC 6761, 6.2).
const BELOW: &[u8] = b"\x0dportolan-loop\x04test\x00";

/// Which upstreams lead back to us.
#[derive(Debug)]
pub struct Loops {
    /// Sixteen random digits.
    token: String,
    probed: Mutex<Vec<Probed>>,
    /// No name is asked twice: upstreams remember.
    rounds: AtomicU64,
    /// Whether one was ever asked.
    is_listening: AtomicBool,
    found: ArcSwap<Vec<SocketAddr>>,
    /// Told when one is found or is none any more.
    changed: Notify,
    /// Told when there are other upstreams to ask.
    renewed: Notify,
}

#[derive(Debug)]
struct Probed {
    upstream: SocketAddr,
    /// In this round.
    came_back: bool,
}

/// A question that is to be sent to an upstream. The answer does not matter.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Probe {
    /// Where to, over UDP.
    pub upstream: SocketAddr,
    /// The message.
    pub message: Vec<u8>,
}

impl Default for Loops {
    fn default() -> Self {
        Self {
            token: format!("{:016x}", Random::seeded().next_long()),
            probed: Mutex::default(),
            rounds: AtomicU64::new(0),
            is_listening: AtomicBool::new(false),
            found: ArcSwap::default(),
            changed: Notify::new(),
            renewed: Notify::new(),
        }
    }
}

impl Loops {
    /// The upstreams that lead back to us.
    pub fn found(&self) -> Guard<Arc<Vec<SocketAddr>>> {
        self.found.load()
    }

    /// Waits until others are found than before.
    pub async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Waits until there are other upstreams, so that a round is due.
    pub async fn renewed(&self) {
        self.renewed.notified().await;
    }

    pub(super) fn renew(&self) {
        self.renewed.notify_one();
    }

    /// Begins a round: what did not come back in the one before is no loop any more.
    pub fn round(&self, upstreams: &[SocketAddr]) -> Vec<Probe> {
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        let still = probed.iter().filter(|probed| probed.came_back).map(|probed| probed.upstream);
        self.keep(still.filter(|upstream| upstreams.contains(upstream)).collect());
        probed.iter_mut().for_each(|probed| probed.came_back = false);
        self.is_listening.store(true, Relaxed);
        let round = self.rounds.fetch_add(1, Relaxed);
        let probes = upstreams.iter().map(|upstream| {
            let place =
                probed.iter().position(|it| it.upstream == *upstream).unwrap_or_else(|| {
                    probed.push(Probed { upstream: *upstream, came_back: false });
                    probed.len() - 1
                });
            Probe { upstream: *upstream, message: self.message(place, round) }
        });
        probes.collect()
    }

    /// Whether a name in lower case is one that only we ask for; its upstream leads back then.
    pub(in crate::dns) fn hear(&self, name: &[u8]) -> bool {
        if !self.is_listening.load(Relaxed) || !is_probe(name) {
            return false;
        }
        let label = labels(name).next().and_then(|label| std::str::from_utf8(label).ok());
        let place = label.and_then(|label| label.strip_prefix(&self.token)?.strip_prefix('-'));
        let place = place.and_then(|place| place.split_once('-'));
        let Some(place) = place.and_then(|(place, _round)| place.parse::<usize>().ok()) else {
            return false;
        };
        let mut probed = self.probed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(probed) = probed.get_mut(place) {
            probed.came_back = true;
            let mut found = Vec::clone(&self.found());
            if !found.contains(&probed.upstream) {
                found.push(probed.upstream);
                self.keep(found);
            }
        }
        true
    }

    fn keep(&self, found: Vec<SocketAddr>) {
        if **self.found() != found {
            self.found.store(Arc::new(found));
            self.changed.notify_one();
        }
    }

    fn message(&self, place: usize, round: u64) -> Vec<u8> {
        let label = format!("{}-{place}-{round}", self.token);
        let mut message = (Random::seeded().next() as u16).to_be_bytes().to_vec();
        message.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        message.push(label.len() as u8);
        message.extend_from_slice(label.as_bytes());
        message.extend_from_slice(BELOW);
        message.extend_from_slice(&RecordType::TXT.0.to_be_bytes());
        message.extend_from_slice(&[0, 1]);
        message
    }
}

/// Whether a name in lower case is one that somebody asks to find loops.
pub(super) fn is_probe(name: &[u8]) -> bool {
    parent(name) == Some(BELOW)
}

/// The upstreams of some settings that can be asked whether they lead back: those of plain DNS.
/// Whoever is known by a certificate is somebody else, and whoever is outside cannot be told to ask
/// us; nor should resolvers of the world be asked for nothing all day.
pub(super) fn probed(settings: &super::Forwarding) -> Vec<SocketAddr> {
    let special = settings.suffixes.iter().flat_map(|(_, upstreams)| upstreams);
    let plain = settings.upstreams.iter().chain(special).filter(|upstream| {
        matches!(upstream.protocol, super::Protocol::Udp | super::Protocol::Tcp)
    });
    let inside = |address: &SocketAddr| is_inside(address.ip());
    let addresses = plain.filter_map(|upstream| upstream.address()).filter(inside);
    let mut addresses: Vec<_> = addresses.collect();
    addresses.sort_unstable();
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use portolan_core::zone::Name;

    use super::*;

    fn asked(probe: &Probe) -> Name {
        let wire = &probe.message[12..probe.message.len() - 4];
        Name::parse(&portolan_core::zone::Text(wire).to_string()).unwrap()
    }

    #[test]
    fn what_comes_back_is_a_loop_until_a_round_in_which_it_does_not() {
        let loops = Loops::default();
        let upstreams: Vec<SocketAddr> =
            ["10.0.0.1:53", "10.0.0.2:53"].map(|it| it.parse().unwrap()).into();
        let probes = loops.round(&upstreams);
        let names: Vec<_> = probes.iter().map(asked).collect();
        assert!(loops.hear(names[1].as_bytes()));
        assert_eq!(**loops.found(), [upstreams[1]]);
        // What others ask for is no loop.
        let foreign = Loops::default();
        foreign.round(&upstreams);
        assert!(!foreign.hear(names[1].as_bytes()));
        for other in ["portolan-loop.test", "a.portolan-loop.test", "www.example"] {
            assert!(!loops.hear(Name::parse(other).unwrap().as_bytes()), "{other}");
        }
        loops.round(&upstreams);
        assert_eq!(**loops.found(), [upstreams[1]], "until the answer of this round is missing");
        loops.round(&upstreams);
        assert!(loops.found().is_empty());
    }
}
