//! Frames that are about the connection and its streams: RST_STREAM, SETTINGS, PING and WINDOW_UPDATE (RFC 9113,
//! 6.4 to 6.9).

use std::task::Waker;

use h2::Reason;

use super::{
    connection::{Broken, Connection, Leaving, protocol},
    frame::{self, FrameHead, flag, kind, setting},
    state::State,
};

/// What a PING of ours says that asks whether the client has heard that we leave.
pub(super) const LEAVING: [u8; 8] = *b"portolan";

const WINDOW: Broken =
    Broken { reason: Reason::FLOW_CONTROL_ERROR, why: "a window that is too large" };

impl Connection {
    pub(super) fn reset(&self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        if payload.len() != 4 {
            return Err(Broken {
                reason: Reason::FRAME_SIZE_ERROR,
                why: "RST_STREAM is not 4 bytes",
            });
        }
        self.is_known(head.stream)?;
        self.shared.borrow_mut().cut(head.stream);
        Ok(())
    }

    pub(super) fn settings(&self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        if head.stream != 0 {
            return Err(protocol("SETTINGS of a stream"));
        }
        if !payload.len().is_multiple_of(6) || head.has(flag::ACK) && !payload.is_empty() {
            return Err(Broken { reason: Reason::FRAME_SIZE_ERROR, why: "SETTINGS are no pairs" });
        }
        if head.has(flag::ACK) {
            return Ok(());
        }
        let mut state = self.shared.borrow_mut();
        let mut window = None;
        for pair in payload.as_chunks::<6>().0 {
            let [n0, n1, value @ ..] = *pair;
            let (name, value) = (u16::from_be_bytes([n0, n1]), u32::from_be_bytes(value));
            match name {
                // It is for all streams: however often it is said, they are gone through once.
                setting::INITIAL_WINDOW_SIZE => {
                    window = Some(i32::try_from(value).map_err(|_too_large| WINDOW)?);
                }
                _ => set(&mut state, name, value)?,
            }
        }
        if window.is_some_and(|window| !state.set_first_window(window.into())) {
            return Err(WINDOW);
        }
        frame::write(&mut state.output, kind::SETTINGS, flag::ACK, 0, &[]);
        state.tell();
        Ok(())
    }

    pub(super) fn ping(&mut self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        if head.stream != 0 {
            return Err(protocol("PING of a stream"));
        }
        if payload.len() != 8 {
            return Err(Broken { reason: Reason::FRAME_SIZE_ERROR, why: "PING is not 8 bytes" });
        }
        if !head.has(flag::ACK) {
            let mut state = self.shared.borrow_mut();
            frame::write(&mut state.output, kind::PING, flag::ACK, 0, payload);
            state.tell();
        } else if payload == LEAVING && matches!(self.leaving, Leaving::Told(_)) {
            self.say_last();
        }
        // Whatever it answers, it is there.
        self.is_asked &= !head.has(flag::ACK);
        Ok(())
    }

    pub(super) fn window_update(&self, head: FrameHead, payload: &[u8]) -> Result<(), Broken> {
        let Ok(by) = <[u8; 4]>::try_from(payload) else {
            return Err(Broken {
                reason: Reason::FRAME_SIZE_ERROR,
                why: "WINDOW_UPDATE is not 4 bytes",
            });
        };
        let by = i64::from(u32::from_be_bytes(by) & (u32::MAX >> 1));
        let most = i64::from(i32::MAX);
        let mut state = self.shared.borrow_mut();
        if head.stream == 0 {
            state.window += by;
            if by == 0 {
                return Err(protocol("a window that opens by nothing"));
            }
            if state.window > most {
                return Err(WINDOW);
            }
            state.wake_waiting();
            return Ok(());
        }
        drop(state);
        self.is_known(head.stream)?;
        let mut state = self.shared.borrow_mut();
        let Some(stream) = state.find(head.stream) else { return Ok(()) };
        stream.window += by;
        if by == 0 {
            state.mistake(head.stream, Reason::PROTOCOL_ERROR);
        } else if stream.window > most {
            state.mistake(head.stream, Reason::FLOW_CONTROL_ERROR);
        } else {
            stream.writer.take().into_iter().for_each(Waker::wake);
        }
        Ok(())
    }

    /// Whether a stream has ever begun.
    pub(super) fn is_known(&self, id: u32) -> Result<(), Broken> {
        match id {
            0 => Err(protocol("a frame of no stream")),
            _ if id > self.last_stream || id.is_multiple_of(2) => {
                Err(protocol("a frame of a stream that has not begun"))
            }
            _ => Ok(()),
        }
    }

    /// A mistake that costs a stream.
    pub(super) fn mistake(&self, id: u32, reason: Reason) -> Result<(), Broken> {
        let mut state = self.shared.borrow_mut();
        if state.find(id).is_some() {
            state.mistake(id, reason);
        }
        Ok(())
    }
}

/// Takes a setting (RFC 9113, 6.5.2).
fn set(state: &mut State, name: u16, value: u32) -> Result<(), Broken> {
    match name {
        setting::HEADER_TABLE_SIZE => state.encoder.set_limit(value),
        setting::ENABLE_PUSH if value > 1 => {
            return Err(protocol("ENABLE_PUSH is neither 0 nor 1"));
        }
        setting::MAX_FRAME_SIZE if !(1 << 14..1 << 24).contains(&value) => {
            return Err(protocol("MAX_FRAME_SIZE is out of bounds"));
        }
        _ => {}
    }
    Ok(())
}
