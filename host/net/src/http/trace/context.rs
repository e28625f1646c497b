//! The context of a trace, and the header it travels in (W3C Trace Context, level 2).
//!
//! **Invariant:** a context has no id that is zero.

use http::{HeaderName, HeaderValue};
use portolan_core::exchange::Headers;

use crate::random::Random;

use super::config::Tracing;

/// The header of the context.
pub(super) const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// What tracing systems add to it.
pub(super) const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

const SAMPLED: u8 = 1;

/// Which trace a request belongs to, and which span of it is ours.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct TraceContext {
    pub(super) trace: u128,
    /// The span that sent us the request.
    pub(super) parent: Option<u64>,
    /// Ours.
    pub(super) span: u64,
    pub(super) flags: u8,
}

impl TraceContext {
    /// The context of a request: that which it came with, else a new one.
    pub(crate) fn of(headers: &Headers, tracing: &Tracing, random: &Random) -> Self {
        let span = id(random);
        if let Some((trace, parent, flags)) = sent(headers) {
            return Self { trace, parent: Some(parent), span, flags };
        }
        let trace = u128::from(random.next_long()) << 64 | u128::from(id(random));
        let flags = if tracing.samples(trace) { SAMPLED } else { 0 };
        Self { trace, parent: None, span, flags }
    }

    /// Whether its spans are recorded.
    pub(crate) fn is_sampled(&self) -> bool {
        self.flags & SAMPLED != 0
    }

    /// Puts the context into the headers of the request that goes on, where `span` sends it.
    pub(crate) fn put(&self, headers: &mut Headers, span: Option<u64>) {
        let span = match span {
            Some(span) => span,
            // What is not sampled has no span of ours: the backend belongs to whoever sent it.
            None if self.parent.is_some() => return,
            None => self.span,
        };
        if self.parent.is_none() {
            // It says something about another trace, or nothing that makes sense.
            headers.take_out(&TRACESTATE);
        }
        let text = format!("00-{:032x}-{span:016x}-{:02x}", self.trace, self.flags);
        if let Ok(value) = HeaderValue::try_from(text) {
            headers.insert(TRACEPARENT, value);
        }
    }

    /// Trace and span in hexadecimal digits.
    pub(crate) fn digits(&self) -> ([u8; 32], [u8; 16]) {
        let (mut trace, mut span) = ([0; 32], [0; 16]);
        digits(&mut trace, self.trace);
        digits(&mut span, self.span.into());
        (trace, span)
    }
}

/// An id that is not zero.
pub(super) fn id(random: &Random) -> u64 {
    random.next_long().max(1)
}

/// Trace, span and flags that a request was sent with; `None` when there are none that make sense.
fn sent(headers: &Headers) -> Option<(u128, u64, u8)> {
    let name = TRACEPARENT;
    let mut lines = headers.values(&name);
    let (line, None) = (str::from_utf8(lines.next()?).ok()?, lines.next()) else { return None };
    let mut parts = line.split('-');
    let version = hex(parts.next()?, 2)?;
    let (trace, span) = (hex(parts.next()?, 32)?, hex(parts.next()?, 16)?);
    let flags = hex(parts.next()?, 2)?;
    // Later versions may have more behind it; 255 is none.
    if version == 255 || version == 0 && parts.next().is_some() || trace == 0 || span == 0 {
        return None;
    }
    // Of the flags those that we know: sampled, and that the id is random.
    Some((trace, u64::try_from(span).ok()?, u8::try_from(flags & 3).ok()?))
}

fn hex(text: &str, length: usize) -> Option<u128> {
    let is_digit = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
    (text.len() == length && text.bytes().all(is_digit)).then_some(())?;
    u128::from_str_radix(text, 16).ok()
}

fn digits(out: &mut [u8], mut number: u128) {
    for place in out.iter_mut().rev() {
        let digit = (number & 15) as u8;
        *place = if digit < 10 { b'0' + digit } else { b'a' + digit - 10 };
        number >>= 4;
    }
}
