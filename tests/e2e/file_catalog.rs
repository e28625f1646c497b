//! The file provider: a file dropped into a folder is in use.

use hickory_proto::rr::RecordType;

use crate::support::{Backend, Config, Portolan, eventually};

const PROVIDER: &str = "[providers.static]\nplugin = \"file\"\n\
    config = { directory = \"dynamic\" }\ngrants = { files = [\"dynamic\"] }\n";

#[tokio::test]
async fn a_file_is_in_use_while_it_is_there_and_its_last_good_content_while_it_is_broken() {
    let backend = Backend::start("static").await;
    let config = Config::new(PROVIDER);
    let portolan = Portolan::start(&config);
    let file = config.path("dynamic/shop.toml");
    let rule = "[http.routers.shop]\nrule = \"Host(`shop.local`)\"\nservice = \"shop\"\n";
    let service = format!(
        "[http.services.shop.load-balancer]\nservers = [{{ url = \"{}\" }}]\n",
        backend.url()
    );
    std::fs::write(&file, format!("{rule}{service}")).unwrap();
    eventually(|| portolan.http().get("shop.local", "/"), |a| a.status == 200).await;
    assert!(portolan.dns().a("shop.local").await.is(&["127.0.0.9"]));

    std::fs::write(&file, format!("{rule}[http.services.shop\n")).unwrap();
    let problems = eventually(
        || async { portolan.api("/api/problems").await.to_string() },
        |problems| problems.contains("shop.toml"),
    )
    .await;
    assert!(problems.contains("line 4") || problems.contains(":4"), "{problems}");
    assert_eq!(portolan.http().get("shop.local", "/").await.status, 200);

    std::fs::remove_file(&file).unwrap();
    eventually(|| portolan.http().get("shop.local", "/"), |a| a.status == 404).await;
}

#[tokio::test]
async fn yaml_is_read_as_traefik_reads_it() {
    let backend = Backend::start("yaml").await;
    let config = Config::new(PROVIDER);
    let portolan = Portolan::start(&config);
    let file = format!(
        "http:
  routers:
    bare:
      rule: Host(`bare.local`)
      service: web
      tls:
      priority:
      middlewares:
      #  - missing
      entryPoints:
    dressed:
      rule: Host(`dressed.local`)
      service: web
      middlewares: [headers]
  middlewares:
    headers:
      headers:
        frameDeny:
        stsSeconds:
        customResponseHeaders:
          X-Number: 443
          X-Boolean: true
          X-On: on
          X-Zeros: 0600
          X-Nothing:
  services:
    web:
      loadBalancer:
        passHostHeader:
        servers:
          - url: {}
            weight:
tcp:
",
        backend.url()
    );
    std::fs::write(config.path("dynamic/web.yaml"), file).unwrap();
    eventually(|| portolan.http().get("bare.local", "/"), |answer| answer.status == 200).await;
    let answer = portolan.http().get("dressed.local", "/").await;
    assert_eq!(answer.status, 200);
    let header = |name: &str| answer.header(name).to_owned();
    let found = ["x-number", "x-boolean", "x-on", "x-zeros", "x-nothing"].map(header);
    assert_eq!(found, ["443", "true", "on", "0600", ""]);
    assert_eq!(portolan.api("/api/problems").await, serde_json::json!([]));
}

#[tokio::test]
async fn state_that_cannot_be_kept_is_told_of_until_it_can() {
    let config = Config::new(PROVIDER);
    std::fs::create_dir(config.path("data")).unwrap();
    // Where the folder of states should be.
    std::fs::write(config.path("data/state"), "").unwrap();
    let portolan = Portolan::start(&config);
    let declare = |host: &str| {
        let text = format!("[http.routers.a]\nrule = \"Host(`{host}`)\"\nservice = \"a\"\n");
        std::fs::write(config.path("dynamic/a.toml"), text).unwrap();
    };
    let told = || async { portolan.api("/api/problems").await.to_string() };
    declare("one.local");
    eventually(told, |told| told.contains("its state is not kept")).await;
    std::fs::remove_file(config.path("data/state")).unwrap();
    declare("two.local");
    eventually(told, |told| !told.contains("its state is not kept")).await;
}

#[tokio::test]
async fn records_in_a_file_are_answered_while_they_are_there() {
    let config = Config::new(PROVIDER);
    let portolan = Portolan::start(&config);
    let file = config.path("dynamic/names.toml");
    std::fs::write(
        &file,
        "[dns]\nrecords = [\n\
         { name = \"nas.lan\", type = \"A\", data = \"10.0.0.5\" },\n\
         { name = \"*.apps.lan\", type = \"CNAME\", data = \"nas.lan.\" },\n\
         { name = \"mail.lan\", type = \"MX\", data = \"10 nas.lan.\", ttl = 77 },\n\
         { name = \"bad.lan\", type = \"A\", data = \"10.0.0\" },\n\
         { name = \"worse.lan\", typ = \"A\", data = \"10.0.0.1\" },\n]\n",
    )
    .unwrap();
    let dns = portolan.dns();
    eventually(|| dns.a("NAS.lan."), |reply| reply.is(&["10.0.0.5"])).await;
    assert!(dns.a("any.apps.lan.").await.is(&["10.0.0.5", "nas.lan."]));
    assert!(dns.ask("mail.lan.", RecordType::MX).await.is(&["10 nas.lan."]));
    assert!(dns.ask("5.0.0.10.in-addr.arpa.", RecordType::PTR).await.is(&["nas.lan."]));
    let problems = portolan.api("/api/problems").await.to_string();
    for told in ["/dns/records/3", "/dns/records/4", "did you mean `type`?"] {
        assert!(problems.contains(told), "{told}: {problems}");
    }
    // What is new in the file is new, what is gone is gone.
    std::fs::write(
        &file,
        "dns.records = [{ name = \"tv.lan\", type = \"A\", data = \"10.0.0.6\" }]\n",
    )
    .unwrap();
    eventually(|| dns.a("tv.lan."), |reply| reply.is(&["10.0.0.6"])).await;
    assert!(dns.a("nas.lan.").await.answers.is_empty());
    std::fs::remove_file(&file).unwrap();
    eventually(|| dns.a("tv.lan."), |reply| reply.answers.is_empty()).await;
}
