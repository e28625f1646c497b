//! What is said of backends that fail, and of services that have nobody to answer.

use std::{sync::Arc, time::Instant};

use portolan_core::{
    moment::Moment,
    policy::{Breaker, Passive},
    service::{Gate, Service},
    standing::Probed,
};

use super::{Server, serve};

impl Server {
    fn service(&self, name: &str) -> Arc<Service> {
        let snapshot = self.harbour.publisher.current();
        let mut services = snapshot.services.iter().filter_map(|entry| entry.live.clone());
        services.find(|service| service.name.to_string() == name).unwrap()
    }

    async fn silent(&self) -> u64 {
        self.get("/api/overview").await.json()["portolan"]["silent"].as_u64().unwrap()
    }
}

#[tokio::test]
async fn a_backend_that_is_asked_though_it_fails_is_up_and_its_fault_is_told() {
    let server = serve(0, "127.0.0.1:0").await;
    let service = server.service("grafana@consul");
    let before = server.silent().await;
    let now = Moment::of(Instant::now());
    for backend in &service.backends {
        let passive = Passive { max_failed_attempts: 1, ..Passive::default() };
        backend.figures.standing.failed(now, now, &passive);
    }
    let shown = server.get("/api/http/services/grafana@consul").await.json();
    let first = &shown["portolan"]["backends"][0];
    assert_eq!((&first["usable"], first.get("out")), (&true.into(), None), "{first}");
    assert!(first["failing"].as_str().unwrap().ends_with("asked all the same"), "{first}");
    assert_eq!(shown["serverStatus"][first["url"].as_str().unwrap()], "UP");
    assert_eq!(server.silent().await, before);
    for backend in &service.backends {
        backend.figures.standing.probe(Probed::Down, Some("no".into()));
    }
    let shown = server.get("/api/http/services/grafana@consul").await.json();
    assert_eq!(shown["portolan"]["backends"][0]["out"], "health check: no");
    assert_eq!(server.silent().await, before + 1);
}

#[tokio::test]
async fn only_a_service_with_a_breaker_rests() {
    let server = serve(0, "127.0.0.1:0").await;
    let service = server.service("grafana@consul");
    let breaker = Breaker { min_requests: 0, ..Breaker::default() };
    let now = Moment::of(Instant::now());
    assert!(service.state.circuit.note(now, &breaker, Gate::Closed, true));
    let shown = server.get("/api/http/services/grafana@consul").await.json();
    assert_eq!(shown["portolan"]["resting"], false, "its breaker was taken away");
}
