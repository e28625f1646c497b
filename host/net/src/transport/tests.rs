//! Whom we trust, and what we show, over real handshakes.

use std::{fs, sync::Arc};

use portolan_core::{
    name::ObjectName,
    policy::{ClientCertificate, Suite},
    service::{LoadBalancer, Service},
    snapshot::{Entry, ServiceEntry, Snapshot, Status},
};
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::{
    CipherSuite, ProtocolVersion, RootCertStore, ServerConfig, crypto::aws_lc_rs,
    pki_types::PrivateKeyDer, pki_types::ServerName, server::WebPkiClientVerifier,
};
use tempfile::TempDir;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// An authority in a folder, and what it signs.
struct Office {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Office {
    fn open() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let root = params.self_signed(&key).unwrap().pem();
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("ca.pem"), root).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    /// Signs a certificate, and puts it into files of that name.
    fn sign(&self, name: &str) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        let write = |ending: &str, text: String| {
            fs::write(self.folder.path().join(format!("{name}.{ending}")), text).unwrap();
        };
        write("pem", signed.pem());
        write("key", key.serialize_pem());
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        (vec![signed.der().clone()], key)
    }

    fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        for root in certificates(&self.folder.path().join("ca.pem")).unwrap() {
            roots.add(root).unwrap();
        }
        Arc::new(roots)
    }

    /// A server with a certificate for a name, that may want one of its clients, too.
    fn server(&self, name: &str, asks: bool) -> Arc<ServerConfig> {
        let (chain, key) = self.sign(name);
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = match asks {
            false => builder.with_no_client_auth(),
            true => builder.with_client_cert_verifier(
                WebPkiClientVerifier::builder_with_provider(self.roots(), provider)
                    .build()
                    .unwrap(),
            ),
        };
        let mut config = builder.with_single_cert(chain, key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Arc::new(config)
    }

    async fn client(&self, transport: Transport) -> io::Result<Arc<ClientConfig>> {
        let way = Some((1, Arc::new(transport)));
        Trust::new(self.folder.path()).config(&way).await
    }
}

/// What a handshake came to.
struct Agreed {
    protocol: Option<Vec<u8>>,
    version: Option<ProtocolVersion>,
    suite: Option<CipherSuite>,
}

/// Shakes hands; answers what is spoken behind it.
async fn handshake(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: &str,
) -> io::Result<Option<Vec<u8>>> {
    Ok(agreed(client, server, name).await?.protocol)
}

/// Shakes hands; answers what was agreed upon. Both sides read something, since with TLS 1.3 a
/// client hears only then that its certificate was refused.
async fn agreed(
    client: Arc<ClientConfig>,
    server: Arc<ServerConfig>,
    name: &str,
) -> io::Result<Agreed> {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let (here, there) = tokio::io::duplex(1 << 16);
    let serving = async {
        let mut stream = TlsAcceptor::from(server).accept(there).await?;
        stream.write_all(b"x").await?;
        stream.shutdown().await
    };
    let name = ServerName::try_from(name.to_owned()).unwrap();
    let asking = async {
        let mut stream = TlsConnector::from(client).connect(name, here).await?;
        let (_, session) = stream.get_ref();
        let agreed = Agreed {
            protocol: session.alpn_protocol().map(<[u8]>::to_vec),
            version: session.protocol_version(),
            suite: session.negotiated_cipher_suite().map(|suite| suite.suite()),
        };
        stream.read_exact(&mut [0]).await?;
        Ok(agreed)
    };
    let (_served, asked) = tokio::join!(serving, asking);
    asked
}

#[tokio::test]
async fn an_own_authority_is_trusted_instead_of_the_systems() {
    let office = Office::open();
    let own = Transport { root_cas: vec!["ca.pem".into()], ..Transport::default() };
    let trusting = office.client(own.clone()).await.unwrap();
    let server = office.server("db.internal", false);
    let agreed = handshake(trusting.clone(), server.clone(), "db.internal").await.unwrap();
    assert_eq!(agreed.as_deref(), Some(&b"h2"[..]));
    assert!(handshake(trusting, server.clone(), "other.internal").await.is_err());
    let elsewhere = Office::open().client(own.clone()).await.unwrap();
    assert!(handshake(elsewhere, server.clone(), "db.internal").await.is_err());
    let old = Transport { disable_http2: true, ..own };
    let agreed = handshake(office.client(old).await.unwrap(), server, "db.internal").await.unwrap();
    assert_eq!(agreed.as_deref(), Some(&b"http/1.1"[..]));
}

#[tokio::test]
async fn anybody_is_trusted_where_that_is_asked_for() {
    let office = Office::open();
    let careless = Transport { insecure_skip_verify: true, ..Transport::default() };
    let client = office.client(careless).await.unwrap();
    let server = office.server("db.internal", false);
    assert!(handshake(client, server, "whatever.example").await.is_ok());
}

/// A server with the certificate that is made of these by itself.
fn self_signed(office: &Office, params: CertificateParams) -> Arc<ServerConfig> {
    let key = KeyPair::generate().unwrap();
    let own = params.self_signed(&key).unwrap();
    fs::write(office.folder.path().join("self.pem"), own.pem()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
    let builder = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    Arc::new(builder.with_single_cert(vec![own.der().clone()], key).unwrap())
}

#[tokio::test]
async fn a_certificate_that_is_named_as_its_own_authority_is_trusted_for_its_names_and_time() {
    let office = Office::open();
    let params = || {
        // As `openssl req -x509` makes them.
        let mut params = CertificateParams::new(vec!["db.internal".to_owned()]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let own = Transport { root_cas: vec!["self.pem".into()], ..Transport::default() };
    let server = self_signed(&office, params());
    let client = office.client(own.clone()).await.unwrap();
    handshake(client.clone(), server.clone(), "db.internal").await.unwrap();
    assert!(handshake(client.clone(), server, "other.internal").await.is_err());
    let stranger = self_signed(&Office::open(), params());
    assert!(handshake(client, stranger, "db.internal").await.is_err());

    let mut others = [params(), params(), params()];
    others[0].not_after = (SystemTime::now() - Duration::from_secs(60)).into();
    others[1].not_before = (SystemTime::now() + Duration::from_secs(60)).into();
    others[2].extended_key_usages = vec![rcgen::ExtendedKeyUsagePurpose::ClientAuth];
    for params in others {
        let server = self_signed(&office, params);
        let client = office.client(own.clone()).await.unwrap();
        assert!(handshake(client, server, "db.internal").await.is_err());
    }
}

/// Of a server with a certificate of version 1, and its key: `openssl req -x509 -x509v1`.
const VERSION_1: &str = "\
-----BEGIN CERTIFICATE-----
MIIBGTCBvwIUfRsyA66X+4Nj82964hHPou96V7IwCgYIKoZIzj0EAwIwDjEMMAoG
A1UEAwwDb2xkMCAXDTI2MTEyODA5MzgxNVoYDzIxMjYxMTA0MDkzODE1WjAOMQww
CgYDVQQDDANvbGQwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAAQ4+hAiXmfkq+QN
/vmoIF4V05XFKylX+drawZW5A5bQazDxTf4RYyT3W0LYLLdFvaoVYPHNyX/MwyIh
Q6m/BmFzMAoGCCqGSM49BAMCA0kAMEYCIQDmZ0bGI10lA22Zp6Cpw6QXHfLl0+ts
PWvkWXSaix/AZAIhAMyfGbSt9yYjYjGmkoZ/pha7iiQWOqeJ6RPu1TdCzXjk
-----END CERTIFICATE-----";
const VERSION_1_KEY: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgZlYYWhtcj5kLRWGe
ko2VhG4T3LsoBxaeBw2uW4bRo/ihRANCAAQ4+hAiXmfkq+QN/vmoIF4V05XFKylX
+drawZW5A5bQazDxTf4RYyT3W0LYLLdFvaoVYPHNyX/MwyIhQ6m/BmFz
-----END PRIVATE KEY-----";

#[tokio::test]
async fn any_certificate_will_do_where_that_is_asked_for_though_webpki_cannot_read_it() {
    let office = Office::open();
    let careless = Transport { insecure_skip_verify: true, ..Transport::default() };
    let builder = ServerConfig::builder_with_provider(aws_lc_rs::default_provider().into());
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let cert = CertificateDer::from_pem_slice(VERSION_1.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(VERSION_1_KEY.as_bytes()).unwrap();
    let key = aws_lc_rs::sign::any_supported_type(&key).unwrap();
    let shown = rustls::sign::CertifiedKey::new(vec![cert], key);
    let server = builder.with_cert_resolver(Arc::new(rustls::sign::SingleCertAndKey::from(shown)));
    for max_version in [None, Some(TlsVersion::V12)] {
        let client = office.client(Transport { max_version, ..careless.clone() }).await.unwrap();
        handshake(client, Arc::new(server.clone()), "db.internal").await.unwrap();
    }
}

#[tokio::test]
async fn a_backend_that_asks_who_we_are_is_told() {
    let office = Office::open();
    office.sign("edge");
    let server = office.server("db.internal", true);
    let nameless = Transport { root_cas: vec!["ca.pem".into()], ..Transport::default() };
    let named = Transport {
        certificates: vec![ClientCertificate { cert: "edge.pem".into(), key: "edge.key".into() }],
        ..nameless.clone()
    };
    let client = office.client(nameless).await.unwrap();
    assert!(handshake(client, server.clone(), "db.internal").await.is_err());
    let client = office.client(named).await.unwrap();
    assert!(handshake(client, server, "db.internal").await.is_ok());
}

#[tokio::test]
async fn a_file_that_is_wrong_is_named() {
    let office = Office::open();
    fs::write(office.folder.path().join("garbage.pem"), "garbage").unwrap();
    for (file, complaint) in [("nowhere.pem", "No such file"), ("garbage.pem", "no certificate")] {
        let transport = Transport { root_cas: vec![file.into()], ..Transport::default() };
        let error = office.client(transport).await.unwrap_err().to_string();
        assert!(error.contains(file) && error.contains(complaint), "{error}");
    }
}

#[tokio::test]
async fn files_are_read_again_when_they_change_and_only_then() {
    let office = Office::open();
    let trust = Trust::new(office.folder.path());
    let transport = Arc::new(Transport { root_cas: vec!["ca.pem".into()], ..Transport::default() });
    let way = Some((1, transport.clone()));
    let first = trust.config(&way).await.unwrap();
    assert!(Arc::ptr_eq(&first, &trust.config(&way).await.unwrap()));
    let known = trust.lock().get(&1).cloned();
    let same = trust.look(1, &transport, known.clone()).await.unwrap();
    assert!(Arc::ptr_eq(&first, &same.config), "nothing changed");
    let other = Office::open();
    let root = fs::read(other.folder.path().join("ca.pem")).unwrap();
    let path = office.folder.path().join("ca.pem");
    fs::write(&path, root).unwrap();
    let file = fs::File::options().append(true).open(&path).unwrap();
    file.set_modified(SystemTime::UNIX_EPOCH).unwrap();
    let changed = trust.look(1, &transport, known).await.unwrap();
    let changed = changed.config;
    assert!(handshake(changed, other.server("a.local", false), "a.local").await.is_ok());
}

/// A snapshot with one service, which uses a transport.
fn using(transport: &Arc<Transport>) -> Snapshot {
    let name = ObjectName::new("db", "test");
    let service = Service {
        transport: Some((1, transport.clone())),
        ..Service::new(name.clone(), LoadBalancer::default(), Vec::new())
    };
    let entry = Entry {
        name,
        origin: "test".into(),
        status: Status::Enabled,
        errors: Vec::new(),
        used_by: Default::default(),
    };
    let services = [ServiceEntry { entry, live: Some(Arc::new(service)) }];
    Snapshot { services: services.into_iter().collect(), ..Snapshot::default() }
}

#[tokio::test]
async fn a_file_that_breaks_keeps_what_it_held_and_is_told() {
    let office = Office::open();
    let trust = Trust::new(office.folder.path());
    let transport = Arc::new(Transport { root_cas: vec!["ca.pem".into()], ..Transport::default() });
    let snapshot = using(&transport);
    assert_eq!(trust.problems(&snapshot).await, []);
    let first = trust.config(&Some((1, transport.clone()))).await.unwrap();

    let path = office.folder.path().join("ca.pem");
    let whole = fs::read(&path).unwrap();
    fs::write(&path, whole.get(..60).unwrap()).unwrap();
    // It stays wrong until it is right, however often it is looked at.
    for _ in 0..2 {
        let problems = trust.problems(&snapshot).await;
        assert!(problems[0].message.contains("ca.pem"), "{problems:?}");
        assert!(problems[0].hint.as_ref().unwrap().contains("held before"), "{problems:?}");
        let kept = trust.config(&Some((1, transport.clone()))).await.unwrap();
        assert!(Arc::ptr_eq(&first, &kept));
    }
    let known = trust.lock().get(&1).cloned();
    let looked = trust.look(1, &transport, known).await.unwrap();
    assert!(Arc::ptr_eq(&first, &looked.config), "also for those who connect");

    let other = Office::open();
    fs::copy(other.folder.path().join("ca.pem"), &path).unwrap();
    assert_eq!(trust.problems(&snapshot).await, []);
    let new = trust.config(&Some((1, transport))).await.unwrap();
    assert!(handshake(new, other.server("a.local", false), "a.local").await.is_ok());
}

#[tokio::test]
async fn one_that_could_never_be_read_connects_nobody() {
    let office = Office::open();
    let trust = Trust::new(office.folder.path());
    let root_cas = vec!["later.pem".into()];
    let transport = Arc::new(Transport { root_cas, ..Transport::default() });
    let problems = trust.problems(&using(&transport)).await;
    assert!(problems[0].hint.as_ref().unwrap().contains("no connections"), "{problems:?}");
    let way = Some((1, transport));
    assert!(trust.config(&way).await.is_err());
    fs::copy(office.folder.path().join("ca.pem"), office.folder.path().join("later.pem")).unwrap();
    assert!(trust.config(&way).await.is_ok());
}

#[tokio::test]
async fn versions_and_suites_are_those_that_are_asked_for() {
    let office = Office::open();
    let server = office.server("a.local", false);
    let own = Transport { root_cas: vec!["ca.pem".into()], ..Transport::default() };
    let suite = "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256";
    let old = Transport {
        max_version: Some(TlsVersion::V12),
        cipher_suites: vec![Suite::parse(suite).unwrap()],
        ..own.clone()
    };
    let client = office.client(old).await.unwrap();
    let came = agreed(client.clone(), server.clone(), "a.local").await.unwrap();
    assert_eq!(came.version, Some(ProtocolVersion::TLSv1_2));
    let chosen = CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256;
    assert_eq!(came.suite, Some(chosen));

    let min_version = Some(TlsVersion::V13);
    let new = office.client(Transport { min_version, ..own }).await.unwrap();
    assert!(handshake(new.clone(), server, "a.local").await.is_ok());
    // A server that speaks the other version only.
    let only = |versions: &[&'static rustls::SupportedProtocolVersion]| {
        let (chain, key) = office.sign("a.local");
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ServerConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
        Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
    };
    let (v12, v13) = (only(&[&rustls::version::TLS12]), only(&[&rustls::version::TLS13]));
    assert!(handshake(new, v12, "a.local").await.is_err());
    assert!(handshake(client, v13, "a.local").await.is_err());
}
