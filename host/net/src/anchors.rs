//! Authorities that an operator names in files, and whom they vouch for.
//!
//! webpki takes what is named for an authority, whatever it is and for how long, and a certificate for
//! an authority or for somebody's own, never for both. Go, and with it Traefik, trusts what is named
//! itself too: the usual certificate that somebody signed for himself (`openssl req -x509`) is an
//! authority by its own words. And it holds an authority to its words and to its time.
//!
//! **Invariant:** only an authority vouches for others, and only in its time. One that is trusted itself
//! is held to all that holds for others: its time, its purpose, its names where it is a server's, and
//! that who shows it has its key.

use std::sync::Arc;

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::{
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_cert_signed_by_trust_anchor, verify_server_name,
    },
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime},
    server::{
        ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::{
    certificate::X509Certificate, extensions::ExtendedKeyUsage, prelude::FromDer as _,
    x509::X509Version,
};

/// Certificates that are trusted, and vouch for others where they are authorities.
#[derive(Debug)]
pub(crate) struct Anchors {
    authorities: Authorities,
    certificates: Vec<CertificateDer<'static>>,
    subjects: Vec<DistinguishedName>,
}

impl Anchors {
    /// None yet.
    pub(crate) fn none() -> Self {
        Self {
            authorities: Authorities { all: RootCertStore::empty().into(), times: Vec::new() },
            certificates: Vec::new(),
            subjects: Vec::new(),
        }
    }

    /// One more.
    ///
    /// # Errors
    ///
    /// When it is no certificate.
    pub(crate) fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), Error> {
        let mut read = RootCertStore::empty();
        read.add(certificate.clone())?;
        self.subjects.extend(read.subjects());
        let parsed = parse(&certificate)?;
        if is_authority(&parsed) {
            let time = Time::of(&parsed);
            for anchor in read.roots {
                self.authorities.add(anchor, time);
            }
        }
        self.certificates.push(certificate);
        Ok(())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.certificates.is_empty()
    }

    /// How certificates of servers are checked.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub(crate) fn of_servers(
        self,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
        Ok(Arc::new(Trusting::new(self, provider, true)?))
    }

    /// How certificates of clients are checked, which may have none where that is `optional`.
    ///
    /// # Errors
    ///
    /// When there are none.
    pub(crate) fn of_clients(
        self,
        provider: &Arc<CryptoProvider>,
        optional: bool,
    ) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
        Ok(Arc::new(Trusting::new(self, provider, !optional)?))
    }
}

/// When a certificate is good, in seconds since 1970; both ends belong to it (RFC 5280, 4.1.2.5).
#[derive(Debug, Clone, Copy)]
struct Time {
    begins: i64,
    ends: i64,
}

impl Time {
    fn of(certificate: &X509Certificate<'_>) -> Self {
        let validity = certificate.validity();
        Self { begins: validity.not_before.timestamp(), ends: validity.not_after.timestamp() }
    }

    fn check(self, now: UnixTime) -> Result<(), CertificateError> {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        if now < self.begins {
            return Err(CertificateError::NotValidYet);
        }
        if now > self.ends {
            return Err(CertificateError::Expired);
        }
        Ok(())
    }
}

/// Who vouches for others, each in its time.
#[derive(Debug)]
struct Authorities {
    all: Arc<RootCertStore>,
    /// As many, in the same order.
    times: Vec<Time>,
}

impl Authorities {
    fn add(&mut self, anchor: TrustAnchor<'static>, time: Time) {
        Arc::make_mut(&mut self.all).roots.push(anchor);
        self.times.push(time);
    }

    /// Those whose time it is. They begin and end while we run, so each handshake asks anew.
    fn at(&self, now: UnixTime) -> Arc<RootCertStore> {
        if self.times.iter().all(|time| time.check(now).is_ok()) {
            return self.all.clone();
        }
        let all = self.all.roots.iter().zip(&self.times);
        let good = all.filter(|(_, time)| time.check(now).is_ok());
        Arc::new(good.map(|(anchor, _)| anchor.clone()).collect())
    }

    /// Checks a chain, with a function that knows how for the authorities that it gets.
    fn check<T>(
        &self,
        now: UnixTime,
        chain: impl Fn(Arc<RootCertStore>) -> Result<T, Error>,
    ) -> Result<(), Error> {
        let good = self.at(now);
        let are_all = Arc::ptr_eq(&good, &self.all);
        match chain(good) {
            Ok(_) => Ok(()),
            // That its authority has ended says more than that nobody knows it.
            Err(_) if !are_all && chain(self.all.clone()).is_ok() => {
                Err(CertificateError::Expired.into())
            }
            Err(reason) => Err(reason),
        }
    }
}

/// Checks certificates: whether there is a chain from an authority, or they are trusted themselves.
#[derive(Debug)]
struct Trusting {
    anchors: Anchors,
    provider: Arc<CryptoProvider>,
    is_mandatory: bool,
}

impl Trusting {
    fn new(
        anchors: Anchors,
        provider: &Arc<CryptoProvider>,
        is_mandatory: bool,
    ) -> Result<Self, VerifierBuilderError> {
        if anchors.is_empty() {
            return Err(VerifierBuilderError::NoRootAnchors);
        }
        Ok(Self { anchors, provider: provider.clone(), is_mandatory })
    }

    /// Whether a certificate is trusted itself, where there is no chain to it for this reason.
    fn itself(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
        serves: fn(&ExtendedKeyUsage<'_>) -> bool,
        reason: Error,
    ) -> Result<(), Error> {
        if !self.anchors.certificates.iter().any(|known| known == certificate) {
            return Err(reason);
        }
        let read = parse(certificate)?;
        Time::of(&read).check(now)?;
        // Without the extension it is for everything (RFC 5280, 4.2.1.12).
        let usage = read.extended_key_usage().map_err(|_error| CertificateError::BadEncoding)?;
        match usage.is_none_or(|usage| usage.value.any || serves(usage.value)) {
            true => Ok(()),
            false => Err(CertificateError::InvalidPurpose.into()),
        }
    }
}

fn parse<'a>(certificate: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, Error> {
    let read = X509Certificate::from_der(certificate);
    Ok(read.map_err(|_error| CertificateError::BadEncoding)?.1)
}

/// Whether it may sign certificates of others (RFC 5280, 4.2.1.3 and 4.2.1.9). Those of version 1 cannot
/// tell, and are authorities by being named; so Go has it.
fn is_authority(certificate: &X509Certificate<'_>) -> bool {
    if certificate.version() == X509Version::V1 {
        return true;
    }
    let signs = match certificate.key_usage() {
        Ok(usage) => usage.is_none_or(|usage| usage.value.key_cert_sign()),
        Err(_twice) => false,
    };
    signs && certificate.is_ca()
}

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let certificate = ParsedCertificate::try_from(end_entity)?;
        let algorithms = self.provider.signature_verification_algorithms.all;
        let chained = self.anchors.authorities.check(now, |roots| {
            verify_server_cert_signed_by_trust_anchor(
                &certificate,
                &roots,
                intermediates,
                now,
                algorithms,
            )
        });
        chained
            .or_else(|reason| self.itself(end_entity, now, |usage| usage.server_auth, reason))?;
        verify_server_name(&certificate, server_name)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, cert, dss, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, cert, dss, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for Trusting {
    fn client_auth_mandatory(&self) -> bool {
        self.is_mandatory
    }

    /// All that are trusted, authorities or not: clients choose by it which certificate they show.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &self.anchors.subjects
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chained = self.anchors.authorities.check(now, |roots| {
            let provider = self.provider.clone();
            // It is not made where there are no authorities: then nobody vouches.
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider).build();
            let verifier = verifier.map_err(|_error| CertificateError::UnknownIssuer)?;
            verifier.verify_client_cert(end_entity, intermediates, now)
        });
        chained
            .or_else(|reason| self.itself(end_entity, now, |usage| usage.client_auth, reason))?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{
        BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
        KeyPair, KeyUsagePurpose, date_time_ymd,
    };
    use rustls::crypto::aws_lc_rs;

    use super::*;

    fn params(usages: &[ExtendedKeyUsagePurpose]) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.extended_key_usages = usages.to_vec();
        params
    }

    #[test]
    fn a_client_that_shows_what_is_trusted_itself_gets_in() {
        let clients = [ExtendedKeyUsagePurpose::ClientAuth];
        let servers = [ExtendedKeyUsagePurpose::ServerAuth];
        for (usages, gets_in) in [(&[][..], true), (&clients, true), (&servers, false)] {
            let key = KeyPair::generate().unwrap();
            let own = params(usages).self_signed(&key).unwrap();
            // What it signs is good as well, but not if it is an authority that nobody named.
            let issuer = Issuer::new(params(usages), key);
            let below = params(&[]).signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
            let mut anchors = Anchors::none();
            anchors.add(own.der().clone()).unwrap();
            let provider = Arc::new(aws_lc_rs::default_provider());
            let verifier = anchors.of_clients(&provider, false).unwrap();
            let verify = |it: &CertificateDer<'_>| {
                verifier.verify_client_cert(it, &[], UnixTime::now()).is_ok()
            };
            assert_eq!(verify(own.der()), gets_in, "{usages:?}");
            assert!(!verify(below.der()), "{usages:?}");
        }
    }

    /// Whether a server, and a client, that shows a certificate is let in on the first day of a year.
    fn let_in(
        named: &[&CertificateDer<'static>],
        shown: &CertificateDer<'_>,
        year: u64,
    ) -> [bool; 2] {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let anchors = || {
            let mut anchors = Anchors::none();
            for named in named {
                anchors.add((*named).clone()).unwrap();
            }
            anchors
        };
        let now = UnixTime::since_unix_epoch(Duration::from_secs((year - 1970) * 31_557_600));
        let servers = anchors().of_servers(&provider).unwrap();
        let clients = anchors().of_clients(&provider, false).unwrap();
        assert_eq!(clients.root_hint_subjects().len(), named.len());
        let name = ServerName::try_from("a.test").unwrap();
        let server = servers.verify_server_cert(shown, &[], &name, &[], now);
        [server.is_ok(), clients.verify_client_cert(shown, &[], now).is_ok()]
    }

    fn between(years: [i32; 2], is_ca: IsCa) -> CertificateParams {
        let mut params = params(&[]);
        params.is_ca = is_ca;
        [params.not_before, params.not_after] = years.map(|year| date_time_ymd(year, 1, 1));
        params
    }

    const AUTHORITY: IsCa = IsCa::Ca(BasicConstraints::Unconstrained);

    #[test]
    fn only_an_authority_vouches_for_others() {
        let whole = [2000, 2090];
        let mut signs_no_certificates = between(whole, AUTHORITY);
        signs_no_certificates.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        for (named, vouches) in [
            (between(whole, AUTHORITY), true),
            (between(whole, IsCa::ExplicitNoCa), false),
            (between(whole, IsCa::NoCa), false),
            (signs_no_certificates, false),
        ] {
            let key = KeyPair::generate().unwrap();
            let own = named.self_signed(&key).unwrap();
            let issuer = Issuer::new(named.clone(), key);
            let below = between(whole, IsCa::ExplicitNoCa);
            let below = below.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
            assert_eq!(let_in(&[own.der()], below.der(), 2030), [vouches; 2], "{named:?}");
            // It is trusted itself all the same, in its time and for its names.
            assert_eq!(let_in(&[own.der()], own.der(), 2030), [true; 2], "{named:?}");
            assert_eq!(let_in(&[own.der()], own.der(), 2095), [false; 2], "{named:?}");
        }
    }

    #[test]
    fn a_server_that_is_trusted_itself_is_held_to_its_names_and_purpose() {
        let mut other = between([2000, 2090], IsCa::ExplicitNoCa);
        other.subject_alt_names.clear();
        other.distinguished_name.push(DnType::CommonName, "a.test");
        let mut clients = between([2000, 2090], IsCa::ExplicitNoCa);
        clients.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        for params in [other, clients] {
            let own = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
            assert_eq!(let_in(&[own.der()], own.der(), 2030), [false, true], "{params:?}");
        }
    }

    #[test]
    fn an_authority_vouches_in_its_time_only() {
        let key = KeyPair::generate().unwrap();
        let named = between([2020, 2040], AUTHORITY);
        let own = named.self_signed(&key).unwrap();
        // The same key and name with other dates, as who has the key of one that has ended makes it.
        let again = between([2000, 2090], IsCa::ExplicitNoCa).self_signed(&key).unwrap();
        let issuer = Issuer::new(named, key);
        let below = between([2000, 2090], IsCa::ExplicitNoCa);
        let below = below.signed_by(&KeyPair::generate().unwrap(), &issuer).unwrap();
        let other = between([2000, 2090], AUTHORITY);
        let other = other.self_signed(&KeyPair::generate().unwrap()).unwrap();
        for named in [&[own.der()][..], &[own.der(), other.der()]] {
            for shown in [below.der(), again.der()] {
                for (year, vouches) in [(2010, false), (2030, true), (2050, false)] {
                    assert_eq!(let_in(named, shown, year), [vouches; 2], "{year}");
                }
            }
            assert_eq!(let_in(named, own.der(), 2050), [false; 2]);
        }
        // Another authority with the same key may have taken over.
        let renewed = between([2035, 2060], AUTHORITY).self_signed(issuer.key()).unwrap();
        assert_eq!(let_in(&[own.der(), renewed.der()], below.der(), 2050), [true; 2]);
    }
}
