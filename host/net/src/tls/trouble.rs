//! What is wrong with certificates and options, for people.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use portolan_core::{
    assemble::CONFIG,
    name::ObjectName,
    pointer::child,
    problem::{Chain, Problem},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use super::{
    Broken, Certificate, CertificateFile, CertificateSource, DEFAULT_OPTIONS, RootFlaw, TlsConfig,
    TlsContext, TlsError, TlsOptions, TlsSettings, Validity, keyring::Refused,
};

/// Where these problems come from.
pub(super) const SOURCE: &str = "tls";

/// Everything that can be wrong.
pub(super) struct Situation<'a> {
    pub(super) now: SystemTime,
    pub(super) settings: &'a TlsSettings,
    pub(super) entrypoints: &'a [(Arc<str>, TlsConfig)],
    pub(super) contexts: &'a [Arc<TlsContext>],
    pub(super) authority_error: Option<&'a TlsError>,
    pub(super) root_flaw: Option<RootFlaw>,
    /// Where the local authority is kept, if it is.
    pub(super) directory: Option<&'a Path>,
    pub(super) broken: &'a [Broken],
    pub(super) refused: &'a [Refused],
    pub(super) certificates: Vec<Arc<Certificate>>,
}

impl Situation<'_> {
    /// Where `config.toml` names a file.
    fn place(&self, cert: &Path) -> String {
        let position = |files: &[CertificateFile]| files.iter().position(|it| it.cert == cert);
        if let Some(index) = position(&self.settings.certificates) {
            return format!("/tls/certificates/{index}");
        }
        if self.is_default(cert) {
            return "/tls/default-certificate".to_owned();
        }
        let own = self.entrypoints.iter().find_map(|(name, tls)| {
            let index = position(&tls.certificates)?;
            Some(format!("{}/tls/certificates/{index}", child("/entrypoints", name)))
        });
        own.unwrap_or_default()
    }

    /// Whether it is the default certificate.
    fn is_default(&self, cert: &Path) -> bool {
        self.settings.default.as_ref().is_some_and(|file| file.cert == cert)
    }

    /// The options of this name, as they are configured.
    fn spec(&self, name: &str) -> Option<&TlsOptions> {
        self.settings.options.iter().find(|(known, _)| **known == *name).map(|(_, spec)| spec)
    }

    /// The options of hosts of an entrypoint whose routers say nothing.
    fn default_options(&self, entrypoint: &str) -> &str {
        let default = self.entrypoints.iter().find(|(name, _)| **name == *entrypoint);
        default.and_then(|(_, tls)| tls.options.as_deref()).unwrap_or(DEFAULT_OPTIONS)
    }
}

/// What is wrong, in a steady order.
pub(super) fn problems(situation: &Situation<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(situation.authority_error.map(authority));
    problems.extend(situation.root_flaw.map(flawed_root));
    problems.extend(situation.directory.and_then(open_key));
    problems.extend(situation.broken.iter().map(|one| broken(situation, one)));
    problems.extend(situation.refused.iter().map(refused));
    let expiring = situation.certificates.iter();
    problems.extend(expiring.filter_map(|certificate| expiry(situation, certificate)));
    problems.extend(unknown_options(situation));
    problems.extend(torn_hosts(situation));
    problems.extend(unchosen_options(situation));
    problems.sort();
    problems.dedup();
    problems
}

fn authority(error: &TlsError) -> Problem {
    let instead = "one that will be forgotten at the end takes its place: no device trusts it";
    let hint = match error {
        TlsError::AuthorityKeyless(_) => {
            format!("{instead}; bring the key back, or move `ca.pem` away for a new authority")
        }
        _ => instead.to_owned(),
    };
    Problem::error(SOURCE, "local authority", Chain(error).to_string()).hint(hint)
}

fn flawed_root(flaw: RootFlaw) -> Problem {
    let origin = "local authority";
    let another = "move `ca.pem` and `ca.key` away, and a start makes another root: devices must be \
                   told to trust it";
    match flaw {
        RootFlaw::NoAuthority => {
            let message =
                "`ca.pem` says of itself that it is no authority: no device takes what it signs";
            Problem::error(SOURCE, origin, message).hint(another)
        }
        RootFlaw::Ended(until) => {
            let message = format!("its root expired at {}", stamp(until));
            Problem::error(SOURCE, origin, message).hint(another)
        }
        RootFlaw::EndsSoon(until) => {
            let message = format!("its root expires at {}", stamp(until));
            Problem::warning(SOURCE, origin, message).hint(another)
        }
    }
}

/// The key of the local authority is for us alone: with it, anybody can be anybody.
fn open_key(directory: &Path) -> Option<Problem> {
    let key = directory.join("ca.key");
    let mode = fs::metadata(&key).ok()?.mode() & 0o777;
    (mode & 0o077 != 0).then(|| {
        let message = format!("others may read `{}`: its mode is {mode:o}", key.display());
        Problem::warning(SOURCE, "local authority", message)
            .hint("chmod 600; whoever has it can make certificates that your devices trust")
    })
}

fn broken(situation: &Situation<'_>, broken: &Broken) -> Problem {
    let origin = format!("certificate `{}`", broken.file.cert.display());
    let message = Chain(&broken.error).to_string();
    Problem::error(SOURCE, origin, message).at(situation.place(&broken.file.cert)).hint(
        match broken.kept {
            true => "the certificate that was there before goes on being shown",
            false if situation.is_default(&broken.file.cert) => {
                "who asks for no name that there is a certificate for gets one of the local authority"
            }
            false => {
                "its names get a certificate of the local authority, if a router answers to them"
            }
        },
    )
}

fn refused(refused: &Refused) -> Problem {
    let origin = format!("tls.options.{}", refused.name);
    let place = child("/tls/options", &refused.name);
    let message = Chain(&refused.error).to_string();
    Problem::error(SOURCE, origin, message).at(place).hint(match refused.kept {
        true => "the options that were there before go on",
        false => "handshakes of hosts that want these options are refused",
    })
}

fn expiry(situation: &Situation<'_>, certificate: &Certificate) -> Option<Problem> {
    let facts = &certificate.facts;
    let names = certificate.known_by();
    let origin = certificate.source.to_string();
    let problem = match certificate.validity(situation.now) {
        Validity::Valid => return None,
        Validity::Expired => {
            let message =
                format!("the certificate for `{names}` expired at {}", stamp(facts.not_after));
            Problem::error(SOURCE, origin, message)
        }
        Validity::EndsSoon => {
            let message =
                format!("the certificate for `{names}` expires at {}", stamp(facts.not_after));
            Problem::warning(SOURCE, origin, message)
        }
        Validity::NotYet => {
            let message = format!(
                "the certificate for `{names}` is good from {} on",
                stamp(facts.not_before)
            );
            Problem::error(SOURCE, origin, message)
        }
    };
    Some(match &certificate.source {
        CertificateSource::File(path) => problem.at(situation.place(path)),
        CertificateSource::Acme(_) | CertificateSource::Local => problem,
    })
}

fn unknown_options(situation: &Situation<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut add = |router: &ObjectName, options: &str, hint: String| {
        if options != DEFAULT_OPTIONS && situation.spec(options).is_none() {
            let message = format!("there is no `[tls.options.{options}]`");
            let problem = Problem::error(SOURCE, router_origin(router), message);
            problems.push(problem.at(router_place(router)).hint(hint));
        }
    };
    for context in situation.contexts {
        let hosts = context.chooser.hosts();
        for (options, host, router) in hosts.wanted() {
            add(router, options, format!("handshakes for `{host}` are refused until there is"));
        }
        for it in hosts.unchosen().filter(|it| it.hosts.is_empty()) {
            add(&it.router, &it.options, "its requests are answered 421 until there is".to_owned());
        }
    }
    problems
}

/// Routers that want options for hosts that no handshake tells of.
fn unchosen_options(situation: &Situation<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for context in situation.contexts {
        let default = situation.default_options(context.chooser.entrypoint());
        let hosts = context.chooser.hosts();
        for it in hosts.unchosen().filter(|it| *it.options != *default) {
            let options = &it.options;
            let message = match it.hosts.is_empty() {
                true => format!(
                    "no handshake chooses its TLS options `{options}`: its rule names no host"
                ),
                false => format!(
                    "TLS options `{options}` are chosen for `{}` only: its rule takes other hosts too",
                    it.hosts.join("`, `")
                ),
            };
            let asks = situation.spec(options).is_none_or(|spec| spec.client_auth.is_some());
            let becomes = match asks {
                true => "requests over handshakes with others are answered 421",
                false => "other handshakes have the options of their host or of the entrypoint",
            };
            let hint = format!(
                "a handshake knows the host and nothing else: {becomes}; name hosts with `Host`, or \
                 give these options to the entrypoint"
            );
            let problem = Problem::warning(SOURCE, router_origin(&it.router), message);
            problems.push(problem.at(router_place(&it.router)).hint(hint));
        }
    }
    problems
}

fn torn_hosts(situation: &Situation<'_>) -> Vec<Problem> {
    let mut problems = Vec::new();
    for context in situation.contexts {
        let entrypoint = context.chooser.entrypoint();
        let default = situation.default_options(entrypoint);
        for (host, one, other) in context.chooser.hosts().torn() {
            let message = format!(
                "`{host}` on entrypoint `{entrypoint}` has other TLS options than by router `{one}`"
            );
            let hint = format!(
                "a handshake knows the host and nothing else: `{default}` is used for both, and one \
                 that wants certificates of clients answers 421"
            );
            let problem = Problem::error(SOURCE, router_origin(other), message);
            problems.push(problem.at(router_place(other)).hint(hint));
        }
    }
    problems
}

/// Where a router's own problems are.
pub(super) fn router_origin(router: &ObjectName) -> String {
    format!("router `{router}`")
}

/// Where it stands in `config.toml`, if it does.
pub(super) fn router_place(router: &ObjectName) -> String {
    match &*router.provider {
        CONFIG => child("/http/routers", &router.name) + "/tls",
        _ => String::new(),
    }
}

/// A moment, to the second, in UTC (RFC 3339).
pub(super) fn stamp(moment: SystemTime) -> String {
    let seconds = moment.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let whole = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    OffsetDateTime::from(whole).format(&Rfc3339).unwrap_or_default()
}
