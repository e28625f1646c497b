//! The headers that tell browsers to be careful.

use portolan_plugin::{Action, Field, Interest, Invalid, Op, Predicate, header};

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
        ];
        for (option, value) in values {
            invalid.check(|| format!("/{option}"), header::check_value(value));
        }
    }

    pub(crate) fn plan(&self, interest: Interest) -> Interest {
        let config = self.0;
        let interest = match (config.sts_seconds, config.force_sts_header) {
            (0, _) => interest,
            (_, true) => interest.always([self.strict_transport()]),
            // RFC 6797, 7.2: it is not to be sent over plain http.
            (_, false) => interest.step(
                Predicate::test(Field::Scheme, Op::Equals, ["https"]),
                [self.strict_transport()],
            ),
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

/// The custom value, or the usual one if that is wanted, or nothing.
fn or_when<'a>(custom: &'a str, wanted: bool, usual: &'a str) -> &'a str {
    match (custom, wanted) {
        ("", true) => usual,
        (custom, _) => custom,
    }
}
