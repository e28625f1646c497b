//! How services treat backends: who is chosen, who is left alone, what is sent again, what waits.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_core::{
    balance::{Balancer, Cookie},
    item::Health,
    name::ObjectName,
    policy::{
        Breaker, HashOn, LoadBalancer, Passive, Retry, StatusRange, Statuses, Sticky, Strategy,
        Timeouts,
    },
    router::Router,
    service::{Failover, Kind, Member, Mirror, Mirroring, Scheme, Service, Weighted},
    standing::Probed,
};
use tokio::sync::{Semaphore, mpsc};

use super::support::{
    Client, Portolan, Response, Script, header, leading, nobody, router, service, soon, treated,
};

/// Answers every request with a status and its name.
async fn named(status: u16, name: &'static str) -> Script {
    Script::start(move |mut client| async move {
        while client.request().await.is_some() {
            let length = name.len();
            let head = format!("HTTP/1.1 {status} X\r\nContent-Length: {length}\r\n\r\n");
            client.send(&format!("{head}{name}")).await;
        }
    })
    .await
}

async fn get(client: &mut Client<tokio::net::TcpStream>, headers: &str) -> Response {
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{headers}\r\n")).await;
    client.response().await
}

fn options(change: impl FnOnce(&mut LoadBalancer)) -> LoadBalancer {
    let mut options = LoadBalancer::default();
    change(&mut options);
    options
}

fn to(backends: &[SocketAddr], change: impl FnOnce(&mut LoadBalancer)) -> Service {
    treated(Scheme::Http, backends, options(change))
}

fn statuses(from: u16, to: u16) -> Statuses {
    Statuses(vec![StatusRange { from, to }])
}

/// The names that answer so many requests over one connection.
async fn answers(portolan: &Portolan, count: usize) -> String {
    let mut client = portolan.connect().await;
    let mut names = String::new();
    for _ in 0..count {
        names += &get(&mut client, "").await.body;
    }
    names
}

#[tokio::test]
async fn a_backend_that_refuses_is_left_alone_after_a_while_and_nobody_notices() {
    let (a, b) = (named(200, "a").await, named(200, "b").await);
    let dead = nobody().await;
    let service = to(&[a.address, dead, b.address], |it| {
        it.passive.ejection = Duration::from_secs(3600);
        it.passive.max_ejection = Duration::from_secs(3600);
    });
    let figures = service.backends[1].figures.clone();
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    let names = answers(&portolan, 30).await;
    assert_eq!(names.len(), 30, "each was answered");
    assert_eq!(figures.connect_failures.value(), 2, "then it was left alone");
    assert_eq!(names.matches('a').count().abs_diff(15), names.matches('b').count().abs_diff(15));
}

#[tokio::test]
async fn failures_eject_where_that_is_asked_for_but_never_most_backends() {
    let (bad, good) = (named(500, "bad").await, named(200, "good").await);
    let traefik = |it: &mut LoadBalancer| {
        let hour = Duration::from_secs(3600);
        it.passive = Passive {
            on_status: true,
            max_failed_attempts: 1,
            ejection: hour,
            max_ejection: hour,
            ..Passive::default()
        };
    };
    let portolan =
        Portolan::start(vec![leading("a.local", to(&[bad.address, good.address], traefik))]);
    assert_eq!(answers(&portolan, 6).await, "badgoodgoodgoodgoodgood");
    let alone = Portolan::start(vec![leading("a.local", to(&[bad.address], traefik))]);
    assert_eq!(answers(&alone, 3).await, "badbadbad");
    // Statuses do not count unless that was asked for.
    let default = Portolan::start(vec![router("a.local", &[bad.address, good.address])]);
    assert_eq!(answers(&default, 4).await, "badgoodbadgood");
}

#[tokio::test]
async fn who_is_down_gets_nothing_and_when_all_are_the_client_is_told() {
    let (a, b) = (named(200, "a").await, named(200, "b").await);
    let service = service(Scheme::Http, &[a.address, b.address]);
    let all: Vec<_> = service.backends.iter().map(|it| it.figures.clone()).collect();
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    all[0].standing.probe(Probed::Down, Some("test".into()));
    assert_eq!(answers(&portolan, 3).await, "bbb");
    all[1].standing.probe(Probed::Down, Some("test".into()));
    let response = portolan.get("a.local", "/").await;
    assert_eq!((response.status, header(&response.head, "retry-after")), (503, Some("1")));
    all[0].standing.probe(Probed::Up, None);
    assert_eq!(answers(&portolan, 2).await, "aa");
}

#[tokio::test]
async fn what_was_found_out_holds_after_a_new_snapshot() {
    let (a, b) = (named(200, "a").await, named(200, "b").await);
    let service = service(Scheme::Http, &[a.address, b.address]);
    service.backends[0].figures.standing.probe(Probed::Down, None);
    let mut changed = service.backends.clone();
    let mut portolan = Portolan::start(vec![leading("a.local", service)]);
    assert_eq!(answers(&portolan, 2).await, "bb");
    changed[1].weight = 3;
    let anew = Service::new(ObjectName::new("s", "test"), LoadBalancer::default(), changed);
    portolan.publish(vec![leading("a.local", anew)]);
    assert_eq!(answers(&portolan, 2).await, "bb");
}

#[tokio::test]
async fn a_cookie_keeps_a_client_where_it_is_until_that_is_gone() {
    let (a, b) = (named(200, "a").await, named(200, "b").await);
    let sticky = Sticky { name: Some("lb".to_owned()), http_only: true, ..Sticky::default() };
    let service = to(&[a.address, b.address], |it| it.sticky = Some(sticky));
    let all: Vec<_> = service.backends.iter().map(|it| it.figures.clone()).collect();
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    let mut client = portolan.connect().await;
    let first = get(&mut client, "").await;
    let line = header(&first.head, "set-cookie").expect("a cookie").to_owned();
    assert!(line.starts_with("lb=") && line.ends_with("; path=/; httponly"), "{line}");
    let cookie = format!("Cookie: x=y; {}\r\n", line.split(';').next().unwrap());
    for _ in 0..5 {
        let next = get(&mut client, &cookie).await;
        assert_eq!((&next.body, header(&next.head, "set-cookie")), (&first.body, None));
    }
    // It goes down: the client is sent elsewhere, and told so.
    all[usize::from(first.body == "b")].standing.probe(Probed::Down, None);
    let moved = get(&mut client, &cookie).await;
    assert_ne!(moved.body, first.body);
    assert!(header(&moved.head, "set-cookie").is_some_and(|other| other != line));
    // What somebody made up is as good as nothing.
    let made_up = get(&mut client, "Cookie: lb=0123456789abcdef\r\n").await;
    assert!(header(&made_up.head, "set-cookie").is_some());
}

#[tokio::test]
async fn clients_are_told_apart_by_what_was_asked_for() {
    let (a, b) = (named(200, "a").await, named(200, "b").await);
    for (on, header) in [
        (HashOn::Header("x-user".parse().unwrap()), "X-User: "),
        (HashOn::Cookie("user".to_owned()), "Cookie: a=b; user="),
    ] {
        let service = to(&[a.address, b.address], |it| {
            (it.strategy, it.hash_on) = (Strategy::Hashed, on);
        });
        let portolan = Portolan::start(vec![leading("a.local", service)]);
        let mut client = portolan.connect().await;
        let mut firsts = String::new();
        for user in 0..16 {
            let line = format!("{header}{user}\r\n");
            let first = get(&mut client, &line).await.body;
            assert_eq!(get(&mut client, &line).await.body, first);
            firsts += &first;
        }
        assert!(firsts.contains('a') && firsts.contains('b'), "{firsts}");
        // Without it the address counts, and that is the same for all of these.
        let nameless = answers(&portolan, 6).await;
        assert!(["aaaaaa", "bbbbbb"].contains(&nameless.as_str()), "{nameless}");
    }
}

#[tokio::test]
async fn an_answer_that_is_not_good_enough_is_asked_for_elsewhere() {
    let (bad, good) = (named(503, "bad").await, named(200, "good").await);
    let retrying = |backends: &[SocketAddr]| {
        to(backends, |it| {
            it.retry = Retry { statuses: statuses(500, 599), budget_min: 99, ..Retry::default() };
        })
    };
    let service = retrying(&[bad.address, good.address]);
    let figures = service.figures.clone();
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    assert_eq!(answers(&portolan, 4).await, "goodgoodgoodgood");
    // Each begins with the first: the turn of the second went to the request before.
    assert_eq!(figures.retries.value(), 4);
    // Twice would not be the same as once.
    let mut client = portolan.connect().await;
    let mut posted = String::new();
    for _ in 0..2 {
        client.send("POST / HTTP/1.1\r\nHost: a.local\r\nContent-Length: 1\r\n\r\nx").await;
        posted += &client.response().await.body;
    }
    assert!(posted.contains("bad"), "{posted}");
    // Where there is nobody else, a poor answer is better than none.
    let alone = Portolan::start(vec![leading("a.local", retrying(&[bad.address, nobody().await]))]);
    assert_eq!(answers(&alone, 2).await, "badbad");
}

#[tokio::test]
async fn a_body_that_is_short_enough_is_sent_again_and_a_longer_one_is_not() {
    let bad = Script::start(|mut client| async move {
        while client.request().await.is_some() {
            client.send("HTTP/1.1 500 X\r\nContent-Length: 3\r\n\r\nbad").await;
        }
    })
    .await;
    let good = Script::start(|mut client| async move {
        while let Some(request) = client.request().await {
            let body = request.body;
            let head = format!("HTTP/1.1 200 X\r\nContent-Length: {}\r\n\r\n", body.len());
            client.send(&format!("{head}{body}")).await;
        }
    })
    .await;
    let service = to(&[bad.address, good.address], |it| {
        it.retry = Retry { statuses: statuses(500, 500), max_body: 8, ..Retry::default() };
    });
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    let mut client = portolan.connect().await;
    let mut put = async |body: &str| {
        let head =
            format!("PUT / HTTP/1.1\r\nHost: a.local\r\nContent-Length: {}\r\n\r\n", body.len());
        client.send(&format!("{head}{body}")).await;
        client.response().await.body
    };
    assert_eq!([put("12345678").await, put("abc").await], ["12345678", "abc"]);
    let long = [put("123456789").await, put("123456789").await];
    assert!(long.contains(&"bad".to_owned()), "{long:?}");
    // In pieces nobody knows beforehand how long it is.
    let mut client = portolan.connect().await;
    for (pieces, expected) in [(&["12", "34"][..], "1234"), (&["123456", "789"], "")] {
        let head = "PUT / HTTP/1.1\r\nHost: a.local\r\nTransfer-Encoding: chunked\r\n\r\n";
        let chunks = pieces.iter().map(|it| format!("{:x}\r\n{it}\r\n", it.len()));
        client.send(&format!("{head}{}0\r\n\r\n", chunks.collect::<String>())).await;
        let body = client.response().await.body;
        assert!(!body.is_empty() && (expected.is_empty() || body == expected), "{body}");
    }
}

#[tokio::test]
async fn a_backend_that_breaks_off_is_given_up_where_that_was_asked_for() {
    let broken = Script::start(|mut client| async move {
        client.request().await;
    })
    .await;
    let good = named(200, "good").await;
    let both = [broken.address, good.address];
    let patient = to(&both, |it| it.retry = Retry { on_reset: true, ..Retry::default() });
    let portolan = Portolan::start(vec![leading("a.local", patient)]);
    assert_eq!(answers(&portolan, 4).await, "goodgoodgoodgood");
    let default = Portolan::start(vec![router("a.local", &both)]);
    let statuses =
        [default.get("a.local", "/").await.status, default.get("a.local", "/").await.status];
    assert!(statuses.contains(&502), "{statuses:?}");
}

#[tokio::test]
async fn retries_never_multiply_an_outage() {
    let (a, b) = (named(500, "a").await, named(500, "b").await);
    let service = to(&[a.address, b.address], |it| {
        it.retry = Retry { statuses: statuses(500, 599), budget_min: 0, ..Retry::default() };
    });
    let (figures, backends) = (service.figures.clone(), service.backends.clone());
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    answers(&portolan, 50).await;
    let sent: u64 = backends.iter().map(|it| it.figures.requests.value()).sum();
    assert_eq!(sent, 50 + figures.retries.value());
    assert!((5..=13).contains(&figures.retries.value()), "{}", figures.retries.value());
}

#[tokio::test]
async fn a_service_that_fails_is_given_a_rest_and_comes_back() {
    let bad = named(500, "bad").await;
    let service = to(&[bad.address], |it| {
        let (window, fallback) = (Duration::from_secs(3600), Duration::from_secs(3000));
        it.breaker = Some(Breaker { min_requests: 4, window, fallback, ..Breaker::default() });
    });
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    assert_eq!(answers(&portolan, 4).await, "badbadbadbad");
    let rest = portolan.get("a.local", "/").await;
    assert_eq!(rest.status, 503);
    let after: u64 = header(&rest.head, "retry-after").unwrap().parse().unwrap();
    assert!((2900..=3000).contains(&after), "{after}");
}

/// A backend that answers when it is let.
async fn held() -> (Script, Arc<Semaphore>, mpsc::UnboundedReceiver<()>) {
    let gate = Arc::new(Semaphore::new(0));
    let (tell, asked) = mpsc::unbounded_channel();
    let open = gate.clone();
    let script = Script::start(move |mut client| {
        let (open, tell) = (open.clone(), tell.clone());
        async move {
            while client.request().await.is_some() {
                tell.send(()).ok();
                open.acquire().await.unwrap().forget();
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await;
    (script, gate, asked)
}

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
    let (tell, mut seen) = mpsc::unbounded_channel();
    let mirror = Script::start(move |mut client| {
        let tell = tell.clone();
        async move {
            while let Some(request) = client.request().await {
                tell.send((request.head, request.body)).ok();
                client.send("HTTP/1.1 500 X\r\nContent-Length: 6\r\n\r\nmirror").await;
            }
        }
    })
    .await;
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
    // A mirror that is not there at all.
    let nobody = nobody().await;
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
    let gone = failover(to(&[nobody().await], |_| ()), statuses(500, 599));
    assert_eq!(answers(&Portolan::start(made_of(gone)), 2).await, "sparespare");
}

#[tokio::test]
async fn connections_to_a_backend_that_is_gone_are_closed_when_its_requests_are_done() {
    let (backend, gate, mut asked) = held().await;
    let (closed, mut is_closed) = mpsc::unbounded_channel();
    let quiet = Script::start(move |mut client| {
        let closed = closed.clone();
        async move {
            client.request().await;
            client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            assert!(client.ends().await);
            closed.send(()).ok();
        }
    })
    .await;
    let mut portolan = Portolan::start(vec![
        router("busy.local", &[backend.address]),
        router("quiet.local", &[quiet.address]),
    ]);
    assert_eq!(portolan.get("quiet.local", "/").await.body, "ok");
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: busy.local\r\n\r\n").await;
    soon(asked.recv()).await.unwrap();
    portolan.publish(Vec::new());
    soon(is_closed.recv()).await.unwrap();
    gate.add_permits(1);
    assert_eq!(client.response().await.body, "ok", "what was under way is finished");
}

#[tokio::test]
async fn a_weight_of_0_keeps_clients_and_takes_no_new_ones() {
    let (a, b) = (named(200, "a").await, named(200, "b").await);
    let sticky = Sticky { name: Some("lb".to_owned()), ..Sticky::default() };
    let mut service = to(&[a.address, b.address], |it| it.sticky = Some(sticky));
    service.backends[0].weight = 0;
    service.balancer = Balancer::new(&service.backends, &service.load_balancer);
    let line = service.cookie.as_ref().unwrap().header(0).unwrap();
    let line = line.to_str().unwrap();
    let cookie = format!("Cookie: {}\r\n", line.split(';').next().unwrap());
    assert_eq!(service.backends[0].health, Health::Passing);
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    let mut client = portolan.connect().await;
    assert_eq!(get(&mut client, &cookie).await.body, "a");
    assert_eq!(answers(&portolan, 3).await, "bbb");
}
