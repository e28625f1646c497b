//! How services treat backends: who is chosen, who is left alone, what is sent again, what waits.

mod again;
mod compound;
mod line;
mod refused;
mod retries;
mod stuck;
mod trial;
mod waiting;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use portolan_core::{
    balance::{Balancer, Cookie},
    item::Health,
    moment::Moment,
    name::ObjectName,
    policy::{
        Breaker, HashOn, LoadBalancer, Passive, Retry, StatusRange, Statuses, Sticky, Strategy,
        Timeouts,
    },
    router::Router,
    service::{Failover, Gate, Kind, Member, Mirror, Mirroring, Scheme, Service, Weighted},
    standing::Probed,
};
use tokio::{
    net::TcpSocket,
    sync::{Semaphore, mpsc},
};

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

/// Tells of each request, head and body, and answers it with a status.
async fn watching(status: u16) -> (Script, mpsc::UnboundedReceiver<(String, String)>) {
    let (tell, seen) = mpsc::unbounded_channel();
    let script = Script::start(move |mut client| {
        let tell = tell.clone();
        async move {
            while let Some(request) = client.request().await {
                tell.send((request.head, request.body)).ok();
                client
                    .send(&format!("HTTP/1.1 {status} X\r\nContent-Length: 6\r\n\r\nmirror"))
                    .await;
            }
        }
    })
    .await;
    (script, seen)
}

#[tokio::test]
async fn a_backend_that_refuses_is_left_alone_after_a_while_and_nobody_notices() {
    let (a, b) = (named(200, "a").await, named(200, "b").await);
    let dead = nobody();
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
        // And so it does where it is empty.
        let mut firsts = String::new();
        for last in 1..=32 {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind(format!("127.0.0.{last}:0").parse().unwrap()).unwrap();
            let mut client = Client::new(socket.connect(portolan.address).await.unwrap());
            firsts += &get(&mut client, &format!("{header}\r\n")).await.body;
        }
        assert!(firsts.contains('a') && firsts.contains('b'), "{firsts}");
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
    let alone = Portolan::start(vec![leading("a.local", retrying(&[bad.address, nobody()]))]);
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
