//! What can be wrong with a message.

use std::io;

/// Why a head is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum HeadError {
    /// Not a request line or status line (RFC 9112, 3 and 4).
    #[error("the first line is malformed")]
    Start,
    /// Neither a path, nor an absolute URI, nor `*` (RFC 9112, 3.2).
    #[error("the request target is malformed")]
    Target,
    /// Not HTTP/1.0 or HTTP/1.1.
    #[error("the protocol version is not HTTP/1")]
    Version,
    /// A name or value that is none, or a line that is folded (RFC 9112, 5.2).
    #[error("a header line is malformed")]
    Line,
    /// A line that ends without CR (RFC 9112, 2.2): others may see the end somewhere else.
    #[error("a line ends with a bare LF")]
    BareLf,
    /// More bytes than are allowed.
    #[error("the head is too large")]
    TooLarge,
    /// More lines than are allowed.
    #[error("the head has too many lines")]
    TooMany,
    /// `Content-Length` is not one number.
    #[error("content-length is not one number")]
    Length,
    /// `Transfer-Encoding` is something else than `chunked`.
    #[error("transfer-encoding is not `chunked`")]
    TransferEncoding,
    /// A request with both, or with the new one in the old version: what one reader takes for
    /// the body, another takes for the next request (RFC 9112, 6.1 and 11.2).
    #[error("content-length and transfer-encoding contradict each other")]
    Framing,
}

/// Why a body is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub(crate) enum BodyError {
    /// Not a size in hexadecimal digits, or one that is too large.
    #[error("a chunk has no proper size")]
    Size,
    /// Extensions are of no use to anybody and have hidden requests before.
    #[error("a chunk has an extension")]
    Extension,
    /// A chunk does not end where it said that it would, or a line does not end with CR LF.
    #[error("a chunk does not end where it should")]
    End,
    /// The trailers are malformed, or too large.
    #[error("the trailers are malformed")]
    Trailers,
}

/// Why a message did not arrive.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[source] io::Error),
    /// The connection was closed before the message was complete.
    #[error("the connection was closed within a message")]
    Cut,
    /// More of the message did not come in time.
    #[error("nothing came for too long")]
    Late,
    /// The head makes no sense.
    #[error("malformed head")]
    Head(#[from] HeadError),
    /// The body makes no sense.
    #[error("malformed body")]
    Body(#[from] BodyError),
}
