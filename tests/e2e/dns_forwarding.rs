//! Names that are not ours, from one Portolan to another.

use std::{net::SocketAddr, path::Path};

use http::Method;
use http_body_util::Full;

use crate::support::{Config, Portolan, eventually, request};

/// Knows a name, and answers within TLS and HTTPS too.
const UPSTREAM: &str = r#"
data-dir = "data"
[entrypoints.web]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[dns]
address = "127.0.0.1:0"
tls-address = "127.0.0.1:0"
https-address = "127.0.0.1:0"
upstreams = []
edge-addresses = ["127.0.0.1"]
[http.routers.resolver]
rule = "Host(`resolver.example.org`)"
middlewares = ["whoami"]
[http.middlewares.whoami.whoami]
[dns.zones."example.org"]
names = "static"
records = [
    { name = "shop", type = "A", data = "203.0.113.9", ttl = 600 },
    { name = "inside", type = "A", data = "10.0.0.9", ttl = 600 },
]
"#;

/// Of one thread: each has a memory of its own.
fn asking(upstream: &str, more: &str) -> String {
    format!(
        "data-dir = \"data\"\nthreads = 1\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [dns]\naddress = \"127.0.0.1:0\"\nupstreams = [\"{upstream}\"]\n{more}"
    )
}

#[tokio::test]
async fn upstreams_that_encrypt_are_asked_and_must_be_who_they_say() {
    let first = Config::exactly(UPSTREAM);
    let upstream = Portolan::start(&first);
    let authority = first.path("data/ca/ca.pem");
    let trusting: [(&str, &Path); 1] = [("SSL_CERT_FILE", &authority)];
    let tls = upstream.address("dns-over-tls");
    let https = upstream.address("dns-over-https");
    for (address, answered) in [
        (format!("tls://{tls}"), true),
        (format!("tls://{tls}#localhost"), true),
        (format!("https://{https}/dns-query"), true),
        (format!("tls://{tls}#somebody.else"), false),
        (format!("tls://resolver.example.org:{}", tls.port()), true),
        (format!("https://resolver.example.org:{}", https.port()), true),
    ] {
        let bootstrap = format!("bootstrap = [\"{}\"]\n", upstream.address("dns"));
        let second = Config::exactly(&asking(&address, &bootstrap));
        let portolan = Portolan::start_with(&second, &trusting);
        let reply = portolan.dns().a("shop.example.org.").await;
        assert_eq!(reply.is(&["203.0.113.9"]), answered, "{address}: {reply:?}");
    }
}

async fn flush(admin: SocketAddr, path: &str) {
    let client = crate::support::Client(admin);
    let post = request(Method::POST, &admin.to_string(), path).body(Full::default()).unwrap();
    assert_eq!(client.send(post).await.unwrap().status, 204);
}

#[tokio::test]
async fn what_is_remembered_is_forgotten_on_demand_and_what_leads_inside_is_not_believed() {
    let first = Config::exactly(UPSTREAM);
    let upstream = Portolan::start(&first);
    let address = upstream.address("dns").to_string();
    let second = Config::exactly(&asking(&address, "[dns.filter]\nrebind-protection = \"all\"\n"));
    let portolan = Portolan::start(&second);
    let resolver = portolan.dns();
    assert!(resolver.a("shop.example.org.").await.is(&["203.0.113.9"]));
    assert!(resolver.a("inside.example.org.").await.is(&[]));
    assert!(resolver.a("plain.").await.answers.is_empty());

    // The upstream knows better by now, but the old answer may be kept for ten minutes.
    first.replace(&UPSTREAM.replace("203.0.113.9", "203.0.113.10"));
    let asks = || upstream.dns().a("shop.example.org.");
    eventually(asks, |reply| reply.is(&["203.0.113.10"])).await;
    assert!(resolver.a("shop.example.org.").await.is(&["203.0.113.9"]));
    flush(portolan.address("admin"), "/api/dns/flush?name=example.org").await;
    assert!(resolver.a("shop.example.org.").await.is(&["203.0.113.10"]));
}

#[tokio::test]
async fn suffixes_lists_and_orders_are_those_of_the_configuration() {
    let first = Config::exactly(UPSTREAM);
    let upstream = Portolan::start(&first);
    let address = upstream.address("dns");
    let second = Config::exactly(&asking(
        "127.0.0.1:9",
        &format!(
            "[dns.forward]\n\"example.org\" = [\"{address}\"]\n\"lan\" = []\n\
             [dns.filter]\nblock-lists = [\"lists\"]\nblock-answer = \"zero\"\n\
             [dns.rewrite]\n\"old.test\" = \"shop.example.org\"\n\
             \"*.dev.test\" = \"*.example.org\"\n\"nas\" = \"192.0.2.7\"\n"
        ),
    ));
    std::fs::create_dir(second.path("lists")).unwrap();
    std::fs::write(second.path("lists/ads.txt"), "0.0.0.0 other.example.org\n").unwrap();
    let portolan = Portolan::start(&second);
    let resolver = portolan.dns();
    assert!(resolver.a("shop.example.org.").await.is(&["203.0.113.9"]));
    // Whoever is asked for a suffix is trusted with it.
    assert!(resolver.a("inside.example.org.").await.is(&["10.0.0.9"]));
    let absent = resolver.a("printer.lan.").await;
    assert_eq!(absent.code, hickory_proto::op::ResponseCode::NXDomain);
    for (asked, expected) in [
        ("old.test.", vec!["203.0.113.9", "shop.example.org."]),
        ("inside.dev.test.", vec!["10.0.0.9", "inside.example.org."]),
        ("nas.", vec!["192.0.2.7"]),
    ] {
        let reply = resolver.a(asked).await;
        assert_eq!(reply.answers, expected, "{asked}");
    }
    // Lists are read again when they change.
    std::fs::write(second.path("lists/ads.txt"), "shop.example.org\n").unwrap();
    eventually(|| resolver.a("shop.example.org."), |reply| reply.is(&["0.0.0.0"])).await;
}

/// Two that ask each other: each notices it, says so, and asks the other no more.
#[tokio::test]
async fn upstreams_that_ask_in_turn_are_noticed() {
    let first = Config::exactly(&asking("127.0.0.1:9", ""));
    let one = Portolan::start(&first);
    let second = Config::exactly(&asking(&one.address("dns").to_string(), ""));
    let other = Portolan::start(&second);
    first.replace(&asking(&other.address("dns").to_string(), ""));
    let told = |portolan: &Portolan| {
        let client = crate::support::Client(portolan.address("admin"));
        async move { client.get("127.0.0.1", "/api/problems").await.json().to_string() }
    };
    for portolan in [&one, &other] {
        eventually(|| told(portolan), |text| text.contains("asks Portolan in turn")).await;
        // It looks at once when its upstreams are others, and else each half minute.
        second.replace(&asking(&one.address("dns").to_string(), "mix-case = false\n"));
        let reply = portolan.dns().a("shop.example.org.").await;
        assert_eq!(reply.code, hickory_proto::op::ResponseCode::ServFail);
    }
}
