//! `headers`: sets and removes headers of requests and responses, the security headers among them,
//! and answers CORS. All plan, but where origins are many or given as regular expressions.
//!
//! Reading order: the configuration here, then [`custom`], and [`security`] and [`cors`], the parts
//! with conditions.

mod cors;
mod custom;
mod security;

use std::collections::BTreeMap;

use portolan_plugin::{
    Interest, Invalid, Middleware, OnRequest, OnResponseSlots, Plugin, Predicate, Request,
    ResponseVerdict, Slots, Verdict, log, register,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{
    cors::{Cors, Origins},
    custom::Custom,
    security::Security,
};

/// `[http.middlewares.<name>.headers]`. Names and meanings are those of Traefik.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// Headers for the backend, `host` among them. An empty value removes the header.
    custom_request_headers: Custom,
    /// Headers for the client. An empty value removes the header.
    custom_response_headers: Custom,

    /// Hosts that are answered; others get 400. Empty: all.
    allowed_hosts: Vec<String>,
    /// Headers in which a proxy before us says what the host was.
    hosts_proxy_headers: Vec<String>,
    /// Headers, and the value with which a proxy before us says that the client came by https.
    ssl_proxy_headers: BTreeMap<String, String>,
    /// Leaves out what is of no use on one's own machine: `allowed-hosts`, and what is for https.
    is_development: bool,

    /// Seconds for which browsers use nothing but https (`strict-transport-security`). 0, or less:
    /// not said.
    sts_seconds: i64,
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
    /// Seconds for which browsers remember the answer; `-1`: not at all.
    access_control_max_age: i64,
    /// Adds `vary: Origin`, which caches need when the answer depends on the origin.
    add_vary_header: bool,

    /// Without effect, as in Traefik 3: `redirect` of an entrypoint does it.
    ssl_redirect: Option<bool>,
    /// Without effect, as in Traefik 3: `redirect` of an entrypoint does it.
    ssl_temporary_redirect: Option<bool>,
    /// Without effect, as in Traefik 3.
    ssl_host: Option<String>,
    /// Without effect, as in Traefik 3: `redirect-scheme` does it.
    ssl_force_host: Option<bool>,
    /// Without effect, as in Traefik 3: `permissions-policy` took its place.
    feature_policy: Option<String>,
}

#[derive(Debug)]
struct Headers {
    config: Config,
    /// Looked up by the hooks; `None`: all is plan.
    origins: Option<Origins>,
    /// What `custom-response-headers` says of the header that the hooks set, for when they do not.
    /// The plan comes after the hooks, and would have the last word.
    otherwise: Option<String>,
}

/// The place of `origin` and [`ALLOWED`] among the slots.
const ORIGIN: u32 = 0;

const ALLOWED: &str = "access-control-allow-origin";

/// What the response hook is called for.
const SET_ORIGIN: u64 = 0;
const SET_CUSTOM: u64 = 1;

impl Plugin for Headers {
    type Config = Config;
    const NAME: &'static str = "headers";
    const SUMMARY: &'static str = "Sets and removes headers, and answers CORS.";

    fn new(mut config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        config.tell_what_has_no_effect();
        custom::check_request(&mut config.custom_request_headers, &mut invalid);
        custom::check_response(&mut config.custom_response_headers, &mut invalid);
        Security(&config).check(&mut invalid);
        let origins = Origins::of(&config, &mut invalid);
        Cors { config: &config, is_called: false }.check(&mut invalid);
        let is_ours = |name: &String, _: &mut String| name.eq_ignore_ascii_case(ALLOWED);
        let otherwise = origins.as_ref().and_then(|_| {
            config.custom_response_headers.extract_if(.., is_ours).map(|(_, value)| value).last()
        });
        invalid.or(Self { config, origins, otherwise })
    }
}

impl Config {
    fn tell_what_has_no_effect(&self) {
        let asked = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
        let options = [
            ("/ssl-redirect", self.ssl_redirect == Some(true)),
            ("/ssl-temporary-redirect", self.ssl_temporary_redirect == Some(true)),
            ("/ssl-host", asked(&self.ssl_host)),
            ("/ssl-force-host", self.ssl_force_host == Some(true)),
            ("/feature-policy", asked(&self.feature_policy)),
        ];
        for (option, _) in options.iter().filter(|(_, is_asked)| *is_asked) {
            log::warn("an option has no effect", &[("option", option)]);
        }
    }
}

impl Headers {
    fn cors(&self) -> Cors<'_> {
        Cors { config: &self.config, is_called: self.origins.is_some() }
    }

    /// What becomes of a request from an origin that is looked up.
    fn look_up(&self, origins: &Origins, origin: &[u8], is_preflight: bool) -> Verdict {
        let is_allowed = origins.allow(origin);
        match (is_allowed, &self.otherwise) {
            (true, _) if is_preflight => self.cors().answer().header(ALLOWED, origin).into(),
            (false, _) if is_preflight => self.cors().answer().into(),
            (true, _) => Verdict::with_response(SET_ORIGIN),
            (false, Some(_)) => Verdict::with_response(SET_CUSTOM),
            (false, None) => Verdict::proceed(),
        }
    }
}

impl Middleware for Headers {
    // The order is Traefik's: a preflight is answered before anything else, a custom header has
    // the last word over a security header of the same name, and CORS over both.
    fn interest(&self) -> Interest {
        let config = &self.config;
        let interest = self.cors().preflight(Interest::default());
        let interest = Security(config).allowed_hosts(interest);
        let interest = interest.always(custom::request_actions(&config.custom_request_headers));
        let interest = Security(config).plan(interest);
        let interest = interest.always(custom::response_actions(&config.custom_response_headers));
        let interest = match &self.otherwise {
            Some(value) => interest.step(
                Predicate::has_header("origin").not(),
                [custom::response_action(ALLOWED, value)],
            ),
            None => interest,
        };
        let interest = self.cors().actual(interest);
        match self.origins {
            None => interest.planned(),
            Some(_) => cors::but_for_preflights(&interest)
                .when(Predicate::has_header("origin"))
                .request_headers(["origin"])
                .response_headers([ALLOWED]),
        }
    }
}

impl OnRequest for Headers {
    fn on_request(&self, request: &Request) -> Verdict {
        let (Some(origins), Some(origin)) = (&self.origins, request.slot(ORIGIN)) else {
            return Verdict::proceed();
        };
        let asks = || request.header("access-control-request-method").is_some();
        self.look_up(origins, &origin, request.method() == "OPTIONS" && asks())
    }
}

impl OnResponseSlots for Headers {
    fn on_response(&self, context: u64, request: &Slots, response: &mut Slots) -> ResponseVerdict {
        let origin = request.slot(ORIGIN).filter(|_| context == SET_ORIGIN);
        match (origin, self.otherwise.as_deref()) {
            (Some(origin), _) => response.set_slot(ORIGIN, origin),
            (None, Some("")) => response.remove_slot(ORIGIN),
            (None, Some(custom)) => response.set_slot(ORIGIN, custom.as_bytes()),
            (None, None) => {}
        }
        ResponseVerdict::Proceed
    }
}

register!(Headers: Middleware + OnRequest + OnResponseSlots);

#[cfg(test)]
mod tests;
