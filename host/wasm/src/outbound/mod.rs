//! What a provider may reach: the origins and folders of its grant, and what it waits for.
//!
//! **Invariant:** nothing is reached that the grant does not cover, whatever the guest asks.

mod client;
mod folder;
mod origin;
mod tls;

use std::sync::Arc;

use tokio::sync::Notify;
use wasmtime::component::ResourceTable;

#[expect(unreachable_pub, reason = "exported again by generated code")]
pub use self::client::Pending;
pub use self::tls::Credentials;
pub(crate) use self::{
    client::{Client, Failure as ClientFailure, Outcome},
    folder::{Failure as FileFailure, Folders, Found, is_change},
    origin::Origin,
    tls::Tls,
};

/// What one instance may reach.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    /// The requests under way, by the guest's handles.
    pub(crate) table: ResourceTable,
    /// Told whenever a request is done.
    pub(crate) done: Arc<Notify>,
    pub(crate) http: Option<Client>,
    pub(crate) files: Option<Folders>,
}

impl Waits {
    /// What a grant gives to a new instance.
    pub(crate) fn new(http: Option<Client>, files: Option<Folders>) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_UNDER_WAY);
        Self { table, done: Arc::default(), http, files }
    }
}

/// How many requests of one instance may be under way, as `imports.wit` says.
pub(crate) const MAX_UNDER_WAY: usize = 256;
