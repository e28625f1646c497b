//! Certificates from files, and for which names they are.

use std::{fs, path::Path, sync::Arc};

use hashbrown::HashMap;
use rustls::{crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use webpki::EndEntityCert;

use super::{CertificateFile, TlsError};

/// The certificates of an entrypoint that come from files, by name. A name is in lower case;
/// a wildcard stands as it is written: `*.example.com`.
#[derive(Debug, Default)]
pub(crate) struct Files(HashMap<String, Arc<CertifiedKey>>);

impl Files {
    /// Reads all of them; what is wrong with one costs that one.
    pub(crate) fn load(files: &[CertificateFile]) -> (Self, Vec<TlsError>) {
        let mut all = Self::default();
        let mut errors = Vec::new();
        for file in files {
            match load(file) {
                Ok((names, key)) => all.insert(names, &key),
                Err(error) => errors.push(error),
            }
        }
        (all, errors)
    }

    /// The certificate for a name, or for the wildcard that it falls under.
    pub(crate) fn find(&self, name: &str, wildcard: Option<&str>) -> Option<&Arc<CertifiedKey>> {
        if self.0.is_empty() {
            return None;
        }
        self.0.get(name).or_else(|| self.0.get(wildcard?))
    }

    fn insert(&mut self, names: Vec<String>, key: &Arc<CertifiedKey>) {
        for name in names {
            self.0.entry(name).or_insert_with(|| key.clone());
        }
    }
}

fn load(file: &CertificateFile) -> Result<(Vec<String>, Arc<CertifiedKey>), TlsError> {
    let chain = read(&file.cert)?;
    let chain = CertificateDer::pem_slice_iter(&chain)
        .collect::<Result<Vec<_>, _>>()
        .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
        .map_err(|source| TlsError::Pem {
            wanted: "certificate",
            path: file.cert.clone(),
            source,
        })?;
    let key = PrivateKeyDer::from_pem_slice(&read(&file.key)?).map_err(|source| TlsError::Pem {
        wanted: "private key",
        path: file.key.clone(),
        source,
    })?;
    let names = names(&chain);
    if names.is_empty() {
        return Err(TlsError::Nameless { path: file.cert.clone() });
    }
    let key =
        CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).map_err(|source| {
            TlsError::Pair { cert: file.cert.clone(), key: file.key.clone(), source }
        })?;
    Ok((names, Arc::new(key)))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn names(chain: &[CertificateDer<'_>]) -> Vec<String> {
    let leaf = chain.first().and_then(|leaf| EndEntityCert::try_from(leaf).ok());
    let names = leaf.iter().flat_map(|leaf| leaf.valid_dns_names());
    names.map(str::to_ascii_lowercase).collect()
}
