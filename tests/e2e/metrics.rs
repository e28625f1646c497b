//! Metrics under Traefik's names: what its dashboards and alerts ask for is there, and true.

use std::{cell::Cell, collections::BTreeMap};

use http::{HeaderValue, Method};
use http_body_util::Full;
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};

use crate::support::{Backend, Config, Portolan, eventually, request, request_with};

/// Traefik's metrics (v3) that a Portolan with these routers has, and the labels of each.
const TRAEFIK: [(&str, &[&str]); 20] = [
    ("traefik_config_reloads_total", &[]),
    ("traefik_config_last_reload_success", &[]),
    ("traefik_open_connections", &["entrypoint", "protocol"]),
    ("traefik_entrypoint_requests_total", &["code", "entrypoint", "method", "protocol"]),
    ("traefik_entrypoint_requests_tls_total", &["entrypoint", "tls_cipher", "tls_version"]),
    (
        "traefik_entrypoint_request_duration_seconds_bucket",
        &["code", "entrypoint", "le", "method", "protocol"],
    ),
    ("traefik_entrypoint_requests_bytes_total", &["code", "entrypoint", "method", "protocol"]),
    ("traefik_entrypoint_responses_bytes_total", &["code", "entrypoint", "method", "protocol"]),
    ("traefik_router_requests_total", &["code", "method", "protocol", "router", "service"]),
    ("traefik_router_requests_tls_total", &["router", "service", "tls_cipher", "tls_version"]),
    (
        "traefik_router_request_duration_seconds_count",
        &["code", "method", "protocol", "router", "service"],
    ),
    ("traefik_router_requests_bytes_total", &["code", "method", "protocol", "router", "service"]),
    ("traefik_router_responses_bytes_total", &["code", "method", "protocol", "router", "service"]),
    ("traefik_service_requests_total", &["code", "method", "protocol", "service"]),
    ("traefik_service_requests_tls_total", &["service", "tls_cipher", "tls_version"]),
    ("traefik_service_request_duration_seconds_sum", &["code", "method", "protocol", "service"]),
    ("traefik_service_requests_bytes_total", &["code", "method", "protocol", "service"]),
    ("traefik_service_responses_bytes_total", &["code", "method", "protocol", "service"]),
    ("traefik_service_retries_total", &["service"]),
    ("traefik_service_server_up", &["service", "url"]),
];

/// A series: its labels, sorted, and its value.
type Series = (BTreeMap<String, String>, f64);

fn series(page: &str, metric: &str) -> Vec<Series> {
    let of = |line: &str| {
        let (series, value) = line.rsplit_once(' ')?;
        let (name, labels) = series.split_once('{').unwrap_or((series, "}"));
        (name == metric).then_some(())?;
        let labels = labels.trim_end_matches('}').split("\",").filter(|pair| !pair.is_empty());
        let labels = labels.filter_map(|pair| pair.split_once("=\""));
        let labels =
            labels.map(|(key, value)| (key.to_owned(), value.trim_end_matches('"').to_owned()));
        Some((labels.collect(), value.parse().unwrap()))
    };
    page.lines().filter_map(of).collect()
}

/// The sum over the series with these labels.
fn sum(page: &str, metric: &str, wanted: &[(&str, &str)]) -> f64 {
    let has = |labels: &BTreeMap<String, String>| {
        wanted.iter().all(|(key, value)| labels.get(*key).is_some_and(|it| it == value))
    };
    series(page, metric).iter().filter(|(labels, _)| has(labels)).map(|(_, value)| value).sum()
}

#[tokio::test]
async fn traefiks_metrics_have_its_names_and_labels_and_count_requests() {
    let backend = Backend::start("b").await;
    let config = Config::new(&format!(
        "[http.routers.a]\nrule = \"Host(`a`)\"\nservice = \"s\"\n\
         [http.services.s.load-balancer]\nservers = [{{ url = \"{0}\" }}]\n\
         [http.services.checked.load-balancer]\nservers = [{{ url = \"{0}\" }}]\n\
         health-check = {{}}\n\
         [metrics]\nbuckets = [0.5, 20]\nrouter-labels = true\n",
        backend.url()
    ));
    let portolan = Portolan::start(&config);
    for _ in 0..5 {
        assert_eq!(portolan.http().get("a", "/").await.status, 200);
    }
    for _ in 0..2 {
        assert_eq!(portolan.http().get("nobody", "/").await.status, 404);
    }
    let root = authority(&config);
    assert_eq!(portolan.https().get_tls(&root, "a", "/").await.unwrap().status, 200);

    let of_web = [("entrypoint", "web")];
    let page = eventually(
        || async { portolan.admin().get("localhost", "/metrics").await.body },
        |page| {
            sum(page, "traefik_entrypoint_requests_total", &of_web) == 7.0
                && sum(page, "traefik_entrypoint_requests_total", &[("entrypoint", "websecure")])
                    == 1.0
        },
    )
    .await;
    for (metric, labels) in TRAEFIK {
        let series = series(&page, metric);
        let (first, _) = series.first().unwrap_or_else(|| panic!("no {metric} in\n{page}"));
        let keys: Vec<_> = first.keys().map(String::as_str).collect();
        assert_eq!(keys, labels, "{metric}");
    }
    let is = |metric: &str, labels: &[(&str, &str)], value: f64| {
        assert_eq!(sum(&page, metric, labels), value, "{metric} {labels:?}\n{page}");
    };
    is(
        "traefik_entrypoint_requests_total",
        &[("code", "404"), ("method", "GET"), ("protocol", "http")],
        2.0,
    );
    is(
        "traefik_router_requests_total",
        &[("router", "a@config"), ("service", "s@config"), ("code", "200")],
        6.0,
    );
    is("traefik_service_requests_total", &[("service", "s@config")], 6.0);
    is("traefik_entrypoint_requests_tls_total", &[("tls_version", "1.3")], 1.0);
    is("traefik_service_request_duration_seconds_count", &[("code", "200")], 6.0);
    is("traefik_service_request_duration_seconds_bucket", &[("le", "20")], 6.0);
    is("traefik_service_request_duration_seconds_bucket", &[("le", "0.1")], 0.0);
    is("traefik_service_server_up", &[("service", "checked@config")], 1.0);
    assert_eq!(series(&page, "traefik_service_server_up").len(), 1, "`s` has no health check");
    is("portolan_backend_up", &[("service", "s@config"), ("url", &backend.url())], 1.0);
    for metric in ["process_max_fds", "process_virtual_memory_bytes"] {
        assert!(sum(&page, metric, &[]) > 0.0, "{metric}");
    }
    is("portolan_http_failures_total", &[("reason", "no-router")], 2.0);
    is("portolan_router_requests_total", &[("router", "a@config"), ("class", "2xx")], 6.0);
    assert!(sum(&page, "traefik_service_responses_bytes_total", &[]) > 100.0);
}

#[tokio::test]
async fn a_request_to_a_service_of_services_is_counted_where_it_went() {
    let [main, spare] = [Backend::start("main").await, Backend::start("spare").await];
    let config = Config::new(&format!(
        "[http.routers.a]\nrule = \"Host(`a`)\"\nservice = \"all\"\n\
         [http.services.all.weighted]\nservices = [{{ name = \"safe\" }}]\n\
         [http.services.safe.failover]\nservice = \"main\"\nfallback = \"spare\"\n\
         [http.services.main.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
         [http.services.spare.load-balancer]\nservers = [{{ url = \"{}\" }}]\n",
        main.url(),
        spare.url()
    ));
    let portolan = Portolan::start(&config);
    for _ in 0..3 {
        assert_eq!(portolan.http().get("a", "/").await.status, 200);
    }
    let root = authority(&config);
    assert_eq!(portolan.https().get_tls(&root, "a", "/").await.unwrap().status, 200);
    let ours = "portolan_service_requests_total";
    let page = eventually(
        || async { portolan.admin().get("localhost", "/metrics").await.body },
        |page| sum(page, ours, &[]) == 12.0,
    )
    .await;
    // One request, one series of Traefik's, so that sums over services are true.
    for metric in ["requests_total", "request_duration_seconds_count", "responses_bytes_total"] {
        let all = series(&page, &format!("traefik_service_{metric}"));
        let services = all.iter().map(|(labels, _)| labels["service"].as_str());
        assert_eq!(services.collect::<Vec<_>>(), ["main@config"], "{metric}\n{page}");
    }
    assert_eq!(sum(&page, "traefik_service_requests_total", &[]), 4.0);
    let encrypted = series(&page, "traefik_service_requests_tls_total");
    assert_eq!((encrypted.len(), encrypted[0].1), (1, 1.0), "{page}");
    assert!(sum(&page, "traefik_service_responses_bytes_total", &[]) > 40.0);
    for service in ["all@config", "safe@config", "main@config"] {
        assert_eq!(sum(&page, ours, &[("service", service)]), 4.0, "{service}");
    }
}

fn authority(config: &Config) -> Vec<CertificateDer<'static>> {
    let file = config.path("data/ca/ca.pem");
    CertificateDer::pem_file_iter(file).unwrap().map(Result::unwrap).collect()
}

#[tokio::test]
async fn what_is_not_to_be_told_has_no_series_under_our_names_either() {
    let backend = Backend::start("b").await;
    let toml = |labels: &str| {
        format!(
            "[http.routers.a]\nrule = \"Host(`a`)\"\nservice = \"s\"\n\
             [http.services.s.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
             health-check = {{}}\n[metrics]\n{labels}\n",
            backend.url()
        )
    };
    let is_told = async |labels: &str, expected: [[bool; 2]; 4]| {
        let portolan = Portolan::start(&Config::new(&toml(labels)));
        assert_eq!(portolan.http().get("a", "/").await.status, 200);
        assert_eq!(portolan.http().get("nobody", "/").await.status, 404);
        let page = || async { portolan.admin().get("localhost", "/metrics").await.body };
        let told = |page: &String| {
            [
                ["portolan_entrypoint_requests_total", "traefik_entrypoint_requests_total"],
                ["portolan_router_requests_total", "traefik_router_requests_total"],
                ["portolan_service_requests_total", "traefik_service_requests_total"],
                ["portolan_backend_up", "traefik_service_server_up"],
            ]
            .map(|names| names.map(|name| !series(page, name).is_empty()))
        };
        // What is counted of a request is there once its response has ended.
        let is_counted = |page: &String| sum(page, "portolan_http_failures_total", &[]) == 1.0;
        eventually(page, |page| is_counted(page) && told(page) == expected).await;
    };
    let [all, none] = [[true; 2], [false; 2]];
    is_told("router-labels = true", [all; 4]).await;
    is_told("", [all, none, all, all]).await;
    is_told("entrypoint-labels = false\nservice-labels = false", [none; 4]).await;
}

/// The counters that have labels of headers.
const LABELLED: [&str; 6] = [
    "traefik_entrypoint_requests_total",
    "traefik_router_requests_total",
    "traefik_service_requests_total",
    "portolan_entrypoint_requests_total",
    "portolan_router_requests_total",
    "portolan_service_requests_total",
];

/// How many requests each tenant had, in the words of a metric.
fn tenants(page: &str, metric: &str) -> BTreeMap<String, f64> {
    let all = series(page, metric).into_iter();
    let all = all.map(|(labels, count)| (labels["tenant"].clone(), count));
    let mut sum = BTreeMap::new();
    all.for_each(|(tenant, count)| *sum.entry(tenant).or_default() += count);
    sum
}

fn are<const N: usize>(all: [(&str, f64); N]) -> BTreeMap<String, f64> {
    all.into_iter().map(|(tenant, count)| (tenant.to_owned(), count)).collect()
}

#[tokio::test]
async fn requests_are_told_apart_by_headers_as_far_as_there_is_room() {
    let backend = Backend::start("b").await;
    let toml = |labels: &str| {
        format!(
            "[http.routers.a]\nrule = \"Host(`a`)\"\nservice = \"s\"\n\
             [http.services.s.load-balancer]\nservers = [{{ url = \"{}\" }}]\n\
             [metrics]\nrouter-labels = true\n{labels}\n",
            backend.url()
        )
    };
    let config = Config::new(&toml("header-labels = { tenant = \"X-Tenant\", host_ = \"Host\" }"));
    let portolan = Portolan::start(&config);
    let client = portolan.http();
    assert_eq!(client.get("a", "/").await.status, 200);
    for said in [&b"blue"[..], b"blue", b"a\"b\\c", b"caf\xe9\t!"] {
        let request = request(Method::GET, "a", "/");
        let request = request.header("x-tenant", HeaderValue::from_bytes(said).unwrap());
        assert_eq!(client.send(request.body(Full::default()).unwrap()).await.unwrap().status, 200);
    }
    let page = || async { portolan.admin().get("localhost", "/metrics").await.body };
    let counted = |count| move |page: &String| sum(page, LABELLED[0], &[]) == count;
    let text = eventually(page, counted(5.0)).await;
    let said = are([("", 1.0), ("blue", 2.0), ("a\\\"b\\\\c", 1.0), ("caf\u{fffd}\u{fffd}!", 1.0)]);
    for metric in LABELLED {
        assert_eq!(tenants(&text, metric), said, "{metric}\n{text}");
        assert!(series(&text, metric).iter().all(|(labels, _)| labels["host_"] == "a"), "{text}");
    }
    for metric in ["traefik_router_requests_bytes_total", "portolan_router_failures_total"] {
        let all = series(&text, metric);
        assert!(!all.is_empty() && all.iter().all(|(labels, _)| !labels.contains_key("tenant")));
    }
    let accept = request_with("localhost", "accept", "application/openmetrics-text");
    let (mut head, body) = accept.into_parts();
    head.uri = "/metrics".parse().unwrap();
    let open = portolan.admin().send(http::Request::from_parts(head, body)).await.unwrap().body;
    assert!(open.ends_with("# EOF\n"));
    for metric in LABELLED {
        assert_eq!(tenants(&open, metric), said, "{metric}\n{open}");
    }

    // Another choice counts from the next request on, and what was counted before is still there.
    config.change(&toml("header-labels = { tenant = \"X-Tenant\" }\nheader-label-limit = 2"));
    eventually(page, |page| tenants(page, LABELLED[0]) == are([("other", 5.0)])).await;
    for (place, said) in ["red", "blue", "red", "green", "other"].into_iter().enumerate() {
        let answer = client.send(request_with("a", "x-tenant", said)).await.unwrap();
        assert_eq!(answer.status, 200);
        eventually(page, counted(place as f64 + 6.0)).await;
    }
    let text = page().await;
    for metric in LABELLED {
        let wanted = are([("blue", 1.0), ("other", 7.0), ("red", 2.0)]);
        assert_eq!(tenants(&text, metric), wanted, "{metric}\n{text}");
    }
    assert_eq!(sum(&text, "portolan_header_labels_beyond_total", &[]), 1.0);
    portolan.log_until("metrics.header-label-limit");
    assert!(!portolan.api("/api/problems").await.to_string().contains("takes a restart"));

    // Without labels nothing was lost.
    config.change(&toml(""));
    let is_plain = |page: &String| {
        let all = series(page, LABELLED[0]);
        all.len() == 1 && all[0].1 == 10.0 && !all[0].0.contains_key("tenant")
    };
    let text = eventually(page, is_plain).await;
    assert_eq!(series(&text, "portolan_header_labels_beyond_total"), []);
}

#[tokio::test]
async fn what_a_service_did_last_is_told_though_it_is_gone() {
    let backend = Backend::start("b").await;
    let shop = format!(
        "[http.routers.shop]\nrule = \"Host(`shop`)\"\nservice = \"shop\"\n\
         [http.services.shop.load-balancer]\nservers = [{{ url = \"{}\" }}]\n",
        backend.url()
    );
    let labels = "[metrics]\nrouter-labels = true\n";
    let [with, without] = [format!("{labels}{shop}"), labels.to_owned()];
    let config = Config::new(&with);
    let portolan = Portolan::start(&config);
    let served = Cell::new(0.0);
    let request = async || {
        let status = portolan.http().get("shop", "/").await.status;
        served.set(served.get() + f64::from(u8::from(status == 200)));
        status
    };
    let count = async || {
        let page = portolan.admin().get("localhost", "/metrics").await.body;
        let router = [("router", "shop@config"), ("service", "shop@config")];
        let router = sum(&page, "traefik_router_requests_total", &router);
        let of_service = [("service", "shop@config")];
        let service = sum(&page, "traefik_service_requests_total", &of_service);
        let ours = sum(&page, "portolan_service_requests_total", &of_service);
        assert_eq!([router, ours], [service; 2], "{page}");
        service
    };
    assert_eq!(request().await, 200);
    // What is counted of a request is there once its response has ended.
    eventually(count, |count| *count == served.get()).await;
    // It is gone, and comes back before anybody asks: it goes on.
    assert_eq!(request().await, 200);
    config.change(&without);
    eventually(request, |status| *status == 404).await;
    config.change(&with);
    eventually(request, |status| *status == 200).await;
    eventually(count, |count| *count == served.get()).await;
    // It is gone for good: what nobody was told yet is told once.
    assert_eq!(request().await, 200);
    config.change(&without);
    eventually(request, |status| *status == 404).await;
    assert_eq!(count().await, served.get());
    assert_eq!(count().await, 0.0);
}
