//! What the DNS server has done.
//!
//! Each worker has its own, and the exporter adds them up, so that cores do not fight over one cache
//! line.

use portolan_core::figure::{Counter, Gauge, Histogram};

use super::{clients::Clients, zones::ZonesFigures};

/// Questions by how they ended, and what the cache holds. Each question counts once.
#[derive(Debug)]
pub struct DnsFigures {
    /// Answered from zones and routers, also that there is no such type.
    pub local: Counter,
    /// Answered that one of our own zones has no such name.
    pub no_such_name: Counter,
    /// Answered from the cache.
    pub cached: Counter,
    /// Answered after an upstream was asked.
    pub forwarded: Counter,
    /// Failed: not synced yet, no upstream answered, or too much under way.
    pub failed: Counter,
    /// Refused: another class, a zone transfer, an unknown operation, or no upstreams.
    pub refused: Counter,
    /// Replies to strangers that were not sent, or cut short, because of the limit.
    pub limited: Counter,
    /// Not understood, or not a question; most are not answered at all.
    pub malformed: Counter,
    /// Replies over UDP that the system did not take.
    pub unsent: Counter,
    /// Questions over UDP; they are counted by their ends too.
    pub udp: Counter,
    /// Questions over TCP; they are counted by their ends too.
    pub tcp: Counter,
    /// Questions over TLS; they are counted by their ends too.
    pub tls: Counter,
    /// Questions over HTTPS; they are counted by their ends too.
    pub https: Counter,
    /// Answers that were too old, and better than none; they count as forwarded too.
    pub stale: Counter,
    /// Questions that were asked anew before their answer was forgotten.
    pub prefetched: Counter,
    /// Names that are on a block list.
    pub blocked: Counter,
    /// Answers of upstreams from which addresses of our own networks were taken out.
    pub rebinds: Counter,
    /// Attempts at an upstream that gave no usable answer.
    pub upstream_failures: Counter,
    /// Answers in the cache.
    pub cache_entries: Gauge,
    /// Bytes in the cache.
    pub cache_bytes: Gauge,
    /// Questions that wait for an upstream.
    pub waiting: Gauge,
    /// From reading a question to its answer.
    pub duration: Histogram,
    /// Who asks.
    pub clients: Clients,
    /// What is asked for.
    pub zones: ZonesFigures,
}

impl DnsFigures {
    /// Where the first bucket of durations ends, in nanoseconds: so the last but one ends at 4.2 s, and a
    /// question is under way for 4 s at most.
    pub const FIRST: u64 = 16_000;
}

impl Default for DnsFigures {
    fn default() -> Self {
        Self {
            local: Counter::default(),
            no_such_name: Counter::default(),
            cached: Counter::default(),
            forwarded: Counter::default(),
            failed: Counter::default(),
            refused: Counter::default(),
            limited: Counter::default(),
            malformed: Counter::default(),
            unsent: Counter::default(),
            stale: Counter::default(),
            prefetched: Counter::default(),
            blocked: Counter::default(),
            rebinds: Counter::default(),
            udp: Counter::default(),
            tcp: Counter::default(),
            tls: Counter::default(),
            https: Counter::default(),
            upstream_failures: Counter::default(),
            cache_entries: Gauge::default(),
            cache_bytes: Gauge::default(),
            waiting: Gauge::default(),
            duration: Histogram::starting_at(Self::FIRST),
            clients: Clients::default(),
            zones: ZonesFigures::default(),
        }
    }
}
