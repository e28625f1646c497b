//! `services.<name>`: backends, or other services, and how traffic is shared among them.

use super::{
    Flaw, KindSpec, MemberSpec, MirrorSpec, ServerSpec, ServiceSpec,
    options::{load_balancer, sticky},
    reader::{Keys, Reader},
};
use crate::{backend::Scheme, policy::LoadBalancer};

const SERVICE: Keys = Keys {
    known: &[
        "load-balancer",
        "weighted",
        "highest-random-weight",
        "mirroring",
        "failover",
        "middlewares",
    ],
    foreign: &[],
};
const SERVER: Keys = Keys { known: &["url", "weight", "preserve-path"], foreign: &[] };
/// Of an instance: what a tag may say of the server that the instance is.
const OWN_SERVER: Keys =
    Keys { known: &["url", "port", "scheme", "weight", "preserve-path"], foreign: &[] };
// `health-check` makes Traefik heed the health of the parts, which we always do.
const WEIGHTED: Keys = Keys { known: &["services", "sticky", "health-check"], foreign: &[] };
const MEMBER: Keys = Keys { known: &["name", "weight"], foreign: &[] };
const MIRRORING: Keys = Keys {
    known: &["service", "mirrors", "mirror-body", "max-body-size", "health-check"],
    foreign: &[],
};
const MIRROR: Keys = Keys { known: &["name", "percent"], foreign: &[] };
const FAILOVER: Keys =
    Keys { known: &["service", "fallback", "errors", "health-check"], foreign: &[] };
const ERRORS: Keys = Keys { known: &["status", "max-request-body-bytes"], foreign: &[] };

/// The most bytes of a body that are kept for a mirror or a fallback, unless it is said otherwise.
/// Traefik keeps any body in memory.
const MAX_BODY: u64 = 1 << 20;

pub(super) fn service(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> ServiceSpec {
    let mut service = ServiceSpec::default();
    let (mut first, mut is_closed) = (None, false);
    if reader.misspelt(&SERVICE).contains(&"middlewares") {
        let message = "the service lets nobody through, since what it says of who may pass cannot \
                       be read";
        reader.flaw(flaws, message.to_owned());
        is_closed = true;
    }
    for (key, value) in reader.fields(&SERVICE, flaws) {
        if key == "middlewares" {
            let message = "the service lets nobody through, since `middlewares` of services are \
                           not supported";
            let hint = "let its routers have them".to_owned();
            value.flaw_with(flaws, message.to_owned(), Some(hint));
            is_closed = true;
            continue;
        }
        if let Some(first) = first.replace(key) {
            let message = format!("a service is one kind, here are `{first}` and `{key}`");
            value.flaw(flaws, message);
            continue;
        }
        match key {
            "load-balancer" => load_balancer(&value, &mut service, flaws),
            "mirroring" => service.kind = mirroring(&value, flaws).unwrap_or_else(nobody),
            "failover" => service.kind = failover(&value, flaws).unwrap_or_else(nobody),
            _ => service.kind = weighted(&value, key != "weighted", flaws),
        }
    }
    if is_closed {
        let options = LoadBalancer { is_closed, ..LoadBalancer::default() };
        return ServiceSpec { options: options.into(), ..ServiceSpec::default() };
    }
    service
}

pub(super) fn servers(reader: &Reader<'_>, service: &mut ServiceSpec, flaws: &mut Vec<Flaw>) {
    for element in reader.elements(flaws) {
        let (mut url, mut weight, mut has_path) = (None, 1, false);
        for (key, value) in element.fields(&SERVER, flaws) {
            match key {
                "url" => url = Some(value),
                "preserve-path" => has_path = value.boolean(flaws).unwrap_or(false),
                _ => weight = value.integer(flaws, "a weight from 0 up").unwrap_or(1),
            }
        }
        match url {
            Some(url) => service.servers.extend(server(&url, weight, has_path, flaws)),
            None => element.flaw(flaws, "the server has no `url`".to_owned()),
        }
    }
}

/// `load-balancer.server`: Traefik's labels for the instance that carries them.
pub(super) fn own_server(reader: &Reader<'_>, service: &mut ServiceSpec, flaws: &mut Vec<Flaw>) {
    let (mut url, mut has_path) = (None, false);
    for (key, value) in reader.fields(&OWN_SERVER, flaws) {
        match key {
            "url" => url = Some(value),
            "preserve-path" => has_path = value.boolean(flaws).unwrap_or(false),
            "port" => service.port = value.integer(flaws, "a port from 1 to 65535"),
            "weight" => service.weight = value.integer(flaws, "a weight from 0 up"),
            _ => {
                let text = value.text(flaws);
                service.scheme = text.and_then(|text| scheme(&text, &value, flaws));
            }
        }
    }
    if let Some(url) = url {
        let weight = service.weight.unwrap_or(1);
        service.servers.extend(server(&url, weight, has_path, flaws));
    }
}

pub(super) fn scheme(text: &str, reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<Scheme> {
    let scheme = Scheme::parse(text);
    if scheme.is_none() {
        reader.flaw(flaws, format!("expected `http`, `https` or `h2c`, found `{text}`"));
    }
    scheme
}

/// `has_path`: the path of its URL goes before that of each request (Traefik's `preservePath`).
fn server(
    reader: &Reader<'_>,
    weight: u32,
    has_path: bool,
    flaws: &mut Vec<Flaw>,
) -> Option<ServerSpec> {
    let url = reader.text(flaws)?;
    let Some((scheme_text, rest)) = url.split_once("://") else {
        let hint = format!("write `http://{url}`");
        reader.flaw_with(flaws, format!("`{url}` is not a URL"), Some(hint));
        return None;
    };
    let scheme = scheme(scheme_text, reader, flaws)?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let path = base_path(path, has_path, reader, flaws)?;
    match backend_authority(authority, scheme) {
        Some(authority) => Some(ServerSpec { scheme, authority, path, weight }),
        None => {
            reader.flaw(flaws, format!("`{authority}` is not a host with a port"));
            None
        }
    }
}

/// What goes before the path of each request, without the slash at its end; `None`: it is no path.
fn base_path(
    text: &str,
    is_wanted: bool,
    reader: &Reader<'_>,
    flaws: &mut Vec<Flaw>,
) -> Option<Option<String>> {
    let (path, rest) = text.split_at(text.find(['?', '#']).unwrap_or(text.len()));
    if !rest.is_empty() {
        reader.doubt(flaws, format!("`{rest}` of the URL has no effect: requests have their own"));
    }
    let path = path.trim_end_matches('/');
    if path.is_empty() {
        return Some(None);
    }
    if !is_wanted {
        let message = format!("the path `{path}` of the URL has no effect");
        let hint = "`preserve-path = true` puts it before the path of each request".to_owned();
        reader.doubt_with(flaws, message, Some(hint));
        return Some(None);
    }
    if path.parse::<http::uri::PathAndQuery>().is_err() {
        reader.flaw(flaws, format!("`{path}` is not a path"));
        return None;
    }
    Some(Some(path.to_owned()))
}

/// Host and port, the scheme's own port filled in; `None` when it is not an authority.
fn backend_authority(authority: &str, scheme: Scheme) -> Option<String> {
    let parsed: http::uri::Authority = authority.parse().ok()?;
    if parsed.host().is_empty() || parsed.as_str().contains('@') {
        return None;
    }
    let written = parsed.as_str().len() > parsed.host().len();
    let port = match (written, scheme) {
        (true, _) => parsed.port_u16().filter(|port| *port > 0)?,
        (false, Scheme::Https) => 443,
        (false, Scheme::Http | Scheme::H2c) => 80,
    };
    Some(format!("{}:{port}", parsed.host()))
}

/// `weighted` and `highest-random-weight`.
fn weighted(reader: &Reader<'_>, by_client: bool, flaws: &mut Vec<Flaw>) -> KindSpec {
    let (mut members, mut cookie) = (Vec::new(), None);
    for (key, value) in reader.fields(&WEIGHTED, flaws) {
        match key {
            "services" => members = self::members(&value, flaws),
            "health-check" => (),
            _ if by_client => value.flaw(flaws, "there each client stays anyway".to_owned()),
            _ => cookie = sticky(&value, flaws),
        }
    }
    if members.is_empty() {
        reader.flaw(flaws, "the service is made of no services".to_owned());
    }
    KindSpec::Weighted { members, by_client, sticky: cookie }
}

/// Of what cannot be read: not a service of backends, which the instance would be one of.
fn nobody() -> KindSpec {
    KindSpec::Weighted { members: Vec::new(), by_client: false, sticky: None }
}

fn members(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Vec<MemberSpec> {
    let mut members = Vec::new();
    for element in reader.elements(flaws) {
        let (mut name, mut weight) = (None, 1);
        for (key, value) in element.fields(&MEMBER, flaws) {
            match key {
                "name" => name = value.text(flaws),
                _ => weight = value.integer(flaws, "a weight from 0 up").unwrap_or(1),
            }
        }
        match name {
            Some(name) => members.push(MemberSpec { name, weight }),
            None => element.flaw(flaws, "the service has no `name`".to_owned()),
        }
    }
    members
}

fn mirroring(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<KindSpec> {
    let (mut service, mut mirrors) = (None, Vec::new());
    let (mut mirror_body, mut max_body) = (true, MAX_BODY);
    for (key, value) in reader.fields(&MIRRORING, flaws) {
        match key {
            "service" => service = value.text(flaws),
            "mirrors" => mirrors = self::mirrors(&value, flaws),
            "mirror-body" => mirror_body = value.boolean(flaws).unwrap_or(true),
            "health-check" => (),
            _ => max_body = value.kept_bytes(flaws, MAX_BODY),
        }
    }
    if service.is_none() {
        reader.flaw(flaws, "the service has no `service` that answers".to_owned());
    }
    Some(KindSpec::Mirroring { service: service?, mirrors, mirror_body, max_body })
}

fn mirrors(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Vec<MirrorSpec> {
    let mut mirrors = Vec::new();
    for element in reader.elements(flaws) {
        let (mut name, mut percent) = (None, 0);
        for (key, value) in element.fields(&MIRROR, flaws) {
            match key {
                "name" => name = value.text(flaws),
                _ => percent = value.percent(flaws).unwrap_or(0),
            }
        }
        match name {
            Some(name) => mirrors.push(MirrorSpec { name, percent }),
            None => element.flaw(flaws, "the mirror has no `name`".to_owned()),
        }
    }
    mirrors
}

fn failover(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<KindSpec> {
    let (mut service, mut fallback) = (None, None);
    let (mut statuses, mut max_body) = (Default::default(), MAX_BODY);
    for (key, value) in reader.fields(&FAILOVER, flaws) {
        match key {
            "service" => service = value.text(flaws),
            "fallback" => fallback = value.text(flaws),
            "health-check" => (),
            _ => {
                for (key, value) in value.fields(&ERRORS, flaws) {
                    match key {
                        "status" => statuses = value.statuses(flaws),
                        _ => max_body = value.kept_bytes(flaws, MAX_BODY),
                    }
                }
            }
        }
    }
    for (name, of) in [("service", &service), ("fallback", &fallback)] {
        if of.is_none() {
            reader.flaw(flaws, format!("the service has no `{name}`"));
        }
    }
    Some(KindSpec::Failover { service: service?, fallback: fallback?, statuses, max_body })
}
