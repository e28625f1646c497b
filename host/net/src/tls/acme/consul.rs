//! Consul's key-value store as a storage: what nodes share, and the locks between them.
//!
//! **Invariant:** a lock that its node does not renew ends by itself, within Consul's twice the
//! time to live of its session, and what was written under it is gone with it. Its node knows by then.

use std::{path::Path, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use tokio::{
    runtime::Handle,
    sync::watch,
    task::JoinHandle,
    time::{Instant, interval},
};

use super::{
    Token,
    fetch::{Fetch, FetchError},
    storage::StorageError,
};

/// Where our keys are.
const PREFIX: &str = "portolan/acme";
/// How long a lock outlives its node; Consul's least is ten seconds.
const TTL: Duration = Duration::from_secs(15);
/// How long Consul holds a question back when nothing changes.
const WAIT: Duration = Duration::from_secs(5 * 60);

/// A Consul agent.
#[derive(Clone, Debug)]
pub(super) struct Consul {
    fetch: Fetch,
    address: String,
    token: Option<Token>,
}

/// A lock that is held. It is given back when it is dropped.
#[derive(Debug)]
pub(super) struct Lease {
    consul: Consul,
    session: String,
    renewing: JoinHandle<()>,
    lost: watch::Receiver<bool>,
}

impl Consul {
    pub(super) fn new(
        address: &str,
        token: Option<Token>,
        roots: Option<&Path>,
    ) -> Result<Self, StorageError> {
        let address = address.trim_end_matches('/').to_owned();
        match Fetch::new(roots) {
            Ok(fetch) => Ok(Self { fetch, address, token }),
            Err(source) => Err(StorageError::Consul { address, source }),
        }
    }

    /// One that is reached by this.
    #[cfg(test)]
    pub(super) fn through(fetch: Fetch) -> Self {
        Self { fetch, address: "http://consul.test".to_owned(), token: None }
    }

    pub(super) async fn read(&self, key: &str) -> Result<Option<String>, StorageError> {
        let path = format!("kv/{PREFIX}/{key}?raw&consistent");
        match self.ask(Method::GET, &path, "", None).await? {
            Reply { status: StatusCode::NOT_FOUND, .. } => Ok(None),
            reply => self.good(reply).map(|reply| Some(reply.text)),
        }
    }

    pub(super) async fn write(&self, key: &str, text: &str) -> Result<(), StorageError> {
        let path = format!("kv/{PREFIX}/{key}");
        self.good(self.ask(Method::PUT, &path, text, None).await?).map(drop)
    }

    pub(super) async fn remove(&self, key: &str) -> Result<(), StorageError> {
        let path = format!("kv/{PREFIX}/{key}");
        self.good(self.ask(Method::DELETE, &path, "", None).await?).map(drop)
    }

    /// Waits until something below a key changed; answers the index of the change.
    pub(super) async fn changed(&self, key: &str, index: u64) -> Result<u64, StorageError> {
        let wait = WAIT.as_secs();
        let path = format!("kv/{PREFIX}/{key}?keys&index={index}&wait={wait}s");
        // Consul adds a sixteenth at the most.
        let reply = self.ask(Method::GET, &path, "", Some(WAIT + WAIT / 8)).await?;
        let reply = match reply.status {
            StatusCode::NOT_FOUND => reply,
            _ => self.good(reply)?,
        };
        // One that goes back means that Consul began anew.
        Ok(reply.index.filter(|new| *new >= index).unwrap_or(0))
    }

    /// Takes a lock; `None`: somebody else has it.
    pub(super) async fn lock(&self, key: &str) -> Result<Option<Lease>, StorageError> {
        let wish = serde_json::json!({
            "Name": "portolan acme", "TTL": format!("{}s", TTL.as_secs()), "Behavior": "delete",
            // Without: who waited for the lock may have it at once.
            "LockDelay": "0s",
        });
        let reply = self.ask(Method::PUT, "session/create", &wish.to_string(), None).await?;
        let reply = self.good(reply)?;
        let answer: serde_json::Value = serde_json::from_str(&reply.text).unwrap_or_default();
        let Some(session) = answer["ID"].as_str() else { return Err(self.refuse(reply)) };
        // Made first, so that the session ends whatever happens next.
        let lease = Lease::new(self.clone(), session.to_owned());
        Ok(self.acquire(key, "", session).await?.then_some(lease))
    }

    /// Writes something that is gone when a session ends; whether another session has not done so.
    async fn acquire(&self, key: &str, text: &str, session: &str) -> Result<bool, StorageError> {
        let path = format!("kv/{PREFIX}/{key}?acquire={session}");
        let reply = self.good(self.ask(Method::PUT, &path, text, None).await?)?;
        Ok(reply.text.trim() == "true")
    }

    fn good(&self, reply: Reply) -> Result<Reply, StorageError> {
        if reply.status.is_success() { Ok(reply) } else { Err(self.refuse(reply)) }
    }

    fn refuse(&self, reply: Reply) -> StorageError {
        let text = reply.text.trim().chars().take(200).collect();
        StorageError::Refused { address: self.address.clone(), status: reply.status, text }
    }

    async fn ask(
        &self,
        method: Method,
        path: &str,
        body: &str,
        patience: Option<Duration>,
    ) -> Result<Reply, StorageError> {
        let refuse = |source| StorageError::Consul { address: self.address.clone(), source };
        let mut request =
            Request::builder().method(method).uri(format!("{}/v1/{path}", self.address));
        match &self.token {
            None => (),
            Some(Token::Text(token)) => request = request.header("x-consul-token", token),
            Some(Token::File(path)) => {
                let unread = |source| StorageError::Read { path: path.clone(), source };
                let token = tokio::fs::read_to_string(path).await.map_err(unread)?;
                request = request.header("x-consul-token", token.trim());
            }
        }
        let request = request.body(Full::new(Bytes::from(body.to_owned())));
        let request = request.map_err(|error| refuse(FetchError::from(error)))?;
        let (status, headers, body) = self.fetch.ask(request, patience).await.map_err(refuse)?;
        let index = headers.get("x-consul-index").and_then(|index| index.to_str().ok());
        Ok(Reply {
            status,
            index: index.and_then(|index| index.parse().ok()),
            text: String::from_utf8_lossy(&body).into_owned(),
        })
    }
}

/// What Consul answers.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    index: Option<u64>,
    text: String,
}

impl Lease {
    fn new(consul: Consul, session: String) -> Self {
        let (losing, lost) = watch::channel(false);
        let renewing = tokio::spawn(renew(consul.clone(), session.clone(), losing));
        Self { consul, session, renewing, lost }
    }

    /// Writes something that is gone when the lock is.
    pub(super) async fn write(
        &self,
        consul: &Consul,
        key: &str,
        text: &str,
    ) -> Result<(), StorageError> {
        match consul.acquire(key, text, &self.session).await? {
            true => Ok(()),
            // Another order wants the same: it goes when that one ends, and counts until then.
            false => consul.write(key, text).await,
        }
    }

    pub(super) fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    pub(super) async fn lost(&self) {
        let mut lost = self.lost.clone();
        // Who renews it does not end otherwise.
        if lost.wait_for(|lost| *lost).await.is_err() {
            std::future::pending().await
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.renewing.abort();
        let (consul, session) = (self.consul.clone(), std::mem::take(&mut self.session));
        // It ends by itself if this does not arrive.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(async move {
                let path = format!("session/destroy/{session}");
                drop(consul.ask(Method::PUT, &path, "", None).await);
            });
        }
    }
}

/// Keeps a session alive until it is lost.
async fn renew(consul: Consul, session: String, lost: watch::Sender<bool>) {
    let mut ticks = interval(TTL / 3);
    let mut renewed = Instant::now();
    let path = format!("session/renew/{session}");
    loop {
        ticks.tick().await;
        let asked = Instant::now();
        let gone = match consul.ask(Method::PUT, &path, "", Some(TTL / 3)).await {
            Ok(reply) if reply.status.is_success() => {
                renewed = asked;
                continue;
            }
            Ok(reply) => {
                tracing::debug!(status = %reply.status, "lock not renewed");
                // Consul does not know the session, or us. While it looks for a leader, sessions live on.
                reply.status.is_client_error() && reply.status != StatusCode::TOO_MANY_REQUESTS
            }
            Err(error) => {
                tracing::debug!(%error, "lock not renewed");
                false
            }
        };
        if gone || renewed.elapsed() >= TTL {
            tracing::warn!("a lock in Consul is lost");
            lost.send_replace(true);
            return;
        }
    }
}
