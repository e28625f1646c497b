//! What Prometheus reads.

use std::io::Read as _;

use portolan_core::{metric, standing::Probed};

use super::serve;

#[tokio::test]
async fn every_exported_metric_is_declared_and_every_declared_one_exported() {
    let server = serve(5, "127.0.0.1:0").await;
    server.harbour.sail(0);
    let page = server.get("/metrics").await;
    assert_eq!(page.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    for metric in metric::ALL {
        assert!(page.body.contains(&format!("# TYPE {} ", metric.name)), "{}", metric.name);
        let sample = |line: &&str| line.split(['{', ' ']).next().unwrap().starts_with(metric.name);
        let samples: Vec<_> = page.body.lines().filter(|line| !line.starts_with('#')).collect();
        let found = samples.iter().find(|line| sample(line));
        let found = found.unwrap_or_else(|| panic!("no sample of {}", metric.name));
        for label in metric.labels {
            assert!(found.contains(&format!("{label}=\"")), "{found} has no {label}");
        }
    }
    let families = page.body.lines().filter(|line| line.starts_with("# TYPE")).count();
    assert_eq!(families, metric::ALL.len());
    let mut series: Vec<_> =
        page.body.lines().filter_map(|line| line.rsplit_once(' ')).map(|(name, _)| name).collect();
    series.sort_unstable();
    let all = series.len();
    series.dedup();
    assert_eq!(series.len(), all, "a series stands twice");
}

#[tokio::test]
async fn metrics_carry_the_figures() {
    let server = serve(2, "127.0.0.1:0").await;
    let snapshot = server.harbour.publisher.current();
    let grafana = snapshot.services.iter().filter_map(|it| it.live.as_ref());
    let grafana = grafana.flat_map(|it| &it.backends).nth(1).unwrap();
    grafana.figures.standing.probe(Probed::Down, None);
    let page = server.get("/metrics").await.body;
    for line in [
        "portolan_snapshot_generation 1",
        "portolan_provider_state{provider=\"consul\",plugin=\"consul\",state=\"stale\"} 1",
        "portolan_provider_state{provider=\"consul\",plugin=\"consul\",state=\"synced\"} 0",
        "portolan_plugin_failures_total{plugin=\"request-id\",cause=\"trap\"} 2",
        "portolan_router_requests_total{router=\"grafana@consul\",class=\"5xx\"} 1",
        "traefik_service_server_up{service=\"grafana@consul\",url=\"http://10.0.0.7:3000\"} 1",
        "traefik_service_server_up{service=\"grafana@consul\",url=\"http://10.0.0.8:3000\"} 0",
        "portolan_backend_up{service=\"grafana@consul\",url=\"http://10.0.0.8:3000\"} 0",
        "portolan_backend_up{service=\"grafana@consul\",url=\"http://10.0.0.9:3000\"} 0",
        "portolan_backend_up{service=\"prometheus@consul\",url=\"http://10.0.0.7:9090\"} 1",
        "portolan_dns_queries_total{outcome=\"forwarded\"} 2004",
        "portolan_dns_zone_queries_total{zone=\"consul\"} 9020",
        "portolan_dns_zone_no_such_name_total{zone=\"consul\"} 41",
        "portolan_dns_upstream_up{upstream=\"10.0.0.1:53\"} 1",
        "portolan_dns_upstream_up{upstream=\"10.0.0.2:53\"} 0",
        "portolan_dns_upstream_queries_total{upstream=\"10.0.0.2:53\"} 10",
        "portolan_dns_upstream_failures_total{upstream=\"10.0.0.2:53\",cause=\"silent\"} 3",
        "portolan_dns_upstream_failures_total{upstream=\"10.0.0.1:53\",cause=\"refused\"} 0",
        "portolan_dns_upstream_duration_seconds_count{upstream=\"10.0.0.1:53\"} 1",
        "portolan_problems{severity=\"error\"} 2",
    ] {
        assert!(page.lines().any(|it| it == line), "no line `{line}` in\n{page}");
    }
    for (absent, why) in [
        ("server_up{service=\"grafana@consul\",url=\"http://10.0.0.9", "not in the catalog"),
        ("server_up{service=\"prometheus@consul\"", "no health check"),
    ] {
        assert!(!page.contains(absent), "{why}");
    }
    assert!(!page.contains("berth-00001@static"), "an idle router has no series");
}

#[tokio::test]
async fn prometheus_gets_traefiks_text_and_openmetrics_those_who_take_no_text() {
    let server = serve(0, "127.0.0.1:0").await;
    let host = server.address.to_string();
    let page = async |accept| {
        let headers = [("host", &*host), ("accept", accept)];
        server.send_with("GET", "/metrics", &headers).await
    };
    let page_of_prometheus =
        page("application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4")
            .await;
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    assert_eq!(page_of_prometheus.header("content-type"), kind);
    assert!(page_of_prometheus.body.contains(",le=\"5\"}"));
    let page = page("application/openmetrics-text").await;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    assert_eq!(page.header("content-type"), kind);
    assert!(page.body.contains("# TYPE traefik_entrypoint_requests counter\n"));
    assert!(page.body.contains(",le=\"5.0\"}"));
    assert!(page.body.ends_with("# EOF\n"));
    let text = server.get("/metrics").await.body;
    assert!(text.contains("# TYPE traefik_entrypoint_requests_total counter\n"));
    assert!(text.contains(",le=\"5\"}"));
    assert!(!text.contains("# EOF"));
}

#[tokio::test]
async fn the_page_is_compressed_for_those_who_understand_it() {
    let server = serve(5, "127.0.0.1:0").await;
    let host = server.address.to_string();
    let headers = [("host", &*host), ("accept-encoding", "gzip")];
    let small = server.send_with("GET", "/metrics", &headers).await;
    assert_eq!(small.header("content-encoding"), "gzip");
    assert!(small.header("vary").contains("Accept-Encoding"));
    let mut page = String::new();
    flate2::read::GzDecoder::new(&*small.bytes).read_to_string(&mut page).unwrap();
    assert!(page.contains("\nportolan_snapshot_generation 1\n"));
    assert!(small.bytes.len() * 4 < page.len());
    let plain = server.get("/metrics").await;
    assert_eq!(plain.header("content-encoding"), "");
    assert!(plain.body.contains("\nportolan_snapshot_generation 1\n"));
}
