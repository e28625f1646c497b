//! `config.toml` is read again when it changes; a broken one changes nothing.

use crate::support::{Backend, Config, Portolan, eventually};

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
async fn sighup_reads_everything_again() {
    let config = Config::new(&router("one.local"));
    let portolan = Portolan::start(&config);
    config.change(&router("two.local"));
    portolan.signal("-HUP");
    eventually(|| portolan.http().get("two.local", "/"), |a| a.status == 200).await;
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
    let extra = crate::support::Client(extra["address"].as_str().unwrap().parse().unwrap());
    assert_eq!(extra.get("b.local", "/").await.status, 200);
    config.change(&service);
    eventually(|| extra.try_get("b.local", "/"), Option::is_none).await;
    assert_eq!(portolan.http().get("b.local", "/").await.status, 200);
}
