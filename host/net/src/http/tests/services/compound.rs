//! Services made of services: shares, mirrors, one for another.

use super::*;

fn member(name: &str, weight: u32, service: Service) -> Member {
    let service = Some(Arc::new(service));
    Member { name: ObjectName::new(name, "test"), weight, service }
}

fn made_of(kind: Kind) -> Vec<Router> {
    vec![leading("a.local", Service::of(ObjectName::new("all", "test"), kind))]
}

#[tokio::test]
async fn services_share_traffic_by_weight() {
    let (a, b) = (named(200, "a").await, named(200, "b").await);
    let members = || {
        let (a, b) = (to(&[a.address], |_| ()), to(&[b.address], |_| ()));
        vec![member("a", 3, a), member("b", 1, b)]
    };
    let weighted = Weighted::new(members(), false, None);
    let part = weighted.members[1].service.clone().unwrap();
    let portolan = Portolan::start(made_of(Kind::Weighted(weighted)));
    assert_eq!(answers(&portolan, 8).await, "aabaaaba");
    assert_eq!(part.figures.classes()[1], 2, "a part notes its own requests");
    let sticky = Sticky { name: Some("m".to_owned()), ..Sticky::default() };
    let names = ["a", "b"].map(str::to_owned).into_iter();
    let cookie = Some(Cookie::new("all", &sticky, names));
    let kind = Kind::Weighted(Weighted::new(members(), false, cookie));
    let portolan = Portolan::start(made_of(kind));
    let mut client = portolan.connect().await;
    let first = get(&mut client, "").await;
    let line = header(&first.head, "set-cookie").unwrap().to_owned();
    let cookie = format!("Cookie: {}\r\n", line.split(';').next().unwrap());
    for _ in 0..8 {
        let next = get(&mut client, &cookie).await;
        assert_eq!((&*next.body, header(&next.head, "set-cookie")), (&*first.body, None));
    }
    let kind = Kind::Weighted(Weighted::new(members(), true, None));
    let portolan = Portolan::start(made_of(kind));
    let same = answers(&portolan, 4).await;
    assert!(["aaaa", "bbbb"].contains(&same.as_str()), "{same}");
}

#[tokio::test]
async fn a_mirror_sees_requests_and_disturbs_nobody() {
    let main = named(200, "main").await;
    let (mirror, mut seen) = watching(500).await;
    let mirroring = |mirror_body| Mirroring {
        main: Arc::new(to(&[main.address], |_| ())),
        mirrors: vec![Mirror::new(Arc::new(to(&[mirror.address], |_| ())), 100)],
        mirror_body,
        max_body: 8,
    };
    for (mirror_body, body, mirrored) in
        [(true, "12345678", Some("12345678")), (true, "123456789", None), (false, "x", Some(""))]
    {
        let portolan = Portolan::start(made_of(Kind::Mirroring(mirroring(mirror_body))));
        let mut client = portolan.connect().await;
        let head = "POST /x HTTP/1.1\r\nHost: a.local\r\nContent-Length:";
        client.send(&format!("{head} {}\r\n\r\n{body}", body.len())).await;
        assert_eq!(client.response().await.body, "main");
        if let Some(mirrored) = mirrored {
            let (head, body) = soon(seen.recv()).await.unwrap();
            assert!(head.starts_with("post /x http/1.1\r\n"), "{head}");
            assert_eq!((&*body, header(&head, "host")), (mirrored, Some("a.local")));
        }
        assert!(seen.try_recv().is_err());
    }
    // Longer than the pieces that a copy is read in.
    let long = "x".repeat(100_000);
    let large = Mirroring { max_body: 200_000, ..mirroring(true) };
    let portolan = Portolan::start(made_of(Kind::Mirroring(large)));
    let mut client = portolan.connect().await;
    let head = "POST /x HTTP/1.1\r\nHost: a.local\r\nContent-Length: 100000\r\n\r\n";
    client.send(&format!("{head}{long}")).await;
    assert_eq!(client.response().await.body, "main");
    let (_, body) = soon(seen.recv()).await.unwrap();
    assert!(body == long, "{} bytes", body.len());
    // A mirror that is not there at all.
    let nobody = nobody();
    let dead = Mirroring {
        mirrors: vec![Mirror::new(Arc::new(to(&[nobody], |_| ())), 100)],
        ..mirroring(true)
    };
    let portolan = Portolan::start(made_of(Kind::Mirroring(dead)));
    assert_eq!(answers(&portolan, 4).await, "mainmainmainmain");
}

#[tokio::test]
async fn another_service_takes_over_when_the_first_is_not_well_or_fails() {
    let (bad, spare) = (named(503, "bad").await, named(200, "spare").await);
    let failover = |main: Service, statuses| {
        Kind::Failover(Failover {
            main: Some(Arc::new(main)),
            fallback: Some(Arc::new(to(&[spare.address], |_| ()))),
            statuses,
            max_body: 8,
        })
    };
    let main = to(&[bad.address], |_| ());
    let figures = main.backends[0].figures.clone();
    let by_health = Portolan::start(made_of(failover(main, Statuses::default())));
    assert_eq!(answers(&by_health, 2).await, "badbad");
    figures.standing.probe(Probed::Down, None);
    assert_eq!(answers(&by_health, 2).await, "sparespare");
    figures.standing.probe(Probed::Up, None);
    assert_eq!(answers(&by_health, 1).await, "bad");
    let by_status = failover(to(&[bad.address], |_| ()), statuses(500, 599));
    let by_status = Portolan::start(made_of(by_status));
    let mut client = by_status.connect().await;
    for (body, expected) in [("12345678", "spare"), ("123456789", "bad")] {
        let head = "POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length:";
        client.send(&format!("{head} {}\r\n\r\n{body}", body.len())).await;
        assert_eq!(client.response().await.body, expected);
    }
    let gone = failover(to(&[nobody()], |_| ()), statuses(500, 599));
    assert_eq!(answers(&Portolan::start(made_of(gone)), 2).await, "sparespare");
}

#[tokio::test]
async fn another_service_takes_over_when_the_first_cannot_be_reached() {
    let spare = named(200, "spare").await;
    let main = to(&[nobody()], |_| ());
    let portolan = Portolan::start(made_of(Kind::Failover(Failover {
        main: Some(Arc::new(main)),
        fallback: Some(Arc::new(to(&[spare.address], |_| ()))),
        statuses: Statuses::default(),
        max_body: 0,
    })));
    // From the very first request on: what has no body can be sent to anybody.
    assert_eq!(answers(&portolan, 3).await, "sparesparespare");
    // What has one goes where it is taken, once it is known who does not.
    let mut client = portolan.connect().await;
    client.send("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 1\r\n\r\nx").await;
    assert_eq!(client.response().await.body, "spare");
}

#[tokio::test]
async fn while_one_finds_out_whether_a_service_is_well_others_go_elsewhere() {
    let (trying, gate, mut asked) = held().await;
    let well = named(200, "well").await;
    let breaker = Breaker { fallback: Duration::from_secs(3000), ..Breaker::default() };
    let tried = to(&[trying.address], |it| it.breaker = Some(breaker.clone()));
    // It had its rest.
    let long_ago = Breaker { fallback: Duration::ZERO, min_requests: 0, ..breaker };
    let moment = Moment::of(std::time::Instant::now());
    assert!(tried.state.circuit.note(moment, &long_ago, Gate::Closed, true));
    let state = tried.state.clone();
    let members = vec![member("a", 1, tried), member("b", 1, to(&[well.address], |_| ()))];
    let weighted = Weighted::new(members, false, None);
    let portolan = Portolan::start(made_of(Kind::Weighted(weighted)));
    let mut trial = portolan.connect().await;
    loop {
        trial.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        tokio::select! {
            _ = asked.recv() => break,
            other = trial.response() => assert_eq!(other.body, "well"),
        }
    }
    assert_eq!(answers(&portolan, 4).await, "wellwellwellwell");
    // Whoever leaves shows nothing, so that the next may try.
    drop(trial);
    let mut next = portolan.connect().await;
    loop {
        next.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
        tokio::select! {
            _ = asked.recv() => break,
            other = next.response() => assert_eq!(other.body, "well"),
        }
    }
    gate.add_permits(2);
    assert_eq!(next.response().await.body, "ok");
    assert!(!state.circuit.is_open());
}

#[tokio::test]
async fn a_client_that_makes_no_sense_is_no_failure_of_a_part() {
    let a = named(200, "a").await;
    let weighted = Weighted::new(vec![member("a", 1, to(&[a.address], |_| ()))], false, None);
    let part = weighted.members[0].service.clone().unwrap();
    let portolan = Portolan::start(made_of(Kind::Weighted(weighted)));
    let mut client = portolan.connect().await;
    let head = "POST / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\n\r\n";
    client.send(&format!("{head}nonsense\r\n")).await;
    assert_eq!(client.response().await.status, 400);
    assert_eq!(part.figures.classes()[4..], [0], "{:?}", part.figures.classes());
}
