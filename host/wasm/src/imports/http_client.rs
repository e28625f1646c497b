//! `http-client`: requests to granted origins.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method, Request, Uri, header};
use http_body_util::Full;
use portolan_core::exchange::is_of_connection;
use wasmtime::component::Resource;

use crate::{
    bindings::{
        http_client::{Host, HostPending, HttpError, Incoming, Outgoing},
        types::Header,
    },
    outbound::{ClientFailure, MAX_UNDER_WAY, Outcome, Pending, Waits},
};

impl Host for Waits {
    async fn send(&mut self, request: Outgoing) -> wasmtime::Result<Result<Incoming, HttpError>> {
        let pending = match self.begin(request) {
            Ok(pending) => pending,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let done = self.done.notified();
            match pending.take() {
                Some(outcome) => return Ok(incoming(outcome)),
                None => done.await,
            }
        }
    }

    async fn start(
        &mut self,
        request: Outgoing,
    ) -> wasmtime::Result<Result<Resource<Pending>, HttpError>> {
        match self.begin(request) {
            Ok(pending) => Ok(self.table.push(pending).map_err(|_full| too_many())),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn wait_any(
        &mut self,
        requests: Vec<Resource<Pending>>,
        timeout_ms: u32,
    ) -> wasmtime::Result<Vec<u32>> {
        let deadline = tokio::time::sleep(Duration::from_millis(timeout_ms.into()));
        tokio::pin!(deadline);
        loop {
            let done = Arc::clone(&self.done);
            let done = done.notified();
            let places = self.done_places(&requests)?;
            if !places.is_empty() {
                return Ok(places);
            }
            tokio::select! {
                () = done => (),
                () = &mut deadline => return Ok(Vec::new()),
            }
        }
    }
}

impl HostPending for Waits {
    async fn take(
        &mut self,
        pending: Resource<Pending>,
    ) -> wasmtime::Result<Option<Result<Incoming, HttpError>>> {
        Ok(self.table.get(&pending)?.take().map(incoming))
    }

    async fn drop(&mut self, pending: Resource<Pending>) -> wasmtime::Result<()> {
        self.table.delete(pending)?;
        Ok(())
    }
}

impl Waits {
    fn begin(&self, outgoing: Outgoing) -> Result<Pending, HttpError> {
        let Some(client) = &self.http else {
            return Err(HttpError::Denied("nothing is granted".to_owned()));
        };
        let timeout = Duration::from_millis(outgoing.timeout_ms.into()).min(MAX_TIMEOUT);
        let max_body = (outgoing.max_body as usize).min(MAX_BODY);
        let request = request(outgoing).map_err(HttpError::Invalid)?;
        client.check(request.uri()).map_err(error)?;
        Ok(client.start(request, timeout, max_body, Arc::clone(&self.done)))
    }

    fn done_places(&self, requests: &[Resource<Pending>]) -> wasmtime::Result<Vec<u32>> {
        let mut places = Vec::new();
        for (place, request) in (0..).zip(requests) {
            if self.table.get(request)?.is_done() {
                places.push(place);
            }
        }
        Ok(places)
    }
}

fn request(outgoing: Outgoing) -> Result<Request<Full<Bytes>>, String> {
    let url: Uri = outgoing.url.parse().map_err(|error| format!("the URL: {error}"))?;
    let is_http = matches!(url.scheme_str(), Some("http" | "https"));
    if !is_http || url.host().unwrap_or_default().is_empty() {
        return Err("the URL is not absolute, or neither http nor https".to_owned());
    }
    if url.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err("the URL names a user".to_owned());
    }
    let method = Method::from_bytes(outgoing.method.as_bytes())
        .map_err(|error| format!("the method: {error}"))?;
    if method == Method::CONNECT {
        return Err("the method is CONNECT".to_owned());
    }
    let mut request = Request::new(Full::new(Bytes::from(outgoing.body)));
    *request.method_mut() = method;
    *request.uri_mut() = url;
    for line in outgoing.headers {
        let (name, value) = parse_line(&line)?;
        request.headers_mut().append(name, value);
    }
    Ok(request)
}

fn parse_line(line: &Header) -> Result<(HeaderName, HeaderValue), String> {
    let bad = |what: &str| format!("the header `{}`: {what}", line.name.escape_debug());
    let name =
        HeaderName::from_bytes(line.name.as_bytes()).map_err(|_invalid| bad("not a name"))?;
    if name == header::HOST || is_of_connection(&name) {
        return Err(bad("is the host's own"));
    }
    let value = HeaderValue::from_bytes(&line.value).map_err(|_invalid| bad("not a value"))?;
    Ok((name, value))
}

fn incoming(outcome: Outcome) -> Result<Incoming, HttpError> {
    let response = outcome.map_err(error)?;
    let (head, body) = response.into_parts();
    let line = |(name, value): (&HeaderName, &HeaderValue)| Header {
        name: name.as_str().to_owned(),
        value: value.as_bytes().to_vec(),
    };
    Ok(Incoming {
        status: head.status.as_u16(),
        headers: head.headers.iter().map(line).collect(),
        body: body.into(),
    })
}

fn error(failure: ClientFailure) -> HttpError {
    match failure {
        ClientFailure::Denied(text) => HttpError::Denied(text),
        ClientFailure::Resolve(text) => HttpError::Resolve(text),
        ClientFailure::Connect(text) => HttpError::Connect(text),
        ClientFailure::Tls(text) => HttpError::Tls(text),
        ClientFailure::Timeout => HttpError::Timeout,
        ClientFailure::TooLarge => HttpError::TooLarge,
        ClientFailure::Protocol(text) => HttpError::Protocol(text),
    }
}

fn too_many() -> HttpError {
    HttpError::Invalid(format!("more than {MAX_UNDER_WAY} requests are under way"))
}

/// As `imports.wit` says.
const MAX_TIMEOUT: Duration = Duration::from_secs(11 * 60);

const MAX_BODY: usize = 64 << 20;
