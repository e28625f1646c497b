//! Frames: what stands before each payload, and those that are written whole (RFC 9113, 4 and 6).

/// What stands before each payload.
pub(crate) const HEAD: usize = 9;
/// The longest payload that anybody has to take, and that we take and send.
pub(crate) const MOST_PAYLOAD: usize = 16 * 1024;

/// Kinds of frames (RFC 9113, 6).
pub(crate) mod kind {
    pub(crate) const DATA: u8 = 0;
    pub(crate) const HEADERS: u8 = 1;
    pub(crate) const PRIORITY: u8 = 2;
    pub(crate) const RST_STREAM: u8 = 3;
    pub(crate) const SETTINGS: u8 = 4;
    pub(crate) const PUSH_PROMISE: u8 = 5;
    pub(crate) const PING: u8 = 6;
    pub(crate) const GOAWAY: u8 = 7;
    pub(crate) const WINDOW_UPDATE: u8 = 8;
    pub(crate) const CONTINUATION: u8 = 9;
}

/// Flags of frames.
pub(crate) mod flag {
    pub(crate) const ACK: u8 = 1;
    pub(crate) const END_STREAM: u8 = 1;
    pub(crate) const END_HEADERS: u8 = 4;
    pub(crate) const PADDED: u8 = 8;
    pub(crate) const PRIORITY: u8 = 0x20;
}

/// Settings (RFC 9113, 6.5.2).
pub(super) mod setting {
    pub(crate) const HEADER_TABLE_SIZE: u16 = 1;
    pub(crate) const ENABLE_PUSH: u16 = 2;
    pub(crate) const MAX_CONCURRENT_STREAMS: u16 = 3;
    pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
    pub(crate) const MAX_FRAME_SIZE: u16 = 5;
    pub(crate) const MAX_HEADER_LIST_SIZE: u16 = 6;
}

/// What stands before a payload.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FrameHead {
    pub(crate) length: usize,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
}

impl FrameHead {
    /// Reads it; `None`: not all of it is there.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let [high, middle, low, kind, flags, stream @ ..] = *bytes.first_chunk::<HEAD>()?;
        let length = u32::from_be_bytes([0, high, middle, low]) as usize;
        // The highest bit means nothing.
        let stream = u32::from_be_bytes(stream) & (u32::MAX >> 1);
        Some(Self { length, kind, flags, stream })
    }

    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// As it is written. A payload is never longer than [`MOST_PAYLOAD`].
    pub(super) fn bytes(self) -> [u8; HEAD] {
        let [_, high, middle, low] = (self.length as u32).to_be_bytes();
        let [first, second, third, fourth] = self.stream.to_be_bytes();
        [high, middle, low, self.kind, self.flags, first, second, third, fourth]
    }

    /// Writes it over the nine bytes at a place.
    pub(super) fn write_at(self, out: &mut [u8], place: usize) {
        if let Some(head) = out.get_mut(place..place + HEAD) {
            head.copy_from_slice(&self.bytes());
        }
    }
}

/// Writes a frame.
pub(super) fn write(out: &mut Vec<u8>, kind: u8, flags: u8, stream: u32, payload: &[u8]) {
    let head = FrameHead { length: payload.len(), kind, flags, stream };
    out.extend_from_slice(&head.bytes());
    out.extend_from_slice(payload);
}

/// SETTINGS of ours.
pub(super) fn settings(out: &mut Vec<u8>, settings: &[(u16, u32)]) {
    let payload = settings.iter().flat_map(|(name, value)| {
        let ([n0, n1], [v0, v1, v2, v3]) = (name.to_be_bytes(), value.to_be_bytes());
        [n0, n1, v0, v1, v2, v3]
    });
    write(out, kind::SETTINGS, 0, 0, &payload.collect::<Vec<u8>>());
}

pub(super) fn window_update(out: &mut Vec<u8>, stream: u32, by: u32) {
    write(out, kind::WINDOW_UPDATE, 0, stream, &by.to_be_bytes());
}

pub(super) fn reset(out: &mut Vec<u8>, stream: u32, reason: h2::Reason) {
    write(out, kind::RST_STREAM, 0, stream, &u32::from(reason).to_be_bytes());
}

/// GOAWAY: nothing behind `last` is looked at. `why` is for who reads captures.
pub(super) fn goaway(out: &mut Vec<u8>, last: u32, reason: h2::Reason, why: &str) {
    let code = u32::from(reason).to_be_bytes();
    let payload = [&last.to_be_bytes()[..], &code, why.as_bytes()].concat();
    write(out, kind::GOAWAY, 0, 0, &payload);
}
