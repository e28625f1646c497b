//! ACME (RFC 8555): certificates from an authority that looks whether a name is ours.
//!
//! Reading order: `want` (which certificates), `schedule` (when), `storage` (where they are kept),
//! `order` (one order, start to end) and `pending` (between two attempts), `desk` (where orders of one
//! authority are done), `slot` (how far one certificate is), `resolver` (one authority, and all that is
//! wanted of it).
//!
//! **Invariant:** of many nodes that share a storage one orders, and any of them can answer the
//! authority's question.

mod fetch;
mod schedule;
mod want;
mod storage;
mod consul;
mod error;
mod pending;
mod order;
mod account;
mod desk;
mod slot;
mod resolver;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, sync::Arc};

pub(super) use self::{
    desk::Desk,
    pending::Pending,
    resolver::{Outcome, Resolver},
    schedule::Failure,
    want::{Want, wants},
};

/// Let's Encrypt, the one for certificates that count.
pub const LETS_ENCRYPT: &str = "https://acme-v02.api.letsencrypt.org/directory";

/// An authority that is asked for certificates: `[acme.<name>]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ResolverConfig {
    /// What routers and entrypoints call it.
    pub name: Arc<str>,
    /// Whom the authority may write to.
    pub email: Option<String>,
    /// The URL of its directory (RFC 8555, 7.1.1).
    pub directory: String,
    /// How it is shown that a name is ours.
    pub challenge: Challenge,
    /// A PEM file with the authorities that the directory's own certificate may come from; `None`:
    /// those that the system trusts.
    pub root_certificates: Option<PathBuf>,
    /// The kind of keys of certificates.
    pub key_type: KeyType,
    /// An account elsewhere that ours is to be bound to (RFC 8555, 7.3.4).
    pub external_account: Option<ExternalAccount>,
    /// Where account and certificates are kept.
    pub storage: StorageConfig,
}

/// How it is shown that a name is ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Challenge {
    /// By a file at port 80 (RFC 8555, 8.3).
    Http01,
    /// By a handshake at port 443 (RFC 8737).
    TlsAlpn01,
}

/// The kind of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyType {
    /// ECDSA with P-256.
    Ec256,
    /// ECDSA with P-384.
    Ec384,
    /// RSA with 2048 bits.
    Rsa2048,
    /// RSA with 4096 bits.
    Rsa4096,
}

/// An account elsewhere, with a secret that the authority gave for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ExternalAccount {
    /// Which.
    pub key_id: String,
    /// A file with the secret, in base64 for URLs, as authorities give it.
    pub hmac_file: PathBuf,
}

/// Where account and certificates are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StorageConfig {
    /// In a folder of this node.
    File(PathBuf),
    /// In Consul's key-value store, shared with other nodes, and for the times when Consul is
    /// away in a folder too.
    Consul {
        /// Scheme and authority: `http://127.0.0.1:8500`.
        address: String,
        /// For its access control; `None`: none is sent.
        token: Option<Token>,
        /// Authorities to trust, in PEM; `None`: those that the system trusts.
        roots: Option<PathBuf>,
        /// The folder.
        folder: PathBuf,
    },
}

/// What proves to Consul who asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Token {
    /// The token.
    Text(String),
    /// A file that holds it, read for each question.
    File(PathBuf),
}
