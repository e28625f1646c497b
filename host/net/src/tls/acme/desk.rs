//! Where orders of one authority are done: storage, lock, storage again, order, storage.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use instant_acme::Account;
use portolan_core::problem::{Chain, Problem};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{
    ResolverConfig,
    account::Registry,
    error::OrderError,
    fetch::Fetch,
    order::Clerk,
    pending::Pending,
    resolver::{Due, Outcome, Unkept},
    schedule::{Failure, renewal},
    storage::{Lock, Storage, StorageError},
    want::Want,
};
use crate::tls::{
    Certificate, CertificateSource, certificate::sha256, challenge::Challenges, trouble::stamp,
};

/// How long an attempt may take as a whole, whatever the authority does.
const TOTAL: Duration = Duration::from_secs(10 * 60);

/// What orders of one authority are done with.
pub(in crate::tls) struct Desk {
    pub(in crate::tls) config: ResolverConfig,
    pub(in crate::tls) storage: Storage,
    challenges: Arc<Challenges>,
    registry: Registry,
    /// How the authority is asked, if not over the network.
    fetch: Option<Fetch>,
}

impl Desk {
    pub(super) fn new(
        config: ResolverConfig,
        storage: Storage,
        challenges: Arc<Challenges>,
        fetch: Option<Fetch>,
    ) -> Self {
        Self { config, storage, challenges, registry: Registry::default(), fetch }
    }

    /// Sees to it that there is a good certificate: one that another node, or we before, have
    /// kept, or else a new one. Answers what came of it, and the order that is not done yet.
    pub(in crate::tls) async fn look_after(
        self: Arc<Self>,
        due: Due,
    ) -> (Outcome, Option<Pending>) {
        let Due { want, have, may_order, mut pending, unkept } = due;
        if let Some(text) = unkept {
            return (self.keep(&want, text).await, None);
        }
        let attempt = self.attempt(&want, have, may_order, &mut pending);
        let error = match timeout(TOTAL, attempt).await.unwrap_or(Err(OrderError::Overdue(TOTAL))) {
            Ok(outcome @ (Outcome::Have(_) | Outcome::Issued(..))) => {
                // A certificate that is not kept can be fetched again by its order.
                let unkept = matches!(outcome, Outcome::Issued(_, Some(_)));
                if pending.is_some() && !unkept {
                    self.put_down(&want, None).await;
                }
                return (outcome, None);
            }
            Ok(outcome) => return (outcome, pending),
            Err(error) => error,
        };
        if error.is_stranger() {
            self.forget_account().await;
        } else if error.is_of_client() && self.config.root_certificates.is_some() {
            // Whom to trust may stand in the file by now.
            self.registry.forget();
        }
        let failure = match error.failure() {
            // An order was made, and authorities count orders.
            Failure::Unreachable if pending.is_some() => Failure::Refused,
            failure => failure,
        };
        let (ended, begun) = (error.failure() == Failure::Refused, pending.is_some());
        let pending = pending.filter(|_| !ended).and_then(|mut pending| match failure {
            Failure::Slow => Some(pending),
            _ => {
                // Another node may have more luck.
                pending.lock = None;
                pending.fail().then_some(pending)
            }
        });
        if begun {
            self.put_down(&want, pending.as_ref()).await;
        }
        (Outcome::Failed(error, failure), pending)
    }

    async fn attempt(
        &self,
        want: &Want,
        have: Option<Arc<Certificate>>,
        may_order: bool,
        pending: &mut Option<Pending>,
    ) -> Result<Outcome, OrderError> {
        let fresh = |certificate: &Arc<Certificate>| SystemTime::now() < renewal(certificate);
        let good = |certificate: &Arc<Certificate>| certificate.is_good(SystemTime::now());
        let kept = match self.read(want).await {
            Ok(None) => match self.remembered(want).filter(good) {
                Some(remembered) => {
                    self.give_back(want).await;
                    Some(remembered)
                }
                None => None,
            },
            Ok(kept) => kept,
            Err(error) => match self.remembered(want) {
                // Consul is away: what this node remembers is as good as it was.
                Some(remembered) if is_news(&remembered, have.as_ref()) => Some(remembered),
                _ if !may_order => return Ok(Outcome::Nothing),
                _ => return Err(error.into()),
            },
        };
        // One that is due to be renewed is shown all the same until there is a new one.
        let shown = |known: &Arc<Certificate>| fresh(known) || is_news(known, have.as_ref());
        if let Some(known) = newest(kept, have.clone()).filter(shown) {
            return Ok(Outcome::Have(known));
        }
        if !may_order {
            return Ok(Outcome::Nothing);
        }
        let held = pending.as_mut().and_then(|pending| pending.lock.take());
        let lock = match held.filter(|lock| !lock.is_lost()) {
            Some(lock) => lock,
            None => match self.storage.lock(&format!("locks/{}", self.place(&id(want)))).await? {
                Some(lock) => lock,
                None => return Ok(Outcome::Busy),
            },
        };
        // Somebody may have been faster than we were with the lock.
        if let Some(kept) = newest(self.read(want).await?, have).filter(&fresh) {
            return Ok(Outcome::Have(kept));
        }
        let Some(account) = self.account().await.map_err(OrderError::of_all)? else {
            return Ok(Outcome::Busy);
        };
        if pending.is_none()
            && let Some(text) = self.storage.read(&self.key_of_order(want)).await?
        {
            *pending = Pending::read(&text, self.config.key_type);
        }
        tracing::info!(resolver = %want.resolver, names = want.names.join(","), "ordering");
        match self.order(want, &account, &lock, pending).await {
            Ok((certificate, unkept)) => Ok(Outcome::Issued(Arc::new(certificate), unkept)),
            Err(error) => {
                if let (OrderError::Slow(_), Some(pending)) = (&error, pending) {
                    pending.lock = Some(lock);
                }
                Err(error)
            }
        }
    }

    /// Orders a certificate and keeps it; answers it, and what could not be kept of it.
    async fn order(
        &self,
        want: &Want,
        account: &Account,
        lock: &Lock,
        pending: &mut Option<Pending>,
    ) -> Result<(Certificate, Option<Unkept>), OrderError> {
        let put_down = self.key_of_order(want);
        let clerk = Clerk {
            account,
            challenge: self.config.challenge,
            key_type: self.config.key_type,
            challenges: &self.challenges,
            storage: &self.storage,
            lock,
            put_down: &put_down,
        };
        let issued = clerk.order(&want.names, pending).await?;
        let source = CertificateSource::Acme(want.resolver.clone());
        let certificate =
            Certificate::from_pem(issued.chain.as_bytes(), issued.key.as_bytes(), source)
                .map_err(OrderError::Useless)?;
        let text = json!({ "names": want.names, "certificate": issued.chain, "key": issued.key });
        let text: Arc<str> = text.to_string().into();
        // It was issued, and authorities count: it is shown, kept or not.
        let unkept = self.storage.write(&self.key(want), &text).await.err();
        let unkept = unkept.map(|error| Unkept { text, error });
        tracing::info!(
            resolver = %want.resolver,
            names = want.names.join(","),
            serial = certificate.facts.serial,
            expires = stamp(certificate.facts.not_after),
            "certificate issued"
        );
        Ok((certificate, unkept))
    }

    /// Keeps a certificate that could not be kept when it came.
    async fn keep(&self, want: &Want, text: Arc<str>) -> Outcome {
        let end = |it: Arc<Certificate>| it.facts.not_after;
        // Another node, which did not know of it, may have ordered another one meanwhile.
        let there = self.read(want).await.ok().flatten().map(end);
        let done = match there >= self.certificate(&text).map(end) {
            true => Ok(()),
            false => self.storage.write(&self.key(want), &text).await,
        };
        match done {
            Ok(()) => {
                self.put_down(want, None).await;
                Outcome::Kept
            }
            Err(error) => Outcome::Unkept(Unkept { text, error }),
        }
    }

    /// Keeps the order that the next attempt goes on with, or that there is none any more.
    async fn put_down(&self, want: &Want, pending: Option<&Pending>) {
        let key = self.key_of_order(want);
        match pending {
            Some(pending) => pending.put_down(&self.storage, &key, self.config.key_type).await,
            None => {
                if let Err(error) = self.storage.remove(&key).await {
                    tracing::debug!(error = %Chain(&error), "order not forgotten");
                }
            }
        }
    }

    /// What is wrong beside single certificates.
    pub(super) fn problem(&self) -> Option<Problem> {
        self.registry.problem()
    }

    async fn read(&self, want: &Want) -> Result<Option<Arc<Certificate>>, StorageError> {
        let key = self.key(want);
        let Some(text) = self.storage.read(&key).await? else { return Ok(None) };
        let certificate = self.certificate(&text);
        if certificate.is_some()
            && self.storage.is_shared()
            && let Err(error) = self.storage.keep(&key, &text)
        {
            // It was read: only the times when Consul is away are not provided for.
            tracing::warn!(names = want.names.join(","), error = %Chain(&error), "not remembered");
        }
        Ok(certificate)
    }

    /// Gives back to a storage that others share what it has lost, or never had, since it was away when
    /// this was issued.
    async fn give_back(&self, want: &Want) {
        let key = self.key(want);
        if let Ok(Some(text)) = self.storage.kept(&key)
            && let Err(error) = self.storage.write(&key, &text).await
        {
            tracing::debug!(error = %Chain(&error), "certificate not given back");
        }
    }

    /// What this node remembers of a storage that it shares.
    fn remembered(&self, want: &Want) -> Option<Arc<Certificate>> {
        let text = self.storage.is_shared().then(|| self.storage.kept(&self.key(want)));
        self.certificate(&text?.ok()??)
    }

    fn certificate(&self, text: &str) -> Option<Arc<Certificate>> {
        let kept: Value = serde_json::from_str(text).ok()?;
        let (chain, key) = (kept["certificate"].as_str()?, kept["key"].as_str()?);
        let source = CertificateSource::Acme(self.config.name.clone());
        Certificate::from_pem(chain.as_bytes(), key.as_bytes(), source).ok().map(Arc::new)
    }

    async fn account(&self) -> Result<Option<Account>, OrderError> {
        let place = self.place("account.json");
        self.registry.account(&self.config, &self.storage, &place, self.fetch.as_ref()).await
    }

    /// The authority does not know us any more: the next order makes a new account.
    async fn forget_account(&self) {
        self.registry.give_up();
        if let Err(error) = self.storage.remove(&self.place("account.json")).await {
            tracing::warn!(error = %Chain(&error), "account not forgotten");
        }
    }

    fn key(&self, want: &Want) -> String {
        self.place(&format!("certificates/{}.json", id(want)))
    }

    fn key_of_order(&self, want: &Want) -> String {
        self.place(&format!("orders/{}.json", id(want)))
    }

    /// Whether certificates of the other are as good as ours. The directory is part of it:
    /// certificates of a staging environment are none of the real one.
    pub(in crate::tls) fn is_of_same_authority(&self, other: &Self) -> bool {
        let (own, other) = (&self.config, &other.config);
        (&own.name, &own.directory) == (&other.name, &other.directory)
    }

    /// Where what belongs to this resolver is, each authority on its own.
    pub(in crate::tls) fn place(&self, key: &str) -> String {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let (_, directory) = self.config.directory.split_once("://").unwrap_or_default();
        let directory: String = directory.chars().map(plain).collect();
        format!("{}/{directory}/{key}", self.config.name)
    }
}

/// A name for a certificate that is wanted, for files and keys.
fn id(want: &Want) -> String {
    let main = want.names.first().map_or("", String::as_str);
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    let main: String = main.chars().map(|c| if plain(c) { c } else { '_' }).collect();
    match want.names.as_slice() {
        [_] => main,
        names => {
            let digest = sha256(names.join(",").as_bytes());
            format!("{main}+{}", digest.chars().take(12).collect::<String>())
        }
    }
}

/// Whether clients take it, and longer than what there is.
fn is_news(certificate: &Certificate, have: Option<&Arc<Certificate>>) -> bool {
    let until = certificate.facts.not_after;
    certificate.is_good(SystemTime::now()) && have.is_none_or(|have| have.facts.not_after < until)
}

fn newest(
    one: Option<Arc<Certificate>>,
    other: Option<Arc<Certificate>>,
) -> Option<Arc<Certificate>> {
    one.into_iter().chain(other).max_by_key(|certificate| certificate.facts.not_after)
}
