//! A backend that says its name, and counts who comes.

use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
};

use http_body_util::Full;
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_rustls::{TlsAcceptor, rustls::ServerConnection};

/// A backend on a port of its own; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Backend {
    pub(crate) address: SocketAddr,
    requests: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Backend {
    /// Answers every request with its name, the target and the headers it saw.
    pub(crate) async fn start(name: &'static str) -> Self {
        Self::serve(name, None).await
    }

    /// The same over TLS.
    pub(crate) async fn start_tls(name: &'static str, acceptor: TlsAcceptor) -> Self {
        Self::serve(name, Some(acceptor)).await
    }

    async fn serve(name: &'static str, acceptor: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(AtomicUsize::new(0));
        let count = requests.clone();
        let task = tokio::spawn(async move {
            // Connections live in the set, so they end with the backend.
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (count, acceptor) = (count.clone(), acceptor.clone());
                connections.spawn(async move {
                    let answering = |heard: String| {
                        service_fn(move |request| {
                            count.fetch_add(1, Relaxed);
                            let answer = answer(name, &request, &heard);
                            async move { Ok::<_, Infallible>(answer) }
                        })
                    };
                    // A client that goes away is no concern of a backend.
                    let http = http1::Builder::new();
                    let Some(acceptor) = acceptor else {
                        let service = answering(String::new());
                        drop(http.serve_connection(TokioIo::new(stream), service).await);
                        return;
                    };
                    if let Ok(stream) = acceptor.accept(stream).await {
                        let service = answering(heard(stream.get_ref().1));
                        drop(http.serve_connection(TokioIo::new(stream), service).await);
                    }
                });
            }
        });
        Self { address, requests, task }
    }

    /// How many requests came.
    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Relaxed)
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// What a client said in its handshake.
fn heard(session: &ServerConnection) -> String {
    let name = session.server_name().unwrap_or("(none)");
    let suite = session.negotiated_cipher_suite().map(|suite| suite.suite());
    let shown = session.peer_certificates().map_or(0, <[_]>::len);
    format!("tls-name: {name}\ntls-suite: {suite:?}\ntls-certificates: {shown}\n")
}

/// `heard` comes last.
fn answer(name: &str, request: &Request<Incoming>, heard: &str) -> Response<Full<Bytes>> {
    let mut text = format!("{name}\n{} {}\n", request.method(), request.uri());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\n", value.to_str().unwrap_or("(bytes)")));
    }
    text.push_str(heard);
    Response::builder().header("x-backend", name).body(text.into()).unwrap()
}
