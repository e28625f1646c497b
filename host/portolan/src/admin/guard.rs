//! Who is answered, and what a browser may do with the answer.
//!
//! **Invariant:** a page from elsewhere can read nothing here, and change nothing. There is no CORS header, and a name
//! that was made to point here (DNS rebinding) is refused: only IP addresses, `localhost` and
//! names in our own zones are answered. `/ping` tells nothing, and is answered to anybody.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State as Extract},
    http::{HeaderValue, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{State, api::Refusal};

/// No script, style or connection but our own; no frame; no form.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    connect-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; \
    frame-ancestors 'none'";

/// Stands in front of every handler.
pub(super) async fn guard(
    Extract(state): Extract<Arc<State>>,
    request: Request,
    next: Next,
) -> Response {
    let authority = authority(&request);
    let mut response = match authority {
        Some(ref host)
            if request.uri().path() != "/ping"
                && !is_ours(host, &state.admin.board.load().zones) =>
        {
            let message = format!(
                "this API does not answer to `{host}`: use its IP address, `localhost` or a name in \
                 one of Portolan's zones; behind a router, give the service `pass-host-header = false`"
            );
            Refusal::new(StatusCode::MISDIRECTED_REQUEST, message).into_response()
        }
        _ if !request.method().is_safe() && is_of_another_page(&request) => {
            let message = "a page from elsewhere may change nothing here";
            Refusal::new(StatusCode::FORBIDDEN, message).into_response()
        }
        // Without a host it is not a browser (HTTP/1.0).
        _ => next.run(request).await,
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Browsers say whose page it is that changes something (Fetch, 3.2: with every method but GET and
/// HEAD); other clients say nothing. Another port is another page.
fn is_of_another_page(request: &Request) -> bool {
    let headers = request.headers();
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let origin = origin.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
    let origin = origin.as_ref().and_then(Uri::authority).map(Authority::as_str);
    let of_target = request.uri().authority().map(Authority::as_str);
    let host = of_target.or_else(|| headers.get(header::HOST)?.to_str().ok());
    !origin.zip(host).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

/// The host that the client asked for: of the target when it has one, else of the header.
fn authority(request: &Request) -> Option<String> {
    let of_target = request.uri().host().map(str::to_owned);
    of_target.or_else(|| {
        let value = request.headers().get(header::HOST)?;
        // A value that is no host at all is refused like a foreign one.
        let uri = value.to_str().ok().and_then(|text| text.parse::<Uri>().ok());
        Some(uri.as_ref().and_then(Uri::host).unwrap_or("?").to_owned())
    })
}

fn is_ours(host: &str, zones: &[String]) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    let is_in = |zone: &str| {
        let rest = name.strip_suffix(zone);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    bare.parse::<IpAddr>().is_ok() || is_in("localhost") || zones.iter().any(|zone| is_in(zone))
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn only_addresses_and_names_in_our_zones_are_ours() {
        let zones = ["infra.lan".to_owned()];
        for ours in [
            "127.0.0.1",
            "[::1]",
            "10.0.0.7",
            "localhost",
            "LOCALHOST",
            "a.infra.lan.",
            "INFRA.LAN",
        ] {
            assert!(is_ours(ours, &zones), "{ours}");
        }
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notinfra.lan",
            "?",
            "",
        ] {
            assert!(!is_ours(foreign, &zones), "{foreign}");
        }
    }
}
