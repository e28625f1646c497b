//! Questions over TCP (RFC 7766), and over TLS (RFC 7858).

use std::{io, rc::Rc, sync::Arc, time::Duration};

use tokio::time::timeout;

use super::{
    accept::{Accepted, accept},
    asker::Transport,
    context::DnsContext,
    stream::Connection,
};
use crate::tls::TlsContext;

/// How long a handshake may take.
pub(super) const HANDSHAKE: Duration = Duration::from_secs(5);

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
    accept(listener, Transport::Tcp, stop, |accepted| {
        let Accepted { stream, asker, seat, stopped } = accepted;
        Connection::new(context.clone(), asker, seat, stopped).serve(stream)
    })
    .await
}

/// Answers questions within TLS until `stop` is ready, then those that are under way.
///
/// Must run within a [`tokio::task::LocalSet`].
///
/// # Errors
/// When the listener cannot be registered with the runtime.
pub async fn serve_tls(
    listener: std::net::TcpListener,
    tls: Arc<TlsContext>,
    context: Rc<DnsContext>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    accept(listener, Transport::Tls, stop, |accepted| {
        let Accepted { stream, asker, seat, stopped } = accepted;
        let connection = Connection::new(context.clone(), asker, seat.clone(), stopped);
        let tls = tls.clone();
        async move {
            let stream = tokio::select! {
                stream = timeout(HANDSHAKE, tls.accept(stream)) => stream??.encrypted(),
                () = seat.wanted() => None,
            };
            match stream {
                Some(stream) => connection.serve(stream).await,
                None => Ok(()),
            }
        }
    })
    .await
}
