//! Questions over UDP: one socket and one loop for each worker.
//!
//! A wake-up answers everything that has come in, up to a bound, with one look at the snapshot, one
//! system call for all questions and one for each row of replies to the same peer.

mod inbox;
mod outbox;
mod port;

use std::{io, rc::Rc, time::Duration};

use tokio::{
    task::{self, JoinSet},
    time::{Instant, timeout},
};

use self::{
    inbox::{BATCH, Inbox},
    outbox::Outbox,
    port::{Port, Way},
};
use super::{
    asker::{Asker, Handled, Transport},
    context::DnsContext,
};

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
    let mut counter = Counter::open(socket, context)?;
    tokio::pin!(stop);
    loop {
        tokio::select! {
            biased;
            () = &mut stop => break,
            () = counter.port.readable() => (),
        }
        let is_full = counter.answer_batch() == BATCH;
        while counter.forwards.try_join_next().is_some() {}
        if is_full {
            task::yield_now().await;
        }
    }
    while counter.answer_batch() == BATCH {}
    // What is not done then has been asked again elsewhere.
    drop(timeout(LAST_WAIT, async { while counter.forwards.join_next().await.is_some() {} }).await);
    Ok(())
}

/// Where one worker takes questions in and gives replies out.
struct Counter {
    port: Rc<Port>,
    context: Rc<DnsContext>,
    inbox: Inbox,
    outbox: Outbox,
    forwards: JoinSet<()>,
}

impl Counter {
    fn open(socket: std::net::UdpSocket, context: Rc<DnsContext>) -> io::Result<Self> {
        let port = Port::new(socket)?;
        let (inbox, outbox) = (Inbox::new(&port), Outbox::new());
        Ok(Self { port: Rc::new(port), context, inbox, outbox, forwards: JoinSet::new() })
    }

    /// Answers what has come in, and tells how many packets that were.
    fn answer_batch(&mut self) -> usize {
        let Self { port, context, inbox, outbox, forwards } = self;
        let Ok(count) = inbox.receive(port) else { return 0 };
        context.figures().udp.add(count as u64);
        let begin = Instant::now();
        let mut answered = 0;
        context.with_zones(|zones| {
            for place in 0..count {
                let Some((question, way)) = inbox.question(place) else { break };
                let asker = asker(way);
                match context.handle(question, asker, zones, begin, outbox.room()) {
                    Handled::Reply(length) => {
                        answered += 1;
                        outbox.push(length, way);
                    }
                    Handled::Ignore => (),
                    Handled::Forward => {
                        let asked = forward(port.clone(), context.clone(), question.into(), way);
                        forwards.spawn_local(asked);
                    }
                }
            }
        });
        outbox.send(port, |way, error| lost(context, way, error));
        // The clock is read twice for all of them: each is told the mean.
        let nanos = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        if let Some(mean) = nanos.checked_div(answered) {
            context.figures().duration.record_many(mean, answered);
        }
        count
    }
}

fn asker(way: Way) -> Asker {
    Asker { transport: Transport::Udp, client: way.peer.ip(), local: way.local }
}

/// A reply that the system does not take is lost, as UDP may lose it: who asked asks again.
fn lost(context: &DnsContext, way: Way, error: &io::Error) {
    context.figures().unsent.increment();
    tracing::debug!(client.address = %way.peer, %error, "reply not sent");
}

async fn forward(port: Rc<Port>, context: Rc<DnsContext>, question: Box<[u8]>, way: Way) {
    let begin = Instant::now();
    let mut out = vec![0; context.longest_over_udp()];
    let length = context.forward(&question, asker(way), &mut out).await;
    if length > 0
        && let Err(error) = port.send(out.get(..length).unwrap_or_default(), way)
    {
        lost(&context, way, &error);
    }
    let nanos = begin.elapsed().as_nanos();
    context.figures().duration.record(u64::try_from(nanos).unwrap_or(u64::MAX));
}
