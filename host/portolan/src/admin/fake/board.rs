//! What is reported there: entrypoints, plugins, providers and problems.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use portolan_core::{
    plugin::{PluginFigures, PluginInfo, Want},
    problem::Problem,
};
use portolan_net::http::{EncodedCharacters, Trust};

use crate::{
    config::Drain,
    control::board::{Board, EntrypointReport, PluginReport, ProviderReport, ProviderState},
};

/// The board of that harbour.
pub(super) fn board() -> Board {
    let now = SystemTime::now();
    let ago = |seconds| now - Duration::from_secs(seconds);
    let listens = |name: &str, port, protocol| EntrypointReport {
        name: name.into(),
        address: SocketAddr::from(([127, 0, 0, 1], port)),
        protocol,
        redirect: None,
        redirect_priority: None,
        encoded_characters: EncodedCharacters::default(),
        encodes_semicolons: false,
        trust: Trust::default(),
        configured: None,
    };
    let provider = |name: &str, plugin: &str, state, since| ProviderReport {
        name: name.into(),
        plugin: plugin.into(),
        state,
        since: ago(since),
        last_success: Some(ago(since)),
        last_change: Some(ago(since + 40)),
        from_disk: false,
        error: None,
        items: [3, 14, 0],
        steps: [214, 2],
        grants: vec!["http-client: http://127.0.0.1:8500".to_owned()],
    };
    let mut consul = provider("consul", "consul", ProviderState::Stale, 754);
    consul.error = Some("connect to `127.0.0.1:8500`: connection refused".to_owned());
    let mut files = provider("static", "file", ProviderState::Synced, 3);
    files.items = [0, 0, 2];
    files.grants = vec!["files: dynamic".to_owned()];
    let mut failed = plugin("request-id", "middleware", 1_204_311, &["log"]);
    failed.error = Some("`describe` trapped: unreachable executed".to_owned());
    failed.figures.traps.add(2);
    Board {
        config_file: "/etc/portolan/config.toml".to_owned(),
        config_error: None,
        zones: vec!["infra.lan".to_owned()],
        admin_hosts: vec!["edge1.example.com".to_owned()],
        drain: Drain::default(),
        config_loaded: ago(9_000),
        published: ago(42),
        started: ago(93_000),
        entrypoints: vec![
            listens("web", 8000, "http"),
            listens("websecure", 8443, "https"),
            listens("dns", 5300, "dns"),
            listens("admin", 8080, "admin"),
        ],
        providers: vec![consul, files],
        plugin_files: vec![("basicAuth".to_owned(), vec!["/etc/portolan/users".into()])],
        plugins: vec![
            plugin("basic-auth", "middleware", 2_210, &["log"]),
            plugin("consul", "provider", 214, &["http-client", "log"]),
            plugin("file", "provider", 18, &["files", "log"]),
            plugin("headers", "middleware", 4, &[]),
            plugin("host", "matcher", 48, &[]),
            failed,
        ],
        problems: vec![
            Problem::error(
                "request-id",
                "plugins/request-id.wasm",
                "`describe` trapped: unreachable executed",
            )
            .hint("the version that was loaded before goes on"),
        ],
    }
}

fn plugin(name: &str, kind: &'static str, calls: u64, imports: &[&str]) -> PluginReport {
    let figures = PluginFigures::default();
    figures.calls.add(calls);
    (0..300).for_each(|it| figures.duration.record(it * 12));
    figures.instances.add(2);
    figures.instantiations.add(5);
    figures.memory.add(2 * 1_114_112);
    let imports: Vec<String> = imports.iter().map(|it| (*it).to_owned()).collect();
    let matchers = ["Host", "HostRegexp"].into_iter().filter(|_| kind == "matcher");
    let wants = imports.iter().filter(|it| *it != "log").map(|capability| Want {
        capability: capability.clone(),
        scope: vec!["http://127.0.0.1:8500".to_owned()],
        reason: "to read the catalog".to_owned(),
    });
    PluginReport {
        info: Some(PluginInfo {
            name: name.into(),
            file: "embedded".to_owned(),
            version: "0.1.0".to_owned(),
            summary: format!("what `{name}` is for, in one sentence"),
            kinds: vec![kind],
            hash: blake3::hash(name.as_bytes()).to_hex().to_string(),
            size: 48_213,
            wants: wants.collect(),
            imports,
            matchers: matchers.map(str::to_owned).collect(),
            schema: None,
        }),
        name: name.into(),
        error: None,
        deleted: false,
        shadowed: false,
        loaded: Some(SystemTime::now()),
        load_ms: 41,
        cached: true,
        figures: Arc::new(figures),
    }
}
