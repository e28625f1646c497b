//! HTTP/2 by hand, frame by frame, on either side.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
};

use super::support::{Portolan, soon};

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;

pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;

pub(super) const NO_ERROR: u32 = 0;
pub(super) const CANCEL: u32 = 8;
pub(super) const CALM: u32 = 11;

pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

/// One end of a connection, whose frames are written by hand.
pub(super) struct Raw {
    reads: OwnedReadHalf,
    pub(super) writes: OwnedWriteHalf,
}

pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = u32::try_from(payload.len()).unwrap().to_be_bytes()[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// The length of a text in HPACK (RFC 7541, 5.1), in seven bits and what follows.
fn length(text: &str) -> Vec<u8> {
    let mut rest = text.len();
    if rest < 127 {
        return vec![u8::try_from(rest).unwrap()];
    }
    let mut bytes = vec![127];
    rest -= 127;
    while rest >= 128 {
        bytes.push(u8::try_from(rest % 128).unwrap() | 128);
        rest /= 128;
    }
    bytes.push(u8::try_from(rest).unwrap());
    bytes
}

/// A header that is not remembered (RFC 7541, 6.2.2).
pub(super) fn line(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = vec![0];
    for text in [name, value] {
        bytes.extend(length(text));
        bytes.extend(text.as_bytes());
    }
    bytes
}

/// `GET / HTTP/2` at `a.local`, and more lines.
pub(super) fn get(more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x82, 0x86, 0x84, 0x01, 7];
    block.extend(b"a.local");
    block.extend(more.iter().flat_map(|(name, value)| line(name, value)));
    block
}

/// The head of a response that is well, and more lines.
pub(super) fn fine(stream: u32, flags: u8, more: &[(&str, &str)]) -> Vec<u8> {
    let mut block = vec![0x88];
    block.extend(more.iter().flat_map(|(name, value)| line(name, value)));
    frame(HEADERS, END_HEADERS | flags, stream, &block)
}

/// All of a response that is well.
pub(super) fn answered(stream: u32) -> Vec<u8> {
    [fine(stream, 0, &[]), frame(DATA, END_STREAM, stream, b"ok")].concat()
}

/// A goodbye that names the last stream that was looked at.
pub(super) fn goodbye(last: u32, code: u32) -> Vec<u8> {
    frame(GOAWAY, 0, 0, &[last.to_be_bytes(), code.to_be_bytes()].concat())
}

/// SETTINGS: pairs of name and value.
pub(super) fn settings(pairs: &[(u16, u32)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (name, value) in pairs {
        payload.extend(name.to_be_bytes());
        payload.extend(value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload)
}

/// A backend: every connection is handled by a copy of the script, which learns how many there were before.
/// Answers its address, and how many there are.
pub(super) async fn backend<F>(
    first: &'static [(u16, u32)],
    script: impl Fn(Raw, usize) -> F + Send + 'static,
) -> (SocketAddr, Arc<AtomicUsize>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::<AtomicUsize>::default();
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (reads, writes) = stream.into_split();
            let mut raw = Raw { reads, writes };
            let number = counted.fetch_add(1, Ordering::Relaxed);
            let mut preface = [0; 24];
            raw.reads.read_exact(&mut preface).await.unwrap();
            // What it is told comes right behind the preface.
            raw.send(&[settings(first), frame(SETTINGS, ACK, 0, &[])].concat()).await;
            tokio::spawn(script(raw, number));
        }
    });
    (address, connections)
}

/// `POST`, of which a body is to come.
pub(super) fn post(stream: u32) -> Vec<u8> {
    let mut block = get(&[]);
    block[0] = 0x83;
    frame(HEADERS, END_HEADERS, stream, &block)
}

pub(super) fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, END_HEADERS | END_STREAM, stream, &get(&[]))
}

/// The answer to a PING.
pub(super) fn answer(payload: &[u8]) -> Vec<u8> {
    frame(PING, ACK, 0, payload)
}

pub(super) fn reset(stream: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &CANCEL.to_be_bytes())
}

impl Raw {
    /// Connects, with these settings: pairs of name and value.
    pub(super) async fn connect(portolan: &Portolan, settings: &[(u16, u32)]) -> Self {
        let stream = TcpStream::connect(portolan.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (reads, writes) = stream.into_split();
        let mut raw = Self { reads, writes };
        raw.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
        raw.send(&self::settings(settings)).await;
        raw
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) {
        self.writes.write_all(bytes).await.unwrap();
    }

    /// The next frame; `None`: there are no more.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        soon(next(&mut self.reads)).await
    }

    /// The next frame of that kind.
    pub(super) async fn until(&mut self, kind: u8) -> Option<Frame> {
        loop {
            let frame = self.next().await?;
            if frame.kind == kind && (kind != SETTINGS || frame.flags != ACK) {
                return Some(frame);
            }
        }
    }

    /// The next frame that is none of these kinds.
    pub(super) async fn next_but(&mut self, kinds: &[u8]) -> Frame {
        loop {
            let frame = self.next().await.unwrap();
            if !kinds.contains(&frame.kind) {
                return frame;
            }
        }
    }

    /// The next request to its end: its stream, and its body. `None`: there are no more.
    pub(super) async fn request(&mut self) -> Option<(u32, Vec<u8>)> {
        let mut body = Vec::new();
        loop {
            let frame = self.next().await?;
            if frame.kind == DATA {
                body.extend(frame.payload);
            }
            if matches!(frame.kind, DATA | HEADERS) && frame.flags & END_STREAM != 0 {
                return Some((frame.stream, body));
            }
        }
    }

    /// Sends frames until the other end has had enough; answers what it says then.
    pub(super) async fn flood(mut self, mut make: impl FnMut(u32) -> Vec<u8>) -> u32 {
        let reading = async {
            loop {
                match next(&mut self.reads).await {
                    Some(Frame { kind: GOAWAY, payload, .. }) => break goaway_code(&payload),
                    Some(_) => {}
                    None => panic!("closed without a word"),
                }
            }
        };
        let writes = &mut self.writes;
        let writing = async move {
            for round in 0.. {
                let chunk: Vec<u8> = (0..100).flat_map(|part| make(round * 100 + part)).collect();
                if writes.write_all(&chunk).await.is_err() {
                    break;
                }
            }
            // What the other end said last may still be on its way.
            std::future::pending::<u32>().await
        };
        soon(async {
            tokio::select! {
                code = reading => code,
                code = writing => code,
            }
        })
        .await
    }
}

async fn next(reads: &mut OwnedReadHalf) -> Option<Frame> {
    let mut head = [0; 9];
    reads.read_exact(&mut head).await.ok()?;
    let [high, middle, low, kind, flags, stream @ ..] = head;
    let mut payload = vec![0; u32::from_be_bytes([0, high, middle, low]) as usize];
    reads.read_exact(&mut payload).await.ok()?;
    Some(Frame { kind, flags, stream: u32::from_be_bytes(stream), payload })
}

/// Why a stream is ended.
pub(super) fn code(payload: &[u8]) -> u32 {
    u32::from_be_bytes(payload.try_into().unwrap())
}

/// Why a connection is ended.
pub(super) fn goaway_code(payload: &[u8]) -> u32 {
    code(&payload[4..8])
}
