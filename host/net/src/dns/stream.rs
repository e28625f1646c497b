//! One stream of questions (RFC 7766, 6): each behind its length, answered as they are ready.
//!
//! **Invariant:** what one client can hold is bounded: questions that wait, bytes that are read
//! ahead or not yet written, and the time it may be silent.

use std::{io, pin::Pin, rc::Rc, time::Duration};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    sync::watch,
    time::{Instant, timeout, timeout_at},
};

use super::{
    asker::{Asker, Handled, Transport},
    context::DnsContext,
    message::MAX_TCP,
    seat::Seat,
};

/// How long a client may take from one whole question to the next: bytes now and then are none.
const IDLE: Duration = Duration::from_secs(10);
/// How long a client may take to read.
const SLOW: Duration = Duration::from_secs(5);
/// Questions of one connection that wait for an upstream.
const MOST_FORWARDS: usize = 64;
/// Bytes of replies that are put together before they are written.
const MOST_UNWRITTEN: usize = 64 << 10;

/// One connection, whatever it came by.
pub(super) struct Connection {
    context: Rc<DnsContext>,
    asker: Asker,
    stopped: watch::Receiver<bool>,
    incoming: Vec<u8>,
    outgoing: Vec<u8>,
    forwards: FuturesUnordered<Pin<Box<dyn Future<Output = Vec<u8>>>>>,
    seat: Rc<Seat>,
}

impl Connection {
    pub(super) fn new(
        context: Rc<DnsContext>,
        asker: Asker,
        seat: Rc<Seat>,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let (incoming, outgoing) = (Vec::new(), Vec::new());
        let forwards = FuturesUnordered::new();
        Self { context, asker, stopped, incoming, outgoing, forwards, seat }
    }

    /// Answers until the client is done, silent for too long, or asked to finish.
    pub(super) async fn serve(
        mut self,
        mut stream: impl AsyncRead + AsyncWrite + Unpin,
    ) -> io::Result<()> {
        let mut is_open = true;
        let (mut stopped, seat) = (self.stopped.clone(), self.seat.clone());
        loop {
            while self.answer_some() | !self.outgoing.is_empty() {
                // An encrypted stream keeps what is written until it is told.
                let write = async {
                    stream.write_all(&self.outgoing).await?;
                    stream.flush().await
                };
                timeout(SLOW, write).await??;
                self.outgoing.clear();
                seat.touch();
            }
            let may_read = is_open && self.forwards.len() < MOST_FORWARDS;
            if !is_open && self.forwards.is_empty() {
                break;
            }
            let due = seat.since() + IDLE;
            tokio::select! {
                read = timeout_at(due, stream.read_buf(&mut self.incoming)), if may_read => {
                    match read {
                        Ok(read) => is_open = read? > 0,
                        // Silent, but perhaps because it waits for us.
                        Err(_elapsed) if !self.forwards.is_empty() => seat.touch(),
                        Err(_elapsed) => is_open = false,
                    }
                }
                Some(reply) = self.forwards.next(), if !self.forwards.is_empty() => {
                    self.outgoing.extend_from_slice(&reply);
                }
                _ = stopped.wait_for(|stopped| *stopped), if is_open => is_open = false,
                () = seat.wanted(), if is_open => is_open = false,
            }
        }
        Ok(())
    }

    /// Answers whole questions that have been read, up to a bound. False: there were none.
    fn answer_some(&mut self) -> bool {
        let Self { context, asker, incoming, outgoing, forwards, .. } = self;
        let mut used = 0;
        context.with_zones(|zones| {
            let mut out = context.scratch();
            while outgoing.len() < MOST_UNWRITTEN && forwards.len() < MOST_FORWARDS {
                let Some(question) = incoming.get(used..).and_then(frame) else { break };
                used += 2 + question.len();
                match asker.transport {
                    Transport::Tls => context.figures().tls.increment(),
                    _ => context.figures().tcp.increment(),
                }
                let before = Instant::now();
                match context.handle(question, *asker, zones, before, &mut out) {
                    Handled::Reply(length) => {
                        push_frame(outgoing, out.get(..length).unwrap_or_default());
                        let nanos = u64::try_from(before.elapsed().as_nanos());
                        context.figures().duration.record(nanos.unwrap_or(u64::MAX));
                    }
                    Handled::Ignore => (),
                    Handled::Forward => {
                        let asked = forward(context.clone(), *asker, question.to_vec());
                        forwards.push(Box::pin(asked));
                    }
                }
            }
        });
        incoming.drain(..used);
        used > 0
    }
}

async fn forward(context: Rc<DnsContext>, asker: Asker, question: Vec<u8>) -> Vec<u8> {
    let mut out = vec![0; MAX_TCP];
    let before = Instant::now();
    let length = context.forward(&question, asker, &mut out).await;
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
