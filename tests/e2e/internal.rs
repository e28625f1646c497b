//! What is ours under Traefik's names (`…@internal`).

use crate::{
    support::{Client, Config, Portolan, eventually, run},
    tls::authority,
};

const STATIC: &str = "[providers.static]\nplugin = \"file\"\n\
    config = { directory = \"dynamic\" }\ngrants = { files = [\"dynamic\"] }\n";

/// One entrypoint that redirects, one that does not, one that is encrypted.
fn entrypoints(redirect: &str) -> String {
    format!(
        "data-dir = \"data\"\nthreads = 1\n[plugins]\ndirectory = \"plugins\"\n\
         [admin]\naddress = \"127.0.0.1:0\"\n\
         [entrypoints.web]\naddress = \"127.0.0.1:0\"\nredirect = {redirect}\n\
         [entrypoints.plain]\naddress = \"127.0.0.1:0\"\n\
         [entrypoints.websecure]\naddress = \"127.0.0.1:0\"\ntls = true\n{STATIC}"
    )
}

/// A router as a tag of many jobs has it.
fn router(middleware: &str) -> String {
    format!(
        "[http.routers.r]\nrule = \"Host(`r.local`)\"\n\
         middlewares = [\"{middleware}@internal\", \"whoami\"]\n[http.middlewares.whoami.whoami]\n"
    )
}

#[tokio::test]
async fn a_redirection_of_an_entrypoint_is_a_middleware_as_in_traefik() {
    let config = Config::exactly(&entrypoints("{ to = \"websecure\" }"));
    let dynamic = config.path("dynamic/r.toml");
    std::fs::write(&dynamic, router("redirect-web-to-websecure")).unwrap();
    let portolan = Portolan::start(&config);
    let plain = Client(portolan.address("plain"));
    let sent = eventually(|| plain.get("r.local", "/a?b"), |it| it.status == 301).await;
    let port = portolan.address("websecure").port();
    assert_eq!(sent.header("location"), format!("https://r.local:{port}/a?b"));
    let answer = portolan.https().get_tls(&authority(&config), "r.local", "/").await.unwrap();
    assert_eq!(answer.status, 200, "who comes encrypted is there: {answer:?}");
    let problems = portolan.api("/api/problems").await.to_string();
    assert!(!problems.contains("@internal"), "{problems}");

    // It follows the entrypoint, by its name too.
    config.replace(&entrypoints("{ to = \":8443\", permanent = false }"));
    eventually(|| plain.get("r.local", "/"), |it| it.status == 503).await;
    let told = portolan.api("/api/problems").await.to_string();
    assert!(told.contains("there is one for each entrypoint with `redirect`"), "{told}");
    std::fs::write(&dynamic, router("redirect-web-to-8443")).unwrap();
    let sent = eventually(|| plain.get("r.local", "/"), |it| it.status != 503).await;
    let location = sent.header("location");
    assert_eq!((sent.status.as_u16(), location), (302, "https://r.local:8443/"));

    // A configuration that names it, and says at the same time what it is.
    let own = router("redirect-web-to-websecure");
    let toml = format!("{}{own}", entrypoints("{ to = \"websecure\" }"));
    std::fs::remove_file(dynamic).unwrap();
    let (code, out, err) = run(&Config::exactly(&toml), &["check"]);
    assert_eq!((code, out.contains("@internal")), (0, false), "{out}{err}");
    config.replace(&toml);
    eventually(|| plain.get("r.local", "/"), |it| it.status == 301).await;
}

#[tokio::test]
async fn check_knows_what_is_ours_where_a_file_names_it() {
    let config = Config::exactly(&entrypoints("{ to = \"websecure\" }"));
    let api = "[http.routers.api]\nrule = \"Host(`t.local`)\"\nservice = \"api@internal\"\n";
    std::fs::write(config.path("dynamic/api.toml"), api).unwrap();
    std::fs::write(config.path("dynamic/r.toml"), router("redirect-web-to-websecure")).unwrap();
    let (code, out, err) = run(&config, &["check"]);
    assert_eq!(code, 0, "{out}{err}");
    assert!(!format!("{out}{err}").contains("@internal"), "{out}{err}");
}

#[tokio::test]
async fn a_router_above_the_priority_of_a_redirect_is_reached() {
    let routers = "[http.routers.ping]\nrule = \"Path(`/ping`)\"\nservice = \"ping@internal\"\n\
        priority = 100000\n\
        [http.routers.other]\nrule = \"PathPrefix(`/`)\"\nservice = \"ping@internal\"\n";
    let toml = |priority: &str| {
        format!("{}{routers}", entrypoints(&format!("{{ to = \":443\"{priority} }}")))
    };
    let config = Config::exactly(&toml(""));
    let portolan = Portolan::start(&config);
    let told = async |path: &str| {
        let answer = portolan.http().get("a.local", path).await;
        (answer.status.as_u16(), answer.header("location").to_owned())
    };
    let sent = |path: &str| (301, format!("https://a.local{path}"));
    assert_eq!(told("/ping").await, sent("/ping"));

    // An entrypoint that redirects otherwise is another one, at the same sockets.
    config.replace(&toml(", priority = 99999"));
    eventually(|| told("/ping"), |it| it.0 == 200).await;
    assert_eq!(told("/other").await, sent("/other"), "of a lower priority");
    let explained = async |path: &str| {
        let url = format!("/api/explain?entrypoint=web&url=http://a.local{path}");
        let told = portolan.api(&url).await;
        (told["router"].to_string(), told["verdict"].to_string())
    };
    assert_eq!(explained("/ping").await.0, "\"ping@config\"");
    let (router, verdict) = explained("/other").await;
    assert_eq!((router.as_str(), verdict.contains("redirects it to")), ("null", true), "{verdict}");

    // Of the same priority it is not before it, and without any there is only the redirect.
    config.replace(&toml(", priority = 100000"));
    eventually(|| told("/ping"), |it| *it == sent("/ping")).await;
}

#[tokio::test]
async fn noop_answers_what_middlewares_leave_with_418() {
    let config = Config::new(
        "[http.routers.all]\nrule = \"PathPrefix(`/`)\"\npriority = 1\nservice = \"noop@internal\"\n\
         [http.routers.strip]\nrule = \"Host(`strip.local`)\"\nmiddlewares = [\"strip\"]\n\
         service = \"Noop@Internal\"\n\
         [http.routers.who]\nrule = \"Host(`who.local`)\"\nmiddlewares = [\"who\"]\n\
         service = \"noop@internal\"\n\
         [http.middlewares.strip.strip-prefix]\nprefixes = [\"/a\"]\n\
         [http.middlewares.who.whoami]\n",
    );
    let portolan = Portolan::start(&config);
    for (host, status) in [("any.local", 418), ("strip.local", 418), ("who.local", 200)] {
        assert_eq!(portolan.http().get(host, "/a/b").await.status.as_u16(), status, "{host}");
    }
    let problems = portolan.api("/api/problems").await;
    assert_eq!(problems, serde_json::json!([]), "{problems:#}");
    let told = portolan.api("/api/explain?url=http://any.local/").await;
    let verdict = told["verdict"].as_str().unwrap();
    assert!(verdict.starts_with("418: router `all@config` takes it"), "{verdict}");
    let routers = portolan.api("/api/http/routers").await;
    let of = |name: &str| routers.as_array().unwrap().iter().find(|it| it["name"] == name).cloned();
    let all = of("all@config").unwrap();
    assert_eq!((&all["service"], &all["status"]), (&"noop@internal".into(), &"enabled".into()));
}
