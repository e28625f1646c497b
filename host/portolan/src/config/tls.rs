//! `[tls]`, `[acme]` and what entrypoints say about encryption: schema → what the TLS room needs.
//!
//! **Invariant:** a name that one table gives and another refers to is checked here, so the rooms
//! meet no unknown one from `config.toml`. (Routers are dynamic: theirs are problems.)

use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::{Uri, uri::Scheme};
use portolan_core::{
    name::{fold, nearest},
    policy::{ClientCertificate, Curve, Suite, TlsVersion, Transport},
};
use portolan_net::{
    http::{RedirectConfig, RedirectTarget},
    tls::{
        CertificateFile, ClientAuth, TlsConfig, TlsOptions, TlsSettings,
        acme::{Challenge, ExternalAccount, KeyType, ResolverConfig, StorageConfig, Token},
    },
};
use toml::Spanned;

use super::{
    model::Provider,
    read::{Node, Read, Reading},
    report::Finding,
    schema,
    validate::check_name,
    value::{Word, read_text, read_word},
};

/// To which scheme an entrypoint redirects.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum RedirectScheme {
    Http,
    Https,
}

/// Whether a client must show a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ClientAuthMode {
    RequireAndVerify,
    VerifyIfGiven,
}

/// Where accounts and certificates are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StorageKind {
    File,
    Consul,
}

/// What entrypoints may refer to, with its place.
pub(super) struct Names {
    options: Vec<String>,
    resolvers: Vec<String>,
    /// Names of entrypoints, and whether they are encrypted.
    entrypoints: Vec<(String, bool)>,
}

impl Names {
    pub(super) fn of(file: &schema::File) -> Self {
        let options = file.tls.options.0.iter().map(|(name, _)| name.get_ref().clone());
        let entrypoints = file.entrypoints.0.iter();
        Self {
            options: options.chain(["default".to_owned()]).collect(),
            resolvers: file.acme.0.iter().map(|(name, _)| name.get_ref().clone()).collect(),
            entrypoints: entrypoints
                .map(|(name, it)| (name.get_ref().clone(), it.tls.0.is_some()))
                .collect(),
        }
    }
}

/// `[tls]` and `[acme]`.
pub(super) fn settings(
    tls: schema::CommonTls,
    acme: Vec<(Spanned<String>, schema::Acme)>,
    data_dir: &Path,
    providers: &[Provider],
    reading: &mut Reading<'_>,
) -> TlsSettings {
    let certificates = tls.certificates.into_iter().map(|pair| certificate(pair, reading));
    let certificates = certificates.collect();
    let default = tls.default_certificate.map(|pair| certificate(pair, reading));
    let options = tls.options.0.into_iter().map(|(name, options)| {
        check_name("TLS options", &name, reading);
        (Arc::from(name.into_inner()), self::options(options, reading))
    });
    let options = options.collect();
    let resolvers = acme.into_iter().map(|(name, it)| {
        check_name("a resolver", &name, reading);
        resolver(&name, it, data_dir, providers, reading)
    });
    TlsSettings { certificates, default, options, resolvers: resolvers.collect() }
}

/// `tls = { … }` of an entrypoint.
pub(super) fn entrypoint(tls: schema::Tls, names: &Names, reading: &mut Reading<'_>) -> TlsConfig {
    let certificates = tls.certificates.into_iter().map(|pair| certificate(pair, reading));
    let certificates = certificates.collect();
    let known = |wanted: Option<Spanned<String>>,
                 all: &[String],
                 table: &str,
                 reading: &mut Reading<'_>| {
        let wanted = wanted?;
        if !all.contains(wanted.get_ref()) {
            let message = format!("there is no `[{table}.{}]`", wanted.get_ref());
            let meant = nearest(wanted.get_ref(), all.iter().map(String::as_str));
            reading.add(Finding::error(wanted.span(), message).did_you_mean(meant));
        }
        Some(Arc::from(wanted.into_inner()))
    };
    let options = known(tls.options, &names.options, "tls.options", reading);
    let resolver = known(tls.resolver, &names.resolvers, "acme", reading);
    TlsConfig { certificates, options, resolver }
}

/// `redirect = { … }` of an entrypoint.
pub(super) fn redirect(
    own: &str,
    redirect: schema::Redirect,
    names: &Names,
    reading: &mut Reading<'_>,
) -> RedirectConfig {
    let at = redirect.to.span();
    let to = redirect.to.into_inner();
    let scheme = match redirect.scheme {
        RedirectScheme::Http => Scheme::HTTP,
        RedirectScheme::Https => Scheme::HTTPS,
    };
    let target = match to.strip_prefix(':').map(str::parse) {
        Some(Ok(port @ 1..)) => RedirectTarget::Port(port),
        Some(_) => {
            let message = format!("`{to}` is not a port");
            reading.add(Finding::error(at, message).hint("a colon and a number, such as \":443\""));
            RedirectTarget::Port(443)
        }
        None => {
            check_target(own, &to, redirect.scheme, at, names, reading);
            RedirectTarget::Entrypoint(to.into())
        }
    };
    let schema::Redirect { permanent, priority, .. } = redirect;
    RedirectConfig { to: target, scheme, permanent, priority }
}

fn check_target(
    own: &str,
    to: &str,
    scheme: RedirectScheme,
    at: Range<usize>,
    names: &Names,
    reading: &mut Reading<'_>,
) {
    let found = names.entrypoints.iter().find(|(name, _)| name == to);
    match (found, scheme) {
        _ if own == to => {
            reading.add(Finding::error(at, "an entrypoint cannot redirect to itself"));
        }
        (None, _) => {
            let all = names.entrypoints.iter().map(|(name, _)| name.as_str());
            let finding = Finding::error(at, format!("there is no entrypoint `{to}`"));
            reading.add(match nearest(to, all) {
                Some(meant) => finding.did_you_mean(Some(meant)),
                None => finding.hint("the name of an entrypoint, or a port such as \":443\""),
            });
        }
        (Some((_, encrypted)), scheme) if *encrypted != (scheme == RedirectScheme::Https) => {
            let (is, wanted) = if *encrypted { ("", "http") } else { ("not ", "https") };
            let message = format!("entrypoint `{to}` is {is}encrypted");
            let label = format!("the scheme is `{wanted}`");
            reading.add(Finding::error(at, message).label(label));
        }
        (Some(_), _) => {}
    }
}

fn options(options: schema::Options, reading: &mut Reading<'_>) -> TlsOptions {
    if options.max_version.get_ref() < options.min_version.get_ref() {
        // A default stands nowhere, and the defaults are as wide as can be: both are written.
        let finding =
            Finding::error(options.max_version.span(), "`max-version` is below `min-version`");
        reading.add(finding.also(options.min_version.span(), "`min-version` is here"));
    }
    let alpn = options.alpn_protocols;
    if alpn.get_ref().is_empty() {
        let finding = Finding::error(alpn.span(), "`alpn-protocols` is empty");
        reading.add(finding.hint("leave it out, or name what is spoken: [\"http/1.1\"]"));
    }
    for protocol in alpn.get_ref() {
        if !["h2", "http/1.1", "acme-tls/1"].contains(&protocol.get_ref().as_str()) {
            let message = format!("`{}` is not spoken here", protocol.get_ref());
            reading.add(Finding::error(protocol.span(), message).hint("\"h2\" or \"http/1.1\""));
        }
    }
    // Traefik lists it; challenges are answered in any case.
    let protocols = alpn.into_inner().into_iter().map(Spanned::into_inner);
    let protocols = protocols.filter(|protocol| protocol != "acme-tls/1");
    TlsOptions {
        min_version: options.min_version.into_inner(),
        max_version: options.max_version.into_inner(),
        cipher_suites: options.cipher_suites,
        curve_preferences: options.curve_preferences,
        alpn_protocols: protocols.collect(),
        client_auth: options.client_auth.map(|auth| client_auth(auth, reading)),
        sni_strict: options.sni_strict,
        session_tickets: options.session_tickets,
    }
}

fn client_auth(auth: schema::ClientAuth, reading: &mut Reading<'_>) -> ClientAuth {
    if auth.ca_files.get_ref().is_empty() {
        let finding = Finding::error(auth.ca_files.span(), "`ca-files` is empty");
        reading.add(finding.hint("name the authorities that sign the certificates of clients"));
    }
    let files = auth.ca_files.into_inner().into_iter();
    let ca_files = files.map(|file| {
        readable(&file, reading);
        file.into_inner()
    });
    let ca_files = ca_files.collect();
    ClientAuth { ca_files, optional: auth.mode == ClientAuthMode::VerifyIfGiven }
}

fn certificate(pair: schema::Certificate, reading: &mut Reading<'_>) -> CertificateFile {
    readable(&pair.cert, reading);
    readable(&pair.key, reading);
    CertificateFile { cert: pair.cert.into_inner(), key: pair.key.into_inner() }
}

/// How encrypted connections are made to a provider's servers, or to a collector.
pub(super) fn peer(tls: schema::PeerTls, reading: &mut Reading<'_>) -> Transport {
    for file in tls.ca.0.iter().chain(&tls.cert).chain(&tls.key) {
        readable(file, reading);
    }
    let lonely = |file: &Spanned<PathBuf>, message| {
        Finding::error(file.span(), message).hint("a certificate and its key stand together")
    };
    let certificates = match (tls.cert, tls.key) {
        (Some(cert), Some(key)) => {
            vec![ClientCertificate { cert: cert.into_inner(), key: key.into_inner() }]
        }
        (Some(cert), None) => {
            reading.add(lonely(&cert, "`cert` is there without `key`"));
            Vec::new()
        }
        (None, Some(key)) => {
            reading.add(lonely(&key, "`key` is there without `cert`"));
            Vec::new()
        }
        (None, None) => Vec::new(),
    };
    Transport {
        server_name: tls.server_name,
        insecure_skip_verify: tls.insecure_skip_verify,
        root_cas: tls.ca.0.into_iter().map(Spanned::into_inner).collect(),
        certificates,
        // Both are spoken to by HTTP/1.1.
        disable_http2: true,
        ..Transport::default()
    }
}

fn readable(path: &Spanned<PathBuf>, reading: &mut Reading<'_>) {
    if let Err(error) = std::fs::File::open(path.get_ref()) {
        let message = format!("cannot read `{}`", path.get_ref().display());
        reading.add(Finding::error(path.span(), message).label(error.to_string()));
    }
}

fn resolver(
    name: &Spanned<String>,
    acme: schema::Acme,
    data_dir: &Path,
    providers: &[Provider],
    reading: &mut Reading<'_>,
) -> ResolverConfig {
    if name.get_ref().starts_with('.') {
        // It names a folder.
        reading.add(Finding::error(name.span(), "the name of a resolver begins with a letter"));
    }
    let is_url = acme.directory.get_ref().parse::<Uri>().is_ok_and(|uri| {
        matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some()
    });
    if !is_url {
        let finding = Finding::error(acme.directory.span(), "`directory` must be a URL");
        reading.add(finding.hint("Let's Encrypt's is the default; others tell theirs"));
    }
    if let Some(email) = acme.email.as_ref().filter(|email| !email.get_ref().contains('@')) {
        reading.add(Finding::error(email.span(), "`email` must be an e-mail address"));
    }
    for file in acme.root_certificates.iter().chain(acme.eab.as_ref().map(|eab| &eab.hmac_file)) {
        readable(file, reading);
    }
    let folder = data_dir.join("acme");
    let storage = match acme.storage.get_ref() {
        StorageKind::File => StorageConfig::File(folder),
        StorageKind::Consul => match providers.iter().find(|it| it.plugin == "consul") {
            Some(provider) => consul(provider, reading.base, folder),
            None => {
                let message = "there is no provider that uses the plugin `consul`";
                let finding = Finding::error(acme.storage.span(), message);
                reading.add(finding.hint("its address and token are used"));
                StorageConfig::File(folder)
            }
        },
    };
    ResolverConfig {
        name: name.get_ref().as_str().into(),
        email: acme.email.map(Spanned::into_inner),
        directory: acme.directory.into_inner(),
        challenge: acme.challenge,
        root_certificates: acme.root_certificates.map(Spanned::into_inner),
        key_type: acme.key_type,
        external_account: acme.eab.map(|eab| ExternalAccount {
            key_id: eab.key_id,
            hmac_file: eab.hmac_file.into_inner(),
        }),
        storage,
    }
}

/// The Consul of a provider. What is wrong with its table, the plugin says.
fn consul(provider: &Provider, base: &Path, folder: PathBuf) -> StorageConfig {
    let entries = || provider.config.as_object().into_iter().flatten();
    let text = |key: &str| {
        let entry = entries().find(|(written, _)| fold(written) == fold(key));
        entry.and_then(|(_, value)| value.as_str())
    };
    let address = text("address").unwrap_or("http://127.0.0.1:8500").trim();
    let scheme = if address.contains("://") { "" } else { "http://" };
    let token = text("token").filter(|token| !token.is_empty());
    let token_file = text("token-file").filter(|file| !file.is_empty());
    let token = token.map(|token| Token::Text(token.to_owned()));
    let token = token.or_else(|| Some(Token::File(base.join(token_file?))));
    let roots = provider.tls.as_ref().and_then(|tls| tls.root_cas.first().cloned());
    StorageConfig::Consul { address: format!("{scheme}{address}"), token, roots, folder }
}

impl Word for RedirectScheme {
    const WORDS: &'static [(&'static str, Self)] = &[("https", Self::Https), ("http", Self::Http)];
}

impl Word for ClientAuthMode {
    const WORDS: &'static [(&'static str, Self)] =
        &[("require-and-verify", Self::RequireAndVerify), ("verify-if-given", Self::VerifyIfGiven)];
}

impl Word for StorageKind {
    const WORDS: &'static [(&'static str, Self)] =
        &[("file", Self::File), ("consul", Self::Consul)];
}

impl Word for Challenge {
    const WORDS: &'static [(&'static str, Self)] =
        &[("http-01", Self::Http01), ("tls-alpn-01", Self::TlsAlpn01)];
}

impl Word for KeyType {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("ec256", Self::Ec256),
        ("ec384", Self::Ec384),
        ("rsa2048", Self::Rsa2048),
        ("rsa4096", Self::Rsa4096),
    ];
}

impl Word for TlsVersion {
    const WORDS: &'static [(&'static str, Self)] = &[("1.2", Self::V12), ("1.3", Self::V13)];
}

macro_rules! read_words {
    ($($type:ty, $expected:literal;)*) => { $(
        impl Read for $type {
            const EXPECTED: &'static str = $expected;

            fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
                read_word(node, reading)
            }
        }
    )* };
}

read_words! {
    RedirectScheme, "`https` or `http`";
    ClientAuthMode, "`require-and-verify` or `verify-if-given`";
    StorageKind, "`file` or `consul`";
    Challenge, "`http-01` or `tls-alpn-01`";
    KeyType, "one of `ec256`, `ec384`, `rsa2048` and `rsa4096`";
    TlsVersion, "`1.2` or `1.3`, in quotes";
}

impl Read for Suite {
    const EXPECTED: &'static str = "the name of a cipher suite";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let hint = |text: &str| Some(meant(text, Self::all().map(Self::name)));
        read_text(node, reading, Self::EXPECTED, Self::parse, hint)
    }
}

impl Read for Curve {
    const EXPECTED: &'static str = "the name of a group";

    fn read(node: &Node<'_>, reading: &mut Reading<'_>) -> Option<Self> {
        let hint = |text: &str| Some(meant(text, Self::all().map(Self::name)));
        read_text(node, reading, Self::EXPECTED, Self::parse, hint)
    }
}

/// Which of all names was meant, or which there are.
fn meant<'a>(text: &str, all: impl Iterator<Item = &'a str> + Clone) -> String {
    match nearest(text, all.clone()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("there are {}", all.collect::<Vec<_>>().join(", ")),
    }
}
