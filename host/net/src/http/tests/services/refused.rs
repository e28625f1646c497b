//! Backends that accept no connections, beside some that do.

use tokio::{net::TcpStream, time::timeout};

use super::*;

/// An address that says nothing to who wants a connection: as many as it takes wait there already.
async fn silent() -> (SocketAddr, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    // It lives as long as the test, and nobody accepts.
    std::mem::forget(listener.into_std().unwrap());
    let mut waiting = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        waiting.push(stream.unwrap());
    }
    (address, waiting)
}

#[tokio::test]
async fn as_long_as_somebody_accepts_connections_every_request_is_answered() {
    let live = named(200, "good").await;
    let mut backends: Vec<_> = (0..5).map(|_| nobody()).collect();
    backends.push(live.address);
    // Some are left alone all the time, or come to be tried again and again.
    for ejection in [Duration::from_secs(3600), Duration::from_millis(1)] {
        let service = to(&backends, |it| {
            (it.passive.ejection, it.passive.max_ejection) = (ejection, ejection);
        });
        let figures: Vec<_> = service.backends.iter().map(|it| it.figures.clone()).collect();
        let portolan = Portolan::start(vec![leading("a.local", service)]);
        assert_eq!(answers(&portolan, 30).await, "good".repeat(30));
        if ejection.as_secs() > 0 {
            let dialed: u64 = figures.iter().map(|it| it.connect_failures.value()).sum();
            assert_eq!(dialed, 2 * 5, "then they were left alone, though they are most");
        }
    }
}

#[tokio::test]
async fn one_that_is_well_is_found_behind_those_that_are_silent() {
    let live = named(200, "good").await;
    let (silent, _waiting) = silent().await;
    let backends = [silent, nobody(), live.address];
    let service = to(&backends, |it| {
        it.timeouts.connect = Some(Duration::from_millis(50));
        it.retry.attempts = 2;
    });
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    assert_eq!(answers(&portolan, 9).await, "good".repeat(9));
    // Who wants one attempt gets one.
    let service = to(&backends, |it| {
        it.timeouts.connect = Some(Duration::from_millis(50));
        it.retry.attempts = 1;
    });
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    assert_eq!(portolan.get("a.local", "/").await.status, 504);
}

#[tokio::test]
async fn where_nobody_accepts_connections_few_are_asked_and_who_comes_back_is_found() {
    let hour = Duration::from_secs(3600);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let returning = socket.local_addr().unwrap();
    let service = to(&[nobody(), nobody(), nobody(), returning], |it| {
        (it.passive.ejection, it.passive.max_ejection) = (hour, hour);
    });
    let figures: Vec<_> = service.backends.iter().map(|it| it.figures.clone()).collect();
    let dialed = || figures.iter().map(|it| it.connect_failures.value()).sum::<u64>();
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    while dialed() < 2 * 4 {
        assert_eq!(portolan.get("a.local", "/").await.status, 502);
    }
    let before = dialed();
    assert_eq!(portolan.get("a.local", "/").await.status, 502);
    assert_eq!(dialed(), before + 3, "as many as there are attempts");
    let listener = socket.listen(16).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut client = Client::new(stream);
            client.request().await.unwrap();
            client.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n").await;
        }
    });
    while portolan.get("a.local", "/").await.status != 200 {}
    // It is the one that accepts connections, so it is the one that is asked.
    let before = dialed();
    for _ in 0..8 {
        assert_eq!(portolan.get("a.local", "/").await.status, 200);
    }
    assert_eq!(dialed(), before);
}
