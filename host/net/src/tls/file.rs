//! Certificates from files, and what becomes of them when a file goes bad.
//!
//! **Invariant:** a pair of files that was good once goes on being shown, however it is overwritten,
//! until it is good again or nobody wants it any more.

use std::{fs, path::Path, sync::Arc, time::SystemTime};

use hashbrown::HashMap;

use super::{Certificate, CertificateFile, CertificateSource, TlsError, error::PemPart};

/// The pairs of files that are wanted, each with its last content that can be used.
#[derive(Debug, Default)]
pub(super) struct Files(HashMap<CertificateFile, Held>);

#[derive(Debug)]
struct Held {
    current: Arc<Certificate>,
    /// What was there before one whose time is over or has not come. Handshakes choose what is good.
    former: Option<Arc<Certificate>>,
}

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
    /// Reads all of these and forgets all others; answers those that are broken. Only the `default` may
    /// be for no name.
    pub(super) fn read<'a>(
        &mut self,
        wanted: impl IntoIterator<Item = &'a CertificateFile>,
        default: Option<&CertificateFile>,
    ) -> Vec<Broken> {
        let mut before = std::mem::take(&mut self.0);
        let mut broken: Vec<Broken> = Vec::new();
        let now = SystemTime::now();
        for file in wanted {
            if self.0.contains_key(file) || broken.iter().any(|one| one.file == *file) {
                continue;
            }
            let kept = before.remove(file);
            match load(file, default == Some(file)) {
                Ok(fresh) => drop(self.0.insert(file.clone(), Held::next(kept, fresh, now))),
                Err(error) => {
                    broken.push(Broken { file: file.clone(), error, kept: kept.is_some() });
                    self.0.extend(kept.map(|kept| (file.clone(), kept)));
                }
            }
        }
        broken
    }

    /// What there is to show of a pair of files.
    pub(super) fn of(&self, file: &CertificateFile) -> impl Iterator<Item = &Arc<Certificate>> {
        self.0.get(file).into_iter().flat_map(Held::all)
    }

    /// What there is to show of all of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.0.values().flat_map(Held::all)
    }
}

impl Held {
    fn next(before: Option<Self>, fresh: Certificate, now: SystemTime) -> Self {
        let Some(before) = before else {
            return Self { current: Arc::new(fresh), former: None };
        };
        // The same as before stays the same, so that nobody sees a change.
        if before.current.key.cert == fresh.key.cert {
            let former = before.former.filter(|_| !before.current.is_good(now));
            return Self { current: before.current, former };
        }
        let former = if fresh.is_good(now) { None } else { before.into_good(now) };
        Self { current: Arc::new(fresh), former }
    }

    fn into_good(self, now: SystemTime) -> Option<Arc<Certificate>> {
        std::iter::once(self.current).chain(self.former).find(|it| it.is_good(now))
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        std::iter::once(&self.current).chain(&self.former)
    }
}

fn load(file: &CertificateFile, is_default: bool) -> Result<Certificate, TlsError> {
    let (chain, key) = (read(&file.cert)?, read(&file.key)?);
    let source = CertificateSource::File(file.cert.clone());
    let read = if is_default { Certificate::of_anybody } else { Certificate::from_pem };
    read(&chain, &key, source).map_err(|part| match part {
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
