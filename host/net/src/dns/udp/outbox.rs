//! Replies, gathered until a batch is done, and sent with as few system calls as there can be.
//!
//! To send a datagram costs ten times what it costs to answer the question. Whoever asks much (a
//! forwarder, a load balancer of DNS) does so from one port: its replies go as one row, which the
//! system cuts into datagrams at the very end of its work.

use std::io::{self, IoSlice};

use super::{
    inbox::BATCH,
    port::{Port, Way},
};
use crate::dns::{message::MAX_UDP, policy::Policy};

/// Datagrams of one row: what the system takes at once (`UDP_MAX_SEGMENTS`), and what one datagram
/// could have carried.
const MOST_IN_ROW: usize = 48;

/// The longest reply.
const LONGEST: usize = Policy::LARGEST_UDP as usize;

/// Room for the replies of one batch. Most of it is never touched: replies stand side by side.
pub(super) struct Outbox {
    bytes: Box<[u8]>,
    used: usize,
    replies: Vec<Reply>,
}

#[derive(Clone, Copy, Debug)]
struct Reply {
    way: Way,
    start: usize,
    length: u16,
}

impl Outbox {
    pub(super) fn new() -> Self {
        let bytes = vec![0; BATCH * LONGEST].into();
        Self { bytes, used: 0, replies: Vec::with_capacity(BATCH) }
    }

    /// Where the next reply is to be written.
    pub(super) fn room(&mut self) -> &mut [u8] {
        let free = self.bytes.get_mut(self.used..).unwrap_or_default();
        let length = free.len().min(LONGEST);
        free.get_mut(..length).unwrap_or_default()
    }

    /// Keeps what was written into [`Outbox::room`] until [`Outbox::send`].
    pub(super) fn push(&mut self, length: usize, way: Way) {
        let Ok(wire) = u16::try_from(length) else { return };
        self.replies.push(Reply { way, start: self.used, length: wire });
        self.used += length;
    }

    /// Sends everything. Each reply that the system did not take is reported.
    pub(super) fn send(&mut self, port: &Port, mut lost: impl FnMut(Way, &io::Error)) {
        // Those of one row stand side by side; who asks once does not mind.
        self.replies.sort_unstable_by_key(|reply| (reply.way, reply.length, reply.start));
        let is_of_row =
            |one: &Reply, next: &Reply| (one.way, one.length) == (next.way, next.length);
        for row in self.replies.chunk_by(is_of_row) {
            for row in row.chunks(MOST_IN_ROW) {
                if !self.send_row(port, row) {
                    for reply in row {
                        if let Err(error) = port.send(self.wire(reply), reply.way) {
                            lost(reply.way, &error);
                        }
                    }
                }
            }
        }
        self.replies.clear();
        self.used = 0;
    }

    /// Answers whether it could be sent as a row.
    fn send_row(&self, port: &Port, row: &[Reply]) -> bool {
        let [first, _, ..] = row else { return false };
        // What a network cuts into pieces is cut by the system alone.
        if !port.cuts() || usize::from(first.length) > MAX_UDP {
            return false;
        }
        let mut slices = [IoSlice::new(&[]); MOST_IN_ROW];
        for (slice, reply) in slices.iter_mut().zip(row) {
            *slice = IoSlice::new(self.wire(reply));
        }
        let slices = slices.get(..row.len()).unwrap_or_default();
        port.send_row(slices, first.length, first.way).is_ok()
    }

    fn wire(&self, reply: &Reply) -> &[u8] {
        self.bytes.get(reply.start..reply.start + usize::from(reply.length)).unwrap_or_default()
    }
}
