//! What clients of HTTP/2 may and may not send, frame by frame (RFC 9113), and what they get.

use h2::Reason;
use tokio::io::AsyncWriteExt as _;

use super::{
    raw::{
        ACK, CONTINUATION, DATA, END_HEADERS, END_STREAM, Frame, GOAWAY, HEADERS, PING, PRIORITY,
        RST_STREAM, Raw, SETTINGS, WINDOW_UPDATE, answer, code, frame, get, goaway_code, line,
        post, request, reset, settings,
    },
    support::{Portolan, Script, header, router, soon},
};
use crate::{
    http::{Http2Limits, Limits},
    http2::hpack::Decoder,
};

const PUSH_PROMISE: u8 = 5;
const PADDED: u8 = 8;
const PRIORITIZED: u8 = 0x20;

async fn echoing() -> (Portolan, Script) {
    let backend = Script::echo().await;
    (Portolan::start(vec![router("a.local", &[backend.address])]), backend)
}

/// The fields of a response, in one text.
fn fields(decoder: &mut Decoder, payload: &[u8]) -> String {
    let mut text = String::new();
    let decoded = decoder.decode(payload, |field| {
        let [name, value] = [field.name, field.value].map(String::from_utf8_lossy);
        text += &format!("{name}: {value}\n");
        true
    });
    decoded.unwrap();
    text
}

#[tokio::test]
async fn mistakes_of_a_connection_end_it_and_say_which() {
    let (portolan, _backend) = echoing().await;
    let window = |by: u32| by.to_be_bytes();
    let begun = || [post(1), vec![]].concat();
    let open = |flags: u8| frame(HEADERS, flags, 1, &get(&[]));
    let cases: Vec<(&str, Vec<u8>, Reason)> = vec![
        ("data of no stream", frame(DATA, 0, 0, b"x"), Reason::PROTOCOL_ERROR),
        ("data of an idle stream", frame(DATA, 0, 3, b"x"), Reason::PROTOCOL_ERROR),
        ("an even stream", frame(HEADERS, 5, 2, &get(&[])), Reason::PROTOCOL_ERROR),
        ("headers of no stream", frame(HEADERS, 5, 0, &get(&[])), Reason::PROTOCOL_ERROR),
        ("padding", frame(HEADERS, 5 | PADDED, 1, &[200, 0x82]), Reason::PROTOCOL_ERROR),
        ("no padding", frame(DATA, PADDED, 1, &[]), Reason::PROTOCOL_ERROR),
        ("a short head", frame(HEADERS, 5 | PRIORITIZED, 1, &[0; 4]), Reason::FRAME_SIZE_ERROR),
        ("a long frame", frame(DATA, 0, 1, &[0; 16_385]), Reason::FRAME_SIZE_ERROR),
        ("a reset of nothing", frame(RST_STREAM, 0, 0, &[0; 4]), Reason::PROTOCOL_ERROR),
        ("an idle reset", frame(RST_STREAM, 0, 5, &[0; 4]), Reason::PROTOCOL_ERROR),
        ("a short reset", frame(RST_STREAM, 0, 1, &[0; 3]), Reason::FRAME_SIZE_ERROR),
        ("settings of a stream", frame(SETTINGS, 0, 1, &[]), Reason::PROTOCOL_ERROR),
        ("settings cut off", frame(SETTINGS, 0, 0, &[0; 5]), Reason::FRAME_SIZE_ERROR),
        ("settings that answer", frame(SETTINGS, ACK, 0, &[0; 6]), Reason::FRAME_SIZE_ERROR),
        ("push", settings(&[(2, 2)]), Reason::PROTOCOL_ERROR),
        ("a first window", settings(&[(4, 1 << 31)]), Reason::FLOW_CONTROL_ERROR),
        ("frames too small", settings(&[(5, 1)]), Reason::PROTOCOL_ERROR),
        ("frames too large", settings(&[(5, 1 << 24)]), Reason::PROTOCOL_ERROR),
        ("a ping of a stream", frame(PING, 0, 1, &[0; 8]), Reason::PROTOCOL_ERROR),
        ("a short ping", frame(PING, 0, 0, &[0; 7]), Reason::FRAME_SIZE_ERROR),
        ("a goodbye of a stream", frame(GOAWAY, 0, 1, &[0; 8]), Reason::PROTOCOL_ERROR),
        ("no window", frame(WINDOW_UPDATE, 0, 0, &window(0)), Reason::PROTOCOL_ERROR),
        (
            "a large window",
            frame(WINDOW_UPDATE, 0, 0, &window(u32::MAX >> 1)),
            Reason::FLOW_CONTROL_ERROR,
        ),
        ("an idle window", frame(WINDOW_UPDATE, 0, 7, &window(1)), Reason::PROTOCOL_ERROR),
        ("a short window", frame(WINDOW_UPDATE, 0, 0, &[0; 3]), Reason::FRAME_SIZE_ERROR),
        ("more of nothing", frame(CONTINUATION, 4, 1, &[]), Reason::PROTOCOL_ERROR),
        ("interrupted", [open(0), frame(PING, 0, 0, &[0; 8])].concat(), Reason::PROTOCOL_ERROR),
        (
            "more of another",
            [open(0), frame(CONTINUATION, 4, 3, &[])].concat(),
            Reason::PROTOCOL_ERROR,
        ),
        ("a number passed over", [request(5), request(3)].concat(), Reason::PROTOCOL_ERROR),
        ("a push", [begun(), frame(PUSH_PROMISE, 4, 1, &[0; 9])].concat(), Reason::PROTOCOL_ERROR),
        ("a priority of nothing", frame(PRIORITY, 0, 0, &[0; 5]), Reason::PROTOCOL_ERROR),
        ("no such entry", frame(HEADERS, 5, 1, &[0xff, 0x7f]), Reason::COMPRESSION_ERROR),
        (
            "nor in what nobody wants",
            [request(1), frame(HEADERS, 5, 1, &[0xff, 0x7f])].concat(),
            Reason::COMPRESSION_ERROR,
        ),
    ];
    for (name, bytes, expected) in cases {
        // Cut in two wherever it may be.
        for cut in [bytes.len(), 1, 9, bytes.len() / 2] {
            let mut raw = Raw::connect(&portolan, &[]).await;
            let (begin, rest) = bytes.split_at(cut.min(bytes.len()));
            raw.send(begin).await;
            // It may have ended already.
            drop(raw.writes.write_all(rest).await);
            let goodbye = raw.until(GOAWAY).await.unwrap();
            assert_eq!(goaway_code(&goodbye.payload), u32::from(expected), "{name}, {cut}");
            assert!(raw.next().await.is_none(), "{name}");
        }
    }
    assert_eq!(portolan.get("a.local", "/").await.status, 200);
}

#[tokio::test]
async fn mistakes_of_a_request_cost_that_request() {
    let (portolan, _backend) = echoing().await;
    let mut raw = Raw::connect(&portolan, &[]).await;
    let head = |flags: u8, block: &[u8]| frame(HEADERS, END_HEADERS | flags, 1, block);
    let ask = |more: &[(&str, &str)]| head(END_STREAM, &get(more));
    let upload = |more: &[(&str, &str)]| {
        let mut block = get(more);
        block[0] = 0x83;
        head(0, &block)
    };
    let data = |flags: u8, bytes: &[u8]| frame(DATA, flags, 1, bytes);
    let piece = vec![0; 16_384];
    let malformed = Reason::PROTOCOL_ERROR;
    let cases: Vec<(&str, Vec<Vec<u8>>, Reason)> = vec![
        ("capitals", vec![ask(&[("X-A", "1")])], malformed),
        ("a name that is none", vec![ask(&[("x a", "1")])], malformed),
        ("no name", vec![ask(&[("", "1")])], malformed),
        ("a line in a value", vec![ask(&[("x", "1\r\nhost: b")])], malformed),
        ("connection", vec![ask(&[("connection", "close")])], malformed),
        ("keep-alive", vec![ask(&[("keep-alive", "1")])], malformed),
        ("transfer-encoding", vec![ask(&[("transfer-encoding", "chunked")])], malformed),
        ("upgrade", vec![ask(&[("upgrade", "websocket")])], malformed),
        ("te", vec![ask(&[("te", "gzip")])], malformed),
        ("a late path", vec![ask(&[("x", "1"), (":path", "/")])], malformed),
        ("two paths", vec![ask(&[(":path", "/")])], malformed),
        ("two methods", vec![ask(&[(":method", "GET")])], malformed),
        ("two authorities", vec![ask(&[(":authority", "b")])], malformed),
        ("a status", vec![ask(&[(":status", "200")])], malformed),
        ("a protocol", vec![ask(&[(":protocol", "websocket")])], malformed),
        ("no path", vec![head(END_STREAM, &[0x82, 0x86, 0x01, 1, b'a'])], malformed),
        ("an empty path", vec![head(END_STREAM, &[0x82, 0x86, 0x04, 0])], malformed),
        ("no method", vec![head(END_STREAM, &[0x84, 0x86, 0x01, 1, b'a'])], malformed),
        ("no scheme", vec![head(END_STREAM, &[0x82, 0x84, 0x01, 1, b'a'])], malformed),
        ("no length", vec![ask(&[("content-length", "x")])], malformed),
        ("a length of nothing", vec![ask(&[("content-length", "1")])], malformed),
        (
            "two lengths",
            vec![upload(&[("content-length", "1"), ("content-length", "1")])],
            malformed,
        ),
        ("too long", vec![upload(&[("content-length", "1")]), data(0, b"xy")], malformed),
        ("too short", vec![upload(&[("content-length", "3")]), data(END_STREAM, b"x")], malformed),
        (
            "too short, with trailers",
            vec![upload(&[("content-length", "3")]), head(END_STREAM, &line("x", "y"))],
            malformed,
        ),
        ("trailers before the end", vec![upload(&[]), head(0, &line("x", "y"))], malformed),
        ("a path in trailers", vec![upload(&[]), head(1, &line(":path", "/"))], malformed),
        ("a window", vec![upload(&[]), frame(WINDOW_UPDATE, 0, 1, &[0; 4])], malformed),
        (
            "a large window",
            vec![upload(&[]), frame(WINDOW_UPDATE, 0, 1, &[0x7f, 0xff, 0xff, 0xff])],
            Reason::FLOW_CONTROL_ERROR,
        ),
        (
            "a short priority",
            vec![upload(&[]), frame(PRIORITY, 0, 1, &[0; 4])],
            Reason::FRAME_SIZE_ERROR,
        ),
    ];
    let mut stream = 1;
    for (name, frames, expected) in cases {
        // A stream of its own for each; all of them are the first as they stand there.
        for mut bytes in frames {
            bytes[5..9].copy_from_slice(&u32::to_be_bytes(stream));
            raw.send(&bytes).await;
        }
        let end = raw.until(RST_STREAM).await.unwrap();
        assert_eq!((end.stream, code(&end.payload)), (stream, expected.into()), "{name}");
        raw.send(&request(stream + 2)).await;
        assert_eq!(raw.until(HEADERS).await.unwrap().stream, stream + 2, "{name}");
        stream += 4;
    }
    let silent = Script::start(|client| async move {
        std::future::pending::<()>().await;
        drop(client);
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[silent.address])]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&request(1)).await;
    raw.send(&frame(DATA, END_STREAM, 1, b"x")).await;
    let end = raw.until(RST_STREAM).await.unwrap();
    assert_eq!((end.stream, code(&end.payload)), (1, Reason::STREAM_CLOSED.into()));
    raw.send(&post(3)).await;
    let flood = async {
        // What the backend's socket takes is taken.
        loop {
            raw.send(&frame(DATA, 0, 3, &piece)).await;
            raw.send(&frame(PING, 0, 0, &[0; 8])).await;
            loop {
                match raw.next().await.unwrap() {
                    Frame { kind: RST_STREAM, stream: 3, payload, .. } => return code(&payload),
                    Frame { kind: PING, .. } => break,
                    _ => {}
                }
            }
        }
    };
    assert_eq!(soon(flood).await, u32::from(Reason::FLOW_CONTROL_ERROR));
}

#[tokio::test]
async fn padding_and_priorities_are_read_past_and_padding_is_given_back() {
    let (portolan, _backend) = echoing().await;
    let mut raw = Raw::connect(&portolan, &[]).await;
    let mut block = vec![3, 0x80, 0, 0, 0, 16];
    block.extend(get(&[("x-a", "1")]));
    block.extend([0; 3]);
    let flags = END_HEADERS | END_STREAM | PADDED | PRIORITIZED;
    raw.send(&frame(HEADERS, flags, 1, &block)).await;
    let body = raw.until(DATA).await.unwrap();
    assert!(String::from_utf8_lossy(&body.payload).contains("x-a: 1"));
    // Nearly all of it is padding, and more of that than there is a window for.
    raw.send(&post(3)).await;
    let padded = frame(DATA, PADDED, 3, &[&[255, b'x'][..], &[0; 255]].concat());
    let most = 2 * 1024 * 1024 / 257;
    for _ in 0..most / 100 {
        raw.send(&padded.repeat(100)).await;
    }
    raw.send(&frame(DATA, END_STREAM | PADDED, 3, &[&[1][..], b"hello", &[0]].concat())).await;
    let mut windows = Vec::new();
    loop {
        match raw.next().await.unwrap() {
            Frame { kind: WINDOW_UPDATE, stream, .. } => windows.push(stream),
            Frame { kind: DATA, stream: 3, payload, .. } => {
                let text = String::from_utf8_lossy(&payload);
                assert!(text.starts_with("post"), "{text:?}");
                break;
            }
            Frame { kind: HEADERS, stream: 3, .. } => {}
            Frame { kind, .. } => assert!(matches!(kind, SETTINGS | DATA), "{kind}"),
        }
    }
    assert!(windows.iter().filter(|stream| **stream == 3).count() >= 3, "{windows:?}");
}

#[tokio::test]
async fn no_more_is_sent_than_windows_allow_whoever_opens_them() {
    let body = "0123456789".repeat(20);
    let said = body.clone();
    let backend = Script::start(move |mut client| {
        let said = said.clone();
        async move {
            while client.request().await.is_some() {
                client
                    .send(&format!(
                        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}",
                        said.len()
                    ))
                    .await;
            }
        }
    })
    .await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    let mut raw = Raw::connect(&portolan, &[(4, 5)]).await;
    raw.send(&request(1)).await;
    assert_eq!(raw.until(DATA).await.unwrap().payload, &body.as_bytes()[..5]);
    raw.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 7])).await;
    assert_eq!(raw.until(DATA).await.unwrap().payload, &body.as_bytes()[5..12]);
    // All streams get more, also those that wait; and the next, less.
    raw.send(&settings(&[(4, 25)])).await;
    assert_eq!(raw.until(DATA).await.unwrap().payload, &body.as_bytes()[12..32]);
    raw.send(&settings(&[(4, 10)])).await;
    raw.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 15])).await;
    raw.send(&frame(PING, 0, 0, &[0; 8])).await;
    // It had been sent fifteen more than it may by now.
    assert_eq!(raw.next_but(&[SETTINGS]).await.kind, PING);
    raw.send(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 4, 0])).await;
    let last = raw.until(DATA).await.unwrap();
    assert_eq!((&*last.payload, last.flags), (&body.as_bytes()[32..], END_STREAM));
}

#[tokio::test]
async fn downloads_share_a_connection_and_one_that_is_left_holds_up_no_other() {
    let (backend, _gone) = Script::endless().await;
    let portolan = Portolan::start(vec![router("a.local", &[backend.address])]);
    // Streams may have more than the connection.
    let mut raw = Raw::connect(&portolan, &[(4, 1 << 30)]).await;
    raw.send(&[request(1), request(3), request(5)].concat()).await;
    let (mut left, mut begun) = (65_535, 0);
    while left > 0 || begun < 3 {
        let frame = raw.next().await.unwrap();
        begun += u32::from(frame.kind == HEADERS);
        left -= if frame.kind == DATA { frame.payload.len() } else { 0 };
    }
    // Nobody has a window now. One is left, and what there is then is for the others.
    raw.send(&reset(1)).await;
    let open = frame(WINDOW_UPDATE, 0, 0, &[0, 4, 0, 0]);
    raw.send(&open).await;
    left = 4 << 16;
    let mut seen = [0; 6];
    while left > 0 {
        let frame = raw.until(DATA).await.unwrap();
        left -= frame.payload.len();
        seen[frame.stream as usize] += frame.payload.len();
    }
    assert!(seen[1] == 0 && seen[3] > 0 && seen[5] > 0, "{seen:?}");
}

/// A backend that begins its answers, and says nothing more.
async fn silent() -> Script {
    Script::start(|mut client| async move {
        while client.request().await.is_some() {
            client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").await;
        }
    })
    .await
}

/// A request for a host whose name is that long.
fn ask(stream: u32, host: &str) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84, 0x01, u8::try_from(host.len()).unwrap()];
    block.extend(host.as_bytes());
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &block)
}

#[tokio::test]
async fn whoever_has_nothing_to_send_leaves_its_turn_to_the_next() {
    let (endless, _gone) = Script::endless().await;
    let silent = silent().await;
    let portolan = Portolan::start(vec![
        router("a.local", &[endless.address]),
        router("b.local", &[silent.address]),
    ]);
    let mut raw = Raw::connect(&portolan, &[(4, 1 << 30)]).await;
    raw.send(&request(1)).await;
    let mut left = 65_535;
    while left > 0 {
        left -= raw.until(DATA).await.unwrap().payload.len();
    }
    // They all come before the one that has something.
    let streams = (3..41).step_by(2);
    raw.send(&streams.clone().flat_map(|stream| ask(stream, "b.local")).collect::<Vec<_>>()).await;
    for _ in streams {
        raw.until(HEADERS).await.unwrap();
    }
    for _ in 0..20 {
        let mut left = 20_000;
        raw.send(&frame(WINDOW_UPDATE, 0, 0, &u32::to_be_bytes(20_000))).await;
        while left > 0 {
            left -= raw.until(DATA).await.unwrap().payload.len();
        }
    }
}

#[tokio::test]
async fn a_short_answer_does_not_wait_for_a_long_one() {
    let (endless, _gone) = Script::endless().await;
    let echo = Script::echo().await;
    let portolan = Portolan::start(vec![
        router("a.local", &[endless.address]),
        router("b.local", &[echo.address]),
    ]);
    let wide = i32::MAX.unsigned_abs();
    let mut raw = Raw::connect(&portolan, &[(4, wide)]).await;
    raw.send(&frame(WINDOW_UPDATE, 0, 0, &(wide - 65_535).to_be_bytes())).await;
    raw.send(&request(1)).await;
    raw.until(DATA).await.unwrap();
    for stream in (3..21).step_by(2) {
        raw.send(&ask(stream, "b.local")).await;
        let (mut others, mut has_begun) = (0, false);
        loop {
            let frame = raw.next_but(&[SETTINGS, WINDOW_UPDATE]).await;
            match (frame.kind, frame.stream) {
                (HEADERS, _) => has_begun = true,
                (DATA, 1) => others += u32::from(has_begun),
                (DATA, _) if frame.flags & END_STREAM != 0 => break,
                _ => {}
            }
        }
        // What stood in line before it, and one turn.
        assert!(others < 12, "{others} pieces of another one came first");
    }
}

#[tokio::test]
async fn more_requests_than_there_may_be_at_once_are_refused_and_those_after_them_served() {
    let limits = Limits {
        http2: Http2Limits { max_concurrent_streams: 2, ..Http2Limits::default() },
        ..Limits::default()
    };
    let backend = Script::echo().await;
    let portolan = Portolan::limited(limits, vec![router("a.local", &[backend.address])]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&[post(1), post(3), request(5)].concat()).await;
    let end = raw.until(RST_STREAM).await.unwrap();
    assert_eq!((end.stream, code(&end.payload)), (5, Reason::REFUSED_STREAM.into()));
    raw.send(&frame(DATA, END_STREAM, 1, b"x")).await;
    let last = loop {
        let frame = raw.until(DATA).await.unwrap();
        if frame.flags & END_STREAM != 0 {
            break frame;
        }
    };
    assert_eq!(last.stream, 1);
    raw.send(&request(7)).await;
    assert_eq!(raw.until(HEADERS).await.unwrap().stream, 7);
}

#[tokio::test]
async fn what_comes_before_a_response_comes_before_it() {
    let backend = Script::start(|mut client| async move {
        while client.request().await.is_some() {
            client
                .send("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
                .await;
        }
    })
    .await;
    let echo = Script::echo().await;
    let routers = vec![router("a.local", &[backend.address]), router("b.local", &[echo.address])];
    let portolan = Portolan::start(routers);
    let (mut raw, mut decoder) = (Raw::connect(&portolan, &[]).await, Decoder::new());
    raw.send(&request(1)).await;
    let early = fields(&mut decoder, &raw.until(HEADERS).await.unwrap().payload);
    assert!(early.starts_with(":status: 103\n") && early.contains("link: </a>\n"), "{early}");
    let head = raw.until(HEADERS).await.unwrap();
    let text = fields(&mut decoder, &head.payload);
    assert!(text.starts_with(":status: 200\n") && text.contains("\ndate: "), "{text}");
    assert!(text.contains("content-length: 0\n") && head.flags & END_STREAM != 0, "{text}");
    // Who waits for leave to send gets it when somebody wants what is sent, and not before.
    let ask = |stream, host: &str| {
        let mut block = vec![0x83, 0x86, 0x84, 0x01, 7];
        block.extend(host.as_bytes());
        block.extend(line("expect", "100-continue"));
        frame(HEADERS, END_HEADERS, stream, &block)
    };
    raw.send(&ask(3, "b.local")).await;
    let leave = fields(&mut decoder, &raw.until(HEADERS).await.unwrap().payload);
    assert_eq!(leave, ":status: 100\n");
    raw.send(&frame(DATA, END_STREAM, 3, b"hi")).await;
    let text = fields(&mut decoder, &raw.until(HEADERS).await.unwrap().payload);
    assert!(text.starts_with(":status: 200\n"), "{text}");
    let body = String::from_utf8(raw.until(DATA).await.unwrap().payload).unwrap();
    assert!(
        header(&body, "expect").is_none() && header(&body, "host") == Some("b.local"),
        "{body}"
    );
    raw.send(&ask(5, "c.local")).await;
    let text = fields(&mut decoder, &raw.until(HEADERS).await.unwrap().payload);
    assert!(text.starts_with(":status: 404\n"), "{text}");
}

#[tokio::test]
async fn a_client_without_a_table_is_not_sent_entries() {
    let (portolan, _backend) = echoing().await;
    let mut raw = Raw::connect(&portolan, &[(1, 0)]).await;
    for (round, stream) in [1, 3, 5].into_iter().enumerate() {
        raw.send(&request(stream)).await;
        let head = raw.until(HEADERS).await.unwrap().payload;
        assert_eq!(head[0] == 0x20, round == 0, "it is told once that there is none");
        assert!(fields(&mut Decoder::new(), &head).contains(":status: 200\n"));
    }
}

#[tokio::test]
async fn whoever_leaves_is_told_what_was_taken_and_what_comes_after_is_not_looked_at() {
    let limits = Limits { keep_alive_max_requests: Some(1), ..Limits::default() };
    let backend = Script::echo().await;
    let portolan = Portolan::limited(limits, vec![router("a.local", &[backend.address])]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&post(1)).await;
    let first = raw.until(GOAWAY).await.unwrap();
    assert_eq!(first.payload[..4], [0x7f, 0xff, 0xff, 0xff], "it may have sent more meanwhile");
    raw.send(&post(3)).await;
    let ping = raw.until(PING).await.unwrap();
    raw.send(&answer(&ping.payload)).await;
    let second = raw.until(GOAWAY).await.unwrap();
    assert_eq!(second.payload[..4], [0, 0, 0, 3]);
    raw.send(&request(5)).await;
    // Never more than was said before, whatever comes.
    raw.send(&frame(PING, 0, 0, &[7; 8])).await;
    assert_eq!(raw.until(PING).await.unwrap().flags, ACK);
    let ends = [1, 3].map(|stream| frame(DATA, END_STREAM, stream, b"x")).concat();
    raw.send(&ends).await;
    let mut answered = Vec::new();
    while let Some(frame) = raw.next().await {
        assert!(frame.stream != 5, "{}", frame.kind);
        if frame.kind == HEADERS {
            answered.push(frame.stream);
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, [1, 3]);
}

#[tokio::test]
async fn a_goodbye_never_takes_more_than_the_one_before() {
    let limits = Limits { keep_alive_max_requests: Some(1), ..Limits::default() };
    let backend = Script::echo().await;
    let portolan = Portolan::limited(limits, vec![router("a.local", &[backend.address])]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&post(1)).await;
    let ping = raw.until(PING).await.unwrap();
    raw.send(&answer(&ping.payload)).await;
    let goodbyes = [raw.until(GOAWAY).await.unwrap(), {
        raw.send(&[request(3), request(5), frame(DATA, 0, 0, b"x")].concat()).await;
        raw.until(GOAWAY).await.unwrap()
    }];
    let last = goodbyes.map(|goodbye| (goodbye.payload[3], goaway_code(&goodbye.payload)));
    assert_eq!(last, [(1, 0), (1, u32::from(Reason::PROTOCOL_ERROR))]);
}

#[tokio::test]
async fn a_client_that_goes_is_let_go_and_one_that_does_not_hear_is_told_once_more() {
    let (portolan, _backend) = echoing().await;
    let mut raw = Raw::connect(&portolan, &[]).await;
    raw.send(&[request(1), frame(GOAWAY, 0, 0, &[0; 8])].concat()).await;
    let mut has_answer = false;
    while let Some(frame) = raw.next().await {
        has_answer |= frame.kind == DATA && frame.flags & END_STREAM != 0;
    }
    assert!(has_answer);
    let limits = Limits {
        keep_alive_max_requests: Some(1),
        http2: Http2Limits { max_concurrent_streams: 5, ..Http2Limits::default() },
        ..Limits::default()
    };
    let backend = Script::echo().await;
    let portolan = Portolan::limited(limits, vec![router("a.local", &[backend.address])]);
    let mut raw = Raw::connect(&portolan, &[]).await;
    let mut last = 0;
    // It never says that it has heard.
    for stream in (1..).step_by(2) {
        raw.send(&request(stream)).await;
        let goodbye = loop {
            let frame = raw.next_but(&[SETTINGS, PING, HEADERS, WINDOW_UPDATE]).await;
            if frame.kind == GOAWAY && frame.payload[0] == 0 {
                break Some(frame.payload[3]);
            }
            if frame.kind == DATA && frame.flags & END_STREAM != 0 {
                break None;
            }
        };
        if let Some(stream) = goodbye {
            last = stream;
            break;
        }
    }
    assert!((9..16).contains(&last), "{last}");
    while raw.next().await.is_some() {}
}
