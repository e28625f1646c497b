//! One order, start to end (RFC 8555, 7.4), in several attempts if the authority takes its time.

use std::{sync::Arc, time::Duration};

use instant_acme::{
    Account, AuthorizationStatus, ChallengeStatus, ChallengeType, Identifier, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair, RsaKeySize};
use tokio::task::spawn_blocking;

use super::{
    Challenge, KeyType,
    error::OrderError,
    pending::Pending,
    storage::{Lock, Storage},
};
use crate::tls::challenge::{Challenges, Posted, Question};

/// How long the authority may take to look at a name, or to sign, before it is left alone.
const PATIENCE: RetryPolicy = RetryPolicy::new().backoff(1.5).timeout(Duration::from_secs(180));

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
    pub(super) lock: &'a Lock,
    /// Where in the storage an order is put down as soon as it is made.
    pub(super) put_down: &'a str,
}

impl Clerk<'_> {
    /// Orders a certificate for these names, or goes on with an order, and waits for it.
    pub(super) async fn order(
        &self,
        names: &[String],
        pending: &mut Option<Pending>,
    ) -> Result<Issued, OrderError> {
        let mut order = match pending {
            Some(before) => self.account.order(before.url.clone()).await?,
            None => {
                let identifiers: Vec<_> = names.iter().cloned().map(Identifier::Dns).collect();
                self.account.new_order(&NewOrder::new(&identifiers)).await?
            }
        };
        let is_new = pending.is_none();
        let pending = pending.get_or_insert_with(|| Pending::new(order.url()));
        if is_new {
            self.put_down(pending).await;
        }
        if order.state().status == OrderStatus::Pending {
            tokio::select! {
                proved = self.prove(&mut order, &mut pending.posted) => proved?,
                () = self.lock.lost() => return Err(OrderError::LockLost),
            }
        }
        pending.posted.clear();
        match order.state().status {
            OrderStatus::Invalid => return Err(refusal(&mut order).await),
            OrderStatus::Ready => {
                let (kind, names, key) = (self.key_type, names.to_vec(), pending.key.take());
                let made = spawn_blocking(move || request(kind, names, key)).await??;
                let (key, request) = made;
                pending.key = Some(key);
                self.still_locked()?;
                // What comes of the request is of use only with its key.
                self.put_down(pending).await;
                self.still_locked()?;
                order.finalize_csr(&request).await?;
            }
            _ => {}
        }
        let key = pending.key.clone().ok_or(OrderError::KeyLost)?;
        let chain = order.poll_certificate(&PATIENCE).await?;
        Ok(Issued { chain, key })
    }

    fn still_locked(&self) -> Result<(), OrderError> {
        if self.lock.is_lost() { Err(OrderError::LockLost) } else { Ok(()) }
    }

    async fn put_down(&self, pending: &Pending) {
        pending.put_down(self.storage, self.put_down, self.key_type).await;
    }

    /// Shows that every name is ours. What is `posted` stays as long as the authority may ask.
    async fn prove(&self, order: &mut Order, posted: &mut Vec<Posted>) -> Result<(), OrderError> {
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
            self.storage.share(&question, answer.as_str(), self.lock).await?;
            posted.push(self.challenges.post(question, answer.as_str()));
            // An attempt before may have said so already.
            if challenge.status == ChallengeStatus::Pending {
                challenge.set_ready().await?;
            }
        }
        match order.poll_ready(&PATIENCE).await {
            // The name's own reason says more than the order's.
            Ok(OrderStatus::Invalid) => Err(refusal(order).await),
            Ok(_) => Ok(()),
            Err(error @ instant_acme::Error::Api(_)) => {
                Err(reason(order).await.unwrap_or_else(|| error.into()))
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// Why an order came to nothing.
async fn refusal(order: &mut Order) -> OrderError {
    if let Some(reason) = reason(order).await {
        return reason;
    }
    match order.state().error.clone() {
        Some(problem) => problem.into(),
        None => OrderError::Refused {
            words: "the authority refused the order and gave no reason".to_owned(),
            kind: String::new(),
        },
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
            return match OrderError::from(problem) {
                OrderError::Refused { words, kind } => {
                    Some(OrderError::Refused { words: format!("`{name}`: {words}"), kind })
                }
                other => Some(other),
            };
        }
    }
    None
}

/// A request for a certificate (PKCS #10, in DER) and the key that it is for, in PEM: a new one, if
/// there is none yet. RSA takes a second.
fn request(
    kind: KeyType,
    names: Vec<String>,
    key: Option<String>,
) -> Result<(String, Vec<u8>), rcgen::Error> {
    let key = match key {
        Some(key) => KeyPair::from_pem(&key)?,
        None => new_key(kind)?,
    };
    let mut params = CertificateParams::new(names)?;
    // Only the names count, and some authorities refuse anything else.
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key)?;
    Ok((key.serialize_pem(), request.der().to_vec()))
}

fn new_key(kind: KeyType) -> Result<KeyPair, rcgen::Error> {
    match kind {
        KeyType::Ec256 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256),
        KeyType::Ec384 => KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384),
        KeyType::Rsa2048 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_2048),
        KeyType::Rsa4096 => KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, RsaKeySize::_4096),
    }
}
