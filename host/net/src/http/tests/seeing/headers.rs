//! Headers of requests, as log and trace have them: those of whom we believe, and what we say.

use http::HeaderName;

use super::{
    super::{
        spans::attribute,
        support::{entrypoint, nobody},
    },
    *,
};
use crate::http::{EntrypointConfig, TraceConfig, Tracing, Trust, Value};

const FORGED: &str = "X-Forwarded-For: 192.0.2.1\r\nX-Real-Ip: 192.0.2.2\r\n\
                      X-Forwarded-Proto: wss\r\nX-Tenant: t\r\n";

fn told<'a>(line: &'a Json, header: &str) -> Option<&'a str> {
    line[format!("request_{header}")].as_str()
}

#[tokio::test]
async fn what_a_client_says_of_itself_is_not_told_and_what_we_say_is() {
    let log = Log::json();
    let wanted = ["x-forwarded-for", "x-real-ip", "x-tenant"].map(HeaderName::from_static);
    let config = TraceConfig { request_headers: wanted.into(), ..TraceConfig::default() };
    let (tracing, mut spans) = Tracing::new(config, 16);
    let mut config = log.config();
    config.ledger.tracing = Some(tracing);
    let portolan = Portolan::start_with(config, None, vec![router("a.local", &[nobody()])]);
    let mut client = portolan.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.local:81\r\n{FORGED}\r\n")).await;
    assert_eq!(client.response().await.status, 502);
    let spans_of_it = soon(spans.recv()).await.unwrap();
    let captured = |name| attribute(&spans_of_it[0], &format!("http.request.header.{name}"));
    let text = |text: &str| Value::Texts(vec![text.to_owned()]);
    assert_eq!(captured("x-forwarded-for"), None);
    assert_eq!(captured("x-real-ip"), Some(&text("127.0.0.1")));
    assert_eq!(captured("x-tenant"), Some(&text("t")));
    // One that is refused is told as it came.
    client.send(&format!("GET /%zz HTTP/1.1\r\nHost: a.local\r\n{FORGED}\r\n")).await;
    assert_eq!(client.response().await.status, 400);
    let spans_of_it = soon(spans.recv()).await.unwrap();
    let captured = attribute(&spans_of_it[0], "http.request.header.x-forwarded-for");
    assert_eq!(captured, Some(&text("192.0.2.1")));
    let lines = log.lines(portolan).await;
    let [admitted, refused] = &lines[..] else { panic!("{lines:?}") };
    for (header, value) in [
        ("X-Forwarded-For", None),
        ("X-Real-Ip", Some("127.0.0.1")),
        ("X-Forwarded-Proto", Some("http")),
        ("X-Forwarded-Host", Some("a.local:81")),
        ("X-Forwarded-Port", Some("81")),
        ("X-Tenant", Some("t")),
    ] {
        assert_eq!(told(admitted, header), value, "{header}");
    }
    assert!(told(admitted, "X-Forwarded-Server").is_some());
    for (header, value) in [
        ("X-Forwarded-For", Some("192.0.2.1")),
        ("X-Real-Ip", Some("192.0.2.2")),
        ("X-Forwarded-Host", None),
        ("X-Tenant", Some("t")),
    ] {
        assert_eq!(told(refused, header), value, "{header}");
    }
}

#[tokio::test]
async fn what_a_trusted_proxy_says_is_told_as_it_came() {
    let log = Log::json();
    let trust =
        Trust { forwarded_headers: vec!["127.0.0.0/8".parse().unwrap()], ..Trust::default() };
    let web = EntrypointConfig { trust, ..entrypoint("web", None) };
    let routers = vec![router("a.local", &[nobody()])];
    let portolan = Portolan::start_at(log.config(), web, routers);
    let mut client = portolan.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{FORGED}\r\n")).await;
    assert_eq!(client.response().await.status, 502);
    let lines = log.lines(portolan).await;
    for (header, value) in [
        ("X-Forwarded-For", "192.0.2.1"),
        ("X-Real-Ip", "192.0.2.2"),
        ("X-Forwarded-Proto", "wss"),
        ("X-Forwarded-Host", "a.local"),
    ] {
        assert_eq!(told(&lines[0], header), Some(value), "{header}");
    }
}
