//! `config.toml` is read again when it changes; a broken one changes nothing.

use crate::support::{
    Backend, Client, Config, Consul, Portolan, Registration, eventually, free_ports,
};

fn router(host: &str) -> String {
    format!(
        "[http.routers.r]\nrule = \"Host(`{host}`)\"\nmiddlewares = [\"whoami\"]\n\
         [http.middlewares.whoami.whoami]\n"
    )
}

#[tokio::test]
async fn a_change_is_in_use_and_a_broken_file_changes_nothing() {
    let config = Config::new(&router("one.local"));
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("one.local", "/").await.status, 200);
    config.change(&router("two.local"));
    eventually(|| portolan.http().get("two.local", "/"), |a| a.status == 200).await;
    assert_eq!(portolan.http().get("one.local", "/").await.status, 404);

    for (broken, says) in [
        ("[http.routers.r\n".to_owned(), "config.toml:"),
        (router("three.local").replace("rule", "ruel"), "did you mean `rule`?"),
        (router("three.local").replace("Host(", "Hots("), "did you mean `Host`?"),
        (format!("{}\n[entrypointz]\n", router("three.local")), "did you mean `entrypoints`?"),
    ] {
        config.change(&broken);
        eventually(
            || async { portolan.api("/api/problems").await.to_string() },
            |problems| problems.contains(says),
        )
        .await;
        assert_eq!(portolan.http().get("two.local", "/").await.status, 200);
    }
    // The place is underlined in the log.
    portolan.log_until("^^^");

    config.change(&router("four.local"));
    eventually(|| portolan.http().get("four.local", "/"), |a| a.status == 200).await;
}

#[tokio::test]
async fn what_was_found_out_about_backends_outlives_a_file_that_is_refused() {
    let (good, bad) = (Backend::start("good").await, Backend::start("bad").await);
    let (up, down) = (good.url(), bad.url());
    drop(bad);
    let services = format!(
        "[http.routers.r]\nrule = \"Host(`a.local`)\"\nservice = \"s\"\n\
         [http.services.s.load-balancer]\n\
         servers = [{{ url = \"{up}\" }}, {{ url = \"{down}\" }}]\n\
         health-check = {{ interval = \"1h\" }}\n"
    );
    let config = Config::new(&services);
    let portolan = Portolan::start(&config);
    let state = || async { portolan.api("/api/http/services").await[0]["serverStatus"].clone() };
    eventually(state, |it| it[&up] == "UP" && it[&down] == "DOWN").await;
    // There is no such backend in what is refused, and no second look for an hour.
    config.change(&services.replace(&down, "nonsense"));
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    eventually(problems, |it| it.contains("`nonsense` is not a URL")).await;
    // Whoever were looked at anew would be waited for: connected, and not answered.
    let address = down.trim_start_matches("http://");
    let _mute = tokio::net::TcpListener::bind(address).await.unwrap();
    config.change(&format!(
        "{services}[http.routers.other]\nrule = \"Host(`b`)\"\nservice = \"s\"\n"
    ));
    let routers = || async { portolan.api("/api/http/routers").await.to_string() };
    eventually(routers, |it| it.contains("other@config")).await;
    assert_eq!(state().await[&down], "DOWN");
}

#[tokio::test]
async fn of_routers_alike_those_of_the_provider_named_first_are_asked() {
    let reply = |text: &str| {
        format!(
            "[http.routers.r]\nrule = \"Host(`a.local`)\"\nmiddlewares = [\"m\"]\n\
             [http.middlewares.m.redirect-scheme]\nscheme = \"https\"\nport = \"{text}\"\n"
        )
    };
    let files = |own: &str| {
        format!(
            "[providers.aside]\nplugin = \"file\"\nconfig = {{ directory = \"dynamic\" }}\n\
             grants = {{ files = [\"dynamic\"] }}\n[http]\n{own}\n{}",
            reply("1")
        )
    };
    let config = Config::new(&files(""));
    let folder = config.path("dynamic");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("a.toml"), reply("2")).unwrap();
    let portolan = Portolan::start(&config);
    let port = || async {
        let answer = portolan.http().get("a.local", "/").await;
        answer.header("location").to_owned()
    };
    let routers = || async { portolan.api("/api/http/routers").await.to_string() };
    eventually(routers, |it| it.contains("r@aside")).await;
    assert_eq!(port().await, "https://a.local:1/");
    config.change(&files("provider-precedence = [\"aside\"]"));
    eventually(port, |it| it == "https://a.local:2/").await;
    config.change(&files("provider-precedence = [\"asid\"]"));
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    eventually(problems, |it| it.contains("did you mean `aside`?")).await;
}

#[tokio::test]
async fn sighup_reads_everything_again() {
    let config = Config::new(&router("one.local"));
    let portolan = Portolan::start(&config);
    config.change(&router("two.local"));
    portolan.signal("-HUP");
    eventually(|| portolan.http().get("two.local", "/"), |a| a.status == 200).await;
}

#[tokio::test]
async fn the_admin_api_and_an_entrypoint_can_swap_their_addresses() {
    let [one, other] = free_ports();
    let at = |web: u16, admin: u16| {
        format!(
            "data-dir = \"data\"\nthreads = 2\n[entrypoints.web]\naddress = \"127.0.0.1:{web}\"\n\
             [admin]\naddress = \"127.0.0.1:{admin}\"\n[plugins]\ndirectory = \"plugins\"\n{}",
            router("one.local")
        )
    };
    let config = Config::exactly(&at(one, other));
    let portolan = Portolan::start(&config);
    let [one_client, other_client] = [one, other].map(|port| Client(([127, 0, 0, 1], port).into()));
    for (web, admin, clients) in
        [(other, one, [other_client, one_client]), (one, other, [one_client, other_client])]
    {
        config.replace(&at(web, admin));
        let [web, admin] = clients;
        eventually(
            || web.try_get("one.local", "/"),
            |it| it.as_ref().is_some_and(|answer| answer.status == 200),
        )
        .await;
        eventually(
            || admin.try_get("localhost", "/ping"),
            |it| it.as_ref().is_some_and(|answer| answer.status == 200),
        )
        .await;
        // Neither has a part of what is meant for the other.
        for _ in 0..20 {
            assert_eq!(web.get("localhost", "/ping").await.status, 404);
            assert_eq!(admin.get("localhost", "/ping").await.status, 200);
        }
        let problems = admin.get("localhost", "/api/problems").await.body;
        assert_eq!(problems, "[]");
    }
    // Where it cannot go it stays, and nobody gets in there.
    let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let third = held.local_addr().unwrap().port();
    config.replace(&at(other, third));
    portolan.log_until("cannot listen on");
    let problems = || async { other_client.get("localhost", "/api/problems").await.body };
    eventually(problems, |told| told.contains("our own admin API holds it")).await;
    assert_eq!(one_client.get("one.local", "/").await.status, 200);
    drop(held);
    portolan.signal("-HUP");
    let taken = || other_client.try_get("one.local", "/");
    eventually(taken, |it| it.as_ref().is_some_and(|answer| answer.status == 200)).await;
    // One that goes leaves its address as well.
    let admin = format!("[admin]\naddress = \"127.0.0.1:{third}\"\n");
    let without = at(third, third).replace(&admin, "");
    config.replace(&format!("admin = false\n{without}"));
    let third = Client(([127, 0, 0, 1], third).into());
    let taken = || third.try_get("one.local", "/");
    eventually(taken, |it| it.as_ref().is_some_and(|answer| answer.status == 200)).await;
}

#[tokio::test]
async fn entrypoints_come_and_go() {
    let backend = Backend::start("b").await;
    let service = format!(
        "[http.routers.r]\nrule = \"Host(`b.local`)\"\nservice = \"b\"\n\
         [http.services.b.load-balancer]\nservers = [{{ url = \"{}\" }}]\n",
        backend.url()
    );
    let config = Config::new(&service);
    let portolan = Portolan::start(&config);
    config.change(&format!("[entrypoints.extra]\naddress = \"127.0.0.1:0\"\n{service}"));
    let overview = eventually(
        || portolan.api("/api/entrypoints"),
        |entrypoints| entrypoints.to_string().contains("extra"),
    )
    .await;
    let extra = overview.as_array().unwrap().iter().find(|e| e["name"] == "extra").unwrap();
    let extra = Client(extra["address"].as_str().unwrap().parse().unwrap());
    assert_eq!(extra.get("b.local", "/").await.status, 200);
    config.change(&service);
    eventually(|| extra.try_get("b.local", "/"), Option::is_none).await;
    assert_eq!(portolan.http().get("b.local", "/").await.status, 200);
}

#[tokio::test]
async fn a_provider_goes_on_while_its_new_configuration_is_wrong_and_all_is_read_again() {
    let consul = Consul::start().await;
    let provider = |key: &str, grant: &str| {
        format!(
            "[providers.consul]\nplugin = \"consul\"\n\
             config = {{ address = \"{}\", {key} = \"traefik\" }}\n\
             grants = {{ http-client = [\"{grant}\"] }}\n",
            consul.url()
        )
    };
    let config = Config::new(&provider("prefix", &consul.url()));
    let portolan = Portolan::start(&config);
    let register = async |id: &str, address: &str| {
        let address = address.parse().unwrap();
        consul.register(&Registration { id, service: id, address, tags: &[] }).await;
        let name = format!("{id}.service.consul.");
        eventually(|| portolan.dns().a(&name), |reply| !reply.answers.is_empty()).await;
    };
    register("one", "10.8.0.1:80").await;
    config.change(&provider("prefx", &consul.url()));
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    eventually(problems, |it| it.contains("the configuration before goes on")).await;
    register("two", "10.8.0.2:80").await;
    portolan.signal("-HUP");
    register("three", "10.8.0.3:80").await;
    assert!(problems().await.contains("the configuration before goes on"));
    // What it may no longer reach it does not reach.
    config.change(&provider("prefix", "http://127.0.0.1:9"));
    eventually(problems, |it| it.contains("granted")).await;
    let address = "10.8.0.4:80".parse().unwrap();
    consul.register(&Registration { id: "four", service: "four", address, tags: &[] }).await;
    assert!(portolan.dns().a("three.service.consul.").await.is(&["10.8.0.3"]));
    config.change(&provider("prefix", &consul.url()));
    let four = || portolan.dns().a("four.service.consul.");
    eventually(four, |reply| reply.is(&["10.8.0.4"])).await;
    eventually(problems, |told| told == "[]").await;
}

#[tokio::test]
async fn an_entrypoint_that_cannot_be_bound_costs_only_itself() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = Config::new("");
    let portolan = Portolan::start(&config);
    config.change(&format!(
        "[entrypoints.taken]\naddress = \"{}\"\n[entrypoints.other]\naddress = \"127.0.0.1:0\"\n",
        taken.local_addr().unwrap()
    ));
    // The log tells the port that it was given.
    let log = portolan.log_until("listening entrypoint=other address=127.0.0.1:");
    let (_, address) = log.rsplit_once("entrypoint=other address=").unwrap();
    let address = address.split_whitespace().next().unwrap().parse().unwrap();
    assert_eq!(Client(address).get("a", "/").await.status, 404);
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    eventually(problems, |told| told.contains("entrypoint `taken`")).await;
    // It is tried again, without a word, until it can be had.
    drop(taken);
    eventually(problems, |told| told == "[]").await;
    let log = portolan.log_until("listening entrypoint=taken");
    assert_eq!(log.matches("`taken` cannot listen").count(), 1, "{log}");
}

#[tokio::test]
async fn what_takes_a_restart_is_told_until_it_is_as_it_was() {
    let config = Config::new(&router("one.local"));
    let portolan = Portolan::start(&config);
    let problems = || async { portolan.api("/api/problems").await.to_string() };
    let takes = "a change of `metrics` takes a restart";
    config.change(&format!("{}[metrics]\nbuckets = [1.0]\n", router("two.local")));
    eventually(problems, |it| it.contains(takes)).await;
    config.change(&format!("{}[metrics]\nbuckets = [1.0]\n", router("three.local")));
    eventually(|| portolan.http().get("three.local", "/"), |it| it.status == 200).await;
    assert!(problems().await.contains(takes));
    config.change(&router("four.local"));
    eventually(problems, |it| it == "[]").await;
}
