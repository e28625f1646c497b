//! The admin API: Traefik's shapes, and ours beside them.

use crate::support::{Config, Portolan, eventually};

const CONFIG: &str = "[http.routers.r]\nrule = \"Host(`a.local`)\"\nmiddlewares = [\"whoami\"]\n\
    [http.middlewares.whoami.whoami]\n\
    [http.services.idle.load-balancer]\nservers = [{ url = \"http://127.0.0.1:9\" }]\n";

#[tokio::test]
async fn tools_made_for_traefik_find_what_they_look_for() {
    let config = Config::new(CONFIG);
    let portolan = Portolan::start(&config);
    let overview = portolan.api("/api/overview").await;
    assert_eq!(overview["http"]["routers"]["total"], 1, "{overview:#}");
    let routers = portolan.api("/api/http/routers").await;
    assert_eq!(routers[0]["name"], "r@config", "{routers:#}");
    assert_eq!(routers[0]["status"], "enabled", "{routers:#}");
    assert_eq!(routers[0]["rule"], "Host(`a.local`)", "{routers:#}");
    let router = portolan.api("/api/http/routers/r@config").await;
    assert_eq!(router["name"], "r@config");
    let services = portolan.api("/api/http/services").await;
    assert_eq!(services[0]["serverStatus"]["http://127.0.0.1:9"], "UP", "{services:#}");
    let raw = portolan.api("/api/rawdata").await;
    assert!(raw["routers"]["r@config"].is_object(), "{raw:#}");
    assert!(portolan.api("/api/version").await["Version"].is_string());
    assert_eq!(portolan.admin().get("localhost", "/ping").await.body.trim(), "OK");
    assert_eq!(portolan.admin().get("localhost", "/api/http/routers/x@y").await.status, 404);
}

#[tokio::test]
async fn who_asks_by_a_name_that_is_ours_is_answered() {
    let hosts = |hosts: &str| {
        let config = "data-dir = \"data\"\n[admin]\naddress = \"127.0.0.1:0\"\n";
        format!("{config}hosts = {hosts}\n[entrypoints.web]\naddress = \"127.0.0.1:0\"\n")
    };
    let config = Config::exactly(&hosts("[\"Edge1.example.com.\"]"));
    let portolan = Portolan::start(&config);
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let status = async |host: &str| portolan.admin().get(host, "/metrics").await.status;
    for ours in ["traefik:8080", "edge1.example.com:8080", machine.trim()] {
        assert_eq!(status(ours).await, 200, "{ours}");
    }
    let refused = portolan.admin().get("edge2.example.com", "/metrics").await;
    assert_eq!(refused.status, 421);
    assert!(refused.body.contains("`hosts` of `[admin]`"), "{}", refused.body);
    config.replace(&hosts("[\"edge2.example.com\"]"));
    eventually(|| status("edge2.example.com"), |status| *status == 200).await;
    assert_eq!(status("edge1.example.com").await, 421);
}

#[tokio::test]
async fn services_are_named_as_routers_write_them_and_sorted_by_what_they_are() {
    let portolan = Portolan::start(&Config::new(
        r#"
[http.routers.brief]
rule = "Host(`brief.local`)"
service = "z"
[http.routers.full]
rule = "Host(`full.local`)"
service = "z@config"
[http.services.z.load-balancer]
servers = [{ url = "http://127.0.0.1:9" }]
[http.services.a.weighted]
services = [{ name = "z" }]
"#,
    ));
    let brief = portolan.api("/api/http/routers/brief@config").await;
    assert_eq!(
        (&brief["service"], &brief["portolan"]["service"]),
        (&"z".into(), &"z@config".into())
    );
    let full = portolan.api("/api/http/routers/full@config").await;
    assert_eq!(
        (&full["service"], &full["portolan"]["service"]),
        (&"z@config".into(), &"z@config".into())
    );
    let names = async |path: &str| {
        let list = portolan.api(path).await;
        let names =
            list.as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned());
        names.collect::<Vec<_>>()
    };
    assert_eq!(names("/api/http/routers?serviceName=z").await, ["brief@config"]);
    assert_eq!(
        names("/api/http/routers?serviceName=z@config").await,
        ["brief@config", "full@config"]
    );
    assert_eq!(names("/api/http/services?sortBy=name").await, ["a@config", "z@config"]);
    assert_eq!(names("/api/http/services?sortBy=type").await, ["z@config", "a@config"]);
    assert_eq!(names("/api/entrypoints").await, ["web", "websecure"]);
    let secure = portolan.api("/api/entrypoints/websecure").await;
    assert_eq!(secure["http"]["tls"], serde_json::json!({}));
    assert_eq!(secure["transport"]["respondingTimeouts"]["idleTimeout"], "180s");
    let router = portolan.api("/api/http/routers/full@config").await;
    assert_eq!(router["observability"]["accessLogs"], true);
}

#[tokio::test]
async fn explain_tells_who_answers_and_why() {
    let config = Config::new(CONFIG);
    let portolan = Portolan::start(&config);
    let path = "/api/explain?method=GET&url=http%3A%2F%2Fa.local%2Fx";
    let text = portolan.api(path).await.to_string();
    for word in ["r@config", "whoami@config", "127.0.0.9"] {
        assert!(text.contains(word), "{text}");
    }
    let miss =
        portolan.api("/api/explain?method=GET&url=http%3A%2F%2Fb.local%2F").await.to_string();
    assert!(miss.contains("r@config"), "the near miss is not shown: {miss}");
}

#[tokio::test]
async fn explain_foresees_what_middlewares_do() {
    let config = Config::new(
        r#"
[entrypoints.web.encoded-characters]
allow-encoded-slash = false
[http.routers.broken]
rule = "Host(`broken.local`)"
service = "s"
middlewares = ["absent"]
[http.routers.moved]
rule = "Host(`moved.local`)"
service = "s"
middlewares = ["secure"]
[http.middlewares.secure.redirect-scheme]
scheme = "https"
[http.services.s.load-balancer]
servers = [{ url = "http://127.0.0.1:9" }]
"#,
    );
    let portolan = Portolan::start(&config);
    for (url, verdict, reason) in [
        (
            "http://broken.local/",
            "503: router `broken@config` takes it, but its middleware `absent@config` is missing \
             or not in working order",
            Some("no-middleware"),
        ),
        (
            "http://moved.local/a?b=1",
            "router `moved@config` takes it; its middleware `secure@config` redirects it to \
             https://moved.local/a?b=1 (302)",
            None,
        ),
        (
            "http://moved.local/a%252Fb",
            "400: the path has an encoded character that entrypoint `web` refuses",
            Some("encoded-character"),
        ),
        (
            "https://moved.local/",
            "router `moved@config` takes it; the one usable backend of `s@config` answers",
            None,
        ),
    ] {
        let path = format!("/api/explain?method=GET&url={}", url.replace('?', "%3F"));
        let told = portolan.api(&path).await;
        assert_eq!((told["verdict"].as_str(), told["reason"].as_str()), (Some(verdict), reason));
    }
    assert_eq!(portolan.http().get("broken.local", "/").await.status, 503);
}

#[tokio::test]
async fn a_semicolon_in_a_query_is_encoded_where_the_entrypoint_says_so() {
    let config = |encode: bool| {
        format!(
            "data-dir = \"data\"\nthreads = 1\ndns = false\n[plugins]\ndirectory = \"plugins\"\n\
             [admin]\naddress = \"127.0.0.1:0\"\n\
             [entrypoints.web]\naddress = \"127.0.0.1:0\"\nencode-query-semicolons = {encode}\n\
             [http.routers.r]\nrule = \"Host(`a`) && Query(`b`, `1;c`)\"\nmiddlewares = [\"up\"]\n\
             [http.middlewares.up.redirect-scheme]\nscheme = \"https\"\n"
        )
    };
    for (encode, query) in [(false, "b=1;c"), (true, "b=1%3Bc")] {
        let file = Config::exactly(&config(encode));
        let portolan = Portolan::start(&file);
        let answer = portolan.http().get("a", "/x%20y?b=1;c").await;
        assert_eq!(answer.header("location"), format!("https://a/x%20y?{query}"));
        let told = portolan.api("/api/explain?method=GET&url=http%3A%2F%2Fa%2F%3Fb%3D1%3Bc").await;
        assert_eq!(
            told["verdict"],
            format!(
                "router `r@config` takes it; its middleware `up@config` redirects it to \
                 https://a/?{query} (302)"
            )
        );
    }
}

#[tokio::test]
async fn explain_says_who_may_still_refuse_and_counts_those_who_are_asked() {
    let config = Config::new(
        r#"
[http.routers.open]
rule = "Host(`open.local`)"
service = "s"
[http.routers.guarded]
rule = "Host(`guarded.local`)"
service = "s"
middlewares = ["auth"]
[http.middlewares.auth.basic-auth]
users = ["t:$2y$05$c4WoMPo3SXsafkva.HHa6uXQZWr7oboPiC2bT/r7q1BB8I2s0BRqC"]
[http.services.s.weighted]
services = [{ name = "all", weight = 1 }, { name = "none", weight = 0 }]
[http.services.all.load-balancer]
servers = [{ url = "http://127.0.0.1:9" }]
[http.services.none.load-balancer]
servers = [{ url = "http://127.0.0.1:10" }]
"#,
    );
    let portolan = Portolan::start(&config);
    for (host, verdict) in [
        (
            "open",
            "router `open@config` takes it; the one backend of `s@config` with a share answers",
        ),
        (
            "guarded",
            "router `guarded@config` takes it; the one backend of `s@config` with a share answers, \
             if `auth@config` lets it through",
        ),
    ] {
        let path = format!("/api/explain?method=GET&url=http://{host}.local/");
        assert_eq!(portolan.api(&path).await["verdict"], verdict);
    }
}

#[tokio::test]
async fn explain_tells_the_story_of_those_who_fail() {
    let config = Config::new(
        r#"
[http.routers.down]
rule = "Host(`down.local`)"
service = "s"
[http.routers.lost]
rule = "Hots(`lost.local`)"
service = "s"
[http.routers.closed]
rule = "Host(`closed.local`)"
service = "s"
middlewars = ["auth"]
[http.services.s.load-balancer]
servers = [{ url = "http://127.0.0.1:9" }]
"#,
    );
    let portolan = Portolan::start(&config);
    let explain = async |host: &str| {
        portolan.api(&format!("/api/explain?method=GET&url=http://{host}/")).await
    };
    // Two in a row, and it is left alone; but there is no other.
    for _ in 0..3 {
        assert_eq!(portolan.http().get("down.local", "/").await.status, 502);
    }
    let told = explain("down.local").await;
    let verdict = told["verdict"].as_str().unwrap();
    assert!(verdict.ends_with("an error (502) is likely"), "{told:#}");
    let health = told["service"]["backends"][0]["health"].as_str().unwrap();
    assert!(health.ends_with("asked all the same"), "{told:#}");
    // It is not a middleware that lets nobody through.
    let told = explain("closed.local").await;
    let verdict = told["verdict"].as_str().unwrap();
    assert!(
        verdict.starts_with("503: router `closed@config` takes it, but lets nobody"),
        "{told:#}"
    );
    assert_eq!(told["middlewares"], serde_json::json!([]));
    let page = portolan.http().get("closed.local", "/").await;
    assert_eq!((page.status.as_u16(), page.body.contains("middleware")), (503, false), "{page:?}");
    // A rule that cannot be read has no host, but somebody looks for it.
    let told = explain("lost.local").await;
    let lost = &told["candidates"][0];
    assert_eq!((&lost["router"], &lost["outcome"]), (&"lost@config".into(), &"skipped".into()));
    assert!(lost["reason"].as_str().unwrap().starts_with("it is disabled: "), "{told:#}");
}

#[tokio::test]
async fn metrics_are_there_for_prometheus() {
    let config = Config::new(CONFIG);
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("a.local", "/").await.status, 200);
    let metrics = portolan.admin().get("localhost", "/metrics").await;
    for name in
        ["portolan_build_info", "portolan_plugin_calls_total", "traefik_config_reloads_total"]
    {
        assert!(metrics.body.contains(name), "no {name} in {}", metrics.body);
    }
}

#[tokio::test]
async fn a_page_of_another_name_may_not_read_it() {
    let config = Config::new(CONFIG);
    let portolan = Portolan::start(&config);
    let answer = portolan.admin().get("rebound.example", "/api/rawdata").await;
    assert!(answer.status.is_client_error(), "{answer:?}");
}

#[tokio::test]
async fn traefiks_internal_services_lead_to_the_admin_api() {
    let routers = |names: &[&str]| {
        let router = |name: &&str| {
            format!(
                "[http.routers.{name}]\nrule = \"Host(`{name}.local`)\"\nservice = \"{name}@internal\"\n"
            )
        };
        names.iter().map(router).collect::<String>()
    };
    let provider = "[providers.static]\nplugin = \"file\"\n\
        config = { directory = \"dynamic\" }\ngrants = { files = [\"dynamic\"] }\n";
    let config = Config::new(&format!("{provider}{}", routers(&["dashboard", "ping"])));
    let portolan = Portolan::start(&config);
    let page = portolan.http().get("dashboard.local", "/dashboard/").await;
    assert_eq!(
        (page.status.as_u16(), page.header("content-type")),
        (200, "text/html; charset=utf-8")
    );
    assert_eq!(portolan.http().get("dashboard.local", "/dashboard/app.js").await.status, 200);
    let services = portolan.http().get("dashboard.local", "/api/http/services").await.json();
    let names: Vec<_> = services.as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(
        names,
        ["dashboard@internal", "ping@internal"],
        "what nobody refers to is not there"
    );
    for path in ["/", "/any/where?x=1"] {
        assert_eq!(portolan.http().get("ping.local", path).await.body.trim(), "OK");
    }
    assert!(!portolan.log().contains("there is no service"), "{}", portolan.log());

    // The same from a provider, which nobody could foresee.
    std::fs::write(config.path("dynamic/more.toml"), routers(&["Prometheus", "rest"])).unwrap();
    let metrics = || portolan.http().get("prometheus.local", "/metrics");
    let page = eventually(metrics, |page| page.status == 200).await;
    assert!(page.body.contains("portolan_config_in_use"), "{}", page.body);
    let counted = |line: &&str| {
        line.starts_with("traefik_service_requests_total") && line.contains("@internal")
    };
    assert_eq!(page.body.lines().find(counted), None, "who looks is not looked at");
    let told = portolan.api("/api/problems").await.to_string();
    assert!(
        told.contains("there are `api`, `dashboard`, `ping`, `prometheus` and `noop`"),
        "{told}"
    );

    // It goes with the API.
    let off = "admin = false\ndata-dir = \"data\"\nthreads = 2\n[plugins]\ndirectory = \"plugins\"\n\
        [entrypoints.web]\naddress = \"127.0.0.1:0\"\n";
    config.replace(&format!("{off}{provider}{}", routers(&["ping"])));
    eventually(|| portolan.http().get("ping.local", "/"), |page| page.status == 503).await;
}

#[tokio::test]
async fn explain_sees_what_rules_see() {
    let config = Config::new(
        r#"
[http.routers.a]
rule = "Host(`a.local`)"
service = "nowhere"
[http.routers.any]
rule = "PathPrefix(`/`) && Header(`X-Any`, `1`)"
service = "nowhere"
[http.routers.socket]
rule = "Host(`b.local`) && Header(`Upgrade`, `websocket`) && Header(`X-Forwarded-Proto`, `ws`)"
service = "nowhere"
[http.services.nowhere.load-balancer]
servers = [{ url = "http://127.0.0.1:0" }]
"#,
    );
    let portolan = Portolan::start(&config);
    let explain = async |method: &str, url: &str, lines: &[&str]| {
        let lines: String = lines.iter().map(|line| format!("&header={line}")).collect();
        let told = portolan.api(&format!("/api/explain?method={method}&url={url}{lines}")).await;
        (told["router"].as_str().unwrap_or_default().to_owned(), told["verdict"].to_string())
    };
    let here = format!("http://{}/", portolan.address("web"));
    let (router, verdict) = explain("GET", &here, &["Host:a.local"]).await;
    assert_eq!(router, "a@config");
    assert!(verdict.contains("has no usable backend: "), "{verdict}");
    let (router, _) = explain("GET", "http://c.local/", &["X-Any:1"]).await;
    assert_eq!(router, "any@config");
    let (router, _) = explain("GET", "http://c.local/", &["X-Any:1", "Connection:x-any"]).await;
    assert_eq!(router, "", "the connection has taken it away");
    let upgrade = ["Connection:upgrade", "Upgrade:websocket", "X-Forwarded-Proto:https"];
    let (router, _) = explain("GET", "http://b.local/", &upgrade).await;
    assert_eq!(router, "socket@config");
    let (_, verdict) = explain("CONNECT", "http://a.local/", &[]).await;
    assert!(verdict.contains("501"), "{verdict}");
    let (router, _) = explain("GET", "http://a.local/a%3Cb%3E", &[]).await;
    assert_eq!(router, "a@config");
}
