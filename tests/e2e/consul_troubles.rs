//! A Consul that answers for some of what it has, or is away and comes back.

use std::fs;

use serde_json::{Value, json};

use crate::support::{
    Config, Consul, Portolan, Registration, Reply, Stumbling, eventually, free_ports,
};

async fn register(consul: &Consul, service: &str, address: &str) {
    let address = format!("{address}:80").parse().unwrap();
    consul.register(&Registration { id: service, service, address, tags: &[] }).await;
}

/// Asks until the service has this address; empty: none.
async fn found(portolan: &Portolan, service: &str, address: &str) {
    let name = format!("{service}.service.consul.");
    let is_it = |reply: &Reply| match address {
        "" => reply.answers.is_empty(),
        address => reply.is(&[address]),
    };
    eventually(|| portolan.dns().a(&name), is_it).await;
}

/// How the provider is.
async fn state(portolan: &Portolan) -> String {
    portolan.api("/api/providers").await[0]["state"].as_str().unwrap_or_default().to_owned()
}

fn says(text: &str) -> impl Fn(&Value) -> bool {
    move |told| told.to_string().contains(text)
}

#[tokio::test]
async fn a_service_that_consul_cannot_answer_for_costs_that_service() {
    let consul = Consul::start().await;
    // Consul takes this name, and redirects who asks for it to somewhere else for ever.
    let odd = json!({ "ID": "odd", "Name": "..", "Port": 80 });
    consul.put("/v1/agent/service/register", &odd).await;
    register(&consul, "one", "10.0.0.1").await;
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    found(&portolan, "one", "10.0.0.1").await;
    let problems = || portolan.api("/api/problems");
    eventually(problems, says("/v1/health/service/..")).await;
    portolan.signal("-HUP");
    register(&consul, "two", "10.0.0.2").await;
    found(&portolan, "two", "10.0.0.2").await;
    consul.deregister("odd").await;
    eventually(problems, |told| *told == json!([])).await;
}

#[tokio::test]
async fn a_name_that_consul_does_not_answer_for_is_told_though_nothing_else_changes() {
    let consul = Consul::start().await;
    register(&consul, "one", "10.0.0.1").await;
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    found(&portolan, "one", "10.0.0.1").await;
    let odd = json!({ "ID": "odd", "Name": "..", "Port": 80 });
    consul.put("/v1/agent/service/register", &odd).await;
    eventually(|| portolan.api("/api/problems"), says("/v1/health/service/..")).await;
}

#[tokio::test]
async fn what_was_known_of_a_service_stays_while_consul_does_not_answer_for_it() {
    let consul = Consul::start().await;
    let between = Stumbling::start(&consul).await;
    let provider = |options: &str| {
        let url = between.url();
        format!(
            "[providers.consul]\nconfig = {{ address = \"{url}\"{options} }}\n\
             grants = {{ http-client = [\"{url}\"] }}\n"
        )
    };
    let config = Config::new(&provider(""));
    let portolan = Portolan::start(&config);
    register(&consul, "one", "10.0.0.1").await;
    found(&portolan, "one", "10.0.0.1").await;

    // Across a restart, and when everything is read anew.
    between.refuse("/v1/health/service/one");
    let (status, log) = portolan.stop();
    assert!(status.success(), "{log}");
    let portolan = Portolan::start(&config);
    for (again, address) in ["10.0.0.2", "10.0.0.3"].into_iter().enumerate() {
        register(&consul, "two", address).await;
        found(&portolan, "two", address).await;
        found(&portolan, "one", "10.0.0.1").await;
        if again == 0 {
            portolan.signal("-HUP");
            portolan.log_until("reading everything again");
        }
    }
    // Meanwhile it has moved.
    consul.deregister("one").await;
    let moved = json!({ "ID": "other", "Name": "one", "Address": "10.0.0.9", "Port": 80 });
    consul.put("/v1/agent/service/register", &moved).await;
    between.recover();
    found(&portolan, "one", "10.0.0.9").await;

    // What a provider that reads otherwise has not read is not there.
    between.refuse("/v1/health/service/one");
    config.change(&provider(", stale = true"));
    found(&portolan, "one", "").await;
    between.recover();
    found(&portolan, "one", "10.0.0.9").await;
}

#[tokio::test]
async fn a_consul_that_is_back_with_nothing_new_is_told_of_at_once() {
    let consul = Consul::start().await;
    let between = Stumbling::start(&consul).await;
    let config = Config::with_consul(&between.url(), "");
    let portolan = Portolan::start(&config);
    eventually(|| state(&portolan), |it| it == "synced").await;
    between.refuse("/");
    eventually(|| state(&portolan), |it| it == "stale").await;
    // `eventually` has less patience than a step of the provider, which waits for news.
    between.recover();
    eventually(|| state(&portolan), |it| it == "synced").await;
}

#[tokio::test]
async fn a_restart_begins_with_the_state_of_its_own_configuration() {
    let consul = Consul::start().await;
    let [nobody] = free_ports();
    let (here, nowhere) = (consul.url(), format!("http://127.0.0.1:{nobody}"));
    let provider = |url: &str, options: &str| {
        format!(
            "[providers.consul]\nconfig = {{ address = \"{url}\"{options} }}\n\
             grants = {{ http-client = [\"{here}\", \"{nowhere}\"] }}\n"
        )
    };
    let config = Config::new(&provider(&here, ""));
    let portolan = Portolan::start(&config);
    register(&consul, "one", "10.0.0.1").await;
    found(&portolan, "one", "10.0.0.1").await;
    let kept = || async {
        let folder = fs::read_dir(config.path("data/state")).into_iter().flatten();
        let files = folder.map(|entry| entry.unwrap().path());
        let state = files.filter(|path| path.extension().is_some_and(|it| it == "json"));
        state.map(|path| fs::read_to_string(path).unwrap_or_default()).collect::<String>()
    };
    let identity = |text: &str| {
        let state: Option<Value> = serde_json::from_str(text).ok();
        state.map(|state| state["identity"].to_string())
    };
    let first = eventually(kept, |text| text.contains("10.0.0.1")).await;

    // An option that changes no item: the state is written again all the same, as that of the new one.
    config.change(&provider(&here, ", stale = true"));
    let second =
        eventually(kept, |text| identity(text) > None && identity(text) != identity(&first));
    let second = second.await;

    // While the new one gets nowhere the one before goes on, and so does what it keeps.
    config.change(&provider(&nowhere, ""));
    eventually(|| portolan.api("/api/problems"), says("the configuration before goes on")).await;
    register(&consul, "two", "10.0.0.2").await;
    let third = eventually(kept, |text| text.contains("10.0.0.2")).await;
    assert_eq!(identity(&third), identity(&second));

    let stopped = consul.stop();
    let (status, log) = portolan.stop();
    assert!(status.success(), "{log}");
    let portolan = Portolan::start(&config);
    eventually(|| portolan.api("/api/providers"), says("waiting")).await;
    found(&portolan, "one", "").await;
    drop(portolan);
    config.change(&provider(&here, ", stale = true"));
    let portolan = Portolan::start(&config);
    found(&portolan, "two", "10.0.0.2").await;
    drop(stopped);
}

#[tokio::test]
async fn a_bad_tag_that_all_instances_carry_is_one_problem() {
    let consul = Consul::start().await;
    let tags = ["traefik.http.routers.web.priority=x", "traefik.enabled=true"];
    for id in ["web-1", "web-2", "web-3"] {
        let (address, service) = ("10.0.0.1:80".parse().unwrap(), "web");
        consul.register(&Registration { id, service, address, tags: &tags }).await;
    }
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    let origins = || async {
        let problems = portolan.api("/api/problems").await;
        let origins = problems.as_array().unwrap().iter().map(|it| it["origin"].to_string());
        origins.filter(|it| it.contains("web-")).collect::<Vec<_>>()
    };
    let told = |others: &'static str| {
        move |origins: &Vec<String>| {
            let is_told = |it: &String| it.contains("web-1 tag") && it.ends_with(others);
            origins.len() == 2 && origins.iter().all(is_told)
        }
    };
    eventually(origins, told(", and on 2 other instances\"")).await;
    consul.deregister("web-2").await;
    eventually(origins, told(", and on one other instance\"")).await;
}
