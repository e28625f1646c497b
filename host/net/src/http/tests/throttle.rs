//! Who asks too much: refused, or kept waiting a little.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use portolan_core::{
    middleware::Action,
    moment::Fine,
    router::Router,
    test_util,
    throttle::{By, Pace, Rate, RateLimit, Sources, Tally},
};

use super::support::{Portolan, Script, header, plan, router, soon};

fn limit(average: u64, period: Duration, burst: u64) -> RateLimit {
    let sources = Sources { by: By::Host, together: false };
    RateLimit::new(Rate { average, period, burst }, sources)
}

fn limited(host: &str, limit: &RateLimit, backend: &Script) -> Router {
    let middlewares = vec![plan("limit", vec![Action::RateLimit(limit.clone())])];
    Router { middlewares, ..router(host, &[backend.address]) }
}

/// Of a second and two requests at once one is used, and some of the other: the next one has to wait so long.
fn used(router: &Router, host: &str, wait: Duration) -> RateLimit {
    let limit = limit(1, Duration::from_secs(1), 2);
    let key = limit.sources.key(&router.name, &test_util::exchange(&format!("GET http://{host}/")));
    let now = Instant::now();
    // Time begins with the first moment that anybody asks for.
    Fine::of(now);
    assert_eq!(limit.take(key, Fine::of(now + wait)), Pace::Now);
    limit
}

async fn until(tally: &Arc<Tally>, waiting: u64) {
    soon(async {
        while tally.waiting.value() != waiting {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn who_asks_too_much_is_told_when_to_come_again() {
    let mut backend = Script::echo().await;
    let hourly = limit(2, Duration::from_secs(3600), 2);
    let routers = ["a.local", "b.local"].map(|host| limited(host, &hourly, &backend));
    let portolan = Portolan::start(routers.into());
    for _ in 0..2 {
        assert_eq!(portolan.get("a.local", "/").await.status, 200);
    }
    let asked = backend.connections();
    let refused = portolan.get("a.local", "/").await;
    assert_eq!((refused.status, refused.body.as_str()), (429, "Too Many Requests"));
    let seconds = header(&refused.head, "retry-after").unwrap();
    assert!((1700..=1800).contains(&seconds.parse::<u64>().unwrap()), "{seconds}");
    let exactly = header(&refused.head, "x-retry-in").unwrap();
    assert!(exactly.ends_with('s'), "{exactly}");
    assert_eq!((hourly.tally.refused.value(), backend.connections()), (1, 0));
    assert!(asked > 0);
    // Another source.
    assert_eq!(portolan.get("b.local", "/").await.status, 200);
}

#[tokio::test]
async fn who_comes_a_little_too_early_waits() {
    let backend = Script::echo().await;
    let begin = Instant::now();
    let limit = used(&router("a.local", &[]), "a.local", Duration::from_millis(300));
    let portolan = Portolan::start(vec![limited("a.local", &limit, &backend)]);
    let status = portolan.get("a.local", "/").await.status;
    assert_eq!((status, limit.tally.refused.value()), (200, 0));
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
    assert_eq!(limit.tally.waiting.value(), 0);
}

#[tokio::test]
async fn who_goes_away_does_not_wait() {
    let mut backend = Script::echo().await;
    let limit = used(&router("a.local", &[]), "a.local", Duration::from_millis(490));
    let portolan = Portolan::start(vec![limited("a.local", &limit, &backend)]);
    let mut client = portolan.connect().await;
    client.send("GET / HTTP/1.1\r\nHost: a.local\r\n\r\n").await;
    until(&limit.tally, 1).await;
    drop(client);
    until(&limit.tally, 0).await;
    assert_eq!(backend.connections(), 0);
    let refused = portolan.get("a.local", "/").await;
    assert_eq!(refused.status, 429, "what it would have asked is counted");
    assert_eq!(backend.connections(), 0);
}
