//! What must hold for any bytes that a client sends as HTTP/2.

use std::task::{Context, Poll, Waker};

use http::{HeaderMap, HeaderValue, StatusCode};

use super::{
    Answer, Broken, Connection, ConnectionLimits, FieldLimits, FrameHead, HEAD, Request, Server,
    connection::PREFACE, frame::MOST_PAYLOAD, hpack::Decoder, kind,
};
use crate::h1::{Basin as _, Buffers};

const STREAMS: u32 = 5;

/// Answers, or leaves it, as a number says.
struct Whim {
    dice: u32,
    kept: Vec<Request>,
}

impl Whim {
    fn roll(&mut self, sides: u32) -> u32 {
        self.dice = self.dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (self.dice >> 16) % sides
    }

    /// Goes on with what is under way.
    fn act(&mut self, cx: &Context<'_>) {
        for mut request in std::mem::take(&mut self.kept) {
            if self.roll(3) == 0
                && let Some(content) = &mut request.content
            {
                while let Poll::Ready(Some(Ok(_))) = content.poll_piece(cx) {}
            }
            match self.roll(6) {
                0 => drop(request),
                1 => request.content = None,
                2 => {
                    let (status, tells_length) = (StatusCode::OK, false);
                    let headers = &request.head.headers;
                    let answer = Answer { status, headers, length: None, tells_length };
                    let date = || HeaderValue::from_static("now");
                    let is_end = self.roll(2) == 0;
                    request.responder.head(&answer, date, is_end);
                    if !is_end {
                        self.pour(&mut request, cx);
                    }
                }
                _ => self.kept.push(request),
            }
        }
    }

    fn pour(&mut self, request: &mut Request, cx: &Context<'_>) {
        let mut spilt = Vec::new();
        while let Poll::Ready(Ok(room)) = request.responder.poll_room(cx) {
            let mut pouring = request.responder.pour(room, &mut spilt);
            pouring.take(&vec![b'x'; self.roll(40_000) as usize]);
            request.responder.poured(pouring, false);
            if !spilt.is_empty() || self.roll(3) == 0 {
                break;
            }
        }
        if self.roll(2) == 0 {
            let mut trailers = HeaderMap::new();
            trailers.insert("x-sum", HeaderValue::from_static("7"));
            request.responder.trailers(&trailers);
        }
    }
}

impl Server for Whim {
    fn judge(&mut self, _head: &FrameHead, _takes_back: bool) -> Result<(), Broken> {
        Ok(())
    }

    fn take(&mut self, request: Request) {
        assert!(
            request.head.fault.is_some()
                || !request
                    .head
                    .headers
                    .iter()
                    .any(|(_, value)| { value.as_bytes().contains(&b'\n') })
        );
        self.kept.push(request);
    }

    fn mistaken(&mut self) -> Result<(), Broken> {
        Ok(())
    }
}

/// Nothing breaks, however the bytes are cut and whatever is answered meanwhile: what is written are frames that can
/// be read, no more requests are under way than may be, and in the end none is.
pub fn connection(bytes: &[u8]) {
    let (Some(first), rest) = (bytes.first(), bytes.get(1..).unwrap_or_default()) else { return };
    let head = FieldLimits { bytes: 4096, fields: 20 };
    let mut connection = Connection::new(ConnectionLimits { streams: STREAMS, head });
    let (buffers, cx) = (Buffers::default(), Context::from_waker(Waker::noop()));
    let mut whim = Whim { dice: u32::from(*first), kept: Vec::new() };
    let mut output = Vec::new();
    let begin = [PREFACE, &[0, 0, 0, kind::SETTINGS, 0, 0, 0, 0, 0]].concat();
    let mut broken = connection.receive(&begin, &buffers, &mut whim).err();
    let mut rest = rest;
    while broken.is_none() && !rest.is_empty() {
        let length = (1 + whim.roll(64) as usize).min(rest.len());
        let (piece, behind) = rest.split_at(length);
        rest = behind;
        broken = connection.receive(piece, &buffers, &mut whim).err();
        whim.act(&cx);
        if whim.roll(4) == 0 {
            write(&connection, &mut output);
        }
        assert!(connection.active() <= STREAMS, "more are under way than may be");
    }
    if let Some(broken) = broken {
        connection.end(broken);
    }
    whim.kept.clear();
    write(&connection, &mut output);
    drop(connection);
    can_be_read(&output);
}

fn write(connection: &Connection, output: &mut Vec<u8>) {
    loop {
        let written = connection.poll_write(|bytes| {
            output.extend_from_slice(bytes);
            Poll::Ready(Ok(bytes.len()))
        });
        assert!(matches!(written, Poll::Ready(Ok(()))), "there is room");
        if !connection.follow_up() {
            return;
        }
    }
}

fn can_be_read(mut output: &[u8]) {
    let mut decoder = Decoder::new();
    while !output.is_empty() {
        let head = FrameHead::read(output).expect("a frame is cut off");
        assert!(head.length <= MOST_PAYLOAD, "a frame is too long");
        let (frame, rest) =
            output.split_at_checked(HEAD + head.length).expect("a payload is cut off");
        output = rest;
        if head.kind == kind::HEADERS {
            let decoded = decoder.decode(frame.get(HEAD..).unwrap_or_default(), |_field| true);
            assert_eq!(decoded, Ok(()), "a head cannot be read");
        }
    }
}
