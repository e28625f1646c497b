//! Authorities that an operator names in files, and whom they vouch for.
//!
//! webpki takes a certificate for an authority or for somebody's own, never for both. Go, and with it
//! Traefik, trusts what is named itself too: the usual certificate that somebody signed for himself
//! (`openssl req -x509`) is an authority by its own words.
//!
//! **Invariant:** one that is trusted itself is held to all that holds for others: its time, its
//! purpose, its names where it is a server's, and that who shows it has its key.

use std::{fmt, sync::Arc};

use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore,
    SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
        verify_server_name,
    },
    crypto::CryptoProvider,
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};
use x509_parser::{
    certificate::X509Certificate, extensions::ExtendedKeyUsage, prelude::FromDer as _,
    time::ASN1Time,
};

/// Certificates that are trusted, and vouch for others.
#[derive(Debug)]
pub(crate) struct Anchors {
    roots: RootCertStore,
    certificates: Vec<CertificateDer<'static>>,
}

impl Anchors {
    /// None yet.
    pub(crate) fn none() -> Self {
        Self { roots: RootCertStore::empty(), certificates: Vec::new() }
    }

    /// One more.
    ///
    /// # Errors
    ///
    /// When it is no certificate.
    pub(crate) fn add(&mut self, certificate: CertificateDer<'static>) -> Result<(), Error> {
        self.roots.add(certificate.clone())?;
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
        let builder =
            WebPkiServerVerifier::builder_with_provider(self.roots.into(), provider.clone());
        Ok(Arc::new(Trusting { chained: builder.build()?, certificates: self.certificates }))
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
        let builder =
            WebPkiClientVerifier::builder_with_provider(self.roots.into(), provider.clone());
        let builder = if optional { builder.allow_unauthenticated() } else { builder };
        Ok(Arc::new(Trusting { chained: builder.build()?, certificates: self.certificates }))
    }
}

/// Checks certificates: whether there is a chain from an authority, or they are trusted themselves.
struct Trusting<V: ?Sized> {
    certificates: Vec<CertificateDer<'static>>,
    chained: Arc<V>,
}

impl<V: ?Sized> Trusting<V> {
    /// Whether a certificate is trusted itself, where there is no chain to it for this reason.
    fn itself(
        &self,
        certificate: &CertificateDer<'_>,
        now: UnixTime,
        serves: fn(&ExtendedKeyUsage<'_>) -> bool,
        reason: Error,
    ) -> Result<(), Error> {
        if !self.certificates.iter().any(|known| known == certificate) {
            return Err(reason);
        }
        let bad = || Error::from(CertificateError::BadEncoding);
        let (_, read) = X509Certificate::from_der(certificate).map_err(|_error| bad())?;
        let now =
            i64::try_from(now.as_secs()).ok().and_then(|it| ASN1Time::from_timestamp(it).ok());
        let now = now.ok_or_else(bad)?;
        if now < read.validity().not_before {
            return Err(CertificateError::NotValidYet.into());
        }
        if now > read.validity().not_after {
            return Err(CertificateError::Expired.into());
        }
        // Without the extension it is for everything (RFC 5280, 4.2.1.12).
        let usage = read.extended_key_usage().map_err(|_error| bad())?;
        match usage.is_none_or(|usage| usage.value.any || serves(usage.value)) {
            true => Ok(()),
            false => Err(CertificateError::InvalidPurpose.into()),
        }
    }
}

impl<V: fmt::Debug + ?Sized> fmt::Debug for Trusting<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trusting").field(&self.chained).finish()
    }
}

impl ServerCertVerifier for Trusting<WebPkiServerVerifier> {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chained = self.chained.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        );
        chained.or_else(|reason| {
            self.itself(end_entity, now, |usage| usage.server_auth, reason)?;
            verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
            Ok(ServerCertVerified::assertion())
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chained.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chained.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chained.supported_verify_schemes()
    }
}

impl ClientCertVerifier for Trusting<dyn ClientCertVerifier> {
    fn client_auth_mandatory(&self) -> bool {
        self.chained.client_auth_mandatory()
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chained.root_hint_subjects()
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chained = self.chained.verify_client_cert(end_entity, intermediates, now);
        chained.or_else(|reason| {
            self.itself(end_entity, now, |usage| usage.client_auth, reason)?;
            Ok(ClientCertVerified::assertion())
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chained.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chained.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chained.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
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
}
