//! Certificates from an authority that is asked for them: a real one, Pebble.

use std::{
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    time::Duration,
};

use http::Method;
use http_body_util::Full;

use crate::{
    support::{Authority, Config, Consul, Harbour, Pebble, Portolan, eventually, request, run},
    tls::authority,
};

/// Longer than any test.
const LONG: u32 = 90 * 24 * 60 * 60;

fn router(name: &str, host: &str, tls: &str) -> String {
    format!(
        "[http.routers.{name}]\nrule = \"Host(`{host}`)\"\nmiddlewares = [\"whoami\"]\n{tls}\n\
         [http.middlewares.whoami.whoami]\n"
    )
}

/// The certificate of a resolver for a name, as the API tells it.
async fn certificate(portolan: &Portolan, name: &str) -> Option<serde_json::Value> {
    let list = portolan.api("/api/certificates").await;
    let list = list.as_array().unwrap().clone();
    list.into_iter().find(|it| {
        it["portolan"]["source"] == "acme"
            && it["sans"].as_array().unwrap().iter().any(|san| san == name)
    })
}

async fn serial(portolan: &Portolan, name: &str) -> Option<String> {
    Some(certificate(portolan, name).await?["serialNumber"].as_str()?.to_owned())
}

/// Waits until there is a certificate for a name; answers its serial number.
async fn issued(portolan: &Portolan, name: &str) -> String {
    let serial = eventually(|| serial(portolan, name), Option::is_some).await;
    serial.unwrap()
}

async fn problems(portolan: &Portolan) -> String {
    portolan.api("/api/problems").await.to_string()
}

#[tokio::test]
async fn http_01_is_answered_before_routers_and_redirects() {
    let harbour = Harbour::new();
    let pebble = Pebble::start(harbour, LONG).await;
    let config = harbour.config(&format!(
        "{}{}[entrypoints.web.redirect]\nto = \"websecure\"\n\
         [http.routers.shadow]\nrule = \"PathPrefix(`/.well-known/acme-challenge/`)\"\n\
         priority = 100000\nmiddlewares = [\"whoami\"]\n",
        pebble.resolver("le", ""),
        router("shop", "shop.acme.test", "tls = { cert-resolver = \"le\" }"),
    ));
    let portolan = Portolan::start(&config);
    issued(&portolan, "shop.acme.test").await;
    let root = pebble.root().await;
    let answer = portolan.https().get_tls(&root, "shop.acme.test", "/").await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(pebble.issued(), 1);

    // What is no challenge of ours is redirected, with the port of the target.
    let answer = portolan.http().get("shop.acme.test:80", "/a?b=c").await;
    let location = format!("https://shop.acme.test:{}/a?b=c", harbour.websecure);
    assert_eq!((answer.status.as_u16(), answer.header("location")), (301, &*location));
    let post = request(Method::POST, "shop.acme.test", "/a").body(Full::default()).unwrap();
    assert_eq!(portolan.http().send(post).await.unwrap().status, 308);

    let (_, told, _) = run(&config, &["explain", "GET", "http://shop.acme.test/"]);
    assert!(told.contains("redirects it to https at entrypoint `websecure`"), "{told}");

    // The next start finds it, and orders nothing.
    let first = serial(&portolan, "shop.acme.test").await;
    drop(portolan);
    let portolan = Portolan::start(&config);
    assert_eq!(Some(issued(&portolan, "shop.acme.test").await), first);
    assert_eq!(pebble.issued(), 1);
}

#[tokio::test]
async fn tls_alpn_01_certifies_the_domains_that_a_router_names() {
    let harbour = Harbour::new();
    let pebble = Pebble::start(harbour, LONG).await;
    let config = harbour.config(&format!(
        "{}{}",
        pebble.resolver("le", "challenge = \"tls-alpn-01\"\nkey-type = \"ec384\""),
        router(
            "both",
            "one.acme.test`) || Host(`two.acme.test",
            "tls = { cert-resolver = \"le\", domains = [\
             { main = \"one.acme.test\", sans = [\"two.acme.test\"] }] }"
        ),
    ));
    let portolan = Portolan::start(&config);
    issued(&portolan, "two.acme.test").await;
    let root = pebble.root().await;
    for name in ["one.acme.test", "two.acme.test"] {
        let answer = portolan.https().get_tls(&root, name, "/").await;
        assert_eq!(answer.unwrap().status, 200, "{name}");
    }
    assert_eq!(pebble.issued(), 1);
    let told = certificate(&portolan, "one.acme.test").await.unwrap();
    assert_eq!((&told["keyType"], &told["keySize"]), (&"ECDSA".into(), &384.into()));
    let metrics = portolan.admin().get("localhost", "/metrics").await.body;
    assert!(metrics.contains("traefik_tls_certs_not_after{cn="), "{metrics}");
}

#[tokio::test]
async fn an_account_elsewhere_opens_the_door_of_an_authority_that_wants_one() {
    let secret = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W";
    let harbour = Harbour::new();
    let pebble = Pebble::start_with(harbour, LONG, Some(("kid-1", secret))).await;
    let wanting = router("eab", "eab.acme.test", "tls = { cert-resolver = \"le\" }");
    let config = harbour.config(&format!("{}{wanting}", pebble.resolver("le", "")));
    let portolan = Portolan::start(&config);
    eventually(|| problems(&portolan), |told| told.contains("externalAccountRequired")).await;

    std::fs::write(config.path("eab.key"), format!("{secret}\n")).unwrap();
    let lines = "eab = { key-id = \"kid-1\", hmac-file = \"eab.key\" }\nkey-type = \"rsa2048\"";
    config.replace(&harbour.toml(&format!("{}{wanting}", pebble.resolver("le", lines))));
    issued(&portolan, "eab.acme.test").await;
    let told = certificate(&portolan, "eab.acme.test").await.unwrap();
    assert_eq!((&told["keyType"], &told["keySize"]), (&"RSA".into(), &2048.into()));
    // Accounts and keys are for us alone.
    for folder in walk(&config.path("data/acme")) {
        let mode = std::fs::metadata(&folder).unwrap().permissions().mode() & 0o077;
        assert_eq!(mode, 0, "{}", folder.display());
    }
}

/// A folder and all that is in it.
fn walk(path: &Path) -> Vec<PathBuf> {
    let inside = std::fs::read_dir(path).into_iter().flatten();
    let inside = inside.flat_map(|entry| walk(&entry.unwrap().path()));
    inside.chain([path.to_owned()]).collect()
}

#[tokio::test]
async fn the_resolver_of_an_entrypoint_renews_certificates_in_time() {
    let harbour = Harbour::new();
    let pebble = Pebble::start(harbour, 9).await;
    let text = harbour.toml(&format!(
        "{}{}",
        pebble.resolver("le", ""),
        router("short", "short.acme.test", ""),
    ));
    let config = Config::exactly(&text.replace("tls = true", "tls = { resolver = \"le\" }"));
    let portolan = Portolan::start(&config);
    let first = issued(&portolan, "short.acme.test").await;
    let later = eventually(
        || serial(&portolan, "short.acme.test"),
        |serial| serial.as_ref().is_some_and(|serial| *serial != first),
    )
    .await;
    assert!(pebble.issued() >= 2, "{later:?}");
    let root = pebble.root().await;
    assert!(portolan.https().get_tls(&root, "short.acme.test", "/").await.is_ok());
}

#[tokio::test]
async fn a_refusal_is_told_in_the_words_of_the_authority() {
    let harbour = Harbour::new();
    let pebble = Pebble::start(harbour, LONG).await;
    let config = harbour.config(&format!(
        "{}{}{}{}",
        pebble.resolver("le", ""),
        router("blocked", "blocked.test", "tls = { cert-resolver = \"le\" }"),
        "[http.routers.good]\nrule = \"Host(`good.acme.test`)\"\nmiddlewares = [\"whoami\"]\n\
         tls = { cert-resolver = \"le\" }\n",
        "[http.routers.lost]\nrule = \"Host(`lost.acme.test`)\"\nmiddlewares = [\"whoami\"]\n\
         tls = { cert-resolver = \"el\" }\n",
    ));
    let portolan = Portolan::start(&config);
    // One that is refused holds up no other.
    issued(&portolan, "good.acme.test").await;
    let told = eventually(
        || problems(&portolan),
        |told| told.contains("blocked.test") && told.contains("[acme.el]"),
    )
    .await;
    assert!(
        told.contains("rejectedIdentifier") && told.contains("the next attempt is at"),
        "{told}"
    );
    // It is left alone for a minute and more, unless somebody who knows better says so.
    let next = |told: &str| {
        let after = told.split("the next attempt is at ").nth(1).unwrap();
        after.split(';').next().unwrap().to_owned()
    };
    let first = next(&told);
    portolan.signal("-HUP");
    eventually(|| problems(&portolan), |told| next(told) != first).await;
    let local = authority(&config);
    for name in ["blocked.test", "lost.acme.test"] {
        let answer = portolan.https().get_tls(&local, name, "/").await;
        assert_eq!(answer.unwrap().status, 200, "{name}");
    }
}

/// A provider of this Consul, and these lines.
fn shared(consul: &Consul, toml: &str) -> String {
    let url = consul.url();
    format!(
        "[providers.consul]\nconfig = {{ address = \"{url}\" }}\n\
         grants = {{ http-client = [\"{url}\"] }}\n{toml}"
    )
}

#[tokio::test]
async fn a_node_answers_the_handshake_that_another_node_waits_for() {
    let consul = Consul::start().await;
    let (front, back) = (Harbour::new(), Harbour::new());
    let pebble = Pebble::start(front, LONG).await;
    let lines = "challenge = \"tls-alpn-01\"\nstorage = \"consul\"";
    let provider = shared(&consul, &pebble.resolver("le", lines));
    let [silent, wanting] = ["", "tls = { cert-resolver = \"le\" }"]
        .map(|tls| format!("{provider}{}", router("far", "far.acme.test", tls)));
    let (front_config, back_config) = (front.config(&silent), back.config(&wanting));
    let _front_node = Portolan::start(&front_config);
    let back_node = Portolan::start(&back_config);
    issued(&back_node, "far.acme.test").await;
    let root = pebble.root().await;
    assert!(back_node.https().get_tls(&root, "far.acme.test", "/").await.is_ok());
}

#[tokio::test]
async fn of_two_nodes_with_one_consul_either_orders_and_either_answers() {
    let consul = Consul::start().await;
    let (front, back) = (Harbour::new(), Harbour::new());
    // The authority reaches the front, by its DNS and at its ports.
    let pebble = Pebble::start(front, LONG).await;
    let provider = shared(&consul, &pebble.resolver("le", "storage = \"consul\""));
    let wanting = router("shared", "shared.acme.test", "tls = { cert-resolver = \"le\" }");
    let silent = router("shared", "shared.acme.test", "");
    let front_config = front.config(&format!("{provider}{silent}"));
    let back_config = back.config(&format!("{provider}{wanting}"));
    let front_node = Portolan::start(&front_config);
    let back_node = Portolan::start(&back_config);
    // The back orders, the front is asked.
    let first = issued(&back_node, "shared.acme.test").await;
    assert_eq!(pebble.issued(), 1, "{}", pebble.log());

    // The front wants it too, and takes what is there.
    front_config.replace(&front.toml(&format!("{provider}{wanting}")));
    assert_eq!(issued(&front_node, "shared.acme.test").await, first);
    let root = pebble.root().await;
    for node in [&front_node, &back_node] {
        assert!(node.https().get_tls(&root, "shared.acme.test", "/").await.is_ok());
    }

    // Both want another at the same time: one orders.
    let both = format!(
        "{provider}{wanting}[http.routers.race]\nrule = \"Host(`race.acme.test`)\"\n\
         middlewares = [\"whoami\"]\ntls = {{ cert-resolver = \"le\" }}\n"
    );
    front_config.replace(&front.toml(&both));
    back_config.replace(&back.toml(&both));
    let one = issued(&front_node, "race.acme.test").await;
    assert_eq!(issued(&back_node, "race.acme.test").await, one);
    assert_eq!(pebble.issued(), 2, "{}", pebble.log());

    // What Consul has lost is given back by who remembers it, and not ordered once more.
    drop(front_node);
    assert_eq!(
        consul
            .ask(Method::DELETE, "/v1/kv/?recurse", &serde_json::Value::Null)
            .await
            .unwrap()
            .status,
        200
    );
    let front_node = Portolan::start(&front_config);
    assert_eq!(issued(&front_node, "shared.acme.test").await, first);
    let keys = async || {
        consul.ask(Method::GET, "/v1/kv/?keys", &serde_json::Value::Null).await.unwrap().body
    };
    eventually(keys, |keys| keys.contains("certificates/shared.acme.test.json")).await;
    assert_eq!(pebble.issued(), 2, "{}", pebble.log());

    // Without Consul, a node goes on with what it remembers, also after a restart.
    drop((consul, front_node));
    let front_node = Portolan::start(&front_config);
    assert_eq!(issued(&front_node, "shared.acme.test").await, first);
    assert_eq!(pebble.issued(), 2, "{}", pebble.log());
}

#[tokio::test]
async fn what_is_kept_is_shown_while_the_authority_is_away() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let harbour = Harbour::new();
    // Nobody listens there.
    let resolver = "[acme.le]\ndirectory = \"https://127.0.0.1:1/dir\"\n";
    let wanting = router("old", "old.acme.test", "tls = { cert-resolver = \"le\" }");
    let config = harbour.config(&format!("{resolver}{wanting}"));
    let former = Authority::new("former");
    let leaf = former.aged("old.acme.test", 65 * DAY, 90 * DAY);
    let folder = config.path("data/acme/le/127-0-0-1-1-dir/certificates");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("old.acme.test.json"), leaf.kept("old.acme.test")).unwrap();

    let portolan = Portolan::start(&config);
    let told = eventually(|| problems(&portolan), |told| told.contains("old.acme.test")).await;
    assert!(told.contains("the certificate that there is goes on being shown"), "{told}");
    let answer = portolan.https().get_tls(&former.root(), "old.acme.test", "/").await;
    assert_eq!(answer.unwrap().status, 200);
}
