//! `headers`: sets and removes headers of requests and responses, the security headers among them,
//! and answers CORS. All plan, but where origins are many or given as regular expressions.
//!
//! Reading order: the configuration here, then [`security`] and [`cors`], the parts with conditions.

mod cors;
mod security;

use std::collections::BTreeMap;

use portolan_plugin::{
    Action, Interest, Invalid, Middleware, OnRequest, OnResponseSlots, Plugin, Predicate, Request,
    ResponseVerdict, Slots, Verdict, header, log, register,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    cors::{Cors, Origins},
    security::Security,
};

/// `[http.middlewares.<name>.headers]`. Names and meanings are those of Traefik.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// Headers for the backend, `host` among them. An empty value removes the header.
    custom_request_headers: BTreeMap<String, String>,
    /// Headers for the client. An empty value removes the header.
    custom_response_headers: BTreeMap<String, String>,

    /// Hosts that are answered; others get 400. Empty: all.
    allowed_hosts: Vec<String>,
    /// Headers in which a proxy before us says what the host was.
    hosts_proxy_headers: Vec<String>,
    /// Headers, and the value with which a proxy before us says that the client came by https.
    ssl_proxy_headers: BTreeMap<String, String>,
    /// Leaves out what is of no use on one's own machine: `allowed-hosts`, and what is for https.
    is_development: bool,

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
    /// `public-key-pins`, which browsers do not heed any more.
    public_key: String,
    /// `referrer-policy`
    referrer_policy: String,
    /// `permissions-policy`
    permissions_policy: String,

    /// Origins that may ask: `https://app.example`, or `*`.
    access_control_allow_origin_list: Vec<String>,
    /// The same as regular expressions, found anywhere: anchor them with `^` and `$`.
    access_control_allow_origin_list_regex: Vec<String>,
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
struct Headers {
    config: Config,
    /// Looked up by the hooks; `None`: all is plan.
    origins: Option<Origins>,
}

/// The place of `origin` and `access-control-allow-origin` among the slots.
const ORIGIN: u32 = 0;

impl Plugin for Headers {
    type Config = Config;
    const NAME: &'static str = "headers";
    const SUMMARY: &'static str = "Sets and removes headers, and answers CORS.";

    fn new(mut config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        let requests = "/custom-request-headers";
        leave_out_hops(requests, &mut config.custom_request_headers);
        leave_out_hops("/custom-response-headers", &mut config.custom_response_headers);
        // A request always has one, so removing it means nothing; setting it is setting the host.
        config.custom_request_headers.retain(|name, value| !is_host(name) || !value.is_empty());
        check(&mut invalid, requests, &config.custom_request_headers, is_host);
        check(&mut invalid, "/custom-response-headers", &config.custom_response_headers, |_| false);
        Security(&config).check(&mut invalid);
        let origins = Origins::of(&config, &mut invalid);
        Cors { config: &config, is_called: false }.check(&mut invalid);
        invalid.or(Self { config, origins })
    }
}

impl Headers {
    fn cors(&self) -> Cors<'_> {
        Cors { config: &self.config, is_called: self.origins.is_some() }
    }
}

impl Middleware for Headers {
    // The order is Traefik's: a preflight is answered before anything else, and a custom header has
    // the last word over a security header of the same name.
    fn interest(&self) -> Interest {
        let config = &self.config;
        let interest = self.cors().preflight(Interest::default());
        let interest = Security(config).allowed_hosts(interest);
        let interest = interest.always(request_actions(&config.custom_request_headers));
        let interest = Security(config).plan(interest);
        let interest = interest.always(response_actions(&config.custom_response_headers));
        let interest = self.cors().actual(interest);
        match self.origins {
            None => interest.planned(),
            Some(_) => interest
                .when(Predicate::has_header("origin"))
                .request_headers(["origin"])
                .response_headers(["access-control-allow-origin"]),
        }
    }
}

impl OnRequest for Headers {
    fn on_request(&self, request: &Request) -> Verdict {
        let (Some(origins), Some(origin)) = (&self.origins, request.slot(ORIGIN)) else {
            return Verdict::proceed();
        };
        let is_allowed = origins.allow(&origin);
        let asks = || request.header("access-control-request-method").is_some();
        if request.method() == "OPTIONS" && asks() {
            let answer = self.cors().answer();
            return match is_allowed {
                true => answer.header("access-control-allow-origin", origin).into(),
                false => answer.into(),
            };
        }
        if is_allowed { Verdict::with_response(0) } else { Verdict::proceed() }
    }
}

impl OnResponseSlots for Headers {
    fn on_response(&self, _: u64, request: &Slots, response: &mut Slots) -> ResponseVerdict {
        if let Some(origin) = request.slot(ORIGIN) {
            response.set_slot(ORIGIN, origin);
        }
        ResponseVerdict::Proceed
    }
}

register!(Headers: Middleware + OnRequest + OnResponseSlots);

/// Headers that belong to a connection, ours to the backend or the client's to us, are our own; people
/// copy them from where a proxy has to be told to keep a WebSocket open. They are left out, with a
/// word in the log.
fn leave_out_hops(option: &str, headers: &mut BTreeMap<String, String>) {
    headers.retain(|name, _| {
        let is_hop = HOPS.iter().any(|hop| name.eq_ignore_ascii_case(hop));
        if is_hop {
            let place = format!("{option}/{}", Invalid::segment(name));
            log::warn("left out a header that belongs to the connection", &[("option", &place)]);
        }
        !is_hop
    });
}

const HOPS: [&str; 7] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn is_host(name: &str) -> bool {
    name.eq_ignore_ascii_case("host")
}

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

fn check(
    invalid: &mut Invalid,
    option: &str,
    headers: &BTreeMap<String, String>,
    is_good: fn(&str) -> bool,
) {
    for (name, value) in headers {
        let place = || format!("{option}/{}", Invalid::segment(name));
        if !is_good(name) {
            invalid.check(place, header::check_name(name));
        }
        invalid.check(place, header::check_value(value));
    }
}

#[cfg(test)]
mod tests;
