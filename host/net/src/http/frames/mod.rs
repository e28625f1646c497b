//! Follows the frames that an HTTP/2 client sends, before hyper reads them, and counts those that cost
//! more than they are worth.
//!
//! hyper's h2 bounds what a client can make us keep: CONTINUATION frames, the list of headers, empty
//! and tiny DATA frames, requests that were taken back before anybody saw them. What it does not
//! bound is work: a request that was begun and is taken back at once (CVE-2023-44487), and frames that
//! have to be answered (PING, SETTINGS: CVE-2019-9512 and 9515) or ordered (PRIORITY), or open windows
//! that nothing was sent through (WINDOW_UPDATE). These are counted here, per second.
//!
//! **Invariant:** only the nine bytes before each frame are looked at; nothing is kept of the rest.

mod heads;
mod sent;

use portolan_core::limit::Limit;

use self::heads::{HEAD, Head, Heads, PREFACE};
pub(crate) use self::sent::{Counted, MOST_RESETS, Resets, Sent};
use super::{limits::Http2Limits, roster::Tick};

/// Kinds of frames (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;

const END_STREAM: u8 = 1;

/// One frame that opens a window is good for so many bytes that were sent. Most clients open one after
/// thousands; those that do for each message of a few bytes, the stream's and the connection's, come near it.
/// Who wants more of them has to read as much as costs more.
const BYTES_OF_WINDOW: usize = 16;
/// And so many of them for a request, whose window a client may open at once.
const WINDOWS_OF_REQUEST: u32 = 4;

/// ENHANCE_YOUR_CALM (RFC 9113, 7).
const CALM: u32 = 11;

/// The frames of a client so far.
#[derive(Debug)]
pub(crate) struct Frames {
    limits: Http2Limits,
    heads: Heads,
    /// The second that is counted.
    second: Tick,
    resets: u32,
    /// Requests that ended in the middle.
    cut: u32,
    control: u32,
    /// Frames that open windows.
    windows: u32,
    /// Requests that were begun within it.
    requests: u32,
    /// How many bytes the client was sent within it.
    sent: usize,
    /// The same of the time before, which is answered for only now.
    sent_before: usize,
    last_stream: u32,
}

impl Frames {
    /// None yet.
    pub(crate) fn new(limits: Http2Limits) -> Self {
        Self {
            limits,
            heads: Heads::behind(PREFACE),
            second: 0,
            resets: 0,
            cut: 0,
            control: 0,
            windows: 0,
            requests: 0,
            sent: 0,
            sent_before: 0,
            last_stream: 0,
        }
    }

    /// Follows what has arrived. An error: the limit that is exceeded now.
    pub(crate) fn arrived(&mut self, mut bytes: &[u8], now: Tick) -> Result<(), Limit> {
        self.turn(now);
        while let Some(head) = self.heads.next(&mut bytes) {
            self.frame(&head)?;
        }
        Ok(())
    }

    /// Notes how many requests have ended in the middle, whoever brought it about: one that the client takes back
    /// by mistakes, for which h2 resets it, costs as much as one for which it says so (CVE-2025-8671).
    pub(crate) fn cut(&mut self, requests: u32, now: Tick) -> Result<(), Limit> {
        self.turn(now);
        self.cut += requests;
        // They are noted later than the frames that end them: two seconds' worth may come in one.
        match self.cut > self.limits.max_resets.saturating_mul(2) {
            true => Err(Limit::Resets),
            false => Ok(()),
        }
    }

    fn turn(&mut self, now: Tick) {
        if self.second != now {
            self.second = now;
            (self.resets, self.cut) = (0, 0);
            (self.control, self.windows, self.requests) = (0, 0, 0);
            self.sent_before = std::mem::take(&mut self.sent);
        }
    }

    /// Notes how much the client is sent.
    pub(crate) fn sent(&mut self, length: usize) {
        self.sent += length;
    }

    /// A frame begins.
    fn frame(&mut self, head: &Head) -> Result<(), Limit> {
        match head.kind {
            HEADERS => {
                self.last_stream = self.last_stream.max(head.stream);
                self.requests += 1;
            }
            CONTINUATION | GOAWAY => {}
            WINDOW_UPDATE => {
                self.windows += 1;
                if self.windows
                    > self.limits.max_control_frames.saturating_add(self.windows_earned())
                {
                    return Err(Limit::ControlFrames);
                }
            }
            DATA if head.length > 0 || head.flags & END_STREAM != 0 => {}
            RST_STREAM => {
                self.resets += 1;
                if self.resets > self.limits.max_resets {
                    return Err(Limit::Resets);
                }
            }
            _ => {
                self.control += 1;
                let earned = u32::try_from(self.sent / 1024).unwrap_or(u32::MAX);
                if self.control > self.limits.max_control_frames.saturating_add(earned) {
                    return Err(Limit::ControlFrames);
                }
            }
        }
        Ok(())
    }

    /// How many windows may be opened for what was asked and sent.
    fn windows_earned(&self) -> u32 {
        let bytes = self.sent.saturating_add(self.sent_before);
        let sent = u32::try_from(bytes / BYTES_OF_WINDOW).unwrap_or(u32::MAX);
        sent.saturating_add(self.requests.saturating_mul(WINDOWS_OF_REQUEST))
    }

    /// A frame that tells the client to go, and why (RFC 9113, 6.8).
    pub(crate) fn goodbye(&self, limit: Limit) -> Vec<u8> {
        let word = limit.as_str().as_bytes();
        let length = u32::try_from(8 + word.len()).unwrap_or_default();
        let mut frame = Vec::with_capacity(HEAD + 8 + word.len());
        frame.extend(length.to_be_bytes().into_iter().skip(1));
        frame.extend([GOAWAY, 0, 0, 0, 0, 0]);
        frame.extend(self.last_stream.to_be_bytes());
        frame.extend(CALM.to_be_bytes());
        frame.extend(word);
        frame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: u8 = 4;
    const PING: u8 = 6;

    fn frames() -> Frames {
        Frames::new(Http2Limits { max_resets: 3, max_control_frames: 5, ..Http2Limits::default() })
    }

    fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
        let mut frame = length[1..].to_vec();
        frame.extend([kind, flags, 0, 0, 0, 1]);
        frame.extend_from_slice(payload);
        frame
    }

    fn preface() -> Vec<u8> {
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec()
    }

    /// After how many of these frames it is enough; `None`: never.
    fn enough(frame: &[u8]) -> Option<usize> {
        let mut frames = frames();
        frames.arrived(&preface(), 0).unwrap();
        (1..100).find(|_| frames.arrived(frame, 0).is_err())
    }

    #[test]
    fn what_is_of_no_use_is_counted_and_what_carries_something_is_not() {
        for (kind, flags, payload, expected) in [
            (RST_STREAM, 0, &[0; 4][..], Some(4)),
            (PING, 0, &[0; 8], Some(6)),
            (SETTINGS, 0, &[], Some(6)),
            (SETTINGS, 1, &[], Some(6)),
            (2, 0, &[0; 5], Some(6)),
            (0x10, 0, b"u=1", Some(6)),
            (DATA, 0, &[], Some(6)),
            (DATA, END_STREAM, &[], None),
            (DATA, 0, b"x", None),
            (HEADERS, 4, b"x", None),
            (CONTINUATION, 0, b"", None),
            (WINDOW_UPDATE, 0, &[0; 4], Some(6)),
        ] {
            assert_eq!(enough(&frame(kind, flags, payload)), expected, "{kind} {flags}");
        }
    }

    #[test]
    fn frames_are_found_however_the_bytes_are_cut() {
        let mut bytes = preface();
        bytes.extend(frame(DATA, 0, &[PING; 300]));
        bytes.extend((0..3).flat_map(|_| frame(RST_STREAM, 0, &[0; 4])));
        let last = bytes.len();
        bytes.extend(frame(RST_STREAM, 0, &[0; 4]));
        for size in 1..50 {
            let mut frames = frames();
            let mut seen = 0;
            let over = bytes.chunks(size).find_map(|chunk| {
                seen += chunk.len();
                frames.arrived(chunk, 0).err()
            });
            assert_eq!(over, Some(Limit::Resets));
            assert!(seen >= last + HEAD, "{size}");
        }
    }

    #[test]
    fn each_second_has_its_own_and_who_is_sent_much_may_ask_more() {
        let mut frames = frames();
        frames.arrived(&preface(), 0).unwrap();
        for second in 0..10 {
            for _ in 0..5 {
                frames.arrived(&frame(PING, 0, &[0; 8]), second).unwrap();
            }
        }
        frames.sent(2048);
        for _ in 0..2 {
            frames.arrived(&frame(PING, 0, &[0; 8]), 9).unwrap();
        }
        assert_eq!(frames.arrived(&frame(PING, 0, &[0; 8]), 9), Err(Limit::ControlFrames));
    }

    #[test]
    fn who_takes_back_as_many_as_it_may_is_not_counted_twice() {
        let mut frames = frames();
        frames.arrived(&preface(), 0).unwrap();
        let three = frame(RST_STREAM, 0, &[0; 4]).repeat(3);
        frames.arrived(&three, 0).unwrap();
        // Those of the second before are noted now, with those of this one.
        frames.arrived(&three, 1).unwrap();
        assert_eq!((frames.cut(3, 1), frames.cut(3, 1)), (Ok(()), Ok(())));
        assert_eq!(frames.cut(1, 1), Err(Limit::Resets));
        assert_eq!(frames.cut(1, 2), Ok(()));
    }

    #[test]
    fn windows_are_opened_for_what_is_asked_and_sent() {
        let open = frame(WINDOW_UPDATE, 0, &[0; 4]);
        // How many may be opened in the second when so much is sent, after one when so much was.
        let room = |before: usize, now: usize, requests: &[u8]| {
            let mut frames = frames();
            frames.arrived(&preface(), 0).unwrap();
            frames.sent(before);
            frames.arrived(requests, 1).unwrap();
            frames.sent(now);
            (0..1000).find(|_| frames.arrived(&open, 1).is_err()).unwrap()
        };
        let request = frame(HEADERS, 4, b"x");
        assert_eq!(room(0, 0, &[]), 5);
        assert_eq!(room(0, 0, &request), 5 + 4);
        assert_eq!(room(16 * 100, 0, &[]), 5 + 100, "what was sent just before");
        assert_eq!(room(16 * 100, 16 * 20, &request), 5 + 120 + 4);
    }

    #[test]
    fn a_goodbye_is_a_frame() {
        let mut frames = frames();
        frames.arrived(&preface(), 0).unwrap();
        frames.arrived(&frame(HEADERS, 4, b"x"), 0).unwrap();
        let goodbye = frames.goodbye(Limit::Resets);
        assert_eq!(goodbye[..9], [0, 0, 18, GOAWAY, 0, 0, 0, 0, 0]);
        assert_eq!(goodbye[9..17], [0, 0, 0, 1, 0, 0, 0, 11]);
        assert_eq!(&goodbye[17..], b"max-resets");
    }
}
