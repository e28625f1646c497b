//! What heads become.

use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header::ACCEPT};
use portolan_core::exchange;

use super::{
    Answer, Broken, Connection, ConnectionLimits, FrameHead, Piece, Request, Server, Told, flag,
    frame,
    head::{FieldLimits, Gathering, Malformed, RequestHead},
    hpack::Field,
};
use crate::h1::{self, Basin as _, Buffers, HeadError, Maps};

const LIMITS: FieldLimits = FieldLimits { bytes: 8192, fields: 20 };

fn read(fields: &[(&str, &str)]) -> Result<RequestHead, Malformed> {
    let mut text = Vec::new();
    let mut gathering = Gathering::new(&mut text, LIMITS);
    let _all = fields.iter().all(|(name, value)| {
        gathering.take(&Field { name: name.as_bytes(), value: value.as_bytes(), known: None })
    });
    gathering.finish(&Maps::default())
}

const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "https"), (":authority", "a.local:8443"), (":path", "/a?b=c")];

fn get(more: &[(&str, &str)]) -> RequestHead {
    read(&[&GET, more].concat()).unwrap()
}

#[test]
fn a_head_says_what_the_same_over_http_1_says() {
    for lines in [
        &[][..],
        &[("accept", "*/*"), ("user-agent", "curl")],
        &[("accept", "a"), ("accept", "b"), ("date", "today"), ("x-empty", "")],
        &[("x-forwarded-for", "10.0.0.1"), ("x-a", "b")],
        &[("proxy-authorization", "x"), ("cdn-loop", "a")],
    ] {
        let head = get(lines);
        let mut text = "GET /a?b=c HTTP/1.1\r\n".to_owned();
        let host = [("host", "a.local:8443")];
        for (name, value) in lines.iter().chain(&host) {
            text += &format!("{name}: {value}\r\n");
        }
        text += "\r\n";
        let other = h1::RequestHead::read(&Bytes::from(text), 20, &Maps::default());
        let (other, _) = other.unwrap().unwrap();
        assert_eq!((&head.method, &head.uri), (&other.method, &other.uri));
        assert_eq!(head.headers.lines().is_some(), other.headers.lines().is_some(), "{lines:?}");
        for name in other.headers.keys() {
            let values = |headers: &exchange::Headers| {
                headers.values(name).map(<[u8]>::to_vec).collect::<Vec<_>>()
            };
            assert_eq!(values(&head.headers), values(&other.headers), "{name}");
        }
        assert_eq!(head.headers.host(), other.headers.host());
        assert_eq!(head.headers.first(&ACCEPT), other.headers.first(&ACCEPT));
        if let Some((unread, _)) = head.headers.lines() {
            let kept: Vec<u8> = unread.kept().flatten().copied().collect();
            let other: Vec<u8> =
                other.headers.lines().unwrap().0.kept().flatten().copied().collect();
            assert_eq!(String::from_utf8(kept), String::from_utf8(other));
        }
        assert_eq!(head.headers, other.headers);
    }
}

#[test]
fn a_length_stands_in_no_line_and_goes_with_the_map() {
    let head = get(&[("content-length", "12"), ("x", "y")]);
    assert_eq!(head.length, Some(12));
    let (unread, _) = head.headers.lines().unwrap();
    assert!(unread.has_length && unread.kept().all(|run| !run.starts_with(b"content-length")));
    assert_eq!(head.headers["content-length"], "12");
}

#[test]
fn cookies_come_in_one_line() {
    let joined = |cookies: &[&str]| {
        let cookies: Vec<_> = cookies.iter().map(|cookie| ("cookie", *cookie)).collect();
        let head = get(&[&cookies[..], &[("x", "y")]].concat());
        let lines = head.headers.get_all("cookie").iter();
        lines.map(|line| line.to_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(joined(&["a=1", "b=2"]), ["a=1; b=2"]);
    assert_eq!(joined(&["a=1"]), ["a=1"]);
    for empty in ["", " "] {
        assert_eq!(joined(&["", "a=1", empty, "b=2 ", empty]), ["a=1; b=2"]);
        assert_eq!(joined(&[empty]), [""]);
    }
    assert_eq!(joined(&["a=1; "]), ["a=1;"]);
    assert!(joined(&[]).is_empty());
}

#[test]
fn a_host_beside_the_authority_is_looked_at_with_it() {
    let parse = |head: RequestHead| {
        exchange::RequestHead::parse(head.method, head.uri, Version::HTTP_2, head.headers)
    };
    assert_eq!(parse(get(&[])).unwrap().authority(), "a.local:8443");
    let same = parse(get(&[("host", "A.local:8443")])).unwrap();
    assert_eq!((same.authority(), same.host()), ("a.local:8443", "a.local"));
    parse(get(&[("host", "b.local")])).unwrap_err();
    parse(get(&[("host", "a.local:8443"), ("host", "a.local:8443")])).unwrap_err();
    let alone =
        |hosts: &[(&str, &str)]| parse(read(&[&GET[..2], &GET[3..], hosts].concat()).unwrap());
    assert_eq!(alone(&[("host", "b.local")]).unwrap().host(), "b.local");
    alone(&[("host", "b.local"), ("host", "b.local")]).unwrap_err();
    assert!(!alone(&[("host", "")]).unwrap().has_authority());
    assert!(!alone(&[]).unwrap().has_authority());
    parse(get(&[])).unwrap();
    let odd = |authority| read(&[&[(":authority", authority)], &GET[..2], &GET[3..]].concat());
    parse(odd("a b").unwrap()).unwrap_err();
    parse(odd("user@a.local").unwrap()).unwrap_err();
}

#[test]
fn what_is_too_much_or_no_target_is_told_and_what_is_no_message_is_none() {
    let fault = |more: &[(&str, &str)]| get(more).fault;
    assert_eq!(fault(&[("x", &"y".repeat(9000))]), Some(HeadError::TooLarge));
    assert_eq!(fault(&[("x", "y"); 21]), Some(HeadError::TooMany));
    assert_eq!(fault(&[("x", "y"); 20]), None);
    assert_eq!(fault(&[("x", " y")]), Some(HeadError::Line));
    assert_eq!(fault(&[("cookie", &"a".repeat(9000))]), Some(HeadError::TooLarge));
    let path = |path: &str| {
        read(&[&GET[..3], &[(":path", path)]].concat()).map(|head| (head.uri, head.fault))
    };
    for wrong in ["a", "http://a/", "/a#b", "*", "?a", "/a b"] {
        assert_eq!(path(wrong).unwrap().1, Some(HeadError::Target), "{wrong}");
    }
    assert_eq!(path(&format!("/{}", "a".repeat(9000))).unwrap().1, Some(HeadError::TooLarge));
    let tunnel = read(&[(":method", "CONNECT"), (":authority", "a.local:80")]).unwrap();
    assert_eq!((tunnel.method, tunnel.fault), (http::Method::CONNECT, None));
    read(&[(":method", "CONNECT"), (":authority", "a.local:80"), (":path", "/")]).unwrap_err();
    read(&[(":method", "G T"), GET[1], GET[2], GET[3]]).unwrap_err();
}

#[test]
fn content_in_small_pieces_takes_no_more_memory_than_it_is_long() {
    let mut upload = super::state::Upload::new(None, false);
    let piece = [7; 5000];
    (0..40_000).for_each(|_| upload.push(b"x"));
    upload.push(&piece);
    upload.push(b"y");
    assert_eq!(upload.held(), 45_001);
    let mut all = Vec::new();
    let mut pieces = 0;
    while let Some(piece) = upload.pop() {
        all.extend_from_slice(&piece);
        pieces += 1;
    }
    assert!(pieces < 5 && upload.is_read() && upload.held() == 0);
    assert_eq!(
        (&all[..40_000], &all[40_000..45_000], &all[45_000..]),
        (&[b'x'; 40_000][..], &piece[..], &b"y"[..])
    );
}

#[test]
fn what_others_hold_of_a_window_stops_nobody() {
    let mut state = super::state::State::new();
    let all = i64::from(super::state::CONNECTION_WINDOW);
    // Held for backends that do not read.
    state.credit -= all - 100_000;
    for _ in 0..1000 {
        assert!(state.credit > 0, "the client waits for ever");
        let piece = state.credit.min(16_384);
        state.credit -= piece;
        state.claim(usize::try_from(piece).unwrap());
    }
}

/// Takes requests, and judges nothing.
#[derive(Default)]
struct Taking(Vec<Request>);

impl Server for Taking {
    fn judge(&mut self, _head: &FrameHead, _takes_back: bool) -> Result<(), Broken> {
        Ok(())
    }

    fn take(&mut self, request: Request) {
        self.0.push(request);
    }

    fn mistaken(&mut self) -> Result<(), Broken> {
        Ok(())
    }
}

#[test]
fn content_that_is_cut_off_has_no_end_however_often_it_is_asked() {
    let mut connection = Connection::new(ConnectionLimits { streams: 1, head: LIMITS });
    let (buffers, mut server) = (Buffers::default(), Taking::default());
    let mut sent = super::connection::PREFACE.to_vec();
    frame::settings(&mut sent, &[]);
    let head = b"\x83\x86\x84\x01\x01a";
    frame::write(&mut sent, super::kind::HEADERS, flag::END_HEADERS, 1, head);
    frame::write(&mut sent, super::kind::DATA, 0, 1, b"hello");
    connection.receive(&sent, &buffers, &mut server).unwrap();
    let mut request = server.0.pop().unwrap();
    let content = request.content.as_mut().unwrap();
    let cx = Context::from_waker(Waker::noop());
    let piece = content.poll_piece(&cx);
    assert!(matches!(piece, Poll::Ready(Some(Ok(Piece::Data(data)))) if data == "hello"));
    let mut reset = Vec::new();
    frame::reset(&mut reset, 1, h2::Reason::NO_ERROR);
    connection.receive(&reset, &buffers, &mut server).unwrap();
    for _ in 0..3 {
        assert!(matches!(content.poll_piece(&cx), Poll::Ready(Some(Err(_)))), "it looks whole");
        assert!(!content.is_end());
    }
}

#[test]
fn what_is_told_of_responses_is_counted_and_nothing_else_nor_what_is_too_short_for_a_message() {
    let mut connection = Connection::new(ConnectionLimits { streams: 1, head: LIMITS });
    let (buffers, mut server) = (Buffers::default(), Taking::default());
    let mut sent = super::connection::PREFACE.to_vec();
    frame::settings(&mut sent, &[]);
    frame::write(&mut sent, super::kind::PING, 0, 0, &[0; 8]);
    let head = b"\x82\x86\x84\x01\x01a";
    frame::write(&mut sent, super::kind::HEADERS, flag::END_HEADERS | flag::END_STREAM, 1, head);
    connection.receive(&sent, &buffers, &mut server).unwrap();
    assert_eq!(connection.take_told(), Told::default());
    let mut responder = server.0.pop().unwrap().responder;
    let headers = exchange::Headers::default();
    let answer =
        Answer { status: StatusCode::OK, headers: &headers, length: None, tells_length: false };
    responder.head(&answer, || HeaderValue::from_static("now"), false);
    assert_eq!(connection.take_told().frames, 1);
    for (pieces, expected) in [
        (&["x"][..], 0),
        (&["hell"], 0),
        (&["hello"], 1),
        (&["he", "ll", "o", " there"], 1),
        (&["x".repeat(40_000).as_str()], 3),
    ] {
        let mut spilt = Vec::new();
        let mut pouring = responder.pour(50_000, &mut spilt);
        pieces.iter().for_each(|piece| pouring.take(piece.as_bytes()));
        responder.poured(pouring, false);
        let told = connection.take_told();
        let length: usize = pieces.iter().map(|piece| piece.len()).sum();
        assert_eq!((told.frames, told.bytes / length > 0), (expected, true), "{length}");
    }
}

#[test]
fn who_has_its_answer_and_sends_on_is_told_to_stop_behind_the_answer_and_not_with_it() {
    let mut connection = Connection::new(ConnectionLimits { streams: 1, head: LIMITS });
    let (buffers, mut server) = (Buffers::default(), Taking::default());
    let mut sent = super::connection::PREFACE.to_vec();
    frame::settings(&mut sent, &[]);
    frame::write(&mut sent, super::kind::HEADERS, flag::END_HEADERS, 1, b"\x83\x86\x84\x01\x01a");
    connection.receive(&sent, &buffers, &mut server).unwrap();
    let mut request = server.0.pop().unwrap();
    let headers = exchange::Headers::default();
    let answer =
        Answer { status: StatusCode::OK, headers: &headers, length: None, tells_length: false };
    request.responder.head(&answer, || HeaderValue::from_static("now"), true);
    drop(request);
    let written = || {
        let mut kinds = Vec::new();
        let polled = connection.poll_write(|mut bytes| {
            let length = bytes.len();
            while let Some(head) = FrameHead::read(bytes) {
                kinds.push(head.kind);
                bytes = &bytes[super::HEAD + head.length..];
            }
            Poll::Ready(Ok(length))
        });
        assert!(polled.is_ready());
        kinds
    };
    let first = written();
    assert_eq!(first.last(), Some(&super::kind::HEADERS), "{first:?}");
    assert!(!first.contains(&super::kind::RST_STREAM));
    assert!(connection.follow_up());
    assert_eq!(written(), [super::kind::RST_STREAM]);
    assert!(!connection.follow_up());
}
