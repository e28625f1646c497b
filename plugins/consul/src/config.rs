//! The configuration of a provider with `plugin = "consul"`: Traefik's options of its Consul
//! catalog, and ours.

use portolan_plugin::Invalid;
use schemars::JsonSchema;
use serde::Deserialize;

/// What may stand in `config = { … }`.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Config {
    /// Where the agent's HTTP API is: `http://127.0.0.1:8500`. For `https` the authority and the
    /// certificate stand beside `config`, in `tls`.
    #[schemars(extend("x-reaches" = "http-client"))]
    pub(crate) address: String,
    /// What the tags begin with that are for Portolan: `traefik` in `traefik.http.routers…`.
    pub(crate) prefix: String,
    /// An ACL token that may read nodes, services and their checks.
    #[schemars(extend("writeOnly" = true))]
    pub(crate) token: String,
    /// A file that holds the token, read again whenever it changes; `grants.files` must name it.
    #[schemars(extend("x-reaches" = "files"))]
    pub(crate) token_file: String,
    /// A name and a password, for a proxy before Consul that asks for them.
    pub(crate) http_auth: Option<HttpAuth>,
    /// The datacenter to read; left out: the agent's own.
    pub(crate) datacenter: String,
    /// The namespace to read (Consul Enterprise); left out: that of the token.
    pub(crate) namespace: String,
    /// The same as a list of one. For more, use one provider for each.
    pub(crate) namespaces: Vec<String>,
    /// The admin partition to read (Consul Enterprise); left out: the agent's own.
    pub(crate) partition: String,
    /// Takes answers from any server, not just the leader: they go on while there is no leader, and
    /// may be a little old.
    pub(crate) stale: bool,
    /// Has the leader make sure that it still is one, for each answer.
    pub(crate) require_consistent: bool,
    /// Takes answers out of the agent's cache.
    pub(crate) cache: bool,
    /// How long a question waits for news, at most: `60s`. From a second to ten minutes.
    #[schemars(with = "Option<Scalar>")]
    pub(crate) endpoint_wait_time: Option<serde_json::Value>,
    /// What becomes of a service without tags about routers. `true`: it gets a router with the
    /// default rule. `false`: nothing that it declares counts unless it has the tag
    /// `traefik.enable=true`. Left out: what it declares counts, and the tag gets it a router.
    pub(crate) exposed_by_default: Option<bool>,
    /// The rule of routers without one, as a template with `.Name` and `.Labels`.
    pub(crate) default_rule: String,
    /// Which instances are routed to, by their tags.
    pub(crate) constraints: String,
    /// Instances in which state are routed to: `passing`, `warning`, `critical`, `maintenance`, or
    /// `any`.
    pub(crate) strict_checks: Vec<String>,
    /// Whether services are in the mesh unless `traefik.consulcatalog.connect=false` says that they
    /// are not. Those in the mesh are named, not routed: Portolan has no certificate of it.
    pub(crate) connect_by_default: bool,
    /// Not supported: Portolan has no certificate of the mesh.
    pub(crate) connect_aware: bool,
    /// The name of that certificate: without effect.
    pub(crate) service_name: Option<String>,
    /// Without effect: changes are always waited for.
    pub(crate) watch: Option<bool>,
    /// Without effect: changes are waited for, so nothing is read at intervals.
    #[schemars(with = "Option<Scalar>")]
    pub(crate) refresh_interval: Option<serde_json::Value>,
}

/// `http-auth = { … }`
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct HttpAuth {
    /// The name.
    pub(crate) username: String,
    /// The password.
    #[schemars(extend("writeOnly" = true))]
    pub(crate) password: String,
    /// A file that holds the password, as `token-file`.
    #[schemars(extend("x-reaches" = "files"))]
    pub(crate) password_file: String,
}

/// A duration: `15s`, or seconds as a number.
#[derive(JsonSchema)]
#[serde(untagged)]
#[expect(dead_code, reason = "only its schema is needed")]
pub(crate) enum Scalar {
    Text(String),
    Number(u64),
}

impl Default for Config {
    fn default() -> Self {
        Self {
            address: "http://127.0.0.1:8500".to_owned(),
            prefix: "traefik".to_owned(),
            token: String::new(),
            token_file: String::new(),
            http_auth: None,
            datacenter: String::new(),
            namespace: String::new(),
            namespaces: Vec::new(),
            partition: String::new(),
            stale: false,
            require_consistent: false,
            cache: false,
            endpoint_wait_time: None,
            exposed_by_default: None,
            default_rule: "Host(`{{ normalize .Name }}`)".to_owned(),
            constraints: String::new(),
            strict_checks: vec!["passing".to_owned(), "warning".to_owned()],
            connect_by_default: false,
            connect_aware: false,
            service_name: None,
            watch: None,
            refresh_interval: None,
        }
    }
}

/// How long a question waits, in seconds, unless the configuration says otherwise. Consul answers
/// late by up to a sixteenth of it; and a snapshot that is restored under a waiting question is not
/// seen before its end, so it should not be long.
const WAIT_SECONDS: u64 = 60;

impl Config {
    /// How long a question waits for news, in seconds.
    pub(crate) fn wait_seconds(&self, invalid: &mut Invalid) -> u32 {
        let wait = self.endpoint_wait_time.as_ref();
        let seconds = wait.map_or(Some(WAIT_SECONDS), seconds).filter(|it| (1..=600).contains(it));
        if seconds.is_none() {
            let message = "expected a duration from one second to ten minutes, such as `60s`";
            invalid.add("/endpoint-wait-time", message);
        }
        // A bad one is seen above, a good one is small.
        seconds.and_then(|seconds| u32::try_from(seconds).ok()).unwrap_or(1)
    }

    /// The namespace to read; empty: that of the token.
    pub(crate) fn namespace(&self, invalid: &mut Invalid) -> &str {
        let all = [self.namespace.as_str()].into_iter().filter(|name| !name.is_empty());
        let all: Vec<_> = all.chain(self.namespaces.iter().map(String::as_str)).collect();
        if all.len() > 1 {
            let message = "a provider reads one namespace, so that names of two do not meet; write \
                a `[providers.<name>]` for each, and `service@<name>` where one is meant";
            invalid.add("/namespaces", message);
        }
        all.first().copied().unwrap_or_default()
    }
}

/// A number of seconds, or Go's way of writing durations: `1m30s`. Parts of seconds are cut off.
pub(crate) fn seconds(value: &serde_json::Value) -> Option<u64> {
    let text = match value {
        serde_json::Value::String(text) => text.trim(),
        other => return other.as_u64(),
    };
    if let Ok(seconds) = text.parse() {
        return Some(seconds);
    }
    let (mut rest, mut millis) = (text, 0_u64);
    while !rest.is_empty() {
        let number = rest.find(|letter: char| !letter.is_ascii_digit())?;
        let (digits, behind) = rest.split_at_checked(number)?;
        let unit = behind.find(|letter: char| letter.is_ascii_digit()).unwrap_or(behind.len());
        let (unit, behind) = behind.split_at_checked(unit)?;
        let factor = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        millis = millis.checked_add(digits.parse::<u64>().ok()?.checked_mul(factor)?)?;
        rest = behind;
    }
    (millis > 0).then_some(millis / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(value: serde_json::Value) -> Option<u32> {
        let config = Config { endpoint_wait_time: Some(value), ..Config::default() };
        let mut invalid = Invalid::none();
        let seconds = config.wait_seconds(&mut invalid);
        invalid.or(seconds).ok()
    }

    #[test]
    fn a_wait_is_a_duration() {
        for (value, seconds) in [
            ("60s".into(), Some(60)),
            ("1m30s".into(), Some(90)),
            ("10m".into(), Some(600)),
            ("45".into(), Some(45)),
            (45.into(), Some(45)),
            ("500ms".into(), None),
            ("11m".into(), None),
            ("soon".into(), None),
            ("5 s".into(), None),
            ("".into(), None),
        ] {
            assert_eq!(wait(value), seconds);
        }
        assert_eq!(Config::default().wait_seconds(&mut Invalid::none()), 60);
    }

    #[test]
    fn a_provider_reads_one_namespace() {
        let namespace = |namespace: &str, namespaces: &[&str]| {
            let namespaces = namespaces.iter().map(|&name| name.to_owned()).collect();
            let namespace = namespace.to_owned();
            let config = Config { namespace, namespaces, ..Config::default() };
            let mut invalid = Invalid::none();
            let namespace = config.namespace(&mut invalid).to_owned();
            invalid.or(namespace).map_err(|invalid| invalid.to_string())
        };
        assert_eq!(namespace("", &[]).unwrap(), "");
        assert_eq!(namespace("a", &[]).unwrap(), "a");
        assert_eq!(namespace("", &["b"]).unwrap(), "b");
        assert!(namespace("", &["a", "b"]).unwrap_err().contains("/namespaces: a provider reads"));
        assert!(namespace("a", &["b"]).is_err());
    }
}
