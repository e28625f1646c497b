//! Who is answered, and what a browser may do with the answer.
//!
//! **Invariant:** a page from elsewhere can read nothing here, and change nothing. There is no CORS header, and a name
//! that was made to point here (DNS rebinding) is refused. That needs a name of the attacker's own in
//! public DNS, which neither this machine's name is nor one of a single label (`traefik`, of Compose):
//! those are answered, as are IP addresses, `localhost`, names in our own zones and those of `[admin]
//! hosts`. `/ping` tells nothing, and is answered to anybody.

use std::{fs, net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State as Extract},
    http::{HeaderValue, StatusCode, Uri, header, uri::Authority},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::{Board, State, api::Refusal};

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
                && !is_ours(host, &state.admin.board.load(), machine_name) =>
        {
            let message = format!(
                "this API does not answer to `{host}`: add it to `hosts` of `[admin]`, or use an IP \
                 address, `localhost`, the name of the machine, a name without a dot or one in \
                 Portolan's zones; behind a router, give the service `pass-host-header = false`"
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

/// Whether nobody elsewhere can have made this name point here.
fn is_ours(host: &str, board: &Board, machine_name: impl FnOnce() -> String) -> bool {
    let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
    let name = bare.strip_suffix('.').unwrap_or(bare).to_ascii_lowercase();
    let is_in = |zone: &str| {
        let rest = name.strip_suffix(zone);
        rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
    };
    bare.parse::<IpAddr>().is_ok()
        || is_in("localhost")
        || is_label(&name)
        || board.admin_hosts.contains(&name)
        || board.zones.iter().any(|zone| is_in(zone))
        || !name.is_empty() && name.eq_ignore_ascii_case(machine_name().trim())
}

/// A name of one label: top-level domains have no addresses, so public DNS leads it nowhere.
fn is_label(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !name.is_empty() && name.bytes().all(plain)
}

/// As the system has it, which may change while we run; a line break stands behind it.
fn machine_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Board, is_ours};

    #[test]
    fn only_what_no_attacker_can_register_is_ours() {
        let board = Board {
            zones: vec!["infra.lan".to_owned()],
            admin_hosts: vec!["edge1.example.com".to_owned()],
            ..Board::empty()
        };
        let machine_name = || "Node7.dc.example.net\n".to_owned();
        for ours in [
            "127.0.0.1",
            "[::1]",
            "10.0.0.7",
            "localhost",
            "LOCALHOST",
            "a.infra.lan.",
            "INFRA.LAN",
            "traefik",
            "edge_proxy-1",
            "NAS.",
            "edge1.example.com",
            "Edge1.Example.com.",
            "node7.DC.example.net",
        ] {
            assert!(is_ours(ours, &board, machine_name), "{ours}");
        }
        for foreign in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "notinfra.lan",
            "a.edge1.example.com",
            "edge2.example.com",
            "x.node7.dc.example.net",
            "node7.dc.example",
            "traefik..",
            "?",
            "",
        ] {
            assert!(!is_ours(foreign, &board, machine_name), "{foreign}");
        }
        assert!(!is_ours("", &board, String::new), "a machine without a name");
    }
}
