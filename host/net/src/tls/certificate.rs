//! A certificate with its key, and what stands in it.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{SignatureScheme, crypto::aws_lc_rs, sign::CertifiedKey};
use rustls_pki_types::{
    CertificateDer, PrivateKeyDer,
    pem::{self, PemObject as _},
};
use x509_parser::{
    certificate::X509Certificate,
    extensions::GeneralName,
    objects::{oid_registry, oid2abbrev},
    prelude::FromDer as _,
    public_key::PublicKey,
    time::ASN1Time,
    x509::{AlgorithmIdentifier, AttributeTypeAndValue},
};

use super::error::PemPart;

/// The longest time before its end at which a certificate begins to be a worry. One that lives
/// shorter is a worry for the last third of its life.
const WORRY: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A certificate with its key.
#[derive(Debug)]
pub struct Certificate {
    /// Where it comes from.
    pub source: CertificateSource,
    /// What stands in it.
    pub facts: Facts,
    /// Its names in lower case, a wildcard as it is written: `*.example.com`; and its addresses, of
    /// which a client says nothing (RFC 6066, 3), but comes to one.
    pub(super) names: Vec<String>,
    /// What a handshake shows.
    pub(super) key: Arc<CertifiedKey>,
}

/// Where a certificate comes from.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum CertificateSource {
    /// A file that somebody else keeps fresh.
    File(PathBuf),
    /// A certificate authority that was asked for it.
    Acme(Arc<str>),
    /// The local certificate authority.
    Local,
}

/// How a certificate is at a moment.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Validity {
    /// It is good, and will be for a while.
    Valid,
    /// It is good, but ends soon.
    EndsSoon,
    /// Its time has not come.
    NotYet,
    /// Its time is over.
    Expired,
}

/// What stands in a certificate.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// Of its subject; empty if there is none.
    pub common_name: String,
    /// Of its subject.
    pub organization: Option<String>,
    /// Of its subject.
    pub country: Option<String>,
    /// Names and addresses it is for, in alphabetical order.
    pub sans: Vec<String>,
    /// In decimal.
    pub serial: String,
    /// From when it is good.
    pub not_before: SystemTime,
    /// Until when it is good.
    pub not_after: SystemTime,
    /// The common name of who signed it.
    pub issuer: String,
    /// The organisation of who signed it.
    pub issuer_organization: Option<String>,
    /// The country of who signed it.
    pub issuer_country: Option<String>,
    /// 3 for every certificate of this century.
    pub version: u32,
    /// `RSA`, `ECDSA` or `Unknown`, as Traefik has it.
    pub key_type: &'static str,
    /// In bits; 0 where the kind is unknown.
    pub key_size: usize,
    /// As Go spells it: `ECDSA-SHA256`.
    pub signature: String,
    /// SHA-256 of the certificate, in hexadecimal.
    pub fingerprint: String,
    /// SHA-256 of the public key as it stands in the certificate, in hexadecimal.
    pub key_fingerprint: String,
}

impl Certificate {
    /// A chain and its key in PEM, as a file or an authority gives them, for at least one name.
    pub(super) fn from_pem(
        chain: &[u8],
        key: &[u8],
        source: CertificateSource,
    ) -> Result<Self, PemPart> {
        let read = Self::of_anybody(chain, key, source)?;
        if read.names.is_empty() { Err(PemPart::Nameless) } else { Ok(read) }
    }

    /// The same, and it may be for no name at all: only as the default it is of use then.
    pub(super) fn of_anybody(
        chain: &[u8],
        key: &[u8],
        source: CertificateSource,
    ) -> Result<Self, PemPart> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|it| if it.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(it) })
            .map_err(PemPart::Chain)?;
        let key = PrivateKeyDer::from_pem_slice(key).map_err(PemPart::Key)?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(PemPart::Pair)?;
        Self::of(key, source).ok_or(PemPart::Chain(pem::Error::NoItemsFound))
    }

    /// What a handshake shows, with what stands in it; `None` if it is no certificate.
    pub(super) fn of(key: CertifiedKey, source: CertificateSource) -> Option<Self> {
        let facts = Facts::read(key.cert.first()?)?;
        let names = facts.sans.clone();
        Some(Self { source, facts, names, key: Arc::new(key) })
    }

    /// What people know it by: its names, else what its subject is called.
    pub(super) fn known_by(&self) -> String {
        match self.names.as_slice() {
            [] => self.facts.common_name.clone(),
            names => names.join("`, `"),
        }
    }

    /// How it is at a moment.
    pub fn validity(&self, now: SystemTime) -> Validity {
        let Facts { not_before, not_after, .. } = self.facts;
        if now > not_after {
            Validity::Expired
        } else if now < not_before {
            Validity::NotYet
        } else if now + WORRY.min(self.life() / 3) > not_after {
            Validity::EndsSoon
        } else {
            Validity::Valid
        }
    }

    /// Whether clients accept it at a moment, as far as time is concerned.
    pub(super) fn is_good(&self, now: SystemTime) -> bool {
        matches!(self.validity(now), Validity::Valid | Validity::EndsSoon)
    }

    /// Whether a client that can check these signatures can check one with its key; none: all.
    pub(super) fn suits(&self, schemes: &[SignatureScheme]) -> bool {
        schemes.is_empty() || self.key.key.choose_scheme(schemes).is_some()
    }

    /// From when to when it is good.
    pub(super) fn life(&self) -> Duration {
        let Facts { not_before, not_after, .. } = self.facts;
        not_after.duration_since(not_before).unwrap_or_default()
    }
}

impl CertificateSource {
    /// A word for it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::File(_) => "file",
            Self::Acme(_) => "acme",
            Self::Local => "local",
        }
    }
}

impl std::fmt::Display for CertificateSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => write!(f, "file `{}`", path.display()),
            Self::Acme(resolver) => write!(f, "resolver `{resolver}`"),
            Self::Local => f.write_str("local authority"),
        }
    }
}

impl Facts {
    /// Reads a certificate; `None` if it is none.
    pub(super) fn read(der: &[u8]) -> Option<Self> {
        let (_, cert) = X509Certificate::from_der(der).ok()?;
        let (subject, issuer) = (cert.subject(), cert.issuer());
        let (key_type, key_size) = kind(&cert);
        Some(Self {
            common_name: first(subject.iter_common_name()).unwrap_or_default(),
            organization: first(subject.iter_organization()),
            country: first(subject.iter_country()),
            sans: sans(&cert),
            serial: cert.tbs_certificate.serial.to_string(),
            not_before: time(cert.validity().not_before),
            not_after: time(cert.validity().not_after),
            issuer: first(issuer.iter_common_name()).unwrap_or_default(),
            issuer_organization: first(issuer.iter_organization()),
            issuer_country: first(issuer.iter_country()),
            version: cert.version().0 + 1,
            key_type,
            key_size,
            signature: signature(&cert.signature_algorithm),
            fingerprint: sha256(der),
            key_fingerprint: sha256(cert.public_key().raw),
        })
    }
}

/// SHA-256, in hexadecimal.
pub(super) fn sha256(bytes: &[u8]) -> String {
    let digest = ::aws_lc_rs::digest::digest(&::aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a public key, as it stands in a certificate, is the one of this certificate.
pub(super) fn is_key_of(der: &[u8], key: &[u8]) -> bool {
    let cert = X509Certificate::from_der(der);
    cert.is_ok_and(|(_, cert)| *cert.public_key().subject_public_key.data == *key)
}

/// Whether a certificate says that it may sign others (RFC 5280, 4.2.1.9 and 4.2.1.3).
pub(super) fn is_ca(der: &[u8]) -> bool {
    let Ok((_, cert)) = X509Certificate::from_der(der) else { return false };
    let usage = cert.key_usage().ok().flatten();
    cert.is_ca() && usage.is_none_or(|usage| usage.value.key_cert_sign())
}

/// Whom a certificate is about, as Go writes it (RFC 2253: the last part first).
pub(crate) fn subject(der: &[u8]) -> Option<String> {
    let (_, cert) = X509Certificate::from_der(der).ok()?;
    let parts = cert.subject().iter_rdn().flat_map(|rdn| rdn.iter()).map(|part| {
        let kind = oid2abbrev(part.attr_type(), oid_registry());
        let kind = kind.map_or_else(|_unknown| part.attr_type().to_id_string(), str::to_owned);
        format!("{kind}={}", part.as_str().unwrap_or_default().replace(',', "\\,"))
    });
    let mut parts: Vec<_> = parts.collect();
    parts.reverse();
    Some(parts.join(","))
}

fn first<'a>(mut parts: impl Iterator<Item = &'a AttributeTypeAndValue<'a>>) -> Option<String> {
    parts.next()?.as_str().ok().map(str::to_owned)
}

fn sans(cert: &X509Certificate<'_>) -> Vec<String> {
    let extension = cert.subject_alternative_name().ok().flatten();
    let names = extension.iter().flat_map(|extension| &extension.value.general_names);
    let mut sans: Vec<_> = names
        .filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            GeneralName::IPAddress(bytes) => address(bytes),
            _ => None,
        })
        .collect();
    sans.sort();
    sans.dedup();
    sans
}

fn address(bytes: &[u8]) -> Option<String> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    let address = v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from));
    address.ok().map(|address| address.to_string())
}

fn kind(cert: &X509Certificate<'_>) -> (&'static str, usize) {
    match cert.public_key().parsed() {
        Ok(PublicKey::RSA(key)) => ("RSA", key.key_size()),
        Ok(PublicKey::EC(point)) => ("ECDSA", point.key_size()),
        Ok(_) | Err(_) => ("Unknown", 0),
    }
}

/// RFC 5758, RFC 4055, RFC 8410.
fn signature(algorithm: &AlgorithmIdentifier<'_>) -> String {
    let oid = algorithm.algorithm.to_id_string();
    let name = match oid.as_str() {
        "1.2.840.113549.1.1.11" => "SHA256-RSA",
        "1.2.840.113549.1.1.12" => "SHA384-RSA",
        "1.2.840.113549.1.1.13" => "SHA512-RSA",
        "1.2.840.113549.1.1.10" => "RSASSA-PSS",
        "1.2.840.10045.4.3.2" => "ECDSA-SHA256",
        "1.2.840.10045.4.3.3" => "ECDSA-SHA384",
        "1.2.840.10045.4.3.4" => "ECDSA-SHA512",
        "1.3.101.112" => "Ed25519",
        other => other,
    };
    name.to_owned()
}

fn time(time: ASN1Time) -> SystemTime {
    time.to_datetime().into()
}
