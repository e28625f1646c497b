//! Bodies that are mirrored, or may have to be sent again, stream like any other.

use super::*;

const CHUNKED: &str = "POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Answers before it has read to the end: what comes is told, and so is what came after that.
async fn two_way() -> Script {
    Script::start(|mut client| async move {
        while client.until("\r\n\r\n").await.is_some() {
            let first = client.until("first\r\n").await.unwrap();
            client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
            client.send(&first).await;
            let last = client.until("0\r\n\r\n").await.unwrap();
            client.send(&last).await;
        }
    })
    .await
}

/// Refuses by the head alone, and does not read the rest.
async fn hasty() -> Script {
    Script::start(|mut client| async move {
        while client.until("\r\n\r\n").await.is_some() {
            client.send("HTTP/1.1 503 X\r\nContent-Length: 3\r\n\r\nbad").await;
        }
    })
    .await
}

/// Tells of each piece of a body that comes, and answers when it is over.
async fn attentive() -> (Script, mpsc::UnboundedReceiver<String>) {
    let (tell, told) = mpsc::unbounded_channel();
    let script = Script::start(move |mut client| {
        let tell = tell.clone();
        async move {
            while client.until("\r\n\r\n").await.is_some() {
                for end in ["first\r\n", "0\r\n\r\n"] {
                    tell.send(client.until(end).await.unwrap()).ok();
                }
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood").await;
            }
        }
    })
    .await;
    (script, told)
}

fn failing_over(main: Service, fallback: Service, max_body: u64) -> Service {
    let (main, fallback) = (Some(Arc::new(main)), Some(Arc::new(fallback)));
    let statuses = statuses(500, 599);
    let failover = Failover { main, fallback, statuses, max_body };
    Service::of(ObjectName::new("all", "test"), Kind::Failover(failover))
}

fn retrying(backends: &[SocketAddr], max_body: u64) -> Service {
    to(backends, |it| {
        let statuses = statuses(500, 599);
        it.retry = Retry { statuses, budget_min: 99, max_body, ..Retry::default() };
    })
}

#[tokio::test]
async fn what_may_be_sent_twice_streams_both_ways() {
    let main = two_way().await;
    let (mirror, mut seen) = watching(200).await;
    let mirroring = |max_body| {
        let mirroring = Mirroring {
            main: Arc::new(to(&[main.address], |_| ())),
            mirrors: vec![Mirror::new(Arc::new(to(&[mirror.address], |_| ())), 100)],
            mirror_body: true,
            max_body,
        };
        Service::of(ObjectName::new("all", "test"), Kind::Mirroring(mirroring))
    };
    let spare = || to(&[nobody()], |_| ());
    for (limit, mirrored) in [(64, Some("firstlast")), (5, None), (3, None)] {
        let services = [
            (mirroring(limit), mirrored),
            (failing_over(to(&[main.address], |_| ()), spare(), limit), None),
            (retrying(&[main.address], limit), None),
        ];
        for (service, mirrored) in services {
            let portolan = Portolan::start(vec![leading("a.local", service)]);
            let mut client = portolan.connect().await;
            client.send(&CHUNKED.replace("POST", "PUT")).await;
            client.send("5\r\nfirst\r\n").await;
            // The client says nothing more before it has heard of what it said.
            assert!(client.until("\r\n\r\n").await.unwrap().starts_with("HTTP/1.1 200"));
            assert_eq!(client.until("\r\n").await.as_deref(), Some("5\r\n"));
            assert!(seen.try_recv().is_err(), "a mirror gets what is complete");
            client.send("4\r\nlast\r\n0\r\n\r\n").await;
            let rest = client.until("0\r\n\r\n").await.unwrap();
            assert_eq!(rest, "first\r\n4\r\nlast\r\n0\r\n\r\n");
            if let Some(mirrored) = mirrored {
                let (head, body) = soon(seen.recv()).await.unwrap();
                assert_eq!((header(&head, "content-length"), &*body), (Some("9"), mirrored));
            }
        }
    }
    assert!(seen.try_recv().is_err(), "what is too long is not mirrored");
}

#[tokio::test]
async fn what_was_refused_in_the_middle_is_sent_again_with_the_rest() {
    let bad = hasty().await;
    let (good, mut told) = attentive().await;
    let services = [
        failing_over(to(&[bad.address], |_| ()), to(&[good.address], |_| ()), 64),
        retrying(&[bad.address, good.address], 64),
    ];
    for service in services {
        let portolan = Portolan::start(vec![leading("a.local", service)]);
        let mut client = portolan.connect().await;
        client.send(&CHUNKED.replace("POST", "PUT")).await;
        client.send("5\r\nfirst\r\n").await;
        // The other one has the beginning, while the end is still to come.
        assert_eq!(soon(told.recv()).await.as_deref(), Some("5\r\nfirst\r\n"));
        client.send("4\r\nlast\r\n0\r\n\r\n").await;
        assert_eq!(soon(told.recv()).await.as_deref(), Some("4\r\nlast\r\n0\r\n\r\n"));
        assert_eq!(client.response().await.body, "good");
    }
}

#[tokio::test]
async fn a_body_goes_to_the_spare_when_nobody_had_any_of_it() {
    let spare = named(200, "spare").await;
    let long = "x".repeat(100_000);
    for max_body in [0, 64] {
        let main = to(&[nobody()], |_| ());
        let service = failing_over(main, to(&[spare.address], |_| ()), max_body);
        let portolan = Portolan::start(vec![leading("a.local", service)]);
        let mut client = portolan.connect().await;
        for body in ["x", &long] {
            let head = "POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length:";
            client.send(&format!("{head} {}\r\n\r\n{body}", body.len())).await;
            assert_eq!(client.response().await.body, "spare");
        }
    }
}

#[tokio::test]
async fn what_a_client_breaks_off_is_not_mirrored() {
    let main = Script::start(|mut client| async move {
        client.until("first\r\n").await.unwrap();
        client.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").await;
        client.until("never").await;
    })
    .await;
    let mirror = named(200, "mirror").await;
    let mirrored = Arc::new(to(&[mirror.address], |_| ()));
    let mirroring = Mirroring {
        main: Arc::new(to(&[main.address], |_| ())),
        mirrors: vec![Mirror::new(mirrored.clone(), 100)],
        mirror_body: true,
        max_body: 64,
    };
    let kind = Kind::Mirroring(mirroring);
    let service = Service::of(ObjectName::new("all", "test"), kind);
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    let mut client = portolan.connect().await;
    client.send(CHUNKED).await;
    client.send("5\r\nfirst\r\n").await;
    client.until("\r\n\r\n").await.unwrap();
    assert_eq!(mirrored.state.mirrored.value(), 1, "it waits for the rest");
    drop(client);
    soon(async {
        while mirrored.state.mirrored.value() > 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(mirrored.figures.classes().iter().sum::<u64>(), 0);
}

#[tokio::test]
async fn what_the_client_would_get_for_an_answer_that_does_not_come_is_a_status_like_any_other() {
    let silent = Script::start(|mut client| async move {
        client.request().await;
        std::future::pending::<()>().await;
    })
    .await;
    let broken = Script::start(|mut client| async move {
        client.request().await;
        client.send("HTTP/1.1 200 OK\r\nContent-").await;
    })
    .await;
    let good = named(200, "good").await;
    for (bad, status) in [(&silent, 504), (&broken, 502)] {
        let retrying = |listed: u16| {
            to(&[bad.address, good.address], |it| {
                it.timeouts.response_header = Some(Duration::from_millis(50));
                it.retry = Retry { statuses: statuses(listed, listed), ..Retry::default() };
                it.retry.budget_min = 99;
            })
        };
        let portolan = Portolan::start(vec![leading("a.local", retrying(status))]);
        assert_eq!(answers(&portolan, 4).await, "good".repeat(4));
        // Once is not twice.
        let mut client = portolan.connect().await;
        let mut posted = Vec::new();
        for _ in 0..2 {
            client.send("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 1\r\n\r\nx").await;
            posted.push(client.response().await.status);
        }
        assert!(posted.contains(&status), "{posted:?}");
        let portolan = Portolan::start(vec![leading("a.local", retrying(500))]);
        let asked =
            [portolan.get("a.local", "/").await.status, portolan.get("a.local", "/").await.status];
        assert!(asked.contains(&status), "{asked:?}");
    }
}
