//! HTTP/2 on the wire, as its servers speak it: frames, header compression, streams and their windows.
//!
//! Ours and not h2's, for what the one for HTTP/1 is: what is common costs little. A head becomes the text that
//! it would be over HTTP/1, so a request that passes by has no map; a response is written from where it is
//! read into frames, once; nobody locks and nobody is woken for another. To backends we are a client, with h2
//! and hyper: there is one connection for many requests, and it matters less.
//!
//! Reading order: `frame` is what is on the wire, `hpack` what header blocks say, `head` makes requests of
//! that, `state` is what is known of a connection, `upload` and `responder` are the two ways of one
//! request, `connection` reads it all, `messages` and `control` are its frames.
//!
//! **Invariant:** whatever a client sends, it costs its own connection at most, and what is kept for it is
//! bounded: by the windows that it was given, the output that it reads, and the requests that it may have.

mod connection;
mod control;
mod frame;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod head;
pub(crate) mod hpack;
mod messages;
mod responder;
mod state;
#[cfg(test)]
mod tests;
mod upload;

pub(crate) use self::{
    connection::{Broken, Connection, ConnectionLimits, Request, Server},
    frame::{FrameHead, HEAD, flag, kind},
    head::{FieldLimits, RequestHead},
    responder::{Answer, Herald, Over, Responder},
    state::Told,
    upload::{Incoming, Piece},
};
