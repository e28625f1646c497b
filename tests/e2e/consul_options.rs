//! The options of a Consul catalog that say who is routed to, and how.

use std::fs;

use hickory_proto::rr::RecordType;
use serde_json::{Value, json};

use crate::support::{Backend, Config, Consul, Portolan, Registration, eventually, run};

/// A provider with these options beside the address.
fn options(consul: &Consul, options: &str) -> String {
    let url = consul.url();
    format!(
        "[providers.consul]\ngrants = {{ http-client = [\"{url}\"] }}\n\
         [providers.consul.config]\naddress = \"{url}\"\n{options}\n"
    )
}

async fn register(consul: &Consul, id: &str, service: &str, backend: &Backend, tags: &[&str]) {
    let address = backend.address;
    consul.register(&Registration { id, service, address, tags }).await;
}

/// An instance of `web` on a node of its own, in some state.
async fn register_in(consul: &Consul, node: &str, backend: &Backend, status: &str, tags: &[&str]) {
    let body = json!({
        "Node": node, "Address": backend.address.ip().to_string(),
        "Service": {
            "ID": "web", "Service": "web", "Port": backend.address.port(), "Tags": tags,
            "Weights": { "Passing": 3, "Warning": 1 },
        },
        "Check": { "CheckID": "alive", "Name": "alive", "Status": status, "ServiceID": "web" },
    });
    consul.put("/v1/catalog/register", &body).await;
}

/// Asks until each of these was asked; answers who got how many of so many requests after that.
async fn shares(
    portolan: &Portolan,
    host: &str,
    backends: &[&Backend],
    requests: usize,
) -> Vec<usize> {
    eventually(
        || async {
            portolan.http().get(host, "/").await;
            backends.iter().all(|backend| backend.requests() > 0)
        },
        |all| *all,
    )
    .await;
    let before: Vec<_> = backends.iter().map(|backend| backend.requests()).collect();
    for _ in 0..requests {
        portolan.http().get(host, "/").await;
    }
    backends.iter().zip(before).map(|(backend, before)| backend.requests() - before).collect()
}

#[tokio::test]
async fn everybody_is_exposed_by_the_default_rule_where_that_is_wanted() {
    let consul = Consul::start().await;
    let backend = Backend::start("plain").await;
    let config = Config::new(&options(
        &consul,
        "exposedByDefault = true\n\
         defaultRule = 'Host(`{{ normalize .Name }}.{{ index .Labels \"traefik.zone\" | default \"x\" }}`)'",
    ));
    let portolan = Portolan::start(&config);
    register(&consul, "a", "my_shop", &backend, &[]).await;
    register(&consul, "b", "other", &backend, &["traefik.zone=y"]).await;
    register(&consul, "c", "hidden", &backend, &["traefik.enable=false"]).await;
    register(&consul, "d", "own", &backend, &["traefik.http.routers.own.rule=Host(`own.z`)"]).await;
    for host in ["my-shop.x", "other.y", "own.z"] {
        eventually(|| portolan.http().get(host, "/"), |answer| answer.status == 200).await;
    }
    for host in ["other.x", "hidden.x", "own.x"] {
        assert_eq!(portolan.http().get(host, "/").await.status, 404, "{host}");
    }
    // A tag that the rule looks at is no slip of the hand.
    let problems = portolan.api("/api/problems").await.to_string();
    assert!(!problems.contains("traefik.zone"), "{problems}");
}

#[tokio::test]
async fn nobody_is_exposed_without_a_tag_where_that_is_wanted() {
    let consul = Consul::start().await;
    let backend = Backend::start("on purpose").await;
    let portolan = Portolan::start(&Config::new(&options(&consul, "exposed-by-default = false")));
    let tags = ["traefik.http.routers.quiet.rule=Host(`quiet.local`)"];
    register(&consul, "a", "quiet", &backend, &tags).await;
    let tags = ["traefik.enable=true", "traefik.http.routers.loud.rule=Host(`loud.local`)"];
    register(&consul, "b", "loud", &backend, &tags).await;
    eventually(|| portolan.http().get("loud.local", "/"), |answer| answer.status == 200).await;
    eventually(|| portolan.dns().a("quiet.service.consul"), |r| r.is(&["127.0.0.1"])).await;
    assert_eq!(portolan.http().get("quiet.local", "/").await.status, 404);
}

#[tokio::test]
async fn a_canary_is_reached_by_the_default_rule_where_its_service_has_another() {
    let consul = Consul::start().await;
    let (old, new) = (Backend::start("old").await, Backend::start("new").await);
    let portolan = Portolan::start(&Config::new(&options(&consul, "exposed-by-default = false")));
    let (enable, canary) = ("traefik.enable=true", "traefik.consulcatalog.canary=true");
    let rule = "traefik.http.routers.shop.rule=Host(`shop.local`)";
    register(&consul, "shop-1", "shop", &old, &[enable, rule]).await;
    register(&consul, "shop-2", "shop", &new, &[enable, canary]).await;
    // One whose service has the default rule as well is the same router, and no problem.
    register(&consul, "plain-1", "plain", &old, &[enable]).await;
    register(&consul, "plain-2", "plain", &new, &[enable, canary]).await;
    for (host, expected) in [("shop.local", "old"), ("shop", "new"), ("plain", "old")] {
        let get = || portolan.http().get(host, "/");
        let answer = eventually(get, |answer| answer.status == 200).await;
        assert!(answer.body.contains(expected), "{host}: {}", answer.body);
    }
    assert_eq!(portolan.api("/api/problems").await, json!([]));
    let routers = portolan.api("/api/http/routers").await;
    let names = routers.as_array().unwrap().iter().map(|router| router["name"].as_str().unwrap());
    let names: Vec<_> = names.filter(|name| name.ends_with("@consul")).collect();
    assert_eq!((names.len(), names[0], names[2]), (3, "plain@consul", "shop@consul"), "{names:?}");
    // As Traefik has it: the service of the pool is called the same.
    let pool = names[1];
    assert!(pool.starts_with("shop-"), "{pool}");
    assert_eq!(portolan.api(&format!("/api/http/services/{pool}")).await["name"], pool);
    // The last of the service that is in use is a canary.
    consul.deregister("plain-1").await;
    let get = || portolan.http().get("plain", "/");
    eventually(get, |answer| answer.body.contains("new")).await;
}

#[tokio::test]
async fn a_constraint_takes_instances_out_of_routing_and_not_out_of_dns() {
    let consul = Consul::start().await;
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    let constraints = "constraints = 'Tag(`blue`) && !TagRegex(`^deprecated`)'";
    let config = Config::new(&options(&consul, constraints));
    let portolan = Portolan::start(&config);
    let rule = "traefik.http.routers.web.rule=Host(`web.local`)";
    let other = "traefik.http.routers.green.rule=Host(`green.local`)";
    register(&consul, "blue", "web", &blue, &["blue", rule]).await;
    register(&consul, "green", "web", &green, &["green", rule, other]).await;
    let both = |reply: &Vec<String>| reply.len() == 2;
    let srv = || async { portolan.dns().ask("web.service.consul", RecordType::SRV).await.answers };
    eventually(srv, both).await;
    assert_eq!(shares(&portolan, "web.local", &[&blue], 10).await, [10]);
    assert_eq!(green.requests(), 0);
    assert_eq!(portolan.http().get("green.local", "/").await.status, 404);
    // It is no problem, as somebody wants it so; but who asks is told.
    assert_eq!(portolan.api("/api/problems").await, json!([]));
    let explanation = portolan.api("/api/explain?url=http://green.local/").await;
    let reason = "`constraints` does not match its tags";
    let expected = json!([{
        "service": "web@consul", "reason": reason, "count": 1, "instances": ["dc1/harbour/green"],
    }]);
    assert_eq!(explanation["leftOut"], expected);
    assert_eq!(portolan.api("/api/left-out?search=web").await, expected);
    let service = portolan.api("/api/http/services/web@consul").await;
    assert_eq!(service["portolan"]["leftOut"], expected);

    // Another constraint: everything is read anew, and nothing is lost in between.
    config.change(&options(&consul, "constraints = 'Tag(`green`)'"));
    eventually(|| portolan.http().get("green.local", "/"), |answer| answer.status == 200).await;
    assert_eq!(shares(&portolan, "web.local", &[&green], 10).await, [10]);

    // One that cannot be read: the one before goes on, and that is said.
    config.change(&options(&consul, "constraints = 'Tag(`green`) & Tag(`x`)'"));
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    let told = eventually(problems, |told| told.contains("character 14")).await;
    assert!(told.contains("expected `&&`, `||` or the end"), "{told}");
    assert_eq!(portolan.http().get("green.local", "/").await.status, 200);
    config.change(&options(&consul, "constraints = 'Tag(`blue`)'"));
    eventually(problems, |told| !told.contains("character 14")).await;
    eventually(|| portolan.http().get("green.local", "/"), |answer| answer.status == 404).await;
}

#[tokio::test]
async fn weights_of_consul_are_weights_of_servers_and_strict_checks_say_who_is_used() {
    let consul = Consul::start().await;
    let [good, shaky, bad] =
        [Backend::start("good").await, Backend::start("shaky").await, Backend::start("bad").await];
    let config = Config::new(&options(&consul, ""));
    let portolan = Portolan::start(&config);
    let rule = "traefik.http.routers.web.rule=Host(`web.local`)";
    for (node, backend, status) in
        [("a", &good, "passing"), ("b", &shaky, "warning"), ("c", &bad, "critical")]
    {
        register_in(&consul, node, backend, status, &[rule]).await;
    }
    eventually(|| portolan.http().get("web.local", "/"), |answer| answer.status == 200).await;
    assert_eq!(shares(&portolan, "web.local", &[&good, &shaky], 40).await, [30, 10]);
    assert_eq!(bad.requests(), 0);

    // Those with a warning are left out of routing, and stay in DNS.
    config.change(&options(&consul, "strict-checks = ['passing']"));
    let servers = || async { portolan.api("/api/http/services").await.to_string() };
    let down = |told: &String| told.matches("\"DOWN\"").count() == 2;
    eventually(servers, down).await;
    let before = shaky.requests();
    assert_eq!(shares(&portolan, "web.local", &[&good], 10).await, [10]);
    assert_eq!(shaky.requests(), before);
    let srv = portolan.dns().ask("web.service.consul", RecordType::SRV).await;
    assert_eq!(srv.answers.len(), 2, "{srv:?}");

    // Whatever its checks say.
    config.change(&options(&consul, "strict-checks = ['any']"));
    eventually(servers, |told| !told.contains("\"DOWN\"")).await;
    assert_eq!(shares(&portolan, "web.local", &[&good, &shaky, &bad], 50).await, [30, 10, 10]);
}

#[tokio::test]
async fn what_is_kept_on_disk_says_who_is_routed_to_and_holds_no_token() {
    let consul = Consul::start().await;
    let (blue, green) = (Backend::start("blue").await, Backend::start("green").await);
    let config =
        Config::new(&options(&consul, "constraints = 'Tag(`blue`)'\ntoken = 'open-sesame'"));
    let portolan = Portolan::start(&config);
    let rule = "traefik.http.routers.web.rule=Host(`web.local`)";
    register(&consul, "blue", "web", &blue, &["blue", rule]).await;
    register(&consul, "green", "web", &green, &["green", rule]).await;
    eventually(|| portolan.http().get("web.local", "/"), |answer| answer.status == 200).await;
    let srv = || async { portolan.dns().ask("web.service.consul", RecordType::SRV).await.answers };
    eventually(srv, |answers| answers.len() == 2).await;
    drop(consul);
    let (status, log) = portolan.stop();
    assert!(status.success(), "{log}");

    let portolan = Portolan::start(&config);
    assert_eq!(shares(&portolan, "web.local", &[&blue], 10).await, [10]);
    assert_eq!(green.requests(), 0);
    let kept = fs::read_dir(config.path("data/state")).unwrap();
    let kept: Vec<_> =
        kept.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap()).collect();
    assert!(kept.iter().any(|text| text.contains("green")), "{kept:?}");
    assert!(!kept.iter().any(|text| text.contains("open-sesame")), "{kept:?}");
}

#[tokio::test]
async fn what_needs_the_mesh_is_said() {
    let consul = Consul::start().await;
    let backend = Backend::start("mesh").await;
    let portolan = Portolan::start(&Config::new(&options(&consul, "connect-aware = true")));
    let tags =
        ["traefik.consulcatalog.connect=true", "traefik.http.routers.m.rule=Host(`m.local`)"];
    register(&consul, "m", "meshed", &backend, &tags).await;
    eventually(|| portolan.dns().a("meshed.service.consul"), |r| r.is(&["127.0.0.1"])).await;
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    let told = eventually(problems, |told| told.contains("is in Consul's mesh")).await;
    assert!(told.contains("connect-aware"), "{told}");
    assert_eq!(portolan.http().get("m.local", "/").await.status, 404);
}

#[tokio::test]
async fn a_default_rule_that_fails_for_a_service_costs_its_router() {
    let consul = Consul::start().await;
    let backend = Backend::start("ruled").await;
    let rule = "default-rule = 'Host(`{{ .Labels.zone }}`)'";
    let portolan = Portolan::start(&Config::new(&options(&consul, rule)));
    register(&consul, "a", "plain", &backend, &["traefik.enable=true"]).await;
    let tags = ["traefik.http.routers.b.rule=Host(`b.local`)"];
    register(&consul, "b", "ruled", &backend, &tags).await;
    eventually(|| portolan.http().get("b.local", "/"), |answer| answer.status == 200).await;
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    eventually(problems, |told| told.contains("there is no `.zone`, at character 17")).await;
}

#[test]
fn what_is_wrong_in_options_is_found_by_check_at_its_line() {
    let check = |options: &str| {
        let config = Config::new(&format!(
            "[providers.consul]\ngrants = {{ http-client = [\"http://127.0.0.1:8500\"] }}\n\
             [providers.consul.config]\n{options}\n"
        ));
        let (code, out, err) = run(&config, &["check"]);
        (code, format!("{out}{err}"))
    };
    let (code, said) = check("Prefix = 'edge'\nrefreshInterval = '15s'\nwatch = true");
    assert_eq!(code, 0, "{said}");
    for (options, words) in [
        ("constraints = 'Tags(`a`)'", &["did you mean `Tag`?, at character 1"][..]),
        ("default-rule = '{{ env `HOME` }}'", &["unknown function `env`, at character 4"]),
        ("strict-checks = ['passing', 'warnin']", &["did you mean `warning`?"]),
        ("constraint = 'Tag(`a`)'", &["did you mean `constraints`?"]),
        ("stale = true\nrequire-consistent = true", &["exclude each other"]),
        ("namespaces = ['a', 'b']", &["one namespace"]),
        ("token = 'a'\ntoken-file = 'b'", &["both here and in a file"]),
        ("endpoint-wait-time = 'soon'", &["`60s`"]),
    ] {
        let (code, said) = check(options);
        assert_eq!(code, 2, "{options}\n{said}");
        for word in words.iter().chain(&["config.toml:"]) {
            assert!(said.contains(word), "it does not say {word}:\n{said}");
        }
    }
}

#[tokio::test]
async fn namespaces_are_asked_for() {
    // This Consul has none, and says so: the question is the right one.
    let consul = Consul::start().await;
    let portolan = Portolan::start(&Config::new(&options(&consul, "namespace = 'team'")));
    let waits = |providers: &Value| providers[0]["error"].to_string().contains("amespace");
    eventually(|| portolan.api("/api/providers"), waits).await;
}
