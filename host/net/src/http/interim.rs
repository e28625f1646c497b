//! Interim responses (1xx), on their way from a backend to the client.

use std::{cell::RefCell, rc::Rc, task::Context};

use http::{HeaderValue, Method};

use super::headers;
use crate::{
    h1::{self, Ending, Framing, Line, ResponseHead, Status},
    http2::Herald,
};

/// Where they go.
#[derive(Debug)]
pub(crate) enum Interim {
    /// To a client of HTTP/1.
    Line(Rc<RefCell<Line>>),
    /// Of HTTP/2.
    Stream(Herald),
}

impl Interim {
    /// Hands one on.
    pub(crate) fn tell(&self, cx: &mut Context<'_>, mut response: ResponseHead) {
        headers::clean_response(response.status, &mut response.headers);
        let line = match self {
            Self::Line(line) => line,
            Self::Stream(herald) => return herald.tell(response.status, &response.headers),
        };
        let status = Status {
            code: response.status,
            asked: &Method::GET,
            framing: Framing::Empty,
            ending: Ending::Keep,
        };
        let mut line = line.borrow_mut();
        let buffers = line.buffers();
        let told = buffers.with_output(|output| {
            h1::encode_response(output, status, &response.headers, None::<fn() -> HeaderValue>);
            line.write(cx, output)
        });
        // A client that has gone is noticed by whoever serves it.
        told.unwrap_or_default();
    }
}
