//! The headers that tell browsers to be careful.

use portolan_plugin::{Action, Field, Interest, Invalid, Op, Predicate, Reply, header};

use crate::Config;

/// The part of the configuration that is about security headers.
pub(crate) struct Security<'a>(pub(crate) &'a Config);

impl Security<'_> {
    pub(crate) fn check(&self, invalid: &mut Invalid) {
        let config = self.0;
        let values = [
            ("custom-frame-options-value", &config.custom_frame_options_value),
            ("custom-browser-xss-value", &config.custom_browser_xss_value),
            ("content-security-policy", &config.content_security_policy),
            ("content-security-policy-report-only", &config.content_security_policy_report_only),
            ("referrer-policy", &config.referrer_policy),
            ("permissions-policy", &config.permissions_policy),
            ("public-key", &config.public_key),
        ];
        for (option, value) in values {
            invalid.check(|| format!("/{option}"), header::check_value(value));
        }
        for name in config.hosts_proxy_headers.iter().chain(config.ssl_proxy_headers.keys()) {
            if !header::is_token(name) {
                invalid.add("/", format!("`{name}` is no header name"));
            }
        }
    }

    /// Refuses what is for another host. A port does not matter.
    pub(crate) fn allowed_hosts(&self, interest: Interest) -> Interest {
        let config = self.0;
        if config.allowed_hosts.is_empty() || config.is_development {
            return interest;
        }
        let allowed = config.allowed_hosts.iter().map(|host| without_port(host));
        let allowed: Vec<&str> = allowed.collect();
        let own = Predicate::test(Field::Host, Op::EqualsIgnoreCase, allowed.iter().copied());
        // The first of these headers that is there says what the host was.
        let is_good = config.hosts_proxy_headers.iter().rev().fold(own, |otherwise, name| {
            let field = Field::Header(name.to_ascii_lowercase());
            let there = Predicate::has_header(name.to_ascii_lowercase());
            let says = config.allowed_hosts.iter().map(String::as_str);
            let says = Predicate::test(field, Op::EqualsIgnoreCase, says);
            Predicate::Any(vec![says, there.not().and(otherwise)])
        });
        interest.step(is_good.not(), [Action::Reply(Reply::new(400).text("400 Bad Host\n"))])
    }

    /// Whether the client came by https, as far as it is known.
    fn is_https(&self) -> Predicate {
        let seen = Predicate::test(Field::Scheme, Op::Equals, ["https"]);
        let said = self.0.ssl_proxy_headers.iter().map(|(name, value)| {
            Predicate::test(Field::Header(name.to_ascii_lowercase()), Op::Equals, [value])
        });
        let said: Vec<Predicate> = said.collect();
        match said.is_empty() {
            true => seen,
            false => Predicate::Any(std::iter::once(seen).chain(said).collect()),
        }
    }

    pub(crate) fn plan(&self, interest: Interest) -> Interest {
        let config = self.0;
        let seconds = if config.is_development { 0 } else { config.sts_seconds };
        let interest = match (seconds, config.force_sts_header) {
            (..=0, _) => interest,
            (_, true) => interest.always([self.strict_transport()]),
            // RFC 6797, 7.2: it is not to be sent over plain http.
            (_, false) => interest.step(self.is_https(), [self.strict_transport()]),
        };
        let interest = match config.public_key.as_str() {
            "" => interest,
            _ if config.is_development => interest,
            pins => interest
                .step(self.is_https(), [Action::set_response_header("public-key-pins", pins)]),
        };
        let frame_options = or_when(&config.custom_frame_options_value, config.frame_deny, "DENY");
        let xss =
            or_when(&config.custom_browser_xss_value, config.browser_xss_filter, "1; mode=block");
        let sniff = or_when("", config.content_type_nosniff, "nosniff");
        let headers = [
            ("x-frame-options", frame_options),
            ("x-content-type-options", sniff),
            ("x-xss-protection", xss),
            ("content-security-policy", &config.content_security_policy),
            ("content-security-policy-report-only", &config.content_security_policy_report_only),
            ("referrer-policy", &config.referrer_policy),
            ("permissions-policy", &config.permissions_policy),
        ];
        let said = headers.into_iter().filter(|(_, value)| !value.is_empty());
        interest.always(said.map(|(name, value)| Action::set_response_header(name, value)))
    }

    fn strict_transport(&self) -> Action {
        let subdomains = if self.0.sts_include_subdomains { "; includeSubDomains" } else { "" };
        let preload = if self.0.sts_preload { "; preload" } else { "" };
        let value = format!("max-age={}{subdomains}{preload}", self.0.sts_seconds);
        Action::set_response_header("strict-transport-security", value)
    }
}

/// A host as requests are compared with it.
fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    }
}

/// The custom value, or the usual one if that is wanted, or nothing.
fn or_when<'a>(custom: &'a str, wanted: bool, usual: &'a str) -> &'a str {
    match (custom, wanted) {
        ("", true) => usual,
        (custom, _) => custom,
    }
}
