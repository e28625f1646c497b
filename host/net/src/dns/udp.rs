//! Questions over UDP: one socket and one loop for each worker.
//!
//! A wake-up answers everything that has come in, up to a bound, from one buffer on the stack and
//! with one look at the snapshot.

use std::{io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    net::UdpSocket,
    task::{self, JoinSet},
    time::{Instant, timeout},
};

use super::{
    context::{DnsContext, Handled, Transport},
    message::MAX_UDP,
};

/// Questions that are answered before others on this thread have their turn.
const BATCH: usize = 64;
/// The longest question that is read: one with every option there is fits.
const LONGEST_QUESTION: usize = 4096;
/// How long questions that wait for an upstream may go on after the end.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Answers questions until `stop` is ready, then those that came in before it, and then waits two
/// seconds at most for those that wait for an upstream.
///
/// Must run within a [`tokio::task::LocalSet`].
///
/// # Errors
/// When the socket cannot be registered with the runtime.
pub async fn serve_udp(
    socket: std::net::UdpSocket,
    context: Rc<DnsContext>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let socket = Rc::new(UdpSocket::from_std(socket)?);
    let mut forwards = JoinSet::new();
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            // An error is that of an earlier reply (ICMP), and reading clears it.
            _ = socket.readable() => (),
        }
        let is_full = answer_batch(&socket, &context, &mut forwards) == BATCH;
        while forwards.try_join_next().is_some() {}
        if is_full {
            task::yield_now().await;
        }
    }
    while answer_batch(&socket, &context, &mut forwards) == BATCH {}
    // What is not done then has been asked again elsewhere.
    drop(timeout(LAST_WAIT, async { while forwards.join_next().await.is_some() {} }).await);
    Ok(())
}

/// Answers what has come in, and tells how many packets that were.
fn answer_batch(
    socket: &Rc<UdpSocket>,
    context: &Rc<DnsContext>,
    forwards: &mut JoinSet<()>,
) -> usize {
    let mut packet = [0; LONGEST_QUESTION];
    let mut out = [0; MAX_UDP];
    context.with_zones(|zones| {
        let mut before = Instant::now();
        for count in 0..BATCH {
            let (length, peer) = match socket.try_recv_from(&mut packet) {
                Ok(received) => received,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return count,
                // The fate of an earlier reply; the next packet may be fine.
                Err(_) => continue,
            };
            let question = packet.get(..length).unwrap_or_default();
            match context.handle(question, Transport::Udp, zones, before, &mut out) {
                Handled::Reply(length) => {
                    send(socket, context, out.get(..length).unwrap_or_default(), peer);
                }
                Handled::Ignore => (),
                Handled::Forward => {
                    let asked = forward(socket.clone(), context.clone(), question.into(), peer);
                    forwards.spawn_local(asked);
                    continue;
                }
            }
            let after = Instant::now();
            let nanos = after.saturating_duration_since(before).as_nanos();
            context.figures().duration.record(u64::try_from(nanos).unwrap_or(u64::MAX));
            before = after;
        }
        BATCH
    })
}

/// A reply that the system does not take is lost, as UDP may lose it: who asked asks again.
fn send(socket: &UdpSocket, context: &DnsContext, reply: &[u8], peer: SocketAddr) {
    if let Err(error) = socket.try_send_to(reply, peer) {
        context.figures().unsent.increment();
        tracing::debug!(client.address = %peer, %error, "reply not sent");
    }
}

async fn forward(
    socket: Rc<UdpSocket>,
    context: Rc<DnsContext>,
    question: Box<[u8]>,
    peer: SocketAddr,
) {
    let before = Instant::now();
    let mut out = vec![0; MAX_UDP];
    let length = context.forward(&question, Transport::Udp, &mut out).await;
    send(&socket, &context, out.get(..length).unwrap_or_default(), peer);
    let nanos = before.elapsed().as_nanos();
    context.figures().duration.record(u64::try_from(nanos).unwrap_or(u64::MAX));
}
