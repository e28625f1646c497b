//! The access log: nothing is lost when it is rotated or when the process ends, and nothing is told
//! that nobody should read.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
};

use serde_json::Value;

use crate::support::{Backend, Config, Portolan, eventually, request_with};

fn config(backend: &Backend, log: &str) -> Config {
    Config::new(&format!(
        "[http.routers.a]\nrule = \"Host(`a`)\"\nservice = \"s\"\n\
         [http.services.s.load-balancer]\nservers = [{{ url = \"{}\" }}]\n{log}",
        backend.url()
    ))
}

fn lines(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    // One that is being written is none yet.
    let (whole, _) = text.rsplit_once('\n').unwrap_or_default();
    whole.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_rotation_under_load_loses_no_line() {
    const LANES: usize = 4;
    let backend = Backend::start("b").await;
    let config = config(&backend, "[access-log]\nfile = \"access.log\"\nformat = \"json\"\n");
    let portolan = Portolan::start(&config);
    let (client, file) = (portolan.http(), config.path("access.log"));
    let enough = Arc::new(AtomicBool::new(false));
    let load = (0..LANES).map(|lane| {
        let enough = enough.clone();
        tokio::spawn(async move {
            let mut sent = 0;
            while !enough.load(Relaxed) {
                assert_eq!(client.get("a", &format!("/{lane}/{sent}")).await.status, 200);
                sent += 1;
            }
            sent
        })
    });
    let load: Vec<_> = load.collect();
    let mut parts = Vec::new();
    for rotation in 0..3 {
        // As logrotate does: away with the old one, then the signal.
        eventually(|| async { lines(&file).len() }, |count| *count > 20).await;
        let part = config.path(&format!("access.log.{rotation}"));
        fs::rename(&file, &part).unwrap();
        portolan.signal("-HUP");
        eventually(|| async { file.exists() }, |exists| *exists).await;
        parts.push(part);
    }
    enough.store(true, Relaxed);
    let mut sent = 0;
    for lane in load {
        sent += lane.await.unwrap();
    }
    let (status, log) = portolan.stop();
    assert!(status.success(), "{log}");
    parts.push(file);
    let all: Vec<_> = parts.iter().flat_map(|part| lines(part)).collect();
    assert_eq!(all.len(), sent);
    let paths: BTreeSet<_> = all.iter().map(|line| line["RequestPath"].to_string()).collect();
    assert_eq!(paths.len(), sent, "each has one line");
    assert!(all.iter().all(|line| line["DownstreamStatus"] == 200));
}

#[tokio::test]
async fn a_router_may_keep_its_requests_out_of_logs_and_figures() {
    let backend = Backend::start("b").await;
    let config = config(
        &backend,
        "[http.routers.quiet]\nrule = \"Host(`quiet`)\"\nservice = \"s\"\n\
         observability = { accessLogs = false, metrics = false }\n\
         [metrics]\nrouter-labels = true\n[access-log]\nfile = \"access.log\"\nformat = \"json\"\n",
    );
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("quiet", "/").await.status, 200);
    assert_eq!(portolan.http().get("a", "/").await.status, 200);
    let file = config.path("access.log");
    let metrics = async || portolan.admin().get("localhost", "/metrics").await.body;
    let requests = |told: &str, label: &str| -> Vec<String> {
        let all =
            told.lines().filter(|line| line.contains("requests_total") && line.contains(label));
        all.filter_map(|line| line.rsplit(' ').next()).map(str::to_owned).collect()
    };
    let told = eventually(metrics, |told| !requests(told, "\"a@config\"").is_empty()).await;
    assert!(requests(&told, "\"quiet@config\"").iter().all(|count| count == "0"), "{told}");
    let of_entrypoint = requests(&told, "entrypoint=\"web\"");
    assert!(!of_entrypoint.is_empty(), "{told}");
    assert!(of_entrypoint.iter().all(|count| count == "1"), "{of_entrypoint:?}");
    let (status, log) = portolan.stop();
    assert!(status.success(), "{log}");
    let routers: Vec<_> = lines(&file).iter().map(|it| it["RouterName"].to_string()).collect();
    assert_eq!(routers, ["\"a@config\""]);
}

#[tokio::test]
async fn an_entrypoint_says_what_is_noted_where_its_routers_do_not() {
    let backend = Backend::start("b").await;
    let toml = |observability: &str| {
        format!(
            "{observability}\
             [http.routers.loud]\nrule = \"Host(`loud`)\"\nservice = \"s\"\n\
             observability = {{ accessLogs = true, metrics = true }}\n\
             [http.routers.a]\nrule = \"Host(`a`)\"\nservice = \"s\"\n\
             [http.services.s.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
             [access-log]\nfile = \"access.log\"\nformat = \"json\"\n",
            backend.url()
        )
    };
    let quiet = "[entrypoints.web.observability]\naccess-logs = false\nmetrics = false\n";
    let config = Config::new(&toml(quiet));
    let portolan = Portolan::start(&config);
    // Who has no router has nobody else who says.
    for (host, status) in [("a", 200), ("nobody", 404), ("loud", 200)] {
        assert_eq!(portolan.http().get(host, "/before").await.status, status);
    }
    let metrics = async || portolan.admin().get("localhost", "/metrics").await.body;
    let label = "traefik_entrypoint_requests_total{entrypoint=\"web\",code=\"200\"";
    let told = eventually(metrics, |told| told.contains(label)).await;
    let line = told.lines().find(|line| line.starts_with(label)).unwrap();
    assert!(line.ends_with(" 1"), "{line}");
    assert!(!told.contains("entrypoint=\"web\",code=\"404\""), "{told}");
    // It holds from the next request on, and the port stays.
    config.change(&toml(""));
    let mut asked = 0;
    let file = config.path("access.log");
    let after = async || lines(&file).iter().any(|line| line["RequestPath"] == "/after");
    while !after().await {
        asked += 1;
        assert_eq!(portolan.http().get("a", "/after").await.status, 200);
    }
    assert!(asked > 0);
    let (status, log) = portolan.stop();
    assert!(status.success(), "{log}");
    let mut before = lines(&file);
    before.retain(|line| line["RequestPath"] == "/before");
    let routers: Vec<_> = before.iter().map(|it| it["RouterName"].to_string()).collect();
    assert_eq!(routers, ["\"loud@config\""]);
}

#[tokio::test]
async fn secrets_stay_secret_and_the_reason_is_told() {
    let backend = Backend::start("b").await;
    let config = config(
        &backend,
        "[access-log]\nfile = \"logs/access.log\"\nformat = \"json\"\n\
         fields = { query-parameters = \"drop\", names = { ClientAddr = \"drop\", ClientHost = \"redact\" }, \
         headers = { default-mode = \"keep\" } }\n",
    );
    let portolan = Portolan::start(&config);
    let secret = request_with("a", "authorization", "Bearer s3cr3t");
    assert_eq!(portolan.http().send(secret).await.unwrap().status, 200);
    assert_eq!(portolan.http().get("a", "/x?token=s3cr3t").await.status, 200);
    assert_eq!(portolan.http().get("nobody", "/").await.status, 404);
    // Not only at the end: a line is there a moment after its request.
    let file = config.path("logs/access.log");
    let mut lines = eventually(|| async { lines(&file) }, |lines| lines.len() == 3).await;
    // Each worker writes its own lines in their order; those of two may change places.
    lines.sort_by_key(|line| line["RequestCount"].as_u64());
    assert!(!fs::read_to_string(&file).unwrap().contains("s3cr3t"));
    assert_eq!(lines[0]["request_Authorization"], "REDACTED");
    assert_eq!(lines[0]["origin_X-Backend"], "b");
    assert_eq!(lines[0]["ClientHost"], "REDACTED");
    assert!(lines[0].get("ClientAddr").is_none());
    assert_eq!(lines[0]["RouterName"], "a@config");
    assert_eq!(lines[1]["RequestPath"], "/x");
    assert_eq!(
        (&lines[2]["DownstreamStatus"], &lines[2]["Reason"]),
        (&404.into(), &"no-router".into())
    );
    let overview = portolan.api("/api/overview").await;
    assert_eq!(overview["features"]["accessLog"], true);
    assert_eq!(overview["portolan"]["failures"]["no-router"], 1);
    let explained = portolan.api("/api/explain?url=http://nobody/").await;
    assert_eq!(explained["reason"], "no-router");
}

#[tokio::test]
async fn who_asks_is_the_client_behind_the_proxies_that_are_trusted() {
    let backend = Backend::start("b").await;
    let trusted = "address = \"127.0.0.1:0\"\n\
                   forwarded-headers = { trusted-ips = [\"127.0.0.0/8\", \"10.0.0.0/8\"] }\n";
    let config = config(
        &backend,
        "[access-log]\nfile = \"access.log\"\nformat = \"json\"\n[log]\nlevel = \"debug\"\n",
    );
    let text = fs::read_to_string(config.path("config.toml")).unwrap();
    config.replace(&text.replacen("address = \"127.0.0.1:0\"\n", trusted, 1));
    let portolan = Portolan::start(&config);
    for (said, client) in [
        ("192.0.2.1, 198.51.100.7, 10.0.0.1", "198.51.100.7"),
        ("10.0.0.2, 10.0.0.1", "10.0.0.2"),
        ("[2001:db8::1]:4711", "2001:db8::1"),
        ("unknown", "127.0.0.1"),
    ] {
        fs::write(config.path("access.log"), "").unwrap();
        let request = request_with("a", "x-forwarded-for", said);
        assert_eq!(portolan.http().send(request).await.unwrap().status, 200);
        let file = config.path("access.log");
        let lines = eventually(|| async { lines(&file) }, |lines| lines.len() == 1).await;
        assert_eq!(lines[0]["ClientHost"], client, "{said}");
        assert!(lines[0]["ClientAddr"].as_str().unwrap().starts_with("127.0.0.1:"), "{said}");
    }
    // Those who debug are told which request a line is about, and nothing of what is in its query.
    assert_eq!(portolan.http().get("a", "/x?secret").await.status, 200);
    let line = portolan.log_until("GET a/x");
    assert!(line.contains("a@config") && !line.contains("secret"), "{line}");
    assert_eq!(portolan.http().get("nobody", "/y").await.status, 404);
    portolan.log_until("path=\"/y\"");
    assert!(!portolan.log().contains("cranelift"), "the compiler has no word in it");
}

#[tokio::test]
async fn a_log_that_cannot_be_written_is_said_at_the_start() {
    let backend = Backend::start("b").await;
    let config = config(&backend, "[access-log]\nfile = \"plugins\"\n");
    let (code, _, log) = crate::support::run(&config, &["run"]);
    assert_eq!(code, 1);
    assert!(log.contains("cannot write the access log"), "{log}");
}
