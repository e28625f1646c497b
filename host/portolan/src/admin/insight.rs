//! What the rooms that serve must be able to tell, as one trait: the admin API knows no sockets.
//!
//! **Invariant:** everything else that is told comes from the snapshot and the board.

use std::sync::Arc;

use portolan_core::zone::Name;
use portolan_net::{
    dns::{Forwarding, Rewrites},
    tls::TlsContext,
};

use crate::telemetry::metrics::{CertificateReading, DnsReading, EntrypointReading, HttpReading};

/// What the rooms that serve can tell. Called by the admin API only, never while a request or a
/// query is served; adding up the figures of all workers is fine here.
pub(crate) trait Insight: Send + Sync + 'static {
    /// What each HTTP entrypoint has done so far, in any order.
    fn entrypoints(&self) -> Vec<EntrypointReading>;

    /// What HTTP has done beyond that, and how it is told.
    fn http(&self) -> HttpReading;

    /// What DNS has done so far.
    fn dns(&self) -> DnsReading;

    /// Forgets what upstreams said of a name and of all below it; `None`: of every name.
    fn flush_dns(&self, name: Option<Name>);

    /// What DNS puts in the place of names that are asked.
    fn rewrites(&self) -> Arc<Rewrites>;

    /// Who is asked for names that are not ours.
    fn forwarding(&self) -> Arc<Forwarding>;

    /// What answers the handshakes of an entrypoint, if it is encrypted.
    fn tls(&self, entrypoint: &str) -> Option<Arc<TlsContext>>;

    /// The certificates that clients are shown, in any order.
    fn certificates(&self) -> Vec<CertificateReading>;
}
