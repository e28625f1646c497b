//! Schema → [`Config`]: what one value cannot tell about itself.
//!
//! **Invariant:** every problem is found, not the first; where two places disagree, both are shown.

use std::{collections::HashMap, net::SocketAddr, ops::Range};

use http::{HeaderName, Uri, header::HOST};
use portolan_core::{
    assemble::{CONFIG, INTERNAL},
    exchange::is_of_connection,
    name::nearest,
    router::Observability,
};
use toml::Spanned;

use super::{
    counting, dns, limits,
    model::{self, Admin, Config, Entrypoint, Grants, Provider},
    observe::{self, header_name},
    read::Reading,
    report::Finding,
    schema,
    tls::{self, Names},
    value::Network,
};
use crate::telemetry;

/// Checks the file as a whole. Without findings, the answer is whole.
pub(super) fn validate(file: schema::File, reading: &mut Reading<'_>) -> Option<Config> {
    check_listeners(&file, reading);
    let names = Names::of(&file);
    let entrypoints = entrypoints(file.entrypoints.0, &names, reading);
    let dns = file.dns.0.map(|dns| dns::validate(dns, reading));
    let providers = file.providers.0.into_iter();
    let providers = providers.map(|(name, provider)| self::provider(name, provider, reading));
    let providers: Vec<_> = providers.collect();
    file.plugins.common.check(reading);
    let plugin_files = file.plugins.named.0.into_iter();
    let plugin_files = plugin_files.map(|(name, it)| (name.into_inner(), it.grants.files));
    let data_dir = file.data_dir.clone().flatten().unwrap_or_default();
    let tls = tls::settings(file.tls, file.acme.0, &data_dir, &providers, reading);
    let log = log(file.log, reading);
    let access_log = file.access_log.0.map(|log| observe::access_log(log, reading));
    let (counting, header_labels) = counting::counting(file.metrics, reading);
    // Where it makes no sense, a finding says so, and nothing is traced.
    let traces = file.tracing.0.and_then(|tracing| observe::tracing(tracing, reading));
    let reason_header = file.http.reason_header.as_ref();
    let reason_header = reason_header.and_then(|name| header_name(name, reading));
    let provider_precedence = precedence(file.http.provider_precedence, &providers, reading);
    if file.data_dir.is_none() {
        let hint = "say where state is kept, beside this file for instance: data-dir = \"data\"";
        reading.add(Finding::whole("`data-dir` is missing").hint(hint));
    }
    Some(Config {
        base: reading.base.to_owned(),
        data_dir: file.data_dir??,
        threads: file.threads,
        entrypoints,
        tls,
        admin: file.admin.0.map(|it| admin(it, reading)),
        dns,
        plugins: model::Plugins {
            directory: reading.base.join(&file.plugins.common.directory),
            ..file.plugins.common
        },
        plugin_files: plugin_files.collect(),
        providers,
        rule_priority: file.http.rule_priority,
        provider_precedence,
        default_transport: file.http.default_transport.map(Into::into),
        http: file.http.declared,
        reason_header,
        log,
        access_log,
        counting,
        header_labels,
        traces,
        drain: file.drain,
    })
}

fn admin(admin: schema::Admin, reading: &mut Reading<'_>) -> Admin {
    let hosts = admin.hosts.iter().filter_map(|host| admin_host(host, reading)).collect();
    Admin { address: admin.address.into_inner(), hosts }
}

/// A name as browsers send it: one at a time, since all below a name may be others' to give away.
fn admin_host(host: &Spanned<String>, reading: &mut Reading<'_>) -> Option<String> {
    let text = host.get_ref();
    let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if name.split('.').all(|label| !label.is_empty() && label.chars().all(plain)) {
        return Some(name);
    }
    let finding = Finding::error(host.span(), format!("{text:?} is no name of a host"));
    reading.add(finding.hint("a name such as \"edge1.example.com\", without scheme, port or `*`"));
    None
}

/// Names of providers; `config` is what this file says under `[http]`.
fn precedence(
    names: Vec<Spanned<String>>,
    providers: &[Provider],
    reading: &mut Reading<'_>,
) -> Vec<String> {
    let known = || providers.iter().map(|it| it.name.as_str()).chain([CONFIG]);
    for name in &names {
        if !known().any(|known| known == name.get_ref()) {
            let finding = Finding::error(name.span(), "there is no such provider");
            let meant = nearest(name.get_ref(), known());
            reading.add(match meant {
                Some(meant) => finding.hint(format!("did you mean `{meant}`?")),
                None => finding,
            });
        }
    }
    names.into_iter().map(Spanned::into_inner).collect()
}

/// No two listeners may share an address: with SO_REUSEPORT the system would let them, and deal
/// out connections between them.
fn check_listeners(file: &schema::File, reading: &mut Reading<'_>) {
    let entrypoints = file.entrypoints.0.iter();
    let entrypoints = entrypoints
        .map(|(name, entry)| (format!("entrypoint `{}`", name.get_ref()), &entry.address));
    let admin = file.admin.0.iter().map(|admin| ("the admin API".to_owned(), &admin.address));
    let dns = file.dns.0.iter().flat_map(|dns| {
        let plain = dns.address.0.iter().map(|address| ("DNS".to_owned(), address));
        let encrypted =
            [("DNS over TLS", &dns.tls_address), ("DNS over HTTPS", &dns.https_address)];
        plain.chain(encrypted.into_iter().flat_map(|(name, addresses)| {
            addresses.0.iter().map(move |address| (name.to_owned(), address))
        }))
    });

    let mut taken: HashMap<SocketAddr, (String, Range<usize>)> = HashMap::new();
    for (listener, address) in entrypoints.chain(admin).chain(dns) {
        if address.get_ref().port() == 0 {
            continue;
        }
        let Some((first, place)) = taken.get(address.get_ref()) else {
            taken.insert(*address.get_ref(), (listener, address.span()));
            continue;
        };
        let message = format!("{listener} has the address of {first}");
        let finding = match (place.is_empty(), address.span().is_empty()) {
            (false, true) => Finding::error(place.clone(), message)
                .hint(format!("{listener} is there by default: give one of them another")),
            (true, _) => Finding::error(address.span(), message)
                .hint(format!("{first} is there by default: give one of them another")),
            (false, false) => Finding::error(address.span(), message)
                .also(place.clone(), format!("{first} is here")),
        };
        reading.add(finding);
    }
}

fn entrypoints(
    entries: Vec<(Spanned<String>, schema::Entrypoint)>,
    names: &Names,
    reading: &mut Reading<'_>,
) -> Vec<Entrypoint> {
    let mut entrypoints = Vec::with_capacity(entries.len());
    for (name, entry) in entries {
        check_name("an entrypoint", &name, reading);
        let takes_plain = entry.tls.0.as_ref().is_none_or(|tls| tls.plain_routers);
        let tls = entry.tls.0.map(|tls| tls::entrypoint(tls, names, reading));
        let redirect = entry.redirect.map(|it| tls::redirect(name.get_ref(), it, names, reading));
        let tables = limits::Tables {
            timeouts: entry.timeouts,
            amounts: entry.limits,
            http2: entry.http2,
            encoded: entry.encoded_characters,
            encode_query_semicolons: entry.encode_query_semicolons,
        };
        let limits = limits::limits(name.get_ref(), &tables, reading);
        let connection = entry.forwarded_headers.connection.iter();
        let connection = connection.filter_map(|name| seen(name, reading)).collect();
        let address = entry.address.into_inner();
        let networks = |trusted: Vec<Network>| -> Vec<_> {
            trusted.into_iter().map(|network| network.0).collect()
        };
        entrypoints.push(Entrypoint {
            name: name.into_inner(),
            address,
            tls,
            takes_plain,
            is_default: entry.as_default,
            middlewares: entry.middlewares,
            hides_peers: entry.forwarded_headers.not_append_x_forwarded_for,
            tells_scheme: entry.forwarded_headers.add_x_forwarded_scheme_headers,
            connection,
            forwarded_headers: networks(entry.forwarded_headers.trusted_ips),
            redirect,
            proxy_protocol: networks(entry.proxy_protocol.trusted_ips),
            limits,
            observability: Observability {
                access_logs: Some(entry.observability.access_logs),
                metrics: Some(entry.observability.metrics),
                tracing: Some(entry.observability.tracing),
                trace_verbosity: entry.observability.trace_verbosity,
            },
        });
    }
    entrypoints
}

/// The name of a header that may be seen though `Connection` names it.
fn seen(name: &Spanned<String>, reading: &mut Reading<'_>) -> Option<HeaderName> {
    let header = header_name(name, reading)?;
    if header == HOST || is_of_connection(&header) {
        let message = format!("`{header}` is the connection's own, and not seen by middlewares");
        reading.add(Finding::error(name.span(), message));
        return None;
    }
    Some(header)
}

/// Names go into log lines, metrics and `router@provider`.
pub(super) fn check_name(kind: &str, name: &Spanned<String>, reading: &mut Reading<'_>) {
    let text = name.get_ref();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || !text.chars().all(plain) {
        let message = format!("{text:?} cannot be the name of {kind}");
        let finding = Finding::error(name.span(), message);
        reading.add(finding.hint("letters, digits, `-`, `_` and `.`"));
    }
}

fn provider(
    name: Spanned<String>,
    provider: schema::Provider,
    reading: &mut Reading<'_>,
) -> Provider {
    check_name("a provider", &name, reading);
    if name.get_ref() == "config" {
        let message = "`config` is the name of this file among the providers";
        reading.add(Finding::error(name.span(), message).hint("choose another name"));
    }
    if name.get_ref() == INTERNAL {
        let message = "`internal` is the name of our own services among the providers";
        reading.add(Finding::error(name.span(), message).hint("choose another name"));
    }
    let origins = provider.grants.http_client.iter();
    let http_client = origins.filter_map(|origin| self::origin(origin, reading)).collect();
    Provider {
        plugin: provider.plugin.unwrap_or_else(|| name.get_ref().clone()),
        name: name.into_inner(),
        config: provider.config,
        grants: Grants { http_client, files: provider.grants.files },
        tls: provider.tls.map(|tls| tls::peer(tls, reading)),
    }
}

/// `http://host:port`: a grant is for a whole origin, so a path in it would promise too much.
fn origin(text: &Spanned<String>, reading: &mut Reading<'_>) -> Option<String> {
    let origin = parse_origin(text.get_ref());
    if origin.is_none() {
        let finding = Finding::error(text.span(), "a grant of `http-client` must be an origin");
        reading.add(finding.hint("scheme, host and port, such as \"http://127.0.0.1:8500\""));
    }
    origin
}

fn parse_origin(text: &str) -> Option<String> {
    let uri: Uri = text.parse().ok()?;
    let scheme = uri.scheme_str().filter(|scheme| matches!(*scheme, "http" | "https"))?;
    let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'))?;
    (matches!(uri.path(), "" | "/") && uri.query().is_none())
        .then(|| format!("{scheme}://{authority}"))
}

fn log(log: schema::Log, reading: &mut Reading<'_>) -> telemetry::Log {
    if let Err(message) = telemetry::check_filter(log.level.get_ref()) {
        let finding = Finding::error(log.level.span(), "`log.level` makes no sense").label(message);
        let hint = "one of `error`, `warn`, `info`, `debug` and `trace`, \
                    then more exact ones if need be: \"info,portolan_net=debug\"";
        reading.add(finding.hint(hint));
    }
    telemetry::Log { level: log.level.into_inner(), format: log.format }
}
