//! What is read from the wire, whole and in pieces.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header::CONTENT_LENGTH};
use portolan_core::exchange::Headers;

use super::{
    Ending, Framing, HeadError, Outgoing, RequestHead, ResponseHead, Status,
    body::{Decoder, Step},
    encode_request, encode_response,
    error::BodyError,
    fuzzing::{request_body, request_head},
    maps::Maps,
};

/// So many lines a head may have.
const LINES: usize = 100;

fn request(text: &str) -> Result<Option<RequestHead>, HeadError> {
    let read = RequestHead::read(&Bytes::copy_from_slice(text.as_bytes()), LINES, &Maps::default());
    read.map(|found| {
        found.map(|(head, length)| {
            assert!(text.get(..length).unwrap().ends_with("\r\n\r\n"), "{text:?}");
            head
        })
    })
}

fn response(asked: &Method, text: &str) -> Result<Option<ResponseHead>, HeadError> {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    let read = ResponseHead::read(asked, &bytes, &Maps::default(), true);
    read.map(|found| found.map(|(head, _)| head))
}

#[test]
fn a_head_is_read_once_it_is_there() {
    let text =
        "POST /a?b HTTP/1.1\r\nHost: a.local\r\nContent-Length: 3\r\nX: 1\r\nx:2\t\r\n\r\nabc";
    let end = text.len() - 3;
    for length in 1..end {
        assert!(request(text.get(..length).unwrap()).unwrap().is_none(), "{length}");
    }
    let head = request(text).unwrap().unwrap();
    assert_eq!((head.method, head.framing), (Method::POST, Framing::Length(3)));
    assert_eq!(head.uri, "/a?b");
    let lines: Vec<_> = head.headers.get_all("x").iter().collect();
    assert_eq!(lines, ["1", "2"]);
    assert!(head.keep_alive && !head.expects_continue);
}

#[test]
fn nonsense_is_refused_before_it_is_complete() {
    for (text, error) in [
        ("\u{16}\u{3}\u{1}", HeadError::Start),
        ("GET / HTTP/2", HeadError::Version),
        ("GET / HTTP/1.1\r\nA: b\nC", HeadError::BareLf),
        ("GET / HTTP/1.1\nA", HeadError::BareLf),
        ("GET / HTTP/1.1\r\nA B", HeadError::Line),
    ] {
        assert_eq!(request(text).unwrap_err(), error, "{text:?}");
    }
}

#[test]
fn the_connection_is_kept_as_version_and_header_say() {
    let keeps = |version: &str, connection: &str| {
        let text = format!("GET / HTTP/{version}\r\nHost: a\r\n{connection}\r\n");
        request(&text).unwrap().unwrap().keep_alive
    };
    assert!(keeps("1.1", ""));
    assert!(!keeps("1.1", "Connection: Close\r\n"));
    assert!(!keeps("1.1", "Connection: keep-alive\r\nConnection: x, close\r\n"));
    assert!(!keeps("1.0", ""));
    assert!(keeps("1.0", "Connection: Keep-Alive\r\n"));
}

#[test]
fn a_response_ends_where_its_request_and_status_say() {
    let framing = |asked: Method, text: &str| {
        response(&asked, text).map(|head| head.map(|head| (head.framing, head.keep_alive)))
    };
    let get = |text: &str| framing(Method::GET, text);
    let ok = |framing, keep| Ok(Some((framing, keep)));
    assert_eq!(get("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"), ok(Framing::Length(5), true));
    assert_eq!(
        get("HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\n"),
        ok(Framing::Length(5), true)
    );
    assert_eq!(get("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), ok(Framing::Empty, true));
    assert_eq!(get("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n"), ok(Framing::Empty, true));
    assert_eq!(get("HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\n"), ok(Framing::Empty, true));
    assert_eq!(get("HTTP/1.1 200 OK\r\n\r\n"), ok(Framing::Close, false));
    assert_eq!(get("HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n"), ok(Framing::Length(1), false));
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n";
    assert_eq!(get(chunked), ok(Framing::Chunked, true));
    let again =
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n";
    assert_eq!(get(again), ok(Framing::Chunked, false));
    for wrong in ["gzip", "gzip, chunked", "chunked, gzip", "identity", "identity, chunked", ""] {
        let text = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: {wrong}\r\n\r\n");
        assert_eq!(get(&text), Err(HeadError::TransferEncoding), "{wrong}");
    }
    let both = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(get(both), ok(Framing::Chunked, false));
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(framing(Method::HEAD, head), ok(Framing::Empty, true));
    for wrong in ["5, 6", "+5", "five", ""] {
        let text = format!("HTTP/1.1 200 OK\r\nContent-Length: {wrong}\r\n\r\n");
        assert_eq!(get(&text), Err(HeadError::Length), "{wrong}");
    }
    assert_eq!(
        get("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"),
        Err(HeadError::Framing)
    );
}

/// The content, the trailers, and what is left of the input when it comes in such pieces.
fn decoded(
    input: &[u8],
    piece: usize,
    tolerant: bool,
) -> Result<(Vec<u8>, Option<HeaderMap>, usize), BodyError> {
    let mut decoder = Decoder::new(Framing::Chunked, tolerant);
    let (mut content, mut used) = (Vec::new(), 0);
    while used < input.len() {
        let rest = &input[used..(used + piece).min(input.len())];
        match decoder.step(rest)? {
            Step::Data(length) => {
                assert!((1..=rest.len()).contains(&length));
                content.extend_from_slice(&rest[..length]);
                used += length;
            }
            Step::Skip(length) => {
                assert!((1..=rest.len()).contains(&length));
                used += length;
            }
            Step::More(length) => {
                assert_eq!(length, rest.len());
                used += length;
            }
            Step::End(length, trailers) => {
                assert!(decoder.is_done());
                return Ok((content, trailers, used + length));
            }
        }
    }
    assert!(!decoder.is_done());
    Ok((content, None, used))
}

#[test]
fn a_chunked_body_is_the_same_in_whatever_pieces_it_comes() {
    let input =
        b"5\r\nhello\r\n1\r\n \r\n00a\r\n0123456789\r\n0\r\nX-Sum: 7\r\nHost: b\r\n\r\nGET /";
    for piece in 1..input.len() {
        let (content, trailers, used) = decoded(input, piece, false).unwrap();
        assert_eq!(content, b"hello 0123456789");
        assert_eq!(&input[used..], b"GET /");
        let trailers = trailers.unwrap();
        assert_eq!((trailers.len(), &trailers["x-sum"]), (1, &HeaderValue::from_static("7")));
    }
    let (_, trailers, used) = decoded(b"0\r\n\r\n0", 3, false).unwrap();
    assert_eq!((trailers, used), (None, 5));
}

#[test]
fn nothing_that_only_heads_may_say_comes_behind_a_body() {
    let trailers = "X-Forwarded-For: 1\r\nX_Forwarded_For: 1\r\nX-Real_Ip: 1\r\nX-Scheme: 1\r\n\
                    CDN-Loop: 1\r\nContent_Length: 1\r\nCookie: 1\r\nX-Sum: 7\r\nX_Sum: 8\r\n";
    let input = format!("0\r\n{trailers}\r\n");
    let (_, trailers, _) = decoded(input.as_bytes(), 9, false).unwrap();
    let mut names: Vec<_> =
        trailers.iter().flat_map(HeaderMap::keys).map(|it| it.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["x-sum", "x_sum"]);
}

#[test]
fn a_chunk_that_can_be_read_in_two_ways_is_refused() {
    for (input, error) in [
        ("\r\n", BodyError::Size),
        ("g\r\n", BodyError::Size),
        ("-1\r\n", BodyError::Size),
        ("+1\r\n", BodyError::Size),
        ("0x1\r\n", BodyError::Size),
        (" 1\r\n", BodyError::Size),
        ("1 \r\n", BodyError::Size),
        ("1\n", BodyError::Size),
        ("00000000000000001\r\na", BodyError::Size),
        ("1;a=b\r\na", BodyError::Extension),
        ("1\ra", BodyError::End),
        ("1\r\nab", BodyError::End),
        ("1\r\na\n", BodyError::End),
        ("1\r\na\ra", BodyError::End),
        ("0\r\nA: b\n\r\n", BodyError::Trailers),
        ("0\r\n\n", BodyError::Trailers),
        ("0\r\nA B: c\r\n\r\n", BodyError::Trailers),
    ] {
        for piece in [1, 2, 100] {
            assert_eq!(decoded(input.as_bytes(), piece, false).unwrap_err(), error, "{input:?}");
        }
    }
    let many = format!("0\r\n{}\r\n", "A: b\r\n".repeat(33));
    assert_eq!(decoded(many.as_bytes(), 100, false).unwrap_err(), BodyError::Trailers);
    let large = format!("0\r\nA: {}", "b".repeat(17 * 1024));
    assert_eq!(decoded(large.as_bytes(), 100, false).unwrap_err(), BodyError::Trailers);
}

/// A generator that gives the same every time (xorshift, after Marsaglia).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    /// The same with a few changes: bytes replaced, removed, doubled, put in.
    fn mutated(&mut self, text: &[u8]) -> Vec<u8> {
        const TELLING: &[u8] = b"\r\n\0 \t:;,#%0123456789abcdefxchunked\x7f\xff";
        let mut text = text.to_vec();
        for _ in 0..=self.below(4) {
            let (place, telling) = (self.below(text.len()), TELLING[self.below(TELLING.len())]);
            match self.below(4) {
                0 => text[place] = telling,
                1 => drop(text.remove(place)),
                2 => text.insert(place, text[place]),
                _ => text.insert(place, telling),
            }
            if text.is_empty() {
                text.push(telling);
            }
        }
        text
    }
}

#[test]
fn whatever_arrives_is_read_or_refused_and_a_head_ends_where_it_ends() {
    const HEADS: [&[u8]; 3] = [
        b"GET / HTTP/1.1\r\nHost: a.local\r\nAccept: */*\r\n\r\n",
        b"POST /a?b=c HTTP/1.1\r\nHost: a.local:80\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n",
        b"PUT http://a/ HTTP/1.0\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive, x\r\n\r\n",
    ];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for round in 0..20_000 {
        request_head(&random.mutated(HEADS[round % HEADS.len()]), |headers| {
            for name in ["connection", "keep-alive"] {
                headers.remove(name);
            }
            if headers.remove("transfer-encoding").is_some() {
                headers.remove(CONTENT_LENGTH);
            }
        });
    }
}

#[test]
fn whatever_body_arrives_means_the_same_in_whatever_pieces() {
    const BODY: &[u8] = b"5\r\nhello\r\n0a\r\n0123456789\r\n0\r\nX: 1\r\n\r\nrest";
    let mut random = Random(0x2545_f491_4f6c_dd1d);
    for round in 0..20_000_u32 {
        let mut text = random.mutated(BODY);
        text.insert(0, round as u8);
        request_body(&text);
    }
}

#[test]
fn a_backends_extensions_are_skipped_within_reason() {
    let (content, _, _) = decoded(b"1;a=\"b\"\r\nx\r\n0 ;c\r\n\r\n", 1, true).unwrap();
    assert_eq!(content, b"x");
    let long = format!("1;{}\r\n", "a".repeat(2000));
    assert_eq!(decoded(long.as_bytes(), 100, true).unwrap_err(), BodyError::Extension);
    assert_eq!(decoded(b"1;a\n", 1, true).unwrap_err(), BodyError::End);
}

#[test]
fn the_framing_that_is_written_is_the_one_that_is_used() {
    let mut headers = Headers::default();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
    headers.insert("x-a", HeaderValue::from_static("1"));
    let asked = |method: &Method, framing, headers: &Headers| {
        let (mut out, none) = (Vec::new(), HeaderMap::new());
        let host = HeaderValue::from_static("h");
        let head =
            Outgoing { method, base: "", target: "/x", host: Some(&host), headers, hop: &none };
        encode_request(&mut out, head, framing);
        String::from_utf8(out).unwrap()
    };
    let head = |framing, headers: &Headers| asked(&Method::PUT, framing, headers);
    let begin = "PUT /x HTTP/1.1\r\nhost: h\r\nx-a: 1\r\ncdn-loop: portolan\r\n";
    assert_eq!(
        head(Framing::Chunked, &headers),
        format!("{begin}transfer-encoding: chunked\r\n\r\n")
    );
    assert_eq!(head(Framing::Length(3), &headers), format!("{begin}content-length: 3\r\n\r\n"));
    assert_eq!(head(Framing::Empty, &headers), format!("{begin}content-length: 0\r\n\r\n"));
    let says_nothing = |name: &str, headers: &Headers| {
        let method = Method::from_bytes(name.as_bytes()).unwrap();
        let text = asked(&method, Framing::Empty, headers);
        assert!(text.starts_with(&format!("{name} /x HTTP/1.1\r\n")), "{text}");
        text.matches("content-length: 0\r\n").count() == 0
    };
    assert!(!says_nothing("GET", &headers), "its client did");
    headers.remove(CONTENT_LENGTH);
    for usually_has_content in ["POST", "PUT", "PATCH"] {
        assert!(!says_nothing(usually_has_content, &headers), "{usually_has_content}");
    }
    for other in ["GET", "DELETE", "PROPFIND", "post", "POSTS", "X"] {
        assert!(says_nothing(other, &headers), "{other}");
    }
}

#[test]
fn a_response_without_a_body_says_what_its_length_would_be() {
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_LENGTH, HeaderValue::from_static("7"));
    let headers = headers.into();
    let head = |code: u16, asked: &Method, framing, ending| {
        let (mut out, code) = (Vec::new(), StatusCode::from_u16(code).unwrap());
        encode_response(
            &mut out,
            Status { code, asked, framing, ending },
            &headers,
            None::<fn() -> HeaderValue>,
        );
        let text = String::from_utf8(out).unwrap();
        text.split_once("\r\n").unwrap().1.to_owned()
    };
    let (empty, keep) = (Framing::Empty, Ending::Keep);
    assert_eq!(head(200, &Method::HEAD, empty, keep), "content-length: 7\r\n\r\n");
    assert_eq!(head(304, &Method::GET, empty, keep), "content-length: 7\r\n\r\n");
    assert_eq!(head(204, &Method::GET, empty, keep), "\r\n");
    assert_eq!(head(200, &Method::GET, empty, keep), "content-length: 0\r\n\r\n");
    assert_eq!(head(200, &Method::GET, Framing::Close, Ending::Close), "connection: close\r\n\r\n");
    assert_eq!(
        head(200, &Method::GET, Framing::Chunked, Ending::KeepOld),
        "transfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n"
    );
}

#[test]
fn headers_pass_as_lines_where_nobody_looks_and_nothing_is_unclear() {
    let passed = |asked: &Method, text: &str| {
        let bytes = Bytes::copy_from_slice(text.as_bytes());
        let read = ResponseHead::read(asked, &bytes, &Maps::default(), false);
        let (head, _) = read.unwrap().unwrap();
        let kept = head.headers.lines()?.0.kept().flatten().copied().collect::<Vec<u8>>();
        let map = head.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let mut map: Vec<_> = map.map(|(name, value)| format!("{name}={value}")).collect();
        map.sort();
        Some((String::from_utf8(kept).unwrap(), map.join(" "), head.headers.lines()?.0.has_date))
    };
    let get = |lines: &str| passed(&Method::GET, &format!("HTTP/1.1 200 OK\r\n{lines}\r\n"));
    let some = |kept: &str, map: &str, has_date| Some((kept.to_owned(), map.to_owned(), has_date));
    assert_eq!(get(""), some("", "", false));
    assert_eq!(
        get(
            "Server: a\r\nDate: now\r\nContent-Length: 3\r\nConnection: Keep-Alive\r\nX-A:  1 \r\n"
        ),
        some(
            "Server: a\r\nDate: now\r\nX-A:  1 \r\n",
            "content-length=3 date=now server=a x-a=1",
            true
        )
    );
    assert_eq!(
        get("Transfer-Encoding: chunked\r\ncontent-length: 3\r\nA: 1\r\nKeep-Alive: 5\r\nB: 2\r\n"),
        some("A: 1\r\nB: 2\r\n", "a=1 b=2", false)
    );
    // These say something of other lines, of the connection, or nothing that is certain.
    for unclear in [
        "Connection: x-a\r\nX-A: 1\r\n",
        "Upgrade: h2c\r\n",
        "TE: trailers\r\n",
        "Proxy-Connection: close\r\n",
        "A: 1\nB: 2\r\n",
        "a: 1\r\nconnection: close\r\nb: 1\r\nkeep-alive: 5\r\nc: 1\r\nconnection: close\r\nd: 1\r\n",
    ] {
        assert_eq!(get(unclear), None, "{unclear}");
    }
    let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n";
    assert_eq!(passed(&Method::HEAD, head), None);
    for status in ["100 Continue", "101 Switching Protocols", "204 No Content", "304 Not Modified"]
    {
        assert_eq!(passed(&Method::GET, &format!("HTTP/1.1 {status}\r\na: 1\r\n\r\n")), None);
    }
}
