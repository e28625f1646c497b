//! How we trust backends, and what we show them: TLS as a client.
//!
//! **Invariant:** files are read off the request path, and again when they change. A transport that
//! cannot be set up is an error of whoever connects, never a connection that is trusted less; one
//! that could be goes on as it was, until its files are good again.

mod verify;
mod watch;
#[cfg(test)]
mod tests;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime},
};

use portolan_core::{policy::TlsVersion, service::Transport};
use rustls::{
    ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier,
    client::WantsClientCert,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
};
use tokio::{sync::OnceCell, task};

use self::verify::Anybody;
pub use self::watch::tend;
use crate::{anchors::Anchors, cipher};

/// How long files are believed not to have changed.
const CHECKED: Duration = Duration::from_secs(10);

/// A way of connecting: a number that tells it from others, and what it is.
pub type Way = Option<(u64, Arc<Transport>)>;

/// Everything that encrypted connections to backends need; shared by all workers. The system's
/// trust store is read when it is first needed: few have encrypted backends, and it is large.
#[derive(Debug, Default)]
pub struct Trust {
    /// What paths of files are relative to.
    base: PathBuf,
    system: OnceCell<Arc<RootCertStore>>,
    plain: OnceCell<Arc<ClientConfig>>,
    ways: Mutex<HashMap<u64, Known>>,
}

/// A transport that was set up.
#[derive(Clone, Debug)]
struct Known {
    config: Arc<ClientConfig>,
    checked: Instant,
    /// The files, and when each was changed.
    files: Vec<(PathBuf, Option<SystemTime>)>,
    /// Why the files cannot be used as they are now.
    trouble: Option<Arc<str>>,
}

impl Known {
    /// It was looked at just now.
    fn now(self, trouble: Option<Arc<str>>) -> Self {
        Self { checked: Instant::now(), trouble, ..self }
    }
}

impl Trust {
    /// Trusts what the system trusts; paths of files are relative to `base`.
    pub fn new(base: impl Into<PathBuf>) -> Self {
        Self { base: base.into(), ..Self::default() }
    }

    /// What the TLS library needs to connect in that way.
    ///
    /// # Errors
    ///
    /// When a file cannot be read or holds something else, and when the library refuses.
    pub async fn config(&self, way: &Way) -> io::Result<Arc<ClientConfig>> {
        let Some((id, transport)) = way else {
            let roots = self.system().await?;
            let made = async { set_up(&Transport::default(), roots, Path::new("")) };
            return self.plain.get_or_try_init(|| made).await.cloned();
        };
        let known = self.lock().get(id).cloned();
        match known {
            Some(known) if known.checked.elapsed() < CHECKED => Ok(known.config),
            known => Ok(self.look(*id, transport, known).await?.config),
        }
    }

    /// Looks at the files of a transport, and sets it up if they are not as they were. If that
    /// does not work, what was set up before goes on: files are written in several steps.
    async fn look(
        &self,
        id: u64,
        transport: &Arc<Transport>,
        known: Option<Known>,
    ) -> io::Result<Known> {
        let needs_system = !has_authorities(transport) && !transport.insecure_skip_verify;
        let system = match needs_system {
            true => self.system().await?,
            false => Arc::new(RootCertStore::empty()),
        };
        let (transport, base) = (transport.clone(), self.base.clone());
        let looked = task::spawn_blocking(move || {
            let files = files(&transport, &base);
            let known = match known {
                Some(known) if known.files == files => return Ok(known.now(None)),
                known => known,
            };
            match (set_up(&transport, system, &base), known) {
                (Ok(config), _) => {
                    Ok(Known { config, checked: Instant::now(), files, trouble: None })
                }
                (Err(error), Some(known)) => Ok(known.now(Some(error.to_string().into()))),
                (Err(error), None) => Err(error),
            }
        });
        let known = looked.await??;
        self.lock().insert(id, known.clone());
        Ok(known)
    }

    /// The authorities that the system trusts.
    async fn system(&self) -> io::Result<Arc<RootCertStore>> {
        let load = || async {
            // Reading a few hundred certificates takes long enough to be felt by other requests.
            let loaded = task::spawn_blocking(rustls_native_certs::load_native_certs).await?;
            let mut roots = RootCertStore::empty();
            let (added, _ignored) = roots.add_parsable_certificates(loaded.certs);
            if added == 0 {
                tracing::warn!("no trusted certificates on this system: https backends will fail");
            }
            Ok(Arc::new(roots))
        };
        self.system.get_or_try_init(load).await.cloned()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<u64, Known>> {
        self.ways.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The files of a transport, and when each was changed.
fn files(transport: &Transport, base: &Path) -> Vec<(PathBuf, Option<SystemTime>)> {
    let certificates = transport.certificates.iter().flat_map(|it| [&it.cert, &it.key]);
    let paths = transport.root_cas.iter().chain(certificates).map(|path| base.join(path));
    let changed = |path: PathBuf| {
        let changed = fs::metadata(&path).and_then(|metadata| metadata.modified()).ok();
        (path, changed)
    };
    paths.map(changed).collect()
}

fn set_up(
    transport: &Transport,
    system: Arc<RootCertStore>,
    base: &Path,
) -> io::Result<Arc<ClientConfig>> {
    let provider = Arc::new(cipher::provider(&transport.cipher_suites, &[]));
    let lowest = transport.min_version.unwrap_or(TlsVersion::V12);
    let highest = transport.max_version.unwrap_or(TlsVersion::V13);
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&cipher::versions(lowest..=highest))
        .map_err(io::Error::other)?;
    let builder = match transport.insecure_skip_verify {
        true => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody::new(&provider)))
        }
        false => trusting(builder, &provider, transport, system, base)?,
    };
    let mut config = match (transport.certificates.first(), &transport.texts.certificate) {
        (None, None) => builder.with_no_client_auth(),
        (None, Some((certificate, key))) => {
            let chain = read_certificates(certificate.as_bytes()).map_err(io::Error::other)?;
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(io::Error::other)?;
            builder.with_client_auth_cert(chain, key).map_err(io::Error::other)?
        }
        (Some(certificate), _) => {
            let chain = certificates(&base.join(&certificate.cert))?;
            let path = base.join(&certificate.key);
            let key = PrivateKeyDer::from_pem_slice(&read(&path)?);
            let key = key.map_err(|error| wrong(&path, error))?;
            let with_key = builder.with_client_auth_cert(chain, key);
            with_key.map_err(|error| wrong(&path, error))?
        }
    };
    config.alpn_protocols = match transport.disable_http2 {
        true => vec![b"http/1.1".to_vec()],
        false => vec![b"h2".to_vec(), b"http/1.1".to_vec()],
    };
    Ok(Arc::new(config))
}

fn trusting(
    builder: ConfigBuilder<ClientConfig, WantsVerifier>,
    provider: &Arc<CryptoProvider>,
    transport: &Transport,
    system: Arc<RootCertStore>,
    base: &Path,
) -> io::Result<ConfigBuilder<ClientConfig, WantsClientCert>> {
    if !has_authorities(transport) {
        return Ok(builder.with_root_certificates(system));
    }
    let mut anchors = Anchors::none();
    if let Some(text) = &transport.texts.authorities {
        for certificate in read_certificates(text.as_bytes()).map_err(io::Error::other)? {
            anchors.add(certificate).map_err(io::Error::other)?;
        }
    }
    for path in &transport.root_cas {
        let path = base.join(path);
        for certificate in certificates(&path)? {
            anchors.add(certificate).map_err(|error| wrong(&path, error))?;
        }
    }
    let verifier = anchors.of_servers(provider).map_err(io::Error::other)?;
    Ok(builder.dangerous().with_custom_certificate_verifier(verifier))
}

/// Whether a transport trusts others than the system does.
fn has_authorities(transport: &Transport) -> bool {
    !transport.root_cas.is_empty() || transport.texts.authorities.is_some()
}

fn certificates(path: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    read_certificates(&read(path)?).map_err(|error| wrong(path, error))
}

/// The certificates in a text; there is one at least.
fn read_certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|error| error.to_string())?;
    if all.is_empty() { Err("it holds no certificate".to_owned()) } else { Ok(all) }
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    fs::read(path).map_err(|error| wrong(path, error))
}

fn wrong(path: &Path, error: impl std::fmt::Display) -> io::Error {
    io::Error::other(format!("`{}`: {error}", path.display()))
}
