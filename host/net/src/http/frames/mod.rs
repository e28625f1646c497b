//! Counts the frames of an HTTP/2 client that cost more than they are worth.
//!
//! What a client can make us keep is bounded where it is kept (`crate::http2`); this is about work: a request
//! that was begun and is taken back at once (CVE-2023-44487), and frames that have to be answered (PING,
//! SETTINGS: CVE-2019-9512 and 9515) or ordered (PRIORITY), say nothing (CVE-2019-9518), or open windows that
//! nothing was sent through (WINDOW_UPDATE). These are counted, per second.
//!
//! Clients measure the way with a PING behind what they read, as often as it takes them there and back (gRPC's
//! estimate of the bandwidth), and some reset a request of which they have the whole response. So each frame of
//! a response is worth one of these, and only such a frame: what answers a PING is none. Who wants more of them
//! has to have as many responses, which cost more.
//!
//! **Invariant:** a client that does what clients do is never near a bound, however fast it is.

mod heads;
mod sent;

use portolan_core::limit::Limit;

pub(crate) use self::sent::{Broken, Counted, MOST_RESETS, Resets};
use super::{limits::Http2Limits, roster::Tick};
use crate::http2::{FrameHead, Told, flag::END_STREAM, kind::*};

/// One frame that opens a window is good for so many bytes that were sent, beside one for each frame. Most
/// clients open one after thousands; some do for each message of a few bytes, the stream's and the connection's.
/// Who wants more of them has to read as much as costs more.
const BYTES_OF_WINDOW: usize = 16;
/// And so many of them for a request, whose window a client may open at once.
const WINDOWS_OF_REQUEST: u32 = 4;

/// The frames of a client so far.
#[derive(Debug)]
pub(crate) struct Frames {
    limits: Http2Limits,
    /// The second that is counted.
    second: Tick,
    resets: u32,
    /// Requests that ended in the middle.
    cut: u32,
    control: u32,
    /// Frames that are worth what was sent: PINGs, and resets of requests that are over.
    replies: u32,
    /// Frames that open windows.
    windows: u32,
    /// Requests that were begun within it.
    requests: u32,
    /// How much of responses the client was sent within it.
    told: Told,
    /// The same of the time before, which is answered for only now.
    told_before: Told,
}

impl Frames {
    /// None yet.
    pub(crate) fn new(limits: Http2Limits) -> Self {
        Self {
            limits,
            second: 0,
            resets: 0,
            cut: 0,
            control: 0,
            replies: 0,
            windows: 0,
            requests: 0,
            told: Told::default(),
            told_before: Told::default(),
        }
    }

    /// Notes that the client made a mistake for which a request is reset: it costs as much as one that is taken back.
    pub(crate) fn mistaken(&mut self, now: Tick) -> Result<(), Limit> {
        self.turn(now);
        self.reset()
    }

    fn reset(&mut self) -> Result<(), Limit> {
        self.resets += 1;
        if self.resets > self.limits.max_resets { Err(Limit::Resets) } else { Ok(()) }
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
            (self.control, self.replies) = (0, 0);
            (self.windows, self.requests) = (0, 0);
            self.told_before = std::mem::take(&mut self.told);
        }
    }

    /// Notes how much of responses the client is sent.
    pub(crate) fn told(&mut self, told: Told) {
        self.told = self.told.plus(told);
    }

    /// A frame has arrived. `takes_back`: it resets a request that has no whole response yet. An error: the limit
    /// that is exceeded now.
    pub(crate) fn arrived(
        &mut self,
        head: &FrameHead,
        takes_back: bool,
        now: Tick,
    ) -> Result<(), Limit> {
        self.turn(now);
        match head.kind {
            HEADERS => self.requests += 1,
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
            RST_STREAM if takes_back => return self.reset(),
            RST_STREAM | PING => {
                self.replies += 1;
                return self.control();
            }
            _ => {
                self.control += 1;
                return self.control();
            }
        }
        Ok(())
    }

    /// Whether there are too many control frames, counting those that nothing was sent for.
    fn control(&self) -> Result<(), Limit> {
        let worth = self.told.plus(self.told_before).frames;
        let control = self.control.saturating_add(self.replies.saturating_sub(worth));
        let earned = u32::try_from(self.told.bytes / 1024).unwrap_or(u32::MAX);
        match control > self.limits.max_control_frames.saturating_add(earned) {
            true => Err(Limit::ControlFrames),
            false => Ok(()),
        }
    }

    /// How many windows may be opened for what was asked and sent.
    fn windows_earned(&self) -> u32 {
        let Told { frames, bytes } = self.told.plus(self.told_before);
        let sent = u32::try_from(bytes / BYTES_OF_WINDOW).unwrap_or(u32::MAX);
        frames.saturating_add(sent).saturating_add(self.requests.saturating_mul(WINDOWS_OF_REQUEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames() -> Frames {
        Frames::new(Http2Limits { max_resets: 3, max_control_frames: 5, ..Http2Limits::default() })
    }

    fn frame(kind: u8, flags: u8, length: usize) -> FrameHead {
        FrameHead { length, kind, flags, stream: 1 }
    }

    /// So many of them arrive, and nobody minds.
    fn arrive(frames: &mut Frames, frame: FrameHead, times: usize, second: Tick) {
        (0..times).for_each(|_| frames.arrived(&frame, false, second).unwrap());
    }

    fn told(frames: u32, bytes: usize) -> Told {
        Told { frames, bytes }
    }

    /// After how many of these frames it is enough; `None`: never.
    fn enough(frame: FrameHead, takes_back: bool) -> Option<usize> {
        let mut frames = frames();
        (1..100).find(|_| frames.arrived(&frame, takes_back, 0).is_err())
    }

    #[test]
    fn what_is_of_no_use_is_counted_and_what_carries_something_is_not() {
        for (kind, flags, length, expected) in [
            (RST_STREAM, 0, 4, Some(6)),
            (PING, 0, 8, Some(6)),
            (SETTINGS, 0, 0, Some(6)),
            (SETTINGS, 1, 0, Some(6)),
            (PRIORITY, 0, 5, Some(6)),
            (0x10, 0, 3, Some(6)),
            (DATA, 0, 0, Some(6)),
            (DATA, END_STREAM, 0, None),
            (DATA, 0, 1, None),
            (HEADERS, 4, 1, None),
            (CONTINUATION, 0, 0, None),
            (WINDOW_UPDATE, 0, 4, Some(6)),
        ] {
            assert_eq!(enough(frame(kind, flags, length), false), expected, "{kind} {flags}");
        }
        assert_eq!(enough(frame(RST_STREAM, 0, 4), true), Some(4));
    }

    #[test]
    fn each_second_has_its_own_and_who_is_sent_much_may_ask_more() {
        let (mut frames, ping) = (frames(), frame(PING, 0, 8));
        (0..10).for_each(|second| arrive(&mut frames, ping, 5, second));
        frames.told(told(0, 2048));
        arrive(&mut frames, ping, 2, 9);
        assert_eq!(frames.arrived(&ping, false, 9), Err(Limit::ControlFrames));
    }

    #[test]
    fn each_frame_of_a_response_is_worth_one_that_it_may_bring_about() {
        // How many of these may come in the second when so many frames were sent, after one when so many were.
        let room = |before: u32, now: u32, frame: FrameHead| {
            let mut frames = frames();
            frames.told(told(before, 0));
            arrive(&mut frames, self::frame(DATA, 0, 1), 1, 1);
            frames.told(told(now, 0));
            (0..1000).find(|_| frames.arrived(&frame, false, 1).is_err()).unwrap()
        };
        for kind in [PING, RST_STREAM] {
            let frame = frame(kind, 0, 8);
            assert_eq!(room(0, 0, frame), 5);
            assert_eq!(room(0, 100, frame), 5 + 100);
            assert_eq!(room(40, 100, frame), 5 + 140, "what was sent just before");
        }
        for kind in [SETTINGS, PRIORITY, DATA, 0x10] {
            assert_eq!(room(40, 100, frame(kind, 0, 0)), 5, "{kind}");
        }
        // Together they are not worth more.
        let mut frames = frames();
        frames.told(told(3, 0));
        arrive(&mut frames, frame(PING, 0, 8), 2, 0);
        arrive(&mut frames, frame(RST_STREAM, 0, 4), 2, 0);
        arrive(&mut frames, frame(SETTINGS, 0, 0), 4, 0);
        assert_eq!(frames.arrived(&frame(PING, 0, 8), false, 0), Err(Limit::ControlFrames));
    }

    #[test]
    fn who_takes_back_as_many_as_it_may_is_not_counted_twice() {
        let (mut frames, reset) = (frames(), frame(RST_STREAM, 0, 4));
        // Those of the second before are noted now, with those of this one.
        for second in [0, 0, 0, 1, 1, 1] {
            frames.arrived(&reset, true, second).unwrap();
        }
        assert_eq!((frames.cut(3, 1), frames.cut(3, 1)), (Ok(()), Ok(())));
        assert_eq!(frames.cut(1, 1), Err(Limit::Resets));
        assert_eq!(frames.cut(1, 2), Ok(()));
    }

    #[test]
    fn windows_are_opened_for_what_is_asked_and_sent() {
        let open = frame(WINDOW_UPDATE, 0, 4);
        // How many may be opened in the second when so much is sent, after one when so much was.
        let room = |before: usize, now: usize, requests: usize| {
            let mut frames = frames();
            frames.told(told(7, before));
            arrive(&mut frames, frame(PING, 0, 8), 1, 1);
            arrive(&mut frames, frame(HEADERS, 4, 1), requests, 1);
            frames.told(told(0, now));
            (0..1000).find(|_| frames.arrived(&open, false, 1).is_err()).unwrap()
        };
        assert_eq!(room(0, 0, 0), 5 + 7);
        assert_eq!(room(0, 0, 1), 5 + 7 + 4);
        assert_eq!(room(16 * 100, 0, 0), 5 + 7 + 100, "what was sent just before");
        assert_eq!(room(16 * 100, 16 * 20, 1), 5 + 7 + 120 + 4);
    }
}
