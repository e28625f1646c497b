//! HTTPS by the local authority: a certificate for every name that has a router.

use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::support::{Authority, Config, Portolan, eventually};

const ROUTER: &str = "[http.routers.r]\nrule = \"Host(`secure.local`)\"\nmiddlewares = [\"whoami\"]\n\
    [http.middlewares.whoami.whoami]\n";

/// The root of the local authority.
pub(crate) fn authority(config: &Config) -> Vec<CertificateDer<'static>> {
    let file = config.path("data/ca/ca.pem");
    CertificateDer::pem_file_iter(file).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn a_name_with_a_router_has_a_certificate_and_the_authority_stays() {
    let config = Config::new(ROUTER);
    let portolan = Portolan::start(&config);
    let roots = authority(&config);
    let answer = portolan.https().get_tls(&roots, "secure.local", "/").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let unknown = portolan.https().get_tls(&roots, "unknown.local", "/").await;
    assert!(unknown.is_err(), "a name without a router got a certificate: {unknown:?}");
    drop(portolan);

    let portolan = Portolan::start(&config);
    assert_eq!(authority(&config), roots);
    assert!(portolan.https().get_tls(&roots, "secure.local", "/").await.is_ok());
}

#[tokio::test]
async fn sighup_reads_certificate_files_anew_though_the_configuration_is_the_same() {
    let config = Config::exactly(&format!(
        "data-dir = \"data\"\nadmin = false\n[entrypoints.websecure]\naddress = \"127.0.0.1:0\"\n\
         tls = {{ certificates = [{{ cert = \"site.pem\", key = \"site-key.pem\" }}] }}\n{ROUTER}"
    ));
    let (before, after) = (Authority::new("before"), Authority::new("after"));
    let write = |authority: &Authority| {
        authority
            .leaf("secure.local")
            .write(&config.path("site.pem"), &config.path("site-key.pem"));
    };
    write(&before);
    let portolan = Portolan::start(&config);
    let get = async |authority: &Authority| {
        let answer = portolan.https().get_tls(&authority.root(), "secure.local", "/").await;
        answer.map(|answer| answer.status)
    };
    assert_eq!(get(&before).await.unwrap(), 200);

    write(&after);
    // It is not the file's change that is noticed.
    assert_eq!(get(&before).await.unwrap(), 200);
    portolan.signal("-HUP");
    assert!(eventually(|| get(&after), Result::is_ok).await.is_ok());
    assert!(get(&before).await.is_err(), "the old one is gone");
}
