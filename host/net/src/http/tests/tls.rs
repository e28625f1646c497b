//! Encrypted entrypoints: which certificate is shown, and what is spoken behind it.

use std::{path::Path, sync::Arc};

use http_body_util::{BodyExt as _, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use portolan_core::policy::{Curve, Suite, TlsVersion};
use rustls::{
    ClientConfig, HandshakeKind, RootCertStore,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, ServerName, pem::PemObject as _},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use portolan_core::reason::Reason;

use super::support::{Client, Portolan, Script, entrypoint, header, router, soon};
use crate::{
    http::HttpConfig,
    tls::{CertificateFile, TlsConfig, TlsError, TlsOptions, TlsSettings},
};

fn trusting(root: &str, alpn: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let mut config = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|name| name.as_bytes().to_vec()).collect();
    Arc::new(config).into()
}

async fn handshake(
    portolan: &Portolan,
    connector: &TlsConnector,
    name: &str,
) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(portolan.address).await?;
    soon(connector.connect(ServerName::try_from(name.to_owned()).unwrap(), stream)).await
}

fn encrypted(tls: TlsConfig, routers: Vec<portolan_core::router::Router>) -> (Portolan, String) {
    let portolan = Portolan::start_with(HttpConfig::default(), Some(tls), routers);
    let root = portolan.server.keyring().authority().unwrap().root_pem().to_owned();
    (portolan, root)
}

#[tokio::test]
async fn http2_over_a_certificate_made_on_demand() {
    let backend = Script::echo().await;
    let (portolan, root) =
        encrypted(TlsConfig::default(), vec![router("a.local", &[backend.address])]);
    let stream =
        handshake(&portolan, &trusting(&root, &["h2", "http/1.1"]), "a.local").await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .unwrap();
    tokio::spawn(connection);
    let requests: Vec<_> = (0..10)
        .map(|n| {
            let uri = format!("https://a.local/{n}");
            let request = http::Request::get(uri).body(Empty::<bytes::Bytes>::new()).unwrap();
            sender.send_request(request)
        })
        .collect();
    for (n, request) in requests.into_iter().enumerate() {
        let response = soon(request).await.unwrap();
        assert_eq!(response.status(), 200);
        let seen = soon(response.into_body().collect()).await.unwrap().to_bytes();
        let seen = String::from_utf8(seen.to_vec()).unwrap();
        assert!(seen.starts_with(&format!("get /{n} ")), "{seen}");
        assert_eq!(header(&seen, "x-forwarded-proto"), Some("https"));
        assert_eq!(header(&seen, "x-forwarded-port"), Some("443"));
        assert_eq!(header(&seen, "host"), Some("a.local"));
    }
}

#[tokio::test]
async fn names_that_no_router_answers_to_get_the_default_certificate() {
    let routers = vec![router("a.local", &[]), router("*.b.local", &[])];
    let (portolan, root) = encrypted(TlsConfig::default(), routers);
    let connector = trusting(&root, &[]);
    for name in ["a.local", "A.local", "x.b.local", "y.b.local", "127.0.0.1"] {
        let stream = handshake(&portolan, &connector, name).await;
        let stream = stream.unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut client = Client::new(stream);
        client.send("GET / HTTP/1.1\r\nHost: nobody\r\n\r\n").await;
        assert_eq!(client.response().await.status, 404);
    }
    for name in ["c.local", "b.local", "x.y.b.local"] {
        assert!(handshake(&portolan, &connector, name).await.is_err(), "{name}");
    }
    // It was not a certificate for that name; the client refused it, and that is counted.
    let figures = portolan.server.figures()[0].1.clone();
    soon(async {
        while figures.handshake_failures.value() < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_router_that_comes_later_gets_a_certificate_too() {
    let (mut portolan, root) = encrypted(TlsConfig::default(), Vec::new());
    let connector = trusting(&root, &[]);
    assert!(handshake(&portolan, &connector, "a.local").await.is_err());
    portolan.publish(vec![router("a.local", &[])]);
    assert!(handshake(&portolan, &connector, "a.local").await.is_ok());
}

#[tokio::test]
async fn clear_text_on_an_encrypted_entrypoint_is_told_so_and_harms_nobody() {
    let (portolan, root) = encrypted(TlsConfig::default(), vec![router("a.local", &[])]);
    for request in ["GET / HTTP/1.1\r\nHost: a.local\r\n\r\n", "POST", "PRI * HTTP/2.0\r\n\r\nSM"] {
        let mut client = portolan.connect().await;
        client.send(request).await;
        let response = client.response().await;
        assert_eq!((response.status, header(&response.head, "connection")), (400, Some("close")));
        assert!(response.body.contains("this port speaks TLS: use https://"), "{}", response.body);
        assert!(client.ends().await);
    }
    let (_, figures) = &portolan.server.figures()[0];
    let counted = portolan.server.ledger().reasons.iter();
    let counted: Vec<_> = counted.filter(|(_, count)| *count > 0).collect();
    assert_eq!(counted, [(Reason::PlainHttp, 3)]);
    assert_eq!((figures.traffic.classes()[3], figures.handshake_failures.value()), (3, 0));
    // What is neither is answered as those expect who speak TLS.
    let mut client = portolan.connect().await;
    client.send("hello\r\n\r\n").await;
    assert_eq!(client.exactly(1).await, "\u{15}");
    assert!(handshake(&portolan, &trusting(&root, &[]), "a.local").await.is_ok());
}

/// A certificate for these names, signed by itself, in two files.
fn files(folder: &Path, stem: &str, names: &[&str]) -> (CertificateFile, String) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let made = rcgen::generate_simple_self_signed(names).unwrap();
    let file = CertificateFile {
        cert: folder.join(format!("{stem}.pem")),
        key: folder.join(format!("{stem}.key")),
    };
    std::fs::write(&file.cert, made.cert.pem()).unwrap();
    std::fs::write(&file.key, made.signing_key.serialize_pem()).unwrap();
    (file, made.cert.pem())
}

#[tokio::test]
async fn certificates_from_files_come_first_and_are_read_anew() {
    let folder = tempfile::tempdir().unwrap();
    let (file, pem) = files(folder.path(), "a", &["a.local", "*.b.local"]);
    let tls = TlsConfig { certificates: vec![file.clone()], ..TlsConfig::default() };
    let (portolan, root) = encrypted(tls.clone(), vec![router("c.local", &[])]);
    let connector = trusting(&pem, &[]);
    for name in ["a.local", "x.b.local"] {
        assert!(handshake(&portolan, &connector, name).await.is_ok(), "{name}");
    }
    assert!(handshake(&portolan, &connector, "c.local").await.is_err());
    assert!(handshake(&portolan, &trusting(&root, &[]), "c.local").await.is_ok());

    let (_, renewed) = files(folder.path(), "a", &["a.local"]);
    let (bound, _) = portolan.server.apply(vec![entrypoint("web", Some(tls))]);
    assert_eq!(bound[0].address, portolan.address);
    assert_eq!(portolan.server.keyring().problems(), []);
    assert!(handshake(&portolan, &trusting(&renewed, &[]), "a.local").await.is_ok());
    assert!(handshake(&portolan, &connector, "a.local").await.is_err());
}

#[tokio::test]
async fn a_broken_file_costs_that_file_and_says_where() {
    let folder = tempfile::tempdir().unwrap();
    let (good, pem) = files(folder.path(), "good", &["good.local"]);
    let (other, _) = files(folder.path(), "other", &["other.local"]);
    let nowhere = folder.path().join("nowhere.pem");
    let garbage = folder.path().join("garbage.pem");
    std::fs::write(&garbage, "-----BEGIN CERTIFICATE-----\nnot base64\n").unwrap();
    let certificates = vec![
        CertificateFile { cert: nowhere.clone(), key: good.key.clone() },
        CertificateFile { cert: garbage.clone(), key: good.key.clone() },
        CertificateFile { cert: good.cert.clone(), key: good.cert.clone() },
        CertificateFile { cert: good.cert.clone(), key: other.key },
        good,
    ];
    let (portolan, root) = encrypted(TlsConfig::default(), vec![router("a.local", &[])]);
    let web = entrypoint("web", Some(TlsConfig { certificates, ..TlsConfig::default() }));
    portolan.server.apply(vec![web]);
    portolan.server.keyring().with_broken(|broken| {
        let errors: Vec<_> = broken.iter().map(|one| &one.error).collect();
        assert!(
            matches!(&errors[0], TlsError::Read { path, .. } if *path == nowhere),
            "{errors:?}"
        );
        assert!(matches!(&errors[1], TlsError::Pem { path, .. } if *path == garbage), "{errors:?}");
        assert!(matches!(&errors[2], TlsError::Pem { wanted: "private key", .. }), "{errors:?}");
        assert!(matches!(&errors[3], TlsError::Pair { .. }), "{errors:?}");
        assert_eq!(errors.len(), 4);
    });
    assert!(handshake(&portolan, &trusting(&pem, &[]), "good.local").await.is_ok());
    assert!(handshake(&portolan, &trusting(&root, &[]), "a.local").await.is_ok());
}

/// What kind of a handshake a client makes that keeps what it is given.
async fn kind_of(portolan: &Portolan, connector: &TlsConnector) -> Option<HandshakeKind> {
    let stream = handshake(portolan, connector, "a.local").await.unwrap();
    let mut client = Client::new(stream);
    // Tickets come with the first bytes behind the handshake.
    client.send("GET / HTTP/1.1\r\nHost: b.local\r\n\r\n").await;
    assert_eq!(client.response().await.status, 404);
    client.stream.get_ref().1.handshake_kind()
}

#[tokio::test]
async fn a_session_is_resumed_by_whatever_worker_and_after_a_reload() {
    let (portolan, root) = encrypted(TlsConfig::default(), vec![router("a.local", &[])]);
    let connector = trusting(&root, &[]);
    let kind = async || kind_of(&portolan, &connector).await;
    assert_eq!(kind().await, Some(HandshakeKind::Full));
    for _ in 0..8 {
        assert_eq!(kind().await, Some(HandshakeKind::Resumed));
    }
    let tls = TlsConfig { certificates: Vec::new(), ..TlsConfig::default() };
    portolan.server.apply(vec![entrypoint("web", Some(tls))]);
    assert_eq!(kind().await, Some(HandshakeKind::Resumed));
}

#[tokio::test]
async fn without_tickets_each_handshake_is_a_whole_one_and_keys_are_exchanged_as_options_say() {
    let tls = TlsConfig { options: Some("alone".into()), ..TlsConfig::default() };
    let (portolan, root) = encrypted(tls, vec![router("a.local", &[])]);
    for max_version in [TlsVersion::V13, TlsVersion::V12] {
        let alone = TlsOptions {
            max_version,
            session_tickets: false,
            curve_preferences: vec![Curve::parse("CurveP384").unwrap()],
            ..TlsOptions::default()
        };
        let options = vec![("alone".into(), alone)];
        portolan.server.keyring().configure(TlsSettings { options, ..TlsSettings::default() });
        let connector = trusting(&root, &[]);
        for _ in 0..3 {
            let kind = kind_of(&portolan, &connector).await;
            // A client that began with another group is asked for this one first.
            let is_whole = matches!(
                kind,
                Some(HandshakeKind::Full | HandshakeKind::FullWithHelloRetryRequest)
            );
            assert!(is_whole, "{kind:?}");
        }
        let stream = handshake(&portolan, &connector, "a.local").await.unwrap();
        let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap();
        assert_eq!(group.name(), rustls::NamedGroup::secp384r1);
    }
}

#[tokio::test]
async fn options_say_which_versions_and_protocols_are_spoken() {
    let tls = TlsConfig { options: Some("modern".into()), ..TlsConfig::default() };
    let (portolan, root) = encrypted(tls, vec![router("a.local", &[])]);
    let connector = trusting(&root, &["h2", "http/1.1"]);
    // Options that are not there are not taken for others.
    let refused = handshake(&portolan, &connector, "a.local").await.unwrap_err();
    assert!(refused.to_string().contains("AccessDenied"), "{refused}");

    let modern = TlsOptions {
        min_version: TlsVersion::V13,
        alpn_protocols: vec!["http/1.1".to_owned()],
        cipher_suites: vec![Suite::parse("TLS_CHACHA20_POLY1305_SHA256").unwrap()],
        ..TlsOptions::default()
    };
    let options = vec![("modern".into(), modern)];
    portolan.server.keyring().configure(TlsSettings { options, ..TlsSettings::default() });
    let stream = handshake(&portolan, &connector, "a.local").await.unwrap();
    let session = stream.get_ref().1;
    assert_eq!(session.alpn_protocol(), Some(&b"http/1.1"[..]));
    let suite = session.negotiated_cipher_suite().unwrap().suite();
    assert_eq!(suite, rustls::CipherSuite::TLS13_CHACHA20_POLY1305_SHA256);

    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(root.as_bytes()).unwrap()).unwrap();
    let old = ClientConfig::builder_with_provider(aws_lc_rs::default_provider().into())
        .with_protocol_versions(&[&rustls::version::TLS12])
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let refused = handshake(&portolan, &Arc::new(old).into(), "a.local").await.unwrap_err();
    assert!(refused.to_string().contains("ProtocolVersion"), "{refused}");
}
