//! What becomes of a body on its way, step by step. How it comes to a client is looked at on real sockets.

use std::{future::poll_fn, task::Waker};

use super::*;
use crate::{
    h1::Basin,
    http::encoder::tests::{decoded, is_whole, text},
};

#[derive(Debug, Default)]
struct Bucket(Vec<u8>);

impl Basin for Bucket {
    fn take(&mut self, content: &[u8]) {
        self.0.extend_from_slice(content);
    }
}

/// Pours all of it; answers what came and how often others had their turn.
fn pour(body: &mut Body) -> (Vec<u8>, usize) {
    let (mut bucket, mut turns) = (Bucket::default(), 0);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        let mut outlet = Outlet::into_basin(&mut bucket);
        match body.poll_pour(&mut cx, &mut outlet) {
            Poll::Ready(Ok(Poured::More)) => {}
            Poll::Ready(Ok(Poured::End(_))) => return (bucket.0, turns),
            Poll::Ready(Err(error)) => panic!("{error:?}"),
            Poll::Pending => turns += 1,
        }
    }
}

#[test]
fn a_long_body_lets_others_have_their_turn() {
    for coding in Coding::ALL {
        let content = text(10 * MOST_AT_ONCE);
        let mut body = Body::full(content.clone().into());
        body.compress(coding).unwrap();
        assert_eq!((body.framing(), body.source.is_end_stream()), (Framing::Chunked, false));
        let (given, turns) = pour(&mut body);
        assert!(decoded(coding, &given) == content && is_whole(coding, &given));
        assert_eq!(turns, 10, "{coding:?}");
        assert!(body.source.is_end_stream());
    }
}

#[tokio::test]
async fn it_is_the_same_frame_by_frame() {
    let content = text(100_000);
    let mut body = Body::full(content.clone().into());
    body.compress(Coding::Gzip).unwrap();
    let mut given = Vec::new();
    while let Some(frame) = poll_fn(|cx| body.source.poll_frame(cx)).await {
        given.extend_from_slice(&frame.unwrap().into_data().unwrap());
    }
    assert!(decoded(Coding::Gzip, &given) == content && is_whole(Coding::Gzip, &given));
    assert!(body.source.is_end_stream());
}

#[tokio::test]
async fn what_was_read_ahead_comes_all_the_same() {
    for framed in [false, true] {
        let mut body = Body::full(Bytes::from_static(b"hello"));
        poll_fn(|cx| body.coded().poll_ahead(cx)).await;
        // That there is no more is known with the last of it.
        assert_eq!((body.framing(), body.is_as_long(5)), (Framing::Length(5), Some(true)));
        assert_eq!(body.is_as_long(6), Some(false));
        assert!(!body.source.is_end_stream());
        if framed {
            let frame = poll_fn(|cx| body.source.poll_frame(cx)).await.unwrap().unwrap();
            assert_eq!(frame.into_data().unwrap(), "hello");
            assert!(body.source.is_end_stream());
            assert!(poll_fn(|cx| body.source.poll_frame(cx)).await.is_none());
        } else {
            assert_eq!(pour(&mut body), (b"hello".to_vec(), 0));
            assert!(body.source.is_end_stream());
        }
    }
}
