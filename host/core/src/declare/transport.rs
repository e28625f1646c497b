//! `servers-transports.<name>`: how connections to backends are made.

use std::{path::PathBuf, sync::Arc};

use super::{
    Flaw, TransportSpec,
    reader::{Keys, Reader},
};
use crate::{
    name::nearest,
    policy::{ClientCertificate, Suite, TlsVersion, Transport},
    problem::Severity,
};

const TRANSPORT: Keys = Keys {
    known: &[
        "server-name",
        "insecure-skip-verify",
        "root-cas",
        "certificates",
        "disable-http2",
        "min-version",
        "max-version",
        "cipher-suites",
        "forwarding-timeouts",
        "peer-cert-uri",
        "peer-cert-sans",
        "spiffe",
    ],
    foreign: &["max-idle-conns-per-host"],
};
/// Those that say who and what is trusted. One that cannot be read, or is misspelt, leaves nobody; nor
/// does one of the last three, which are Traefik's and say it in a way that is not known here.
const PROTECTING: [&str; 8] = [
    "root-cas",
    "server-name",
    "min-version",
    "max-version",
    "cipher-suites",
    "peer-cert-uri",
    "peer-cert-sans",
    "spiffe",
];
const CERTIFICATE: Keys = Keys { known: &["cert-file", "key-file"], foreign: &[] };
const TIMEOUTS: Keys = Keys {
    known: &["dial-timeout", "response-header-timeout"],
    foreign: &["idle-conn-timeout", "read-idle-timeout", "ping-timeout"],
};

/// An error, and services that refer to it answer nobody, where it would trust more than is meant.
pub(super) fn transport(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> TransportSpec {
    let mut transport = Transport::default();
    let misspelt = reader.misspelt(&TRANSPORT);
    let mut is_doubtful = misspelt.iter().any(|key| PROTECTING.contains(key));
    let mut refusal: Option<Arc<str>> = None;
    for (key, value) in reader.fields(&TRANSPORT, flaws) {
        let before = flaws.len();
        match key {
            "server-name" => {
                transport.server_name = value.text(flaws).filter(|name| !name.is_empty());
            }
            "insecure-skip-verify" => {
                transport.insecure_skip_verify = value.boolean(flaws).unwrap_or_default();
                if transport.insecure_skip_verify {
                    let message = "whoever stands between us and the backends can read and \
                                   change everything: any certificate will do";
                    let hint = "trust their authority instead, by `root-cas`; where only the name \
                                differs there is `server-name`";
                    value.doubt_with(flaws, message.to_owned(), Some(hint.to_owned()));
                }
            }
            "root-cas" => {
                let files = value.list(flaws).into_iter();
                transport.root_cas = files.filter_map(|it| file(it, &value, flaws)).collect();
            }
            "certificates" => {
                transport.certificates = certificates(&value, flaws);
                if transport.certificates.len() > 1 {
                    let message = "backends are shown the first of these certificates only";
                    value.doubt(flaws, message.to_owned());
                }
            }
            "disable-http2" => transport.disable_http2 = value.boolean(flaws).unwrap_or_default(),
            "peer-cert-uri" | "peer-cert-sans" | "spiffe" => {
                let why = format!("`{key}` is not supported");
                let message = format!(
                    "the transport cannot be used, since {why}: more would be trusted than is meant"
                );
                let hint = "say with `root-cas` and `server-name` whose certificates are meant";
                value.flaw_with(flaws, message, Some(hint.to_owned()));
                refusal.get_or_insert_with(|| why.into());
                continue;
            }
            "min-version" => transport.min_version = lowest(&value, flaws),
            "max-version" => transport.max_version = version(&value, flaws),
            "cipher-suites" => transport.cipher_suites = suites(&value, flaws),
            _ => {
                for (key, value) in value.fields(&TIMEOUTS, flaws) {
                    match key {
                        "dial-timeout" => transport.dial_timeout = value.limit(flaws),
                        _ => transport.response_header_timeout = value.limit(flaws),
                    }
                }
            }
        }
        let is_wrong = |flaw: &Flaw| flaw.severity == Severity::Error;
        is_doubtful |= PROTECTING.contains(&key) && flaws.iter().skip(before).any(is_wrong);
    }
    if let (Some(min), Some(max)) = (transport.min_version, transport.max_version)
        && max < min
    {
        reader.flaw(flaws, "`max-version` is below `min-version`".to_owned());
        is_doubtful = true;
    }
    if is_doubtful {
        let message = "connections would be trusted that are not meant to be: the transport \
                       cannot be used until all of it can be read";
        reader.flaw(flaws, message.to_owned());
        refusal.get_or_insert_with(|| "not all of it can be read".into());
    }
    if let Some(why) = refusal {
        return Err(why);
    }
    if transport.insecure_skip_verify && !transport.root_cas.is_empty() {
        reader.flaw(flaws, "`root-cas` are not asked with `insecure-skip-verify`".to_owned());
    }
    Ok(transport)
}

fn certificates(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Vec<ClientCertificate> {
    let mut certificates = Vec::new();
    for element in reader.elements(flaws) {
        let (mut cert, mut key) = (None, None);
        for (field, value) in element.fields(&CERTIFICATE, flaws) {
            let path = value.text(flaws).and_then(|text| file(text, &value, flaws));
            match field {
                "cert-file" => cert = path,
                _ => key = path,
            }
        }
        match (cert, key) {
            (Some(cert), Some(key)) => certificates.push(ClientCertificate { cert, key }),
            _ => element.flaw(flaws, "a certificate is a `cert-file` and a `key-file`".to_owned()),
        }
    }
    certificates
}

/// A version of TLS, as Go and so Traefik names it, or by its number.
fn version(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<TlsVersion> {
    match reader.text(flaws)?.as_str() {
        "1.2" | "VersionTLS12" => Some(TlsVersion::V12),
        "1.3" | "VersionTLS13" => Some(TlsVersion::V13),
        _ => reader.wrong(flaws, "`1.2` or `1.3`", reader.value),
    }
}

fn lowest(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<TlsVersion> {
    let older = ["1.0", "1.1", "VersionTLS10", "VersionTLS11"];
    if reader.value.as_str().is_some_and(|text| older.contains(&text)) {
        reader.doubt(flaws, "backends that speak less than TLS 1.2 are not reached".to_owned());
        return None;
    }
    version(reader, flaws)
}

fn suites(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Vec<Suite> {
    let mut suites = Vec::new();
    for name in reader.list(flaws) {
        if let Some(suite) = Suite::parse(&name) {
            suites.push(suite);
            continue;
        }
        let all = || Suite::all().map(Suite::name);
        let hint = match nearest(&name, all()) {
            Some(meant) => format!("did you mean `{meant}`?"),
            None => format!("there are {}", all().collect::<Vec<_>>().join(", ")),
        };
        reader.flaw_with(flaws, format!("there is no cipher suite `{name}`"), Some(hint));
    }
    suites
}

fn file(text: String, reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<PathBuf> {
    if text.trim_start().starts_with("-----BEGIN") {
        reader.flaw(flaws, "expected the path of a PEM file, found what stands in one".to_owned());
        return None;
    }
    Some(text.into())
}
