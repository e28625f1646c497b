//! How a Consul is reached that does not talk to everybody: tokens and TLS.

use std::fs;

use serde_json::{Value, json};

use crate::support::{Authority, Config, Consul, Portolan, Registration, eventually, free_ports};

const ROOT: &str = "00000000-0000-0000-0000-00000000beef";

async fn register(consul: &Consul, service: &str, address: &str) {
    let address = format!("{address}:80").parse().unwrap();
    consul.register(&Registration { id: service, service, address, tags: &[] }).await;
}

/// A token that may do everything: its accessor and its secret.
async fn token(consul: &Consul) -> (String, String) {
    let body = json!({ "Policies": [{ "Name": "global-management" }] });
    let answer = consul.put("/v1/acl/token", &body).await.json();
    let text = |key: &str| answer[key].as_str().unwrap().to_owned();
    (text("AccessorID"), text("SecretID"))
}

fn says(text: &str) -> impl Fn(&Value) -> bool {
    move |told| told.to_string().contains(text)
}

#[tokio::test]
async fn a_token_in_a_file_is_read_again_when_it_changes() {
    let acl = format!(
        "acl {{ enabled = true, default_policy = \"deny\", tokens {{ master = \"{ROOT}\", \
         agent = \"{ROOT}\" }} }}"
    );
    let consul = Consul::start_with(&acl, ROOT).await;
    let url = consul.url();
    let config = Config::new(&format!(
        "[providers.consul]\nconfig = {{ address = \"{url}\", tokenFile = \"consul.token\" }}\n\
         grants = {{ http-client = [\"{url}\"], files = [\"consul.token\"] }}\n"
    ));
    let portolan = Portolan::start(&config);
    register(&consul, "one", "10.0.0.1").await;
    let told = eventually(|| portolan.api("/api/providers"), says("there is no such file")).await;
    assert!(told.to_string().contains("consul.token"), "{told}");

    // It appears.
    let (first, secret) = token(&consul).await;
    fs::write(config.path("consul.token"), format!("{secret}\n")).unwrap();
    eventually(|| portolan.dns().a("one.service.consul"), |r| r.is(&["10.0.0.1"])).await;

    // It is replaced, and the old one is good for nothing any more.
    let (_, secret) = token(&consul).await;
    fs::write(config.path("consul.token"), &secret).unwrap();
    let path = format!("/v1/acl/token/{first}");
    let gone = consul.ask(http::Method::DELETE, &path, &Value::Null).await.unwrap();
    assert_eq!(gone.status, 200);
    register(&consul, "two", "10.0.0.2").await;
    eventually(|| portolan.dns().a("two.service.consul"), |r| r.is(&["10.0.0.2"])).await;

    // It goes: the last one is used on, and that is a problem.
    fs::remove_file(config.path("consul.token")).unwrap();
    register(&consul, "three", "10.0.0.3").await;
    eventually(|| portolan.dns().a("three.service.consul"), |r| r.is(&["10.0.0.3"])).await;
    let problems = || portolan.api("/api/problems");
    eventually(problems, says("there is no such file; what it held before is used")).await;
    fs::write(config.path("consul.token"), &secret).unwrap();
    register(&consul, "four", "10.0.0.4").await;
    eventually(problems, |told| !says("consul.token")(told)).await;

    // One that Consul does not know: the last known state is served, and that is a problem.
    fs::write(config.path("consul.token"), "11111111-1111-1111-1111-111111111111").unwrap();
    register(&consul, "five", "10.0.0.5").await;
    eventually(problems, says("the last known state is served")).await;
    assert!(portolan.dns().a("one.service.consul").await.is(&["10.0.0.1"]));
}

#[tokio::test]
async fn a_token_file_that_is_not_granted_is_denied() {
    let consul = Consul::start().await;
    let url = consul.url();
    let config = Config::new(&format!(
        "[providers.consul]\nconfig = {{ address = \"{url}\", token-file = \"consul.token\" }}\n\
         grants = {{ http-client = [\"{url}\"] }}\n"
    ));
    fs::write(config.path("consul.token"), "t").unwrap();
    let portolan = Portolan::start(&config);
    let told = eventually(|| portolan.api("/api/providers"), says("is not granted")).await;
    let wanted = "add \\\"consul.token\\\" to its `grants.files`";
    assert!(told.to_string().contains(wanted), "{told}");
}

#[tokio::test]
async fn a_consul_with_tls_is_trusted_by_its_authority_and_sees_our_certificate() {
    let [port] = free_ports();
    let (authority, stranger) = (Authority::new("consul"), Authority::new("stranger"));
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    // Consul's own certificates are for names such as this one.
    authority.leaf("server.dc1.consul").write(path("s.pem").as_ref(), path("s.key").as_ref());
    fs::write(path("ca.pem"), authority.pem()).unwrap();
    let lines = format!(
        "ports {{ https = {port} }}\nverify_incoming_https = true\nca_file = \"{}\"\n\
         cert_file = \"{}\"\nkey_file = \"{}\"",
        path("ca.pem"),
        path("s.pem"),
        path("s.key")
    );
    let consul = Consul::start_with(&lines, "").await;
    register(&consul, "one", "10.0.0.1").await;
    let url = format!("https://127.0.0.1:{port}");
    let provider = |tls: &str| {
        format!(
            "[providers.consul]\nconfig = {{ address = \"{url}\" }}\n\
             grants = {{ http-client = [\"{url}\"] }}\n{tls}\n"
        )
    };
    let config = Config::new(&provider(""));
    authority.leaf("edge").write(&config.path("edge.pem"), &config.path("edge.key"));
    fs::write(config.path("ca.pem"), stranger.pem()).unwrap();
    let portolan = Portolan::start(&config);
    // Nobody whom the system trusts made its certificate.
    let providers = || portolan.api("/api/providers");
    eventually(providers, says("does not agree on TLS")).await;

    let tls = "tls = { ca = \"ca.pem\", cert = \"edge.pem\", key = \"edge.key\", \
               server-name = \"server.dc1.consul\" }";
    config.change(&provider(tls));
    eventually(providers, says("UnknownIssuer")).await;
    // The right authority: what is in the files counts, not when they were named.
    fs::write(config.path("ca.pem"), authority.pem()).unwrap();
    eventually(|| portolan.dns().a("one.service.consul"), |r| r.is(&["10.0.0.1"])).await;

    // Without a certificate of ours Consul does not answer: the configuration before goes on.
    config.change(&provider("tls = { insecure-skip-verify = true }"));
    let problems = || portolan.api("/api/problems");
    eventually(problems, says("the configuration before goes on")).await;
    assert!(portolan.dns().a("one.service.consul").await.is(&["10.0.0.1"]));
    config.change(&provider(
        "tls = { insecure-skip-verify = true, cert = \"edge.pem\", key = \"edge.key\" }",
    ));
    register(&consul, "two", "10.0.0.2").await;
    eventually(|| portolan.dns().a("two.service.consul"), |r| r.is(&["10.0.0.2"])).await;
}
