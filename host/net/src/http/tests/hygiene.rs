//! Whose word is taken, and who is not waited for.

use std::time::Duration;

use super::support::{Client, Portolan, Script, entrypoint, header, router, soon};
use http::uri::Scheme;
use portolan_core::{router::Router, test_util};

use crate::http::{
    ClientTimeouts, EntrypointConfig, HttpConfig, Limits, RedirectConfig, RedirectTarget, Trust,
};

/// A server behind proxies on this machine.
async fn behind(trust: Trust) -> (Portolan, Script) {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let web = EntrypointConfig { trust, ..entrypoint("web", None) };
    portolan.server.apply(vec![web]);
    (portolan, backend)
}

fn loopback() -> Vec<ipnet::IpNet> {
    vec!["127.0.0.0/8".parse().unwrap()]
}

#[tokio::test]
async fn a_trusted_proxy_is_added_to_and_a_change_of_trust_holds_for_the_next_connection() {
    let trust = Trust { forwarded_headers: loopback(), ..Trust::default() };
    let (portolan, _backend) = behind(trust).await;
    let ask = async || {
        let mut client = portolan.connect().await;
        let said = "X-Forwarded-For: 192.0.2.7\r\nX-Forwarded-Proto: https\r\nX-Real-Ip: 192.0.2.7";
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{said}\r\n\r\n")).await;
        let seen = client.response().await.body;
        ["x-forwarded-for", "x-forwarded-proto", "x-real-ip"]
            .map(|name| header(&seen, name).unwrap().to_owned())
    };
    assert_eq!(ask().await, ["192.0.2.7, 127.0.0.1", "https", "192.0.2.7"]);
    portolan.server.apply(vec![entrypoint("web", None)]);
    assert_eq!(ask().await, ["127.0.0.1", "http", "127.0.0.1"]);
}

#[tokio::test]
async fn the_scheme_is_told_by_other_names_and_what_is_of_the_connection_is_seen_where_that_is_asked_for()
 {
    let backend = Script::echo().await;
    let service = router("a.local", &[backend.address]).service;
    let seeing = test_util::router("r", "Host(`a.local`) && Header(`X-Hop`, `1`)");
    let portolan = Portolan::start(vec![Router { service, ..seeing }]);
    let ask = async |lines: &str| {
        let mut client = portolan.connect().await;
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{lines}\r\n")).await;
        let answer = client.response().await;
        let told = ["x-forwarded-scheme", "x-scheme", "x-hop"]
            .map(|name| header(&answer.body, name).unwrap_or("-").to_owned());
        (answer.status, told.join(" "))
    };
    let hop = "X-Hop: 1\r\nConnection: x-hop\r\nX-Scheme: forged\r\n";
    assert_eq!(ask("X-Hop: 1\r\n").await, (200, "- - 1".to_owned()));
    assert_eq!(ask(hop).await.0, 404);
    let connection = vec!["x-hop".parse().unwrap()];
    let trust = Trust { connection, tells_scheme: true, ..Trust::default() };
    let web = |trust: Trust| EntrypointConfig { trust, ..entrypoint("web", None) };
    portolan.server.apply(vec![web(trust.clone())]);
    assert_eq!(ask("X-Hop: 1\r\n").await, (200, "http http 1".to_owned()));
    assert_eq!(ask(hop).await, (200, "http http -".to_owned()));
    portolan.server.apply(vec![web(Trust { forwarded_headers: loopback(), ..trust })]);
    let https = format!("{hop}X-Forwarded-Proto: https\r\n");
    assert_eq!(ask(&https).await, (200, "https https -".to_owned()));
}

#[tokio::test]
async fn nobody_takes_back_what_proxies_said() {
    let trust = Trust { forwarded_headers: loopback(), ..Trust::default() };
    let (portolan, _backend) = behind(trust).await;
    let mut client = portolan.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.local\r\nX-Forwarded-For: 192.0.2.7\r\nX-Real-Ip: 192.0.2.7\r\n\
             X-Mine: 1\r\nConnection: x-forwarded-for, X-REAL-IP, host, x-mine\r\n\r\n",
        )
        .await;
    let seen = client.response().await.body;
    let told = |name| header(&seen, name);
    assert_eq!(told("x-forwarded-for"), Some("192.0.2.7, 127.0.0.1"));
    assert_eq!((told("x-real-ip"), told("host")), (Some("192.0.2.7"), Some("a.local")));
    assert_eq!(told("x-mine"), None, "its own it may");
}

/// The status for a request with these headers, where one router has this rule.
async fn status(rule: &str, trust: Trust, headers: &str) -> u16 {
    let backend = Script::echo().await;
    let service = router("a.local", &[backend.address]).service;
    let portolan = Portolan::start(vec![Router { service, ..test_util::router("r", rule) }]);
    portolan.server.apply(vec![EntrypointConfig { trust, ..entrypoint("web", None) }]);
    let mut client = portolan.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{headers}\r\n")).await;
    client.response().await.status
}

#[tokio::test]
async fn a_rule_sees_what_a_client_wants_to_change_to() {
    let asked = "Connection: keep-alive, upgrade\r\nUpgrade: websocket\r\n";
    for rule in ["Header(`Upgrade`, `websocket`)", "HeaderRegexp(`Connection`, `^Upgrade$`)"] {
        assert_eq!(status(rule, Trust::default(), asked).await, 200, "{rule}");
        assert_eq!(status(rule, Trust::default(), "Upgrade: websocket\r\n").await, 404, "{rule}");
        let unknown = "Connection: upgrade\r\nUpgrade: h2c\r\n";
        assert_eq!(status(rule, Trust::default(), unknown).await, 404, "{rule}");
    }
}

#[tokio::test]
async fn a_rule_sees_whom_trusted_proxies_speak_for_and_not_the_proxy() {
    let trust = Trust { forwarded_headers: loopback(), ..Trust::default() };
    let rule = "Header(`X-Forwarded-For`, `192.0.2.7`)";
    let asked = "X-Forwarded-For: 192.0.2.7\r\n";
    assert_eq!(status(rule, trust, asked).await, 200);
    assert_eq!(status(rule, Trust::default(), asked).await, 404);
    let anybody = "HeaderRegexp(`X-Forwarded-For`, `.`)";
    assert_eq!(status(anybody, Trust::default(), asked).await, 404);
}

#[tokio::test]
async fn only_a_websocket_is_told_as_one() {
    let (portolan, _backend) = behind(Trust::default()).await;
    for (protocol, expected) in [("websocket", "ws"), ("x, WebSocket", "ws"), ("x", "http")] {
        let mut client = portolan.connect().await;
        let asked = format!("Connection: upgrade\r\nUpgrade: {protocol}\r\n");
        client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{asked}\r\n")).await;
        let seen = client.response().await.body;
        assert_eq!(header(&seen, "x-forwarded-proto"), Some(expected), "{protocol}");
    }
}

/// A PROXY header of version 2 with these addresses.
fn binary(command: u8, family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x20 | command, family, 0, u8::try_from(addresses.len()).unwrap()]);
    header.extend_from_slice(addresses);
    header
}

#[tokio::test]
async fn the_proxy_protocol_says_who_the_client_is() {
    let trust = Trust { proxy_protocol: loopback(), ..Trust::default() };
    let (portolan, _backend) = behind(trust).await;
    let v4 = [192, 0, 2, 7, 10, 0, 0, 1, 0x1f, 0x90, 0, 80];
    let mut with_extension = v4.to_vec();
    with_extension.extend([0x04, 0, 1, 0]);
    for (sent, client) in [
        (b"PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n".to_vec(), "192.0.2.7"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 8080 80\r\n".to_vec(), "2001:db8::7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (binary(1, 0x11, &v4), "192.0.2.7"),
        (binary(1, 0x11, &with_extension), "192.0.2.7"),
        (binary(0, 0x00, &[]), "127.0.0.1"),
        // Whatever a proxy that speaks for itself says of a family.
        (binary(0, 0x99, &[1, 2, 3]), "127.0.0.1"),
    ] {
        let mut stream = Client::connect(portolan.address).await;
        tokio::io::AsyncWriteExt::write_all(&mut stream.stream, &sent).await.unwrap();
        stream.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        let seen = stream.response().await.body;
        assert_eq!(header(&seen, "x-forwarded-for"), Some(client));
    }
}

#[tokio::test]
async fn headers_are_of_whom_the_proxy_protocol_names() {
    // Who passes connections on does not look into them; trusted is whom it names.
    let trust = Trust {
        proxy_protocol: loopback(),
        forwarded_headers: vec!["127.0.0.0/8".parse().unwrap(), "198.51.100.1/32".parse().unwrap()],
        ..Trust::default()
    };
    let (portolan, _backend) = behind(trust).await;
    for (client, expected) in
        [("192.0.2.7", "192.0.2.7"), ("198.51.100.1", "6.6.6.6, 198.51.100.1")]
    {
        let mut stream = Client::connect(portolan.address).await;
        stream.send(&format!("PROXY TCP4 {client} 10.0.0.1 8080 80\r\n")).await;
        stream.send("GET / HTTP/1.1\r\nHost: a.local\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n").await;
        let seen = stream.response().await.body;
        assert_eq!(header(&seen, "x-forwarded-for"), Some(expected));
    }
}

#[tokio::test]
async fn who_names_no_host_is_not_redirected_to_none() {
    let to = RedirectTarget::Port(443);
    let redirect = RedirectConfig { to, scheme: Scheme::HTTPS, permanent: true, priority: None };
    let web = EntrypointConfig { redirect: Some(redirect), ..entrypoint("web", None) };
    let portolan = Portolan::start_at(HttpConfig::default(), web, Vec::new());
    for (request, status) in
        [("GET /x HTTP/1.0\r\n\r\n", 400), ("GET /x HTTP/1.0\r\nHost: a.local\r\n\r\n", 301)]
    {
        let mut client = portolan.connect().await;
        client.send(request).await;
        assert_eq!(client.response().await.status, status);
    }
}

#[tokio::test]
async fn a_proxy_header_is_demanded_of_those_who_send_it_and_of_nobody_else() {
    let trust = Trust { proxy_protocol: loopback(), ..Trust::default() };
    let (portolan, _backend) = behind(trust).await;
    for wrong in [
        "GET / HTTP/1.1\r\nHost: a.local\r\n\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 8080\r\n\r\n\r\n",
        "PROXY TCP4 999.0.2.7 10.0.0.1 8080 80\r\nGET / HTTP/1.1\r\n\r\n",
        "PROXY TCP4 192.0.2.7 10.0.0.1 8080 80                                                                      \r\n",
    ] {
        let mut client = portolan.connect().await;
        client.send(wrong).await;
        assert!(client.ends().await, "{wrong}");
    }
    portolan.server.apply(vec![entrypoint("web", None)]);
    let mut client = portolan.connect().await;
    client.send("PROXY TCP4 192.0.2.7 10.0.0.1 8080 80\r\n\r\n").await;
    assert_eq!(client.response().await.status, 400);
}

fn impatient() -> Limits {
    let short = Duration::from_secs(1);
    let timeouts =
        ClientTimeouts { request_stall: short, response_stall: short, ..ClientTimeouts::default() };
    Limits { timeouts, ..Limits::default() }
}

#[tokio::test]
async fn a_request_whose_body_does_not_come_is_given_up() {
    let backend = Script::echo().await;
    let routers = vec![router("a.local", &[backend.address])];
    let portolan = Portolan::limited(impatient(), routers);
    let mut client = portolan.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 9\r\n\r\nabc").await;
    let response = client.response().await;
    assert_eq!((response.status, header(&response.head, "connection")), (408, Some("close")));
    assert!(client.ends().await);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_given_up_and_so_is_its_backend() {
    let (backend, mut is_gone) = Script::endless().await;
    let routers = vec![router("a.local", &[backend.address])];
    let portolan = Portolan::limited(impatient(), routers);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    soon(is_gone.recv()).await.unwrap();
}

#[tokio::test]
async fn a_slow_backend_is_waited_for() {
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let wait = std::sync::Mutex::new(Some(wait));
    let backend = Script::start(move |mut client| {
        let wait = wait.lock().unwrap().take();
        async move {
            client.request().await;
            wait.unwrap().await.unwrap();
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let other = Script::echo().await;
    let routers = vec![router("a.local", &[backend.address]), router("b.local", &[other.address])];
    let portolan = Portolan::limited(impatient(), routers);
    let mut stalled = portolan.connect().await;
    let mut patient = portolan.connect().await;
    patient.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    stalled.send("POST / HTTP/1.1\r\nHost: b.local\r\nContent-Length: 9\r\n\r\n").await;
    // By then the patience for clients is over.
    assert_eq!(stalled.response().await.status, 408);
    go.send(()).unwrap();
    assert_eq!(patient.response().await.body, "ok");
}

#[tokio::test]
async fn interim_responses_reach_those_who_can_have_them() {
    let backend = Script::start(|mut client| async move {
        while client.request().await.is_some() {
            client.send("HTTP/1.1 100 Continue\r\n\r\n").await;
            client
                .send("HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nConnection: x\r\n\r\n")
                .await;
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    let hints = client.response().await;
    assert_eq!((hints.status, header(&hints.head, "link")), (103, Some("</a.css>")));
    assert_eq!(header(&hints.head, "connection"), None);
    assert_eq!(client.response().await.body, "ok");
    let mut old = portolan.connect().await;
    old.send("GET / HTTP/1.0\r\nHost: a.local\r\n\r\n").await;
    assert_eq!(old.response().await.status, 200);
}

#[tokio::test]
async fn the_next_request_is_found_behind_a_body_that_nobody_wanted() {
    let portolan = Portolan::start(Vec::new());
    let mut client = portolan.connect().await;
    let body = "Content-Length: 3\r\n\r\nabc";
    let request = format!("POST / HTTP/1.1\r\nHost: a.local\r\n{body}");
    client.send(&format!("{request}{request}")).await;
    assert_eq!([client.response().await.status, client.response().await.status], [404, 404]);
    // One that waits for leave, which it does not get, may send its body or not.
    client
        .send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        .await;
    let response = client.response().await;
    assert_eq!((response.status, header(&response.head, "connection")), (404, Some("close")));
}

#[tokio::test]
async fn leave_to_send_is_given_when_somebody_wants_the_body() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    let head =
        "POST / HTTP/1.1\r\nHost: a.local\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n";
    client.send(head).await;
    assert_eq!(client.until("\r\n\r\n").await.unwrap(), "HTTP/1.1 100 Continue\r\n\r\n");
    client.send("abc").await;
    assert_eq!(client.response().await.status, 200);
}

#[tokio::test]
async fn nothing_passes_by_the_rules_behind_an_upgrade() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut client = portolan.connect().await;
    client
        .send(
            "GET / HTTP/1.1\r\nHost: a.local\r\nConnection: Upgrade, HTTP2-Settings\r\n\
             Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n",
        )
        .await;
    let response = client.response().await;
    assert_eq!(response.status, 200);
    for gone in ["upgrade", "http2-settings", "connection"] {
        assert_eq!(header(&response.body, gone), None, "{gone}");
    }
}

#[tokio::test]
async fn a_byte_that_is_no_text_opens_no_way_by_the_rules() {
    // It changes to whatever it is offered.
    let backend = Script::start(|mut client| async move {
        while let Some(request) = client.request().await {
            let head = match header(&request.head, "upgrade") {
                Some(_) => {
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c"
                }
                None => "HTTP/1.1 200 OK\r\nContent-Length: 0",
            };
            client.send(&format!("{head}\r\n\r\n")).await;
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    for offer in [&b"h2c, \xff"[..], b"\xe9,h2c", b"h2c/1", b"\"h2c\"", b"HTTP/2.0"] {
        let mut client = portolan.connect().await;
        let begin = b"GET / HTTP/1.1\r\nHost: a.local\r\nConnection: Upgrade\r\nUpgrade: ";
        let request = [&begin[..], offer, b"\r\n\r\n"].concat();
        tokio::io::AsyncWriteExt::write_all(&mut client.stream, &request).await.unwrap();
        assert_eq!(client.response().await.status, 200, "{}", offer.escape_ascii());
    }
}

#[tokio::test]
async fn a_target_without_a_path_is_the_root_and_a_star_is_for_options() {
    let backend = Script::echo().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    for (head, expected) in [
        ("GET http://a.local?x=1 HTTP/1.1\r\nHost: a.local", "get /?x=1 http/1.1"),
        ("OPTIONS * HTTP/1.1\r\nHost: a.local", "options * http/1.1"),
    ] {
        let mut client = portolan.connect().await;
        client.send(&format!("{head}\r\n\r\n")).await;
        let response = client.response().await;
        assert!(response.body.starts_with(expected), "{head}: {response:?}");
    }
    for head in [
        "GET * HTTP/1.1\r\nHost: a.local",
        // RFC 9112, 3.2: whatever the target says.
        "GET http://a.local/ HTTP/1.1",
        "GET http://a.local/ HTTP/1.1\r\nHost: a.local\r\nHost: b.local",
        "GET http://a.local/ HTTP/1.1\r\nHost: a b",
    ] {
        let mut client = portolan.connect().await;
        client.send(&format!("{head}\r\n\r\n")).await;
        assert_eq!(client.response().await.status, 400, "{head}");
    }
}
