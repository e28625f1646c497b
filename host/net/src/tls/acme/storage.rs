//! Where accounts and certificates are kept: in a folder, or in Consul and a folder.
//!
//! **Invariant:** what is written is there whole or not at all, and nobody but us may read it.

use std::{
    fs, io,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use portolan_core::problem::Chain;

use super::{
    StorageConfig,
    consul::{Consul, Lease},
    fetch::FetchError,
};
use crate::tls::{TlsError, authority, challenge::Question};

/// Why something could not be kept, or is not there.
#[derive(Debug, thiserror::Error)]
pub(in crate::tls) enum StorageError {
    /// A file cannot be read.
    #[error("read `{}`", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A folder cannot be made.
    #[error("make `{}`", path.display())]
    Folder { path: PathBuf, source: io::Error },
    /// A file cannot be written.
    #[error(transparent)]
    Write(#[from] TlsError),
    /// Consul does not answer.
    #[error("Consul at {address}")]
    Consul { address: String, source: FetchError },
    /// Consul refuses.
    #[error("Consul at {address} says {status}: {text}")]
    Refused { address: String, status: http::StatusCode, text: String },
}

/// As many bytes as the credentials of an account take at most, with room to spare: some 500.
const CREDENTIALS: usize = 2048;

/// Where accounts and certificates are kept.
#[derive(Clone, Debug)]
pub(in crate::tls) struct Storage {
    folder: PathBuf,
    consul: Option<Consul>,
}

/// The right to do something that others must not do at the same time. It ends when dropped.
#[derive(Debug)]
pub(in crate::tls) struct Lock(Option<Lease>);

impl Lock {
    /// Whether others may have it by now.
    pub(super) fn is_lost(&self) -> bool {
        self.0.as_ref().is_some_and(Lease::is_lost)
    }

    /// Waits until it is lost.
    pub(super) async fn lost(&self) {
        match &self.0 {
            Some(lease) => lease.lost().await,
            None => std::future::pending().await,
        }
    }
}

impl Storage {
    pub(in crate::tls) fn open(config: &StorageConfig) -> Result<Self, StorageError> {
        match config {
            StorageConfig::File(folder) => Ok(Self { folder: folder.clone(), consul: None }),
            StorageConfig::Consul { address, token, roots, folder } => {
                let consul = Consul::new(address, token.clone(), roots.as_deref())?;
                Ok(Self { folder: folder.clone(), consul: Some(consul) })
            }
        }
    }

    /// One that is shared by a Consul that is no network away.
    #[cfg(test)]
    pub(super) fn shared_by(consul: Consul, folder: PathBuf) -> Self {
        Self { folder, consul: Some(consul) }
    }

    /// Whether other nodes see what is kept.
    pub(in crate::tls) fn is_shared(&self) -> bool {
        self.consul.is_some()
    }

    /// What is kept under a key.
    pub(super) async fn read(&self, key: &str) -> Result<Option<String>, StorageError> {
        match &self.consul {
            Some(consul) => consul.read(key).await,
            None => self.kept(key),
        }
    }

    /// What this node remembers of a key, whatever Consul may know since.
    pub(super) fn kept(&self, key: &str) -> Result<Option<String>, StorageError> {
        let path = self.folder.join(key);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(StorageError::Read { path, source }),
        }
    }

    /// Keeps this under a key from now on. This node remembers it, whether Consul takes it or not.
    pub(super) async fn write(&self, key: &str, text: &str) -> Result<(), StorageError> {
        let kept = self.keep(key, text);
        let Some(consul) = &self.consul else { return kept };
        consul.write(key, text).await?;
        if let Err(error) = kept {
            // Consul has it: only the times when Consul is away are not provided for.
            tracing::warn!(key, error = %Chain(&error), "not remembered");
        }
        Ok(())
    }

    /// Finds out whether something could be kept under a key where nothing is of worth yet.
    pub(super) async fn prove(&self, key: &str) -> Result<(), StorageError> {
        // A file without content can be written on a full disk too.
        self.write(key, &" ".repeat(CREDENTIALS)).await?;
        self.remove(key).await
    }

    /// Remembers on this node what another has written.
    pub(super) fn keep(&self, key: &str, text: &str) -> Result<(), StorageError> {
        // What is there already costs no disk a write.
        if self.kept(key).is_ok_and(|kept| kept.as_deref() == Some(text)) {
            return Ok(());
        }
        let path = self.folder.join(key);
        let folder = path.parent().unwrap_or(&self.folder);
        make(folder)?;
        Ok(authority::write(&path, text, 0o600)?)
    }

    /// Forgets what is kept under a key.
    pub(super) async fn remove(&self, key: &str) -> Result<(), StorageError> {
        if let Some(consul) = &self.consul {
            consul.remove(key).await?;
        }
        let path = self.folder.join(key);
        match fs::remove_file(&path) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                let error = StorageError::Read { path, source };
                if self.consul.is_none() {
                    return Err(error);
                }
                tracing::debug!(key, error = %Chain(&error), "not forgotten");
            }
            Ok(()) | Err(_) => {}
        }
        Ok(())
    }

    /// The right to a key's subject; `None`: another node has it.
    pub(super) async fn lock(&self, key: &str) -> Result<Option<Lock>, StorageError> {
        match &self.consul {
            Some(consul) => Ok(consul.lock(key).await?.map(|lease| Lock(Some(lease)))),
            None => Ok(Some(Lock(None))),
        }
    }

    /// Lets other nodes answer a question of an authority while a lock is held.
    pub(super) async fn share(
        &self,
        question: &Question,
        answer: &str,
        lock: &Lock,
    ) -> Result<(), StorageError> {
        match (&self.consul, &lock.0) {
            (Some(consul), Some(lease)) => lease.write(consul, &key_of(question), answer).await,
            _ => Ok(()),
        }
    }

    /// The answer to a question, if another node has shared it.
    pub(in crate::tls) async fn shared(
        &self,
        question: &Question,
    ) -> Result<Option<String>, StorageError> {
        match &self.consul {
            Some(consul) => consul.read(&key_of(question)).await,
            None => Ok(None),
        }
    }

    /// Waits until something below a key is other than at an index; answers the new index. Never
    /// without other nodes.
    pub(in crate::tls) async fn changed(&self, key: &str, index: u64) -> Result<u64, StorageError> {
        match &self.consul {
            Some(consul) => consul.changed(key, index).await,
            None => std::future::pending().await,
        }
    }
}

fn key_of(question: &Question) -> String {
    match question {
        Question::Token(token) => format!("answers/http/{token}"),
        Question::Name(name) => format!("answers/tls/{name}"),
    }
}

fn make(folder: &Path) -> Result<(), StorageError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|source| StorageError::Folder { path: folder.to_owned(), source })
}
