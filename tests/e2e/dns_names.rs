//! Names that the configuration gives.

use hickory_proto::{op::ResponseCode, rr::RecordType};

use crate::support::{Config, Portolan, eventually, run};

#[tokio::test]
async fn hosts_files_are_followed_and_a_bad_line_is_told() {
    let config = Config::exactly(
        "data-dir = \"data\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [dns]\naddress = \"127.0.0.1:0\"\nupstreams = []\nhosts = [\"hosts\"]\n\
         hosts-domain = \"lan\"\n[dns.forward]\n\"lan\" = []\n",
    );
    let write = |text: &str| std::fs::write(config.path("hosts"), text).unwrap();
    write("10.0.0.5 nas nas.home.arpa\nnonsense printer\n10.0.0.8 a.b.lan\n");
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

    // What stands above a name exists, as nobody else is asked (RFC 8020).
    for (name, code) in [("b.lan.", ResponseCode::NoError), ("absent.lan.", ResponseCode::NXDomain)]
    {
        let reply = resolver.a(name).await;
        assert_eq!((reply.code, reply.answers.len()), (code, 0), "{name}");
        assert_eq!(reply.authority, [RecordType::SOA], "{name}");
    }

    write("10.0.0.6 nas\n");
    eventually(|| resolver.a("nas.lan."), |reply| reply.is(&["10.0.0.6"])).await;
    assert_eq!(resolver.a("b.lan.").await.code, ResponseCode::NXDomain);
    let gone = eventually(
        || async { portolan.api("/api/problems").await.to_string() },
        |problems| !problems.contains("nonsense"),
    );
    gone.await;
}

#[tokio::test]
async fn hosts_of_routers_live_as_long_as_is_written() {
    let config = Config::exactly(
        "data-dir = \"data\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [entrypoints.web]\naddress = \"127.0.0.1:0\"\n\
         [dns]\naddress = \"127.0.0.1:0\"\nupstreams = []\nrouter-ttl = \"1m\"\n\
         [dns.zones.\"home.arpa\"]\nnames = \"routers\"\nttl = 9\n\
         [http.routers.r]\nrule = \"Host(`a.example`) || Host(`a.home.arpa`)\"\n\
         middlewares = [\"w\"]\n[http.middlewares.w.whoami]\n",
    );
    let portolan = Portolan::start(&config);
    for (host, ttl) in [("a.example", 60), ("a.home.arpa", 9)] {
        let path = format!("/api/explain?method=GET&url=http%3A%2F%2F{host}%2F");
        let explained = portolan.api(&path).await;
        assert_eq!(explained["dns"]["records"][0]["ttl"], ttl, "{explained:#}");
    }
}

/// Two entrypoints with addresses of their own, and what else is written.
fn apart(int: &str, more: &str) -> String {
    format!(
        "data-dir = \"data\"\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [entrypoints.web]\naddress = \"127.0.0.2:0\"\n\
         [entrypoints.int]\naddress = \"{int}:0\"\n\
         [http.middlewares.w.whoami]\n\
         [http.routers.both]\nrule = \"Host(`both.example`)\"\nmiddlewares = [\"w\"]\n\
         [providers.static]\nplugin = \"file\"\nconfig = {{ directory = \"dynamic\" }}\n\
         grants = {{ files = [\"dynamic\"] }}\n\
         [http.routers.one]\nrule = \"Host(`one.example`)\"\nmiddlewares = [\"w\"]\n{more}"
    )
}

const DNS: &str = "[dns]\naddress = \"127.0.0.1:0\"\nupstreams = []\n";

#[tokio::test]
async fn a_host_leads_to_the_entrypoints_that_its_routers_are_on() {
    let on = |entrypoint: &str| format!("entrypoints = [\"{entrypoint}\"]\n{DNS}");
    let config = Config::exactly(&apart("127.0.0.3", &on("int")));
    let lost = "[http.routers.lost]\nrule = \"Host(`lost.example`)\"\nmiddlewares = [\"w@config\"]\n\
        entrypoints = [\"itn\"]\n";
    std::fs::write(config.path("dynamic/lost.toml"), lost).unwrap();
    let portolan = Portolan::start(&config);
    let resolver = portolan.dns();
    let told = || async {
        let path = "/api/explain?method=GET&url=http%3A%2F%2Fone.example%2F&entrypoint=int";
        let explained = portolan.api(path).await;
        explained["dns"]["records"][0]["data"].as_str().unwrap().to_owned()
    };
    assert!(resolver.a("one.example.").await.is(&["127.0.0.3"]));
    assert!(resolver.a("both.example.").await.is(&["127.0.0.2", "127.0.0.3"]));
    assert_eq!(told().await, "127.0.0.3");
    // No router of it is anywhere.
    let is_told =
        |told: &serde_json::Value| told.to_string().contains("there is no entrypoint `itn`");
    eventually(|| portolan.api("/api/problems"), is_told).await;
    let lost = resolver.a("lost.example.").await;
    assert_eq!((lost.code, lost.answers.len()), (ResponseCode::Refused, 0), "{lost:?}");

    // A router moves, then an entrypoint.
    config.replace(&apart("127.0.0.3", &on("web")));
    eventually(|| resolver.a("one.example."), |reply| reply.is(&["127.0.0.2"])).await;
    assert_eq!(told().await, "127.0.0.2");
    config.replace(&apart("127.0.0.4", &on("int")));
    eventually(|| resolver.a("one.example."), |reply| reply.is(&["127.0.0.4"])).await;
    // At once: who is near to whom does not follow by itself.
    assert!(resolver.a("both.example.").await.is(&["127.0.0.2", "127.0.0.4"]));

    // What is written counts for all of them.
    let written = on("int") + "edge-addresses = [\"10.0.0.9\"]\n";
    config.replace(&apart("127.0.0.4", &written));
    eventually(|| resolver.a("one.example."), |reply| reply.is(&["10.0.0.9"])).await;
    assert!(resolver.a("both.example.").await.is(&["10.0.0.9"]));
}

#[tokio::test]
async fn what_dnsmasq_answered_is_answered_after_the_import() {
    let config = Config::exactly("data-dir = \"data\"\n");
    let write = |name: &str, text: &str| std::fs::write(config.path(name), text).unwrap();
    write("hosts", "10.0.0.7 printer\n");
    write(
        "dnsmasq.conf",
        &format!(
            "listen-address=127.0.0.1\nport=0\nno-resolv\nno-hosts\naddn-hosts={}\n\
             address=/apps.lan/10.0.0.80\nhost-record=nas.home,10.0.0.5\nlocal=/lan/\n\
             cname=files.home,nas.home\naddress=/ads.home/#\n\
             dhcp-range=10.0.0.50,10.0.0.150\n",
            config.path("hosts").display()
        ),
    );
    let file = config.path("dnsmasq.conf");
    let (code, toml, told) = run(&config, &["import", "dnsmasq", file.to_str().unwrap()]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("dnsmasq.conf:11: `dhcp-range=10.0.0.50,10.0.0.150`"), "{told}");
    let toml = toml.replace("127.0.0.1:53", "127.0.0.1:0");
    config.replace(&format!("data-dir = \"data\"\nadmin = false\n{toml}"));
    let portolan = Portolan::start(&config);
    let resolver = portolan.dns();
    for (name, address) in [
        ("apps.lan.", "10.0.0.80"),
        ("any.thing.apps.lan.", "10.0.0.80"),
        ("nas.home.", "10.0.0.5"),
        ("a.ads.home.", "0.0.0.0"),
        ("printer.", "10.0.0.7"),
    ] {
        let reply = resolver.a(name).await;
        assert!(reply.is(&[address]), "{name}: {reply:?}");
    }
    let alias = resolver.a("files.home.").await;
    assert!(alias.is(&["10.0.0.5", "nas.home."]), "{alias:?}");
    let absent = resolver.a("other.lan.").await;
    assert_eq!(absent.code, ResponseCode::NXDomain);

    let (code, _, told) = run(&config, &["import", "dnsmasq", "absent.conf"]);
    assert_eq!(code, 1);
    assert!(told.contains("cannot read absent.conf"), "{told}");
}
