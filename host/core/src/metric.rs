//! The name, kind and help text of every metric.
//!
//! **Invariant:** a metric that is exported stands in [`ALL`], and a label has few values: never a
//! path, never a client. Names that Traefik has keep Traefik's meaning.

/// What a metric's number means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Kind {
    /// Only grows; the name ends in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations in seconds, in buckets that double.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// As it is exported.
    pub name: &'static str,
    /// What its number means.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// One sentence.
    pub help: &'static str,
}

macro_rules! metrics {
    ($($constant:ident: $kind:ident $name:literal [$($label:literal),*] $help:literal)+) => {
        $(
            #[doc = $help]
            pub const $constant: Metric = Metric {
                name: $name,
                kind: Kind::$kind,
                labels: &[$($label),*],
                help: $help,
            };
        )+

        /// All of them, in the order in which they are exported.
        pub const ALL: &[Metric] = &[$($constant),+];
    };
}

metrics! {
    BUILD_INFO: Gauge "portolan_build_info" ["version"]
        "Always 1; the label says which version runs."
    START_TIME: Gauge "process_start_time_seconds" []
        "When the process started, in seconds since 1970."
    RESIDENT_MEMORY: Gauge "process_resident_memory_bytes" []
        "Memory of the process that is in RAM."
    VIRTUAL_MEMORY: Gauge "process_virtual_memory_bytes" []
        "Memory that the process has addresses for."
    CPU_SECONDS: Counter "process_cpu_seconds_total" []
        "Processor time of the process, user and system."
    OPEN_FILES: Gauge "process_open_fds" []
        "Open files and sockets of the process."
    MAX_FILES: Gauge "process_max_fds" []
        "How many files and sockets the process may have open."

    GENERATION: Gauge "portolan_snapshot_generation" []
        "The number of the snapshot that is served; grows by one with every change."
    SNAPSHOT_AGE: Gauge "portolan_snapshot_age_seconds" []
        "Since when the snapshot that is served is served."
    RELOADS: Counter "traefik_config_reloads_total" []
        "Snapshots published so far."
    LAST_RELOAD: Gauge "traefik_config_last_reload_success" []
        "When the last snapshot was published, in seconds since 1970."
    CONFIG_IN_USE: Gauge "portolan_config_in_use" []
        "1 when the configuration file as it is now is in use, 0 when an older one goes on."
    PROBLEMS: Gauge "portolan_problems" ["severity"]
        "Problems that are shown on the dashboard now."
    OBJECTS: Gauge "portolan_objects" ["kind", "status"]
        "Routers, services and middlewares that are declared, by whether they are in use."

    PROVIDER_STATE: Gauge "portolan_provider_state" ["provider", "plugin", "state"]
        "1 for the state that a provider is in, 0 for the others."
    PROVIDER_AGE: Gauge "portolan_provider_age_seconds" ["provider"]
        "How long ago the last step of a provider succeeded."
    PROVIDER_STEPS: Counter "portolan_provider_steps_total" ["provider", "outcome"]
        "Steps of a provider."
    PROVIDER_ITEMS: Gauge "portolan_provider_items" ["provider", "kind"]
        "Nodes, instances and fragments that a provider has."

    PLUGIN_CALLS: Counter "portolan_plugin_calls_total" ["plugin"]
        "Calls into a plugin."
    PLUGIN_DURATION: Histogram "portolan_plugin_call_duration_seconds" ["plugin"]
        "How long calls into a plugin took."
    PLUGIN_FAILURES: Counter "portolan_plugin_failures_total" ["plugin", "cause"]
        "Calls into a plugin that gave nothing."
    PLUGIN_INSTANTIATIONS: Counter "portolan_plugin_instantiations_total" ["plugin"]
        "Instances of a plugin made so far."
    PLUGIN_INSTANCES: Gauge "portolan_plugin_instances" ["plugin"]
        "Instances of a plugin that are alive."
    PLUGIN_MEMORY: Gauge "portolan_plugin_memory_bytes" ["plugin"]
        "Linear memory of all instances of a plugin."

    CERTIFICATE_NOT_AFTER: Gauge "traefik_tls_certs_not_after" ["cn", "serial", "sans"]
        "Until when a certificate is good, in seconds since 1970; those of the local authority are left out."
    OPEN_CONNECTIONS: Gauge "traefik_open_connections" ["entrypoint", "protocol"]
        "Client connections that are open."
    ENTRYPOINT_REQUESTS: Counter "portolan_entrypoint_requests_total" ["entrypoint", "class"]
        "Requests answered at an entrypoint, by class of status."
    ENTRYPOINT_FAILURES: Counter "portolan_entrypoint_failures_total" ["entrypoint"]
        "Requests at an entrypoint that Portolan itself answered with 502, 503 or 504."
    ENTRYPOINT_DURATION: Histogram "portolan_entrypoint_request_duration_seconds" ["entrypoint"]
        "From the first byte of a request to the head of its response."
    ENTRYPOINT_LIMITS: Counter "portolan_entrypoint_limits_total" ["entrypoint", "limit"]
        "How often clients went beyond a limit of an entrypoint, by limit."
    ENTRYPOINT_HANDSHAKE_FAILURES: Counter "portolan_entrypoint_handshake_failures_total" ["entrypoint"]
        "Connections at an entrypoint whose TLS handshake or PROXY header failed."

    ROUTER_REQUESTS: Counter "portolan_router_requests_total" ["router", "class"]
        "Requests that a router took, by class of status."
    ROUTER_FAILURES: Counter "portolan_router_failures_total" ["router"]
        "Requests that a router took and Portolan itself answered with 502, 503 or 504."
    ROUTER_DURATION: Histogram "portolan_router_request_duration_seconds" ["router"]
        "From the first byte of a request to the head of its response, by router."

    MIDDLEWARE_REFUSED: Counter "portolan_middleware_refused_total" ["middleware"]
        "Requests that a middleware refused, since whoever made them asks too much."

    SERVICE_REQUESTS: Counter "portolan_service_requests_total" ["service", "class"]
        "Requests sent to a service, by class of status."
    SERVICE_FAILURES: Counter "portolan_service_failures_total" ["service"]
        "Requests for a service that Portolan itself answered with 502, 503 or 504."
    SERVICE_DURATION: Histogram "portolan_service_request_duration_seconds" ["service"]
        "From the first byte of a request to the head of its response, by service."

    TRAEFIK_ENTRYPOINT_REQUESTS: Counter "traefik_entrypoint_requests_total" ["code", "method", "protocol", "entrypoint"]
        "Requests at an entrypoint, by status, method and protocol."
    TRAEFIK_ENTRYPOINT_REQUESTS_TLS: Counter "traefik_entrypoint_requests_tls_total" ["tls_version", "tls_cipher", "entrypoint"]
        "Requests at an entrypoint on encrypted connections."
    TRAEFIK_ENTRYPOINT_DURATION: Histogram "traefik_entrypoint_request_duration_seconds" ["code", "method", "protocol", "entrypoint"]
        "From the first byte of a request at an entrypoint to the last of its response."
    TRAEFIK_ENTRYPOINT_REQUEST_BYTES: Counter "traefik_entrypoint_requests_bytes_total" ["code", "method", "protocol", "entrypoint"]
        "Bytes of content of requests at an entrypoint."
    TRAEFIK_ENTRYPOINT_RESPONSE_BYTES: Counter "traefik_entrypoint_responses_bytes_total" ["code", "method", "protocol", "entrypoint"]
        "Bytes of content of responses to requests at an entrypoint."

    TRAEFIK_ROUTER_REQUESTS: Counter "traefik_router_requests_total" ["code", "method", "protocol", "router", "service"]
        "Requests that a router took, by status, method and protocol."
    TRAEFIK_ROUTER_REQUESTS_TLS: Counter "traefik_router_requests_tls_total" ["tls_version", "tls_cipher", "router", "service"]
        "Requests that a router took on encrypted connections."
    TRAEFIK_ROUTER_DURATION: Histogram "traefik_router_request_duration_seconds" ["code", "method", "protocol", "router", "service"]
        "From the first byte of a request that a router took to the last of its response."
    TRAEFIK_ROUTER_REQUEST_BYTES: Counter "traefik_router_requests_bytes_total" ["code", "method", "protocol", "router", "service"]
        "Bytes of content of requests that a router took."
    TRAEFIK_ROUTER_RESPONSE_BYTES: Counter "traefik_router_responses_bytes_total" ["code", "method", "protocol", "router", "service"]
        "Bytes of content of responses to requests that a router took."

    TRAEFIK_SERVICE_REQUESTS: Counter "traefik_service_requests_total" ["code", "method", "protocol", "service"]
        "Requests sent to a service, by status, method and protocol."
    TRAEFIK_SERVICE_REQUESTS_TLS: Counter "traefik_service_requests_tls_total" ["tls_version", "tls_cipher", "service"]
        "Requests sent to a service on encrypted connections."
    TRAEFIK_SERVICE_DURATION: Histogram "traefik_service_request_duration_seconds" ["code", "method", "protocol", "service"]
        "From the first byte of a request sent to a service to the last of its response."
    TRAEFIK_SERVICE_REQUEST_BYTES: Counter "traefik_service_requests_bytes_total" ["code", "method", "protocol", "service"]
        "Bytes of content of requests sent to a service."
    TRAEFIK_SERVICE_RESPONSE_BYTES: Counter "traefik_service_responses_bytes_total" ["code", "method", "protocol", "service"]
        "Bytes of content of responses to requests sent to a service."
    SERVICE_RETRIES: Counter "traefik_service_retries_total" ["service"]
        "Attempts beyond the first to send a request to a service."

    HTTP_FAILURES: Counter "portolan_http_failures_total" ["reason"]
        "Requests that were not answered as they were meant to be, by reason."
    ACCESS_LOG_DROPPED: Counter "portolan_access_log_dropped_total" []
        "Lines of the access log that were lost: its file was slower than the requests."
    SPANS_DROPPED: Counter "portolan_spans_dropped_total" []
        "Spans that were lost: the collector was slower than the requests, or away."

    HEADER_LABELS_BEYOND: Counter "portolan_header_labels_beyond_total" []
        "Requests counted as `other` under `header-labels`, since there was no room for one more combination of values."

    SERVER_UP: Gauge "traefik_service_server_up" ["service", "url"]
        "1 when the health check of a service finds a backend well, else 0; only of services with a health check."
    BACKEND_UP: Gauge "portolan_backend_up" ["service", "url"]
        "1 when requests may go to a backend, else 0; of services that were used."
    BACKEND_REQUESTS: Counter "portolan_backend_requests_total" ["service", "url"]
        "Requests sent to a backend."
    BACKEND_IN_FLIGHT: Gauge "portolan_backend_in_flight" ["service", "url"]
        "Requests to a backend that are under way."
    BACKEND_CONNECT_FAILURES: Counter "portolan_backend_connect_failures_total" ["service", "url"]
        "Connections to a backend that could not be made."
    BACKEND_FAILURES: Counter "portolan_backend_failures_total" ["service", "url"]
        "Requests to a backend that failed after the connection was made."
    BACKEND_DURATION: Histogram "portolan_backend_request_duration_seconds" ["service", "url"]
        "From sending a request to a backend to the head of its response."

    DNS_QUERIES: Counter "portolan_dns_queries_total" ["outcome"]
        "DNS questions, by what became of them."
    DNS_TRANSPORTS: Counter "portolan_dns_transport_queries_total" ["transport"]
        "DNS questions, by what they came by: udp, tcp, tls, https."
    DNS_ZONE_QUERIES: Counter "portolan_dns_zone_queries_total" ["zone"]
        "DNS questions that a zone of ours has answered."
    DNS_ZONE_NO_SUCH_NAME: Counter "portolan_dns_zone_no_such_name_total" ["zone"]
        "DNS questions for names that a zone of ours does not have."
    DNS_DURATION: Histogram "portolan_dns_query_duration_seconds" []
        "From a DNS question to its answer."
    DNS_CACHE: Gauge "portolan_dns_cache_entries" []
        "Answers of upstream resolvers that are kept."
    DNS_CACHE_BYTES: Gauge "portolan_dns_cache_bytes" []
        "What the answers that are kept take."
    DNS_WAITING: Gauge "portolan_dns_waiting" []
        "DNS questions that wait for an upstream."
    DNS_UPSTREAM_UP: Gauge "portolan_dns_upstream_up" ["upstream"]
        "0 from when an upstream resolver is found not to answer until it does; else 1."
    DNS_UPSTREAM_QUERIES: Counter "portolan_dns_upstream_queries_total" ["upstream"]
        "Questions that an upstream resolver was asked."
    DNS_UPSTREAM_FAILURES: Counter "portolan_dns_upstream_failures_total" ["upstream", "cause"]
        "Questions that came to nothing at an upstream resolver: silent, unreachable, refused (SERVFAIL and the like), unusable."
    DNS_UPSTREAM_DURATION: Histogram "portolan_dns_upstream_duration_seconds" ["upstream"]
        "From a question to the answer of an upstream resolver."
    DNS_EVENTS: Counter "portolan_dns_events_total" ["event"]
        "stale: an answer that was too old; prefetched: asked anew unasked; blocked: on a list; rebind: an address of ours taken out; upstream-failure: an attempt without an answer; unsent: a reply that the system did not take."
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::{ALL, Kind};

    #[test]
    fn names_say_kind_and_unit() {
        let mut seen = HashSet::new();
        for metric in ALL {
            assert!(seen.insert(metric.name), "`{}` stands twice", metric.name);
            let is_total = metric.name.ends_with("_total");
            assert_eq!(is_total, metric.kind == Kind::Counter, "{}", metric.name);
            if metric.kind == Kind::Histogram {
                assert!(metric.name.ends_with("_duration_seconds"), "{}", metric.name);
            }
            assert!(metric.help.ends_with('.'), "{}", metric.name);
        }
    }
}
