//! Our account with an authority (RFC 8555, 7.3): made once, kept for all nodes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use portolan_core::problem::{Chain, Problem};

use super::{
    ResolverConfig,
    error::OrderError,
    fetch::Fetch,
    storage::{Lock, Storage},
};
use crate::tls::{file, trouble::SOURCE};

/// Our account, as far as it is known.
#[derive(Default)]
pub(super) struct Registry {
    known: Mutex<Known>,
    /// Whoever makes the account. Held while the authority is asked, and by nobody else.
    making: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    account: Option<Account>,
    /// What could not be kept of it, and why.
    unkept: Option<(String, Problem)>,
}

impl Registry {
    /// Our account, made if there is none; `None`: another node is making it. `key` is where it is
    /// kept, `fetch` how the authority is asked, if not over the network. Authorities count new
    /// accounts: none is made that could not be kept, and one that is not kept after all goes on.
    pub(super) async fn account(
        &self,
        config: &ResolverConfig,
        storage: &Storage,
        key: &str,
        fetch: Option<&Fetch>,
    ) -> Result<Option<Account>, OrderError> {
        let _one = self.making.lock().await;
        let (known, unkept) = {
            let known = self.known();
            (known.account.clone(), known.unkept.as_ref().map(|(text, _)| text.clone()))
        };
        if known.is_some() {
            if let Some(text) = unkept {
                self.keep(config, storage, key, text).await;
            }
            return Ok(known);
        }
        let lock = storage.lock(&format!("locks/{key}")).await?;
        let Some(_lock): Option<Lock> = lock else { return Ok(None) };
        let fetch = match fetch {
            Some(fetch) => fetch.clone(),
            None => Fetch::new(config.root_certificates.as_deref())?,
        };
        let builder = Account::builder_with_http(Box::new(fetch));
        let kept = storage.read(key).await?;
        let kept = kept.and_then(|text| serde_json::from_str::<AccountCredentials>(&text).ok());
        let account = match kept {
            Some(credentials) => builder.from_credentials(credentials).await?,
            None => {
                let email = config.email.as_ref().map(|email| format!("mailto:{email}"));
                let contact: Vec<_> = email.iter().map(String::as_str).collect();
                let wish = NewAccount {
                    contact: &contact,
                    terms_of_service_agreed: true,
                    only_return_existing: false,
                };
                let external = external_account(config)?;
                storage.prove(key).await?;
                let directory = config.directory.clone();
                let (account, credentials) =
                    builder.create(&wish, directory, external.as_ref()).await?;
                let text = serde_json::to_string(&credentials);
                let text = text.map_err(|error| OrderError::Unreachable(error.into()))?;
                self.keep(config, storage, key, text).await;
                account
            }
        };
        self.known().account = Some(account.clone());
        Ok(Some(account))
    }

    /// Keeps what is known of our account, for restarts and other nodes.
    async fn keep(&self, config: &ResolverConfig, storage: &Storage, key: &str, text: String) {
        let unkept = storage.write(key, &text).await.err().map(|error| {
            let message = format!("the account cannot be kept: {}", Chain(&error));
            let problem = Problem::warning(SOURCE, format!("resolver `{}`", config.name), message)
                .hint(
                    "it is used until a restart, which would make another; each order tries again",
                );
            (text, problem)
        });
        self.known().unkept = unkept;
    }

    /// The next order looks for it anew, and trusts whom its file names then.
    pub(super) fn forget(&self) {
        let mut known = self.known();
        // One that is nowhere else is not forgotten for that.
        if known.unkept.is_none() {
            known.account = None;
        }
    }

    /// The authority does not know it: there is none any more.
    pub(super) fn give_up(&self) {
        *self.known() = Known::default();
    }

    /// What is wrong with it.
    pub(super) fn problem(&self) -> Option<Problem> {
        self.known().unkept.as_ref().map(|(_, problem)| problem.clone())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn external_account(config: &ResolverConfig) -> Result<Option<ExternalAccountKey>, OrderError> {
    let Some(external) = &config.external_account else { return Ok(None) };
    let secret = file::read(&external.hmac_file)
        .map_err(|error| OrderError::Secret(Chain(&error).to_string()))?;
    let secret = String::from_utf8_lossy(&secret);
    // Some authorities give it with padding.
    let secret = BASE64_URL_SAFE_NO_PAD.decode(secret.trim().trim_end_matches('='));
    let secret = secret.map_err(|error| OrderError::Secret(error.to_string()))?;
    Ok(Some(ExternalAccountKey::new(external.key_id.clone(), &secret)))
}
