//! `forward-auth`: another server decides whether a request may pass, as Authelia, Authentik and
//! oauth2-proxy do. All plan: the host asks, and this never runs for a request.

mod check;

use portolan_plugin::{Action, ForwardAuth, Interest, Invalid, Middleware, Plugin, log, register};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.forward-auth]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// The URL of the server that is asked.
    address: String,
    /// How it is known, where it speaks TLS.
    tls: Option<Tls>,
    /// Whether it is told what proxies before us say of the client (`X-Forwarded-…`).
    trust_forward_header: Option<bool>,
    /// Headers of its answer that the backend gets. What a client sends of them is removed.
    auth_response_headers: Vec<String>,
    /// The same by a regular expression on their names, written `Like-This`.
    auth_response_headers_regex: String,
    /// Headers of the request that it is told. Left out: all.
    auth_request_headers: Vec<String>,
    /// Cookies of its answer that the client gets, in place of the backend's.
    add_auth_cookies_to_response: Vec<String>,
    /// Whether it is given the body of the request.
    forward_body: bool,
    /// How long that may be, in bytes; of more, the answer is 401.
    max_body_size: Option<i64>,
    /// How long its own body may be, in bytes; of more, the answer is 401.
    max_response_body_size: Option<i64>,
    /// The header of its answer that names the user, for the access log.
    header_field: String,
    /// Whether its `Location` is handed on as it is, and not made relative to it.
    preserve_location_header: bool,
    /// Whether it is asked by the method of the request, and not by GET.
    preserve_request_method: bool,
    /// Where clients are sent in place of its 401.
    #[serde(rename = "auth-signin-url")]
    auth_signin_url: String,
}

/// How a server is known, and what it is shown.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Tls {
    /// A file of authorities in place of the system's, in PEM.
    #[schemars(extend("x-content-of" = "file-or-pem"))]
    ca: String,
    /// A file of the certificate that it is shown, in PEM.
    #[schemars(extend("x-content-of" = "file-or-pem"))]
    cert: String,
    /// A file of the private key for that, in PEM.
    #[schemars(extend("x-content-of" = "file-or-pem"))]
    key: String,
    /// Whether any certificate will do.
    insecure_skip_verify: bool,
    /// Traefik's; without effect.
    ca_optional: Option<bool>,
}

struct Authority(Config);

/// What is kept of a body in memory where nothing else is said.
const USUAL_BODY: u64 = 4 << 20;

impl Plugin for Authority {
    type Config = Config;
    const NAME: &'static str = "forward-auth";
    const SUMMARY: &'static str = "Asks another server whether a request may pass.";

    fn new(mut config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        check::config(&mut config, &mut invalid);
        config.tell_what_has_no_effect();
        invalid.or(Self(config))
    }
}

impl Config {
    fn tell_what_has_no_effect(&self) {
        let no_effect = |option: &str| log::warn("an option has no effect", &[("option", &option)]);
        if self.tls.as_ref().is_some_and(|tls| tls.ca_optional.is_some()) {
            no_effect("/tls/ca-optional");
        }
        let sizes = [
            ("/max-body-size", self.max_body_size, self.forward_body),
            ("/max-response-body-size", self.max_response_body_size, true),
        ];
        for (option, size, is_used) in sizes {
            if !is_used && size.is_some() {
                no_effect(option);
            }
            if is_used && size.is_some_and(|size| size < 0) {
                let fields: [(&str, &dyn std::fmt::Display); 2] =
                    [("option", &option), ("bytes", &USUAL_BODY)];
                log::warn("there is no body without a limit", &fields);
            }
        }
    }
}

impl Middleware for Authority {
    fn interest(&self) -> Interest {
        Interest::plan([Action::ForwardAuth(self.asked())])
    }
}

impl Authority {
    /// What the host is to do.
    fn asked(&self) -> ForwardAuth {
        let config = &self.0;
        let tls = config.tls.as_ref();
        let pem = |of: fn(&Tls) -> &String| tls.map(of).and_then(|text| some(text));
        ForwardAuth {
            address: config.address.clone(),
            tls_authorities: pem(|tls| &tls.ca),
            tls_certificate: pem(|tls| &tls.cert).zip(pem(|tls| &tls.key)),
            insecure_skip_verify: tls.is_some_and(|tls| tls.insecure_skip_verify),
            trust_forward_header: config.trust_forward_header,
            response_headers: config.auth_response_headers.clone(),
            response_headers_regex: some(&config.auth_response_headers_regex),
            request_headers: config.auth_request_headers.clone(),
            cookies: config.add_auth_cookies_to_response.clone(),
            max_body: config.forward_body.then(|| size(config.max_body_size)),
            max_answer: size(config.max_response_body_size),
            user_header: some(&config.header_field),
            preserve_location: config.preserve_location_header,
            preserve_method: config.preserve_request_method,
            sign_in: some(&config.auth_signin_url),
        }
    }
}

fn some(text: &str) -> Option<String> {
    Some(text).filter(|text| !text.is_empty()).map(str::to_owned)
}

/// Traefik's -1 is no limit, which is not to be had.
fn size(size: Option<i64>) -> u64 {
    size.and_then(|size| u64::try_from(size).ok()).unwrap_or(USUAL_BODY)
}

register!(Authority: Middleware);

#[cfg(test)]
mod tests;
