//! What is wrong with a configuration, at its place.

use portolan_plugin::{Invalid, header};
use regex_lite::Regex;

use super::{Config, Tls};

/// Checks a configuration, and leaves out what says nothing.
pub(crate) fn config(config: &mut Config, invalid: &mut Invalid) {
    invalid.check(|| "/address".to_owned(), address(&config.address));
    let lists = [
        ("/auth-response-headers", &mut config.auth_response_headers),
        ("/auth-request-headers", &mut config.auth_request_headers),
    ];
    for (option, names) in lists {
        for (place, name) in names.iter().enumerate() {
            if !name.trim().is_empty() && !header::is_token(name.trim()) {
                invalid.add(format!("{option}/{place}"), no_name(name));
            }
        }
        tidy(names);
    }
    tidy(&mut config.add_auth_cookies_to_response);
    let pattern = &config.auth_response_headers_regex;
    if let Err(error) = Regex::new(pattern) {
        invalid.add("/auth-response-headers-regex", format!("`{pattern}`: {error}"));
    }
    let name = &config.header_field;
    if !name.is_empty() && !header::is_token(name) {
        invalid.add("/header-field", no_name(name));
    }
    let url = &config.auth_signin_url;
    invalid.check(|| "/auth-signin-url".to_owned(), header::check_value(url));
    if let Some(tls) = &config.tls {
        self::tls(tls, invalid);
    }
}

/// Lists in tags have blanks behind their commas.
fn tidy(list: &mut Vec<String>) {
    list.iter_mut().for_each(|text| *text = text.trim().to_owned());
    list.retain(|text| !text.is_empty());
}

fn no_name(name: &str) -> String {
    format!("`{name}` is no header name")
}

fn address(address: &str) -> Result<(), String> {
    if address.is_empty() {
        return Err("the URL of the server that is asked is missing".to_owned());
    }
    let rest = address.split_once("://").filter(|(scheme, _)| {
        scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https")
    });
    let Some((_, rest)) = rest else {
        return Err(format!("`{address}` is no URL of `http://` or `https://`"));
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        // It would be shown wherever the configuration is.
        return Err("a URL with a user in it is not supported".to_owned());
    }
    let is_host = |host: &str| {
        !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._[]:%".contains(&byte))
    };
    match is_host(authority) && !authority.starts_with(':') {
        true => Ok(()),
        false => Err(format!("`{address}` names no server")),
    }
}

fn tls(tls: &Tls, invalid: &mut Invalid) {
    let missing = match (tls.cert.is_empty(), tls.key.is_empty()) {
        (false, true) => Some(("/tls/cert", "`cert` needs its `key`")),
        (true, false) => Some(("/tls/key", "`key` needs its `cert`")),
        _ => None,
    };
    if let Some((option, message)) = missing {
        invalid.add(option, message);
    }
    let texts = [
        ("/tls/ca", &tls.ca, "CERTIFICATE-----"),
        ("/tls/cert", &tls.cert, "CERTIFICATE-----"),
        ("/tls/key", &tls.key, "PRIVATE KEY-----"),
    ];
    for (option, text, wanted) in texts {
        if !text.is_empty() && !text.contains(wanted) {
            let what = if wanted.starts_with('C') { "certificate" } else { "private key" };
            invalid.add(option, format!("there is no {what} in PEM in it"));
        }
    }
}
