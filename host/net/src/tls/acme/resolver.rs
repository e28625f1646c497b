//! One authority, and how far each certificate that is wanted of it is.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use portolan_core::problem::{Chain, Problem};
use serde_json::{Value, json};
use tokio::{sync::Mutex, time::Instant};

use super::{
    ResolverConfig,
    fetch::Fetch,
    order::{Clerk, OrderError},
    schedule::{pause, renewal},
    storage::{Lock, Storage, StorageError},
    want::Want,
};
use crate::tls::{
    Certificate, CertificateSource,
    certificate::sha256,
    challenge::Challenges,
    file,
    trouble::{SOURCE, stamp},
};

/// How soon it is looked whether another node, which is at it, has the certificate.
const BUSY: Duration = Duration::from_secs(3);

/// One authority.
pub(in crate::tls) struct Resolver {
    pub(in crate::tls) desk: Arc<Desk>,
    slots: BTreeMap<Want, Slot>,
}

/// What orders of one authority are done with.
pub(in crate::tls) struct Desk {
    pub(in crate::tls) config: ResolverConfig,
    pub(in crate::tls) storage: Storage,
    challenges: Arc<Challenges>,
    account: Mutex<Option<(Account, Fetch)>>,
}

/// How far a certificate is.
#[derive(Debug, Default)]
struct Slot {
    certificate: Option<Arc<Certificate>>,
    failures: u32,
    problem: Option<Problem>,
    /// It was looked for in the storage.
    looked: bool,
    /// Somebody is at it.
    running: bool,
    /// Not before then.
    pause: Option<Instant>,
    /// It may have changed in the storage.
    doubtful: bool,
}

/// A certificate that must be looked after.
#[derive(Debug)]
pub(in crate::tls) struct Due {
    pub(in crate::tls) want: Want,
    have: Option<Arc<Certificate>>,
    /// Whether it may be ordered now; else it is only looked whether another node has it.
    may_order: bool,
}

/// What came of looking after a certificate.
#[derive(Debug)]
pub(in crate::tls) enum Outcome {
    /// There is nothing new.
    Nothing,
    /// This is the one to show.
    Have(Arc<Certificate>),
    /// Another node is at it.
    Busy,
    /// It did not work, and the authority may have said when to come back.
    Failed(OrderError, Option<Duration>),
}

impl Resolver {
    pub(in crate::tls) fn new(
        config: &ResolverConfig,
        challenges: &Arc<Challenges>,
    ) -> Result<Self, StorageError> {
        let desk = Desk {
            config: config.clone(),
            storage: Storage::open(&config.storage)?,
            challenges: challenges.clone(),
            account: Mutex::default(),
        };
        Ok(Self { desk: Arc::new(desk), slots: BTreeMap::new() })
    }

    /// Begins with the certificates of one that it takes the place of, if they are of the same
    /// authority.
    pub(in crate::tls) fn inherit(&mut self, before: &Self) {
        let (own, other) = (&self.desk.config, &before.desk.config);
        if (&own.name, &own.directory) == (&other.name, &other.directory) {
            let slots = before.slots.iter().map(|(want, slot)| {
                let certificate = slot.certificate.clone();
                (want.clone(), Slot { certificate, ..Slot::default() })
            });
            self.slots = slots.collect();
        }
    }

    /// These certificates are wanted, and no others.
    pub(in crate::tls) fn want(&mut self, wants: impl Iterator<Item = Want>) {
        let mut before = std::mem::take(&mut self.slots);
        let slots = wants.map(|want| {
            let slot = before.remove(&want).unwrap_or_default();
            (want, slot)
        });
        self.slots = slots.collect();
    }

    /// What must be looked after now, and no more than so many; it is being looked after from now
    /// on. All are looked for in the storage before one is ordered: an order may take long, and
    /// what is kept is shown meanwhile.
    pub(in crate::tls) fn due(&mut self, most: usize) -> Vec<Due> {
        let (now, instant) = (SystemTime::now(), Instant::now());
        let due = self.slots.iter_mut().filter(|(_, slot)| slot.is_due(now, instant));
        let (new, known): (Vec<_>, Vec<_>) = due.partition(|(_, slot)| !slot.looked);
        let due = new.into_iter().chain(known).take(most);
        due.map(|(want, slot)| {
            let may_order = slot.looked && slot.pause.is_none_or(|pause| pause <= instant);
            slot.looked = true;
            slot.running = true;
            slot.doubtful = false;
            Due { want: want.clone(), have: slot.certificate.clone(), may_order }
        })
        .collect()
    }

    /// When something must be looked after next; `None`: never.
    pub(in crate::tls) fn next(&self) -> Option<Instant> {
        let (now, instant) = (SystemTime::now(), Instant::now());
        let idle = self.slots.values().filter(|slot| !slot.running);
        idle.map(|slot| slot.next(now, instant)).min()
    }

    /// Somebody knows that it will work now: no pause is waited for.
    pub(in crate::tls) fn retry(&mut self) {
        self.slots.values_mut().for_each(|slot| slot.pause = None);
    }

    /// Others may have written what is wanted.
    pub(in crate::tls) fn doubt(&mut self) {
        self.slots.values_mut().for_each(|slot| slot.doubtful = true);
    }

    /// What came of looking after a certificate.
    pub(in crate::tls) fn take(&mut self, want: &Want, outcome: Outcome) {
        // Nobody may want it any more.
        let Some(slot) = self.slots.get_mut(want) else { return };
        slot.running = false;
        match outcome {
            Outcome::Nothing => {}
            Outcome::Have(certificate) => {
                slot.failures = 0;
                slot.pause = None;
                slot.problem = None;
                slot.certificate = Some(certificate);
            }
            Outcome::Busy => slot.pause = Some(Instant::now() + BUSY),
            Outcome::Failed(error, wanted) => slot.fail(want, &error, wanted),
        }
    }

    /// Every certificate that there is.
    pub(in crate::tls) fn certificates(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.slots.values().filter_map(|slot| slot.certificate.as_ref())
    }

    /// What is wrong.
    pub(in crate::tls) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.slots.values().filter_map(|slot| slot.problem.as_ref())
    }
}

impl Slot {
    fn is_due(&self, now: SystemTime, instant: Instant) -> bool {
        !self.running && self.next(now, instant) <= instant
    }

    fn next(&self, now: SystemTime, instant: Instant) -> Instant {
        match (&self.pause, &self.certificate) {
            _ if self.doubtful => instant,
            (Some(pause), _) => *pause,
            (None, None) => instant,
            (None, Some(certificate)) => {
                instant + renewal(certificate).duration_since(now).unwrap_or_default()
            }
        }
    }

    fn fail(&mut self, want: &Want, error: &OrderError, wanted: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        let pause = pause(error.failure(), self.failures, wanted);
        self.pause = Some(Instant::now() + pause);
        let names = want.names.join("`, `");
        let message = format!("no certificate for `{names}`: {}", Chain(error));
        let good = self.certificate.as_ref().is_some_and(|it| it.is_good(SystemTime::now()));
        let next = stamp(SystemTime::now() + pause);
        let origin = format!("resolver `{}`", want.resolver);
        let (problem, shown) = match good {
            true => (
                Problem::warning(SOURCE, origin, message),
                "the certificate that there is goes on being shown",
            ),
            false => (
                Problem::error(SOURCE, origin, message),
                "until then the local authority's certificate is shown",
            ),
        };
        self.problem = Some(problem.hint(format!("the next attempt is at {next}; {shown}")));
    }
}

impl Desk {
    /// Sees to it that there is a good certificate: one that another node, or we before, have
    /// kept, or else a new one.
    pub(in crate::tls) async fn look_after(self: Arc<Self>, due: Due) -> Outcome {
        match self.attempt(&due.want, due.have, due.may_order).await {
            Ok(outcome) => outcome,
            Err(error) => {
                let account = self.account.lock().await;
                let wanted = account.as_ref().and_then(|(_, fetch)| fetch.told_to_wait());
                drop(account);
                if error.is_stranger() {
                    self.forget_account().await;
                }
                Outcome::Failed(error, wanted)
            }
        }
    }

    async fn attempt(
        &self,
        want: &Want,
        have: Option<Arc<Certificate>>,
        may_order: bool,
    ) -> Result<Outcome, OrderError> {
        let fresh = |certificate: &Arc<Certificate>| SystemTime::now() < renewal(certificate);
        let kept = match self.read(want).await {
            Ok(None) => match self.remembered(want).filter(&fresh) {
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
        let lock = format!("locks/{}", self.place(&id(want)));
        let Some(_lock) = self.storage.lock(&lock).await? else { return Ok(Outcome::Busy) };
        // Somebody may have been faster than we were with the lock.
        if let Some(kept) = newest(self.read(want).await?, have).filter(&fresh) {
            return Ok(Outcome::Have(kept));
        }
        let Some(account) = self.account().await? else { return Ok(Outcome::Busy) };
        tracing::info!(resolver = %want.resolver, names = want.names.join(","), "ordering");
        let certificate = self.order(want, &account).await?;
        Ok(Outcome::Have(Arc::new(certificate)))
    }

    /// Orders a certificate and keeps it.
    async fn order(&self, want: &Want, account: &Account) -> Result<Certificate, OrderError> {
        let clerk = Clerk {
            account,
            challenge: self.config.challenge,
            key_type: self.config.key_type,
            challenges: &self.challenges,
            storage: &self.storage,
        };
        let issued = clerk.order(&want.names).await?;
        let source = CertificateSource::Acme(want.resolver.clone());
        let certificate =
            Certificate::from_pem(issued.chain.as_bytes(), issued.key.as_bytes(), source)
                .map_err(OrderError::Useless)?;
        let text = json!({ "names": want.names, "certificate": issued.chain, "key": issued.key });
        if let Err(error) = self.storage.write(&self.key(want), &text.to_string()).await {
            // It was issued, and authorities count: it is shown, and what is remembered is given back.
            tracing::warn!(names = want.names.join(","), error = %Chain(&error), "not kept");
        }
        tracing::info!(
            resolver = %want.resolver,
            names = want.names.join(","),
            serial = certificate.facts.serial,
            expires = stamp(certificate.facts.not_after),
            "certificate issued"
        );
        Ok(certificate)
    }

    async fn read(&self, want: &Want) -> Result<Option<Arc<Certificate>>, StorageError> {
        let key = self.key(want);
        let Some(text) = self.storage.read(&key).await? else { return Ok(None) };
        let certificate = self.certificate(&text);
        if certificate.is_some() && self.storage.is_shared() {
            self.storage.keep(&key, &text)?;
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

    /// Our account, made if there is none; `None`: another node is making it.
    async fn account(&self) -> Result<Option<Account>, OrderError> {
        let mut known = self.account.lock().await;
        if let Some((account, _)) = &*known {
            return Ok(Some(account.clone()));
        }
        let key = self.place("account.json");
        let lock = self.storage.lock(&format!("locks/{key}")).await?;
        let Some(_lock): Option<Lock> = lock else { return Ok(None) };
        let fetch = Fetch::new(self.config.root_certificates.as_deref())?;
        let builder = Account::builder_with_http(Box::new(fetch.clone()));
        let kept = self.storage.read(&key).await?;
        let kept = kept.and_then(|text| serde_json::from_str::<AccountCredentials>(&text).ok());
        let account = match kept {
            Some(credentials) => builder.from_credentials(credentials).await?,
            None => {
                let email = self.config.email.as_ref().map(|email| format!("mailto:{email}"));
                let contact: Vec<_> = email.iter().map(String::as_str).collect();
                let wish = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let external = self.external_account()?;
                let directory = self.config.directory.clone();
                let (account, credentials) =
                    builder.create(&wish, directory, external.as_ref()).await?;
                let text = serde_json::to_string(&credentials);
                let text = text.map_err(|error| OrderError::Unreachable(error.into()))?;
                self.storage.write(&key, &text).await?;
                account
            }
        };
        *known = Some((account.clone(), fetch));
        Ok(Some(account))
    }

    fn external_account(&self) -> Result<Option<ExternalAccountKey>, OrderError> {
        let Some(external) = &self.config.external_account else { return Ok(None) };
        let secret = file::read(&external.hmac_file)
            .map_err(|error| OrderError::Secret(Chain(&error).to_string()))?;
        let secret = String::from_utf8_lossy(&secret);
        // Some authorities give it with padding.
        let secret = BASE64_URL_SAFE_NO_PAD.decode(secret.trim().trim_end_matches('='));
        let secret = secret.map_err(|error| OrderError::Secret(error.to_string()))?;
        Ok(Some(ExternalAccountKey::new(external.key_id.clone(), &secret)))
    }

    /// The authority does not know us any more: the next order makes a new account.
    async fn forget_account(&self) {
        *self.account.lock().await = None;
        if let Err(error) = self.storage.remove(&self.place("account.json")).await {
            tracing::warn!(error = %Chain(&error), "account not forgotten");
        }
    }

    fn key(&self, want: &Want) -> String {
        self.place(&format!("certificates/{}.json", id(want)))
    }

    /// Where what belongs to this resolver is. The directory is part of it: certificates of a
    /// staging environment are none of the real one.
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
