//! Options of handshakes: who must show a certificate, and who is refused.

use std::fs;

use bytes::Bytes;
use http::Method;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::{
    support::{Answer, Config, Own, Portolan, encrypted, eventually, request, run},
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

/// A connection that stays open, and the statuses of requests over it.
struct Open(http1::SendRequest<Full<Bytes>>);

impl Open {
    async fn new(portolan: &Portolan, config: &Config, sni: &str, own: Option<Own>) -> Self {
        let server = portolan.address("websecure");
        let stream = encrypted(server, &authority(config), sni, own).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
        tokio::spawn(connection);
        Self(sender)
    }

    async fn get(&mut self, host: &str, path: &str) -> u16 {
        let request = request(Method::GET, host, path).body(Full::default()).unwrap();
        let answer = self.0.send_request(request).await.unwrap();
        let status = answer.status().as_u16();
        answer.into_body().collect().await.unwrap();
        status
    }
}

#[tokio::test]
async fn an_open_connection_is_held_to_the_options_of_now() {
    let ((pem, (chain, key)), (other, stranger)) = (client(), client());
    let own = || Some((chain.clone(), key.clone_key()));
    let stranger = || Some((stranger.0.clone(), stranger.1.clone_key()));
    let config = Config::new("");
    fs::write(config.path("clients.pem"), &pem).unwrap();
    let whoami = "[http.middlewares.whoami.whoami]\n";
    let before = "[http.routers.before]\nrule = \"Host(`internal.test`) && Path(`/before`)\"\n\
        middlewares = [\"whoami\"]\n";
    config.change(&format!("{whoami}{before}"));
    let portolan = Portolan::start(&config);
    let roots = authority(&config);
    let get = |own| portolan.https().get_as(&roots, "internal.test", "internal.test", "/", own);
    let mut unknown = Open::new(&portolan, &config, "internal.test", None).await;
    assert_eq!(unknown.get("internal.test", "/").await, 404);

    // The router comes, and wants to know who that is.
    config.change(&format!("{ROUTERS}{before}"));
    let is_served = |got: &Result<Answer, _>| got.as_ref().is_ok_and(|it| it.status == 200);
    eventually(|| get(own()), is_served).await.unwrap();
    assert_eq!(unknown.get("internal.test", "/").await, 421);

    // Who is known to those who are trusted now goes on.
    let mut known = Open::new(&portolan, &config, "internal.test", own()).await;
    assert_eq!(known.get("internal.test", "/").await, 200);
    fs::write(config.path("clients.pem"), format!("{pem}{other}")).unwrap();
    eventually(|| get(stranger()), Result::is_ok).await.unwrap();
    assert_eq!(known.get("internal.test", "/").await, 200);
    fs::write(config.path("clients.pem"), other).unwrap();
    eventually(|| get(own()), Result::is_err).await.unwrap_err();
    assert_eq!(known.get("internal.test", "/").await, 421);
}

#[tokio::test]
async fn what_the_entrypoint_wants_to_know_holds_for_routers_that_say_nothing() {
    let (pem, own) = client();
    let config = Config::new("");
    fs::write(config.path("clients.pem"), pem).unwrap();
    config.change(&format!(
        "{ROUTERS}
        [tls.options.open]
        [http.routers.status]
        rule = \"Host(`status.test`) && PathPrefix(`/public`)\"
        middlewares = [\"whoami\"]
        tls = {{ options = \"open\" }}
        [http.routers.admin]
        rule = \"PathPrefix(`/admin`)\"
        middlewares = [\"whoami\"]
        [http.routers.other]
        rule = \"Host(`other.test`) && Path(`/other`)\"
        middlewares = [\"whoami\"]"
    ));
    let text = fs::read_to_string(config.path("config.toml")).unwrap();
    config.replace(&text.replace("tls = true", "tls = { options = \"internal\" }"));
    let portolan = Portolan::start(&config);
    let mut unknown = Open::new(&portolan, &config, "status.test", None).await;
    assert_eq!(unknown.get("status.test", "/public").await, 200);
    assert_eq!(unknown.get("status.test", "/admin").await, 421);
    let mut known = Open::new(&portolan, &config, "other.test", Some(own)).await;
    assert_eq!(known.get("other.test", "/admin").await, 200);
}

#[tokio::test]
async fn explain_tells_of_the_handshake_and_what_cannot_be_had_over_it() {
    let config = Config::new("");
    fs::write(config.path("clients.pem"), client().0).unwrap();
    config.change(&format!(
        "{ROUTERS}
        [http.routers.lost]
        rule = \"Host(`lost.test`)\"
        middlewares = [\"whoami\"]
        tls = {{ options = \"nowhere\" }}
        [http.routers.pattern]
        rule = \"PathPrefix(`/pattern`)\"
        middlewares = [\"whoami\"]
        tls = {{ options = \"internal\" }}"
    ));
    let text = fs::read_to_string(config.path("config.toml")).unwrap();
    config.replace(&text.replace("tls = true", "tls = { options = \"strict\" }"));
    let portolan = Portolan::start(&config);
    for (url, verdict, [options, client, reason]) in [
        ("public.test/", "router `public@config` takes it; ", ["strict", "unasked", "null"]),
        (
            "internal.test/",
            "router `internal@config` takes it; one of its middlewares answers; a \
             client without a certificate does not get through the handshake",
            ["internal", "required", "null"],
        ),
        (
            "public.test/pattern",
            "421: router `pattern@config` takes it, but wants TLS options `internal`, and the \
             handshake has `strict`",
            ["strict", "unasked", "misdirected"],
        ),
        (
            "unknown.test/",
            "no request comes: the handshake is refused, `unknown.test` is not served, and the TLS \
             options `strict` are strict",
            ["strict", "unasked", "null"],
        ),
        (
            "lost.test/",
            "no request comes: the handshake is refused, its TLS options `nowhere` are missing or \
             not in working order",
            ["nowhere", "unasked", "null"],
        ),
    ] {
        let told = portolan.api(&format!("/api/explain?method=GET&url=https://{url}")).await;
        assert!(told["verdict"].as_str().unwrap().starts_with(verdict), "{}", told["verdict"]);
        let tls = [&told["tls"]["options"], &told["tls"]["clientCertificate"], &told["reason"]];
        let tls = tls.map(|it| it.as_str().unwrap_or("null"));
        assert_eq!(tls, [options, client, reason], "{url}");
    }
    // What it foresees is what happens.
    let roots = authority(&config);
    let get = |host, path| portolan.https().get_tls(&roots, host, path);
    assert_eq!(get("public.test", "/pattern").await.unwrap().status, 421);
    assert!(get("unknown.test", "/").await.is_err() && get("lost.test", "/").await.is_err());
    let plain = portolan.api("/api/explain?method=GET&url=http://public.test/").await;
    assert!(plain["tls"].is_null(), "{plain}");
    let port = portolan.https().0.port();
    let plain = portolan.api(&format!("/api/explain?url=http://public.test:{port}/")).await;
    assert_eq!(plain["reason"], "plain-http", "{plain}");
}

#[tokio::test]
async fn options_that_no_handshake_chooses_are_a_problem() {
    let config = Config::new("");
    fs::write(config.path("clients.pem"), client().0).unwrap();
    config.change(&format!(
        "{ROUTERS}
        [http.routers.pattern]
        rule = \"HostRegexp(`^.+[.]test$`)\"
        middlewares = [\"whoami\"]
        tls = {{ options = \"internal\" }}
        [http.routers.both]
        rule = \"Host(`both.test`) || PathPrefix(`/both`)\"
        middlewares = [\"whoami\"]
        tls = {{ options = \"strict\" }}
        [http.routers.lost]
        rule = \"PathPrefix(`/lost`)\"
        middlewares = [\"whoami\"]
        tls = {{ options = \"nowhere\" }}
        [http.routers.same]
        rule = \"PathPrefix(`/same`)\"
        middlewares = [\"whoami\"]
        tls = {{ options = \"default\" }}"
    ));
    let (code, _, error) = run(&config, &["check"]);
    assert_eq!(code, 2);
    for told in [
        "no handshake chooses its TLS options `internal`: its rule names no host",
        "requests over handshakes with others are answered 421; name hosts with `Host`, or give",
        "TLS options `strict` are chosen for `both.test` only: its rule takes other hosts too",
        "other handshakes have the options of their host or of the entrypoint; name hosts",
        "there is no `[tls.options.nowhere]`",
        "its requests are answered 421 until there is",
    ] {
        assert!(error.contains(told), "no `{told}` in {error}");
    }
    assert!(!error.contains("TLS options `default`"), "{error}");
    let portolan = Portolan::start(&config);
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    eventually(problems, |told| told.contains("no handshake chooses its TLS options")).await;
}
