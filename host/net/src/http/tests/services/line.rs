//! Whose turn it is where requests wait for a place.

use portolan_core::service::ServiceState;

use super::*;
use crate::http::{Trust, tests::support::entrypoint};

/// Sends a request.
async fn ask(portolan: &Portolan, headers: &str) -> Client<tokio::net::TcpStream> {
    let mut client = portolan.connect().await;
    client.send(&format!("GET / HTTP/1.1\r\nHost: a.local\r\n{headers}\r\n")).await;
    client
}

/// Waits until so many wait.
async fn waits(state: &ServiceState, count: usize) {
    soon(async {
        while state.queue.len() != count {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// One request at a time at each backend, and others wait long.
fn one_each(it: &mut LoadBalancer) {
    it.limits.max_requests_per_backend = Some(1);
    it.limits.queue_timeout = Duration::from_secs(600);
}

#[tokio::test]
async fn who_comes_first_is_served_first() {
    for (in_all, each) in [(None, Some(1)), (Some(1), None), (Some(1), Some(1))] {
        let (backend, gate, mut asked) = held().await;
        let service = to(&[backend.address], |it| {
            one_each(it);
            (it.limits.max_requests, it.limits.max_requests_per_backend) = (in_all, each);
        });
        let state = service.state.clone();
        let portolan = Portolan::start(vec![leading("a.local", service)]);
        let mut clients = vec![ask(&portolan, "").await];
        soon(asked.recv()).await.unwrap();
        for place in 1..=12 {
            clients.push(ask(&portolan, "").await);
            waits(&state, place).await;
        }
        for (place, client) in clients.iter_mut().enumerate() {
            gate.add_permits(1);
            assert_eq!(client.response().await.body, "ok", "{place}");
        }
        assert_eq!((state.queue.len(), state.in_flight.value()), (0, 0));
    }
}

#[tokio::test]
async fn a_backend_that_comes_and_a_limit_that_is_raised_are_for_those_who_wait() {
    let (backend, gate, mut asked) = held().await;
    let other = named(200, "other").await;
    let service = Arc::new(to(&[backend.address], one_each));
    let lead = |service: &Arc<Service>| Router {
        service: Some(service.clone()),
        ..router("a.local", &[])
    };
    let mut portolan = Portolan::start(vec![lead(&service)]);
    let first = ask(&portolan, "").await;
    soon(asked.recv()).await.unwrap();
    let mut waiting = vec![ask(&portolan, "").await, ask(&portolan, "").await];
    waits(&service.state, 2).await;
    // The other backend has room for one after the other.
    let more = [backend.address, other.address];
    let mut more = to(&more, one_each).after(&service);
    more.backends[0].figures = service.backends[0].figures.clone();
    let more = Arc::new(more);
    portolan.publish(vec![lead(&more)]);
    for client in &mut waiting {
        assert_eq!(client.response().await.body, "other");
    }
    // Without the other, and with room for two.
    let fewer = |limit| {
        let mut fewer = to(&[backend.address], |it| {
            one_each(it);
            it.limits.max_requests_per_backend = Some(limit);
        });
        fewer.backends[0].figures = service.backends[0].figures.clone();
        Arc::new(fewer.after(&more))
    };
    portolan.publish(vec![lead(&fewer(1))]);
    let next = ask(&portolan, "").await;
    waits(&service.state, 1).await;
    portolan.publish(vec![lead(&fewer(2))]);
    soon(asked.recv()).await.unwrap();
    gate.add_permits(2);
    for mut client in [first, next] {
        assert_eq!(client.response().await.body, "ok");
    }
}

#[tokio::test]
async fn after_a_failed_connection_one_that_is_only_full_is_waited_for() {
    let (backend, gate, mut asked) = held().await;
    let service = to(&[nobody(), backend.address], |it| {
        one_each(it);
        it.passive.enabled = false;
    });
    let state = service.state.clone();
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    let mut clients = vec![ask(&portolan, "").await];
    soon(asked.recv()).await.unwrap();
    for place in 1..=3 {
        clients.push(ask(&portolan, "").await);
        waits(&state, place).await;
    }
    gate.add_permits(4);
    for client in &mut clients {
        assert_eq!(client.response().await.status, 200);
    }
    // With nobody left to wait for, or where nobody may wait, it is the connection that is told of.
    let (backend, _gate, mut asked) = held().await;
    let no_queue = to(&[nobody(), backend.address], |it| {
        one_each(it);
        (it.limits.queue, it.passive.enabled) = (0, false);
    });
    let portolan = Portolan::start(vec![leading("a.local", no_queue)]);
    let _first = ask(&portolan, "").await;
    soon(asked.recv()).await.unwrap();
    assert_eq!(portolan.get("a.local", "/").await.status, 502);
    let alone = to(&[nobody()], one_each);
    let portolan = Portolan::start(vec![leading("a.local", alone)]);
    assert_eq!(portolan.get("a.local", "/").await.status, 502);
}

#[tokio::test]
async fn a_client_waits_for_its_backend_or_is_sent_elsewhere_for_once() {
    // Those who wait for one backend take no place from those who may go elsewhere.
    for (queue, name) in [(10, "ok"), (1, "ok"), (0, "other")] {
        let (backend, gate, mut asked) = held().await;
        let other = named(200, "other").await;
        let service = to(&[backend.address, other.address], |it| {
            one_each(it);
            it.limits.queue = queue;
            it.sticky = Some(Sticky { name: Some("k".into()), ..Sticky::default() });
        });
        let state = service.state.clone();
        let cookie = service.cookie.as_ref().unwrap().header(0).unwrap();
        let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
        let stays = format!("Cookie: {pair}\r\n");
        let portolan = Portolan::start(vec![leading("a.local", service)]);
        let mut first = ask(&portolan, &stays).await;
        soon(asked.recv()).await.unwrap();
        let mut second = ask(&portolan, &stays).await;
        if queue > 0 {
            waits(&state, 1).await;
            // Others need not wait for that.
            assert_eq!(ask(&portolan, "").await.response().await.body, "other");
            gate.add_permits(1);
            assert_eq!(first.response().await.body, "ok");
            gate.add_permits(1);
        }
        let answer = second.response().await;
        assert_eq!(answer.body, name);
        assert_eq!(header(&answer.head, "set-cookie"), None, "it comes back to where it was");
    }
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart() {
    let (a, b) = (named(200, "a").await, named(200, "b").await);
    let hashed = to(&[a.address, b.address], |it| it.strategy = Strategy::Hashed);
    let portolan = Portolan::start(vec![leading("a.local", hashed)]);
    let names = async || {
        let mut names = String::new();
        for client in 0..20 {
            let said = format!("X-Forwarded-For: 192.0.2.{client}\r\n");
            names += &ask(&portolan, &said).await.response().await.body;
        }
        names
    };
    let all = names().await;
    assert!(all == "a".repeat(20) || all == "b".repeat(20), "it is not trusted: {all}");
    let trust =
        Trust { forwarded_headers: vec!["127.0.0.0/8".parse().unwrap()], ..Trust::default() };
    portolan.server.apply(vec![crate::http::EntrypointConfig { trust, ..entrypoint("web", None) }]);
    let all = names().await;
    assert!(all.contains('a') && all.contains('b'), "{all}");
    assert_eq!(names().await, all, "each stays where it is");
}
