//! What a browser hears while it watches.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;

use super::{serve, snapshot};

#[tokio::test]
async fn the_event_stream_tells_of_a_new_snapshot() {
    let mut server = serve(0, "127.0.0.1:0").await;
    let mut events = Events::open(server.address).await;
    assert_eq!(events.until("change").await["generation"], 1);
    server.harbour.publisher.publish(Arc::new(snapshot(2, 0)));
    assert_eq!(events.until("change").await["generation"], 2);
    let board = server.harbour.board.load_full();
    server.harbour.board.store(Arc::new((*board).clone()));
    assert_eq!(events.until("change").await["generation"], 2, "the board changed");
    let pulse = events.until("pulse").await;
    assert_eq!(pulse["portolan"]["generation"], 2);
}

#[tokio::test]
async fn draining_ends_event_streams() {
    let server = serve(0, "127.0.0.1:0").await;
    let mut events = Events::open(server.address).await;
    events.until("change").await;
    server.drain.send(true).unwrap();
    events.end().await;
}

#[tokio::test]
async fn who_watches_hears_how_things_are_though_something_changes_all_the_time() {
    let server = serve(0, "127.0.0.1:0").await;
    let mut events = Events::open(server.address).await;
    let (mut changes, mut pulses) = (0, 0);
    while pulses < 2 {
        match &*events.next().await.0 {
            "pulse" => pulses += 1,
            _ => {
                changes += 1;
                let board = server.harbour.board.load_full();
                server.harbour.board.store(Arc::new((*board).clone()));
            }
        }
    }
    assert!(changes > 2, "{changes}");
}

/// Reads an event stream.
struct Events {
    body: hyper::body::Incoming,
    text: String,
}

impl Events {
    async fn open(address: SocketAddr) -> Self {
        let client = Client::builder(TokioExecutor::new()).build_http::<Empty<bytes::Bytes>>();
        let uri = format!("http://{address}/api/events").parse().unwrap();
        let body = client.get(uri).await.unwrap().into_body();
        Self { body, text: String::new() }
    }

    /// The data of the next event of a kind.
    async fn until(&mut self, wanted: &str) -> Value {
        loop {
            let (kind, data) = self.next().await;
            if kind == wanted {
                return data;
            }
        }
    }

    /// The next event, and its data.
    async fn next(&mut self) -> (String, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (kind, data) = event.split_once("\ndata: ").unwrap();
                let kind = kind.strip_prefix("event: ").unwrap().to_owned();
                let data = serde_json::from_str(data).unwrap();
                self.text = rest.to_owned();
                return (kind, data);
            }
            let frame = tokio::time::timeout(Duration::from_secs(20), self.body.frame());
            let frame = frame.await.expect("an event in time").expect("a stream").unwrap();
            self.text.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
        }
    }

    async fn end(mut self) {
        let rest = async { while let Some(Ok(_)) = self.body.frame().await {} };
        tokio::time::timeout(Duration::from_secs(20), rest).await.expect("the stream ends");
    }
}
