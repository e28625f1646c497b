//! What comes for requests that are over costs no other request of the same HTTP/2 connection anything.

use std::sync::{Arc, atomic::Ordering};

use portolan_core::{limit::Limit, service::Scheme};
use tokio::sync::Notify;

use super::{
    raw::{
        CALM, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, NO_ERROR, PING, RST_STREAM,
        Raw, WINDOW_UPDATE, answered, backend, code, fine, frame, goaway_code, line, post, request,
        reset,
    },
    support::{Portolan, Script, leading, router, service, soon},
};
use crate::http::{Http2Limits, Limits};

/// Sends what nobody waits for, of requests that are over, until there was a goodbye, or so many were reset.
/// For a second after one was, what comes for it is passed over in silence.
async fn babble(raw: &mut Raw, streams: &[u32], most: usize) -> Option<Frame> {
    let late = streams.iter().flat_map(|stream| frame(DATA, 0, *stream, b"x"));
    let late: Vec<u8> = late.chain(frame(PING, 0, 0, &[1; 8])).collect();
    let mut resets = 0;
    while resets < most {
        raw.send(&late).await;
        loop {
            match raw.next().await {
                Some(Frame { kind: RST_STREAM, .. }) => resets += 1,
                Some(goodbye @ Frame { kind: GOAWAY, .. }) => return Some(goodbye),
                Some(Frame { kind: PING, .. }) => break,
                Some(_) => {}
                None => panic!("closed without a word"),
            }
        }
    }
    None
}

/// More than are kept on one connection.
const MANY: usize = 2100;

/// The head of a request to `b.local`.
fn ask(stream: u32) -> Vec<u8> {
    let block = [&[0x82, 0x86, 0x84, 0x01, 7][..], b"b.local"].concat();
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

/// A backend that answers when it is told to.
async fn waiting(go: Arc<Notify>) -> Script {
    Script::start(move |mut client| {
        let go = go.clone();
        async move {
            while client.request().await.is_some() {
                go.notified().await;
                client.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
            }
        }
    })
    .await
}

#[tokio::test]
async fn what_comes_for_uploads_that_were_answered_early_is_passed_over() {
    let go = Arc::<Notify>::default();
    let slow = waiting(go.clone()).await;
    let portolan = Portolan::start(vec![router("b.local", &[slow.address])]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&ask(1)).await;
    let streams: Vec<_> = (3..2003).step_by(2).collect();
    for stream in &streams {
        raw.send(&post(*stream)).await;
        let end = raw.until(RST_STREAM).await.unwrap();
        assert_eq!((end.stream, code(&end.payload)), (*stream, NO_ERROR), "not found");
    }
    // More than a window for all of them, and the end of each.
    for stream in &streams {
        raw.send(&frame(DATA, 0, *stream, &[0; 16_000])).await;
        raw.send(&match stream % 4 {
            1 => frame(DATA, END_STREAM, *stream, b"x"),
            _ => frame(HEADERS, END_HEADERS | END_STREAM, *stream, &line("x-sum", "7")),
        })
        .await;
    }
    raw.send(&frame(PING, 0, 0, &[1; 8])).await;
    assert_eq!(raw.next_but(&[WINDOW_UPDATE]).await.kind, PING);
    go.notify_one();
    let head = raw.until(HEADERS).await.unwrap();
    assert_eq!((head.stream, head.payload[0]), (1, 0x88), "what was under way is answered");
    assert_eq!(raw.until(DATA).await.unwrap().payload, b"ok");
}

#[tokio::test]
async fn requests_that_are_taken_back_by_mistakes_are_counted() {
    let limits = Limits {
        http2: Http2Limits { max_resets: 5, ..Http2Limits::default() },
        ..Limits::default()
    };
    let never = waiting(Arc::default()).await;
    let portolan = Portolan::limited(limits, vec![router("a.local", &[never.address])]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    let code = soon(async {
        for number in 0.. {
            let stream = 2 * number + 1;
            // A window that is too large is a mistake of that request (RFC 9113, 6.9.1).
            let mistake = frame(WINDOW_UPDATE, 0, stream, &[0x7f, 0xff, 0xff, 0xff]);
            raw.send(&[request(stream), mistake].concat()).await;
            match raw.next().await {
                Some(Frame { kind: GOAWAY, payload, .. }) => return goaway_code(&payload),
                Some(_) => {}
                None => panic!("closed without a word"),
            }
        }
        0
    })
    .await;
    assert_eq!(code, CALM);
    assert_eq!(portolan.server.figures()[0].1.limits.value(Limit::Resets), 1);
}

#[tokio::test]
async fn who_resets_what_is_answered_takes_nothing_back() {
    let limits = Limits {
        http2: Http2Limits { max_resets: 5, max_control_frames: 20, ..Http2Limits::default() },
        ..Limits::default()
    };
    let (go, echo) = (Arc::<Notify>::default(), Script::echo().await);
    let slow = waiting(go.clone()).await;
    let routers = vec![router("a.local", &[echo.address]), router("b.local", &[slow.address])];
    let portolan = Portolan::limited(limits, routers);
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&ask(1)).await;
    for number in 1..500 {
        let stream = 2 * number + 1;
        // Some of them found no service, and have content that nobody waits for.
        let (kind, asked) = match number % 2 {
            0 => (DATA, request(stream)),
            _ => (RST_STREAM, frame(HEADERS, END_HEADERS, stream, &elsewhere())),
        };
        raw.send(&asked).await;
        raw.until(kind).await.unwrap();
        raw.send(&reset(stream)).await;
    }
    go.notify_one();
    let head = raw.until(HEADERS).await.unwrap();
    assert_eq!((head.stream, head.payload[0]), (1, 0x88), "what was under way is answered");
}

/// What is asked of nobody.
fn elsewhere() -> Vec<u8> {
    [&[0x83, 0x86, 0x84, 0x01, 7][..], b"c.local"].concat()
}

#[tokio::test]
async fn a_response_that_broke_off_is_no_mistake_of_the_client() {
    const INTERNAL_ERROR: u32 = 2;
    let (address, _) = backend(&[(3, 100)], |mut raw, _| async move {
        let mut round = 0;
        while let Some((stream, _)) = raw.request().await {
            let head = fine(stream, 0, &[("content-length", "10")]);
            let end = match round {
                0 => frame(DATA, END_STREAM, stream, b"too short"),
                1 => frame(DATA, 0, stream, b"much too long"),
                2 => frame(RST_STREAM, 0, stream, &CALM.to_be_bytes()),
                _ => frame(RST_STREAM, 0, stream, &NO_ERROR.to_be_bytes()),
            };
            raw.send(&[head, end].concat()).await;
            round += 1;
        }
    })
    .await;
    let portolan = Portolan::start(vec![leading("a.local", service(Scheme::H2c, &[address]))]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    for (stream, expected) in [1, 3, 5, 7].into_iter().zip([
        INTERNAL_ERROR,
        INTERNAL_ERROR,
        // What it says for itself is passed on.
        CALM,
        INTERNAL_ERROR,
    ]) {
        raw.send(&request(stream)).await;
        let end = raw.until(RST_STREAM).await.unwrap();
        assert_eq!((end.stream, code(&end.payload)), (stream, expected));
    }
}

/// More requests than are remembered of those that are over.
const OVER: usize = 600;

#[tokio::test]
async fn a_connection_to_a_backend_that_had_many_resets_takes_no_more_and_loses_nothing() {
    let (has_reset, go) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let (told, gone) = (has_reset.clone(), go.clone());
    let (address, connections) = backend(&[(3, 100)], move |mut raw, number| {
        let (told, go) = (told.clone(), gone.clone());
        async move {
            let mut over = Vec::new();
            for _ in 0..if number == 0 { OVER } else { 1 } {
                let (stream, _) = raw.request().await.unwrap();
                raw.send(&answered(stream)).await;
                over.push(stream);
            }
            // This one waits, while more and more comes for those that are over.
            let Some((waiting, _)) = raw.request().await else { return };
            babble(&mut raw, &over, MANY).await;
            told.notify_one();
            go.notified().await;
            raw.send(&answered(waiting)).await;
            drop(raw.next().await);
        }
    })
    .await;
    let portolan = Portolan::start(vec![leading("a.local", service(Scheme::H2c, &[address]))]);
    // By one connection, since each worker has backends of its own.
    let mut client = Raw::connect(&portolan, &[]).await;
    let streams: Vec<_> = (1..).step_by(2).take(OVER + 2).collect();
    let [over @ .., waiting, next] = &*streams else { panic!("they are many") };
    for stream in over {
        client.send(&request(*stream)).await;
        assert_eq!(client.until(HEADERS).await.unwrap().payload[0], 0x88);
    }
    client.send(&request(*waiting)).await;
    soon(has_reset.notified()).await;
    client.send(&request(*next)).await;
    let head = client.until(HEADERS).await.unwrap();
    assert_eq!((head.stream, head.payload[0]), (*next, 0x88));
    assert_eq!(connections.load(Ordering::Relaxed), 2);
    go.notify_one();
    let head = client.until(HEADERS).await.unwrap();
    assert_eq!((head.stream, head.payload[0]), (*waiting, 0x88), "what was under way is answered");
}
