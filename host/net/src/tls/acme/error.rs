//! Why there is no certificate, and what that means for the next attempt.

use std::time::{Duration, Instant};

use http::StatusCode;
use instant_acme::Problem;

use super::{
    fetch::{FetchError, TooMuch},
    schedule::{DAY, Failure, HOUR, MINUTE},
    storage::StorageError,
};

/// How the kinds of problems begin (RFC 8555, 6.7).
const KINDS: &str = "urn:ietf:params:acme:error:";
const LIMITED: &str = "rateLimited";
const BAD_NONCE: &str = "badNonce";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub(in crate::tls) enum OrderError {
    /// The authority says why, in its own words.
    #[error("{words}")]
    Refused {
        /// Its words.
        words: String,
        /// The kind of problem, without the common beginning (RFC 8555, 6.7).
        kind: String,
    },
    /// The authority says that it is too much.
    #[error("{words}")]
    Limited {
        /// Its words.
        words: String,
        /// How long it asks us to wait.
        wait: Option<Duration>,
        /// Whom that holds for.
        scope: Scope,
    },
    /// The authority cannot answer now.
    #[error("{words}")]
    Away {
        /// Its words.
        words: String,
        /// How long it asks us to wait.
        wait: Option<Duration>,
    },
    /// The authority needs longer than we stayed for.
    #[error("the authority is not done with the order, which goes on")]
    Slow(Option<Duration>),
    /// The authority does not offer what is wanted of it.
    #[error("the authority does not offer `{0}` for `{1}`")]
    NotOffered(&'static str, String),
    /// It did not come to an answer.
    #[error("ask the authority")]
    Unreachable(#[source] instant_acme::Error),
    /// All of it took too long.
    #[error("the order took longer than {} min", .0.as_secs() / MINUTE)]
    Overdue(Duration),
    /// The client cannot be set up.
    #[error("ask the authority")]
    Client(#[from] FetchError),
    /// What is kept cannot be reached.
    #[error("storage")]
    Storage(#[from] StorageError),
    /// We are not alone at it any more.
    #[error("the lock was lost: another node may be at it")]
    LockLost,
    /// A key or a request could not be made.
    #[error("make a request for a certificate")]
    Request(#[from] rcgen::Error),
    /// There is a certificate, for a key that we do not have.
    #[error("the order is done, but its key is not here")]
    KeyLost,
    /// What the authority gave us is no certificate for the key.
    #[error("use what the authority gave")]
    Useless(#[source] crate::tls::error::PemPart),
    /// A fault of ours.
    #[error("the order broke off")]
    Broken(#[from] tokio::task::JoinError),
    /// The secret of the external account cannot be used.
    #[error("secret of the external account: {0}")]
    Secret(String),
}

/// Whom it holds for that it was too much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::tls) enum Scope {
    /// These names, or all of our orders: authorities count both, and do not say which it was.
    Order,
    /// Everything that we ask.
    All,
}

impl OrderError {
    /// What it means for the next attempt.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Limited { .. } => Failure::Limited,
            // It says nothing of the order (RFC 8555, 6.5): only that we are out of step.
            Self::Refused { kind, .. } if kind == BAD_NONCE => Failure::Unreachable,
            Self::Slow(_) => Failure::Slow,
            Self::Refused { .. }
            | Self::NotOffered(..)
            | Self::KeyLost
            | Self::Useless(_)
            | Self::Broken(_) => Failure::Refused,
            Self::Unreachable(_)
            | Self::Away { .. }
            | Self::Overdue(_)
            | Self::Client(_)
            | Self::Storage(_)
            | Self::LockLost
            | Self::Request(_)
            | Self::Secret(_) => Failure::Unreachable,
        }
    }

    /// How long the authority asks us to wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        match self {
            Self::Limited { wait, .. } | Self::Away { wait, .. } | Self::Slow(wait) => *wait,
            _ => None,
        }
    }

    /// How long nothing else is ordered of the authority either.
    pub(super) fn hold(&self) -> Option<Duration> {
        let (wait, usual, most) = match self {
            Self::Away { wait, .. } => (wait, MINUTE, DAY),
            Self::Limited { wait, scope: Scope::All, .. } => (wait, 5 * MINUTE, DAY),
            // A limit of these names alone can be a week, and must not cost the others so much.
            Self::Limited { wait, scope: Scope::Order, .. } => (wait, 15 * MINUTE, HOUR),
            _ => return None,
        };
        Some(wait.unwrap_or(Duration::from_secs(usual)).min(Duration::from_secs(most)))
    }

    /// The same, met before there was an order: it holds for everything.
    pub(super) fn of_all(mut self) -> Self {
        if let Self::Limited { scope, .. } = &mut self {
            *scope = Scope::All;
        }
        self
    }

    /// Whether the authority does not know our account (any more).
    pub(super) fn is_stranger(&self) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind == "accountDoesNotExist")
    }

    /// Whether the client itself may be what does not work.
    pub(super) fn is_of_client(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Client(_))
    }
}

impl From<instant_acme::Error> for OrderError {
    fn from(error: instant_acme::Error) -> Self {
        match error {
            instant_acme::Error::Api(problem) => problem.into(),
            instant_acme::Error::Timeout(next) => {
                let wait = next.map(|next| next.saturating_duration_since(Instant::now()));
                Self::Slow(wait)
            }
            instant_acme::Error::Other(error) => match error.downcast::<TooMuch>() {
                Ok(busy) => (*busy).into(),
                Err(error) => Self::Unreachable(instant_acme::Error::Other(error)),
            },
            error => Self::Unreachable(error),
        }
    }
}

impl From<Problem> for OrderError {
    fn from(problem: Problem) -> Self {
        let kind = problem.r#type.unwrap_or_default();
        let kind = kind.strip_prefix(KINDS).unwrap_or(&kind).to_owned();
        let details = problem.subproblems.iter().filter_map(|it| it.detail.clone());
        let mut words: Vec<_> = problem.detail.into_iter().chain(details).collect();
        if words.is_empty() {
            words.push("the authority refuses".to_owned());
        }
        let words = words.join("; ");
        let words = if kind.is_empty() { words } else { format!("{words} ({kind})") };
        match kind == LIMITED {
            true => Self::Limited { words, wait: None, scope: Scope::Order },
            false => Self::Refused { words, kind },
        }
    }
}

impl From<TooMuch> for OrderError {
    fn from(busy: TooMuch) -> Self {
        let TooMuch { status, wait, problem } = busy;
        let words = match problem.map(Self::from) {
            Some(Self::Refused { words, .. } | Self::Limited { words, .. }) => words,
            _ => format!("the authority answers {status}"),
        };
        match status {
            StatusCode::TOO_MANY_REQUESTS => Self::Limited { words, wait, scope: Scope::Order },
            _ => Self::Away { words, wait },
        }
    }
}
