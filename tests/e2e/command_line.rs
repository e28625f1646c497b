//! `check`, `plugins`, `explain`: what an operator types.

use crate::support::{Config, Portolan, run};

const GOOD: &str = "[http.routers.r]\nrule = \"Host(`a.local`)\"\nmiddlewares = [\"whoami\"]\n\
    [http.middlewares.whoami.whoami]\n";

#[tokio::test]
async fn check_finds_every_problem_at_its_line() {
    let good = Config::new(GOOD);
    let (code, out, err) = run(&good, &["check"]);
    assert_eq!(code, 0, "{out}{err}");
    let bad = Config::new(&format!(
        "{}\n[http.routers.s]\nrule = \"Hots(`a`)\"\nruel = \"x\"\n\
         [http.middlewares.m.strip-prefix]\nprefixs = [\"/a\"]\n[dns2]\n",
        GOOD.replace("Host(`a.local`)", "Host(`a.local`")
    ));
    let (code, out, err) = run(&bad, &["check"]);
    let said = format!("{out}{err}");
    assert_eq!(code, 2, "{said}");
    for word in
        ["did you mean `Host`?", "did you mean `rule`?", "did you mean `dns`?", "config.toml:"]
    {
        assert!(said.contains(word), "it does not say {word}:\n{said}");
    }
}

#[tokio::test]
async fn check_looks_at_what_the_configuration_stands_on() {
    let config = Config::exactly(
        "data-dir = \"config.toml/data\"\n\
         [entrypoints.websecure]\naddress = \"127.0.0.1:0\"\n\
         tls = { certificates = [\n    { cert = \"absent.pem\", key = \"absent.key\" },\n] }\n\
         [dns]\naddress = \"127.0.0.1:0\"\nhosts = [\"names\"]\n\
         [dns.filter]\nblock-lists = [\"absent.txt\"]\n\
         [providers.static]\nplugin = \"file\"\nconfig = { directory = \"other\" }\n\
         grants = { files = [\"dynamic\"] }\n\
         [tls.options.strict.client-auth]\nca-files = [\"absent-ca.pem\"]\n\
         [http.routers.r]\nrule = \"Host(`a.local`)\"\nmiddlewares = [\"w\"]\n\
         tls = { options = \"unknown\", cert-resolver = \"nobody\" }\n\
         [http.middlewares.w.whoami]\n",
    );
    std::fs::write(config.path("names"), "10.0.0.1 nas\n10.0.0.x nas\n").unwrap();
    let (code, out, err) = run(&config, &["check"]);
    assert_eq!(code, 2, "{out}{err}");
    let lines: Vec<_> = err.lines().collect();
    for (line, says) in [
        (1, "is no folder"),
        (5, "absent.pem"),
        (9, "names:2: `10.0.0.x` is not an IP address"),
        (11, "absent.txt: the list cannot be read"),
        (14, "`other` is not granted"),
        (16, "absent-ca.pem"),
        (21, "there is no `[tls.options.unknown]`"),
        (21, "there is no resolver `[acme.nobody]`"),
    ] {
        let place = format!("config.toml:{line}:");
        let at = lines.iter().position(|it| it.contains(says));
        let at = at.unwrap_or_else(|| panic!("it does not say {says}:\n{err}"));
        assert!(lines[at + 1].contains(&place), "{says} is not at line {line}:\n{err}");
    }
}

#[tokio::test]
async fn check_reads_the_files_of_providers_and_knows_who_will_answer_503() {
    let config = Config::exactly(
        "data-dir = \"data\"\n[dns]\naddress = \"127.0.0.1:0\"\n\
         [entrypoints.web]\naddress = \"127.0.0.1:0\"\n\
         [providers.static]\nplugin = \"file\"\nconfig = { directory = \"dynamic\" }\n\
         grants = { files = [\"dynamic\"] }\n",
    );
    std::fs::create_dir_all(config.path("data")).unwrap();
    std::fs::create_dir_all(config.path("dynamic")).unwrap();
    let file = |name: &str, text: &str| std::fs::write(config.path("dynamic").join(name), text);
    file(
        "good.toml",
        "[http.routers.r]\nrule = \"Host(`a.local`)\"\nmiddlewares = [\"w\"]\n\
         [http.middlewares.w.whoami]\n",
    )
    .unwrap();
    let (code, out, err) = run(&config, &["check"]);
    assert_eq!(code, 0, "{out}{err}");
    file("worse.toml", "x = = 1\n").unwrap();
    file(
        "limited.toml",
        "[http.routers.s]\nrule = \"Host(`b.local`)\"\nmiddlewares = [\"rl\"]\n\
         [http.middlewares.rl.grpcWeb]\nallowOrigins = [\"*\"]\n",
    )
    .unwrap();
    let (code, out, err) = run(&config, &["check"]);
    assert_eq!(code, 2, "{out}{err}");
    for says in ["worse.toml:1:", "no middleware plugin `grpcWeb`: router `s` answers 503"] {
        assert!(err.contains(says), "it does not say {says}:\n{err}");
    }
}

#[tokio::test]
async fn check_ends_with_2_where_a_router_answers_nobody() {
    let consul = "[providers.consul]\nplugin = \"consul\"\n\
        config = { address = \"http://127.0.0.1:1\" }\n\
        grants = { http-client = [\"http://127.0.0.1:1\"] }\n";
    let check = |keys: &str| {
        let toml = format!(
            "{consul}[http.routers.r]\nrule = \"Host(`a.x`)\"\n{keys}\n\
             [http.middlewares.w.whoami]\n"
        );
        let (code, out, err) = run(&Config::new(&toml), &["check"]);
        (code, format!("{out}{err}"))
    };
    for (keys, says) in [
        ("middlewares = [\"nope\"]", "there is no middleware `nope@config`, so it answers 503"),
        ("service = \"nosvc\"", "there is no service `nosvc@config`, so it answers 503"),
        ("middlewares = [\"w@nobody\"]", "there is no middleware `w@nobody`, so it answers 503"),
        (
            "middlewares = [\"w\"]\nentrypoints = [\"https\"]",
            "there is no entrypoint `https`, so no request comes to it",
        ),
    ] {
        let (code, said) = check(keys);
        assert_eq!((code, said.contains(says)), (2, true), "{keys}: {said}");
    }
    // What the catalog has is not known here.
    let (code, said) = check("service = \"shop@consulcatalog\"");
    assert_eq!((code, said.contains("there is no service `shop@")), (0, true), "{said}");
}

#[tokio::test]
async fn explain_answers_for_names_where_no_http_is_served() {
    let config = Config::exactly(
        "data-dir = \"data\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [dns]\naddress = \"127.0.0.1:0\"\n[dns.zones.lan]\nnames = \"static\"\n\
         records = [{ name = \"nas\", type = \"A\", data = \"10.0.0.5\" }]\n",
    );
    let _portolan = Portolan::start(&config);
    let (code, out, err) = run(&config, &["explain", "GET", "http://nas.lan/"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("no entrypoint serves http") && out.contains("10.0.0.5"), "{out}");
}

#[tokio::test]
async fn plugins_and_explain_answer_in_plain_lines() {
    let config = Config::new(GOOD);
    let portolan = Portolan::start(&config);
    let (code, out, err) = run(&config, &["plugins"]);
    assert_eq!(code, 0, "{err}");
    for plugin in ["consul", "file", "headers", "request-id", "whoami", "http-client"] {
        assert!(out.contains(plugin), "no {plugin} in\n{out}");
    }
    assert!(out.contains("called ") && out.contains(" each"), "no cost in\n{out}");
    let (code, out, err) = run(&config, &["explain", "GET", "http://a.local/"]);
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("r@config") && out.contains("127.0.0.9"), "{out}");
    drop(portolan);
    let (code, _, err) = run(&config, &["explain", "GET", "http://a.local/"]);
    assert_ne!(code, 0);
    assert!(err.contains("no Portolan answers"), "{err}");
}

#[tokio::test]
async fn health_is_an_exit_code_and_a_line() {
    let config = Config::new("[drain]\naccept = \"10m\"\n");
    let portolan = Portolan::start(&config);
    let address = portolan.address("admin");
    let ok = (0, format!("OK: http://{address}/ping\n"), String::new());
    assert_eq!(run(&config, &["healthcheck"]), ok);
    assert_eq!(run(&config, &["healthcheck", "--ping"]), ok);
    assert_eq!(run(&config, &["healthcheck", "--admin", &address.to_string()]), ok);
    // The process goes on with what it had, so what is wrong now does not make it ill.
    config.change("[drain]\naccept = 10\n");
    assert_eq!(run(&config, &["healthcheck", "--ping=true"]), ok);
    portolan.signal("-TERM");
    portolan.log_until("leaving");
    let unwell = format!("error: http://{address}/ping answers 503 Service Unavailable\n");
    assert_eq!(run(&config, &["healthcheck"]), (1, String::new(), unwell));
    drop(portolan);
    let (code, out, err) = run(&config, &["healthcheck"]);
    assert_eq!((code, &*out, err.lines().count()), (1, "", 1), "{err}");
    assert!(err.contains("no Portolan answers"), "{err}");
}
