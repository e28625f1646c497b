//! Who may pass is decided by another server: Traefik's `forwardAuth`. What it is asked, and what its
//! answer means for the request; that it is asked is somebody else's work.
//!
//! **Invariant:** of the headers that the authority may set, a request that goes on has what the
//! authority said and nothing that the client did, in whatever way it spells them.

mod question;
mod answer;
mod location;
#[cfg(test)]
mod tests;

use std::{collections::HashSet, sync::Arc, time::Duration};

use http::{
    HeaderName, HeaderValue, Uri,
    header::{EXPECT, HOST},
    uri::PathAndQuery,
};

use crate::{
    backend::{Backend, Scheme},
    exchange::is_of_connection,
    item::Health,
    name::ObjectName,
    pattern::Pattern,
    policy::{LoadBalancer, Passive, PemTexts, Retry, Timeouts, Transport},
    service::Service,
    target::{Target, read_url},
};

/// How long an authority may take for its whole answer (Traefik's 30 s).
const LIMIT: Duration = Duration::from_secs(30);

/// What is configured. The meanings are those of Traefik's options.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Options {
    /// The URL of the authority: `http` or `https`.
    pub address: String,
    /// Whom it must be signed by, and what it is shown of us.
    pub texts: PemTexts,
    /// Whether any certificate of it will do.
    pub insecure_skip_verify: bool,
    /// What becomes of what is said already of the client by `X-Forwarded-…`. `Some(true)`: it is told to
    /// the authority. `Some(false)`: nothing of it is. `None`: only that of which we know better is not.
    pub trust_forward_header: Option<bool>,
    /// The headers that it sets for the backend.
    pub response_headers: Vec<HeaderName>,
    /// The same by a regular expression on the name, written `Like-This`, that need not fit all of it.
    pub response_headers_regex: Option<String>,
    /// The headers that it is told; none: all.
    pub request_headers: Vec<HeaderName>,
    /// The cookies that it sets for the client where it lets a request pass.
    pub cookies: Vec<String>,
    /// The most bytes of the client's body that it is given; `None`: it is given none.
    pub body: Option<u64>,
    /// The most bytes of its body that are handed on to the client.
    pub max_answer: u64,
    /// The header in which it names the user, for the access log.
    pub user: Option<HeaderName>,
    /// Whether its `Location` is handed on as it is.
    pub preserve_location: bool,
    /// Whether it is asked by the method of the request, and not by `GET`.
    pub preserve_method: bool,
    /// Where clients are sent in place of its 401.
    pub sign_in: Option<HeaderValue>,
}

/// An authority, and how it is asked.
#[derive(Debug)]
pub struct ForwardAuth {
    options: Options,
    /// The URL of the authority.
    address: Uri,
    target: Target,
    service: Service,
    pattern: Option<Pattern>,
}

impl ForwardAuth {
    /// Makes sense of what is configured.
    ///
    /// # Errors
    ///
    /// One sentence on what makes none.
    pub fn new(mut options: Options) -> Result<Self, String> {
        let address = read_url(&options.address)?;
        let target = address.path_and_query().cloned();
        let target = Target::parse(target.unwrap_or(PathAndQuery::from_static("/")));
        let target = target.map_err(|bad| format!("`{}`: {bad}", options.address))?;
        let pattern =
            options.response_headers_regex.as_deref().map(Pattern::compile).transpose()?;
        for names in [&mut options.response_headers, &mut options.request_headers] {
            let mut seen = HashSet::new();
            names.retain(|name| !is_ours(name) && seen.insert(name.clone()));
        }
        let service = service(&address, &options)?;
        Ok(Self { options, address, target, service, pattern })
    }

    /// The authority as a service that no router leads to.
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// What is configured.
    pub fn options(&self) -> &Options {
        &self.options
    }
}

/// Of a connection or of its message, and not what one says of a client.
fn is_ours(name: &HeaderName) -> bool {
    is_of_connection(name) || *name == HOST || *name == EXPECT
}

/// One backend, which is asked however often it failed: nobody else could be.
fn service(address: &Uri, options: &Options) -> Result<Service, String> {
    let authority = address.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    let scheme = address.scheme_str().and_then(Scheme::parse).unwrap_or_default();
    let backend = Backend {
        scheme,
        authority: authority.into(),
        path: None,
        weight: 1,
        health: Health::Passing,
        origin: "forward-auth".into(),
        figures: Arc::default(),
    };
    let load_balancer = LoadBalancer {
        pass_host_header: false,
        passive: Passive { enabled: false, ..Passive::default() },
        retry: Retry { attempts: 1, ..Retry::default() },
        timeouts: Timeouts { total: Some(LIMIT), ..Timeouts::default() },
        ..LoadBalancer::default()
    };
    let name = ObjectName::new(authority, "forward-auth");
    let mut service = Service::new(name, load_balancer, vec![backend]);
    let transport = Transport {
        texts: options.texts.clone(),
        insecure_skip_verify: options.insecure_skip_verify,
        ..Transport::default()
    };
    if transport != Transport::default() {
        service.transport = Some(transport.numbered());
    }
    Ok(service)
}

/// The name of a header as Go writes it: `X-Auth-User`.
fn canonical(name: &str) -> String {
    let mut begins = true;
    let letters = name.chars().map(|letter| match std::mem::replace(&mut begins, letter == '-') {
        true => letter.to_ascii_uppercase(),
        false => letter.to_ascii_lowercase(),
    });
    letters.collect()
}
