//! What waits for a place or for an answer, and for how long.

use super::*;

#[tokio::test]
async fn what_is_too_much_waits_and_what_waits_too_long_is_refused() {
    for per_backend in [false, true] {
        let (backend, gate, mut asked) = held().await;
        let service = to(&[backend.address], |it| {
            match per_backend {
                true => it.limits.max_requests_per_backend = Some(1),
                false => it.limits.max_requests = Some(1),
            }
            (it.limits.queue, it.limits.queue_timeout) = (1, Duration::from_secs(20));
        });
        let state = service.state.clone();
        let portolan = Portolan::start(vec![leading("a.local", service)]);
        let mut clients = Vec::new();
        for _ in 0..2 {
            let mut client = portolan.connect().await;
            client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
            clients.push(client);
        }
        soon(asked.recv()).await.unwrap();
        soon(async {
            while state.queue.is_empty() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        // One is under way, one waits, and there is no place for a third.
        let third = portolan.get("a.local", "/").await;
        assert_eq!((third.status, header(&third.head, "retry-after")), (503, Some("1")));
        assert!(asked.try_recv().is_err(), "the second waits");
        gate.add_permits(2);
        for client in &mut clients {
            assert_eq!(client.response().await.body, "ok");
        }
        assert!(state.queue.is_empty());
        assert_eq!(state.in_flight.value(), 0);
    }
}

#[tokio::test]
async fn a_request_does_not_wait_longer_than_it_may() {
    let (backend, _gate, mut asked) = held().await;
    let service = to(&[backend.address], |it| {
        it.limits.max_requests = Some(1);
        it.limits.queue_timeout = Duration::from_millis(20);
    });
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    let mut first = portolan.connect().await;
    first.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    soon(asked.recv()).await.unwrap();
    assert_eq!(portolan.get("a.local", "/").await.status, 503);
    // A client that goes away makes place.
    drop(first);
    let mut next = portolan.connect().await;
    loop {
        next.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        tokio::select! {
            _ = asked.recv() => break,
            refused = next.response() => assert_eq!(refused.status, 503),
        }
    }
}

#[tokio::test]
async fn each_service_has_time_limits_of_its_own() {
    let (backend, _gate, _asked) = held().await;
    let short = Duration::from_millis(20);
    let by_head = to(&[backend.address], |it| it.timeouts.response_header = Some(short));
    let by_all = to(&[backend.address], |it| it.timeouts.total = Some(short));
    let portolan =
        Portolan::start(vec![leading("head.local", by_head), leading("all.local", by_all)]);
    assert_eq!(portolan.get("head.local", "/").await.status, 504);
    assert_eq!(portolan.get("all.local", "/").await.status, 504);
}

#[tokio::test]
async fn who_waited_for_a_place_all_of_the_time_was_kept_waiting_by_no_backend() {
    let (backend, _gate, mut asked) = held().await;
    let service = to(&[backend.address], |it| {
        it.timeouts.total = Some(Duration::from_millis(20));
        it.limits.max_requests = Some(1);
        (it.limits.queue, it.limits.queue_timeout) = (1, Duration::from_secs(600));
    });
    // The same one, with more time.
    let patient = Router {
        timeouts: Some(Box::new(Timeouts {
            total: Some(Duration::from_secs(600)),
            ..Timeouts::default()
        })),
        name: ObjectName::new("patient", "test"),
        ..leading("first.local", service)
    };
    let service = patient.service.clone();
    let portolan = Portolan::start(vec![patient, Router { service, ..router("next.local", &[]) }]);
    let mut first = portolan.connect().await;
    first.send("GET / HTTP/1.1\r\nHost: first.local\r\n\r\n").await;
    soon(asked.recv()).await.unwrap();
    assert_eq!(portolan.get("next.local", "/").await.status, 503);
}

#[tokio::test]
async fn what_a_router_says_of_time_comes_before_what_its_service_says() {
    let (backend, _gate, _asked) = held().await;
    let (short, long) = (Duration::from_millis(20), Duration::from_secs(600));
    let timed = |host: &str, of_router: Timeouts, of_service: Timeouts| Router {
        timeouts: Some(Box::new(of_router)),
        ..leading(host, to(&[backend.address], |it| it.timeouts = of_service))
    };
    let total = |total| Timeouts { total: Some(total), ..Timeouts::default() };
    let head = |head| Timeouts { response_header: Some(head), ..Timeouts::default() };
    let portolan = Portolan::start(vec![
        timed("total.local", total(short), total(long)),
        timed("head.local", head(short), head(long)),
        // What it does not say, its service says.
        timed("other.local", total(long), head(short)),
    ]);
    for host in ["total.local", "head.local", "other.local"] {
        assert_eq!(portolan.get(host, "/").await.status, 504, "{host}");
    }
    // 0 lifts what the service says.
    let (backend, gate, mut asked) = held().await;
    let timed = |of_router, of_service| Router {
        timeouts: Some(Box::new(of_router)),
        ..leading("a.local", to(&[backend.address], |it| it.timeouts = of_service))
    };
    for lift in [total, head] {
        let portolan = Portolan::start(vec![timed(lift(Duration::ZERO), lift(short))]);
        let mut client = portolan.connect().await;
        client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        soon(asked.recv()).await.unwrap();
        assert!(tokio::time::timeout(short * 5, client.response()).await.is_err());
        gate.add_permits(1);
        assert_eq!(client.response().await.status, 200);
    }
}

#[tokio::test]
async fn a_backend_is_waited_for_when_the_client_has_said_all() {
    let (short, backend) = (Duration::from_millis(20), Script::echo().await);
    let limited = to(&[backend.address], |it| it.timeouts.response_header = Some(short));
    let passive = Passive { max_failed_attempts: 1, ..Passive::default() };
    let breaker =
        Breaker { min_requests: 2, window: Duration::from_secs(3600), ..Breaker::default() };
    let guarded = to(&[backend.address], |it| {
        it.timeouts.total = Some(short);
        (it.passive, it.breaker) = (passive, Some(breaker));
    });
    let portolan = Portolan::start(vec![leading("a.local", limited), leading("b.local", guarded)]);
    let begun = "HTTP/1.1\r\nContent-Length: 6\r\n";
    let mut client = portolan.connect().await;
    client.send(&format!("POST / {begun}Host: a.local\r\n\r\nabc")).await;
    // An upload may take longer than its answer.
    assert!(tokio::time::timeout(short * 10, client.response()).await.is_err());
    client.send("def").await;
    assert_eq!(client.response().await.status, 200);
    // Clients who never come to an end are not the backend's fault: others are served.
    for _ in 0..4 {
        let mut client = portolan.connect().await;
        client.send(&format!("POST / {begun}Host: b.local\r\n\r\nabc")).await;
        assert_eq!(client.response().await.status, 408);
    }
    assert_eq!(portolan.get("b.local", "/").await.status, 200);
}

#[tokio::test]
async fn a_body_that_stalls_ends_on_either_side() {
    let stalling = Script::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab").await;
        std::future::pending::<()>().await;
    })
    .await;
    let reading = named(200, "read").await;
    let short = Some(Duration::from_millis(20));
    let down = to(&[stalling.address], |it| it.timeouts.response_idle = short);
    let up = to(&[reading.address], |it| it.timeouts.request_idle = short);
    let portolan = Portolan::start(vec![leading("down.local", down), leading("up.local", up)]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: down.local\r\n\r\n").await;
    assert!(client.until("\r\n\r\n").await.unwrap().starts_with("HTTP/1.1 200"));
    assert_eq!(client.exactly(2).await, "ab");
    assert!(client.ends().await, "the rest never comes");
    let mut client = portolan.connect().await;
    client.send("PUT / HTTP/1.1\r\nHost: up.local\r\nContent-Length: 5\r\n\r\na").await;
    assert_eq!(client.response().await.status, 408);
    // One that moves is no stall, however long it takes altogether.
    let mut client = portolan.connect().await;
    client.send("PUT / HTTP/1.1\r\nHost: up.local\r\nContent-Length: 5\r\n\r\nhello").await;
    assert_eq!(client.response().await.body, "read");
}

#[tokio::test]
async fn a_backend_that_never_answers_is_held_responsible_and_so_is_its_service() {
    let (backend, _gate, _asked) = held().await;
    let passive = Passive { max_failed_attempts: 1, on_status: true, ..Passive::default() };
    let service = to(&[backend.address], |it| {
        (it.timeouts.total, it.passive) = (Some(Duration::from_millis(20)), passive);
    });
    let figures = service.backends[0].figures.clone();
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    assert_eq!(portolan.get("a.local", "/").await.status, 504);
    assert_eq!(figures.failures.value(), 1);
    assert!(figures.standing.is_ejected(Moment::of(std::time::Instant::now())));
}
