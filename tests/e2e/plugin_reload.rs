//! A plugin is dropped in, replaced, broken, deleted: not one request suffers.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

use crate::support::{Config, Portolan, eventually, guest};

const ROUTER: &str = "[http.routers.hello]\nrule = \"Host(`hello.local`)\"\n\
    middlewares = [\"hello\", \"whoami\"]\n\
    [http.middlewares.whoami.whoami]\n[http.middlewares.hello.hello-header]\n";

async fn hello(portolan: &Portolan) -> String {
    portolan.http().get("hello.local", "/").await.header("x-hello").to_owned()
}

#[tokio::test]
async fn a_plugin_that_is_dropped_in_is_in_use() {
    let config = Config::new("");
    let portolan = Portolan::start(&config);
    config.install("hello-header", &guest("hello-header-1"));
    config.change(ROUTER);
    eventually(|| hello(&portolan), |value| value == "1").await;
}

#[tokio::test]
async fn the_order_does_not_matter_and_until_it_is_there_nothing_is_let_through() {
    let config = Config::new(ROUTER);
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("hello.local", "/").await.status, 503);
    let problems = portolan.api("/api/problems").await.to_string();
    assert!(problems.contains("there is no middleware plugin `hello-header`"), "{problems}");
    config.install("hello-header", &guest("hello-header-1"));
    eventually(|| hello(&portolan), |value| value == "1").await;
}

#[tokio::test]
async fn a_change_that_names_a_plugin_too_early_is_in_use_when_it_comes() {
    let before = ROUTER.replace("middlewares = [\"hello\", ", "middlewares = [");
    let config = Config::new(&before);
    let portolan = Portolan::start(&config);
    config.change(ROUTER);
    eventually(
        || async { portolan.api("/api/problems").await.to_string() },
        |problems| problems.contains("`hello-header`: router `hello` answers 503"),
    )
    .await;
    assert_eq!(portolan.http().get("hello.local", "/").await.status, 200, "as before");
    config.install("hello-header", &guest("hello-header-1"));
    eventually(|| hello(&portolan), |value| value == "1").await;
}

#[tokio::test]
async fn another_folder_may_have_the_plugins_that_the_same_change_names() {
    let config = Config::new(&ROUTER.replace("middlewares = [\"hello\", ", "middlewares = ["));
    let portolan = Portolan::start(&config);
    std::fs::create_dir(config.path("others")).unwrap();
    std::fs::write(config.path("others/hello-header.wasm"), guest("hello-header-1")).unwrap();
    let text = std::fs::read_to_string(config.path("config.toml")).unwrap();
    let text = text.replace("directory = \"plugins\"", "directory = \"others\"");
    config.replace(&text.replace("middlewares = [", "middlewares = [\"hello\", "));
    eventually(|| hello(&portolan), |value| value == "1").await;
}

#[tokio::test]
async fn replacing_a_plugin_under_load_fails_no_request() {
    let config = Config::new(ROUTER);
    config.install("hello-header", &guest("hello-header-1"));
    let portolan = Portolan::start(&config);
    let (stop, served) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (client, stop, served) = (portolan.http(), stop.clone(), served.clone());
            tokio::spawn(async move {
                while !stop.load(SeqCst) {
                    let answer = client.get("hello.local", "/").await;
                    assert_eq!(answer.status, 200, "{answer:?}");
                    assert!(["1", "2"].contains(&answer.header("x-hello")), "{answer:?}");
                    served.fetch_add(1, SeqCst);
                }
            })
        })
        .collect();
    for version in ["2", "1", "2"] {
        config.install("hello-header", &guest(&format!("hello-header-{version}")));
        eventually(|| hello(&portolan), |value| value == version).await;
    }
    stop.store(true, SeqCst);
    for task in load {
        task.await.unwrap();
    }
    assert!(served.load(SeqCst) > 10);
}

#[tokio::test]
async fn a_bad_replacement_leaves_the_old_one_serving_and_says_why() {
    let config = Config::new(ROUTER);
    config.install("hello-header", &guest("hello-header-1"));
    let portolan = Portolan::start(&config);
    eventually(|| hello(&portolan), |value| value == "1").await;
    let garbage = b"this is no plugin".to_vec();
    let truncated = guest("hello-header-2")[..2000].to_vec();
    let bad = [
        (garbage, "is not WebAssembly"),
        (truncated, "unexpected end"),
        (guest("traps-in-describe"), "describe"),
        (guest("other-version"), "0.9.0"),
    ];
    for (bytes, reason) in bad {
        config.install("hello-header", &bytes);
        let plugins = eventually(
            || portolan.api("/api/plugins"),
            |plugins| {
                let all = plugins.as_array().unwrap();
                let plugin = all.iter().find(|plugin| plugin["name"] == "hello-header");
                plugin.is_some_and(|plugin| {
                    plugin["error"].as_str().is_some_and(|error| error.contains(reason))
                })
            },
        )
        .await;
        assert_eq!(hello(&portolan).await, "1", "{plugins:#}");
        portolan.log_until(reason);
    }
    // Deleted while it is used: it goes on.
    config.uninstall("hello-header");
    eventually(
        || async { portolan.api("/api/plugins").await.to_string() },
        |plugins| plugins.contains("\"state\":\"deleted\""),
    )
    .await;
    assert_eq!(hello(&portolan).await, "1");
}

#[tokio::test]
async fn a_trap_costs_one_call_and_the_policy_decides() {
    let config = Config::new(
        "[http.routers.closed]\nrule = \"Host(`closed.local`)\"\nmiddlewares = [\"closed\", \"whoami\"]\n\
         [http.routers.open]\nrule = \"Host(`open.local`)\"\nmiddlewares = [\"open\", \"whoami\"]\n\
         [http.middlewares.whoami.whoami]\n\
         [http.middlewares.closed.traps-on-request]\n\
         [http.middlewares.open]\non-failure = \"open\"\n[http.middlewares.open.traps-on-request]\n",
    );
    config.install("traps-on-request", &guest("traps-on-request"));
    let portolan = Portolan::start(&config);
    let trapping = |host: &'static str| {
        let client = portolan.http();
        async move {
            let request = crate::support::request_with(host, "x-misbehave", "1");
            client.send(request).await.unwrap()
        }
    };
    assert_eq!(portolan.http().get("closed.local", "/").await.status, 200);
    assert_eq!(trapping("closed.local").await.status, 503);
    assert_eq!(trapping("open.local").await.status, 200);
    assert_eq!(portolan.http().get("closed.local", "/").await.status, 200);
}

#[tokio::test]
async fn a_file_that_is_there_comes_before_one_that_is_gone() {
    let config = Config::new(ROUTER);
    config.install("hello-1", &guest("hello-header-1"));
    let portolan = Portolan::start(&config);
    eventually(|| hello(&portolan), |value| value == "1").await;
    // The new version has its number in its name, as versions often have.
    config.uninstall("hello-1");
    config.install("hello-2", &guest("hello-header-2"));
    eventually(|| hello(&portolan), |value| value == "2").await;
}

#[tokio::test]
async fn another_folder_is_another_set_of_plugins() {
    let config = Config::new(ROUTER);
    config.install("hello-header", &guest("hello-header-1"));
    let portolan = Portolan::start(&config);
    eventually(|| hello(&portolan), |value| value == "1").await;
    std::fs::create_dir(config.path("others")).unwrap();
    std::fs::write(config.path("others/hello-header.wasm"), guest("hello-header-2")).unwrap();
    let text = std::fs::read_to_string(config.path("config.toml")).unwrap();
    let text = text.replace("directory = \"plugins\"", "directory = \"others\"");
    config.replace(&text);
    eventually(|| hello(&portolan), |value| value == "2").await;
    // Nobody looks into the first folder any more; into the other one, somebody does.
    config.install("hello-header", b"garbage");
    std::fs::write(config.path("others/hello-header.wasm"), guest("hello-header-1")).unwrap();
    eventually(|| hello(&portolan), |value| value == "1").await;
    assert_eq!(portolan.api("/api/problems").await.to_string(), "[]");
}

#[tokio::test]
async fn a_file_named_like_a_plugin_of_the_program_does_not_hide_it() {
    let config = Config::new(ROUTER);
    config.install("whoami", &guest("hello-header-1"));
    let portolan = Portolan::start(&config);
    eventually(|| hello(&portolan), |value| value == "1").await;
    let names = portolan.api("/api/plugins").await.to_string();
    assert!(names.contains("\"whoami\""), "{names}");
}

#[tokio::test]
async fn a_file_that_adds_a_matcher_of_another_plugin_does_not_take_it() {
    let config = Config::new(ROUTER);
    config.install("hello-header", &guest("hello-header-1"));
    let portolan = Portolan::start(&config);
    eventually(|| hello(&portolan), |value| value == "1").await;
    // The plugin of the built-in matchers under another name.
    let dist = concat!(env!("CARGO_MANIFEST_DIR"), "/../../plugins/dist/http-rules.wasm");
    let mut bytes = std::fs::read(dist).unwrap();
    let name = bytes.windows(10).position(|window| window == b"http-rules").unwrap();
    bytes[name..name + 10].copy_from_slice(b"a-newcomer");
    config.install("a-newcomer", &bytes);
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    let told = eventually(problems, |told| told.contains("the matcher `Host` is there")).await;
    assert!(told.contains("\"origin\":\"a-newcomer\""), "{told}");
    assert!(!told.contains("\"origin\":\"http-rules\""), "{told}");
    assert_eq!(hello(&portolan).await, "1");
    // No rule has to do with it, so it goes with its file, and what was wrong with it too.
    config.install("newer", &bytes);
    let plugins = || async { portolan.api("/api/plugins").await.to_string() };
    eventually(plugins, |plugins| plugins.contains("\"state\":\"shadowed\"")).await;
    config.uninstall("newer");
    config.uninstall("a-newcomer");
    eventually(problems, |told| told == "[]").await;
    eventually(plugins, |plugins| !plugins.contains("a-newcomer")).await;
}
