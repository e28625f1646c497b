//! SIGTERM: no new connections, what is open is finished, exit code 0.

use std::time::{Duration, Instant};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use crate::support::{Config, Portolan, eventually};

#[tokio::test]
async fn what_is_open_is_finished() {
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config::new(&format!(
        "[http.routers.r]\nrule = \"Host(`a`)\"\nservice = \"b\"\n\
         [http.services.b.load-balancer]\nservers = [{{ url = \"http://{}\" }}]\n",
        backend.local_addr().unwrap()
    ));
    let portolan = Portolan::start(&config);
    let mut client = TcpStream::connect(portolan.address("web")).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    // The request is with the backend when the signal comes.
    let (mut at_backend, _) = backend.accept().await.unwrap();
    let mut head = [0; 1024];
    assert!(at_backend.read(&mut head).await.unwrap() > 0);
    let http = portolan.http();
    portolan.signal("-TERM");
    eventually(|| http.try_get("nobody", "/"), Option::is_none).await;
    assert_eq!(portolan.admin().get("localhost", "/ping").await.status, 503);
    at_backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
    let (status, log) = tokio::task::spawn_blocking(|| portolan.wait()).await.unwrap();
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn a_log_that_is_rotated_ends_no_drain() {
    let backend = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let config = Config::new(&format!(
        "[http.routers.r]\nrule = \"Host(`a`)\"\nservice = \"b\"\n\
         [http.services.b.load-balancer]\nservers = [{{ url = \"http://{}\" }}]\n\
         [access-log]\nfile = \"access.log\"\n",
        backend.local_addr().unwrap()
    ));
    let portolan = Portolan::start(&config);
    let mut client = TcpStream::connect(portolan.address("web")).await.unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let (mut at_backend, _) = backend.accept().await.unwrap();
    let mut head = [0; 1024];
    assert!(at_backend.read(&mut head).await.unwrap() > 0);
    portolan.signal("-TERM");
    portolan.log_until("draining");
    std::fs::rename(config.path("access.log"), config.path("access.log.1")).unwrap();
    portolan.signal("-HUP");
    // It is opened again: so the signal was seen, and nothing ended for it.
    let there = || async { config.path("access.log").exists() };
    eventually(there, |there| *there).await;
    at_backend.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\ndone").await.unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).await.unwrap();
    assert!(answer.ends_with("done"), "{answer}");
    let (status, log) = tokio::task::spawn_blocking(|| portolan.wait()).await.unwrap();
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn who_never_shakes_hands_holds_no_drain() {
    let portolan = Portolan::start(&Config::new(""));
    let mut silent = TcpStream::connect(portolan.address("websecure")).await.unwrap();
    // The beginning of a handshake.
    silent.write_all(&[22, 3, 1, 1, 0, 1, 0]).await.unwrap();
    let begin = Instant::now();
    portolan.signal("-TERM");
    let (status, log) = tokio::task::spawn_blocking(|| portolan.wait()).await.unwrap();
    assert!(status.success(), "{log}");
    // A handshake may take ten seconds, but there is nothing to finish.
    assert!(begin.elapsed() < Duration::from_secs(6), "{:?}: {log}", begin.elapsed());
}

#[tokio::test]
async fn who_balances_load_sees_that_we_leave_before_we_are_gone() {
    let config = Config::new("[drain]\naccept = \"10m\"\n");
    let portolan = Portolan::start(&config);
    portolan.signal("-TERM");
    portolan.log_until("leaving");
    let ping = async || portolan.admin().get("localhost", "/ping").await.status;
    eventually(&ping, |status| *status == 503).await;
    // Connections are accepted, and everything goes on: so does reading the configuration.
    assert_eq!(portolan.http().get("a", "/").await.status, 404);
    config.change("[drain]\naccept = \"10m\"\n[http.routers.r]\nrule = \"Host(`a`)\"\nservice = \"noop@internal\"\n");
    portolan.signal("-HUP");
    eventually(|| portolan.http().get("a", "/"), |answer| answer.status == 418).await;
    portolan.signal("-TERM");
    let (status, log) = tokio::task::spawn_blocking(|| portolan.wait()).await.unwrap();
    assert!(status.success(), "{log}");
    assert!(log.contains("draining") && !log.contains("ended before"), "{log}");
}

#[tokio::test]
async fn accepting_ends_by_itself() {
    let portolan = Portolan::start(&Config::new("[drain]\naccept = \"300ms\"\n"));
    let begin = Instant::now();
    portolan.signal("-TERM");
    let (status, log) = tokio::task::spawn_blocking(|| portolan.wait()).await.unwrap();
    assert!(status.success(), "{log}");
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}: {log}", begin.elapsed());
}
