//! `[tls.options]`: how handshakes are done, under names that routers and entrypoints refer to.
//!
//! **Invariant:** tickets of one set of options are worth nothing under another, nor under the same
//! one after it changed: a session that began without a client's certificate is not resumed where
//! one is wanted.

use std::{path::PathBuf, sync::Arc};

use portolan_core::policy::{Curve, Suite, TlsVersion};
use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    server::{
        NoServerSessionStorage, ProducesTickets, ResolvesServerCert, danger::ClientCertVerifier,
    },
};
use rustls_pki_types::{CertificateDer, UnixTime, pem::PemObject as _};

use super::{TlsError, file};
use crate::{anchors::Anchors, cipher};

/// How handshakes are done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsOptions {
    /// The lowest version of TLS.
    pub min_version: TlsVersion,
    /// The highest version of TLS, not below the lowest.
    pub max_version: TlsVersion,
    /// The cipher suites of each version that one of them belongs to, the best first; a version
    /// of which none is here keeps all of its own.
    pub cipher_suites: Vec<Suite>,
    /// The groups for the exchange of keys, the best first; none: all that are good.
    pub curve_preferences: Vec<Curve>,
    /// What is spoken behind the handshake, the best first. Not empty.
    pub alpn_protocols: Vec<String>,
    /// Whether clients show certificates too; `None`: they are not asked.
    pub client_auth: Option<ClientAuth>,
    /// Whether a client that asks for no name, or one that is not served, is refused.
    pub sni_strict: bool,
    /// Whether clients are given tickets, with which they come back without a whole handshake. Those that
    /// show certificates never are.
    pub session_tickets: bool,
}

/// How clients show who they are.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientAuth {
    /// PEM files of the authorities whose certificates are accepted. Not empty.
    pub ca_files: Vec<PathBuf>,
    /// Whether a client without a certificate is accepted as well.
    pub optional: bool,
}

/// Whether the client of a handshake shows a certificate too.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum ClientCertificate {
    /// It is not asked.
    #[default]
    Unasked,
    /// It is asked, and let in without one as well.
    Optional,
    /// Without one the handshake is refused.
    Required,
}

impl Default for TlsOptions {
    fn default() -> Self {
        Self {
            min_version: TlsVersion::V12,
            max_version: TlsVersion::V13,
            cipher_suites: Vec::new(),
            curve_preferences: Vec::new(),
            alpn_protocols: vec!["h2".to_owned(), "http/1.1".to_owned()],
            client_auth: None,
            sni_strict: false,
            session_tickets: true,
        }
    }
}

/// Options, ready to be used.
#[derive(Debug)]
pub(super) struct Options {
    spec: TlsOptions,
    /// What the files of authorities held.
    trusted: Vec<Vec<u8>>,
    provider: Arc<CryptoProvider>,
    verifier: Option<Arc<dyn ClientCertVerifier>>,
    ticketer: Arc<dyn ProducesTickets>,
}

impl Options {
    /// Makes options ready. Where nothing changed, those before go on, tickets and all.
    pub(super) fn build(
        spec: &TlsOptions,
        before: Option<&Arc<Self>>,
    ) -> Result<Arc<Self>, TlsError> {
        let files = spec.client_auth.iter().flat_map(|auth| &auth.ca_files);
        let trusted = files.map(|path| file::read(path)).collect::<Result<Vec<_>, _>>()?;
        if let Some(before) = before
            && before.spec == *spec
            && before.trusted == trusted
        {
            return Ok(before.clone());
        }
        let provider = Arc::new(cipher::provider(&spec.cipher_suites, &spec.curve_preferences));
        let verifier = spec.client_auth.as_ref();
        let verifier =
            verifier.map(|auth| self::verifier(auth, &trusted, &provider)).transpose()?;
        Ok(Arc::new(Self {
            spec: spec.clone(),
            trusted,
            provider,
            verifier,
            ticketer: aws_lc_rs::Ticketer::new().map_err(TlsError::Provider)?,
        }))
    }

    /// The configuration of the TLS library for one entrypoint.
    pub(super) fn server(
        &self,
        resolver: Arc<dyn ResolvesServerCert>,
    ) -> Result<ServerConfig, TlsError> {
        let versions = cipher::versions(self.spec.min_version..=self.spec.max_version);
        let builder = ServerConfig::builder_with_provider(self.provider.clone())
            .with_protocol_versions(&versions)
            .map_err(TlsError::Provider)?;
        let builder = match &self.verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier.clone()),
            None => builder.with_no_client_auth(),
        };
        let mut server = builder.with_cert_resolver(resolver);
        let alpn = self.spec.alpn_protocols.iter();
        server.alpn_protocols = alpn.map(|protocol| protocol.as_bytes().to_vec()).collect();
        // A session that is resumed is not asked who it is again: a certificate that has ended would be
        // good for as long as its client comes back.
        match self.spec.session_tickets && !self.asks_clients() {
            true => server.ticketer = self.ticketer.clone(),
            // Nor are sessions kept here.
            false => {
                server.session_storage = Arc::new(NoServerSessionStorage {});
                server.send_tls13_tickets = 0;
            }
        }
        Ok(server)
    }

    /// Whether a handshake asks clients for certificates.
    pub(super) fn asks_clients(&self) -> bool {
        self.spec.client_auth.is_some()
    }

    /// Whether a client that showed these certificates, its own first, would get through a handshake.
    pub(super) fn accepts(&self, chain: &[CertificateDer<'_>]) -> bool {
        match (&self.verifier, chain) {
            (None, _) => true,
            (Some(verifier), []) => !verifier.client_auth_mandatory(),
            (Some(verifier), [own, others @ ..]) => {
                verifier.verify_client_cert(own, others, UnixTime::now()).is_ok()
            }
        }
    }

    /// Whether clients show certificates.
    pub(super) fn client_certificate(&self) -> ClientCertificate {
        match &self.spec.client_auth {
            None => ClientCertificate::Unasked,
            Some(auth) if auth.optional => ClientCertificate::Optional,
            Some(_) => ClientCertificate::Required,
        }
    }

    /// Whether a client that asks for no name, or one that is not served, is refused.
    pub(super) fn is_strict(&self) -> bool {
        self.spec.sni_strict
    }
}

fn verifier(
    auth: &ClientAuth,
    trusted: &[Vec<u8>],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut anchors = Anchors::none();
    for (path, text) in auth.ca_files.iter().zip(trusted) {
        let wanted = "certificate";
        for cert in CertificateDer::pem_slice_iter(text) {
            let cert =
                cert.map_err(|source| TlsError::Pem { wanted, path: path.clone(), source })?;
            let pair = |source| TlsError::Authorities { path: path.clone(), source };
            anchors.add(cert).map_err(pair)?;
        }
    }
    let path = auth.ca_files.first().cloned().unwrap_or_default();
    anchors.of_clients(provider, auth.optional).map_err(|source| TlsError::Roots { path, source })
}
