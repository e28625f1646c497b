//! What tags say that is not read: of TCP and UDP, as Traefik 1 had it, and what nobody knows.
//!
//! What belongs together is told once for an instance, not once for each tag.

use std::collections::BTreeSet;

use super::normalize;
use crate::fault::fold;

/// Tags of an instance that are understood, and of no use here.
#[derive(Debug, Default)]
pub(super) struct Unread<'a> {
    tcp: Protocol<'a>,
    udp: Protocol<'a>,
    /// Those of Traefik 1: key, path behind the prefix, value.
    ancient: Vec<(&'a str, &'a str, &'a str)>,
}

/// What Traefik 1 had for a service as a whole.
const ANCIENT: [&str; 7] = ["port", "protocol", "weight", "backend", "frontend", "domain", "tags"];

/// What is said of a protocol other than HTTP.
#[derive(Debug, Default)]
struct Protocol<'a> {
    is_there: bool,
    routers: BTreeSet<&'a str>,
}

impl<'a> Unread<'a> {
    /// Whether there is something about other protocols than HTTP.
    pub(super) fn has_protocols(&self) -> bool {
        self.tcp.is_there || self.udp.is_there
    }

    /// Takes a tag of TCP or UDP. `below`: what follows that word.
    pub(super) fn add_protocol(&mut self, protocol: &str, below: &'a str) {
        let of = if protocol == "tcp" { &mut self.tcp } else { &mut self.udp };
        of.is_there = true;
        let mut words = below.split('.');
        if words.next().is_some_and(|word| fold(word) == "routers") {
            of.routers.extend(words.next());
        }
    }

    /// Takes a tag of Traefik 1, and answers whether it is one.
    pub(super) fn add_ancient(&mut self, key: &'a str, path: &'a str, value: &'a str) -> bool {
        let words: Vec<_> = path.split('.').map(fold).collect();
        let is_ancient = match words.as_slice() {
            [only] => ANCIENT.contains(&only.as_str()),
            // `traefik.<segment>.port`.
            [_, last] if last == "port" => true,
            // `traefik.frontend.rule`, `traefik.<segment>.frontend.rule`.
            [first, second, ..] => {
                ["frontend", "backend"].contains(&first.as_str()) || second == "frontend"
            }
            [] => false,
        };
        if is_ancient {
            self.ancient.push((key, path, value));
        }
        is_ancient
    }

    /// What there is to say of it. `service` is the name in the catalog; `is_new`: there are tags of
    /// later Traefiks too, so what is left of Traefik 1 is not missed.
    pub(super) fn told(&self, prefix: &str, service: &str, is_new: bool) -> Vec<String> {
        let mut told = Vec::new();
        told.extend(self.tcp.told("TCP"));
        told.extend(self.udp.told("UDP"));
        if !self.ancient.is_empty() {
            let keys: BTreeSet<_> =
                self.ancient.iter().map(|(key, ..)| format!("`{key}`")).collect();
            let keys = keys.into_iter().collect::<Vec<_>>().join(", ");
            let instead = match is_new {
                true => String::new(),
                false => self.instead(prefix, &normalize(service)),
            };
            told.push(format!("{keys}: such tags are of Traefik 1, and have no effect{instead}"));
        }
        told
    }

    /// How what is said of a service in the words of Traefik 1 is written now.
    fn instead(&self, prefix: &str, name: &str) -> String {
        let protects = |path: &str| {
            let words = path.split('.').map(fold);
            words.into_iter().any(|word| word == "auth" || word.starts_with("whitelist"))
        };
        if self.ancient.iter().any(|(_, path, _)| protects(path)) {
            // Whoever took over the rule alone would let everybody in.
            return "; write a router, with `middlewares` for what they say of who may pass"
                .to_owned();
        }
        let value = |wanted: &str| {
            let mut ancient = self.ancient.iter();
            ancient.find(|(_, path, _)| fold(path) == wanted).map(|(.., value)| *value)
        };
        let router = format!("`{prefix}.http.routers.{name}");
        let rule = value("frontend.rule")
            .map(|text| format!("{router}.rule={}`", rule(text).as_deref().unwrap_or("…")));
        let entrypoints =
            value("frontend.entrypoints").map(|names| format!("{router}.entrypoints={names}`"));
        let port = value("port")
            .map(|port| format!("`{prefix}.http.services.{name}.loadbalancer.server.port={port}`"));
        let lines: Vec<_> = rule.into_iter().chain(entrypoints).chain(port).collect();
        if lines.is_empty() { String::new() } else { format!("; write {}", lines.join(", ")) }
    }
}

impl Protocol<'_> {
    fn told(&self, name: &str) -> Option<String> {
        let routers: Vec<_> = self.routers.iter().map(|router| format!("`{router}`")).collect();
        self.is_there.then(|| match routers.as_slice() {
            [] => format!("what its tags say of {name} has no effect: only HTTP is served yet"),
            [only] => format!("its {name} router {only} is not served: only HTTP is yet"),
            many => {
                format!("its {name} routers {} are not served: only HTTP is yet", many.join(", "))
            }
        })
    }
}

/// A rule of Traefik 1 as one of Traefik 3: `Host:a,b;PathPrefix:/x`. None: there is more to it.
fn rule(text: &str) -> Option<String> {
    let parts: Vec<_> = text.split(';').collect();
    let alone = parts.len() == 1;
    let part = |part: &&str| {
        let (name, values) = part.split_once(':')?;
        let known = ["Host", "Path", "PathPrefix", "Method"];
        let name = known.into_iter().find(|known| known.eq_ignore_ascii_case(name.trim()))?;
        let values: Vec<_> = values.split(',').map(str::trim).collect();
        if values.iter().any(|value| value.is_empty() || value.contains(['{', '`'])) {
            return None;
        }
        let calls: Vec<_> = values.iter().map(|value| format!("{name}(`{value}`)")).collect();
        match calls.len() > 1 && !alone {
            true => Some(format!("({})", calls.join(" || "))),
            false => Some(calls.join(" || ")),
        }
    };
    let parts: Option<Vec<_>> = parts.iter().map(part).collect();
    Some(parts?.join(" && "))
}
