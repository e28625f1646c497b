//! To a backend over HTTP/2: the request as it goes there, and what it tells of one that it did not answer.

use std::{error::Error as _, pin::pin};

use http::{
    HeaderMap, HeaderValue, Request, Uri, Version,
    header::{CONTENT_LENGTH, HOST},
    uri::{self, PathAndQuery, Scheme as UriScheme},
};
use hyper::body::Body as _;
use portolan_core::service::{Backend, Scheme};

use super::{
    super::{
        body::{Body, RequestBody},
        origin::Origin,
        pool::SendErrorKind,
        rescue::ForwardError,
        shared::Lease,
    },
    Answer, Dispatch, Ignored, Lost, base, begun, cleaned, lost,
};
use crate::h1::{CDN_LOOP, HeadError, OURSELVES, WireError};

/// Bodies up to this size are kept until the answer comes where a backend may say that nobody has looked
/// at a request (HTTP/2), so that those with a body can be sent again, too.
const KEPT_BODY: u64 = 64 * 1024;

impl Dispatch<'_> {
    /// Sends the request over an HTTP/2 connection.
    pub(super) async fn over_shared(
        &mut self,
        lease: Lease,
        backend: &Backend,
        origin: &Origin,
    ) -> Result<Answer, Lost> {
        let Lease { mut sender, place, is_first } = lease;
        // Without a body nobody waits for the client.
        let bond = (!self.is_bodiless).then(|| self.errand.body.bond());
        let spare = self.keep_body();
        let request = self.absolute(backend, origin);
        let begin = begun(backend);
        let sending = pin!(sender.try_send_request(request));
        let mut error = match self.timed(backend, sending).await? {
            Ok(response) => {
                bond.iter().for_each(|bond| bond.note_answer());
                let (parts, incoming) = response.into_parts();
                if size(&parts.headers) > self.edge.config.max_response_head {
                    let error = WireError::Head(HeadError::TooLarge);
                    return Err(lost(backend, SendErrorKind::Backend(error), true));
                }
                let in_flight = self.answered(backend, begin)?;
                let head = cleaned(parts.status, parts.headers.into());
                return Ok(Answer {
                    head,
                    body: Body::stream(incoming, in_flight, place),
                    tunnel: None,
                });
            }
            Err(error) => error,
        };
        let unsent = error.take_message();
        if let Some(broken) = bond.and_then(|bond| bond.broken()) {
            return Err(lost(backend, SendErrorKind::Client(broken), false));
        }
        let source = error.into_error();
        backend.figures.failures.increment();
        let cause = source.source().and_then(|it| it.downcast_ref::<h2::Error>());
        let is_ignored = cause.is_some_and(|cause| is_ignored(cause, is_first));
        // It answered something that cannot be read.
        let is_answered = cause.is_some_and(|cause| cause.is_reset() && cause.is_library());
        let ignored = match (unsent, spare.filter(|spare| is_ignored && spare.is_fresh())) {
            (Some(request), _) => {
                self.errand.body = request.into_body();
                Ignored::Surely
            }
            (None, Some(spare)) => {
                self.rewind(spare);
                Ignored::Surely
            }
            (None, None) if is_answered => Ignored::No,
            (None, None) => Ignored::Perhaps,
        };
        let error = ForwardError::Exchange { backend: backend.url(), source: source.into() };
        Err(Lost { error, ignored })
    }

    /// Keeps a short body until the answer comes; answers what it can be sent again from.
    fn keep_body(&mut self) -> Option<RequestBody> {
        if self.errand.body.size_hint().lower() <= KEPT_BODY {
            self.errand.record_body(KEPT_BODY);
        }
        self.errand.body.copy()
    }

    /// The request as it is sent over HTTP/2, which has the host in the target (RFC 9113, 8.3.1).
    fn absolute(&mut self, backend: &Backend, origin: &Origin) -> Request<RequestBody> {
        let head = &self.errand.head;
        let host = self.host(origin).map(HeaderValue::as_bytes).or_else(|| head.headers.host());
        let host = host.and_then(|host| uri::Authority::try_from(host).ok());
        let mut parts = uri::Parts::default();
        parts.authority = Some(host.unwrap_or_else(|| origin.authority.clone()));
        parts.scheme = Some(match origin.scheme {
            Scheme::Https => UriScheme::HTTPS,
            Scheme::Http | Scheme::H2c => UriScheme::HTTP,
        });
        let target = match base(backend, head.target()) {
            "" => head.uri().path_and_query().cloned(),
            // The one is valid, and so is the other.
            base => PathAndQuery::from_maybe_shared(format!("{base}{}", head.target())).ok(),
        };
        parts.path_and_query = Some(target.unwrap_or_else(|| PathAndQuery::from_static("/")));
        let mut headers = head.headers.clone().into_map();
        headers.remove(HOST);
        if self.errand.body.is_empty() {
            // A mirror may get a request without its body.
            headers.remove(CONTENT_LENGTH);
        }
        if !self.errand.hop.contains_key(CDN_LOOP) {
            headers.insert(CDN_LOOP, OURSELVES);
        }
        headers.extend(self.errand.hop.iter().map(|(name, value)| (name.clone(), value.clone())));
        let method = head.method.clone();
        let mut request =
            Request::new(std::mem::replace(&mut self.errand.body, RequestBody::EMPTY));
        *request.method_mut() = method;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = Uri::from_parts(parts).unwrap_or_default();
        *request.headers_mut() = headers;
        request
    }
}

/// Whether a backend that speaks HTTP/2 says that nobody has looked at a request.
fn is_ignored(error: &h2::Error, is_first: bool) -> bool {
    // RFC 9113, 8.7.
    let is_refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    // RFC 9113, 6.8: it is behind the last one that a goodbye names; h2 ends no others for it. Where a new
    // connection ends in an error, the request may be why: another would end as well (Go does the same).
    let is_well = error.reason() == Some(h2::Reason::NO_ERROR) || !is_first;
    error.is_remote() && (is_refused || error.is_go_away() && is_well)
}

/// The size of a head, as HTTP/1 would have it.
fn size(headers: &HeaderMap) -> usize {
    headers.iter().map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum()
}
