//! Who asks most, in a fixed amount of memory.
//!
//! A client that is not known takes the place of the one that asked least, and its count (Metwally's
//! space-saving): whoever asks more than that is among those that are told, and is told at most that
//! much too high.
//!
//! **Invariant:** one thread writes; others may read at any time and see, at worst, a client with
//! the count of the one before it.

use std::{
    hash::BuildHasher as _,
    net::{IpAddr, Ipv6Addr},
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use hashbrown::DefaultHashBuilder;

/// Clients that hash alike share so many places.
const WAYS: usize = 8;
const SETS: usize = 64;

/// How often each client has asked one worker.
#[derive(Debug)]
pub struct Clients {
    hasher: DefaultHashBuilder,
    sets: Box<[[Place; WAYS]]>,
}

#[derive(Debug, Default)]
struct Place {
    /// An IPv4 address is in its mapped form; zero: nobody.
    address: [AtomicU64; 2],
    count: AtomicU64,
}

impl Default for Clients {
    fn default() -> Self {
        let sets = (0..SETS).map(|_| Default::default()).collect();
        Self { hasher: DefaultHashBuilder::default(), sets }
    }
}

impl Clients {
    /// Notes a question.
    pub(super) fn note(&self, client: IpAddr) {
        let bits = match client {
            IpAddr::V4(client) => client.to_ipv6_mapped(),
            IpAddr::V6(client) => client,
        }
        .to_bits();
        let halves = [(bits >> 64) as u64, bits as u64];
        let at = self.hasher.hash_one(halves) as usize % SETS;
        let Some(set) = self.sets.get(at) else { return };
        let mut least = (u64::MAX, None);
        for place in set {
            let count = place.count.load(Relaxed);
            if place.halves() == halves {
                place.count.store(count + 1, Relaxed);
                return;
            }
            if count < least.0 {
                least = (count, Some(place));
            }
        }
        if let (count, Some(place)) = least {
            place.address[0].store(halves[0], Relaxed);
            place.address[1].store(halves[1], Relaxed);
            place.count.store(count + 1, Relaxed);
        }
    }

    /// Each client that is known, and how often it has asked, in no order.
    pub fn all(&self) -> impl Iterator<Item = (IpAddr, u64)> + '_ {
        self.sets.iter().flatten().filter_map(|place| {
            let count = place.count.load(Relaxed);
            let [high, low] = place.halves();
            let address = Ipv6Addr::from_bits(u128::from(high) << 64 | u128::from(low));
            (count > 0).then_some((address.to_canonical(), count))
        })
    }
}

impl Place {
    fn halves(&self) -> [u64; 2] {
        [self.address[0].load(Relaxed), self.address[1].load(Relaxed)]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn those_who_ask_much_are_known_among_many_who_do_not() {
        let clients = Clients::default();
        let loud: Vec<IpAddr> = ["10.0.0.1", "fd00::1"].map(|it| it.parse().unwrap()).into();
        for round in 0..10_000_u32 {
            loud.iter().for_each(|client| clients.note(*client));
            clients.note(IpAddr::from(round.wrapping_mul(0x9e37_79b9).to_be_bytes()));
        }
        let known: HashMap<_, _> = clients.all().collect();
        for client in loud {
            // Too high by what others had in its place, which is little.
            assert!((10_000..10_400).contains(&known[&client]), "{client}: {known:?}");
        }
        assert!(known.len() <= WAYS * SETS);
    }
}
