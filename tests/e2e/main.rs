//! What Portolan promises, proved with the real binary, a real Consul and real sockets.

#![expect(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that cannot go on says so and ends"
)]

mod support;

mod access_log;
mod chains;
mod client_address;
mod admin_api;
mod command_line;
mod compress;
mod config_reload;
mod consul_catalog;
mod consul_access;
mod consul_options;
mod consul_troubles;
mod container;
mod dns_consul;
mod dns_forwarding;
mod dns_lookups;
mod dns_names;
mod dns_listeners;
mod dns_providers;
mod dns_system;
mod dns_upstreams;
mod drain;
mod file_catalog;
mod first_start;
mod forward_auth;
mod https_backend;
mod internal;
mod limits;
mod log_readers;
mod metrics;
mod middleware_files;
mod middlewares;
mod plugin_reload;
mod query_log;
mod rewriting;
mod retries;
mod services;
mod throttle;
mod tls;
mod tracing;
mod tls_acme;
mod tls_files;
mod tls_options;
