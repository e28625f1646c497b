//! What the local authority promises about its files and its leaves.

use std::{fs, os::unix::fs::PermissionsExt as _, sync::Arc};

use super::*;

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
}
