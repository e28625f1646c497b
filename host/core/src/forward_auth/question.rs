//! What an authority is asked.

use std::borrow::Cow;

use http::{HeaderMap, HeaderName, HeaderValue, Method};

use super::{ForwardAuth, is_ours};
use crate::exchange::{Exchange, RequestHead};

const FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const HOST_NAME: HeaderName = HeaderName::from_static("x-forwarded-host");
const METHOD: HeaderName = HeaderName::from_static("x-forwarded-method");
const PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// What proxies say of a client beside what an authority is always told.
const SAID: [HeaderName; 6] = [
    PORT,
    HeaderName::from_static("x-forwarded-prefix"),
    HeaderName::from_static("x-forwarded-server"),
    HeaderName::from_static("x-forwarded-tls-client-cert"),
    HeaderName::from_static("x-forwarded-tls-client-cert-info"),
    HeaderName::from_static("x-real-ip"),
];

impl ForwardAuth {
    /// What the authority is asked about a request, but for its body. The client's word on itself is not
    /// in the request any more, unless it is a proxy that is trusted.
    pub fn question(&self, exchange: &Exchange) -> RequestHead {
        let request = &exchange.request;
        let mut headers = self.copied(request);
        let trust = self.options.trust_forward_header;
        if trust == Some(false) {
            SAID.iter().for_each(|name| _ = headers.remove(name));
        }
        let said = |name: &HeaderName| {
            let value = request.headers.value(name).filter(|_| trust == Some(true));
            value.filter(|value| !value.is_empty())
        };
        let mut tell = |name: HeaderName, seen: Option<HeaderValue>| match said(&name).or(seen) {
            Some(value) => _ = headers.insert(name, value),
            None => _ = headers.remove(name),
        };
        let text = |text: Cow<'_, str>| HeaderValue::from_str(&text).ok();
        tell(FOR, text(exchange.peer.address.ip().to_canonical().to_string().into()));
        tell(METHOD, text(request.method.as_str().into()));
        let proto = if exchange.peer.tls { "https" } else { "http" };
        tell(PROTO, Some(HeaderValue::from_static(proto)));
        let host = request.authority();
        tell(HOST_NAME, text(host.into()).filter(|host| !host.is_empty()));
        tell(URI, text(request.target().into()));
        if let Some(port) = said(&PORT) {
            headers.insert(PORT, port);
        }
        let method = match self.options.preserve_method {
            true => request.method.clone(),
            false => Method::GET,
        };
        RequestHead::made(method, self.target.clone(), headers)
    }

    /// The headers of the request that it is told.
    fn copied(&self, request: &RequestHead) -> HeaderMap {
        let mut copied = match &*self.options.request_headers {
            [] => request.headers.clone().into_map(),
            names => {
                let mut copied = HeaderMap::with_capacity(names.len() + 6);
                for name in names {
                    for value in request.headers.get_all(name) {
                        copied.append(name, value.clone());
                    }
                }
                copied
            }
        };
        let of_message: Vec<_> = copied.keys().filter(|name| is_ours(name)).cloned().collect();
        of_message.iter().for_each(|name| _ = copied.remove(name));
        copied
    }
}
