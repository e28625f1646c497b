//! What a router says of retries, over what its service says.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use portolan_core::{
    middleware::{Interest, Middleware, OnFailure},
    policy::Retries,
};

use super::*;

fn middleware(retries: Retries) -> Arc<Middleware> {
    Arc::new(Middleware {
        name: ObjectName::new("again", "test"),
        plugin: "retry".into(),
        interest: Interest { retry: Some(Arc::new(retries)), ..Interest::default() },
        on_failure: OnFailure::Closed,
    })
}

/// A router that has its requests tried again like this.
fn saying(host: &str, service: Service, retries: Retries) -> Router {
    let mut router = leading(host, service);
    router.retry = Some(middleware(retries));
    router
}

/// Answers so many requests with a status, and those that come then with 200.
async fn stumbling(times: usize, status: u16) -> (Script, Arc<AtomicUsize>) {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = seen.clone();
    let script = Script::start(move |mut client| {
        let count = count.clone();
        async move {
            while client.request().await.is_some() {
                let number = count.fetch_add(1, Ordering::SeqCst);
                let status = if number < times { status } else { 200 };
                let head = format!("HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n");
                client.send(&format!("{head}ok")).await;
            }
        }
    })
    .await;
    (script, seen)
}

/// What comes of one request, and how often the backend saw it.
async fn ask(portolan: &Portolan, line: &str, seen: &AtomicUsize) -> (u16, usize) {
    seen.store(0, Ordering::SeqCst);
    let mut client = portolan.connect().await;
    client.send(&format!("{line} HTTP/1.1\r\nHost: a.local\r\nContent-Length: 0\r\n\r\n")).await;
    let status = client.response().await.status;
    (status, seen.load(Ordering::SeqCst))
}

fn plenty(it: &mut LoadBalancer) {
    it.retry.budget_min = 99;
}

#[tokio::test]
async fn the_only_backend_is_tried_as_often_as_the_router_says() {
    let (backend, seen) = stumbling(2, 503).await;
    let listed = || statuses(500, 599);
    for (retries, line, expected) in [
        (Retries { statuses: listed(), ..Retries::new(4) }, "GET /", (200, 3)),
        (Retries { statuses: listed(), ..Retries::new(2) }, "GET /", (503, 2)),
        (Retries { statuses: listed(), ..Retries::new(1) }, "GET /", (503, 1)),
        (Retries { statuses: statuses(429, 429), ..Retries::new(4) }, "GET /", (503, 1)),
        (Retries::new(4), "GET /", (503, 1)),
        (Retries { statuses: listed(), ..Retries::new(4) }, "POST /", (503, 1)),
        (Retries { statuses: listed(), any_method: true, ..Retries::new(4) }, "POST /", (200, 3)),
    ] {
        let service = to(&[backend.address], plenty);
        let told = format!("{line} {retries:?}");
        let portolan = Portolan::start(vec![saying("a.local", service, retries)]);
        assert_eq!(ask(&portolan, line, &seen).await, expected, "{told}");
    }
    // Another router of the same service knows nothing of it.
    let service = to(&[backend.address], plenty);
    let portolan = Portolan::start(vec![leading("a.local", service)]);
    assert_eq!(ask(&portolan, "GET /", &seen).await, (503, 1));
}

#[tokio::test]
async fn what_the_service_says_holds_where_the_router_does_not_say() {
    let (backend, seen) = stumbling(1, 502).await;
    let service = to(&[backend.address], |it| {
        it.retry = Retry { statuses: statuses(502, 502), ..Retry::default() };
    });
    let portolan = Portolan::start(vec![saying("a.local", service, Retries::new(2))]);
    assert_eq!(ask(&portolan, "GET /", &seen).await, (200, 2));
}

#[tokio::test]
async fn an_entrypoint_may_say_it_and_the_router_comes_first() {
    let (backend, seen) = stumbling(2, 503).await;
    let of = |attempts| Retries { statuses: statuses(503, 503), ..Retries::new(attempts) };
    let mut router = leading("a.local", to(&[backend.address], plenty));
    router.retries = vec![("other".into(), middleware(of(1))), ("web".into(), middleware(of(3)))];
    let mut both = leading("a.local", to(&[backend.address], plenty));
    (both.retries, both.retry) = (router.retries.clone(), Some(middleware(of(2))));
    let portolan = Portolan::start(vec![router]);
    assert_eq!(ask(&portolan, "GET /", &seen).await, (200, 3));
    let portolan = Portolan::start(vec![both]);
    assert_eq!(ask(&portolan, "GET /", &seen).await, (503, 2));
}

#[tokio::test]
async fn between_tries_is_a_pause_unless_there_is_no_time_left() {
    let (backend, seen) = stumbling(2, 503).await;
    let interval = Duration::from_millis(60);
    let patient = Retries { statuses: statuses(503, 503), interval, ..Retries::new(3) };
    let hasty = Retries { timeout: Some(Duration::from_millis(50)), ..patient.clone() };
    let service = to(&[backend.address], plenty);
    let portolan = Portolan::start(vec![saying("a.local", service, patient)]);
    let begin = Instant::now();
    assert_eq!(ask(&portolan, "GET /", &seen).await, (200, 3));
    assert!(begin.elapsed() >= Duration::from_millis(60 + 84), "{:?}", begin.elapsed());

    let service = to(&[backend.address], plenty);
    let portolan = Portolan::start(vec![saying("a.local", service, hasty)]);
    assert_eq!(ask(&portolan, "GET /", &seen).await, (503, 1));
}

#[tokio::test]
async fn a_backend_that_comes_up_meanwhile_is_reached() {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = socket.local_addr().unwrap();
    let service = to(&[address], |_| ());
    let figures = service.backends[0].figures.clone();
    let interval = Duration::from_millis(50);
    let retries = Retries { interval, ..Retries::new(100) };
    let portolan = Portolan::start(vec![saying("a.local", service, retries)]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    while figures.connect_failures.value() < 2 {
        tokio::task::yield_now().await;
    }
    let listener = socket.listen(8).unwrap();
    let answered = async {
        let (stream, _) = listener.accept().await.unwrap();
        let mut backend = Client::new(stream);
        backend.request().await;
        backend.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nup").await;
        client.response().await
    };
    assert_eq!(answered.await.body, "up");
}

#[tokio::test]
async fn who_cannot_be_reached_is_not_tried_again_where_the_router_says_so() {
    let live = named(200, "good").await;
    let only = Retries { on_network_error: false, statuses: statuses(503, 503), ..Retries::new(4) };
    // Unless that comes to an answer that is listed, as in Traefik.
    let listed = Retries { statuses: statuses(502, 502), ..only.clone() };
    for (retries, expected) in [(only, 502), (listed, 200)] {
        let service = to(&[nobody(), live.address], |_| ());
        let portolan = Portolan::start(vec![saying("a.local", service, retries)]);
        let answers =
            [portolan.get("a.local", "/").await.status, portolan.get("a.local", "/").await.status];
        assert_eq!(answers.into_iter().max(), Some(expected), "{answers:?}");
    }
}
