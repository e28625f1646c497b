//! Errors on the way to whoever decides whether a request may pass.

use http::StatusCode;
use portolan_core::reason::Reason;

use super::{Concern, ForwardError, StreamError};

/// Why it could not be found out whether a request may pass.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    /// There was no answer.
    #[error("the authority gave no answer")]
    NoAnswer(#[source] ForwardError),
    /// There was one, and it came to no end.
    #[error("the answer of the authority broke off")]
    Broken(#[source] StreamError),
    /// It is too long.
    #[error("the answer of the authority has more than {0} bytes (`max-response-body-size`)")]
    AnswerTooLong(u64),
    /// What it is to be given is too long.
    #[error("the body of the request has more than {0} bytes (`max-body-size`)")]
    BodyTooLong(u64),
    /// The client did not send what it is to be given.
    #[error("the body of the request did not come")]
    Client(#[source] ForwardError),
}

impl AskError {
    pub(super) fn concern(&self) -> Concern {
        match self {
            Self::NoAnswer(_) | Self::Broken(_) | Self::AnswerTooLong(_) => Concern::Failure,
            Self::BodyTooLong(_) => Concern::Refusal,
            Self::Client(_) => Concern::None,
        }
    }

    /// As in Traefik, what is too long to be looked at may not pass.
    pub(super) fn verdict(&self) -> (StatusCode, Reason, &'static str) {
        use {Reason as R, StatusCode as S};
        match self {
            Self::NoAnswer(source) if source.is_ours() => source.verdict(),
            Self::NoAnswer(_) | Self::Broken(_) => (
                S::SERVICE_UNAVAILABLE,
                R::NoAuthority,
                "whether this request may pass cannot be found out just now",
            ),
            Self::AnswerTooLong(_) => (
                S::UNAUTHORIZED,
                R::BodyTooLarge,
                "what is said of this request is too long to be handed on",
            ),
            Self::BodyTooLong(_) => (
                S::UNAUTHORIZED,
                R::BodyTooLarge,
                "the body of this request is too long to be looked at",
            ),
            Self::Client(source) => source.verdict(),
        }
    }
}
