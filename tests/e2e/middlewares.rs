//! The middlewares that come with Portolan, from tables and from tags.

use crate::support::{Backend, Client, Config, Portolan, eventually, request_with, run};

async fn start(backend: &Backend, chain: &str, tables: &str) -> (Config, Portolan, Client) {
    let config = Config::new(&format!(
        "[http.routers.r]\nrule = \"PathPrefix(`/`)\"\nservice = \"b\"\nmiddlewares = {chain}\n\
         [http.services.b.load-balancer]\nservers = [{{ url = \"{}\" }}]\n{tables}",
        backend.url()
    ));
    let portolan = Portolan::start(&config);
    let client = portolan.http();
    (config, portolan, client)
}

#[tokio::test]
async fn planned_middlewares_change_what_is_sent_on() {
    let backend = Backend::start("b").await;
    let (_config, _portolan, client) = start(
        &backend,
        "[\"strip\", \"add\", \"headers\"]",
        "[http.middlewares.strip.strip-prefix]\nprefixes = [\"/api\"]\n\
         [http.middlewares.add.add-prefix]\nprefix = \"/v1\"\n\
         [http.middlewares.headers.headers]\n\
         custom-request-headers = { x-to-backend = \"yes\", x-secret = \"\" }\n\
         custom-response-headers = { x-to-client = \"yes\", x-backend = \"\" }\n",
    )
    .await;
    let answer = client.send(request_with("a", "x-secret", "1")).await.unwrap();
    assert!(!answer.body.contains("x-secret"), "{answer:?}");
    let answer = client.get("a", "/api/users?x=1").await;
    assert!(answer.body.starts_with("b\nGET /v1/users?x=1\n"), "{answer:?}");
    assert!(answer.body.contains("x-to-backend: yes"), "{answer:?}");
    assert!(answer.body.contains("x-forwarded-prefix: /api"), "{answer:?}");
    assert_eq!(answer.header("x-to-client"), "yes");
    assert_eq!(answer.header("x-backend"), "");
}

#[tokio::test]
async fn a_redirect_and_an_allow_list_answer_by_themselves() {
    let backend = Backend::start("b").await;
    let (_config, _portolan, client) = start(
        &backend,
        "[\"https\"]",
        "[http.middlewares.https.redirect-scheme]\nscheme = \"https\"\npermanent = true\n",
    )
    .await;
    let answer = client.get("a.local:8000", "/x?y=z").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (301, "https://a.local/x?y=z"));

    let (_config, _portolan, client) = start(
        &backend,
        "[\"list\"]",
        "[http.middlewares.list.ip-allow-list]\nsource-range = [\"10.0.0.0/8\"]\n",
    )
    .await;
    assert_eq!(client.get("a", "/").await.status, 403);
    assert_eq!(backend.requests(), 0);
}

#[tokio::test]
async fn an_entrypoint_has_middlewares_for_all_its_routers() {
    let backend = Backend::start("b").await;
    let (config, portolan, client) = start(
        &backend,
        "[\"own\"]",
        "[http.middlewares.own.headers]\ncustom-request-headers = { x-own = \"1\" }\n\
         [http.middlewares.first.headers]\ncustom-request-headers = { x-first = \"1\" }\n",
    )
    .await;
    let answer = client.get("a", "/").await;
    assert!(answer.body.contains("x-own: 1") && !answer.body.contains("x-first"), "{answer:?}");
    let text = std::fs::read_to_string(config.path("config.toml")).unwrap();
    let with = |list: &str| {
        let lines = format!("[entrypoints.web]\nmiddlewares = {list}\n");
        config.replace(&text.replace("[entrypoints.web]\n", &lines));
    };
    with("[\"first\"]");
    let ask = async || client.get("a", "/").await;
    eventually(ask, |answer| {
        answer.body.contains("x-own: 1") && answer.body.contains("x-first: 1")
    })
    .await;
    // A mistake changes nothing, and says where it is.
    with("[\"frist\"]");
    let (code, _, told) = run(&config, &["check"]);
    assert_ne!(code, 0);
    assert!(told.contains("there is no middleware `frist@config`"), "{told}");
    assert!(told.contains("middlewares = [\"frist\"]"), "{told}");
    eventually(|| portolan.api("/api/problems"), |told| told.to_string().contains("frist")).await;
    assert_eq!(client.get("a", "/").await.status, 200);
    // At a start, who was to be looked at first is not let through unseen.
    drop(portolan);
    with("[\"frist\"]");
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("a", "/").await.status, 503);
}

#[tokio::test]
async fn origins_by_pattern_and_hosts_are_let_in_as_the_headers_middleware_says() {
    let backend = Backend::start("b").await;
    let (_config, _portolan, client) = start(
        &backend,
        "[\"cors\"]",
        "[http.middlewares.cors.headers]\nallowedHosts = [\"a\"]\n\
         accessControlAllowOriginListRegex = [\"^https://[a-z]+\\\\.example$\"]\n\
         accessControlAllowMethods = \"GET,PUT\"\ncustomRequestHeaders = { Host = \"inner\" }\n\
         customResponseHeaders = { x-own = \"1\", access-control-allow-origin = \"https://else\" }\n",
    )
    .await;
    for (origin, allowed) in
        [("https://app.example", "https://app.example"), ("https://app.example.evil", "")]
    {
        let answer = client.send(request_with("a", "origin", origin)).await.unwrap();
        let told = if allowed.is_empty() { "https://else" } else { allowed };
        assert_eq!(answer.header("access-control-allow-origin"), told);
        assert_eq!(answer.header("x-own"), "1");
        assert!(answer.body.contains("host: inner"), "{answer:?}");

        let mut asked = request_with("a", "origin", origin);
        *asked.method_mut() = "OPTIONS".parse().unwrap();
        asked.headers_mut().insert("access-control-request-method", "PUT".parse().unwrap());
        let before = backend.requests();
        let answer = client.send(asked).await.unwrap();
        assert_eq!((answer.status.as_u16(), backend.requests()), (200, before));
        assert_eq!(answer.header("access-control-allow-origin"), allowed);
        assert_eq!(answer.header("access-control-allow-methods"), "GET,PUT");
        assert_eq!(answer.header("x-own"), "");
    }
    assert_eq!(client.get("a", "/").await.header("access-control-allow-origin"), "https://else");
    assert_eq!(client.get("b", "/").await.status, 400);
}

#[tokio::test]
async fn an_allow_list_finds_the_client_behind_proxies_as_traefik_does() {
    let backend = Backend::start("b").await;
    let list = "[http.middlewares.list.ipAllowList]\nsourceRange = [\"203.0.113.0/24\"]\n";
    let trusted = "[entrypoints.web.forwarded-headers]\ntrusted-ips = [\"127.0.0.1\"]\n";
    let says = |chain: &'static str| request_with("a", "x-forwarded-for", chain);
    for (strategy, trust, chain, expected) in [
        ("depth = 1", trusted, "6.6.6.6, 203.0.113.9", 200),
        ("depth = 1", trusted, "203.0.113.9, 6.6.6.6", 403),
        ("depth = 2", trusted, "203.0.113.9, 6.6.6.6", 200),
        ("excludedIPs = [\"10.0.0.0/8\"]", trusted, "6.6.6.6, 203.0.113.9, 10.1.2.3", 200),
        ("excludedIPs = [\"10.0.0.0/8\"]", trusted, "203.0.113.9, 6.6.6.6, 10.1.2.3", 403),
        // Whom nobody trusts may write what it likes.
        ("depth = 1", "", "203.0.113.9", 403),
        ("", trusted, "203.0.113.9", 403),
    ] {
        let strategy =
            format!("{list}[http.middlewares.list.ipAllowList.ipStrategy]\n{strategy}\n");
        let (_config, _portolan, client) =
            start(&backend, "[\"list\"]", &format!("{strategy}{trust}")).await;
        let answer = client.send(says(chain)).await.unwrap();
        assert_eq!(answer.status, expected, "{strategy} {trust} {chain}");
    }
}

#[tokio::test]
async fn basic_auth_asks_and_request_id_repeats() {
    let backend = Backend::start("b").await;
    let (_config, _portolan, client) = start(
        &backend,
        "[\"id\", \"auth\"]",
        // htpasswd -nbs captain ahoy
        "[http.middlewares.id.request-id]\n\
         [http.middlewares.auth.basic-auth]\nusers = [\"captain:{SHA}8f33iHjMmU5U6NZHa44FRTjhALk=\"]\n",
    )
    .await;
    let answer = client.get("a", "/").await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").starts_with("Basic realm="), "{answer:?}");
    assert!(!answer.header("x-request-id").is_empty());
    let wrong = request_with("a", "authorization", "Basic Y2FwdGFpbjp3cm9uZw==");
    assert_eq!(client.send(wrong).await.unwrap().status, 401);
    // captain:ahoy
    let right = request_with("a", "authorization", "Basic Y2FwdGFpbjphaG95");
    let answer = client.send(right).await.unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    let id = answer.header("x-request-id");
    assert!(answer.body.contains(&format!("x-request-id: {id}")), "{answer:?}");
    let given = request_with("a", "x-request-id", "from-the-client");
    assert_eq!(client.send(given).await.unwrap().header("x-request-id"), "from-the-client");
}

#[tokio::test]
async fn who_guesses_is_in_the_access_log_by_the_name_that_was_tried() {
    let config = Config::new(
        "[access-log]\nfile = \"access.log\"\n\
         [http.routers.r]\nrule = \"Host(`a`)\"\nmiddlewares = [\"auth\", \"whoami\"]\n\
         [http.middlewares.whoami.whoami]\n\
         [http.middlewares.auth.basic-auth]\nusers = [\"captain:{SHA}8f33iHjMmU5U6NZHa44FRTjhALk=\"]\n",
    );
    let portolan = Portolan::start(&config);
    // captain:wrong, mallory:x, captain:ahoy, and nobody
    for (said, status) in [
        ("Basic Y2FwdGFpbjp3cm9uZw==", 401),
        ("Basic bWFsbG9yeTp4", 401),
        ("Basic Y2FwdGFpbjphaG95", 200),
        ("Bearer x", 401),
    ] {
        let asked = request_with("a", "authorization", said);
        assert_eq!(portolan.http().send(asked).await.unwrap().status, status, "{said}");
    }
    let log = || async { std::fs::read_to_string(config.path("access.log")).unwrap_or_default() };
    let log = eventually(log, |log| log.lines().count() == 4).await;
    let told = |line: &str| {
        let words: Vec<_> = line.split(' ').collect();
        format!("{} {}", words[2], words[8])
    };
    let mut told: Vec<_> = log.lines().map(told).collect();
    // Who is done first is noted first.
    told.sort();
    assert_eq!(told, ["- 401", "captain 200", "captain 401", "mallory 401"], "{log}");
}

#[tokio::test]
async fn a_password_that_is_dear_to_check_is_checked_beside_the_threads_that_serve() {
    let backend = Backend::start("b").await;
    // htpasswd -nbB -C 12 captain ahoy
    let users =
        "users = [\"captain:$2y$12$abcdefghijklmnopqrstuuK7Q2aI7UMcdY32ogpR5DEi5z833aopm\"]";
    let router = |name: &str| {
        format!(
            "[http.routers.{name}]\nrule = \"Host(`{name}`)\"\nservice = \"b\"\n\
             middlewares = [\"{name}\"]\n[http.middlewares.{name}.basic-auth]\n{users}\n"
        )
    };
    // The first line belongs to [plugins]: no hook that serves may take as long as that password.
    let config = Config::new(&format!(
        "time-limit = \"20ms\"\n{}{}[http.middlewares.hurried]\ntime-limit = \"10ms\"\n\
         [http.services.b.load-balancer]\nservers = [{{ url = \"{}\" }}]\n",
        router("patient"),
        router("hurried"),
        backend.url()
    ));
    let portolan = Portolan::start(&config);
    // captain:ahoy, and captain:wrong
    let right = || request_with("patient", "authorization", "Basic Y2FwdGFpbjphaG95");
    for _ in 0..3 {
        assert_eq!(portolan.http().send(right()).await.unwrap().status, 200);
    }
    let wrong = request_with("patient", "authorization", "Basic Y2FwdGFpbjp3cm9uZw==");
    assert_eq!(portolan.http().send(wrong).await.unwrap().status, 401);
    let hurried = request_with("hurried", "authorization", "Basic Y2FwdGFpbjphaG95");
    assert_eq!(portolan.http().send(hurried).await.unwrap().status, 503);
    assert_eq!(backend.requests(), 3);
}

// Behind a proxy that ends TLS every redirect to https would lead here again.
#[tokio::test]
async fn who_came_encrypted_to_a_trusted_proxy_is_not_redirected() {
    let backend = Backend::start("b").await;
    let rest = format!(
        "data-dir = \"data\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [plugins]\ndirectory = \"plugins\"\n\
         [entrypoints.plain]\naddress = \"127.0.0.1:0\"\n\
         forwarded-headers = {{ trusted-ips = [\"127.0.0.1\"] }}\n\
         [http.routers.r]\nrule = \"Host(`a.local`)\"\nservice = \"b\"\nmiddlewares = [\"https\"]\n\
         [http.middlewares.https.redirect-scheme]\nscheme = \"https\"\n\
         [http.services.b.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
         [entrypoints.web]\naddress = \"127.0.0.1:0\"\n\
         redirect = {{ to = \":443\" }}\n",
        backend.url()
    );
    for (trusts, said, redirected) in
        [(true, "https", false), (true, "http", true), (false, "https", true)]
    {
        let trust = "forwarded-headers = { trusted-ips = [\"127.0.0.1\"] }\n";
        let own = if trusts { trust } else { "" };
        let config = Config::exactly(&match trusts {
            true => format!("{rest}{own}"),
            false => format!("{}{own}", rest.replace(trust, "")),
        });
        let portolan = Portolan::start(&config);
        for entrypoint in ["plain", "web"] {
            let request = request_with("a.local", "x-forwarded-proto", said);
            let answer = Client(portolan.address(entrypoint)).send(request).await.unwrap();
            let name = format!("{entrypoint} {trusts} {said}");
            assert_eq!(answer.status.is_redirection(), redirected, "{name}: {answer:?}");
        }
    }
}
