//! Backends over HTTPS: those whose certificate is trusted and fits are asked, others are not.

use crate::support::{Authority, Backend, Config, Portolan};

fn router(name: &str, backend: &Backend) -> String {
    format!(
        "[http.routers.{name}]\nrule = \"Host(`{name}.local`)\"\nservice = \"{name}\"\n\
         [http.services.{name}.load-balancer]\nservers = [{{ url = \"https://{}\" }}]\n",
        backend.address
    )
}

#[tokio::test]
async fn only_a_certificate_that_is_trusted_and_fits_is_taken() {
    let (known, unknown) = (Authority::new("known"), Authority::new("unknown"));
    let good = Backend::start_tls("good", known.leaf("127.0.0.1").acceptor()).await;
    let foreign = Backend::start_tls("foreign", unknown.leaf("127.0.0.1").acceptor()).await;
    let misnamed = Backend::start_tls("misnamed", known.leaf("127.0.0.2").acceptor()).await;
    let config = Config::new(&format!(
        "[log]\nlevel = \"info,portolan_net=debug\"\n{}{}{}",
        router("good", &good),
        router("foreign", &foreign),
        router("misnamed", &misnamed)
    ));
    let roots = config.path("roots.pem");
    std::fs::write(&roots, known.pem()).unwrap();
    // Where OpenSSL, and so everybody else, looks for what the system trusts.
    let portolan = Portolan::start_with(&config, &[("SSL_CERT_FILE", &roots)]);

    let answer = portolan.http().get("good.local", "/x").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.body.starts_with("good\nGET /x\n"), "{answer:?}");
    for (host, reason) in
        [("foreign.local", "UnknownIssuer"), ("misnamed.local", "not valid for name")]
    {
        let answer = portolan.http().get(host, "/").await;
        assert_eq!(answer.status, 502, "{answer:?}");
        assert!(answer.body.contains("could not be trusted"), "{answer:?}");
        let log = portolan.log_until(reason);
        assert!(log.contains("TLS handshake"), "{log}");
    }
    assert_eq!((foreign.requests(), misnamed.requests()), (0, 0));
}
