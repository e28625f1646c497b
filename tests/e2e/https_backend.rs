//! Backends over HTTPS: those whose certificate is trusted and fits are asked, others are not.

use std::sync::Arc;

use tokio::{
    io::{copy, sink},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;

use crate::support::{Authority, Backend, Config, Portolan, eventually};

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

/// The same with a servers-transport.
fn router_by(transport: &str, name: &str, backend: &Backend) -> String {
    format!("{}servers-transport = \"{transport}\"\n", router(name, backend))
}

#[tokio::test]
async fn a_servers_transport_says_which_name_is_asked_for_and_what_is_shown() {
    let (own, clients) = (Authority::new("own"), Authority::new("clients"));
    let acceptor = own.leaf("db.internal").acceptor_of(&clients);
    let backend = Backend::start_tls("db", acceptor).await;
    let shown = "certificates = [{ cert-file = \"edge.pem\", key-file = \"edge.key\" }]";
    let transports = [
        ("all", "db.internal", "own.pem", shown),
        ("nameless", "127.0.0.1", "own.pem", shown),
        ("foreign", "db.internal", "clients.pem", shown),
        ("silent", "db.internal", "own.pem", ""),
    ];
    let config = Config::new("");
    std::fs::write(config.path("own.pem"), own.pem()).unwrap();
    std::fs::write(config.path("clients.pem"), clients.pem()).unwrap();
    clients.leaf("edge").write(&config.path("edge.pem"), &config.path("edge.key"));
    let transport = |(name, server_name, roots, shown): (&str, &str, &str, &str)| {
        format!(
            "{}[http.servers-transports.{name}]\nserver-name = \"{server_name}\"\n\
             root-cas = [\"{roots}\"]\n{shown}\ndisable-http2 = true\nmin-version = \"1.3\"\n\
             cipher-suites = [\"TLS_CHACHA20_POLY1305_SHA256\"]\n",
            router_by(name, name, &backend)
        )
    };
    config.change(&transports.map(transport).concat());
    let portolan = Portolan::start(&config);

    let answer = portolan.http().get("all.local", "/").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let heard = "tls-name: db.internal\n\
                 tls-suite: Some(TLS13_CHACHA20_POLY1305_SHA256)\ntls-certificates: 1\n";
    assert!(answer.body.ends_with(heard), "{answer:?}");
    for host in ["nameless.local", "foreign.local", "silent.local"] {
        let answer = portolan.http().get(host, "/").await;
        assert_eq!(answer.status, 502, "{host}: {answer:?}");
        // Who shows nothing hears of it behind the handshake only, but it is of that all the same.
        assert!(answer.body.contains("encryption"), "{host}: {answer:?}");
    }
    assert_eq!(backend.requests(), 1);
}

#[tokio::test]
async fn a_certificate_that_is_refused_behind_the_handshake_is_of_encryption_over_http_2_too() {
    let (own, clients) = (Authority::new("own"), Authority::new("clients"));
    let mut server = own.leaf("127.0.0.1").acceptor_of(&clients).config().as_ref().clone();
    server.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(server));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let backend = tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let refused = acceptor.accept(stream).into_fallible().await;
        let (_, mut stream) = refused.err().unwrap();
        // What was not read would take the reason along when it ends.
        copy(&mut stream, &mut sink()).await.ok();
    });
    let config = Config::new("");
    std::fs::write(config.path("own.pem"), own.pem()).unwrap();
    config.change(&format!(
        "[http.routers.a]\nrule = \"Host(`a.local`)\"\nservice = \"a\"\n\
         [http.services.a.load-balancer]\nservers-transport = \"own\"\n\
         servers = [{{ url = \"https://{address}\" }}]\n\
         [http.servers-transports.own]\nroot-cas = [\"own.pem\"]\n"
    ));
    let portolan = Portolan::start(&config);

    let answer = portolan.http().get("a.local", "/").await;
    assert_eq!(answer.status, 502, "{answer:?}");
    assert!(answer.body.contains("refused or broke the encryption"), "{answer:?}");
    backend.await.unwrap();
}

#[tokio::test]
async fn a_root_that_is_half_written_costs_no_connection() {
    let own = Authority::new("own");
    let acceptor = own.leaf("127.0.0.1").acceptor();
    let before = Backend::start_tls("before", acceptor.clone()).await;
    let after = Backend::start_tls("after", acceptor).await;
    let config = Config::new("");
    let roots = config.path("own.pem");
    std::fs::write(&roots, own.pem()).unwrap();
    config.change(&format!(
        "{}{}[http.servers-transports.own]\nroot-cas = [\"own.pem\"]\n\
         {}[http.servers-transports.none]\nroot-cas = [\"nowhere.pem\"]\n",
        router_by("own", "before", &before),
        router_by("own", "after", &after),
        router_by("none", "closed", &after),
    ));
    let portolan = Portolan::start(&config);
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    assert_eq!(portolan.http().get("before.local", "/").await.status, 200);

    std::fs::write(&roots, own.pem().get(..100).unwrap()).unwrap();
    let told = eventually(problems, |told| told.contains("own.pem")).await;
    assert!(told.contains("what the files held before"), "{told}");
    // One that nobody is connected to yet.
    assert_eq!(portolan.http().get("after.local", "/").await.status, 200);
    // What was never there is nothing to go on with.
    assert!(told.contains("nowhere.pem"), "{told}");
    assert_eq!(portolan.http().get("closed.local", "/").await.status, 502);

    std::fs::write(&roots, own.pem()).unwrap();
    eventually(problems, |told| !told.contains("own.pem")).await;
}

#[tokio::test]
async fn backends_of_services_that_name_no_transport_are_reached_as_the_configuration_says() {
    let (own, known) = (Authority::new("own"), Authority::new("known"));
    let strange = Backend::start_tls("strange", own.leaf("elsewhere").acceptor()).await;
    let good = Backend::start_tls("good", known.leaf("127.0.0.1").acceptor()).await;
    let services = format!(
        "{}{}{}{}[http.servers-transports.strict]\nroot-cas = [\"known.pem\"]\n\
         [http.servers-transports.lax]\ninsecure-skip-verify = true\n",
        router("none", &strange),
        router_by("default@internal", "same", &strange),
        router_by("strict", "refused", &strange),
        router_by("strict", "trusted", &good),
    );
    let config = Config::new(&services);
    std::fs::write(config.path("known.pem"), known.pem()).unwrap();
    let portolan = Portolan::start(&config);
    let statuses = async || {
        let mut statuses = Vec::new();
        for name in ["none", "same", "refused", "trusted"] {
            let answer = portolan.http().get(&format!("{name}.local"), "/").await;
            statuses.push(answer.status.as_u16());
        }
        statuses
    };
    assert_eq!(statuses().await, [502, 502, 502, 200]);
    config.change(&format!("[http]\ndefault-servers-transport = \"lax\"\n{services}"));
    eventually(statuses, |statuses| *statuses == [200, 200, 502, 200]).await;
    // One that is not there is refused, and the one before goes on.
    config.change(&format!("[http]\ndefault-servers-transport = \"lex\"\n{services}"));
    let log = portolan.log_until("did you mean `lax`?");
    assert!(log.contains("so services that name none answer 503"), "{log}");
    assert_eq!(statuses().await, [200, 200, 502, 200]);
}
