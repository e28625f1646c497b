//! Certificates from files: watched, chosen by name, and complained of in time.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime},
};

use rcgen::{CertificateParams, KeyPair};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject as _};

use crate::support::{Config, Portolan, eventually, run};

const DAY: u64 = 24 * 60 * 60;

/// A certificate, signed by itself, that was good from and will be good until so many days from
/// now.
fn make(folder: &Path, stem: &str, name: &str, from: i64, until: i64) -> CertificateDer<'static> {
    let moment = |days: i64| {
        let span = Duration::from_secs(days.unsigned_abs() * DAY);
        let now = SystemTime::now();
        if days < 0 { now - span } else { now + span }
    };
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = moment(from).into();
    params.not_after = moment(until).into();
    let key = KeyPair::generate().unwrap();
    let cert = params.self_signed(&key).unwrap();
    // The key first: a certificate without its key would be complained of.
    for (ending, text) in [("key", key.serialize_pem()), ("pem", cert.pem())] {
        let fresh = folder.join(format!("{stem}.{ending}.new"));
        fs::write(&fresh, text).unwrap();
        fs::rename(fresh, folder.join(format!("{stem}.{ending}"))).unwrap();
    }
    cert.der().clone()
}

fn router(host: &str) -> String {
    format!(
        "[http.routers.r]\nrule = \"Host(`{host}`)\"\nmiddlewares = [\"whoami\"]\n\
         [http.middlewares.whoami.whoami]\n"
    )
}

async fn shows(portolan: &Portolan, cert: &CertificateDer<'static>, name: &str) -> bool {
    portolan.https().get_tls(std::slice::from_ref(cert), name, "/").await.is_ok()
}

async fn problems(portolan: &Portolan) -> String {
    portolan.api("/api/problems").await.to_string()
}

#[tokio::test]
async fn a_file_that_changes_is_shown_and_one_that_breaks_is_not() {
    let config = Config::new("");
    let folder = config.path("");
    let first = make(&folder, "a", "a.files.test", -1, 90);
    config.change(&format!(
        "[tls]\ncertificates = [{{ cert = \"a.pem\", key = \"a.key\" }}]\n{}",
        router("a.files.test")
    ));
    let portolan = Portolan::start(&config);
    assert!(shows(&portolan, &first, "a.files.test").await);

    fs::write(folder.join("a.pem"), "-----BEGIN CERTIFICATE-----\nnonsense\n").unwrap();
    let told = eventually(|| problems(&portolan), |told| told.contains("a.pem")).await;
    assert!(told.contains("goes on being shown"), "{told}");
    assert!(shows(&portolan, &first, "a.files.test").await, "the old one went");

    let second = make(&folder, "a", "a.files.test", -1, 60);
    eventually(|| shows(&portolan, &second, "a.files.test"), |shown| *shown).await;
    eventually(|| problems(&portolan), |told| !told.contains("a.pem")).await;
    let told = portolan.api("/api/certificates").await;
    assert_eq!(told[0]["sans"][0], "a.files.test", "{told}");
    assert_eq!(
        (&told[0]["status"], &told[0]["portolan"]["source"]),
        (&"enabled".into(), &"file".into())
    );
}

#[tokio::test]
async fn of_two_certificates_for_a_name_the_one_that_lives_longer_is_shown() {
    let config = Config::new("");
    let folder = config.path("");
    let long = make(&folder, "long", "b.files.test", -1, 80);
    make(&folder, "short", "b.files.test", -1, 40);
    make(&folder, "old", "b.files.test", -90, -1);
    make(&folder, "late", "c.files.test", -80, 10);
    let files = ["old", "short", "long", "late"]
        .map(|stem| format!("{{ cert = \"{stem}.pem\", key = \"{stem}.key\" }}"));
    config.change(&format!(
        "[tls]\ncertificates = [{}]\n{}",
        files.join(", "),
        router("b.files.test")
    ));
    let portolan = Portolan::start(&config);
    assert!(shows(&portolan, &long, "b.files.test").await);

    let told = eventually(|| problems(&portolan), |told| told.contains("expire")).await;
    assert!(told.contains("`b.files.test` expired at"), "{told}");
    assert!(told.contains("`c.files.test` expires at"), "{told}");
    let metrics = portolan.admin().get("localhost", "/metrics").await.body;
    let series = metrics.lines().filter(|line| line.starts_with("traefik_tls_certs_not_after{"));
    assert_eq!(series.count(), 4, "{metrics}");
}

#[tokio::test]
async fn names_without_a_certificate_are_shown_the_default_one() {
    let config = Config::new("");
    let folder = config.path("");
    let own = make(&folder, "own", "e.files.test", -1, 80);
    let default = make(&folder, "default", "default.files.test", -1, 80);
    config.change(&format!(
        "[tls]\ncertificates = [{{ cert = \"own.pem\", key = \"own.key\" }}]\n\
         default-certificate = {{ cert = \"default.pem\", key = \"default.key\" }}\n{}",
        router("f.files.test")
    ));
    let portolan = Portolan::start(&config);
    assert!(shows(&portolan, &own, "e.files.test").await);
    assert!(shows(&portolan, &default, "default.files.test").await);
    // That of a router, for which the local authority would make one, and that of nobody.
    for name in ["f.files.test", "g.files.test"] {
        let roots = std::slice::from_ref(&default);
        let error = portolan.https().get_tls(roots, name, "/").await.unwrap_err();
        assert!(format!("{error:?}").contains("default.files.test"), "{error:?}");
    }
}

#[tokio::test]
async fn who_comes_to_an_address_is_shown_the_certificate_for_it() {
    let config = Config::new("");
    let folder = config.path("");
    let here = make(&folder, "here", "127.0.0.1", -1, 90);
    let named = make(&folder, "named", "a.files.test", -1, 90);
    config.change(&format!(
        "[tls]\ncertificates = [{{ cert = \"named.pem\", key = \"named.key\" }}, \
         {{ cert = \"here.pem\", key = \"here.key\" }}]\n{}",
        router("a.files.test")
    ));
    let portolan = Portolan::start(&config);
    assert!(shows(&portolan, &here, "127.0.0.1").await);
    assert!(shows(&portolan, &named, "a.files.test").await);
    assert!(!shows(&portolan, &here, "a.files.test").await);
}

#[tokio::test]
async fn who_comes_to_an_address_of_a_router_that_is_none_of_ours_is_shown_a_certificate_for_it() {
    let config = Config::new("");
    config.change(&router("10.9.8.7"));
    let portolan = Portolan::start(&config);
    let (_, pem, _) = run(&config, &["ca", "export"]);
    let root = CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    assert!(shows(&portolan, &root, "10.9.8.7").await);
    config.change(&router("10.9.8.6"));
    portolan.signal("-HUP");
    eventually(|| shows(&portolan, &root, "10.9.8.6"), |shown| *shown).await;
    assert!(!shows(&portolan, &root, "10.9.8.7").await);
}

#[tokio::test]
async fn the_root_is_shown_and_exported_and_its_key_is_not() {
    let config = Config::new(&router("d.files.test"));
    let (code, _, error) = run(&config, &["ca"]);
    assert_eq!(code, 1);
    assert!(error.contains("no local authority"), "{error}");
    let portolan = Portolan::start(&config);
    let (code, out, error) = run(&config, &["ca"]);
    assert_eq!((code, error.as_str()), (0, ""));
    assert!(out.contains("data/ca/ca.pem") && out.contains("sha-256"), "{out}");

    let target = config.path("root.der");
    let (code, ..) = run(&config, &["ca", "export", "--der", target.to_str().unwrap()]);
    assert_eq!(code, 0);
    let root = CertificateDer::from(fs::read(&target).unwrap());
    assert!(shows(&portolan, &root, "d.files.test").await);
    let (_, pem, _) = run(&config, &["ca", "export"]);
    assert!(pem.starts_with("-----BEGIN CERTIFICATE-----") && !pem.contains("PRIVATE"), "{pem}");

    // The key is for us alone.
    let key = config.path("data/ca/ca.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    portolan.signal("-HUP");
    eventually(|| problems(&portolan), |told| told.contains("its mode is 644")).await;
}
