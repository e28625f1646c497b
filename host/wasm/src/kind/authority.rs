//! Servers that decide whether requests may pass, as guests describe them.

use std::sync::Arc;

use http::{HeaderName, HeaderValue};
use portolan_core::{
    forward_auth::{ForwardAuth, Options},
    middleware::Action,
    policy::PemTexts,
};

use crate::bindings::middleware_interest as wit;

/// The action that asks such a server, or what is wrong with it.
pub(super) fn authority(it: wit::ForwardAuth) -> Result<Action, String> {
    let texts = PemTexts {
        authorities: it.tls_authorities.map(Arc::from),
        certificate: it.tls_certificate.map(|(certificate, key)| (certificate.into(), key.into())),
    };
    let options =
        Options {
            address: it.address,
            texts,
            insecure_skip_verify: it.insecure_skip_verify,
            trust_forward_header: it.trust_forward_header,
            response_headers: names(&it.response_headers)?,
            response_headers_regex: it.response_headers_regex,
            request_headers: names(&it.request_headers)?,
            cookies: it.cookies,
            body: it.max_body,
            max_answer: it.max_answer,
            user: it.user_header.as_deref().map(name).transpose()?,
            preserve_location: it.preserve_location,
            preserve_method: it.preserve_method,
            sign_in: it.sign_in.map(HeaderValue::try_from).transpose().map_err(|_invalid| {
                "the place to sign in is not the value of a header".to_owned()
            })?,
        };
    ForwardAuth::new(options).map(|authority| Action::ForwardAuth(Arc::new(authority)))
}

fn names(names: &[String]) -> Result<Vec<HeaderName>, String> {
    names.iter().map(String::as_str).map(name).collect()
}

/// Also one that nobody may set: it only has no effect.
fn name(name: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(name.as_bytes())
        .map_err(|_invalid| format!("`{}` is not the name of a header", name.escape_debug()))
}
