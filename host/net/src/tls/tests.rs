//! What the local authority promises about its files and its leaves, and which of many certificates
//! is shown.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::Arc,
    time::{Duration, SystemTime},
};

use portolan_core::{
    declare::TlsSpec,
    live::live,
    name::ObjectName,
    snapshot::{Entry, RouterEntry, Snapshot, Status},
    test_util,
};
use rcgen::{CertificateParams, KeyPair};
use rustls::{SignatureScheme, crypto::aws_lc_rs};

use super::{file::Files, options::Options, shelf::Shelf, *};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A certificate for a name and its key, in PEM.
pub(super) fn pem(name: &str, from: SystemTime, life: Duration) -> (String, String) {
    let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = from.into();
    params.not_after = (from + life).into();
    let key = KeyPair::generate().unwrap();
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

fn named(name: &str, from: SystemTime, life: Duration) -> Arc<Certificate> {
    let (chain, key) = pem(name, from, life);
    let source = CertificateSource::Local;
    Arc::new(Certificate::from_pem(chain.as_bytes(), key.as_bytes(), source).unwrap())
}

/// A certificate that is good from a moment on for so long.
pub(super) fn living(from: SystemTime, life: Duration) -> Certificate {
    Arc::into_inner(named("a.test", from, life)).unwrap()
}

/// A router of an entrypoint, and what it says about encryption.
pub(super) fn router(
    name: &str,
    hosts: &[&str],
    entrypoint: &str,
    tls: Option<TlsSpec>,
) -> RouterEntry {
    let live = test_util::router(name, "Host(`a`)");
    RouterEntry {
        entry: Entry {
            name: ObjectName::new(name, "test"),
            origin: "test".into(),
            status: Status::Enabled,
            errors: Vec::new(),
            used_by: Default::default(),
        },
        rule: live.rule.clone(),
        priority: 1,
        entrypoints: vec![entrypoint.into()],
        middlewares: Vec::new(),
        service: None,
        reference: None,
        tls: tls.map(Arc::new),
        hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
        live: Some(Arc::new(live)),
    }
}

#[test]
fn an_exact_name_comes_before_a_wildcard_unless_its_time_is_over() {
    let now = SystemTime::now();
    let [wild, exact] = ["*.a.test", "x.a.test"].map(|name| named(name, now - DAY, 10 * DAY));
    let over = named("y.a.test", now - 9 * DAY, 8 * DAY);
    let longer = named("x.a.test", now - DAY, 20 * DAY);
    let unborn = named("x.a.test", now + DAY, 90 * DAY);
    let shelf = Shelf::build([&wild, &exact, &over, &longer, &unborn]);
    let found = |name: &str| {
        let wildcard = shelf::wildcard(name);
        shelf.find(name, wildcard.as_deref(), now, &[]).cloned()
    };
    let is = |name: &str, one: &Arc<Certificate>| Arc::ptr_eq(&found(name).unwrap(), one);
    assert!(is("x.a.test", &longer) && is("y.a.test", &wild) && is("z.a.test", &wild));
    assert!(found("a.test").is_none() && found("x.y.a.test").is_none());
    // Better one that tells the truth than none.
    let shelf = Shelf::build([&over]);
    assert!(Arc::ptr_eq(shelf.find("y.a.test", None, now, &[]).unwrap(), &over));
    assert!(!shelf.covers("y.a.test", now));
}

#[test]
fn a_client_is_shown_what_it_can_check() {
    let now = SystemTime::now();
    let key = KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let mut params = CertificateParams::new(vec!["a.test".to_owned()]).unwrap();
    params.not_after = (now + DAY).into();
    let pem = params.self_signed(&key).unwrap().pem();
    let source = CertificateSource::Local;
    let rsa = Certificate::from_pem(pem.as_bytes(), key.serialize_pem().as_bytes(), source);
    let (rsa, ecdsa) = (Arc::new(rsa.unwrap()), named("a.test", now - DAY, 9 * DAY));
    let shelf = Shelf::build([&rsa, &ecdsa]);
    let shown = |schemes: &[SignatureScheme]| shelf.find("a.test", None, now, schemes).cloned();
    let [old, new] = [SignatureScheme::RSA_PSS_SHA256, SignatureScheme::ECDSA_NISTP256_SHA256];
    assert!(Arc::ptr_eq(&shown(&[old]).unwrap(), &rsa));
    assert!(Arc::ptr_eq(&shown(&[old, new]).unwrap(), &ecdsa));
    // It will not work out, but not for want of a certificate.
    assert!(Arc::ptr_eq(&shown(&[SignatureScheme::ED25519]).unwrap(), &ecdsa));
}

#[test]
fn a_certificate_worries_in_its_last_fourteen_days_or_its_last_third() {
    let now = SystemTime::now();
    for (age, life, expected) in [
        (1, 90, Validity::Valid),
        (75, 90, Validity::Valid),
        (77, 90, Validity::EndsSoon),
        (91, 90, Validity::Expired),
        (3, 6, Validity::Valid),
        (5, 6, Validity::EndsSoon),
    ] {
        let certificate = living(now - age * DAY, life * DAY);
        assert_eq!(certificate.validity(now), expected, "{age} of {life} days");
    }
    assert_eq!(living(now + DAY, DAY).validity(now), Validity::NotYet);
}

#[test]
fn a_pair_of_files_that_breaks_keeps_what_it_held() {
    let folder = tempfile::tempdir().unwrap();
    let file = CertificateFile { cert: folder.path().join("c"), key: folder.path().join("k") };
    let (chain, key) = pem("a.test", SystemTime::now(), DAY);
    fs::write(&file.cert, &chain).unwrap();
    fs::write(&file.key, &key).unwrap();
    let mut files = Files::default();
    assert!(files.read([&file], None).is_empty());
    let first = files.of(&file).next().unwrap().clone();
    assert!(files.read([&file, &file], None).is_empty());
    assert!(Arc::ptr_eq(files.of(&file).next().unwrap(), &first), "the same is the same");

    // A new certificate whose key has not come yet.
    fs::write(&file.cert, pem("a.test", SystemTime::now(), DAY).0).unwrap();
    let broken = files.read([&file], None);
    assert!(matches!(broken[0], Broken { kept: true, error: TlsError::Pair { .. }, .. }));
    assert!(Arc::ptr_eq(files.of(&file).next().unwrap(), &first));
    // Nobody wants it any more: it is forgotten.
    assert!(files.read([], None).is_empty());
    assert!(files.of(&file).next().is_none());
    assert!(!files.read([&file], None)[0].kept);
}

#[test]
fn a_good_certificate_does_not_give_way_to_one_whose_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let file = CertificateFile { cert: folder.path().join("c"), key: folder.path().join("k") };
    let now = SystemTime::now();
    let mut files = Files::default();
    let mut shown = |from: SystemTime, life: Duration| {
        let (chain, key) = pem("a.test", from, life);
        fs::write(&file.cert, chain).unwrap();
        fs::write(&file.key, key).unwrap();
        assert!(files.read([&file], None).is_empty());
        let all: Vec<_> = files.of(&file).cloned().collect();
        let shown = Shelf::build(&all).find("a.test", None, now, &[]).unwrap().clone();
        (shown.is_good(now), all.len())
    };
    assert_eq!(shown(now - 9 * DAY, 8 * DAY), (false, 1), "there is no other");
    assert_eq!(shown(now - DAY, 9 * DAY), (true, 1));
    assert_eq!(shown(now - 9 * DAY, 8 * DAY), (true, 2));
    assert_eq!(shown(now + DAY, 9 * DAY), (true, 2), "the good one is still the one before");
    assert_eq!(shown(now - DAY, 9 * DAY), (true, 1));
}

#[test]
fn options_that_did_not_change_keep_their_tickets() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, pem("ca.test", SystemTime::now(), DAY).0).unwrap();
    let spec = TlsOptions {
        client_auth: Some(ClientAuth { ca_files: vec![ca.clone()], optional: false }),
        ..TlsOptions::default()
    };
    let first = Options::build(&spec, None).unwrap();
    assert!(Arc::ptr_eq(&Options::build(&spec, Some(&first)).unwrap(), &first));
    fs::write(&ca, pem("ca.test", SystemTime::now(), DAY).0).unwrap();
    assert!(!Arc::ptr_eq(&Options::build(&spec, Some(&first)).unwrap(), &first));
    fs::write(&ca, "").unwrap();
    assert!(matches!(Options::build(&spec, None), Err(TlsError::Roots { .. })));
}

#[test]
fn the_root_is_made_once_and_its_key_is_private() {
    let folder = tempfile::tempdir().unwrap();
    let directory = folder.path().join("data/ca");
    let first = Authority::open(&directory).unwrap().root_pem().to_owned();
    let mode =
        |path: &str| fs::metadata(directory.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("ca.key"), mode("ca.pem")), (0o600, 0o644));
    assert_eq!(Authority::open(&directory).unwrap().root_pem(), first);
}

#[test]
fn a_leaf_of_a_root_that_was_read_back_is_signed_by_it() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::open(folder.path()).unwrap().root_pem().to_owned();
    let authority = Authority::open(folder.path()).unwrap();
    let leaf = authority.leaf("a.local").unwrap();
    let root = rustls_pki_types::pem::PemObject::from_pem_slice(root.as_bytes()).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).unwrap();
    let verifier = rustls::client::WebPkiServerVerifier::builder_with_provider(
        roots.into(),
        aws_lc_rs::default_provider().into(),
    )
    .build()
    .unwrap();
    let verify = |name: &'static str| {
        rustls::client::danger::ServerCertVerifier::verify_server_cert(
            &*verifier,
            &leaf.cert[0],
            &[],
            &name.try_into().unwrap(),
            &[],
            rustls_pki_types::UnixTime::now(),
        )
    };
    assert!(verify("a.local").is_ok());
    assert!(verify("b.local").is_err());
}

#[test]
fn a_leaf_is_made_once_and_there_is_a_bound_to_them() {
    let authority = Authority::ephemeral().unwrap();
    let leaf = authority.leaf("a.local").unwrap();
    assert!(Arc::ptr_eq(&leaf, &authority.leaf("a.local").unwrap()));
    assert!(!Arc::ptr_eq(&leaf, &authority.leaf("*.local").unwrap()));
}

#[test]
fn a_root_that_cannot_be_read_is_not_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let key = folder.path().join("ca.key");
    fs::write(&key, "garbage").unwrap();
    let error = Authority::open(folder.path()).unwrap_err();
    assert!(matches!(error, TlsError::Authority { .. }), "{error}");
    assert_eq!(fs::read_to_string(&key).unwrap(), "garbage");

    let good = tempfile::tempdir().unwrap();
    Authority::open(good.path()).unwrap();
    fs::remove_file(good.path().join("ca.pem")).unwrap();
    let error = Authority::open(good.path()).unwrap_err();
    assert!(matches!(error, TlsError::Read { .. }), "{error}");

    let other = tempfile::tempdir().unwrap();
    Authority::open(other.path()).unwrap();
    let one = tempfile::tempdir().unwrap();
    Authority::open(one.path()).unwrap();
    fs::copy(other.path().join("ca.key"), one.path().join("ca.key")).unwrap();
    let error = Authority::open(one.path()).unwrap_err();
    assert!(matches!(error, TlsError::AuthorityPair(_)), "{error}");
}

#[test]
fn a_root_whose_key_is_gone_is_not_replaced_either() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::open(folder.path()).unwrap().root_pem().to_owned();
    fs::remove_file(folder.path().join("ca.key")).unwrap();
    let error = Authority::open(folder.path()).unwrap_err();
    assert!(matches!(error, TlsError::AuthorityKeyless(_)), "{error}");
    assert_eq!(fs::read_to_string(folder.path().join("ca.pem")).unwrap(), root);
}

#[test]
fn a_root_that_ends_or_is_none_is_told() {
    let now = SystemTime::now();
    let flaw = |left: i32, is_ca: rcgen::IsCa| {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = is_ca;
        params.not_before = (now - 1000 * DAY).into();
        let days = left.unsigned_abs() * DAY;
        params.not_after = (if left < 0 { now - days } else { now + days }).into();
        let key = KeyPair::generate().unwrap();
        fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        fs::write(folder.path().join("ca.key"), key.serialize_pem()).unwrap();
        let authority = Authority::open(folder.path()).unwrap();
        authority.leaf("a.test").unwrap();
        let facts = &authority.leaves()[0].facts;
        assert!(facts.not_before < facts.not_after, "{left}");
        let root = Root::read(folder.path()).unwrap().unwrap();
        assert_eq!(root.flaw(now), authority.flaw(now));
        root.flaw(now)
    };
    let root = || rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    assert_eq!(flaw(100, root()), None);
    assert!(matches!(flaw(80, root()), Some(RootFlaw::EndsSoon(_))));
    assert!(matches!(flaw(-9, root()), Some(RootFlaw::Ended(_))));
    assert_eq!(flaw(100, rcgen::IsCa::ExplicitNoCa), Some(RootFlaw::NoAuthority));
    assert_eq!(flaw(100, rcgen::IsCa::NoCa), Some(RootFlaw::NoAuthority));
}

#[test]
fn who_names_nothing_is_shown_a_certificate_for_the_addresses_of_routers() {
    let authority = Authority::ephemeral().unwrap();
    let shown = |addresses: &[&str]| {
        let addresses = addresses.iter().map(|it| (*it).to_owned()).collect();
        authority.default_leaf(&addresses).unwrap()
    };
    let at_home = shown(&["10.9.8.7", "2001:db8::7"]);
    assert!(Arc::ptr_eq(&at_home, &shown(&["10.9.8.7", "2001:db8::7"])));
    assert!(!Arc::ptr_eq(&at_home, &shown(&[])));
    let leaf = authority.leaves().into_iter().find(|it| Arc::ptr_eq(&it.key, &at_home)).unwrap();
    let names = ["10.9.8.7", "2001:db8::7", "127.0.0.1", "localhost"];
    assert!(names.iter().all(|name| leaf.names.iter().any(|it| it == name)), "{:?}", leaf.names);
}

#[test]
fn a_name_that_no_subject_may_have_stands_beside_it_only() {
    let authority = Authority::ephemeral().unwrap();
    let long = format!("{}.{}.test", "a".repeat(40), "b".repeat(40));
    authority.leaf(&long).unwrap();
    let leaf = authority.leaves().remove(0);
    assert_eq!((leaf.facts.common_name.as_str(), &leaf.names), ("", &vec![long]));
}

#[test]
fn only_the_default_certificate_may_be_for_no_name_and_it_is_told_of_in_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let file = CertificateFile { cert: folder.path().join("c"), key: folder.path().join("k") };
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "old");
    let key = KeyPair::generate().unwrap();
    fs::write(&file.cert, params.self_signed(&key).unwrap().pem()).unwrap();
    fs::write(&file.key, key.serialize_pem()).unwrap();
    let keyring = Keyring::new(None, live(Snapshot::default()).1);
    let problems = |settings: TlsSettings| {
        keyring.configure(settings);
        keyring.problems().into_iter().map(|it| (it.path, it.message)).collect::<Vec<_>>()
    };
    let default = Some(file.clone());
    let as_default = TlsSettings { default, ..TlsSettings::default() };
    assert_eq!(problems(as_default.clone()), []);
    let common = |it: &Arc<Certificate>| it.facts.common_name.clone();
    assert_eq!(keyring.certificates().iter().map(common).collect::<Vec<_>>(), ["old"]);

    let certificates = vec![file.clone()];
    let told = problems(TlsSettings { certificates, ..TlsSettings::default() });
    assert!(told[0].1.contains("names no host"), "{told:?}");
    fs::write(&file.cert, "garbage").unwrap();
    let told = problems(as_default);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(format!("{:?}", told[0].0).contains("/tls/default-certificate"), "{told:?}");
}
