//! Frames that messages are made of: HEADERS with their CONTINUATIONs, and DATA (RFC 9113, 6.1, 6.2 and 8.1).

use std::task::Waker;

use h2::Reason;

use super::{
    connection::{Broken, Connection, Leaving, Request, Server, protocol},
    frame::{FrameHead, MOST_PAYLOAD, flag},
    head::{Gathering, Malformed, trailers},
    responder::Responder,
    state::{State, Stream, Upload},
    upload::Incoming,
};
use crate::h1::Buffers;

/// In so many frames a header block may come: each may be empty.
const MOST_PIECES: u32 = 64;

/// A header block of which more is to come.
#[derive(Debug)]
pub(super) struct Block {
    pub(super) stream: u32,
    is_end: bool,
    bytes: Vec<u8>,
    pieces: u32,
}

const COMPRESSION: Broken =
    Broken { reason: Reason::COMPRESSION_ERROR, why: "a header block is malformed" };

impl Connection {
    pub(super) fn headers(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        buffers: &Buffers,
        server: &mut impl Server,
    ) -> Result<(), Broken> {
        // Numbers of clients are odd (RFC 9113, 5.1.1).
        if head.stream.is_multiple_of(2) {
            return Err(protocol("HEADERS of a stream that is none of the client's"));
        }
        let mut fields = unpadded(head, payload)?;
        if head.has(flag::PRIORITY) {
            fields = fields
                .get(5..)
                .ok_or(Broken { reason: Reason::FRAME_SIZE_ERROR, why: "HEADERS are too short" })?;
        }
        let is_end = head.has(flag::END_STREAM);
        if head.has(flag::END_HEADERS) {
            return self.fields(head.stream, is_end, fields, buffers, server);
        }
        let (stream, bytes) = (head.stream, fields.to_vec());
        self.block = Some(Box::new(Block { stream, is_end, bytes, pieces: 1 }));
        Ok(())
    }

    pub(super) fn continuation(
        &mut self,
        head: FrameHead,
        payload: &[u8],
        buffers: &Buffers,
        server: &mut impl Server,
    ) -> Result<(), Broken> {
        let Some(mut block) = self.block.take() else {
            return Err(protocol("CONTINUATION of nothing"));
        };
        block.pieces += 1;
        block.bytes.extend_from_slice(payload);
        // Whatever a block says in the end, all of it has to be kept until then.
        let most = self.limits.head.bytes.saturating_mul(2).saturating_add(MOST_PAYLOAD);
        if block.pieces > MOST_PIECES || block.bytes.len() > most {
            return Err(Broken {
                reason: Reason::ENHANCE_YOUR_CALM,
                why: "a header block has no end",
            });
        }
        if head.has(flag::END_HEADERS) {
            return self.fields(block.stream, block.is_end, &block.bytes, buffers, server);
        }
        self.block = Some(block);
        Ok(())
    }

    /// A header block: a request, or trailers.
    fn fields(
        &mut self,
        id: u32,
        is_end: bool,
        block: &[u8],
        buffers: &Buffers,
        server: &mut impl Server,
    ) -> Result<(), Broken> {
        if id <= self.last_stream {
            return self.trailers(id, is_end, block);
        }
        self.last_stream = id;
        let limits = self.limits.head;
        let head = buffers.with_output(|text| {
            let mut gathering = Gathering::new(text, limits);
            let decoded = self.decoder.decode(block, |field| gathering.take(&field));
            decoded.map_err(|_error| COMPRESSION).map(|()| gathering.finish(&buffers.maps))
        })?;
        match &mut self.leaving {
            Leaving::Last(last) if id > *last => return Ok(()),
            // More cannot have been on their way when it was told: it does not say that it has heard.
            Leaving::Told(since) if *since >= self.limits.streams => self.say_last(),
            Leaving::Told(since) => *since += 1,
            Leaving::Not | Leaving::Last(_) => {}
        }
        let mut state = self.shared.borrow_mut();
        let head = match head {
            Ok(head) if state.active < self.limits.streams => head,
            refused => {
                let reason = match refused {
                    Ok(_) => Reason::REFUSED_STREAM,
                    Err(Malformed) => Reason::PROTOCOL_ERROR,
                };
                state.mistake(id, reason);
                return Ok(());
            }
        };
        if is_end && head.length.is_some_and(|length| length > 0) {
            state.mistake(id, Reason::PROTOCOL_ERROR);
            return Ok(());
        }
        let upload = (!is_end).then(|| Upload::new(head.length, head.expects_continue));
        let has_content = upload.is_some();
        state.open(id, upload);
        drop(state);
        let content = has_content.then(|| Incoming::new(self.shared.clone(), id, head.length));
        let responder = Responder::new(self.shared.clone(), id);
        server.take(Request { head, content, responder });
        Ok(())
    }

    fn trailers(&mut self, id: u32, is_end: bool, block: &[u8]) -> Result<(), Broken> {
        let (mut trailers, mut is_request) = (trailers(), false);
        let decoded = self.decoder.decode(block, |field| {
            is_request |= field.name.starts_with(b":");
            trailers.take(&field)
        });
        decoded.map_err(|_error| COMPRESSION)?;
        let mut state = self.shared.borrow_mut();
        let Some(stream) = state.find(id) else {
            // Trailers may have been on their way when their request was over. A request would wait for ever:
            // numbers only grow (RFC 9113, 5.1.1).
            return match is_request {
                true => Err(protocol("a request of a stream that is over, or was passed over")),
                false => Ok(()),
            };
        };
        let reason = match trailers.finish() {
            _ if stream.is_received => Reason::STREAM_CLOSED,
            Ok(map) if is_end && is_complete(stream) => {
                if let Some(upload) = &mut stream.upload {
                    upload.trailers = Some(map).filter(|map| !map.is_empty());
                }
                received(&mut state, id);
                return Ok(());
            }
            Ok(_) | Err(Malformed) => Reason::PROTOCOL_ERROR,
        };
        state.mistake(id, reason);
        Ok(())
    }

    pub(super) fn data(&self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        self.is_known(head.stream)?;
        let content = unpadded(head, payload)?;
        let mut state = self.shared.borrow_mut();
        let length = payload.len();
        state.credit -= length as i64;
        if state.credit < 0 {
            return Err(Broken {
                reason: Reason::FLOW_CONTROL_ERROR,
                why: "more came than there was a window for",
            });
        }
        let Some(stream) = state.find(head.stream) else {
            // It was on its way when its request was over.
            state.claim(length);
            return Ok(());
        };
        if stream.is_received {
            state.claim(length);
            state.mistake(head.stream, Reason::STREAM_CLOSED);
            return Ok(());
        }
        let Some(upload) = &mut stream.upload else {
            // Nobody wants it any more.
            state.claim(length);
            if head.has(flag::END_STREAM) {
                received(&mut state, head.stream);
            }
            return Ok(());
        };
        upload.credit -= length as i64;
        let left = upload.left.map(|left| left.checked_sub(content.len() as u64));
        let reason = match left {
            _ if upload.credit < 0 => Some(Reason::FLOW_CONTROL_ERROR),
            // Longer than it was to be.
            Some(None) => Some(Reason::PROTOCOL_ERROR),
            Some(Some(left)) if left > 0 && head.has(flag::END_STREAM) => {
                Some(Reason::PROTOCOL_ERROR)
            }
            Some(_) | None => None,
        };
        if let Some(reason) = reason {
            state.claim(length);
            state.mistake(head.stream, reason);
            return Ok(());
        }
        upload.left = left.flatten();
        if !content.is_empty() {
            upload.push(content);
        }
        let padding = length - content.len();
        if padding > 0 {
            state.claim_of(head.stream, padding);
        }
        if head.has(flag::END_STREAM) {
            received(&mut state, head.stream);
        }
        Ok(())
    }
}

/// A payload without its padding.
fn unpadded(head: FrameHead, payload: &[u8]) -> Result<&[u8], Broken> {
    if !head.has(flag::PADDED) {
        return Ok(payload);
    }
    let unpadded = payload
        .split_first()
        .and_then(|(padding, rest)| rest.get(..rest.len().checked_sub(usize::from(*padding))?));
    unpadded.ok_or_else(|| protocol("there is more padding than payload"))
}

/// Whether all of the content has come that was announced.
fn is_complete(stream: &Stream) -> bool {
    stream.upload.as_ref().is_none_or(|upload| upload.left.unwrap_or_default() == 0)
}

/// All of a request has come.
fn received(state: &mut State, id: u32) {
    if let Some(stream) = state.find(id) {
        stream.is_received = true;
        if let Some(upload) = &mut stream.upload {
            upload.reader.take().into_iter().for_each(Waker::wake);
        }
    }
    state.settle(id);
}
