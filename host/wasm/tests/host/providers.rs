//! Providers: what they may reach, and that their polls can be ended.

use std::{fs, net::SocketAddr, sync::Arc, time::Duration};

use portolan_core::{
    item::Update,
    port::{BindError, CallError, PollError, Provider},
};
use portolan_wasm::{Grants, Host, HostConfig};
use serde_json::json;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::{guest::PROVIDER, host, load};

fn grants(origin: &str, base: &std::path::Path) -> Grants {
    Grants {
        http_client: vec![origin.to_owned()],
        credentials: None,
        files: vec!["granted".into()],
        base_dir: base.to_owned(),
    }
}

fn provider(letter: &str, text: &str, grants: &Grants) -> Arc<dyn Provider> {
    let plugin = load(&host(), &PROVIDER);
    plugin.provider("test", &json!({ "a": letter, "b": text }), grants).expect("a good binding")
}

/// What the guest says it was told.
async fn said(letter: &str, text: &str, grants: &Grants) -> String {
    match provider(letter, text, grants).poll(None, Duration::from_secs(1)).await {
        Err(PollError::Temporary(text)) => text,
        other => panic!("must say what it was told: {other:?}"),
    }
}

/// A server that answers every request with this content.
async fn serve(content: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("to bind");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut buffer = [0; 4096];
                while stream.read(&mut buffer).await.is_ok_and(|read| read > 0) {
                    let answer = format!(
                        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{content}",
                        content.len()
                    );
                    stream.write_all(answer.as_bytes()).await.expect("to answer");
                }
            });
        }
    });
    address
}

const DENIED: &str = "error 0";

#[tokio::test]
async fn requests_reach_what_is_granted_and_nothing_else() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let address = serve("hello").await;
    let granted = grants(&format!("http://{address}"), home.path());
    for letter in ["h", "b"] {
        assert_eq!(said(letter, &format!("http://{address}/x"), &granted).await, "hello");
        assert_eq!(said(letter, "http://127.0.0.1:1/", &granted).await, DENIED);
        assert_eq!(said(letter, "http://localhost:80/", &granted).await, DENIED);
        let https = format!("https://{address}/");
        assert_eq!(said(letter, &https, &granted).await, DENIED);
        assert_eq!(said(letter, "/relative", &granted).await, "error 1", "invalid");
        let user = format!("http://user@{address}/");
        assert_eq!(said(letter, &user, &granted).await, "error 1", "invalid");
    }
}

#[tokio::test]
async fn failures_of_requests_are_told_apart() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let address = serve("much more than sixteen bytes").await;
    let granted = grants(&format!("http://{address}"), home.path());
    assert_eq!(said("h", &format!("http://{address}/"), &granted).await, "error 6", "too large");
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("to bind");
        listener.local_addr().expect("an address")
    };
    let granted = grants(&format!("http://{closed}"), home.path());
    assert_eq!(said("h", &format!("http://{closed}/"), &granted).await, "error 3", "connect");
    let granted = grants("http://*:80", home.path());
    assert_eq!(said("h", "http://127.0.0.1/", &granted).await, DENIED, "by a wildcard");
    let tls = serve("not TLS").await;
    let granted = grants(&format!("https://{tls}"), home.path());
    assert_eq!(said("h", &format!("https://{tls}/"), &granted).await, "error 4", "tls");
}

#[tokio::test]
async fn files_are_read_inside_the_grant_only() {
    let home = tempfile::tempdir().expect("a temporary directory");
    fs::create_dir(home.path().join("granted")).expect("a folder");
    fs::write(home.path().join("granted/a"), "content").expect("a file");
    fs::write(home.path().join("secret"), "s").expect("a file");
    let granted = grants("http://127.0.0.1:1", home.path());
    assert_eq!(said("f", "granted/a", &granted).await, "content");
    assert_eq!(said("f", "granted/../secret", &granted).await, DENIED);
    assert_eq!(said("f", "/etc/passwd", &granted).await, DENIED);
    assert_eq!(said("f", "granted/b", &granted).await, "error 1", "not found");
}

#[tokio::test]
async fn a_change_in_a_folder_ends_the_wait() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let granted = grants("http://127.0.0.1:1", home.path());
    let waiting = said("w", "granted", &granted);
    // It changes again and again, so that one of the changes comes after the first look.
    let changing = async {
        fs::create_dir(home.path().join("granted")).expect("a folder");
        for length in 0.. {
            let (file, content) = (home.path().join("granted/a"), "x".repeat(length % 1000));
            let written = tokio::task::spawn_blocking(|| fs::write(file, content));
            written.await.expect("to write").expect("a file");
        }
    };
    let text = tokio::select! { text = waiting => text, () = changing => unreachable!() };
    assert_eq!(text, "GET", "it has seen another version");
}

#[tokio::test]
async fn what_is_not_granted_is_said_with_what_to_write() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let plugin = load(&host(), &PROVIDER);
    let refused = |grants: &Grants| {
        let bound = plugin.provider("mine", &json!({}), grants);
        match bound.expect_err("must be refused") {
            BindError::Refused(text) => text,
            other => panic!("not of the grant: {other:?}"),
        }
    };
    let all = grants("http://127.0.0.1:1", home.path());
    assert_eq!(
        refused(&Grants { http_client: Vec::new(), ..all.clone() }),
        "`errand` imports `http-client`, which is not granted; write \
         `grants = { http-client = [\"http://host:port\"] }` under `[providers.mine]`"
    );
    assert!(refused(&Grants { files: Vec::new(), ..all.clone() }).contains("files = [\"folder\"]"));
    assert!(refused(&Grants { http_client: vec!["x".into()], ..all }).contains("not an origin"));
}

#[tokio::test]
async fn an_instance_is_kept_between_polls_and_replaced_after_a_trap() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let granted = grants("http://127.0.0.1:1", home.path());
    let counting = provider("c", "", &granted);
    for polls in 1..=3 {
        let step = counting.poll(Some(b"cursor"), Duration::ZERO).await.expect("a step");
        assert_eq!((step.update, step.next_poll_ms), (Update::Snapshot(Vec::new()), polls));
    }
    let trapping = provider("t", "", &granted);
    for _ in 0..2 {
        let error = trapping.poll(None, Duration::ZERO).await.expect_err("must trap");
        assert!(matches!(error, PollError::Call(CallError::Trap { .. })), "{error:?}");
    }
}

#[tokio::test]
async fn a_poll_that_is_dropped_ends_at_once() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let granted = grants("http://127.0.0.1:1", home.path());
    let plugin = load(&host(), &PROVIDER);
    for letter in ["z", "l"] {
        let config = json!({ "a": letter, "b": "" });
        let provider = plugin.provider("test", &config, &granted).expect("a good binding");
        let poll = provider.poll(None, Duration::from_secs(1));
        // The loop yields at every tick, so that the timer of this one thread gets its turn.
        let outcome = tokio::time::timeout(Duration::from_millis(30), poll).await;
        assert!(outcome.is_err(), "{outcome:?}");
        assert_eq!(plugin.figures().instances.value(), 0, "after {letter}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_poll_that_is_stuck_ends_at_its_deadline() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let granted = grants("http://127.0.0.1:1", home.path());
    let poll = provider("z", "", &granted);
    let error = poll.poll(None, Duration::from_secs(60)).await.expect_err("must end");
    let limit = Duration::from_secs(90);
    assert_eq!(error, PollError::Call(CallError::Deadline { limit }));
}

#[tokio::test]
async fn a_poll_that_runs_all_the_time_ends_long_before_its_deadline() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let granted = grants("http://127.0.0.1:1", home.path());
    let limit = Duration::from_millis(100);
    let config = HostConfig { running_limit: limit, ..HostConfig::default() };
    let plugin = load(&Host::new(config).expect("a host"), &PROVIDER);
    let config = json!({ "a": "l", "b": "" });
    let provider = plugin.provider("test", &config, &granted).expect("a good binding");
    let error = provider.poll(None, Duration::from_secs(60)).await.expect_err("must end");
    assert_eq!(error, PollError::Call(CallError::Deadline { limit }));
}
