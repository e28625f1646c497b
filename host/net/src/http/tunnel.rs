//! What follows an upgrade: bytes to and fro, of whatever protocol.
//!
//! **Invariant:** bytes that HTTP read ahead on either side are handed on first.

use bytes::Bytes;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};

use super::{account::Account, claim::InFlight};
use crate::h1::Stream;

/// The backend's side of an upgraded connection.
#[derive(Debug)]
pub(crate) struct Tunnel {
    pub(crate) backend: Stream,
    /// What the backend said already.
    pub(crate) ahead: Bytes,
    /// The backend is at work for as long as the tunnel is open.
    pub(crate) in_flight: InFlight,
    /// The request that led to it; it ends with the tunnel.
    pub(crate) account: Option<Account>,
}

impl Tunnel {
    /// Hands bytes on until both sides are done, or one of them fails.
    pub(crate) async fn run(self, mut client: Stream, said: Bytes) {
        let Self { mut backend, ahead, in_flight, mut account } = self;
        let handing_on = async {
            client.write_all(&ahead).await?;
            client.flush().await?;
            backend.write_all(&said).await?;
            backend.flush().await?;
            copy_bidirectional(&mut client, &mut backend).await
        };
        match handing_on.await {
            Ok((up, down)) => {
                if let Some(account) = &mut account {
                    account.tunnelled(up, down);
                }
                tracing::debug!(up, down, "tunnel closed");
            }
            Err(error) => tracing::debug!(%error, "tunnel broke"),
        }
        drop((in_flight, account));
    }
}
