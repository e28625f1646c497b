//! Headers that speak of the connection and not of the message (RFC 9110, 7.6.1), and those that
//! only a proxy may say.
//!
//! **Invariant:** nothing passes from one connection to the next that was said of the first.

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{
        CONNECTION, CONTENT_LENGTH, EXPECT, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
        TRANSFER_ENCODING, UPGRADE,
    },
};
use portolan_core::exchange::Headers;

use crate::h1::{CDN_LOOP, OURSELVES};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// What the headers of a request said about its connection.
#[derive(Debug, Default, Eq, PartialEq)]
pub(crate) struct Hop {
    /// The protocol that the client wants to change to.
    pub(crate) upgrade: Option<HeaderValue>,
    /// Whether the client takes trailers.
    trailers: bool,
    /// How often the request has been here, or at others of us.
    pub(crate) visits: usize,
    /// Who has passed the request on, with ourselves behind; absent: nobody before us.
    passed: Option<HeaderValue>,
    /// What `Connection` names and rules and middlewares see all the same; mostly nothing.
    seen: Vec<HeaderName>,
    /// What the client knows itself by to a proxy. It is not for the backend.
    credentials: Option<HeaderValue>,
}

impl Hop {
    /// Whether the client wants a WebSocket, and not another protocol.
    pub(crate) fn is_websocket(&self) -> bool {
        self.upgrade.as_ref().is_some_and(|protocol| has_token(protocol, "websocket"))
    }
}

/// What is found in one pass over the names, so that a request that has nothing to remove costs
/// no look-ups.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Message,
    /// `Connection` itself.
    Connection,
    /// Speaks of the connection.
    Hop,
    /// What we say ourselves, or what only a proxy may say.
    Forged,
    /// Answered by us.
    Expect,
    /// Says who has passed it on.
    Loop,
}

/// Removes what is not for the backend, and answers what of it matters. What only a proxy may
/// say stays where the peer is one that `is_trusted`. Of what `Connection` names, what `is_seen` stays
/// until [`hide_seen`].
pub(crate) fn clean_request(
    headers: &mut Headers,
    is_trusted: bool,
    is_seen: impl Fn(&HeaderName) -> bool,
) -> Hop {
    if headers.lines().is_some() {
        // Those that say such things are not left as lines.
        return Hop::default();
    }
    let (mut connection, mut hop, mut forged, mut expect) = (false, false, false, false);
    let mut passed = false;
    for name in headers.keys() {
        match kind(name) {
            Kind::Message => {}
            Kind::Connection => connection = true,
            Kind::Hop => hop = true,
            Kind::Forged => forged = true,
            Kind::Expect => expect = true,
            Kind::Loop => passed = true,
        }
    }
    let mut found = Hop::default();
    if hop {
        found.credentials = headers.get(PROXY_AUTHORIZATION).cloned();
        found.trailers = headers.get_all(TE).iter().any(|line| has_token(line, "trailers"));
    }
    if passed {
        note_passage(headers, &mut found);
    }
    if connection {
        let upgrade = remove_named(headers, |name| {
            let is_seen = is_seen(&name);
            if is_seen {
                found.seen.push(name);
            }
            is_seen
        });
        found.upgrade = headers.remove(UPGRADE).filter(|it| upgrade && is_for_others(it));
    }
    if hop {
        remove_hop(headers);
    }
    if expect {
        // The server side says `100 Continue` when the body is first asked for.
        headers.remove(EXPECT);
    }
    if forged && !is_trusted {
        remove_forged(headers);
    }
    found
}

/// Whether blanks stand around a value, which makes a message of HTTP/2 malformed (RFC 9113, 8.2.1). Over HTTP/1
/// they are of the line and gone when it is read.
pub(crate) fn is_padded(value: &HeaderValue) -> bool {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let value = value.as_bytes();
    value.first().is_some_and(is_blank) || value.last().is_some_and(is_blank)
}

/// Takes out who has passed a request on, and adds ourselves. What a client invents there costs its own
/// request at most.
fn note_passage(headers: &mut HeaderMap, found: &mut Hop) {
    let mut passed = Vec::new();
    for line in headers.get_all(CDN_LOOP) {
        // What stands behind a semicolon are parameters.
        let names = line
            .as_bytes()
            .split(|byte| *byte == b',')
            .map(|word| word.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii());
        found.visits += names.filter(|name| *name == OURSELVES.as_bytes()).count();
        passed.extend_from_slice(line.as_bytes());
        passed.extend_from_slice(b", ");
    }
    passed.extend_from_slice(OURSELVES.as_bytes());
    headers.remove(CDN_LOOP);
    // Valid lines joined by valid bytes are valid.
    found.passed = HeaderValue::from_maybe_shared(bytes::Bytes::from(passed)).ok();
}

/// Removes what is not for the client.
pub(crate) fn clean_response(status: StatusCode, headers: &mut HeaderMap) {
    let (mut connection, mut hop) = (false, false);
    for name in headers.keys() {
        match kind(name) {
            Kind::Connection => connection = true,
            Kind::Hop => hop = true,
            Kind::Message | Kind::Forged | Kind::Expect | Kind::Loop => {}
        }
    }
    // What the backend changes to is for the client to know.
    let upgrade = (status == StatusCode::SWITCHING_PROTOCOLS).then(|| headers.remove(UPGRADE));
    if connection {
        remove_named(headers, |_name| false);
    }
    if hop {
        remove_hop(headers);
    }
    if let Some(protocol) = upgrade.flatten() {
        agree(headers, protocol);
    }
}

/// Whether a backend changes to nothing but what it was offered (RFC 9110, 7.8): what the client takes for
/// another protocol it would take for an answer.
pub(crate) fn is_offered(offer: &HeaderMap, answer: &HeaderMap) -> bool {
    let (Some(offer), Some(answer)) = (offer.get(UPGRADE), answer.get(UPGRADE)) else {
        return false;
    };
    let is_one = |protocol: &[u8]| words(offer).any(|one| one.eq_ignore_ascii_case(protocol));
    let mut chosen = words(answer).filter(|protocol| !protocol.is_empty()).peekable();
    chosen.peek().is_some() && chosen.all(is_one)
}

/// Makes the headers of a request those of a question to whoever decides whether it may pass, and answers
/// what that is told of our own connection. It decides for us, so it may know what the client says to a
/// proxy (RFC 9110, 11.7.2).
pub(crate) fn ask(headers: &mut Headers, hop: &Hop) -> Hop {
    hide_seen(headers, hop);
    if let Some(credentials) = &hop.credentials {
        headers.set(&PROXY_AUTHORIZATION, credentials);
    }
    Hop { visits: hop.visits, passed: hop.passed.clone(), ..Hop::default() }
}

/// Adds the headers of our own connection to the backend.
pub(crate) fn connect(headers: &mut HeaderMap, hop: Hop) {
    if let Some(passed) = hop.passed {
        headers.insert(CDN_LOOP, passed);
    }
    if hop.trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    if let Some(protocol) = hop.upgrade {
        agree(headers, protocol);
    }
}

fn agree(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// Rules see what a client wants to change to, as Traefik writes it: ``Header(`Upgrade`, `websocket`)``.
pub(crate) fn show_upgrade(headers: &mut Headers, hop: &Hop) {
    let Some(protocol) = &hop.upgrade else { return };
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, protocol.clone());
}

/// Middlewares do not: it is no header of the message.
pub(crate) fn hide_upgrade(headers: &mut Headers, hop: &Hop) {
    if hop.upgrade.is_some() {
        headers.remove(CONNECTION);
        headers.remove(UPGRADE);
    }
}

/// Removes what rules and middlewares saw, though `Connection` names it: it is not for the backend.
pub(crate) fn hide_seen(headers: &mut Headers, hop: &Hop) {
    for name in &hop.seen {
        headers.take_out(name);
    }
}

fn kind(name: &HeaderName) -> Kind {
    match name.as_str() {
        "connection" => Kind::Connection,
        "keep-alive"
        | "proxy-connection"
        | "te"
        | "transfer-encoding"
        | "upgrade"
        | "proxy-authenticate"
        | "proxy-authorization" => Kind::Hop,
        "expect" => Kind::Expect,
        "cdn-loop" => Kind::Loop,
        name if name.starts_with('x') && is_forged(name) => Kind::Forged,
        _ => Kind::Message,
    }
}

/// Traefik's list, with the underscore spellings that some backends take for the same. Most that
/// [`super::forwarded`] writes over are not in it.
fn is_forged(name: &str) -> bool {
    const HYPHENS: [&str; 8] = [
        "x-forwarded-for",
        "x-forwarded-method",
        "x-forwarded-prefix",
        "x-forwarded-scheme",
        "x-forwarded-tls-client-cert",
        "x-forwarded-tls-client-cert-info",
        "x-forwarded-uri",
        "x-scheme",
    ];
    if !name.contains('_') {
        return HYPHENS.contains(&name);
    }
    // Whichever of them it is: to some backends they are one.
    let plain = name.replace('_', "-");
    plain.starts_with("x-forwarded-") || HYPHENS.contains(&&*plain) || plain == "x-real-ip"
}

/// Removes `Connection` and what it names, but for what somebody `keeps`; answers whether it names
/// `upgrade`.
fn remove_named(headers: &mut HeaderMap, mut keeps: impl FnMut(HeaderName) -> bool) -> bool {
    let mut upgrade = false;
    let mut lines = headers.get_all(CONNECTION).iter();
    if let (Some(line), None) = (lines.next(), lines.next())
        && names_nothing(line.as_bytes())
    {
        headers.remove(CONNECTION);
        return false;
    }
    let http::header::Entry::Occupied(lines) = headers.entry(CONNECTION) else { return false };
    let lines: Vec<HeaderValue> = lines.remove_entry_mult().1.collect();
    for token in lines.iter().flat_map(words) {
        match token {
            // Common, and nothing to look for.
            b"keep-alive" | b"close" | b"" => {}
            _ if token.eq_ignore_ascii_case(b"upgrade") => upgrade = true,
            // Without it the request would go astray.
            _ if token.eq_ignore_ascii_case(b"host") => {}
            // What proxies say of each other is not the client's to take back.
            _ if is_said_by_proxies(token) => {}
            _ => {
                if let Ok(name) = HeaderName::from_bytes(token)
                    && !keeps(name.clone())
                {
                    headers.remove(name);
                }
            }
        }
    }
    upgrade
}

/// Nearly all lines of `Connection` are one of these, whole.
fn names_nothing(line: &[u8]) -> bool {
    line.eq_ignore_ascii_case(b"keep-alive") || line.eq_ignore_ascii_case(b"close")
}

fn is_said_by_proxies(name: &[u8]) -> bool {
    let is_forwarded = name.get(..12).is_some_and(|it| it.eq_ignore_ascii_case(b"x-forwarded-"));
    is_forwarded || name.eq_ignore_ascii_case(b"x-real-ip")
}

/// Whether protocols that a client offers are well formed (RFC 9110, 7.8), and none of them is HTTP: behind
/// it requests would pass by that no rule and no middleware sees (RFC 9113, 3.1). What is not well formed
/// may be read otherwise by a backend.
fn is_for_others(protocols: &HeaderValue) -> bool {
    let is_other = |protocol: &[u8]| {
        let mut parts = protocol.splitn(2, |byte| *byte == b'/');
        let name = parts.next().unwrap_or_default();
        let is_http = name.eq_ignore_ascii_case(b"h2c") || name.eq_ignore_ascii_case(b"http");
        !is_http && is_token(name) && parts.next().is_none_or(is_token)
    };
    let mut protocols = words(protocols).filter(|protocol| !protocol.is_empty()).peekable();
    protocols.peek().is_some() && protocols.all(is_other)
}

fn remove_hop(headers: &mut HeaderMap) {
    for name in [KEEP_ALIVE, PROXY_CONNECTION, TE, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION]
    {
        headers.remove(name);
    }
    if headers.remove(TRANSFER_ENCODING).is_some() {
        // It overrides a length, which is not to be sent on (RFC 9112, 6.3).
        headers.remove(CONTENT_LENGTH);
    }
}

fn remove_forged(headers: &mut HeaderMap) {
    let forged: Vec<_> =
        headers.keys().filter(|name| kind(name) == Kind::Forged).cloned().collect();
    for name in forged {
        headers.remove(name);
    }
}

fn has_token(line: &HeaderValue, wanted: &str) -> bool {
    words(line).any(|token| token.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// The elements of a list. They need not be text: one that is not must not hide the others.
fn words(line: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    line.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

/// Whether a word has only the characters of a token (RFC 9110, 5.6.2).
fn is_token(word: &[u8]) -> bool {
    let is_allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !word.is_empty() && word.iter().all(is_allowed)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A map of these lines.
    pub(in crate::http) fn map(lines: &[(&str, &str)]) -> Headers {
        let mut headers = Headers::default();
        for (name, value) in lines {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[track_caller]
    fn kept(lines: &[(&str, &str)], expected: &[&str]) -> Hop {
        let mut headers = map(lines);
        let hop = clean_request(&mut headers, false, |_name| false);
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, expected);
        hop
    }

    #[test]
    fn what_speaks_of_the_connection_goes() {
        kept(&[("host", "a"), ("accept", "*/*")], &["accept", "host"]);
        kept(
            &[("host", "a"), ("connection", "close, x-a, X-B"), ("x-a", "1"), ("x-b", "2")],
            &["host"],
        );
        kept(&[("connection", "host"), ("host", "a")], &["host"]);
        kept(&[("connection", "close"), ("connection", ",, x-a"), ("x-a", "1")], &[]);
        kept(&[("keep-alive", "5"), ("proxy-connection", "x"), ("proxy-authorization", "x")], &[]);
        kept(&[("transfer-encoding", "chunked"), ("trailer", "x-sum")], &["trailer"]);
        kept(&[("transfer-encoding", "chunked"), ("content-length", "3")], &[]);
        kept(&[("expect", "100-continue"), ("content-length", "3")], &["content-length"]);
    }

    #[test]
    fn what_is_to_be_seen_stays_until_it_is_hidden() {
        let lines =
            [("connection", "X-Hop, te, x-b, upgrade"), ("x-hop", "1"), ("x-b", "2"), ("te", "x")];
        let mut headers = map(&lines);
        let hop = clean_request(&mut headers, false, |name| *name == "x-hop" || *name == TE);
        assert_eq!(headers.keys().collect::<Vec<_>>(), ["x-hop"]);
        hide_seen(&mut headers, &hop);
        assert!(headers.is_empty());
    }

    #[test]
    fn what_only_a_proxy_may_say_goes() {
        kept(
            &[
                ("x-forwarded-prefix", "/a"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x_forwarded_for", "1.1.1.1"),
                ("x-forwarded_for", "1.1.1.1"),
                ("x-scheme", "https"),
                ("x-forwarded-tls_client-cert", "x"),
                ("x_real-ip", "1.1.1.1"),
                ("x-forwarded-user", "me"),
                ("forwarded", "for=1.1.1.1"),
            ],
            &["forwarded", "x-forwarded-user"],
        );
    }

    #[test]
    fn an_upgrade_needs_both_headers() {
        let hop = kept(&[("connection", "Upgrade"), ("upgrade", "websocket")], &[]);
        assert!(hop.is_websocket());
        let mut headers = Headers::default();
        show_upgrade(&mut headers, &hop);
        assert_eq!(
            (&headers[CONNECTION], &headers[UPGRADE]),
            (&"Upgrade".parse().unwrap(), hop.upgrade.as_ref().unwrap())
        );
        hide_upgrade(&mut headers, &hop);
        assert!(headers.is_empty());
        let hop = kept(&[("connection", "upgrade"), ("upgrade", "tls/1.3, foo")], &[]);
        assert!(hop.upgrade.is_some() && !hop.is_websocket());
        assert_eq!(kept(&[("upgrade", "websocket")], &[]), Hop::default());
        assert_eq!(kept(&[("connection", "upgrade")], &[]), Hop::default());
        assert_eq!(kept(&[("connection", "x"), ("upgrade", "websocket")], &[]), Hop::default());
    }

    #[test]
    fn a_word_that_is_no_text_hides_none_of_the_others() {
        kept(&[("connection", "x-a, \u{e9}"), ("x-a", "1")], &[]);
        kept(&[("connection", "\u{e9}, upgrade, http2-settings"), ("http2-settings", "x")], &[]);
        let hop = kept(&[("te", "trailers, \u{e9}")], &[]);
        assert!(hop.trailers);
    }

    #[test]
    fn no_spelling_of_http_is_offered_to_a_backend() {
        let passes = |protocol: &str| {
            let hop = kept(&[("connection", "upgrade"), ("upgrade", protocol)], &[]);
            hop.upgrade.is_some()
        };
        for refused in [
            "h2c",
            "H2C",
            "websocket, h2c",
            "h2c, \u{e9}",
            "\u{e9}, h2c",
            "h2c/1",
            "\"h2c\"",
            "HTTP/2.0",
            "h2c;q=1",
            "h2c x",
            "websocket/",
            "",
            ", ,",
        ] {
            assert!(!passes(refused), "{refused}");
        }
        for passed in ["websocket", "WebSocket", "tls/1.3, foo", ", websocket,", "h2"] {
            assert!(passes(passed), "{passed}");
        }
    }

    #[test]
    fn trailers_are_announced_to_the_backend_when_the_client_takes_them() {
        let hop = kept(&[("te", "gzip, trailers"), ("connection", "te")], &[]);
        let mut headers = HeaderMap::new();
        connect(&mut headers, hop);
        assert_eq!(headers[TE], "trailers");
    }
}
