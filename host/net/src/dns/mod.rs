//! Names, over UDP and TCP: our own from the snapshot, the others from upstreams.
//!
//! **Invariant:** a question for a name that is ours, or that is remembered, is answered in place:
//! no lock, no allocation, no task. What waits for an upstream never holds it up.
//!
//! A worker makes one [`DnsContext`] and calls [`serve_udp`], [`serve_tcp`], [`serve_tls`] and
//! [`serve_https`] with sockets from [`bind_udp`] and [`bind_tcp`], all within one `LocalSet`. Read
//! `message`, `reply`, `local` and `context` for the usual question, `policy` for who may ask, then
//! `forward`, `upstream`, `filter`, `stored` and `cache` for names that are not ours, `standing` for
//! what is told of upstreams, and `udp`, `stream` and `https` for how questions come in.

mod accept;
mod asker;
mod bind;
mod cache;
mod chase;
mod clients;
mod context;
mod cookie;
mod figures;
mod filter;
mod forward;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod https;
mod limiter;
mod local;
mod log;
mod message;
mod nearby;
mod nowhere;
mod policy;
mod question;
mod reply;
mod rewrite;
mod seat;
mod standing;
mod stored;
mod stream;
mod system;
mod tcp;
#[cfg(test)]
mod tests;
mod udp;
mod whose;
mod upstream;
mod zones;

pub use self::{
    bind::{BindError, Sharing, bind_tcp, bind_udp},
    clients::Clients,
    context::DnsContext,
    figures::DnsFigures,
    filter::{BlockAnswer, BlockList, Filter, Listed, Rebind},
    forward::{
        CacheConfig, Finder, Forwarding, Forwardings, Loops, Mode, Place, Probe, Protocol, Room,
        Sought, UpstreamConfig,
    },
    https::serve_https,
    nearby::Nearby,
    policy::{Policies, Policy, RateLimit, private_networks},
    rewrite::{Rewrite, Rewrites},
    standing::{Failure, KnownUpstream, Standing, Standings, tend_upstreams},
    system::{system_files, system_upstreams, without_own},
    tcp::{serve_tcp, serve_tls},
    udp::serve_udp,
    zones::{ZoneFigures, ZonesFigures},
};
