//! Connections that questions come by: accepted, counted, bounded.
//!
//! **Invariant:** what all clients of one worker can open is bounded, and so is each client's part
//! of it.

use std::{
    cell::RefCell,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use hashbrown::HashMap;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    asker::{Asker, Transport},
    seat::{Seat, Seats},
};

/// Connections for each worker and listener.
const MOST_CONNECTIONS: usize = 512;
/// How many of them one client may have: an address, or a network of IPv6 that one machine can have
/// to itself.
const MOST_OF_ONE: u32 = 64;
/// How long the listener rests after it failed: out of files, most likely.
const REST: Duration = Duration::from_millis(100);
/// How long connections may go on after the end.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(2);

/// A connection that was accepted.
pub(super) struct Accepted {
    pub(super) stream: TcpStream,
    pub(super) asker: Asker,
    pub(super) seat: Rc<Seat>,
    /// Becomes true when no more questions are to be read.
    pub(super) stopped: watch::Receiver<bool>,
}

/// Accepts until `stop` is ready, serves each connection with `serve`, and then waits two seconds
/// at most for those that are open.
///
/// # Errors
/// When the listener cannot be registered with the runtime.
pub(super) async fn accept<F>(
    listener: std::net::TcpListener,
    transport: Transport,
    stop: impl Future<Output = ()>,
    serve: impl Fn(Accepted) -> F,
) -> io::Result<()>
where
    F: Future<Output = io::Result<()>> + 'static,
{
    let listener = TcpListener::from_std(listener)?;
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let (guests, seats) = (Rc::<Guests>::default(), Seats::default());
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = async {
            if slots.available_permits() == 0 {
                seats.make_room();
            }
            let slot = slots.clone().acquire_owned().await;
            (listener.accept().await, slot)
        };
        let (accepted, slot) = tokio::select! {
            biased;
            () = &mut stop => break,
            accepted = accepted => accepted,
        };
        while connections.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                let Some(guest) = Guest::enter(&guests, peer.ip()) else { continue };
                let Ok(accepted) = prepare(stream, peer, transport) else { continue };
                let (stream, asker) = accepted;
                let (seat, stopped) = (seats.take(), stopped.clone());
                let served = serve(Accepted { stream, asker, seat, stopped });
                connections.spawn_local(async move {
                    let _held = (slot, guest);
                    if let Err(error) = served.await {
                        tracing::debug!(client.address = %peer, %error, "connection failed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "connection not accepted");
                sleep(REST).await;
            }
        }
    }
    stopping.send_replace(true);
    drop(timeout(LAST_WAIT, async { while connections.join_next().await.is_some() {} }).await);
    Ok(())
}

/// An error: the connection is gone already.
fn prepare(
    stream: TcpStream,
    peer: SocketAddr,
    transport: Transport,
) -> io::Result<(TcpStream, Asker)> {
    // Replies are written whole; to wait for more would only delay them.
    stream.set_nodelay(true)?;
    let local = stream.local_addr()?.ip();
    Ok((stream, Asker { transport, client: peer.ip(), local }))
}

/// How many connections each client has.
#[derive(Debug, Default)]
struct Guests(RefCell<HashMap<IpAddr, u32>>);

/// One connection of a client.
struct Guest {
    guests: Rc<Guests>,
    client: IpAddr,
}

impl Guest {
    /// `None`: the client has enough.
    fn enter(guests: &Rc<Guests>, client: IpAddr) -> Option<Self> {
        let client = network(client);
        let mut counts = guests.0.borrow_mut();
        let count = counts.entry(client).or_default();
        if *count >= MOST_OF_ONE {
            return None;
        }
        *count += 1;
        Some(Self { guests: guests.clone(), client })
    }
}

fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(client) => Ipv6Addr::from_bits(client.to_bits() & !u128::from(u64::MAX)).into(),
        client => client,
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.guests.0.borrow_mut();
        if let Some(count) = counts.get_mut(&self.client) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_an_address_or_a_network_that_it_may_have_to_itself() {
        let guests = Rc::<Guests>::default();
        let enter = |client: &str| Guest::enter(&guests, client.parse().unwrap());
        let there: Vec<_> = (0..MOST_OF_ONE).map(|it| enter(&format!("fd00::{it:x}"))).collect();
        assert!(there.iter().all(Option::is_some));
        assert!(enter("fd00::ffff").is_none());
        for other in ["fd00:0:0:1::1", "10.0.0.1", "::ffff:10.0.0.1"] {
            assert!(enter(other).is_some(), "{other}");
        }
        drop(there);
        assert!(enter("fd00::ffff").is_some());
    }
}
