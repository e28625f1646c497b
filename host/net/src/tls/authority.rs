//! A certificate authority of our own: its root lies in the data directory, its leaves are made
//! when the first client asks for a name and live in memory.
//!
//! **Invariant:** the root is made once. A root that is there and cannot be read is an error, not
//! a reason to make another one: devices were told to trust it.

use std::{
    collections::BTreeSet,
    fmt, fs,
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use hashbrown::HashMap;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose,
};
use rustls::{crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer,
    pem::{self, PemObject as _},
};

use crate::interfaces::interfaces;

use super::{
    Certificate, CertificateSource, TlsError,
    certificate::{Facts, is_ca, is_key_of, sha256},
};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a root is good.
const ROOT_VALID: Duration = DAY.saturating_mul(3650);
/// How long before its end a root begins to be a worry: as long as leaves are good.
const ROOT_WORRY: Duration = LEAF_VALID;
/// How long a leaf is good; browsers frown at more than 398 days.
const LEAF_VALID: Duration = DAY.saturating_mul(90);
/// How long before its end a leaf is made anew.
const RENEW_BEFORE: Duration = DAY.saturating_mul(30);
/// Certificates are good from a day ago: not every clock is right.
const CLOCK_SKEW: Duration = DAY;
/// How many leaves are kept.
const LEAVES: usize = 4096;
/// For how many addresses of routers a default leaf is: each handshake carries all of them.
const ADDRESSES: usize = 100;
/// What stands before each of those addresses in the place of a default leaf, as it does in no name.
const DEFAULT: &str = " ";
/// Whom certificates are of.
const ORGANIZATION: &str = "Portolan";
/// The longest name that a subject may have (RFC 5280, A.1).
const LONGEST_NAME: usize = 64;

/// The local certificate authority.
pub struct Authority {
    root: String,
    issuer: Issuer<'static, KeyPair>,
    /// When the root ends: no leaf is good for longer.
    until: SystemTime,
    /// Whether it says of itself that it may sign others.
    is_authority: bool,
    leaves: Mutex<Leaves>,
}

/// What is wrong with a root, though it can sign.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RootFlaw {
    /// It says of itself that it may not sign others (RFC 5280, 4.2.1.9), so nobody takes what it signs.
    NoAuthority,
    /// Its time is over: nobody takes what it signed.
    Ended(SystemTime),
    /// It ends soon, and devices must learn to trust another one before that.
    EndsSoon(SystemTime),
}

impl RootFlaw {
    fn of(is_authority: bool, until: SystemTime, now: SystemTime) -> Option<Self> {
        if !is_authority {
            Some(Self::NoAuthority)
        } else if until < now {
            Some(Self::Ended(until))
        } else {
            (until < now + ROOT_WORRY).then_some(Self::EndsSoon(until))
        }
    }
}

#[derive(Default)]
struct Leaves {
    by_name: HashMap<String, Leaf>,
    /// How this machine may be named, and when that was looked at.
    own: Option<(SystemTime, Vec<String>)>,
}

struct Leaf {
    certificate: Arc<Certificate>,
    renew: SystemTime,
}

/// How often it is looked at which addresses this machine has.
const LOOK_EVERY: Duration = Duration::from_secs(5);

impl Leaves {
    /// Looks how this machine may be named now. One that got another address gets another certificate.
    fn look(&mut self, now: SystemTime, own_names: impl FnOnce() -> Vec<String>) -> Vec<String> {
        let since = |(at, _): &(SystemTime, _)| now.duration_since(*at).unwrap_or(LOOK_EVERY);
        match &self.own {
            Some(known) if since(known) < LOOK_EVERY => known.1.clone(),
            known => {
                let names = own_names();
                if known.as_ref().is_some_and(|(_, before)| *before != names) {
                    self.by_name.retain(|name, _| !name.is_empty() && !name.starts_with(DEFAULT));
                }
                self.own = Some((now, names.clone()));
                names
            }
        }
    }
}

impl Authority {
    /// The names for which a client gets a certificate when it names none that we serve, beside
    /// the addresses of this machine.
    pub const DEFAULT_NAMES: [&'static str; 4] =
        ["portolan.local", "localhost", "127.0.0.1", "::1"];

    /// Reads `ca.pem` and `ca.key` from a directory, or makes them.
    ///
    /// # Errors
    ///
    /// When they cannot be read or written, or are no authority.
    pub fn open(directory: &Path) -> Result<Self, TlsError> {
        let (cert, key) = (directory.join("ca.pem"), directory.join("ca.key"));
        let refuse = |source| TlsError::Authority { directory: directory.to_owned(), source };
        match read(&key)? {
            Some(text) => {
                let key = KeyPair::from_pem(&text).map_err(refuse)?;
                let root = read(&cert)?.ok_or_else(|| TlsError::Read {
                    path: cert,
                    source: io::ErrorKind::NotFound.into(),
                })?;
                let der = CertificateDer::from_pem_slice(root.as_bytes()).ok();
                let facts = der.as_ref().and_then(|der| Facts::read(der));
                let facts = facts.ok_or_else(|| refuse(rcgen::Error::CouldNotParseCertificate))?;
                // Nobody could check what it signs.
                if !der.as_ref().is_some_and(|der| is_key_of(der, key.public_key_raw())) {
                    return Err(TlsError::AuthorityPair(directory.to_owned()));
                }
                let issuer = Issuer::from_ca_cert_pem(&root, key).map_err(refuse)?;
                let (until, is_authority) = (facts.not_after, der.is_some_and(|it| is_ca(&it)));
                Ok(Self { root, issuer, until, is_authority, leaves: Mutex::default() })
            }
            None if cert.exists() => Err(TlsError::AuthorityKeyless(directory.to_owned())),
            None => {
                let authority = Self::ephemeral()?;
                let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(directory);
                made.map_err(|source| TlsError::Write { path: directory.to_owned(), source })?;
                // Who is ended between the two has one without the other: so little as can be is done there.
                let fresh_key = stage(&key, &authority.issuer.key().serialize_pem(), 0o600)?;
                let fresh_cert = stage(&cert, &authority.root, 0o644)?;
                put(&fresh_key, &key)?;
                put(&fresh_cert, &cert)?;
                Ok(authority)
            }
        }
    }

    /// An authority that is forgotten when the process ends.
    ///
    /// # Errors
    ///
    /// When the cryptographic library refuses.
    pub fn ephemeral() -> Result<Self, TlsError> {
        let refuse = |source| TlsError::Mint { name: "the local authority".to_owned(), source };
        let key = KeyPair::generate().map_err(refuse)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = subject("Portolan local authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let until = SystemTime::now() + ROOT_VALID;
        valid(&mut params, until);
        let root = params.self_signed(&key).map_err(refuse)?.pem();
        let (issuer, leaves) = (Issuer::new(params, key), Mutex::default());
        Ok(Self { root, issuer, until, is_authority: true, leaves })
    }

    /// What is wrong with its root at a moment.
    pub(super) fn flaw(&self, now: SystemTime) -> Option<RootFlaw> {
        RootFlaw::of(self.is_authority, self.until, now)
    }

    /// The root certificate in PEM: what a device must trust.
    pub fn root_pem(&self) -> &str {
        &self.root
    }

    /// A certificate for a name or wildcard, in lower case.
    pub(crate) fn leaf(&self, name: &str) -> Result<Arc<CertifiedKey>, TlsError> {
        self.kept(name, |_| vec![name.to_owned()])
    }

    /// A certificate for who names nothing that we serve: for this machine, and for addresses that
    /// routers answer to, which may be those of a router at home or of a port that is passed on.
    pub(super) fn default_leaf(
        &self,
        addresses: &BTreeSet<String>,
    ) -> Result<Arc<CertifiedKey>, TlsError> {
        let place: String = addresses.iter().flat_map(|address| [DEFAULT, address]).collect();
        self.kept(&place, |leaves| {
            let mut names = leaves.look(SystemTime::now(), own_names);
            let others = addresses.iter().filter(|address| !names.contains(address));
            let others: Vec<_> = others.take(ADDRESSES).cloned().collect();
            names.extend(others);
            names
        })
    }

    /// One that is kept in a place, or a new one.
    fn kept(
        &self,
        name: &str,
        names: impl FnOnce(&mut Leaves) -> Vec<String>,
    ) -> Result<Arc<CertifiedKey>, TlsError> {
        let now = SystemTime::now();
        // A lock per handshake, not per request, held over a look-up.
        let mut leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        let names = names(&mut leaves);
        let leaves = &mut leaves.by_name;
        match leaves.get(name) {
            Some(leaf) if now < leaf.renew => return Ok(leaf.certificate.key.clone()),
            Some(_) | None => {}
        }
        let certificate = Arc::new(self.mint(names)?);
        if leaves.len() >= LEAVES {
            // Which one goes does not matter: it is made anew in a fraction of a handshake.
            let victim = leaves.keys().next().cloned();
            victim.and_then(|name| leaves.remove(&name));
        }
        let renew = now + LEAF_VALID - RENEW_BEFORE;
        let key = certificate.key.clone();
        leaves.insert(name.to_owned(), Leaf { certificate, renew });
        Ok(key)
    }

    /// The certificates that were made and are remembered, in any order.
    pub(super) fn leaves(&self) -> Vec<Arc<Certificate>> {
        let leaves = self.leaves.lock().unwrap_or_else(PoisonError::into_inner);
        leaves.by_name.values().map(|leaf| leaf.certificate.clone()).collect()
    }

    /// A certificate for these names, and called after the first.
    fn mint(&self, names: Vec<String>) -> Result<Certificate, TlsError> {
        let common = names.first().map_or("", String::as_str).to_owned();
        let refuse = |source| TlsError::Mint { name: common.clone(), source };
        let key = KeyPair::generate().map_err(refuse)?;
        let mut params = CertificateParams::new(names).map_err(refuse)?;
        // Clients look at the names beside it, and strict ones refuse one that is too long.
        params.distinguished_name = match common.len() > LONGEST_NAME {
            true => organization(),
            false => subject(&common),
        };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, self.until.min(SystemTime::now() + LEAF_VALID));
        let cert = params.signed_by(&key, &self.issuer).map_err(refuse)?;
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let key = aws_lc_rs::sign::any_supported_type(&key).map_err(TlsError::Provider)?;
        let key = CertifiedKey::new(vec![cert.der().clone()], key);
        let made = Certificate::of(key, CertificateSource::Local);
        made.ok_or_else(|| refuse(rcgen::Error::CouldNotParseCertificate))
    }
}

/// The root certificate of a local authority, as a device that shall trust it needs it.
#[derive(Clone, Debug)]
pub struct Root {
    /// The file that holds it.
    pub file: PathBuf,
    /// In PEM.
    pub pem: String,
    /// In DER.
    pub der: Vec<u8>,
    /// SHA-256 of the DER in hexadecimal: what devices show as its fingerprint.
    pub fingerprint: String,
    /// What stands in it.
    pub facts: Facts,
    /// Whether it says of itself that it may sign others.
    is_authority: bool,
}

impl Root {
    /// What is wrong with it at a moment.
    pub fn flaw(&self, now: SystemTime) -> Option<RootFlaw> {
        RootFlaw::of(self.is_authority, self.facts.not_after, now)
    }

    /// Reads the root of the authority in a directory, without its key; `None` if there is none.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is no certificate.
    pub fn read(directory: &Path) -> Result<Option<Self>, TlsError> {
        let file = directory.join("ca.pem");
        let Some(pem) = read(&file)? else { return Ok(None) };
        let wanted = "certificate";
        let der = CertificateDer::from_pem_slice(pem.as_bytes())
            .map_err(|source| TlsError::Pem { wanted, path: file.clone(), source })?;
        let facts = Facts::read(&der).ok_or_else(|| TlsError::Pem {
            wanted,
            path: file.clone(),
            source: pem::Error::NoItemsFound,
        })?;
        let (fingerprint, is_authority) = (sha256(&der), is_ca(&der));
        Ok(Some(Self { file, pem, der: der.to_vec(), fingerprint, facts, is_authority }))
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

fn subject(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name.push(DnType::OrganizationName, ORGANIZATION);
    name
}

fn organization() -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::OrganizationName, ORGANIZATION);
    name
}

fn valid(params: &mut CertificateParams, until: SystemTime) {
    // One that ends before it begins would be no certificate at all.
    params.not_before = (SystemTime::now() - CLOCK_SKEW).min(until - CLOCK_SKEW).into();
    params.not_after = until.into();
}

fn read(path: &Path) -> Result<Option<String>, TlsError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TlsError::Read { path: path.to_owned(), source }),
    }
}

/// Writes a file as a whole or not at all, with its rights from the first byte on.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> Result<(), TlsError> {
    put(&stage(path, text, mode)?, path)
}

/// Writes what is to be a file beside it; answers where.
fn stage(path: &Path, text: &str, mode: u32) -> Result<PathBuf, TlsError> {
    let mut fresh = path.as_os_str().to_owned();
    fresh.push(".new");
    let fresh = PathBuf::from(fresh);
    let attempt = || {
        if let Err(error) = fs::remove_file(&fresh)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error);
        }
        let mut file =
            fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    attempt().map_err(|source| TlsError::Write { path: path.to_owned(), source })?;
    Ok(fresh)
}

/// Makes a file of what was written beside it.
fn put(fresh: &Path, path: &Path) -> Result<(), TlsError> {
    fs::rename(fresh, path).map_err(|source| TlsError::Write { path: path.to_owned(), source })
}

/// How this machine may be named by who knows no name of it.
fn own_names() -> Vec<String> {
    let known = Authority::DEFAULT_NAMES.map(str::to_owned);
    let addresses = interfaces().into_iter().map(|interface| interface.addr().to_string());
    let mut names: Vec<_> = addresses.filter(|address| !known.contains(address)).collect();
    names.sort();
    names.dedup();
    known.into_iter().chain(names).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_with_another_address_gets_another_certificate() {
        let mut leaves = Leaves::default();
        let authority = Authority::ephemeral().unwrap();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let names = |all: &[&str]| all.iter().map(|it| (*it).to_owned()).collect::<Vec<_>>();
        assert_eq!(leaves.look(at(10), || names(&["a"])), ["a"]);
        let certificate = Arc::new(authority.mint(names(&["a"])).unwrap());
        let leaf = Leaf { certificate, renew: at(1000) };
        leaves.by_name.insert(String::new(), leaf);
        assert_eq!(leaves.look(at(14), || names(&["b"])), ["a"], "not at every handshake");
        assert_eq!(leaves.look(at(15), || names(&["a"])), ["a"]);
        assert!(leaves.by_name.contains_key(""));
        assert_eq!(leaves.look(at(20), || names(&["b"])), ["b"]);
        assert!(leaves.by_name.is_empty());
    }

    #[test]
    fn no_leaf_is_good_for_longer_than_its_root() {
        let mut authority = Authority::ephemeral().unwrap();
        authority.until = SystemTime::now() + DAY;
        let leaf = authority.mint(vec!["a.test".to_owned()]).unwrap();
        assert!(leaf.facts.not_after <= authority.until);
    }
}
