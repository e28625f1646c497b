//! Questions over TCP (RFC 7766): many on one connection, answered as they are ready.
//!
//! **Invariant:** what one client can hold is bounded: connections for each worker, questions that
//! wait, bytes that are read ahead or not yet written, and the time it may be silent.

use std::{io, pin::Pin, rc::Rc, sync::Arc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    context::{DnsContext, Handled, Transport},
    message::MAX_TCP,
};

/// Connections for each worker.
const MOST_CONNECTIONS: usize = 256;
/// How long a client may be silent.
const IDLE: Duration = Duration::from_secs(10);
/// How long a client may take to read.
const SLOW: Duration = Duration::from_secs(5);
/// Questions of one connection that wait for an upstream.
const MOST_FORWARDS: usize = 64;
/// Bytes of replies that are put together before they are written.
const MOST_UNWRITTEN: usize = 64 << 10;
/// How long the listener rests after it failed: out of files, most likely.
const REST: Duration = Duration::from_millis(100);
/// How long connections may go on after the end.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// Answers questions until `stop` is ready, then those that are under way.
///
/// Must run within a [`tokio::task::LocalSet`].
///
/// # Errors
/// When the listener cannot be registered with the runtime.
pub async fn serve_tcp(
    listener: std::net::TcpListener,
    context: Rc<DnsContext>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let slots = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    let (stopping, stopped) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(stop);
    loop {
        let accepted = async {
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
            Ok((stream, _)) => {
                let connection = Connection::new(context.clone(), stopped.clone());
                connections.spawn_local(async move {
                    let _slot = slot;
                    if let Err(error) = connection.serve(stream).await {
                        tracing::debug!(%error, "connection failed");
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

/// One connection.
struct Connection {
    context: Rc<DnsContext>,
    stopped: watch::Receiver<bool>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    forwards: FuturesUnordered<Pin<Box<dyn Future<Output = Vec<u8>>>>>,
}

impl Connection {
    fn new(context: Rc<DnsContext>, stopped: watch::Receiver<bool>) -> Self {
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        Self { context, stopped, incoming, outgoing, forwards: FuturesUnordered::new() }
    }

    async fn serve(mut self, mut stream: TcpStream) -> io::Result<()> {
        // Replies are written whole; to wait for more would only delay them.
        stream.set_nodelay(true)?;
        let mut is_open = true;
        let mut stopped = self.stopped.clone();
        while is_open || !self.forwards.is_empty() {
            while self.answer_some() | !self.outgoing.is_empty() {
                timeout(SLOW, stream.write_all(&self.outgoing)).await??;
                self.outgoing.clear();
            }
            let may_read = is_open && self.forwards.len() < MOST_FORWARDS;
            if !is_open && self.forwards.is_empty() {
                break;
            }
            tokio::select! {
                read = timeout(IDLE, stream.read_buf(&mut self.incoming)), if may_read => {
                    is_open = match read {
                        Ok(read) => read? > 0,
                        // Silent, but perhaps because it waits for us.
                        Err(_elapsed) => !self.forwards.is_empty(),
                    };
                }
                Some(reply) = self.forwards.next(), if !self.forwards.is_empty() => {
                    self.outgoing.extend_from_slice(&reply);
                }
                _ = stopped.wait_for(|stopped| *stopped), if is_open => is_open = false,
            }
        }
        Ok(())
    }

    /// Answers whole questions that have been read, up to a bound. False: there were none.
    fn answer_some(&mut self) -> bool {
        let Self { context, incoming, outgoing, forwards, .. } = self;
        let mut used = 0;
        context.with_zones(|zones| {
            let mut out = [0; MAX_TCP];
            while outgoing.len() < MOST_UNWRITTEN && forwards.len() < MOST_FORWARDS {
                let Some(question) = incoming.get(used..).and_then(frame) else { break };
                used += 2 + question.len();
                context.figures().tcp.increment();
                let before = Instant::now();
                match context.handle(question, Transport::Tcp, zones, before, &mut out) {
                    Handled::Reply(length) => {
                        push_frame(outgoing, out.get(..length).unwrap_or_default());
                        let nanos = u64::try_from(before.elapsed().as_nanos());
                        context.figures().duration.record(nanos.unwrap_or(u64::MAX));
                    }
                    Handled::Ignore => (),
                    Handled::Forward => {
                        forwards.push(Box::pin(forward(context.clone(), question.to_vec())));
                    }
                }
            }
        });
        incoming.drain(..used);
        used > 0
    }
}

async fn forward(context: Rc<DnsContext>, question: Vec<u8>) -> Vec<u8> {
    let mut out = vec![0; MAX_TCP];
    let before = Instant::now();
    let length = context.forward(&question, Transport::Tcp, &mut out).await;
    let nanos = u64::try_from(before.elapsed().as_nanos());
    context.figures().duration.record(nanos.unwrap_or(u64::MAX));
    let mut framed = Vec::with_capacity(2 + length);
    push_frame(&mut framed, out.get(..length).unwrap_or_default());
    framed
}

/// The first whole message.
fn frame(bytes: &[u8]) -> Option<&[u8]> {
    let (length, rest) = bytes.split_first_chunk()?;
    rest.get(..usize::from(u16::from_be_bytes(*length)))
}

fn push_frame(outgoing: &mut Vec<u8>, message: &[u8]) {
    let Ok(length) = u16::try_from(message.len()) else { return };
    if length > 0 {
        outgoing.extend_from_slice(&length.to_be_bytes());
        outgoing.extend_from_slice(message);
    }
}
