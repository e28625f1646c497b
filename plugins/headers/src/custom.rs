//! Headers that are written out: set, or removed where the value is empty.

use std::collections::BTreeMap;

use portolan_plugin::{Action, Invalid, header, log};

/// `custom-request-headers` or `custom-response-headers`.
pub(crate) type Custom = BTreeMap<String, String>;

/// Leaves out what is of no use, with a word in the log, and adds to `invalid` what is wrong.
pub(crate) fn check_request(headers: &mut Custom, invalid: &mut Invalid) {
    const OPTION: &str = "/custom-request-headers";
    leave_out(OPTION, headers, |_| false);
    // A request always has a host, so removing it means nothing; setting it is setting the host.
    headers.retain(|name, value| !name.eq_ignore_ascii_case("host") || !value.is_empty());
    check(OPTION, headers, invalid);
}

/// The same for what clients are sent, where a `host` says nothing to anybody.
pub(crate) fn check_response(headers: &mut Custom, invalid: &mut Invalid) {
    const OPTION: &str = "/custom-response-headers";
    leave_out(OPTION, headers, |name| name.eq_ignore_ascii_case("host"));
    check(OPTION, headers, invalid);
}

pub(crate) fn request_actions(headers: &Custom) -> Vec<Action> {
    let action = |(name, value): (&String, &String)| match value.as_str() {
        "" => Action::RemoveRequestHeader(name.clone()),
        value => Action::set_request_header(name.as_str(), value),
    };
    headers.iter().map(action).collect()
}

pub(crate) fn response_actions(headers: &Custom) -> Vec<Action> {
    headers.iter().map(|(name, value)| response_action(name, value)).collect()
}

pub(crate) fn response_action(name: &str, value: &str) -> Action {
    match value {
        "" => Action::RemoveResponseHeader(name.to_owned()),
        value => Action::set_response_header(name, value),
    }
}

/// Headers that belong to a connection, ours to the backend or the client's to us, are our own, as is
/// the length of a body. People copy them from where a proxy has to be told to keep a WebSocket open,
/// or from lists of what is better removed.
fn leave_out(option: &str, headers: &mut Custom, is_useless: fn(&str) -> bool) {
    headers.retain(|name, _| {
        let is_own = OWN.iter().any(|own| name.eq_ignore_ascii_case(own)) || is_useless(name);
        if is_own {
            let place = format!("{option}/{}", Invalid::segment(name));
            log::warn("left out a header that Portolan itself sets", &[("option", &place)]);
        }
        !is_own
    });
}

const OWN: [&str; 10] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

fn check(option: &str, headers: &Custom, invalid: &mut Invalid) {
    for (name, value) in headers {
        let place = || format!("{option}/{}", Invalid::segment(name));
        if !header::is_token(name) {
            invalid.add(place(), format!("`{name}` is no header name"));
        }
        invalid.check(place, header::check_value(value));
    }
}
