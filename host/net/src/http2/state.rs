//! What whoever reads a connection and whoever answers its requests know together: the streams, the windows,
//! and what is to be written.
//!
//! **Invariant:** it is borrowed for one step at a time, in which nothing of others is called or dropped: a
//! body that ends takes others with it, and they come back here.

use std::{
    cell::RefCell,
    collections::VecDeque,
    rc::Rc,
    task::{Context, Waker},
};

use bytes::{Bytes, BytesMut};
use h2::Reason;
use http::HeaderMap;

use super::{frame, hpack::Encoder};

/// What a client may send of one request before a backend reads it: 10 MiB/s from 100 ms away.
pub(super) const STREAM_WINDOW: u32 = 1024 * 1024;
/// What it may send of all its requests together, which is what it can have of our memory: so many uploads
/// to backends that do not read hold up none that another backend takes.
pub(super) const CONNECTION_WINDOW: u32 = 8 * STREAM_WINDOW;
/// The windows that there are before anything is said (RFC 9113, 6.9.2).
pub(super) const FIRST_WINDOW: i64 = 65_535;
/// What is shorter is gathered before it is kept.
const LARGE: usize = 4 * 1024;
/// So much of responses waits to be written, and no more is made while it does.
const MOST_OUTPUT: usize = 64 * 1024;

/// The shortest message of gRPC: its head.
pub(super) const MESSAGE: usize = 5;

/// A connection, for all who have to do with it.
pub(super) type Shared = Rc<RefCell<State>>;

/// What is known of a connection.
#[derive(Debug)]
pub(super) struct State {
    /// To be written.
    pub(super) output: Vec<u8>,
    /// So much of it is gone.
    pub(super) written: usize,
    pub(super) encoder: Encoder,
    /// In the order of their numbers.
    streams: Vec<Stream>,
    /// How many requests the client has under way, as it counts them.
    pub(super) active: u32,
    /// How much may be sent, of all streams together.
    pub(super) window: i64,
    /// And of each that begins.
    pub(super) first_window: i64,
    /// How much the client may send, and how much of what it sent was taken since it was last told.
    pub(super) credit: i64,
    unclaimed: u32,
    /// Who waits for the connection, to send.
    waiting: VecDeque<u32>,
    /// How much room those have whose turn it is.
    promised: usize,
    /// How many requests were reset for mistakes of the client and are not counted yet.
    pub(super) mistakes: u32,
    /// What of responses was written and is not counted yet.
    pub(super) told: Told,
    /// Requests that were answered before all of them came, and whose clients are not told yet to send no more.
    /// That goes out by itself: some (curl 7.88) forget an answer that comes together with it.
    answered: Vec<u32>,
    /// Who reads and writes.
    waker: Option<Waker>,
    /// Whether that one knows that there is something to be written.
    pub(super) is_told: bool,
}

/// So much of responses: nothing that answers frames about the connection is part of it, so none of those
/// is worth another one.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Told {
    /// How many header blocks, and how many frames with content that may be a message: less of it is sent when
    /// the client opens its window byte by byte.
    pub(crate) frames: u32,
    /// How long all of it is, heads of frames included.
    pub(crate) bytes: usize,
}

impl Told {
    /// The two together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            frames: self.frames.saturating_add(other.frames),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// A request, and its response.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) id: u32,
    /// How much may be sent of it.
    pub(super) window: i64,
    /// Whether all of the request has come, and all of the response is written.
    pub(super) is_received: bool,
    pub(super) is_sent: bool,
    /// Whether the response has begun, before which there may be interim ones.
    pub(super) is_answered: bool,
    /// Whether the client counts it among those that are under way.
    is_active: bool,
    is_waiting: bool,
    /// How much it may send while others wait: it is its turn.
    turn: usize,
    /// Whoever answers.
    pub(super) writer: Option<Waker>,
    /// Its content, while somebody may want it.
    pub(super) upload: Option<Box<Upload>>,
}

/// What comes behind the head of a request.
#[derive(Debug, Default)]
pub(super) struct Upload {
    pieces: VecDeque<Bytes>,
    /// What came in small pieces, behind those. Each by itself would take more memory than it is long.
    tail: BytesMut,
    pub(super) trailers: Option<HeaderMap>,
    /// How much is to come, where that was said.
    pub(super) left: Option<u64>,
    /// How much the client may send.
    pub(super) credit: i64,
    unclaimed: u32,
    pub(super) awaits_continue: bool,
    pub(super) reader: Option<Waker>,
}

impl Upload {
    /// Content of which nothing has come.
    pub(super) fn new(left: Option<u64>, awaits_continue: bool) -> Box<Self> {
        Box::new(Self { left, credit: STREAM_WINDOW.into(), awaits_continue, ..Self::default() })
    }

    /// Content has come.
    pub(super) fn push(&mut self, content: &[u8]) {
        if self.tail.is_empty() && content.len() >= LARGE {
            self.pieces.push_back(Bytes::copy_from_slice(content));
        } else {
            self.tail.extend_from_slice(content);
            if self.tail.len() >= frame::MOST_PAYLOAD {
                self.pieces.push_back(self.tail.split().freeze());
            }
        }
        self.reader.take().into_iter().for_each(Waker::wake);
    }

    /// What has come of it, piece by piece.
    pub(super) fn pop(&mut self) -> Option<Bytes> {
        let piece = self.pieces.pop_front();
        piece.or_else(|| (!self.tail.is_empty()).then(|| self.tail.split().freeze()))
    }

    /// How much of it waits.
    pub(super) fn held(&self) -> usize {
        self.tail.len() + self.pieces.iter().map(Bytes::len).sum::<usize>()
    }

    /// Whether nothing of it waits.
    pub(super) fn is_read(&self) -> bool {
        self.tail.is_empty() && self.pieces.is_empty() && self.trailers.is_none()
    }
}

impl State {
    pub(super) fn new() -> Self {
        Self {
            output: Vec::new(),
            written: 0,
            encoder: Encoder::new(),
            streams: Vec::new(),
            active: 0,
            window: FIRST_WINDOW,
            first_window: FIRST_WINDOW,
            credit: CONNECTION_WINDOW.into(),
            unclaimed: 0,
            waiting: VecDeque::new(),
            promised: 0,
            mistakes: 0,
            told: Told::default(),
            answered: Vec::new(),
            waker: None,
            is_told: false,
        }
    }

    /// Whoever reads and writes is at it.
    pub(super) fn attend(&mut self, cx: &Context<'_>) {
        self.is_told = true;
        note(&mut self.waker, cx);
    }

    /// There is something to be written.
    pub(super) fn tell(&mut self) {
        if !std::mem::replace(&mut self.is_told, true)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }

    pub(super) fn find(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id)?;
        self.streams.get_mut(place)
    }

    /// Whether a request is under way whose response is not written to its end.
    pub(super) fn is_unanswered(&mut self, id: u32) -> bool {
        self.find(id).is_some_and(|stream| !stream.is_sent)
    }

    /// So much of a response was written, in so many [frames](Told::frames) that count.
    pub(super) fn tell_of(&mut self, frames: u32, bytes: usize) {
        self.told = self.told.plus(Told { frames, bytes });
        self.tell();
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.streams.binary_search_by_key(&id, |stream| stream.id).ok()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty()
    }

    /// A request begins, the last so far.
    pub(super) fn open(&mut self, id: u32, upload: Option<Box<Upload>>) {
        self.active += 1;
        self.streams.push(Stream {
            id,
            window: self.first_window,
            is_received: upload.is_none(),
            is_sent: false,
            is_answered: false,
            is_active: true,
            is_waiting: false,
            turn: 0,
            writer: None,
            upload,
        });
    }

    /// Something about a stream has ended: so it may have.
    pub(super) fn settle(&mut self, id: u32) {
        let Some(place) = self.place(id) else { return };
        let Some(stream) = self.streams.get_mut(place).filter(|stream| stream.is_sent) else {
            return;
        };
        if stream.is_received && std::mem::replace(&mut stream.is_active, false) {
            self.active -= 1;
        }
        let (is_received, is_wanted) = (stream.is_received, stream.upload.is_some());
        if is_wanted {
            // Somebody reads on, though the client has its answer.
            return;
        }
        if !is_received {
            // It need not send the rest, and did nothing wrong (RFC 9113, 8.1).
            self.answered.push(id);
            self.tell();
        }
        self.remove(place);
    }

    /// Tells clients whose answers are written to send no more; false: there are none of these.
    pub(super) fn stop_answered(&mut self) -> bool {
        let answered = std::mem::take(&mut self.answered);
        answered.iter().for_each(|id| frame::reset(&mut self.output, *id, Reason::NO_ERROR));
        !answered.is_empty()
    }

    /// Ends a stream for a mistake of the client.
    pub(super) fn mistake(&mut self, id: u32, reason: Reason) {
        self.mistakes += 1;
        self.reset(id, reason);
    }

    /// Ends a stream before its time, and says so.
    pub(super) fn reset(&mut self, id: u32, reason: Reason) {
        frame::reset(&mut self.output, id, reason);
        self.tell();
        self.cut(id);
    }

    /// A stream is over before its end: all who have to do with it learn that.
    pub(super) fn cut(&mut self, id: u32) {
        let Some(place) = self.place(id) else { return };
        let mut stream = self.remove(place);
        if let Some(mut upload) = stream.upload.take() {
            upload.reader.take().into_iter().for_each(Waker::wake);
            self.claim(upload.held());
        }
        stream.writer.take().into_iter().for_each(Waker::wake);
    }

    /// The connection is over, and so is all that is under way on it. A request that has come to its end and has
    /// its answer is not cut: whoever reads on has what is here already.
    pub(super) fn cut_all(&mut self) {
        let open = self.streams.iter().filter(|stream| !(stream.is_sent && stream.is_received));
        let open: Vec<u32> = open.map(|stream| stream.id).collect();
        open.into_iter().for_each(|id| self.cut(id));
    }

    fn remove(&mut self, place: usize) -> Stream {
        let stream = self.streams.remove(place);
        self.active -= u32::from(stream.is_active);
        // Its turn is for the next.
        self.promised -= stream.turn;
        self.wake_waiting();
        stream
    }

    /// What of content was taken: the client may send as much again.
    pub(super) fn claim(&mut self, length: usize) {
        self.unclaimed += length as u32;
        // What is held for backends that do not read may be most of the window: the rest is for others.
        if self.unclaimed >= STREAM_WINDOW / 2 || i64::from(self.unclaimed) > self.credit {
            let by = std::mem::take(&mut self.unclaimed);
            self.credit += i64::from(by);
            frame::window_update(&mut self.output, 0, by);
            self.tell();
        }
    }

    /// The same, of one stream.
    pub(super) fn claim_of(&mut self, id: u32, length: usize) {
        self.claim(length);
        let Some(stream) = self.find(id).filter(|stream| !stream.is_received) else { return };
        let Some(upload) = &mut stream.upload else { return };
        upload.unclaimed += length as u32;
        if upload.unclaimed >= STREAM_WINDOW / 2 {
            let by = std::mem::take(&mut upload.unclaimed);
            upload.credit += i64::from(by);
            frame::window_update(&mut self.output, id, by);
            self.tell();
        }
    }

    /// How much may be sent of a stream now. Nothing: whoever answers is woken when that changes. `None`: it is
    /// over.
    pub(super) fn room(&mut self, id: u32, cx: &Context<'_>) -> Option<usize> {
        let (common, promised, waits) = (self.common_room(), self.promised, self.waiting.len());
        let stream = self.find(id)?;
        let share = match waits {
            0 => common.saturating_sub(promised - stream.turn),
            // It is the others' turn, unless it is still its own.
            _ => stream.turn.min(common),
        };
        let room = share.min(usize::try_from(stream.window).unwrap_or_default());
        if room > 0 {
            return Some(room);
        }
        note(&mut stream.writer, cx);
        let is_ready = stream.window > 0 && !std::mem::replace(&mut stream.is_waiting, true);
        if is_ready {
            self.waiting.push_back(id);
        }
        self.pass(id);
        Some(0)
    }

    /// How much the connection takes, of whatever stream.
    fn common_room(&self) -> usize {
        let output = MOST_OUTPUT.saturating_sub(self.unwritten());
        // Else there would be many small frames. What is full is written, and then there is more.
        let output = if output < LARGE { 0 } else { output };
        output.min(usize::try_from(self.window).unwrap_or_default())
    }

    /// So much of a stream is written.
    pub(super) fn debit(&mut self, id: u32, length: usize) {
        self.window -= length as i64;
        let Some(stream) = self.find(id) else { return };
        stream.window -= length as i64;
        let used = stream.turn.min(length);
        stream.turn -= used;
        self.promised -= used;
    }

    /// A stream has nothing to send, or may not: what there is of its turn is for the next.
    pub(super) fn pass(&mut self, id: u32) {
        if let Some(stream) = self.find(id) {
            let turn = std::mem::take(&mut stream.turn);
            self.promised -= turn;
        }
        self.wake_waiting();
    }

    /// Those who wait have their turn, one after the other, as far as there is room.
    pub(super) fn wake_waiting(&mut self) {
        if self.waiting.is_empty() {
            return;
        }
        let mut room = self.common_room().saturating_sub(self.promised);
        while room > 0 {
            let Some(id) = self.waiting.pop_front() else { return };
            let Some(stream) = self.find(id) else { continue };
            let turn = room.min(frame::MOST_PAYLOAD);
            stream.is_waiting = false;
            stream.turn += turn;
            stream.writer.take().into_iter().for_each(Waker::wake);
            self.promised += turn;
            room -= turn;
        }
    }

    /// The client gives other windows to streams (RFC 9113, 6.9.2). False: one would be too large.
    pub(super) fn set_first_window(&mut self, first: i64) -> bool {
        let change = first - std::mem::replace(&mut self.first_window, first);
        for stream in &mut self.streams {
            stream.window += change;
            if stream.window > i64::from(i32::MAX) {
                return false;
            }
            stream.writer.take().into_iter().for_each(Waker::wake);
        }
        true
    }

    /// So much more of the output is gone.
    pub(super) fn wrote(&mut self, length: usize) {
        self.written += length;
        if self.written >= self.output.len() {
            self.output.clear();
            self.written = 0;
        } else if self.written >= MOST_OUTPUT {
            // What is written on and on would grow.
            self.output.drain(..self.written);
            self.written = 0;
        }
        self.wake_waiting();
    }

    /// Gives back the room for output.
    pub(super) fn rest(&mut self) {
        if self.output.is_empty() {
            self.output = Vec::new();
        }
    }

    /// Whether so much waits to be written that nothing more is read: whoever asks without listening would
    /// have all our memory with the answers.
    pub(super) fn is_full(&self) -> bool {
        self.unwritten() > 2 * MOST_OUTPUT
    }

    /// How much is to be written. Nothing, while somebody has the output to write content to it.
    pub(super) fn unwritten(&self) -> usize {
        self.output.len().saturating_sub(self.written)
    }
}

/// Notes who is to be woken.
pub(super) fn note(waker: &mut Option<Waker>, cx: &Context<'_>) {
    match waker {
        Some(waker) => waker.clone_from(cx.waker()),
        None => *waker = Some(cx.waker().clone()),
    }
}
