//! One end of an HTTP/1 connection: reads heads, and pours bodies to where they go.
//!
//! **Invariant:** what is kept between two polls is what has arrived and cannot be used yet, or
//! what could not be written yet; a line that waits for a message keeps nothing.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method};

use super::{
    body::{Decoder, Step},
    error::{HeadError, WireError},
    framing::Framing,
    head::{HeadLimits, RequestHead, ResponseHead},
    maps::Maps,
    outlet::{Outlet, Way},
    pipe::Pipe,
    socket::Socket,
    stream::Stream,
};

/// How much is read at once: of a body, and where a head is expected.
const INPUT: usize = 64 * 1024;
const HEAD_INPUT: usize = 16 * 1024;
/// How often is read what nobody wants, before the connection is given up instead.
const SKIPPED_READS: usize = 4;
/// Where writing begins: a head and a small body.
const OUTPUT: usize = 16 * 1024;

/// What a worker reads into and writes from. One of each will do: nothing stays in them from one
/// poll to the next.
#[derive(Debug)]
pub(crate) struct Buffers {
    input: RefCell<Box<[u8]>>,
    output: RefCell<Vec<u8>>,
    pub(crate) maps: Maps,
    /// Empty ones.
    pub(super) pipes: RefCell<Vec<Pipe>>,
    /// Whether the system takes bodies past our memory.
    pub(super) passes: Cell<bool>,
}

/// One end of an HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Line {
    pub(super) socket: Socket,
    pub(super) decoder: Decoder,
    pub(super) buffers: Rc<Buffers>,
    /// The other end waits for leave to send its body.
    pub(crate) awaits_continue: bool,
    /// Whether anything was read since this was last reset.
    pub(crate) has_heard: bool,
    /// How much of an incomplete head was looked at: without another line end it stays that.
    looked_at: usize,
    /// Whether the body was asked for more than has arrived.
    pub(super) is_wanted: bool,
    /// Whether the body goes past our memory: then so does the last of it.
    pub(super) is_passing: bool,
    /// Nobody waits for more of the body.
    is_given_up: bool,
    /// Trailers that arrived together with the last of the content.
    late: Option<HeaderMap>,
    /// Changes with each message, and when what is left of a body is forgotten.
    turn: u32,
}

/// What is expected of the other end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Awaits {
    /// Nothing.
    Nothing,
    /// More of what it sends.
    Request,
    /// That it reads what it was sent.
    Room,
    /// Nothing, but there is more of a body than anybody takes now: that it is still there is not seen
    /// by reading.
    Patience,
}

/// How far a body was poured.
#[derive(Debug)]
pub(crate) enum Poured {
    /// As far as it has arrived.
    More,
    /// To the end.
    End(Option<HeaderMap>),
}

/// Why a body was not poured to its end.
#[derive(Debug)]
pub(crate) enum PourError<E> {
    /// It did not arrive.
    Source(E),
    /// It could not be written.
    Sink(io::Error),
}

impl Default for Buffers {
    fn default() -> Self {
        Self {
            input: RefCell::new(vec![0; INPUT].into()),
            output: RefCell::new(Vec::with_capacity(OUTPUT)),
            maps: Maps::default(),
            pipes: RefCell::default(),
            passes: Cell::new(true),
        }
    }
}

impl Buffers {
    /// Lends the buffer that is read into.
    pub(crate) fn with_input<T>(&self, read: impl FnOnce(&mut [u8]) -> T) -> T {
        read(&mut self.input.borrow_mut())
    }

    /// Lends the buffer that is written from, empty.
    pub(crate) fn with_output<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let mut output = self.output.borrow_mut();
        output.clear();
        let done = write(&mut output);
        // What one large head needed is not kept for ever.
        output.shrink_to(4 * OUTPUT);
        done
    }
}

impl Line {
    /// A connection of which `ahead` was read already.
    pub(crate) fn new(stream: Stream, ahead: Bytes, buffers: Rc<Buffers>) -> Self {
        Self {
            socket: Socket::new(stream, ahead),
            decoder: Decoder::Done,
            buffers,
            awaits_continue: false,
            has_heard: false,
            looked_at: 0,
            is_wanted: false,
            is_passing: false,
            is_given_up: false,
            late: None,
            turn: 0,
        }
    }

    pub(crate) fn buffers(&self) -> Rc<Buffers> {
        self.buffers.clone()
    }

    /// Reads the head of the next request; `None`: there will be none.
    pub(crate) fn poll_request(
        &mut self,
        cx: &mut Context<'_>,
        limits: HeadLimits,
    ) -> Poll<Result<Option<RequestHead>, WireError>> {
        loop {
            let buffers = self.buffers.clone();
            let read = |arrived: &Bytes| RequestHead::read(arrived, limits.lines, &buffers.maps);
            if let Some((head, length)) = self.head(limits.bytes, read)? {
                self.begin(head.framing, length, false);
                self.awaits_continue = head.expects_continue;
                return Poll::Ready(Ok(Some(head)));
            }
            let before = self.socket.ahead.len();
            if !ready!(self.poll_more(cx))? {
                let cut = if before == 0 { Ok(None) } else { Err(WireError::Cut) };
                return Poll::Ready(cut);
            }
        }
    }

    /// Reads the head of the response to a request with this method. Its headers may pass as they are.
    pub(crate) fn poll_response(
        &mut self,
        cx: &mut Context<'_>,
        asked: &Method,
        limit: usize,
    ) -> Poll<Result<ResponseHead, WireError>> {
        loop {
            let buffers = self.buffers.clone();
            let read = |arrived: &Bytes| ResponseHead::read(asked, arrived, &buffers.maps, false);
            if let Some((head, length)) = self.head(limit, read)? {
                self.begin(head.framing, length, true);
                return Poll::Ready(Ok(head));
            }
            if !ready!(self.poll_more(cx))? {
                return Poll::Ready(Err(WireError::Cut));
            }
        }
    }

    /// Whether part of a head has arrived.
    pub(crate) fn has_begun(&self) -> bool {
        !self.socket.ahead.is_empty()
    }

    /// Whether the body was read to its end.
    pub(crate) fn is_read(&self) -> bool {
        self.decoder.is_done() && self.late.is_none()
    }

    /// Pours what has arrived of the body.
    pub(crate) fn poll_pour(
        &mut self,
        cx: &mut Context<'_>,
        outlet: &mut Outlet<'_>,
    ) -> Poll<Result<Poured, PourError<WireError>>> {
        if !self.is_given_up
            && let Some(passed) = self.poll_pass(cx, outlet)
        {
            return passed;
        }
        self.poll_body(cx, |cx, data| outlet.push(cx, data))
    }

    /// What has arrived of the body, as bytes of its own.
    pub(crate) fn poll_bytes(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Bytes, Poured), WireError>> {
        let mut bytes = BytesMut::new();
        let poured = ready!(self.poll_body(cx, |_, data| {
            bytes.extend_from_slice(data);
            Ok(())
        }));
        Poll::Ready(match poured {
            Ok(Poured::End(trailers)) if !bytes.is_empty() && trailers.is_some() => {
                self.late = trailers;
                Ok((bytes.freeze(), Poured::More))
            }
            Ok(poured) => Ok((bytes.freeze(), poured)),
            Err(PourError::Source(error)) => Err(error),
            Err(PourError::Sink(error)) => Err(WireError::Io(error)),
        })
    }

    /// Whether the other end has gone, while nothing is expected of it. What it sends meanwhile
    /// is kept, up to the size of a head.
    pub(crate) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.decoder.is_done() || !self.socket.ahead.is_empty() {
            return Poll::Pending;
        }
        match ready!(self.poll_more(cx)) {
            Ok(true) => Poll::Pending,
            Ok(false) | Err(_) => Poll::Ready(()),
        }
    }

    /// The body will not come in time: whoever asks for it is told so.
    pub(crate) fn give_up(&mut self) {
        self.is_given_up = true;
    }

    /// Whether everything that was written has been handed to the system.
    pub(crate) fn is_flushed(&self) -> bool {
        self.socket.is_flushed()
    }

    /// Which message is read: a body belongs to one, and those after it are none of its business.
    pub(crate) fn turn(&self) -> u32 {
        self.turn
    }

    /// What is left of a body is nobody's any more.
    pub(crate) fn forget(&mut self) {
        self.turn = self.turn.wrapping_add(1);
    }

    /// Whether the system knows that the other end is gone, which reading would tell if somebody read.
    pub(crate) fn is_broken(&self) -> bool {
        self.socket.stream.is_broken()
    }

    /// Forgets what has arrived of a body that nobody wants, so that the next request is found
    /// behind it. Waits for nothing, and not for a client that waits itself. Whoever reads the body
    /// nevertheless does not take it for all of it.
    pub(crate) fn skip_arrived(&mut self) {
        self.forget();
        if self.awaits_continue {
            return;
        }
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..SKIPPED_READS {
            match self.poll_body(&mut cx, |_, _| Ok(())) {
                Poll::Ready(Ok(Poured::More)) => {}
                Poll::Ready(Ok(Poured::End(_)) | Err(_)) | Poll::Pending => return,
            }
        }
    }

    /// Forgets more of a body that nobody wants; answers how much that was, of all of the rest if there will be no more.
    pub(crate) fn poll_skip(&mut self, cx: &mut Context<'_>) -> Poll<usize> {
        let mut length = 0;
        let skipped = ready!(self.poll_body(cx, |_, data| {
            length += data.len();
            Ok(())
        }));
        // Framing counts, too: it may be without end.
        Poll::Ready(if skipped.is_ok() { length.max(1) } else { usize::MAX })
    }

    /// Whether something is expected of the other end, more of its body or that it reads, and
    /// whether it has done anything of that since this was last asked.
    pub(crate) fn waits(&mut self) -> (Awaits, bool) {
        let awaits = if !self.socket.is_flushed() {
            Awaits::Room
        } else if self.is_wanted && !self.decoder.is_done() {
            Awaits::Request
        } else if !self.decoder.is_done() {
            Awaits::Patience
        } else {
            Awaits::Nothing
        };
        (awaits, std::mem::take(&mut self.socket.has_moved))
    }

    /// Where a body is poured that leaves by this connection.
    pub(crate) fn outlet<'a>(
        &'a mut self,
        gathered: &'a mut Vec<u8>,
        framing: Framing,
    ) -> Outlet<'a> {
        Outlet { way: Way::Socket(&mut self.socket, gathered), framing, content: 0 }
    }

    /// Writes bytes as they are.
    pub(crate) fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> io::Result<()> {
        self.socket.write(cx, bytes, &[])
    }

    /// Hands what is left to be written to the system.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.socket.is_flushed() {
            return Poll::Ready(Ok(()));
        }
        let flushed = ready!(self.socket.poll_flush(cx));
        if let Some(pipe) = self.socket.pipe.take_if(|pipe| pipe.is_empty()) {
            self.buffers.keep(pipe);
        }
        Poll::Ready(flushed)
    }

    /// Whether bytes have gone in or out since this was last asked.
    pub(crate) fn has_moved(&mut self) -> bool {
        std::mem::take(&mut self.socket.has_moved)
    }

    /// Whether the bytes are encrypted.
    pub(crate) fn is_encrypted(&self) -> bool {
        matches!(self.socket.stream, Stream::Tls(_))
    }

    /// Says that nothing more will be written.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_shutdown(cx)
    }

    /// Reads and forgets; answers how much that was. Nothing is the end.
    pub(crate) fn poll_forget(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let buffers = self.buffers.clone();
        let mut input = buffers.input.borrow_mut();
        self.socket.poll_read(cx, &mut input)
    }

    /// The stream below, and what was read of it already.
    pub(crate) fn into_parts(self) -> (Stream, Bytes) {
        self.socket.into_parts()
    }

    /// A head, if it has arrived and `read` accepts it.
    fn head<T>(
        &mut self,
        limit: usize,
        read: impl FnOnce(&Bytes) -> Result<Option<(T, usize)>, HeadError>,
    ) -> Result<Option<(T, usize)>, HeadError> {
        let arrived = &self.socket.ahead;
        let fresh = arrived.get(self.looked_at..).unwrap_or_default();
        // Else a head that comes byte by byte would be read as often.
        let is_worth_it = self.looked_at == 0 || memchr::memchr(b'\n', fresh).is_some();
        if fresh.is_empty() || !is_worth_it {
            let is_too_large = arrived.len() > limit;
            return if is_too_large { Err(HeadError::TooLarge) } else { Ok(None) };
        }
        let found = read(arrived)?;
        let length = found.as_ref().map_or(arrived.len(), |(_, length)| *length);
        self.looked_at = if found.is_some() { 0 } else { arrived.len() };
        if length > limit { Err(HeadError::TooLarge) } else { Ok(found) }
    }

    /// What stands behind a head of that length is its body.
    fn begin(&mut self, framing: Framing, length: usize, is_tolerant: bool) {
        self.skip(length);
        self.turn = self.turn.wrapping_add(1);
        self.decoder = Decoder::new(framing, is_tolerant);
        (self.is_wanted, self.is_passing) = (false, false);
    }

    fn skip(&mut self, length: usize) {
        let rest = self.socket.ahead.split_off(length.min(self.socket.ahead.len()));
        // An empty slice would hold on to what it was cut from.
        self.socket.ahead = if rest.is_empty() { Bytes::new() } else { rest };
    }

    /// Reads more of a head. False: there will be no more.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, WireError>> {
        let buffers = self.buffers.clone();
        let mut input = buffers.input.borrow_mut();
        let head_input = input.get_mut(..HEAD_INPUT).unwrap_or_default();
        let length = ready!(self.socket.poll_read(cx, head_input)).map_err(WireError::Io)?;
        let arrived = head_input.get(..length).unwrap_or_default();
        self.has_heard |= length > 0;
        let ahead = std::mem::take(&mut self.socket.ahead);
        self.socket.ahead = match ahead.is_empty() {
            true => Bytes::copy_from_slice(arrived),
            // Nobody else holds what was not used yet, so this grows it where it is.
            false => {
                let mut grown = BytesMut::from(ahead);
                grown.extend_from_slice(arrived);
                grown.freeze()
            }
        };
        Poll::Ready(Ok(length > 0))
    }

    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        mut sink: impl FnMut(&mut Context<'_>, &[u8]) -> io::Result<()>,
    ) -> Poll<Result<Poured, PourError<WireError>>> {
        if self.decoder.is_done() {
            return Poll::Ready(Ok(Poured::End(self.late.take())));
        }
        if self.is_given_up {
            return Poll::Ready(Err(PourError::Source(WireError::Late)));
        }
        if !self.socket.ahead.is_empty() {
            let arrived = std::mem::take(&mut self.socket.ahead);
            let (used, poured) = self.decode(cx, &arrived, &mut sink)?;
            self.socket.ahead = arrived;
            self.skip(used);
            return Poll::Ready(Ok(poured));
        }
        let buffers = self.buffers.clone();
        let mut input = buffers.input.borrow_mut();
        let polled = self.socket.poll_read(cx, &mut input);
        self.is_wanted = polled.is_pending();
        let length = ready!(polled).map_err(|error| PourError::Source(WireError::Io(error)))?;
        if length == 0 {
            return Poll::Ready(match self.decoder {
                Decoder::Close => {
                    self.decoder = Decoder::Done;
                    Ok(Poured::End(None))
                }
                _ => Err(PourError::Source(WireError::Cut)),
            });
        }
        self.has_heard = true;
        let arrived = input.get(..length).unwrap_or_default();
        let (used, poured) = self.decode(cx, arrived, &mut sink)?;
        if let Some(rest) = arrived.get(used..).filter(|rest| !rest.is_empty()) {
            self.socket.ahead = Bytes::copy_from_slice(rest);
        }
        Poll::Ready(Ok(poured))
    }

    /// Takes the content out of what has arrived; answers how much of that was used.
    fn decode(
        &mut self,
        cx: &mut Context<'_>,
        arrived: &[u8],
        sink: &mut impl FnMut(&mut Context<'_>, &[u8]) -> io::Result<()>,
    ) -> Result<(usize, Poured), PourError<WireError>> {
        let mut used = 0;
        while let Some(rest) = arrived.get(used..).filter(|rest| !rest.is_empty()) {
            let step = self.decoder.step(rest);
            match step.map_err(|error| PourError::Source(WireError::Body(error)))? {
                Step::Data(length) => {
                    let data = rest.get(..length).unwrap_or_default();
                    sink(cx, data).map_err(PourError::Sink)?;
                    used += length;
                    if self.decoder.is_done() {
                        return Ok((used, Poured::End(None)));
                    }
                }
                Step::Skip(length) | Step::More(length) => used += length,
                Step::End(length, trailers) => return Ok((used + length, Poured::End(trailers))),
            }
        }
        Ok((used, Poured::More))
    }
}
