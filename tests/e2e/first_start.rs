//! What the first start says is true: the three things to try work.

use hickory_proto::{op::ResponseCode, rr::RecordType};

use crate::support::{Config, Portolan, eventually, guest, repository};

/// The configuration of the repository, on free ports.
fn shipped() -> Config {
    let text = std::fs::read_to_string(repository("config/config.toml")).unwrap();
    let mut free = String::new();
    for line in text.lines() {
        // Defaults too: several of these tests run at once.
        let line = match line.trim_start_matches('#').starts_with("address = \"127.0.0.1:") {
            true => "address = \"127.0.0.1:0\"",
            false => line,
        };
        free.push_str(line);
        free.push('\n');
    }
    Config::exactly(&free)
}

#[tokio::test]
async fn the_three_things_to_try_work() {
    let config = shipped();
    let portolan = Portolan::start(&config);
    let log = portolan.log();
    for thing in
        ["curl -H 'Host: whoami.local'", "dig @127.0.0.1", "whoami.local", "http://127.0.0.1:"]
    {
        assert!(log.contains(thing), "the first start does not name {thing}:\n{log}");
    }

    let answer = portolan.http().get("whoami.local", "/").await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(answer.header("x-served-by"), "portolan");
    assert!(answer.body.contains("Host: whoami.local"), "{}", answer.body);

    let reply = portolan.dns().a("whoami.local").await;
    assert!(reply.is(&["127.0.0.1"]), "{reply:?}");

    let page = portolan.admin().get("127.0.0.1", "/").await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("<!doctype html>"), "{}", page.body);
}

#[tokio::test]
async fn without_a_consul_everything_else_works_and_its_names_are_not_denied() {
    let config = shipped();
    let portolan = Portolan::start(&config);
    let reply = portolan.dns().ask("prometheus.service.consul", RecordType::A).await;
    // Denying a name that may exist would be remembered by whoever asked.
    assert_eq!(reply.code, ResponseCode::ServFail, "{reply:?}");
    assert_eq!(portolan.http().get("unknown.local", "/").await.status, 404);
    // It waits quietly: no problem, and nothing at `warn` or above.
    let providers = || async { portolan.api("/api/providers").await.to_string() };
    eventually(providers, |told| told.contains("does not answer")).await;
    assert_eq!(portolan.api("/api/problems").await.to_string(), "[]");
    let log = portolan.log();
    assert!(!log.contains("ERROR") && !log.contains("WARN"), "{log}");
}

#[tokio::test]
async fn all_plugins_fit_into_80_megabytes() {
    let config = shipped();
    let portolan = Portolan::start(&config);
    let plugins = portolan.api("/api/plugins").await;
    assert!(plugins.as_array().unwrap().len() >= 16, "{plugins:#}");
    let resident = portolan.resident() / MEGABYTE;
    assert!(resident < limit(), "{resident} MB");
}

const MEGABYTE: u64 = 1024 * 1024;

/// In megabytes. A debug build is larger than a release build, its code is part of what is resident.
fn limit() -> u64 {
    if cfg!(debug_assertions) { 160 } else { 80 }
}

#[tokio::test]
async fn the_very_first_start_keeps_nothing_of_the_compiler() {
    let config = shipped();
    let portolan = Portolan::start_cold(&config);
    let plugins = portolan.api("/api/plugins").await;
    assert!(plugins.as_array().unwrap().iter().all(|plugin| plugin["cached"] == false));
    // What was needed to read the code of all of them goes back to the system a moment later.
    eventually(async || portolan.resident() / MEGABYTE, |resident| *resident < limit()).await;
}

#[tokio::test]
async fn a_plugin_is_compiled_though_the_program_is_gone_from_the_disk() {
    let config = Config::new("");
    let program = config.path("portolan");
    let portolan = Portolan::start_copy(&config, &program);
    std::fs::remove_file(&program).unwrap();
    config.install("hello-header", &guest("hello-header-1"));
    let loaded = |plugins: &serde_json::Value| {
        let mut plugins = plugins.as_array().unwrap().iter();
        plugins.any(|plugin| plugin["name"] == "hello-header" && plugin["state"] == "loaded")
    };
    eventually(|| portolan.api("/api/plugins"), loaded).await;
    assert!(!portolan.log().contains("no process to compile"), "{}", portolan.log());
}
