//! Chains of middlewares, as Traefik's users write them.

use serde_json::{Value, json};

use crate::support::{Backend, Config, Consul, Portolan, Registration, eventually, guest, run};

const ONE: &str = "[http.middlewares.one.headers]\ncustom-request-headers = { x-one = \"1\" }\n";

/// A router for everything with the chain `all`, and what stands below.
fn with_chain(backend: &Backend, tables: &str) -> String {
    format!(
        "[http.routers.r]\nrule = \"PathPrefix(`/`)\"\nservice = \"b\"\nmiddlewares = [\"all\"]\n\
         [http.services.b.load-balancer]\nservers = [{{ url = \"{}\" }}]\n{tables}",
        backend.url()
    )
}

#[tokio::test]
async fn a_chain_from_tags_is_its_members_in_their_order() {
    let consul = Consul::start().await;
    let backend = Backend::start("shop").await;
    let config = Config::with_consul(&consul.url(), ONE);
    let portolan = Portolan::start(&config);
    let (address, id, service) = (backend.address, "shop-1", "shop");
    let tags = [
        "traefik.http.routers.shop.rule=Host(`shop.local`)",
        "traefik.http.routers.shop.middlewares=secured",
        "traefik.http.middlewares.secured.chain.middlewares=strip,one@file,add",
        "traefik.http.middlewares.strip.stripprefix.prefixes=/old",
        "traefik.http.middlewares.add.addprefix.prefix=/new",
    ];
    consul.register(&Registration { id, service, address, tags: &tags }).await;
    let http = portolan.http();
    let answer = eventually(|| http.get("shop.local", "/old/x"), |it| it.status == 200).await;
    assert!(answer.body.contains("GET /new/x\n"), "{answer:?}");
    assert!(answer.body.contains("x-one: 1"), "{answer:?}");

    let shown = portolan.api("/api/http/middlewares/secured@consul").await;
    let members = json!({ "middlewares": ["strip@consul", "one@config", "add@consul"] });
    let told = ["chain", "type", "status", "usedBy", "name", "provider"].map(|key| &shown[key]);
    let expected: [Value; 6] = [
        members,
        json!("chain"),
        json!("enabled"),
        json!(["shop@consul"]),
        json!("secured@consul"),
        json!("consul"),
    ];
    assert_eq!(told, expected.each_ref(), "{shown}");
    assert!(shown["portolan"]["does"].to_string().contains("`strip@consul` strips"), "{shown}");
    let member = portolan.api("/api/http/middlewares/one@config").await;
    assert_eq!(member["usedBy"], json!(["shop@consul"]));
    let router = portolan.api("/api/http/routers/shop@consul").await;
    assert_eq!(router["middlewares"], json!(["secured@consul"]));
    let (_, told, _) = run(&config, &["explain", "GET", "http://shop.local/old/x"]);
    assert!(told.contains("one@config (headers), by the chain secured@consul"), "{told}");

    // A member that goes takes the router along, and says through what.
    consul.register(&Registration { id, service, address, tags: &tags[..4] }).await;
    eventually(|| http.get("shop.local", "/old/x"), |it| it.status == 503).await;
    let problems = portolan.api("/api/problems").await.to_string();
    assert!(problems.contains("which is in the chain `secured`: router `shop`"), "{problems}");
    consul.register(&Registration { id, service, address, tags: &tags }).await;
    eventually(|| http.get("shop.local", "/old/x"), |it| it.status == 200).await;
}

#[tokio::test]
async fn a_chain_in_a_file_and_before_an_entrypoint() {
    let backend = Backend::start("b").await;
    let provider = "[providers.static]\nplugin = \"file\"\n\
        config = { directory = \"dynamic\" }\ngrants = { files = [\"dynamic\"] }\n";
    let config = Config::new(&format!("{provider}{ONE}"));
    let text = std::fs::read_to_string(config.path("config.toml")).unwrap();
    let lines = "[entrypoints.web]\nmiddlewares = [\"outer@static\"]\n";
    config.replace(&text.replace("[entrypoints.web]\n", lines));
    std::fs::create_dir_all(config.path("dynamic")).unwrap();
    let file = format!(
        "http:
  routers:
    r: {{ rule: PathPrefix(`/`), service: b, middlewares: [empty] }}
  middlewares:
    outer: {{ chain: {{ middlewares: [two, one@file] }} }}
    two: {{ headers: {{ customRequestHeaders: {{ X-Two: 2 }} }} }}
    empty: {{ chain: {{ middlewares: [] }} }}
  services:
    b: {{ loadBalancer: {{ servers: [{{ url: {} }}] }} }}
",
        backend.url()
    );
    std::fs::write(config.path("dynamic/web.yaml"), file).unwrap();
    let portolan = Portolan::start(&config);
    let http = portolan.http();
    let answer = eventually(|| http.get("a", "/"), |it| it.status == 200).await;
    assert!(answer.body.contains("x-one: 1") && answer.body.contains("x-two: 2"), "{answer:?}");
}

#[tokio::test]
async fn what_is_wrong_with_a_chain_is_found_at_its_line_and_costs_who_uses_it() {
    let backend = Backend::start("b").await;
    let config = Config::new(&with_chain(
        &backend,
        &format!("{ONE}[http.middlewares.all.chain]\nmiddlewares = [\"one\"]\n"),
    ));
    let portolan = Portolan::start(&config);
    let http = portolan.http();
    assert_eq!(http.get("a", "/").await.status, 200);
    let text = std::fs::read_to_string(config.path("config.toml")).unwrap();
    for (wrong, line, message) in [
        ("middlewares = [\"one\", \"tow\"]", "tow", "there is no middleware `tow@config`"),
        ("midlewares = [\"one\"]", "midlewares", "unknown key `midlewares`"),
        ("middlewares = [\"all\"]", "[\"all\"]", "contains itself: `all` → `all`"),
        ("middlewares = 1.5\nx = 1", "x = 1", "unknown key `x`"),
    ] {
        config.replace(&text.replace("\nmiddlewares = [\"one\"]", &format!("\n{wrong}")));
        let (code, _, told) = run(&config, &["check"]);
        assert_ne!(code, 0, "{wrong}");
        assert!(told.contains(message) && told.contains(line), "{told}");
        // A file with a mistake changes nothing.
        eventually(|| portolan.api("/api/problems"), |it| it.to_string().contains(message)).await;
        assert_eq!(http.get("a", "/").await.status, 200, "{wrong}");
        // At a start, whoever relies on it lets nobody through.
        let closed = Portolan::start(&config);
        assert_eq!(closed.http().get("a", "/").await.status, 503, "{wrong}");
    }
}

#[tokio::test]
async fn a_plugin_of_that_name_changes_nothing_which_is_told() {
    let backend = Backend::start("b").await;
    let config = Config::new(&with_chain(
        &backend,
        &format!("{ONE}[http.middlewares.all.chain]\nmiddlewares = [\"one\"]\n"),
    ));
    // Names compare without hyphens, so this is `chain`, and as long as the name that it had.
    let mut plugin = guest("hello-header-1");
    let (before, after) = (b"hello-header", b"c-h--a--i--n");
    let places = plugin.windows(before.len()).enumerate();
    let places = places.filter(|(_, window)| window == before).map(|(place, _)| place);
    for place in places.collect::<Vec<_>>() {
        plugin[place..place + after.len()].copy_from_slice(after);
    }
    config.install("mine", &plugin);
    let portolan = Portolan::start(&config);
    let told = eventually(
        || async { portolan.api("/api/problems").await.to_string() },
        |told| told.contains("mine.wasm"),
    )
    .await;
    assert!(told.contains("no middleware is made of it: `c-h--a--i--n` is a part of"), "{told}");
    let answer = portolan.http().get("a", "/").await;
    assert!(answer.body.contains("x-one: 1") && answer.header("x-hello").is_empty(), "{answer:?}");
}
