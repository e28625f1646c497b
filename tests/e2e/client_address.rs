//! Who a client is: on sockets for both versions of IP, behind proxies, and in the log.

use std::{fs, net::SocketAddr};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::support::{Backend, Config, Portolan, eventually};

/// Routes by the address of the client, which is written as IPv6 may show it.
fn config(backend: &Backend) -> Config {
    Config::exactly(&format!(
        "data-dir = \"data\"\nthreads = 1\ndns = false\nadmin = {{ address = \"127.0.0.1:0\" }}\n\
         [plugins]\ndirectory = \"plugins\"\n\
         [access-log]\nfile = \"access.log\"\nformat = \"json\"\n\
         [entrypoints.web]\naddress = \"[::]:0\"\n\
         forwarded-headers = {{ trusted-ips = [\"::ffff:127.0.0.0/104\"] }}\n\
         [entrypoints.proxied]\naddress = \"[::]:0\"\n\
         proxy-protocol = {{ trusted-ips = [\"::ffff:127.0.0.1\"] }}\n\
         [http.services.s.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
         [http.routers.by-rule]\nrule = \"Host(`rule`) && ClientIP(`::ffff:127.0.0.0/104`)\"\n\
         service = \"s\"\n\
         [http.routers.by-list]\nrule = \"Host(`list`)\"\nservice = \"s\"\nmiddlewares = [\"local\"]\n\
         [http.middlewares.local.ip-allow-list]\nsource-range = [\"::ffff:127.0.0.1\"]\n\
         [http.routers.by-proxy]\nrule = \"Host(`proxy`)\"\nservice = \"s\"\nmiddlewares = [\"near\"]\n\
         [http.middlewares.near.ip-allow-list]\nsource-range = [\"192.0.2.0/24\"]\n\
         ip-strategy = {{ excluded-ips = [\"::ffff:10.0.0.0/104\"] }}\n",
        backend.url()
    ))
}

/// The status that a request with these lines comes to, over IPv4.
async fn status(portolan: &Portolan, host: &str, lines: &str) -> u16 {
    let said = format!("GET / HTTP/1.1\r\nHost: {host}\r\n{lines}Connection: close\r\n\r\n");
    let answer = sent(portolan, "web", said.as_bytes()).await;
    answer.get(9..12).unwrap().parse().unwrap()
}

/// What comes back, over IPv4.
async fn sent(portolan: &Portolan, entrypoint: &str, bytes: &[u8]) -> String {
    let address = SocketAddr::from(([127, 0, 0, 1], portolan.address(entrypoint).port()));
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // It may be reset.
    drop(stream.read_to_end(&mut answer).await);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn an_address_of_ipv4_is_one_however_it_is_written_and_seen() {
    let backend = Backend::start("b").await;
    let config = config(&backend);
    let portolan = Portolan::start(&config);
    assert_eq!(status(&portolan, "rule", "").await, 200);
    assert_eq!(status(&portolan, "list", "").await, 200);
    for (chain, expected) in [
        ("192.0.2.7", 200),
        ("192.0.2.7, 10.0.0.1", 200),
        ("192.0.2.7, ::ffff:10.0.0.1", 200),
        ("6.6.6.6, 10.0.0.1", 403),
    ] {
        let line = format!("X-Forwarded-For: {chain}\r\n");
        assert_eq!(status(&portolan, "proxy", &line).await, expected, "{chain}");
    }
    let lines = || {
        let text = fs::read_to_string(config.path("access.log")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Value>>()
    };
    eventually(|| async { lines().len() }, |count| *count == 6).await;
    for line in lines() {
        let address = line["ClientAddr"].as_str().unwrap();
        assert!(address.starts_with("127.0.0.1:"), "{address}");
    }
}

#[tokio::test]
async fn a_proxy_that_does_not_say_who_its_client_is_is_told_of_once() {
    let backend = Backend::start("b").await;
    let portolan = Portolan::start(&config(&backend));
    for _ in 0..3 {
        let answer = sent(&portolan, "proxied", b"GET / HTTP/1.1\r\nHost: rule\r\n\r\n").await;
        assert_eq!(answer, "");
    }
    let log = portolan.log_until("PROXY protocol failed");
    assert!(log.contains("WARN") && log.contains("no PROXY header"), "{log}");
    let good = b"PROXY TCP4 127.0.0.9 10.0.0.1 1 2\r\nGET / HTTP/1.1\r\nHost: rule\r\n\
                 Connection: close\r\n\r\n";
    assert!(sent(&portolan, "proxied", good).await.starts_with("HTTP/1.1 200"));
    let (_, log) = portolan.stop();
    assert_eq!(log.matches("PROXY protocol failed").count(), 1, "{log}");
}
