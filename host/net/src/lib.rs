//! How the network is served: the data plane.
//!
//! One operating-system thread per core, each with its own single-threaded runtime, its own
//! listeners on the same addresses (`SO_REUSEPORT`) and its own connections to backends.
//!
//! **Invariant:** the only thing that workers share per request is the snapshot, which they read
//! without a lock. No request of one worker ever waits for another worker.

pub mod drain;
pub mod interfaces;
mod random;
mod cipher;
mod anchors;
pub mod shortage;
pub mod worker;
pub mod tls;
mod h1;
mod http2;
pub mod transport;
pub mod health;
pub mod http;
pub mod dns;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
