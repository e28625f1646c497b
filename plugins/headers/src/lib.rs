//! `headers`: sets and removes headers of requests and responses, the security headers among them,
//! and answers CORS. All plan: it never runs for a request.
//!
//! Reading order: the configuration here, then [`cors`], which is the only part with conditions.

mod cors;
mod security;

use std::collections::BTreeMap;

use portolan_plugin::{Action, Interest, Invalid, Middleware, Plugin, header, register};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{cors::Cors, security::Security};

/// `[http.middlewares.<name>.headers]`. Names and meanings are those of Traefik.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// Headers for the backend. An empty value removes the header.
    custom_request_headers: BTreeMap<String, String>,
    /// Headers for the client. An empty value removes the header.
    custom_response_headers: BTreeMap<String, String>,

    /// Seconds for which browsers use nothing but https (`strict-transport-security`). 0: not said.
    sts_seconds: u64,
    /// Whether that holds for subdomains too.
    sts_include_subdomains: bool,
    /// Whether browsers may have that built in.
    sts_preload: bool,
    /// Says so over plain http as well.
    force_sts_header: bool,
    /// `x-frame-options: DENY`
    frame_deny: bool,
    /// A value for `x-frame-options`, instead of `DENY`.
    custom_frame_options_value: String,
    /// `x-content-type-options: nosniff`
    content_type_nosniff: bool,
    /// `x-xss-protection: 1; mode=block`
    browser_xss_filter: bool,
    /// A value for `x-xss-protection`.
    #[serde(rename = "custom-browser-xss-value")]
    custom_browser_xss_value: String,
    /// `content-security-policy`
    content_security_policy: String,
    /// `content-security-policy-report-only`
    content_security_policy_report_only: String,
    /// `referrer-policy`
    referrer_policy: String,
    /// `permissions-policy`
    permissions_policy: String,

    /// Origins that may ask: `https://app.example`, or `*`.
    access_control_allow_origin_list: Vec<String>,
    /// Methods that they may use.
    access_control_allow_methods: Vec<String>,
    /// Request headers that they may use.
    access_control_allow_headers: Vec<String>,
    /// Response headers that their scripts may read.
    access_control_expose_headers: Vec<String>,
    /// Whether they may send cookies.
    access_control_allow_credentials: bool,
    /// Seconds for which browsers remember the answer.
    access_control_max_age: u64,
    /// Adds `vary: Origin`, which caches need when the answer depends on the origin.
    add_vary_header: bool,
}

#[derive(Debug)]
struct Headers(Config);

impl Plugin for Headers {
    type Config = Config;
    const NAME: &'static str = "headers";
    const SUMMARY: &'static str = "Sets and removes headers, and answers CORS.";

    fn new(config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        check(&mut invalid, "/custom-request-headers", &config.custom_request_headers);
        check(&mut invalid, "/custom-response-headers", &config.custom_response_headers);
        Security(&config).check(&mut invalid);
        Cors(&config).check(&mut invalid);
        invalid.or(Self(config))
    }
}

impl Middleware for Headers {
    // The order is Traefik's: a preflight is answered before anything else, and a custom header has
    // the last word over a security header of the same name.
    fn interest(&self) -> Interest {
        let config = &self.0;
        let interest = Cors(config).preflight(Interest::default());
        let interest = interest.always(request_actions(&config.custom_request_headers));
        let interest = Security(config).plan(interest);
        let interest = interest.always(response_actions(&config.custom_response_headers));
        Cors(config).actual(interest)
    }
}

register!(Headers: Middleware);

fn request_actions(headers: &BTreeMap<String, String>) -> Vec<Action> {
    let action = |(name, value): (&String, &String)| match value.as_str() {
        "" => Action::RemoveRequestHeader(name.clone()),
        value => Action::set_request_header(name.as_str(), value),
    };
    headers.iter().map(action).collect()
}

fn response_actions(headers: &BTreeMap<String, String>) -> Vec<Action> {
    let action = |(name, value): (&String, &String)| match value.as_str() {
        "" => Action::RemoveResponseHeader(name.clone()),
        value => Action::set_response_header(name.as_str(), value),
    };
    headers.iter().map(action).collect()
}

fn check(invalid: &mut Invalid, option: &str, headers: &BTreeMap<String, String>) {
    for (name, value) in headers {
        let place = || format!("{option}/{}", Invalid::segment(name));
        invalid.check(place, header::check_name(name));
        invalid.check(place, header::check_value(value));
    }
}

#[cfg(test)]
mod tests;
