//! HTTP/1.1 on the wire: heads, framing, and the sockets that messages go through.
//!
//! Ours and not hyper's, because a proxy is what it is by these few steps: a message is read into
//! a buffer that belongs to the worker and written from one that belongs to the worker, so a
//! connection that waits holds no buffer; whoever waits for a message drives the connection, so no
//! task has to be woken for it; and what is ambiguous is refused here, before anybody can take it
//! for something else.
//!
//! Reading order: `framing` says where a message ends, `head` reads what stands before it, `body`
//! follows it, `encode` writes both, `socket` holds the bytes of a connection, `line` puts these
//! together; `passage` is the way of large bodies past our memory.
//!
//! **Invariant:** a request that this module accepts has one reading: RFC 9112's.

mod body;
mod encode;
mod error;
mod framing;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod head;
mod line;
mod maps;
mod outlet;
mod passage;
mod pipe;
mod socket;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    body::retain_trailers,
    encode::{
        CDN_LOOP, Ending, OURSELVES, Outgoing, Status, request as encode_request,
        response as encode_response,
    },
    error::{BodyError, HeadError, WireError},
    framing::{Framing, digits, is_bodiless},
    head::{HeadLimits, MOST_LINES, RequestHead, ResponseHead, Whose, target, whose},
    line::{Awaits, Buffers, Line, PourError, Poured},
    maps::Maps,
    outlet::{Basin, Outlet},
    stream::Stream,
};
