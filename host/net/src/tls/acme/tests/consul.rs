//! A Consul in memory, and what nodes share by it.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::json;
use tokio::time::Instant;

use super::{Alone, DAY, authority::Authority, config, want};
use crate::tls::{
    acme::{
        consul::Consul,
        desk::Desk,
        fetch::{Body, Fetch},
        resolver::Resolver,
        storage::Storage,
    },
    challenge::Challenges,
    tests::pem,
};

#[derive(Default)]
struct State {
    keys: BTreeMap<String, String>,
    /// What was written, with its query.
    written: Vec<String>,
    /// What it answers who renews a session.
    renewal: u16,
    /// How many sessions there are.
    sessions: usize,
    /// Whether another node has every lock.
    taken: bool,
}

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<State>>);

impl Memory {
    fn new() -> Self {
        let memory = Self::default();
        memory.0.lock().unwrap().renewal = 200;
        memory
    }

    fn consul(&self) -> Consul {
        let memory = self.clone();
        Consul::through(Fetch::through(move |request: Request<Body>| {
            let memory = memory.clone();
            async move {
                let (head, body) = request.into_parts();
                let body = body.collect().await.unwrap().to_bytes();
                let text = String::from_utf8(body.to_vec()).unwrap();
                let (path, query) = (head.uri.path(), head.uri.query().unwrap_or_default());
                let (status, text) = memory.answer(&head.method, path, query, text);
                Ok((StatusCode::from_u16(status).unwrap(), HeaderMap::new(), text.into()))
            }
        }))
    }

    fn answer(&self, method: &Method, path: &str, query: &str, text: String) -> (u16, String) {
        let mut state = self.0.lock().unwrap();
        let plain = || "true".to_owned();
        match (method, path.strip_prefix("/v1/kv/portolan/acme/")) {
            (&Method::GET, Some(key)) => match state.keys.get(key) {
                Some(text) => (200, text.clone()),
                None => (404, String::new()),
            },
            (_, Some(_)) if state.taken => (200, "false".to_owned()),
            (_, Some(key)) => {
                state.written.push(format!("{key}?{query}"));
                state.keys.insert(key.to_owned(), text);
                (200, plain())
            }
            _ if path.ends_with("/create") => {
                state.sessions += 1;
                (200, json!({ "ID": "s1" }).to_string())
            }
            _ if path.contains("/destroy/") => {
                state.sessions -= 1;
                (200, plain())
            }
            _ if path.contains("/renew/") => (state.renewal, plain()),
            _ => (200, plain()),
        }
    }

    fn renewal(&self, status: u16) {
        self.0.lock().unwrap().renewal = status;
    }

    /// How many locks are held, when those have heard of it that are let go.
    async fn locks(&self) -> usize {
        for _ in 0..9 {
            tokio::task::yield_now().await;
        }
        self.0.lock().unwrap().sessions
    }

    fn written(&self) -> Vec<String> {
        self.0.lock().unwrap().written.clone()
    }
}

/// A node with this Consul and this authority.
fn node(memory: &Memory, authority: &Authority) -> Alone {
    let folder = tempfile::tempdir().unwrap();
    let challenges = Arc::<Challenges>::default();
    let storage = Storage::shared_by(memory.consul(), folder.path().to_owned());
    let config = config(folder.path());
    let desk = Desk::new(config, storage, challenges.clone(), Some(authority.fetch()));
    Alone::at(folder, Resolver::at(desk), challenges)
}

/// How long a lock is believed in, when Consul answers like this from a moment on.
async fn held_for(status: u16) -> Option<Duration> {
    let memory = Memory::new();
    let lease = memory.consul().lock("locks/a").await.unwrap().unwrap();
    memory.renewal(status);
    let start = Instant::now();
    let lost = tokio::time::timeout(Duration::from_secs(120), lease.lost()).await;
    assert_eq!(lost.is_ok(), lease.is_lost());
    lost.ok().map(|()| start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn a_lock_that_consul_does_not_know_any_more_is_lost() {
    assert_eq!(held_for(200).await, None);
    let gone = held_for(404).await.unwrap();
    assert!(gone <= Duration::from_secs(5), "{gone:?}");
    // It looks for a leader: the session lives on, but not for ever.
    let away = held_for(500).await.unwrap();
    assert!((15..=20).contains(&away.as_secs()), "{away:?}");
}

#[tokio::test(start_paused = true)]
async fn an_order_ends_with_its_lock_and_so_do_its_answers() {
    let (memory, authority) = (Memory::new(), Authority::new());
    authority.plan().made = "pending";
    let mut node = node(&memory, &authority);
    node.want(&["a.test"]);
    node.turn().await;
    memory.renewal(404);
    // The account's lock is let go before it is missed.
    node.turn().await;
    assert!(node.problem().contains("the lock was lost"), "{}", node.problem());
    let log = authority.plan().log.clone();
    assert!(log.iter().any(|path| path.starts_with("/challenge/")), "{log:?}");
    assert!(!log.iter().any(|path| path.starts_with("/finalize/")), "{log:?}");
    let written = memory.written();
    assert!(written.contains(&"answers/http/token-0?acquire=s1".to_owned()), "{written:?}");
}

#[tokio::test(start_paused = true)]
async fn an_order_that_goes_on_keeps_its_lock_as_long_as_it_is_wanted() {
    let (memory, authority) = (Memory::new(), Authority::new());
    authority.plan().asked = "processing";
    authority.plan().retry = Some(600);
    let mut node = node(&memory, &authority);
    node.want(&["a.test"]);
    node.turn().await;
    node.turn().await;
    assert!(node.problem().contains("is not done with the order"), "{}", node.problem());
    assert_eq!(memory.locks().await, 1);
    node.want(&[]);
    assert_eq!(memory.locks().await, 0);
    assert!(memory.written().iter().any(|it| it.contains("orders/a.test.json")));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_another_node_asks_seldom() {
    let (memory, authority) = (Memory::new(), Authority::new());
    memory.0.lock().unwrap().taken = true;
    let mut node = node(&memory, &authority);
    node.want(&["a.test"]);
    node.turn().await;
    for seconds in [3, 6, 12, 24, 48, 48] {
        node.turn().await;
        let next = node.resolver.next().unwrap();
        assert_eq!(next - Instant::now(), Duration::from_secs(seconds));
        tokio::time::advance(next - Instant::now()).await;
    }
    assert_eq!(memory.locks().await, 0);
    assert_eq!(authority.orders(), 0);
}

#[tokio::test]
async fn what_consul_lost_is_shown_although_it_is_due() {
    let (memory, authority) = (Memory::new(), Authority::new());
    let mut node = node(&memory, &authority);
    node.keep("a.test", 70 * DAY, 90 * DAY);
    node.want(&["a.test"]);
    node.turn().await;
    assert_eq!(node.shown().len(), 1, "before anybody was asked");
    assert!(memory.written().iter().any(|it| it.contains("certificates/a.test.json")));
    let due = node.shown()[0].facts.not_after;
    // It is renewed all the same.
    node.turn().await;
    assert!(node.shown()[0].facts.not_after > due);
}

#[tokio::test]
async fn what_is_read_is_kept_once_and_shown_if_it_cannot_be_kept() {
    let memory = Memory::new();
    let (chain, key) = pem("a.test", SystemTime::now(), 90 * DAY);
    let text = json!({ "names": ["a.test"], "certificate": chain, "key": key }).to_string();
    let folder = tempfile::tempdir().unwrap();
    // Each is a start of the node.
    let start = async |path: &Path| {
        let storage = Storage::shared_by(memory.consul(), path.to_owned());
        let mut resolver = Resolver::at(Desk::new(config(path), storage, Arc::default(), None));
        let place = resolver.desk.place("certificates/a.test.json");
        memory.0.lock().unwrap().keys.insert(place.clone(), text.clone());
        resolver.want([want("a.test")].into_iter());
        let due = resolver.due().pop().unwrap();
        let (outcome, pending) = resolver.desk.clone().look_after(due).await;
        resolver.take(&want("a.test"), outcome, pending, true);
        assert_eq!(resolver.certificates().count(), 1);
        fs::metadata(path.join(place)).map(|file| file.ino()).ok()
    };
    let first = start(folder.path()).await;
    assert!(first.is_some());
    assert_eq!(start(folder.path()).await, first, "it was written once");
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(start(&file).await, None);
}

#[tokio::test]
async fn what_consul_keeps_is_kept_though_this_node_cannot_remember_it() {
    let (memory, authority) = (Memory::new(), Authority::new());
    let mut node = node(&memory, &authority);
    fs::write(node.folder.path().join("le"), "").unwrap();
    node.want(&["a.test"]);
    node.turn().await;
    node.turn().await;
    assert_eq!((node.shown().len(), node.problems()), (1, String::new()));
    let written = memory.written();
    let has = |key: &str| written.iter().any(|it| it.contains(key));
    assert!(has("account.json") && has("certificates/a.test.json"), "{written:?}");
}
