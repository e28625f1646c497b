//! `servers-transports.<name>`: how connections to backends are made.

use std::path::PathBuf;

use super::{
    Flaw,
    reader::{Keys, Reader},
};
use crate::policy::{ClientCertificate, Transport};

const TRANSPORT: Keys = Keys {
    known: &[
        "server-name",
        "insecure-skip-verify",
        "root-cas",
        "certificates",
        "disable-http2",
        "forwarding-timeouts",
        "peer-cert-uri",
        "peer-cert-sans",
        "spiffe",
    ],
    foreign: &["cipher-suites", "min-version", "max-version", "max-idle-conns-per-host"],
};
/// Those that say who is trusted. One that cannot be read, or is misspelt, leaves nobody; nor does one of
/// the last three, which are Traefik's and say it in a way that is not known here.
const PROTECTING: [&str; 5] =
    ["root-cas", "server-name", "peer-cert-uri", "peer-cert-sans", "spiffe"];
const CERTIFICATE: Keys = Keys { known: &["cert-file", "key-file"], foreign: &[] };
const TIMEOUTS: Keys = Keys {
    known: &["dial-timeout", "response-header-timeout"],
    foreign: &["idle-conn-timeout", "read-idle-timeout", "ping-timeout"],
};

/// `None`, and services that refer to it answer nobody, where it would trust more than is meant.
pub(super) fn transport(reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<Transport> {
    let mut transport = Transport::default();
    let misspelt = reader.misspelt(&TRANSPORT);
    let mut is_doubtful = misspelt.iter().any(|key| PROTECTING.contains(key));
    let mut is_refused = false;
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
                    value.doubt(flaws, message.to_owned());
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
                let message = format!(
                    "there is no such transport, since `{key}` is not supported: more would be \
                     trusted than is meant"
                );
                let hint = "say with `root-cas` and `server-name` whose certificates are meant";
                value.flaw_with(flaws, message, Some(hint.to_owned()));
                is_refused = true;
                continue;
            }
            _ => {
                for (key, value) in value.fields(&TIMEOUTS, flaws) {
                    match key {
                        "dial-timeout" => transport.dial_timeout = value.limit(flaws),
                        _ => transport.response_header_timeout = value.limit(flaws),
                    }
                }
            }
        }
        is_doubtful |= PROTECTING.contains(&key) && flaws.len() > before;
    }
    if is_doubtful {
        let message = "connections would be trusted that are not meant to be: there is no such \
                       transport until all of it can be read";
        reader.flaw(flaws, message.to_owned());
    }
    if is_doubtful || is_refused {
        return None;
    }
    if transport.insecure_skip_verify && !transport.root_cas.is_empty() {
        reader.flaw(flaws, "`root-cas` are not asked with `insecure-skip-verify`".to_owned());
    }
    Some(transport)
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

fn file(text: String, reader: &Reader<'_>, flaws: &mut Vec<Flaw>) -> Option<PathBuf> {
    if text.trim_start().starts_with("-----BEGIN") {
        reader.flaw(flaws, "expected the path of a PEM file, found what stands in one".to_owned());
        return None;
    }
    Some(text.into())
}
