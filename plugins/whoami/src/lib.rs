//! `whoami`: answers by itself with what it was asked, as the image `traefik/whoami` does. A router
//! with it needs no service.

use std::collections::BTreeMap;

use portolan_plugin::{
    Invalid, Middleware, OnRequest, Plugin, Reply, Request, Verdict, Version, register,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[http.middlewares.<name>.whoami]`
#[derive(Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// A name to answer with, to tell several apart.
    name: String,
}

struct Whoami(Config);

impl Plugin for Whoami {
    type Config = Config;
    const NAME: &'static str = "whoami";
    const SUMMARY: &'static str = "Answers with the request that it got.";

    fn new(config: Config) -> Result<Self, Invalid> {
        Ok(Self(config))
    }
}

impl Middleware for Whoami {}

impl OnRequest for Whoami {
    fn on_request(&self, request: &Request) -> Verdict {
        let seen = Seen::new(&self.0.name, request);
        let reply = Reply::new(200).header("cache-control", "no-store");
        let reply = match wants_json(&request.path(), request.header("accept").as_deref()) {
            true => reply.body("application/json", seen.json()),
            false => reply.text(seen.text()),
        };
        reply.into()
    }
}

register!(Whoami: Middleware + OnRequest);

/// What is told. The order of the fields is that of `traefik/whoami`'s JSON.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Seen {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    headers: BTreeMap<String, Vec<String>>,
    url: String,
    host: String,
    method: String,
    #[serde(skip)]
    version: &'static str,
    remote_addr: String,
    router: String,
}

impl Seen {
    fn new(name: &str, request: &Request) -> Self {
        let mut headers: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for header in request.all() {
            // Told apart from the rest: in HTTP/2 there is none.
            if !header.name.eq_ignore_ascii_case("host") {
                let value = String::from_utf8_lossy(&header.value).into_owned();
                headers.entry(canonical(&header.name)).or_default().push(value);
            }
        }
        let peer = request.peer();
        let address = match peer.address.contains(':') {
            true => format!("[{}]:{}", peer.address, peer.port),
            false => format!("{}:{}", peer.address, peer.port),
        };
        Self {
            name: name.to_owned(),
            headers,
            url: request.target(),
            host: request.authority(),
            method: request.method(),
            version: version(request.version()),
            remote_addr: address,
            router: request.router(),
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        if !self.name.is_empty() {
            line(&mut text, "Name", &self.name);
        }
        line(&mut text, "Router", &self.router);
        line(&mut text, "RemoteAddr", &self.remote_addr);
        text.push_str(&format!("{} {} {}\n", self.method, self.url, self.version));
        line(&mut text, "Host", &self.host);
        for (name, values) in &self.headers {
            for value in values {
                line(&mut text, name, value);
            }
        }
        text
    }

    fn json(&self) -> String {
        portolan_plugin::to_json(self)
    }
}

fn line(text: &mut String, name: &str, value: &str) {
    text.extend([name, ": ", value, "\n"]);
}

fn wants_json(path: &str, accept: Option<&[u8]>) -> bool {
    let accept = accept.map(String::from_utf8_lossy).unwrap_or_default();
    path == "/api" || accept.split(',').any(|kind| kind.trim().starts_with("application/json"))
}

fn version(version: Version) -> &'static str {
    match version {
        Version::Http10 => "HTTP/1.0",
        Version::Http11 => "HTTP/1.1",
        Version::Http2 => "HTTP/2.0",
    }
}

/// `user-agent` as Go writes it, and so `traefik/whoami`: `User-Agent`.
fn canonical(name: &str) -> String {
    let mut start = true;
    let upper = |letter: char| {
        let upper = if start { letter.to_ascii_uppercase() } else { letter };
        start = letter == '-';
        upper
    };
    name.chars().map(upper).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen() -> Seen {
        Seen {
            name: String::new(),
            headers: BTreeMap::from([
                ("Accept".to_owned(), vec!["*/*".to_owned()]),
                ("X-Forwarded-For".to_owned(), vec!["10.0.0.1".to_owned(), "10.0.0.2".to_owned()]),
            ]),
            url: "/a?b=c".to_owned(),
            host: "whoami.local".to_owned(),
            method: "GET".to_owned(),
            version: "HTTP/1.1",
            remote_addr: "127.0.0.1:40000".to_owned(),
            router: "whoami@config".to_owned(),
        }
    }

    #[test]
    fn the_text_is_the_request_as_it_came() {
        let expected = "Router: whoami@config\nRemoteAddr: 127.0.0.1:40000\nGET /a?b=c HTTP/1.1\n\
            Host: whoami.local\nAccept: */*\nX-Forwarded-For: 10.0.0.1\nX-Forwarded-For: 10.0.0.2\n";
        assert_eq!(seen().text(), expected);
    }

    #[test]
    fn a_name_stands_first() {
        let named = Seen { name: "blue".to_owned(), ..seen() };
        assert!(named.text().starts_with("Name: blue\n"));
        assert!(named.json().starts_with(r#"{"name":"blue","#));
    }

    #[test]
    fn the_json_has_the_keys_of_the_image() {
        assert_eq!(
            seen().json(),
            r#"{"headers":{"Accept":["*/*"],"X-Forwarded-For":["10.0.0.1","10.0.0.2"]},"url":"/a?b=c","host":"whoami.local","method":"GET","remoteAddr":"127.0.0.1:40000","router":"whoami@config"}"#
        );
    }

    #[test]
    fn json_is_for_those_who_ask_for_it() {
        assert!(wants_json("/api", None));
        assert!(wants_json("/", Some(b"text/html, application/json;q=0.9")));
        assert!(!wants_json("/", Some(b"*/*")));
        assert!(!wants_json("/apis", None));
    }

    #[test]
    fn header_names_look_as_in_go() {
        assert_eq!(canonical("x-forwarded-for"), "X-Forwarded-For");
        assert_eq!(canonical("etag"), "Etag");
    }
}
