//! Puts an explanation together.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header::HOST};
use portolan_core::{
    exchange::{Exchange, Headers, Peer, RequestHead},
    name::ObjectName,
    reason::Reason,
    router::Router,
    service::Service,
    snapshot::Snapshot,
    target::read_url,
};
use portolan_net::http::Preview;

use super::{
    Candidate, Explanation, Outcome, Place, Question, Step, does,
    handshake::Foreseen,
    hashed::Asker,
    middleware::runs_code,
    name::resolve,
    route::route,
    share::share,
    verdict::{Reach, Verdict, inwards, verdict},
};
use crate::{
    admin::{insight::Insight, left_out},
    control::board::{Board, EntrypointReport},
};

/// So many services and reasons are told of at most.
const MOST_LEFT_OUT: usize = 10;

/// Why a request goes where it goes; an error is one sentence on what is wrong with the question.
pub(crate) fn explain(
    question: &Question,
    snapshot: &Snapshot,
    board: &Board,
    insight: &dyn Insight,
) -> Result<Explanation, String> {
    let uri = parse_url(&question.url)?;
    let (mut exchange, preview) = exchange(question, &uri, board)?;
    let request = Question {
        method: exchange.request.method.to_string(),
        url: uri.to_string(),
        headers: question.headers.clone(),
        client: exchange.peer.address.ip().to_string(),
        entrypoint: (*exchange.entrypoint).to_owned(),
    };
    let host = exchange.request.host();
    let is_name = host.parse::<IpAddr>().is_err();
    let serves_names = board.entrypoints.iter().any(|it| it.protocol.starts_with("dns"));
    let dns = (is_name && serves_names)
        .then(|| resolve(host, snapshot, &insight.rewrites(), &insight.forwarding()));
    let place = board.entrypoints.iter().find(|it| it.name == exchange.entrypoint);
    let tls = place.filter(|_| exchange.peer.tls).and_then(|place| insight.tls(&place.name));
    let tls = tls.map(|context| Foreseen::of(context, &exchange));
    let ahead = before_routing(&exchange, &uri, place, tls.as_ref());
    let (router, candidates) = match ahead {
        None => route(&exchange, snapshot),
        // It comes before every router; or there is nobody whose routers they could be.
        Some(_) => (None, Vec::new()),
    };
    let ahead = ahead.or_else(|| redirected(place?, router.as_deref()));
    let (router, candidates) = match ahead {
        None => (router, candidates),
        Some(_) => (None, Vec::new()),
    };
    let router = router.as_deref();
    let mut left_out =
        left_out::about(snapshot, &services(router, &candidates, snapshot), host, router.is_some());
    left_out.truncate(MOST_LEFT_OUT);
    let other = || tls.as_ref()?.of_other_options(router?);
    preview.choose(&mut exchange.request.headers);
    let trust = place.map(|it| it.trust.clone()).unwrap_or_default();
    // Middlewares may change what proxies say.
    let ip = preview.client(&exchange.request.headers, &exchange.peer, &trust);
    let taken = router.map(|router| (router, inwards(router, &mut exchange)));
    let is_changed = matches!(&taken, Some((_, Reach::Through(code))) if !code.is_empty());
    let service = router.and_then(|router| router.service.as_deref());
    let asker = Asker { ip, is_changed };
    let service = service.map(|service| share(service, &exchange.request.headers, asker));
    let why = router.and_then(|it| it.service.as_deref()).and_then(|it| trouble(it, snapshot));
    let verdict = || verdict(taken, service.as_ref(), why.as_deref());
    let found = ahead.or_else(other).unwrap_or_else(verdict);
    let Verdict { sentence, reason } = match &tls {
        Some(tls) => tls.before(found),
        None => found,
    };
    Ok(Explanation {
        request,
        dns,
        entrypoint: place
            .map(|it| Place { name: (*it.name).to_owned(), address: it.address.to_string() }),
        tls: tls.map(|tls| tls.told),
        verdict: sentence,
        reason: reason.map(|reason| reason.as_str().to_owned()),
        candidates,
        router: router.map(|router| router.name.to_string()),
        middlewares: router.map(|it| steps(it, &exchange.entrypoint, snapshot)).unwrap_or_default(),
        service,
        left_out,
        generation: snapshot.generation,
    })
}

/// The services that a request may be for: that of its router, with all that it is made of, and those of
/// routers that are not asked.
fn services(
    router: Option<&Router>,
    candidates: &[Candidate],
    snapshot: &Snapshot,
) -> BTreeSet<String> {
    let is_meant = |it: &&Candidate| matches!(it.outcome, Outcome::Selected | Outcome::Skipped);
    let named = candidates.iter().filter(is_meant).filter_map(|it| {
        let (name, provider) = it.router.rsplit_once('@')?;
        snapshot.routers.get(&ObjectName::new(name, provider))?.service.as_deref()
    });
    let mut services: BTreeSet<String> = named.map(str::to_lowercase).collect();
    let mut open: Vec<&Service> = router.and_then(|it| it.service.as_deref()).into_iter().collect();
    while let Some(service) = open.pop() {
        services.insert(service.name.to_string().to_lowercase());
        open.extend(service.parts().into_iter().map(|part| &**part));
    }
    services
}

/// What is wrong with a service, as far as that is known without asking its backends.
fn trouble(service: &Service, snapshot: &Snapshot) -> Option<String> {
    let errors = &snapshot.services.get(&service.name)?.entry.errors;
    (!errors.is_empty()).then(|| errors.join("; "))
}

/// What becomes of a request before any router is asked.
fn before_routing(
    exchange: &Exchange,
    uri: &Uri,
    place: Option<&EntrypointReport>,
    tls: Option<&Foreseen>,
) -> Option<Verdict> {
    let Some(place) = place else {
        let scheme = uri.scheme_str().unwrap_or("http");
        return Some(Verdict::of(format!("nobody answers: no entrypoint serves {scheme}")));
    };
    if place.protocol == "https" && !exchange.peer.tls {
        let sentence = format!("400: entrypoint `{}` speaks TLS, and this is http", place.name);
        return Some(Verdict::because(Reason::PlainHttp, sentence));
    }
    if place.protocol == "http" && exchange.peer.tls {
        let name = &place.name;
        let sentence = format!("no request comes: entrypoint `{name}` speaks no TLS");
        return Some(Verdict::of(sentence));
    }
    if let Some(refused) = tls.and_then(Foreseen::refused) {
        return Some(refused);
    }
    if exchange.request.method == Method::CONNECT {
        let sentence = "501: CONNECT is not served".to_owned();
        return Some(Verdict::because(Reason::Connect, sentence));
    }
    if !place.encoded_characters.allow(exchange.request.uri().path()) {
        let sentence = format!(
            "400: the path has an encoded character that entrypoint `{}` refuses",
            place.name
        );
        return Some(Verdict::because(Reason::EncodedCharacter, sentence));
    }
    let redirects = || redirected(place, None).filter(|_| place.redirect_priority.is_none());
    tls.and_then(|tls| tls.of_other_host(exchange.request.host())).or_else(redirects)
}

/// What becomes of a request that an entrypoint sends elsewhere, before the router that would take it.
fn redirected(place: &EntrypointReport, router: Option<&Router>) -> Option<Verdict> {
    let target = place.redirect.as_deref()?;
    let is_ahead = |router: &Router| Some(router.priority) > place.redirect_priority;
    match router {
        Some(router) if place.redirect_priority.is_some() && is_ahead(router) => None,
        _ => Some(Verdict::of(format!("the entrypoint redirects it to {target}"))),
    }
}

/// The request as it would be after its head was read.
fn exchange(question: &Question, uri: &Uri, board: &Board) -> Result<(Exchange, Preview), String> {
    let method = question.method.to_ascii_uppercase();
    let method: Method =
        method.parse().map_err(|_error| format!("`{method}` is no HTTP method"))?;
    let client: IpAddr = match question.client.as_str() {
        "" => IpAddr::from([127, 0, 0, 1]),
        text => text.parse().map_err(|_error| format!("`{text}` is no IP address"))?,
    };
    let entrypoint = entrypoint(question, uri, board)?;
    let place = board.entrypoints.iter().find(|it| it.name == entrypoint);
    // Where the connection goes to is one thing, which host it then asks for another.
    let asked = uri.host().unwrap_or_default().trim_matches(['[', ']']).to_ascii_lowercase();
    let tls = uri.scheme_str() == Some("https");
    let sni = (tls && asked.parse::<IpAddr>().is_err()).then(|| asked.into());
    let peer = Peer { address: SocketAddr::new(client, 0), tls, sni };
    let mut headers = Headers::from(headers(&question.headers)?);
    if !headers.contains_key(HOST)
        && let Some(host) = uri.authority().and_then(|it| HeaderValue::from_str(it.as_str()).ok())
    {
        headers.insert(HOST, host);
    }
    let trust = place.map(|it| it.trust.clone()).unwrap_or_default();
    let preview = Preview::admit(&mut headers, &peer, &trust);
    let target = uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
    let mut request = RequestHead::parse(method, target, Version::HTTP_11, headers)
        .map_err(|error| format!("the request would be refused: {error}"))?;
    if place.is_some_and(|it| it.encodes_semicolons) {
        request.encode_query_semicolons();
    }
    let (response, router, attributes) = (None, None, Vec::new());
    Ok((Exchange { request, response, peer, entrypoint, router, attributes }, preview))
}

fn headers(lines: &[(String, String)]) -> Result<HeaderMap, String> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        let (Ok(key), Ok(line)) =
            (name.trim().parse::<HeaderName>(), HeaderValue::from_str(value.trim()))
        else {
            return Err(format!("`{name}: {value}` is no header line"));
        };
        headers.append(key, line);
    }
    Ok(headers)
}

/// A URL with a scheme that we serve and a host; `http://` may be left out.
fn parse_url(text: &str) -> Result<Uri, String> {
    let text = text.trim();
    match text.contains("://") {
        true => read_url(text),
        false => read_url(&format!("http://{text}")),
    }
}

/// The entrypoint that was named, else the one bound to the URL's port, else the first of its
/// scheme; without a name where there is none, which keeps nobody from asking for names.
fn entrypoint(question: &Question, uri: &Uri, board: &Board) -> Result<Arc<str>, String> {
    let scheme = uri.scheme_str().unwrap_or("http");
    let serving = || board.entrypoints.iter().filter(|it| matches!(it.protocol, "http" | "https"));
    if !question.entrypoint.is_empty() {
        let named = serving().find(|it| *it.name == *question.entrypoint);
        let missing = || format!("there is no HTTP entrypoint `{}`", question.entrypoint);
        return named.map(|it| it.name.clone()).ok_or_else(missing);
    }
    let mut fitting = serving().filter(|it| it.protocol == scheme);
    let first = fitting.clone().next();
    // Who says http may come to a port where TLS is spoken, which is worth telling.
    let by_port = |it: &&EntrypointReport| Some(it.address.port()) == uri.port_u16();
    let by_port = fitting.find(by_port).or_else(|| serving().find(by_port));
    Ok(by_port.or(first).map_or_else(|| "".into(), |it| it.name.clone()))
}

fn steps(router: &Router, entrypoint: &str, snapshot: &Snapshot) -> Vec<Step> {
    let entries = snapshot.middlewares.iter();
    let chains = entries.filter_map(|it| Some((&it.entry, it.chain.as_deref()?)));
    let used = chains.filter(|(entry, _)| entry.used_by.get(&router.name).is_some());
    let used: Vec<_> = used.collect();
    let step = |middleware: &Arc<portolan_core::middleware::Middleware>| Step {
        chains: used
            .iter()
            .filter(|(_, members)| members.iter().any(|it| it.is_same(middleware)))
            .map(|(entry, _)| entry.name.to_string())
            .collect(),
        middleware: middleware.name.to_string(),
        plugin: (*middleware.plugin).to_owned(),
        does: does(middleware),
        runs_code: runs_code(middleware),
    };
    let real = router.chain(entrypoint).iter().filter(|middleware| !middleware.is_closed_router());
    real.chain(router.retry(entrypoint)).map(step).collect()
}

#[cfg(test)]
mod tests {
    use super::parse_url;

    #[test]
    fn a_url_has_a_scheme_that_we_serve_and_a_host() {
        for (text, uri) in [
            ("http://a.local/x?y=1", "http://a.local/x?y=1"),
            ("a.local", "http://a.local/"),
            ("a.local:8000/x", "http://a.local:8000/x"),
            ("https://[::1]:8443", "https://[::1]:8443/"),
            ("http://a.local/a<b>`c`?\"#x", "http://a.local/a%3Cb%3E%60c%60?%22"),
        ] {
            assert_eq!(parse_url(text).map(|it| it.to_string()), Ok(uri.to_owned()), "{text}");
        }
        for bad in ["", "/x", "ftp://a", "http://", "http:///x", "http://u:p@a/", "http://a b/"] {
            assert!(parse_url(bad).is_err(), "{bad}");
        }
    }
}
