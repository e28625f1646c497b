//! Our account with an authority (RFC 8555, 7.3): made once, kept for all nodes.

use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use instant_acme::{Account, AccountCredentials, ExternalAccountKey, NewAccount};
use portolan_core::problem::Chain;

use super::{
    ResolverConfig,
    error::OrderError,
    fetch::Fetch,
    storage::{Lock, Storage},
};
use crate::tls::file;

/// Our account, as far as it is known.
#[derive(Default)]
pub(super) struct Registry {
    known: Mutex<Option<Account>>,
    /// Whoever makes the account. Held while the authority is asked, and by nobody else.
    making: tokio::sync::Mutex<()>,
}

impl Registry {
    /// Our account, made if there is none; `None`: another node is making it. `key` is where it is
    /// kept, `fetch` how the authority is asked, if not over the network.
    pub(super) async fn account(
        &self,
        config: &ResolverConfig,
        storage: &Storage,
        key: &str,
        fetch: Option<&Fetch>,
    ) -> Result<Option<Account>, OrderError> {
        let _one = self.making.lock().await;
        let known = self.known().clone();
        if known.is_some() {
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
                let directory = config.directory.clone();
                let (account, credentials) =
                    builder.create(&wish, directory, external.as_ref()).await?;
                let text = serde_json::to_string(&credentials);
                let text = text.map_err(|error| OrderError::Unreachable(error.into()))?;
                storage.write(key, &text).await?;
                account
            }
        };
        *self.known() = Some(account.clone());
        Ok(Some(account))
    }

    /// The next order looks for it anew, and trusts whom its file names then.
    pub(super) fn forget(&self) {
        *self.known() = None;
    }

    fn known(&self) -> MutexGuard<'_, Option<Account>> {
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
