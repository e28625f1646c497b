//! Certificates from files, and what becomes of them when a file goes bad.
//!
//! **Invariant:** a pair of files that was good once goes on being shown, however it is overwritten,
//! until it is good again or nobody wants it any more.

use std::{fs, path::Path, sync::Arc};

use hashbrown::HashMap;

use super::{Certificate, CertificateFile, CertificateSource, TlsError, error::PemPart};

/// The pairs of files that are wanted, each with its last good content.
#[derive(Debug, Default)]
pub(super) struct Files(HashMap<CertificateFile, Arc<Certificate>>);

/// A pair of files that cannot be used as it is now.
#[derive(Debug)]
pub struct Broken {
    /// Which.
    pub file: CertificateFile,
    /// Why.
    pub error: TlsError,
    /// Whether what it held before goes on.
    pub kept: bool,
}

impl Files {
    /// Reads all of these and forgets all others; answers those that are broken.
    pub(super) fn read<'a>(
        &mut self,
        wanted: impl IntoIterator<Item = &'a CertificateFile>,
    ) -> Vec<Broken> {
        let mut before = std::mem::take(&mut self.0);
        let mut broken: Vec<Broken> = Vec::new();
        for file in wanted {
            if self.0.contains_key(file) || broken.iter().any(|one| one.file == *file) {
                continue;
            }
            let kept = before.remove(file);
            match load(file) {
                Ok(fresh) => {
                    // The same as before stays the same, so that nobody sees a change.
                    let same = kept.filter(|kept| kept.key.cert == fresh.key.cert);
                    self.0.insert(file.clone(), same.unwrap_or_else(|| Arc::new(fresh)));
                }
                Err(error) => {
                    broken.push(Broken { file: file.clone(), error, kept: kept.is_some() });
                    self.0.extend(kept.map(|kept| (file.clone(), kept)));
                }
            }
        }
        broken
    }

    /// What a pair of files holds, or held when it was last good.
    pub(super) fn find(&self, file: &CertificateFile) -> Option<&Arc<Certificate>> {
        self.0.get(file)
    }

    /// What all of them hold.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.0.values()
    }
}

fn load(file: &CertificateFile) -> Result<Certificate, TlsError> {
    let (chain, key) = (read(&file.cert)?, read(&file.key)?);
    let source = CertificateSource::File(file.cert.clone());
    Certificate::from_pem(&chain, &key, source).map_err(|part| match part {
        PemPart::Chain(source) => {
            TlsError::Pem { wanted: "certificate", path: file.cert.clone(), source }
        }
        PemPart::Key(source) => {
            TlsError::Pem { wanted: "private key", path: file.key.clone(), source }
        }
        PemPart::Pair(source) => {
            TlsError::Pair { cert: file.cert.clone(), key: file.key.clone(), source }
        }
        PemPart::Nameless => TlsError::Nameless { path: file.cert.clone() },
    })
}

/// A file as a whole.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
