//! Traefik's middleware `retry`, as its users write it.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::support::{Config, Consul, Portolan, Registration, eventually, run};

/// Answers every second request with 200, and the others with 503.
async fn faulty() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                match stream.read_u8().await {
                    Ok(byte) => head.push(byte),
                    Err(_) => break,
                }
            }
            let status = match count.fetch_add(1, Ordering::SeqCst) % 2 {
                0 => 503,
                _ => 200,
            };
            let answer =
                format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    (address, seen)
}

#[tokio::test]
async fn a_router_with_it_from_tags_has_its_requests_tried_again() {
    let consul = Consul::start().await;
    let (address, seen) = faulty().await;
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    let tags = [
        "traefik.http.routers.shop.rule=Host(`shop.local`)",
        "traefik.http.routers.shop.middlewares=all",
        "traefik.http.routers.bare.rule=Host(`bare.local`)",
        "traefik.http.middlewares.all.chain.middlewares=again",
        "traefik.http.middlewares.again.retry.attempts=2",
        "traefik.http.middlewares.again.retry.initialInterval=10ms",
        "traefik.http.middlewares.again.retry.status=500-599",
    ];
    consul.register(&Registration { id: "shop-1", service: "shop", address, tags: &tags }).await;
    let http = portolan.http();
    eventually(|| portolan.api("/api/http/routers/shop@consul"), |it| it["status"] == "enabled")
        .await;
    seen.store(0, Ordering::SeqCst);
    assert_eq!(http.get("shop.local", "/").await.status, 200);
    assert_eq!(seen.load(Ordering::SeqCst), 2);
    assert_eq!(http.get("bare.local", "/").await.status, 503);

    let shown = portolan.api("/api/http/middlewares/again@consul").await;
    let options = json!({
        "attempts": 2, "initialInterval": "10ms", "status": ["500-599"]
    });
    assert_eq!(shown["retry"], options, "{shown}");
    assert_eq!([&shown["type"], &shown["usedBy"][0]], ["retry", "shop@consul"], "{shown}");
    let (_, told, _) = run(&config, &["explain", "GET", "http://shop.local/"]);
    assert!(told.contains("again@consul (retry), by the chain all@consul"), "{told}");
    assert!(told.contains("has it tried up to 2 times, also on 500-599"), "{told}");
}

#[tokio::test]
async fn it_is_written_in_files_too_and_its_mistakes_are_found_at_their_line() {
    let (address, seen) = faulty().await;
    let provider = "[providers.static]\nplugin = \"file\"\n\
        config = { directory = \"dynamic\" }\ngrants = { files = [\"dynamic\"] }\n";
    let config = Config::new(&format!(
        "{provider}[http.middlewares.again.retry]\nattempts = 2\nstatus = [\"503\"]\n"
    ));
    std::fs::create_dir_all(config.path("dynamic")).unwrap();
    let file = format!(
        "http:
  routers:
    own: {{ rule: Host(`own`), service: b, middlewares: [mine] }}
    other: {{ rule: Host(`other`), service: b, middlewares: [again@file] }}
  middlewares:
    mine: {{ retry: {{ attempts: 3, status: ['503'], timeout: 10s, maxRequestBodyBytes: -1 }} }}
  services:
    b: {{ loadBalancer: {{ servers: [{{ url: http://{address} }}] }} }}
"
    );
    std::fs::write(config.path("dynamic/web.yaml"), file).unwrap();
    let portolan = Portolan::start(&config);
    let http = portolan.http();
    let routers = async || portolan.api("/api/http/routers").await.as_array().map(Vec::len);
    eventually(routers, |count| *count == Some(2)).await;
    for host in ["own", "other"] {
        seen.store(0, Ordering::SeqCst);
        assert_eq!(http.get(host, "/").await.status, 200, "{host}");
        assert_eq!(seen.load(Ordering::SeqCst), 2, "{host}");
    }
    let text = std::fs::read_to_string(config.path("config.toml")).unwrap();
    for (wrong, message) in [
        ("attempt = 2", "unknown key `attempt`"),
        ("attempts = 0", "expected a number from 1 to 100"),
        ("attempts = 2\ninitialInterval = \"soon\"", "expected a duration"),
    ] {
        config.replace(&text.replace("attempts = 2", wrong));
        let (code, _, told) = run(&config, &["check"]);
        assert_ne!(code, 0, "{wrong}");
        let line = wrong.lines().last().unwrap();
        assert!(told.contains(message) && told.contains(line), "{told}");
    }
}
