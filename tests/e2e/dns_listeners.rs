//! Where DNS is spoken: over UDP, TCP, TLS and HTTPS, on addresses that are there and that come.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hickory_proto::rr::RecordType;

use crate::{
    support::{Config, Portolan, Resolver, encrypted, eventually, question, reply, run},
    tls::authority,
};

const ENCRYPTED: &str = r#"
data-dir = "data"
[entrypoints.web]
address = "127.0.0.1:0"
[admin]
address = "127.0.0.1:0"
[dns]
address = ["127.0.0.1:0"]
tls-address = "127.0.0.1:0"
https-address = "127.0.0.1:0"
upstreams = []
edge-addresses = ["127.0.0.9"]
[http.routers.r]
rule = "Host(`shop.example.org`)"
middlewares = ["whoami"]
[http.middlewares.whoami.whoami]
"#;

#[tokio::test]
async fn questions_within_tls_are_answered() {
    let config = Config::exactly(ENCRYPTED);
    let portolan = Portolan::start(&config);
    let server = portolan.address("dns-over-tls");
    // By the address, as a resolver is configured, and by a name that a router has.
    for name in ["127.0.0.1", "shop.example.org"] {
        let stream = encrypted(server, &authority(&config), name, None).await.unwrap();
        let reply = Resolver::ask_stream(stream, "shop.example.org.", RecordType::A).await;
        assert!(reply.is(&["127.0.0.9"]), "{reply:?}");
    }
}

#[tokio::test]
async fn questions_within_https_are_answered() {
    let config = Config::exactly(ENCRYPTED);
    let portolan = Portolan::start(&config);
    let client = portolan.dns_over_https();
    let roots = authority(&config);
    let asked = URL_SAFE_NO_PAD.encode(question("shop.example.org.", RecordType::A));
    let path = format!("/dns-query?dns={asked}");
    let answer = client.get_tls(&roots, "127.0.0.1", &path).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("content-type"), "application/dns-message");
    // HTTP may keep it as long as the record may be kept.
    assert_eq!(answer.header("cache-control"), "max-age=10");
    assert!(reply(&answer.bytes).is(&["127.0.0.9"]), "{answer:?}");
    for (path, status) in
        [("/", 404), ("/dns-query", 400), ("/dns-query?dns=***", 400), ("/dns-query?dns=AAAA", 400)]
    {
        let answer = client.get_tls(&roots, "127.0.0.1", path).await.unwrap();
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test]
async fn an_address_that_no_interface_has_yet_is_a_warning_and_no_obstacle() {
    // TEST-NET-1 (RFC 5737) is nobody's.
    let config =
        Config::exactly(&ENCRYPTED.replace(
            "address = [\"127.0.0.1:0\"]",
            "address = [\"192.0.2.53:0\", \"127.0.0.1:0\"]",
        ));
    let portolan = Portolan::start(&config);
    let told = eventually(
        || async { portolan.api("/api/problems").await.to_string() },
        |problems| problems.contains("192.0.2.53"),
    )
    .await;
    assert!(told.contains("no interface has the address 192.0.2.53 yet"), "{told}");
    let resolver = portolan.dns();
    assert!(resolver.a("shop.example.org.").await.is(&["127.0.0.9"]));
}

#[tokio::test]
async fn who_holds_a_port_is_named() {
    let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = held.local_addr().unwrap();
    let config = Config::exactly(&format!(
        "data-dir = \"data\"\nadmin = false\n[dns]\naddress = \"{address}\"\nupstreams = []\n"
    ));
    let (code, _, told) = run(&config, &["run"]);
    assert_ne!(code, 0);
    let own = std::process::id();
    assert!(told.contains(&format!("(process {own}) holds it")), "{told}");
    assert!(told.contains(&address.to_string()), "{told}");

    // Where another address can be had, it is a problem and no obstacle.
    let config = Config::exactly(&format!(
        "data-dir = \"data\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [dns]\naddress = [\"{address}\", \"127.0.0.1:0\"]\nupstreams = []\n"
    ));
    let portolan = Portolan::start(&config);
    let problems = portolan.api("/api/problems").await.to_string();
    assert!(problems.contains("holds it"), "{problems}");
    assert!(portolan.dns().a("localhost.").await.is(&["127.0.0.1"]));
}

#[tokio::test]
async fn an_address_that_another_has_is_nobodys_half() {
    let first = Portolan::start(&Config::new(""));
    let config = Config::new("");
    let address = first.address("dns");
    let second = |address: &str| {
        format!(
            "data-dir = \"data\"\n[dns]\naddress = \"{address}\"\nupstreams = []\n\
             [dns.zones.lan]\nnames = \"static\"\n\
             records = [{{ name = \"a\", type = \"A\", data = \"10.0.0.1\" }}]\n\
             [admin]\naddress = \"127.0.0.1:0\"\n[plugins]\ndirectory = \"plugins\"\n"
        )
    };
    config.replace(&second(&address.to_string()));
    let (code, _, log) = run(&config, &["run"]);
    assert!(code != 0 && log.contains(&format!("bind udp address `{address}`")), "{code} {log}");
    // While it runs: what it has is better than nothing.
    config.replace(&second("127.0.0.1:0"));
    let portolan = Portolan::start(&config);
    assert!(portolan.dns().a("a.lan.").await.is(&["10.0.0.1"]));
    config.replace(&second(&address.to_string()));
    portolan.log_until("bind udp address");
    assert!(portolan.dns().a("a.lan.").await.is(&["10.0.0.1"]));
}

#[tokio::test]
async fn a_list_that_is_not_there_keeps_nobody_from_answering() {
    let config = Config::new("[dns.filter]\nblock-lists = [\"absent.txt\"]\n");
    let portolan = Portolan::start(&config);
    let problems = portolan.api("/api/problems").await.to_string();
    assert!(problems.contains("absent.txt"), "{problems}");
}

/// A port that nobody has, and that the system gives to nobody who asks for any.
fn free_port() -> u16 {
    let first = 20_000 + u16::try_from(std::process::id() % 10_000).unwrap();
    let is_free = |port: &u16| {
        let address = ("::", *port);
        let (udp, tcp) = (std::net::UdpSocket::bind(address), std::net::TcpListener::bind(address));
        udp.is_ok() && tcp.is_ok()
    };
    (first..first + 1000).find(is_free).unwrap()
}

#[tokio::test]
async fn every_address_of_both_protocols_can_be_listened_on() {
    if std::net::UdpSocket::bind("[::1]:0").is_err() {
        eprintln!("not tried: this machine has no IPv6");
        return;
    }
    for addresses in [["0.0.0.0", "[::]"], ["[::]", "0.0.0.0"], ["127.0.0.1", "[::]"]] {
        let port = free_port();
        let [one, other] = addresses.map(|address| format!("\"{address}:{port}\""));
        let config = Config::exactly(&format!(
            "data-dir = \"data\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
             [dns]\naddress = [{one}, {other}]\nupstreams = []\n"
        ));
        let portolan = Portolan::start(&config);
        let problems = portolan.api("/api/problems").await;
        assert_eq!(problems.as_array().map(Vec::len), Some(0), "{problems}");
        for here in [format!("127.0.0.1:{port}"), format!("[::1]:{port}")] {
            let reply = Resolver(here.parse().unwrap()).a("localhost.").await;
            assert!(reply.is(&["127.0.0.1"]), "{addresses:?} {here}: {reply:?}");
        }
    }
}
