//! Names that the configuration gives.

use hickory_proto::rr::RecordType;

use crate::support::{Config, Portolan, eventually};

#[tokio::test]
async fn hosts_files_are_followed_and_a_bad_line_is_told() {
    let config = Config::exactly(
        "data-dir = \"data\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [dns]\naddress = \"127.0.0.1:0\"\nupstreams = []\nhosts = [\"hosts\"]\n\
         hosts-domain = \"lan\"\n",
    );
    let write = |text: &str| std::fs::write(config.path("hosts"), text).unwrap();
    write("10.0.0.5 nas nas.home.arpa\nnonsense printer\n");
    let portolan = Portolan::start(&config);
    let resolver = portolan.dns();
    for name in ["nas.", "nas.lan.", "nas.home.arpa."] {
        assert!(resolver.a(name).await.is(&["10.0.0.5"]), "{name}");
    }
    let pointer = resolver.ask("5.0.0.10.in-addr.arpa.", RecordType::PTR).await;
    assert_eq!(pointer.answers.len(), 1, "{pointer:?}");
    let problems = portolan.api("/api/problems").await.to_string();
    assert!(problems.contains("hosts:2"), "{problems}");
    assert!(problems.contains("`nonsense` is not an IP address"), "{problems}");

    write("10.0.0.6 nas\n");
    eventually(|| resolver.a("nas.lan."), |reply| reply.is(&["10.0.0.6"])).await;
    let gone = eventually(
        || async { portolan.api("/api/problems").await.to_string() },
        |problems| !problems.contains("nonsense"),
    );
    gone.await;
}
