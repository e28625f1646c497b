//! Options of handshakes: who must show a certificate, and who is refused.

use std::fs;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{
    support::{Config, Own, Portolan, eventually, run},
    tls::authority,
};

/// An authority for clients, in PEM, and a client with a certificate of it.
fn client() -> (String, Own) {
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::new(Vec::new()).unwrap();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let pem = root.self_signed(&root_key).unwrap().pem();
    let issuer = Issuer::new(root, root_key);
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["client.test".to_owned()]).unwrap();
    let cert = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    (pem, (vec![cert.der().clone()], key))
}

const ROUTERS: &str = "
    [tls.options.internal]
    client-auth = { ca-files = [\"clients.pem\"] }
    [tls.options.strict]
    sni-strict = true
    [http.routers.public]
    rule = \"Host(`public.test`)\"
    middlewares = [\"whoami\"]
    [http.routers.internal]
    rule = \"Host(`internal.test`)\"
    middlewares = [\"whoami\"]
    tls = { options = \"internal\" }
    [http.middlewares.whoami.whoami]
";

#[tokio::test]
async fn a_host_that_wants_certificates_of_clients_is_reached_with_one_only() {
    let (pem, (chain, key)) = client();
    let own = || Some((chain.clone(), key.clone_key()));
    let config = Config::new("");
    fs::write(config.path("clients.pem"), pem).unwrap();
    config.change(ROUTERS);
    let portolan = Portolan::start(&config);
    let roots = authority(&config);
    let get = |sni, host, own| portolan.https().get_as(&roots, sni, host, "/", own);

    assert_eq!(get("public.test", "public.test", None).await.unwrap().status, 200);
    assert_eq!(get("internal.test", "internal.test", own()).await.unwrap().status, 200);
    assert!(get("internal.test", "internal.test", None).await.is_err());
    // Not round the handshake either, by the host of another.
    let answer = get("public.test", "internal.test", None).await.unwrap();
    assert_eq!(
        (answer.status.as_u16(), answer.body.contains("connection of its own")),
        (421, true)
    );
    let (_, stranger) = client();
    assert!(get("internal.test", "internal.test", Some(stranger)).await.is_err());
}

#[tokio::test]
async fn a_strict_entrypoint_refuses_names_that_it_does_not_serve() {
    let config = Config::new("");
    fs::write(config.path("clients.pem"), client().0).unwrap();
    config.change(ROUTERS);
    let text = fs::read_to_string(config.path("config.toml")).unwrap();
    config.replace(&text.replace("tls = true", "tls = { options = \"strict\" }"));
    let portolan = Portolan::start(&config);
    let roots = authority(&config);
    assert!(portolan.https().get_tls(&roots, "public.test", "/").await.is_ok());
    let error = portolan.https().get_tls(&roots, "unknown.test", "/").await.unwrap_err();
    assert!(format!("{error:?}").contains("UnrecognisedName"), "{error:?}");
}

#[tokio::test]
async fn routers_that_disagree_and_options_that_are_not_there_are_problems() {
    let config = Config::new("");
    fs::write(config.path("clients.pem"), client().0).unwrap();
    config.change(&format!(
        "{ROUTERS}
        [http.routers.other]
        rule = \"Host(`internal.test`) && PathPrefix(`/other`)\"
        middlewares = [\"whoami\"]
        tls = {{ options = \"strict\" }}
        [http.routers.lost]
        rule = \"Host(`lost.test`)\"
        middlewares = [\"whoami\"]
        tls = {{ options = \"nowhere\" }}"
    ));
    let portolan = Portolan::start(&config);
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    let told = eventually(problems, |told| told.contains("[tls.options.nowhere]")).await;
    assert!(
        told.contains("`internal.test` on entrypoint `websecure` has other TLS options"),
        "{told}"
    );
    let roots = authority(&config);
    // Both use the default; the host without options is refused.
    assert!(portolan.https().get_tls(&roots, "internal.test", "/").await.is_ok());
    assert!(portolan.https().get_tls(&roots, "lost.test", "/").await.is_err());
    let (code, _, error) = run(&config, &["check"]);
    assert_eq!(code, 2);
    assert!(error.contains("there is no `[tls.options.nowhere]`"), "{error}");
}

#[tokio::test]
async fn a_router_that_no_handshake_tells_of_lets_nobody_in_unknown() {
    let (pem, (chain, key)) = client();
    let config = Config::new("");
    fs::write(config.path("clients.pem"), pem).unwrap();
    config.change(
        "[access-log]
        file = \"access.log\"
        format = \"json\"
        [tls.options.internal]
        client-auth = { ca-files = [\"clients.pem\"] }
        [http.routers.wild]
        rule = \"Host(`*.wild.test`)\"
        middlewares = [\"whoami\"]
        tls = { options = \"internal\" }
        [http.routers.public]
        rule = \"Host(`a.wild.test`) && PathPrefix(`/public`)\"
        middlewares = [\"whoami\"]
        [http.routers.pattern]
        rule = \"PathPrefix(`/pattern`)\"
        middlewares = [\"whoami\"]
        tls = { options = \"internal\" }
        [http.middlewares.whoami.whoami]",
    );
    let portolan = Portolan::start(&config);
    let roots = authority(&config);
    let get = |host, path, own| portolan.https().get_as(&roots, host, host, path, own);
    let own = || Some((chain.clone(), key.clone_key()));
    assert_eq!(get("a.wild.test", "/public", None).await.unwrap().status, 200);
    assert_eq!(get("a.wild.test", "/secret", None).await.unwrap().status, 421);
    assert_eq!(get("b.wild.test", "/secret", own()).await.unwrap().status, 200);
    assert!(get("b.wild.test", "/secret", None).await.is_err());
    assert_eq!(get("a.wild.test", "/pattern", None).await.unwrap().status, 421);
    assert_eq!(get("b.wild.test", "/pattern", own()).await.unwrap().status, 200);
    // Who it was is written down.
    let log = || async { fs::read_to_string(config.path("access.log")).unwrap_or_default() };
    eventually(log, |lines| lines.contains("\"TLSClientSubject\":\"CN=")).await;
}
