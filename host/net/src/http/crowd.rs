//! How many connections an entrypoint has, on all workers, and how many of them are one client's.
//!
//! **Invariant:** a connection counts as long as its [`Place`] lives, and as a client's as long as its
//! [`Guest`] does. Requests touch none of this.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use tokio::sync::Notify;

/// The connections of an entrypoint.
#[derive(Debug)]
pub(crate) struct Crowd {
    open: AtomicUsize,
    /// The most that may be open.
    limit: AtomicUsize,
    /// Told when there is room again.
    room: Notify,
    /// Who has how many, where that is limited.
    clients: Mutex<HashMap<IpAddr, u32>>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Place(Arc<Crowd>);

/// One connection of a client.
#[derive(Debug)]
pub(crate) struct Guest {
    crowd: Arc<Crowd>,
    client: IpAddr,
}

impl Crowd {
    /// Nobody, of at most so many.
    pub(crate) fn new(limit: usize) -> Arc<Self> {
        Arc::new(Self {
            open: AtomicUsize::new(0),
            limit: AtomicUsize::new(limit),
            room: Notify::new(),
            clients: Mutex::default(),
        })
    }

    /// From now on, so many may be open. Those that are stay.
    pub(crate) fn set_limit(&self, limit: usize) {
        self.limit.store(limit, SeqCst);
        self.room.notify_waiters();
    }

    /// Whether there is room for one more.
    pub(crate) fn has_room(&self) -> bool {
        self.open.load(SeqCst) < self.limit.load(SeqCst)
    }

    /// Waits for room, without taking it: a worker that waits for a client must not keep it from
    /// the others. So each of them may go beyond the limit by one.
    pub(crate) async fn room(&self) {
        loop {
            // Before the look, so that nothing is missed after it.
            let room = self.room.notified();
            if self.has_room() {
                return;
            }
            room.await;
        }
    }

    /// One more connection.
    pub(crate) fn enter(self: &Arc<Self>) -> Place {
        self.open.fetch_add(1, SeqCst);
        Place(self.clone())
    }

    /// One more connection of a client; `None` when it has as many as it may.
    pub(crate) fn welcome(self: &Arc<Self>, address: IpAddr, limit: u32) -> Option<Guest> {
        let client = client(address);
        let mut clients = self.clients();
        let count = clients.entry(client).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        drop(clients);
        Some(Guest { crowd: self.clone(), client })
    }

    fn clients(&self) -> MutexGuard<'_, HashMap<IpAddr, u32>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who an address belongs to: whoever has one of IPv6 has all of its network of 64 bits.
fn client(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() >> 64 << 64;
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address @ IpAddr::V4(_) => address,
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let before = self.0.open.fetch_sub(1, SeqCst);
        if before >= self.0.limit.load(SeqCst) {
            self.0.room.notify_waiters();
        }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut clients = self.crowd.clients();
        match clients.get_mut(&self.client) {
            Some(count) if *count > 1 => *count -= 1,
            // A client that is gone leaves nothing.
            _ => drop(clients.remove(&self.client)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use futures_util::future::poll_immediate;

    use super::*;

    #[test]
    fn a_client_has_so_many_and_no_more() {
        let crowd = Crowd::new(10);
        let come = |address: &str| crowd.welcome(address.parse().unwrap(), 2);
        let first = come("192.0.2.1").unwrap();
        let second = come("::ffff:192.0.2.1").unwrap();
        assert!(come("192.0.2.1").is_none());
        assert!(come("192.0.2.2").is_some());
        drop(first);
        assert!(come("192.0.2.1").is_some());
        drop(second);
        let network = [come("2001:db8::1").unwrap(), come("2001:db8::ffff:0:0:1").unwrap()];
        assert!(come("2001:db8::2").is_none());
        assert!(come("2001:db8:0:1::2").is_some());
        drop(network);
        assert!(crowd.clients().is_empty(), "who is gone leaves nothing");
    }

    #[tokio::test]
    async fn who_waits_for_room_learns_that_somebody_left_and_that_there_may_be_more() {
        let crowd = Crowd::new(1);
        let place = crowd.enter();
        let mut waiting = pin!(crowd.room());
        assert_eq!(poll_immediate(&mut waiting).await, None);
        drop(place);
        assert_eq!(poll_immediate(&mut waiting).await, Some(()));
        let _place = crowd.enter();
        let mut waiting = pin!(crowd.room());
        assert_eq!(poll_immediate(&mut waiting).await, None);
        crowd.set_limit(2);
        assert_eq!(poll_immediate(&mut waiting).await, Some(()));
    }
}
