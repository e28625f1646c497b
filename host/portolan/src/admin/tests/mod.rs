//! Promises of the admin API, over real sockets.

mod events;
mod left_out;
mod metrics;
mod standing;

use std::{net::SocketAddr, time::Duration};

use http_body_util::{BodyExt as _, Empty};
use hyper_util::{client::legacy::Client, rt::TokioExecutor};
use serde_json::Value;
use tokio::{net::TcpListener, sync::watch};

use super::{
    dashboard::FILES,
    explain::{Outcome, Question, ask},
    fake::{Harbour, harbour, snapshot},
};

/// A running API; it drains when this is dropped.
struct Server {
    address: SocketAddr,
    harbour: Harbour,
    drain: watch::Sender<bool>,
}

/// An answer, read to its end.
struct Answer {
    status: u16,
    headers: http::HeaderMap,
    bytes: bytes::Bytes,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.body))
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn serve(routers: usize, address: &str) -> Server {
    let (admin, harbour) = harbour(routers);
    let listener = TcpListener::bind(address).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (drain, drained) = watch::channel(false);
    tokio::spawn(admin.serve(listener, drained));
    Server { address, harbour, drain }
}

impl Server {
    async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &self.address.to_string()).await
    }

    async fn send(&self, method: &str, path: &str, host: &str) -> Answer {
        self.send_with(method, path, &[("host", host)]).await
    }

    async fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
        let client = Client::builder(TokioExecutor::new()).build_http();
        let uri = format!("http://{}{path}", self.address);
        let request = http::Request::builder().method(method).uri(uri);
        let request =
            headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
        let answer = client.request(request).await.unwrap();
        let (head, body) = answer.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let body = String::from_utf8_lossy(&bytes).into_owned();
        Answer { status: head.status.as_u16(), headers: head.headers, bytes, body }
    }
}

#[tokio::test]
async fn routers_have_traefiks_shape() {
    let server = serve(0, "127.0.0.1:0").await;
    let answer = server.get("/api/http/routers/grafana%40consul").await;
    assert_eq!(answer.status, 200);
    let mut router = answer.json();
    let ours = router.as_object_mut().unwrap().remove("portolan").unwrap();
    let expected = serde_json::json!({
        "entryPoints": ["web", "websecure"],
        "middlewares": ["hello@config", "gate@config"],
        "service": "grafana",
        "rule": "Host(`grafana.local`)",
        "priority": 21,
        "priorityStr": "21",
        "observability": {
            "accessLogs": true, "metrics": true, "tracing": true, "traceVerbosity": "minimal",
        },
        "status": "enabled",
        "using": ["web", "websecure"],
        "name": "grafana@consul",
        "provider": "consul",
    });
    assert_eq!(router, expected);
    assert_eq!(ours["origin"], "instance `grafana-1`");
    assert_eq!(ours["service"], "grafana@consul");
    assert_eq!(ours["traffic"]["classes"][4], 1);
}

#[tokio::test]
async fn a_disabled_router_is_listed_with_its_reason() {
    let server = serve(0, "127.0.0.1:0").await;
    let list = server.get("/api/http/routers?status=disabled").await.json();
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["name"], "loki@consul");
    assert_eq!(
        list[0]["error"][0],
        "the middleware `auht@consul` does not exist: did you mean `auth`?"
    );
}

#[tokio::test]
async fn services_say_which_backends_are_up() {
    let server = serve(0, "127.0.0.1:0").await;
    let service = server.get("/api/http/services/grafana@consul").await.json();
    assert_eq!(service["type"], "loadbalancer");
    assert_eq!(service["loadBalancer"]["servers"][0]["url"], "http://10.0.0.7:3000");
    let expected = serde_json::json!({
        "http://10.0.0.7:3000": "UP",
        "http://10.0.0.8:3000": "UP",
        "http://10.0.0.9:3000": "DOWN",
    });
    assert_eq!(service["serverStatus"], expected);
    assert_eq!(service["portolan"]["backends"][2]["health"], "critical");
}

#[tokio::test]
async fn middlewares_show_their_plugin_and_no_secret() {
    let server = serve(0, "127.0.0.1:0").await;
    let list = server.get("/api/http/middlewares").await.json();
    let gate = &list.as_array().unwrap().iter().find(|it| it["name"] == "gate@config").unwrap();
    assert_eq!(gate["type"], "basicauth");
    assert_eq!(gate["basicAuth"]["users"], "hidden");
    let hello = &list.as_array().unwrap().iter().find(|it| it["name"] == "hello@config").unwrap();
    let does = "sets the response header `x-served-by: portolan`";
    assert_eq!(hello["portolan"]["does"][0], does);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let server = serve(10, "127.0.0.1:0").await;
    let first = server.get("/api/http/routers?per_page=10").await;
    assert_eq!(first.json().as_array().unwrap().len(), 10);
    assert_eq!((first.header("x-next-page"), first.header("x-total-count")), ("2", "15"));
    let last = server.get("/api/http/routers?per_page=10&page=2").await;
    assert_eq!(last.json().as_array().unwrap().len(), 5);
    assert_eq!(last.header("x-next-page"), "1");
    let beyond = server.get("/api/http/routers?per_page=10&page=3").await;
    assert_eq!(beyond.status, 400);
    assert_eq!(beyond.json()["message"], "invalid request: page: 3, per_page: 10");
    let found = server.get("/api/http/routers?search=BERTH-00007").await.json();
    assert_eq!(found[0]["name"], "berth-00007@static");
    let by_priority = server.get("/api/http/routers?sortBy=priority&direction=desc").await.json();
    assert_eq!(by_priority[0]["name"], "vault@consul");
    for (service, first, count) in [
        ("grafana", "grafana@consul", "1"),
        ("grafana@consul", "grafana@consul", "1"),
        // Routers of another provider name it in full.
        ("prometheus", "prometheus@consul", "1"),
        ("prometheus@consul", "berth-00000@static", "11"),
    ] {
        let found = server.get(&format!("/api/http/routers?serviceName={service}")).await;
        let total = found.header("x-total-count");
        assert_eq!((found.json()[0]["name"].as_str(), total), (Some(first), count), "{service}");
    }
    let by_trouble = server.get("/api/http/routers?sortBy=trouble").await.json();
    assert_eq!(by_trouble[0]["name"], "loki@consul");
}

#[tokio::test]
async fn what_is_not_there_is_404_with_a_message() {
    let server = serve(0, "127.0.0.1:0").await;
    for (path, message) in [
        ("/api/http/routers/nobody@consul", "router not found: nobody@consul"),
        ("/api/http/services/a%2Fb@c", "service not found: a/b@c"),
        ("/api/http/middlewares/x", "middleware not found: x"),
        ("/api/entrypoints/x", "entry point not found: x"),
        ("/nothing", "there is nothing here"),
    ] {
        let answer = server.get(path).await;
        assert_eq!((answer.status, answer.json()["message"].as_str()), (404, Some(message)));
    }
    assert_eq!(server.get("/api/http/routers/%FF").await.status, 400);
}

#[tokio::test]
async fn the_overview_counts_everything() {
    let server = serve(3, "127.0.0.1:0").await;
    let overview = server.get("/api/overview").await.json();
    let totals = |total, warnings, errors| serde_json::json!({ "total": total, "warnings": warnings, "errors": errors });
    assert_eq!(overview["http"]["routers"], totals(8, 0, 1));
    assert_eq!(overview["http"]["services"], totals(3, 1, 0));
    assert_eq!(overview["tcp"]["routers"], totals(0, 0, 0));
    assert_eq!(overview["features"]["metrics"], "Prometheus");
    assert_eq!(overview["providers"], serde_json::json!(["consul", "static"]));
    assert_eq!(overview["portolan"]["problems"], serde_json::json!([2, 1]));
    assert_eq!(overview["portolan"]["generation"], 1);
}

#[tokio::test]
async fn certificates_have_traefiks_shape_and_say_where_they_come_from() {
    let server = serve(1, "127.0.0.1:0").await;
    let list = server.get("/api/certificates").await.json();
    let first = &list[0];
    assert_eq!(first["sans"][0], "grafana.local", "{list}");
    assert_eq!(
        (&first["status"], &first["portolan"]["source"]),
        (&"enabled".into(), &"local".into())
    );
    for key in ["notAfter", "notBefore", "serialNumber", "issuerCN", "keyType", "certFingerprint"] {
        assert!(!first[key].is_null(), "{key}: {first}");
    }
    let expired = server.get("/api/certificates?status=disabled").await.json();
    assert_eq!(
        (expired[0]["commonName"].as_str(), &expired[1]),
        (Some("old.example"), &Value::Null)
    );
    let name = expired[0]["name"].as_str().unwrap().replace(' ', "%20");
    let one = server.get(&format!("/api/certificates/{name}")).await.json();
    assert_eq!(one["portolan"]["state"], "expired");
    assert_eq!(server.get("/api/certificates/none").await.status, 404);
    let overview = server.get("/api/overview").await.json();
    assert_eq!(overview["certificates"]["errors"], 1, "{}", overview["certificates"]);
    // Those of the local authority look after themselves.
    let metrics = server.get("/metrics").await.body;
    let series = metrics.lines().filter(|line| line.starts_with("traefik_tls_certs_not_after{"));
    assert_eq!(
        series.collect::<Vec<_>>(),
        [
            "traefik_tls_certs_not_after{cn=\"old.example\",serial=\"4711\",sans=\"old.example\"} 86400"
        ]
    );
}

#[tokio::test]
async fn rawdata_is_keyed_by_name() {
    let server = serve(0, "127.0.0.1:0").await;
    let raw = server.get("/api/rawdata").await.json();
    assert_eq!(raw["routers"]["whoami@config"]["rule"], "Host(`whoami.local`)");
    assert_eq!(raw["services"]["vault@consul"]["serverStatus"]["http://10.0.0.3:8200"], "DOWN");
    assert_eq!(raw["middlewares"]["strip-v2@config"]["stripPrefix"]["prefixes"][0], "/v2");
}

#[tokio::test]
async fn tools_for_traefik_find_what_they_look_for() {
    let server = serve(0, "127.0.0.1:0").await;
    for path in ["tcp/routers", "tcp/services", "tcp/middlewares", "udp/routers", "udp/services"] {
        let answer = server.get(&format!("/api/{path}")).await;
        assert_eq!(answer.json(), serde_json::json!([]));
        assert_eq!(answer.header("x-next-page"), "1");
    }
    let version = server.get("/api/version").await.json();
    assert_eq!(version["Version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(version["Codename"], "portolan");
    let names = |list: Value| {
        let names = list.as_array().unwrap().iter().map(|it| it["name"].clone());
        names.collect::<Vec<_>>()
    };
    let entrypoints = server.get("/api/entrypoints").await.json();
    assert_eq!(names(entrypoints.clone()), ["web", "websecure"]);
    let all = server.get("/api/entrypoints?all=true").await.json();
    assert_eq!(names(all), ["admin", "dns", "web", "websecure"]);
    assert_eq!(entrypoints[0]["address"], "127.0.0.1:8000");
    assert_eq!(server.get("/api/entrypoints/dns").await.json()["protocol"], "dns");
}

#[tokio::test]
async fn a_stale_provider_says_since_when_and_why() {
    let server = serve(0, "127.0.0.1:0").await;
    let consul = server.get("/api/providers").await.json()[0].clone();
    assert_eq!(consul["state"], "stale");
    assert_eq!(consul["error"], "connect to `127.0.0.1:8500`: connection refused");
    let age = consul["successAge"].as_u64().unwrap();
    assert!((754_000..760_000).contains(&age), "{age}");
}

#[tokio::test]
async fn a_plugin_whose_new_file_is_bad_says_so_and_goes_on() {
    let server = serve(0, "127.0.0.1:0").await;
    let plugins = server.get("/api/plugins").await.json();
    let plugin = plugins.as_array().unwrap().iter().find(|it| it["name"] == "request-id").unwrap();
    assert_eq!(plugin["state"], "outdated");
    assert_eq!(plugin["error"], "`describe` trapped: unreachable executed");
    assert_eq!(plugin["version"], "0.1.0");
    assert_eq!(plugin["figures"]["traps"], 2);
}

#[tokio::test]
async fn dns_names_are_found_by_record_too() {
    let server = serve(0, "127.0.0.1:0").await;
    let page = server.get("/api/dns?search=10.0.0.8&per_page=100&zone=infra.local").await.json();
    let expected = serde_json::json!([{
        "name": "grafana.infra.local",
        "zone": "infra.local",
        "kind": "service",
        "records": [
            { "type": "A", "data": "10.0.0.7", "ttl": 5 },
            { "type": "A", "data": "10.0.0.8", "ttl": 5 },
            { "type": "SRV", "data": "1 1 3000 0a000007.addr.infra.local.", "ttl": 5 },
            { "type": "SRV", "data": "1 1 3000 0a000008.addr.infra.local.", "ttl": 5 },
        ],
        "instances": { "usable": 2, "total": 2 },
    }]);
    assert_eq!(page["names"], expected);
    let hosts = server.get("/api/dns?kind=router&per_page=1").await;
    assert_eq!((hosts.header("x-total-count"), hosts.header("x-next-page")), ("5", "2"));
    assert_eq!(hosts.json()["figures"]["outcomes"]["nxdomain"], 48);
}

#[tokio::test]
async fn upstreams_are_told_with_what_is_wrong_with_each() {
    let server = serve(0, "127.0.0.1:0").await;
    let all = server.get("/api/dns/upstreams").await.json();
    assert_eq!(server.get("/api/dns").await.json()["upstreams"].as_array().unwrap().len(), 2);
    let told = |place: usize, key: &str| all[place][key].clone();
    assert_eq!([told(0, "state"), told(1, "state")], ["answering", "resting"]);
    assert_eq!([told(0, "upstream"), told(1, "upstream")], ["10.0.0.1:53", "10.0.0.2:53"]);
    assert_eq!(told(1, "keys"), serde_json::json!(["dns.upstreams"]));
    assert_eq!(told(1, "error"), "no answer in time");
    assert_eq!(told(1, "failures")["silent"], 3);
    assert!(told(0, "error").is_null() && told(0, "stateAge").is_null());
    assert!(told(1, "stateAge").is_u64() && told(0, "answerAge").is_u64());
    assert_eq!((told(0, "queries"), told(0, "duration")["count"].clone()), (10.into(), 1.into()));
}

#[tokio::test]
async fn dns_forgets_for_who_asks_and_for_no_page_from_elsewhere() {
    let server = serve(0, "127.0.0.1:0").await;
    let host = server.address.to_string();
    let own = format!("http://{host}");
    for (path, origin, status) in [
        ("/api/dns/flush", None, 204),
        ("/api/dns/flush?name=example.com", None, 204),
        ("/api/dns/flush", Some(own.as_str()), 204),
        ("/api/dns/flush", Some("http://evil.example"), 403),
        ("/api/dns/flush", Some("null"), 403),
        ("/api/dns/flush", Some("http://127.0.0.1:1"), 403),
        ("/api/dns/flush?name=a..b", None, 400),
        ("/api/dns/flush?nmae=a", None, 400),
        ("/api/overview", None, 405),
    ] {
        let headers = [("host", &*host)].into_iter().chain(origin.map(|it| ("origin", it)));
        let answer = server.send_with("POST", path, &headers.collect::<Vec<_>>()).await;
        assert_eq!(answer.status, status, "{path} {origin:?}: {}", answer.body);
    }
    assert_eq!(server.get("/api/dns/flush").await.status, 405);
}

#[tokio::test]
async fn problems_come_errors_first_each_once() {
    let server = serve(0, "127.0.0.1:0").await;
    let problems = server.get("/api/problems").await.json();
    let severities: Vec<_> =
        problems.as_array().unwrap().iter().map(|it| &it["severity"]).collect();
    assert_eq!(severities, ["error", "error", "warning"]);
    assert_eq!(problems[0]["hint"], "did you mean `auth`?");
    let warnings = server.get("/api/problems?severity=warning").await.json();
    assert_eq!(warnings[0]["message"], "no backend is usable");
}

#[tokio::test]
async fn explain_names_everybody_on_the_way() {
    let server = serve(0, "127.0.0.1:0").await;
    let question = Question {
        method: "get".to_owned(),
        url: "grafana.local/api".to_owned(),
        headers: vec![("x-team".to_owned(), "core".to_owned())],
        ..Question::default()
    };
    let explanation = ask::ask(server.address, &question).await.unwrap();
    assert_eq!(explanation.request.url, "http://grafana.local/api");
    assert_eq!(explanation.entrypoint.unwrap().name, "web");
    assert_eq!(explanation.router.as_deref(), Some("grafana@consul"));
    assert_eq!(explanation.dns.unwrap().records[0].data, "127.0.0.1");
    let steps: Vec<_> = explanation.middlewares.iter().map(|it| it.middleware.as_str()).collect();
    assert_eq!(steps, ["hello@config", "gate@config"]);
    let shares: Vec<_> =
        explanation.service.unwrap().backends.iter().map(|it| (it.usable, it.percent)).collect();
    assert_eq!(shares, [(true, 50), (true, 50), (false, 0)]);
}

#[tokio::test]
async fn explain_knows_rules_and_suffixes_that_come_before_zones() {
    let server = serve(0, "127.0.0.1:0").await;
    let asks = |whom: &str, suffix: &str| {
        format!("`dns.forward` asks {whom} for `{suffix}` and all below it")
    };
    let rewritten = "a rule of `dns.rewrite` makes it `grafana.local`: the".to_owned();
    for (host, told, data) in [
        ("grafana.old.local", rewritten, Some("127.0.0.1")),
        ("nas", "a rule of `dns.rewrite` says so".to_owned(), Some("10.0.0.8")),
        ("x.lab.infra.local", asks("10.0.0.1:53", "lab.infra.local"), None),
        ("x.no.infra.local", asks("nobody", "no.infra.local"), None),
    ] {
        let question = Question {
            method: "GET".to_owned(),
            url: format!("http://{host}/"),
            ..Question::default()
        };
        let dns = ask::ask(server.address, &question).await.unwrap().dns.unwrap();
        assert!(dns.why.starts_with(&told), "{}", dns.why);
        assert_eq!(dns.records.first().map(|it| &*it.data), data);
    }
}

#[tokio::test]
async fn explain_names_the_disabled_router_that_would_have_taken_it() {
    let server = serve(0, "127.0.0.1:0").await;
    let question = Question { url: "loki.local".to_owned(), ..Question::default() };
    let question = Question { method: "GET".to_owned(), ..question };
    let explanation = ask::ask(server.address, &question).await.unwrap();
    assert_eq!(explanation.verdict, "404: no router takes it");
    let loki = explanation.candidates.iter().find(|it| it.router == "loki@consul").unwrap();
    assert_eq!(loki.outcome, Outcome::Skipped);
    let reason =
        "it is disabled: the middleware `auht@consul` does not exist: did you mean `auth`?";
    assert_eq!(loki.reason, reason);
}

#[tokio::test]
async fn explain_refuses_nonsense_in_one_sentence() {
    let server = serve(0, "127.0.0.1:0").await;
    for (query, message) in [
        ("url=ftp://a/", "`ftp://a/` is neither http nor https"),
        ("url=a.local&method=G%20T", "`G T` is no HTTP method"),
        ("url=a.local&client=x", "`x` is no IP address"),
        ("url=a.local&header=x", "`x` is no header line"),
        ("url=a.local&entrypoint=dns", "there is no HTTP entrypoint `dns`"),
    ] {
        let answer = server.get(&format!("/api/explain?{query}")).await;
        assert_eq!((answer.status, answer.json()["message"].as_str()), (400, Some(message)));
    }
}

#[tokio::test]
async fn asking_where_nothing_runs_says_so() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let question = Question { url: "a.local".to_owned(), ..Question::default() };
    let error = ask::ask(free, &question).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("no Portolan answers at http://{free}: is it")), "{text}");
}

#[tokio::test]
async fn a_foreign_host_is_refused_and_ping_is_not() {
    let server = serve(0, "127.0.0.1:0").await;
    let rebound = server.send("GET", "/api/rawdata", "evil.example").await;
    assert_eq!(rebound.status, 421);
    assert!(!rebound.body.contains("grafana"), "{}", rebound.body);
    assert_eq!(server.send("GET", "/api/version", "localhost:8080").await.status, 200);
    assert_eq!(server.send("GET", "/api/version", "portolan.infra.lan:8080").await.status, 200);
    assert_eq!(server.send("GET", "/ping", "evil.example").await.body, "OK");
}

#[tokio::test]
async fn nothing_can_be_changed_or_embedded() {
    let server = serve(0, "127.0.0.1:0").await;
    let host = server.address.to_string();
    assert_eq!(server.send("POST", "/api/http/routers", &host).await.status, 405);
    for path in ["/", "/api/overview", "/nothing"] {
        let answer = server.get(path).await;
        assert!(answer.header("content-security-policy").contains("default-src 'none'"), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), "", "{path}");
    }
}

/// With `PORTOLAN_SHOWCASE=127.0.0.1:8088` it goes on serving until it is stopped, so that the
/// dashboard can be looked at with traffic in it.
#[tokio::test]
async fn the_dashboard_is_whole_and_needs_nothing_from_elsewhere() {
    let showcase = std::env::var("PORTOLAN_SHOWCASE").ok();
    let server = serve(10_000, showcase.as_deref().unwrap_or("127.0.0.1:0")).await;
    for (path, kind, text) in FILES {
        let file = server.get(path).await;
        assert_eq!((file.status, file.header("content-type"), &*file.body), (200, kind, text));
        for foreign in ["innerHTML", "outerHTML", "insertAdjacentHTML", "eval(", "<script>"] {
            assert!(!text.contains(foreign), "{path} uses {foreign}");
        }
        // The names of SVG's vocabulary and the placeholder are no places that are fetched.
        let own =
            text.replace("http://www.w3.org/2000/svg", "").replace("http://grafana.local/", "");
        assert!(!own.contains("http://") && !own.contains(" style="), "{path} breaks the policy");
        let module = path.rsplit('/').next().unwrap();
        let is_used = module.is_empty() || FILES.iter().any(|(_, _, text)| text.contains(module));
        assert!(is_used, "nothing uses {path}");
    }
    if showcase.is_some() {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        for step in 0.. {
            tick.tick().await;
            server.harbour.sail(step);
        }
    }
}
