//! One order, start to end (RFC 8555, 7.4).

use std::{sync::Arc, time::Duration};

use instant_acme::{
    Account, AuthorizationStatus, ChallengeType, Identifier, NewOrder, Order, OrderStatus,
    RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, RsaKeySize};

use super::{
    Challenge, KeyType,
    fetch::FetchError,
    schedule::Failure,
    storage::{Storage, StorageError},
};
use crate::tls::challenge::{Challenges, Question};

/// How long the authority may take to look at a name, or to sign.
const PATIENCE: RetryPolicy = RetryPolicy::new().backoff(1.5).timeout(Duration::from_secs(90));

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
    /// The authority does not offer what is wanted of it.
    #[error("the authority does not offer `{0}` for `{1}`")]
    NotOffered(&'static str, String),
    /// It did not come to an answer.
    #[error("ask the authority")]
    Unreachable(#[source] instant_acme::Error),
    /// The client cannot be set up.
    #[error("ask the authority")]
    Client(#[from] FetchError),
    /// What is kept cannot be reached.
    #[error("storage")]
    Storage(#[from] StorageError),
    /// A key or a request could not be made.
    #[error("make a request for a certificate")]
    Request(#[from] rcgen::Error),
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

/// What came of an order, in PEM.
pub(super) struct Issued {
    pub(super) chain: String,
    pub(super) key: String,
}

/// What an order is done with.
pub(super) struct Clerk<'a> {
    pub(super) account: &'a Account,
    pub(super) challenge: Challenge,
    pub(super) key_type: KeyType,
    pub(super) challenges: &'a Arc<Challenges>,
    pub(super) storage: &'a Storage,
}

impl Clerk<'_> {
    /// Orders a certificate for these names and waits for it.
    pub(super) async fn order(&self, names: &[String]) -> Result<Issued, OrderError> {
        let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
        let mut order = self.account.new_order(&NewOrder::new(&identifiers)).await?;
        let mut posted = Vec::new();
        let proved = self.prove(&mut order, &mut posted).await;
        for question in &posted {
            self.challenges.remove(question);
            if let Err(error) = self.storage.unshare(question).await {
                tracing::debug!(%error, "an answer stays in the storage");
            }
        }
        proved?;
        let key = new_key(self.key_type)?;
        let mut params = CertificateParams::new(names.to_vec())?;
        // Only the names count, and some authorities refuse anything else.
        params.distinguished_name = DistinguishedName::new();
        let request = params.serialize_request(&key)?;
        order.finalize_csr(request.der()).await?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        Ok(Issued { chain, key: key.serialize_pem() })
    }

    /// Shows that every name is ours. What is `posted` is to be taken back, whatever comes of it.
    async fn prove(&self, order: &mut Order, posted: &mut Vec<Question>) -> Result<(), OrderError> {
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let name = authorization.identifier().to_string();
            let (kind, word) = match self.challenge {
                Challenge::Http01 => (ChallengeType::Http01, "http-01"),
                Challenge::TlsAlpn01 => (ChallengeType::TlsAlpn01, "tls-alpn-01"),
            };
            let missing = || OrderError::NotOffered(word, name.clone());
            let mut challenge = authorization.challenge(kind).ok_or_else(missing)?;
            let question = match self.challenge {
                Challenge::Http01 => Question::Token(challenge.token.clone()),
                Challenge::TlsAlpn01 => Question::Name(name.to_ascii_lowercase()),
            };
            let answer = challenge.key_authorization();
            posted.push(question.clone());
            self.storage.share(&question, answer.as_str()).await?;
            self.challenges.put(question, answer.as_str());
            challenge.set_ready().await?;
        }
        match order.poll_ready(&PATIENCE).await {
            Ok(OrderStatus::Ready | OrderStatus::Valid) => Ok(()),
            Ok(_) => Err(reason(order).await.unwrap_or_else(|| OrderError::Refused {
                words: "the authority refused the order and gave no reason".to_owned(),
                kind: String::new(),
            })),
            // The name's own reason says more than the order's.
            Err(error @ instant_acme::Error::Api(_)) => {
                Err(reason(order).await.unwrap_or_else(|| error.into()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Why the authority does not believe that a name is ours.
async fn reason(order: &mut Order) -> Option<OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization.ok()?;
        let name = authorization.identifier().to_string();
        let state = authorization.refresh().await.ok()?;
        if let Some(problem) = state.challenges.iter().find_map(|it| it.error.clone()) {
            return match OrderError::from(instant_acme::Error::Api(problem)) {
                OrderError::Refused { words, kind } => {
                    Some(OrderError::Refused { words: format!("`{name}`: {words}"), kind })
                }
                other => Some(other),
            };
        }
    }
    None
}

fn new_key(kind: KeyType) -> Result<KeyPair, rcgen::Error> {
    match kind {
        KeyType::Ec256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::Ec384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyType::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
    }
}

impl OrderError {
    /// What it means for the next attempt.
    pub(super) fn failure(&self) -> Failure {
        match self {
            Self::Refused { kind, .. } if kind == "rateLimited" => Failure::Limited,
            Self::Refused { .. } | Self::NotOffered(..) | Self::Useless(_) | Self::Broken(_) => {
                Failure::Refused
            }
            Self::Unreachable(_)
            | Self::Client(_)
            | Self::Storage(_)
            | Self::Request(_)
            | Self::Secret(_) => Failure::Unreachable,
        }
    }

    /// Whether the authority does not know our account (any more).
    pub(super) fn is_stranger(&self) -> bool {
        matches!(self, Self::Refused { kind, .. } if kind == "accountDoesNotExist")
    }
}

impl From<instant_acme::Error> for OrderError {
    fn from(error: instant_acme::Error) -> Self {
        let instant_acme::Error::Api(problem) = error else { return Self::Unreachable(error) };
        let kind = problem.r#type.unwrap_or_default();
        let kind = kind.strip_prefix("urn:ietf:params:acme:error:").unwrap_or(&kind).to_owned();
        let details = problem.subproblems.iter().filter_map(|it| it.detail.clone());
        let mut words: Vec<_> = problem.detail.into_iter().chain(details).collect();
        if words.is_empty() {
            words.push("the authority refuses".to_owned());
        }
        let words = words.join("; ");
        let words = if kind.is_empty() { words } else { format!("{words} ({kind})") };
        Self::Refused { words, kind }
    }
}
