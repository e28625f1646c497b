//! What stands before a Consul and answers 500 to some of what it is asked.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http::StatusCode;
use http_body_util::Full;
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{
    net::TcpListener,
    sync::watch,
    task::{JoinHandle, JoinSet},
};

use super::{Client, Consul};

/// Passes questions on to a Consul, or refuses them; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Stumbling {
    address: SocketAddr,
    /// The beginning of paths that are answered with 500.
    refused: watch::Sender<Option<String>>,
    task: JoinHandle<()>,
}

impl Drop for Stumbling {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Stumbling {
    /// Passes everything on.
    pub(crate) async fn start(consul: &Consul) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (refused, refusing) = watch::channel(None);
        let behind = Client(consul.address);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let refusing = refusing.clone();
                connections.spawn(async move {
                    let service = service_fn(move |request| {
                        let refusing = refusing.clone();
                        async move { Ok::<_, Infallible>(answer(behind, &request, refusing).await) }
                    });
                    // A client that goes away is no concern of it.
                    drop(
                        http1::Builder::new().serve_connection(TokioIo::new(stream), service).await,
                    );
                });
            }
        });
        Self { address, refused, task }
    }

    /// From now on paths that begin so are answered with 500, those under way as well.
    pub(crate) fn refuse(&self, path: &str) {
        self.refused.send_replace(Some(path.to_owned()));
    }

    /// Everything is passed on again.
    pub(crate) fn recover(&self) {
        self.refused.send_replace(None);
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn answer(
    behind: Client,
    request: &Request<Incoming>,
    mut refusing: watch::Receiver<Option<String>>,
) -> Response<Full<Bytes>> {
    let path = request.uri().path().to_owned();
    let is_refused =
        |start: &Option<String>| start.as_ref().is_some_and(|start| path.starts_with(start));
    let mut question = Request::get(request.uri().to_string()).header("host", "consul");
    question.headers_mut().unwrap().extend(request.headers().clone());
    let outcome = tokio::select! {
        biased;
        _ = refusing.wait_for(is_refused) => None,
        outcome = behind.send(question.body(Full::default()).unwrap()) => outcome.ok(),
    };
    let Some(outcome) = outcome else {
        let refusal = Response::builder().status(StatusCode::INTERNAL_SERVER_ERROR);
        return refusal.body(Full::from("it stumbles")).unwrap();
    };
    let mut answer = Response::new(Full::from(outcome.bytes));
    *answer.status_mut() = outcome.status;
    let told = outcome.headers.into_iter().filter_map(|(name, value)| Some((name?, value)));
    let told = told.filter(|(name, _)| name.as_str().starts_with("x-consul"));
    answer.headers_mut().extend(told);
    answer
}
