//! `basic-auth`: lets in only those who know a name and its password (RFC 7617).
//!
//! Reading order: the middleware here, [`users`] (who is who), [`password`] (hashes as `htpasswd`
//! writes them).
//!
//! **Invariant:** whether a name exists cannot be told from the answer, nor from how long it takes.

mod md5_crypt;
mod password;
mod users;

use std::time::Duration;

use base64::{
    Engine as _,
    alphabet::STANDARD,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use portolan_plugin::{
    Interest, Invalid, Middleware, OnRequest, Plugin, Reply, Request, Verdict, entropy, header,
    log, register,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::users::Users;

/// `[http.middlewares.<name>.basic-auth]`
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// Lines as `htpasswd` writes them: `name:hash`, with bcrypt, apr1-MD5 or SHA-1. A user with
    /// another hash, or a bcrypt cost above 14, never gets in.
    #[serde(default)]
    users: Vec<String>,
    /// A file of such lines, read again when it changes. Of a name that stands in both, `users` has
    /// the password that counts.
    #[schemars(extend("x-content-of" = "file"))]
    #[serde(default)]
    users_file: Option<String>,
    /// What the browser shows when it asks for a password.
    #[serde(default = "portolan")]
    realm: String,
    /// Keeps the credentials from the backend.
    #[serde(default)]
    remove_header: bool,
    /// A header that tells the backend the name.
    #[serde(default)]
    header_field: String,
}

fn portolan() -> String {
    "portolan".to_owned()
}

struct BasicAuth {
    users: Users,
    challenge: String,
    remove_header: bool,
    header_field: String,
}

/// The places of headers among the slots that the interest declares.
const AUTHORIZATION: u32 = 0;
const NAME: u32 = 1;

impl Plugin for BasicAuth {
    type Config = Config;
    const NAME: &'static str = "basic-auth";
    const SUMMARY: &'static str = "Asks for a name and a password.";
    // bcrypt at the highest cost that is taken, on a slow machine that has other things to do.
    const HOOK_TIME_LIMIT: Option<Duration> = Some(Duration::from_secs(10));

    fn new(config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        let file = config.users_file.as_deref();
        let users = Users::parse(&config.users, file, entropy::fill(32), &mut invalid);
        if config.realm.contains(['"', '\\']) {
            invalid.add("/realm", "a realm cannot hold quotes and backslashes");
        }
        invalid.check(|| "/realm".to_owned(), header::check_value(&config.realm));
        if !config.header_field.is_empty() {
            invalid.check(|| "/header-field".to_owned(), header::check_name(&config.header_field));
        }
        tell_who_is_kept_out(&users);
        invalid.or(Self {
            users,
            challenge: format!("Basic realm=\"{}\", charset=\"UTF-8\"", config.realm),
            remove_header: config.remove_header,
            header_field: config.header_field,
        })
    }
}

impl Middleware for BasicAuth {
    fn interest(&self) -> Interest {
        let name = Some(self.header_field.as_str()).filter(|name| !name.is_empty());
        Interest::default().request_headers(["authorization"].into_iter().chain(name))
    }
}

impl OnRequest for BasicAuth {
    fn on_request(&self, request: &Request) -> Verdict {
        let credentials = request.slot(AUTHORIZATION).and_then(|value| credentials(&value));
        let admitted = credentials.as_ref();
        let admitted = admitted.and_then(|(name, password)| self.users.admit(name, password));
        let Some(name) = admitted else {
            // For the access log, by which others ban who guesses, as Traefik tells it. A name that is
            // too long for that is none.
            if let Some((name, _)) = &credentials {
                request.set_attribute("auth.claimed", name).ok();
            }
            let reply = Reply::new(401).header("www-authenticate", self.challenge.as_str());
            return reply.text("401 Unauthorized\n").into();
        };
        match self.introduce(request, name) {
            Ok(()) => Verdict::proceed(),
            Err(error) => Verdict::Fail(error.to_string()),
        }
    }
}

impl BasicAuth {
    /// Tells those further in who it is.
    fn introduce(&self, request: &Request, name: &str) -> Result<(), portolan_plugin::HeadError> {
        request.set_attribute("auth.subject", name.as_bytes())?;
        if !self.header_field.is_empty() {
            request.set_slot(NAME, name.as_bytes())?;
        }
        if self.remove_header {
            request.remove_header("authorization")?;
        }
        Ok(())
    }
}

/// Users that are told of; the others are counted.
const TOLD: usize = 3;

fn tell_who_is_kept_out(users: &Users) {
    for (name, reason) in users.kept_out().take(TOLD) {
        log::warn("a user never gets in", &[("user", &name), ("reason", &reason)]);
    }
    let more = users.kept_out().count().saturating_sub(TOLD);
    if more > 0 {
        log::warn("more users never get in", &[("count", &more)]);
    }
    if users.is_empty() {
        log::warn("there is no user with a password, so nobody gets in", &[]);
    }
}

register!(BasicAuth: Middleware + OnRequest);

/// Some clients leave out the padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Name and password of an `authorization` header; none if it is of another scheme, or broken.
fn credentials(value: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let (scheme, encoded) = std::str::from_utf8(value).ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut name = BASE64.decode(encoded.trim()).ok()?;
    // The first colon ends the name; a password may hold more.
    let colon = name.iter().position(|&byte| byte == b':')?;
    let password = name.split_off(colon).into_iter().skip(1).collect();
    Some((name, password))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_base64_with_a_colon() {
        let check = |value: &str, expected: Option<(&str, &str)>| {
            let expected =
                expected.map(|(name, password)| (name.as_bytes().to_vec(), password.into()));
            assert_eq!(credentials(value.as_bytes()), expected, "{value}");
        };
        check("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==", Some(("Aladdin", "open sesame")));
        check("basic QWxhZGRpbjpvcGVuIHNlc2FtZQ", Some(("Aladdin", "open sesame")));
        check("Basic YTpiOmM=", Some(("a", "b:c")));
        check("Basic Og==", Some(("", "")));
        check("Basic YWI=", None);
        check("Basic ???", None);
        check("Bearer YTpi", None);
        check("Basic", None);
        check("", None);
    }
}
