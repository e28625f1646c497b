//! Services: what is found out of backends holds over reloads, and canaries get their share.

use serde_json::Value;

use crate::support::{Backend, Config, Consul, Portolan, Registration, eventually, request_with};

/// A service over these servers, with further lines for its load balancer.
fn service(name: &str, servers: &[&Backend], more: &str) -> String {
    let urls: Vec<_> =
        servers.iter().map(|server| format!("{{ url = \"{}\" }}", server.url())).collect();
    format!("[http.services.{name}.load-balancer]\nservers = [{}]\n{more}\n", urls.join(", "))
}

fn router(name: &str, service: &str) -> String {
    format!("[http.routers.{name}]\nrule = \"Host(`{name}.local`)\"\nservice = \"{service}\"\n")
}

async fn status(portolan: &Portolan, url: &str) -> Value {
    let services = portolan.api("/api/http/services").await;
    let all = services.as_array().unwrap().iter();
    let found = all.map(|it| it["serverStatus"][url].clone()).find(|it| !it.is_null());
    found.unwrap_or_default()
}

#[tokio::test]
async fn a_backend_that_its_health_check_found_down_stays_down_over_a_reload() {
    let (well, ill) = (Backend::start("well").await, Backend::start("ill").await);
    // It answers, but not on the port that is probed.
    let probed = Backend::start("probed").await;
    let port = probed.address.port();
    let check = format!("health-check = {{ port = {port}, interval = \"1h\", path = \"/x\" }}");
    let of = |more: &str| {
        let first = service("a", &[&well, &ill], more);
        format!("{}{}{first}", router("a", "a"), router("b", "a"))
    };
    let config = Config::new(&of(&check));
    let portolan = Portolan::start(&config);
    // Each backend is probed at once.
    eventually(|| async { probed.requests() }, |requests| *requests == 2).await;
    let (first, second) = (well.url(), ill.url());
    assert_eq!(status(&portolan, &first).await, "UP");
    drop(probed);
    // Another path is another check: it is probed at once, and both are down.
    config.change(&of(&check.replace("/x", "/y")));
    eventually(|| status(&portolan, &second), |it| it == "DOWN").await;
    eventually(|| portolan.http().get("a.local", "/"), |answer| answer.status == 503).await;
    let services = portolan.api("/api/http/services").await.to_string();
    assert!(services.contains("health check: connect"), "{services}");
    // A reload changes nothing about that, though the next probe is an hour away.
    let changed = format!("{}{}", of(&check.replace("/x", "/y")), router("c", "a"));
    config.change(&changed);
    eventually(|| portolan.http().get("c.local", "/"), |answer| answer.status == 503).await;
    assert_eq!(status(&portolan, &second).await, "DOWN");
    // Without a check nobody says that they are down.
    config.change(&of(""));
    eventually(|| portolan.http().get("a.local", "/"), |answer| answer.status == 200).await;
}

#[tokio::test]
async fn a_canary_gets_its_share_by_a_tag_and_goes_without_a_trace() {
    let consul = Consul::start().await;
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let portolan = Portolan::start(&Config::with_consul(&consul.url(), ""));
    let rule = "traefik.http.routers.shop.rule=Host(`shop.local`)";
    let register = async |id, backend: &Backend, tags: &[&str]| {
        let address = backend.address;
        consul.register(&Registration { id, service: "shop", address, tags }).await;
    };
    register("shop-1", &old, &[rule]).await;
    eventually(|| portolan.http().get("shop.local", "/"), |answer| answer.status == 200).await;
    let canary = ["traefik.consulcatalog.canary=true", "traefik.consulcatalog.canary.weight=20"];
    register("shop-2", &new, &[rule, canary[0], canary[1]]).await;
    eventually(|| portolan.http().get("shop.local", "/"), |it| it.body.starts_with("new")).await;
    let (before, of_new) = (old.requests() + new.requests(), new.requests());
    for _ in 0..50 {
        assert_eq!(portolan.http().get("shop.local", "/").await.status, 200);
    }
    assert_eq!(old.requests() + new.requests() - before, 50);
    assert_eq!(new.requests() - of_new, 10);
    // It has a pool of its own, too, of Traefik's name.
    let services = portolan.api("/api/http/services").await;
    let names = services.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap());
    assert_eq!(names.filter(|name| name.starts_with("shop-")).count(), 1, "{services}");
    consul.deregister("shop-2").await;
    eventually(
        || portolan.api("/api/http/services"),
        |services| !services.to_string().contains("shop-2"),
    )
    .await;
    let of_new = new.requests();
    for _ in 0..10 {
        assert!(portolan.http().get("shop.local", "/").await.body.starts_with("old"));
    }
    assert_eq!(new.requests(), of_new);
}

#[tokio::test]
async fn services_of_services_are_made_in_tags() {
    let consul = Consul::start().await;
    let (main, mirror) = (Backend::start("main").await, Backend::start("mirror").await);
    let portolan = Portolan::start(&Config::with_consul(&consul.url(), ""));
    let tags = [
        "traefik.http.routers.shop.rule=Host(`shop.local`)",
        "traefik.http.routers.shop.service=all",
        "traefik.http.services.all.mirroring.service=both",
        "traefik.http.services.all.mirroring.mirrors[0].name=lab",
        "traefik.http.services.all.mirroring.mirrors[0].percent=100",
        "traefik.http.services.both.weighted.services[0].name=shop",
        "traefik.http.services.both.weighted.services[1].name=gone",
        "traefik.http.services.both.weighted.services[1].weight=99",
    ];
    let registration =
        Registration { id: "shop-1", service: "shop", address: main.address, tags: &tags };
    consul.register(&registration).await;
    let registration =
        Registration { id: "lab-1", service: "lab", address: mirror.address, tags: &[] };
    consul.register(&registration).await;
    eventually(|| portolan.http().get("shop.local", "/"), |it| it.body.starts_with("main")).await;
    eventually(
        || async {
            portolan.http().get("shop.local", "/").await;
            mirror.requests()
        },
        |requests| *requests > 0,
    )
    .await;
    let problems = portolan.api("/api/problems").await.to_string();
    assert!(problems.contains("there is no service `gone@consul`"), "{problems}");
}

#[tokio::test]
async fn a_limit_on_all_of_a_request_names_the_backend_that_was_tried_last() {
    // It takes connections, and that is all.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let portolan = Portolan::start(&Config::new(&format!(
        "{}[http.services.s.load-balancer]\nservers = [{{ url = \"{url}\" }}]\n\
         timeouts = {{ total = \"50ms\" }}\n",
        router("a", "s")
    )));
    assert_eq!(portolan.http().get("a.local", "/").await.status, 504);
    portolan
        .log_until(&format!("service `s@config`: backend `{url}` gave no response within 50 ms"));
}

#[tokio::test]
async fn explain_and_answers_agree_where_every_part_of_a_service_is_given_a_rest() {
    let breaker = "circuit-breaker = { min-requests = 1, fallback-duration = \"1h\" }";
    let mut text = String::from(
        "[http.services.both.weighted]\nservices = [{ name = \"a\" }, { name = \"b\" }]
         [http.services.spare.failover]\nservice = \"a\"\nfallback = \"b\"
         [http.services.copied.mirroring]\nservice = \"a\"\n",
    );
    for name in ["a", "b"] {
        let server = "servers = [{ url = \"http://127.0.0.1:9\" }]";
        text.push_str(&format!("[http.services.{name}.load-balancer]\n{server}\n{breaker}\n"));
    }
    let compounds = ["both", "spare", "copied"];
    for name in compounds.into_iter().chain(["a", "b"]) {
        text.push_str(&router(name, name));
    }
    let portolan = Portolan::start(&Config::new(&text));
    let explained = async |name: &str| {
        portolan.api(&format!("/api/explain?method=GET&url=http://{name}.local/")).await
    };
    assert_eq!(portolan.http().get("a.local", "/").await.status, 502);
    // One rests, the other does not: it answers for both.
    assert!(explained("both").await["reason"].is_null());
    assert!(explained("spare").await["reason"].is_null());
    assert_eq!(explained("copied").await["reason"], "circuit-open");
    assert_eq!(portolan.http().get("b.local", "/").await.status, 502);
    for name in compounds {
        let told = explained(name).await;
        assert_eq!(told["reason"], "circuit-open", "{told}");
        let verdict = told["verdict"].as_str().unwrap();
        assert!(verdict.contains(&format!("every circuit breaker behind `{name}@config` is open")));
        assert_eq!(portolan.http().get(&format!("{name}.local"), "/").await.status, 503);
    }
    // A request is noted when its response is over, which is after its client has read it.
    let metrics = async || portolan.admin().get("localhost", "/metrics").await.body;
    eventually(metrics, |metrics| metrics.contains("reason=\"circuit-open\"} 3")).await;
}

#[tokio::test]
async fn servers_at_one_address_with_other_paths_are_probed_and_asked_each() {
    let backend = Backend::start("b").await;
    let url = |path: &str| format!("{}{path}", backend.url());
    let server = |path| format!("{{ url = \"{}\", preserve-path = true }}", url(path));
    let of = |strategy: &str| {
        format!(
            "{}[http.services.a.load-balancer]\nservers = [{}, {}]\nstrategy = \"{strategy}\"\n\
             health-check = {{ path = \"/health\", interval = \"1h\" }}\n",
            router("a", "a"),
            server("/one"),
            server("/two/"),
        )
    };
    let config = Config::new(&of("p2c"));
    let portolan = Portolan::start(&config);
    eventually(|| async { backend.requests() }, |requests| *requests == 2).await;
    config.change(&of("wrr"));
    let asked = || async { portolan.http().get("a.local", "/x?q=/y").await.body };
    for wanted in ["GET /one/x?q=/y\n", "GET /two/x?q=/y\n"] {
        eventually(asked, |body| body.contains(wanted)).await;
    }
    for path in ["/one", "/two"] {
        assert_eq!(status(&portolan, &url(path)).await, "UP");
    }
}

#[tokio::test]
async fn explain_names_the_backend_that_a_hash_leads_to() {
    let names = ["one", "two", "three"];
    let backends = [
        Backend::start(names[0]).await,
        Backend::start(names[1]).await,
        Backend::start(names[2]).await,
    ];
    let all: Vec<_> = backends.iter().collect();
    let named = "[http.routers.named]\nrule = \"Host(`named.local`)\"\nservice = \"user\"\n\
        middlewares = [\"ann\"]\n[http.middlewares.ann.headers]\n\
        customRequestHeaders = { x-user = \"ann\" }\n";
    let config = Config::new(
        &[
            "[entrypoints.web.forwarded-headers]\ntrusted-ips = [\"127.0.0.0/8\"]\n".to_owned(),
            service("ip", &all, "strategy = \"hrw\""),
            service("user", &all, "strategy = \"hrw\"\nhash = { header = \"x-user\" }"),
            router("ip", "ip"),
            router("user", "user"),
            named.to_owned(),
        ]
        .concat(),
    );
    let portolan = Portolan::start(&config);
    let mut found = std::collections::BTreeSet::new();
    for client in 1..20 {
        let address = format!("192.0.2.{client}");
        for (host, header, value, by) in [
            ("ip.local", "x-forwarded-for", &*address, format!("address {address}")),
            ("user.local", "x-user", &*address, "header `x-user`".to_owned()),
            ("named.local", "x-user", &*address, "header `x-user`".to_owned()),
        ] {
            let answer = portolan.http().send(request_with(host, header, value)).await.unwrap();
            let place = names.iter().position(|name| answer.header("x-backend") == *name).unwrap();
            let url = backends[place].url();
            let path = format!("/api/explain?url=http%3A%2F%2F{host}%2F&header={header}%3A{value}");
            let told = portolan.api(&path).await;
            assert_eq!(told["service"]["chosen"], url);
            let leads = format!("{by} leads it to {url}");
            assert_eq!(told["service"]["leads"], serde_json::json!([leads]));
            assert!(told["verdict"].as_str().unwrap().contains(&url), "{told}");
            found.insert((host, url));
        }
    }
    // Not all at one, but where a middleware says who it is.
    let at = |host: &str| found.iter().filter(|it| it.0 == host).count();
    assert_eq!(["ip.local", "user.local", "named.local"].map(at), [3, 3, 1]);
}
