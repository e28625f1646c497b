//! HTTPS by the local authority: a certificate for every name that has a router.

use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::support::{Config, Portolan};

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
