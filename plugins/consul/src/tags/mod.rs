//! Tags as people write them for Traefik: `traefik.http.routers.shop.rule=Host(...)`.

mod slip;
mod unread;

use std::collections::{BTreeMap, BTreeSet};

use portolan_plugin::{Declaration, Instance, Notice};

use self::{
    slip::{is_enable, may_be_rule, says_who_may_pass},
    unread::Unread,
};
use crate::{canary, constraint::Constraint, fault::fold, template::Template};

/// What the tags of one instance declare.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Declared {
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) notices: Vec<Notice>,
    /// Whether it is to be reached through Consul's mesh only; then it declares nothing.
    pub(crate) is_in_mesh: bool,
    /// Whether it says itself that it is not to be routed to.
    pub(crate) is_kept_out: bool,
    /// Whether what it declares does not count, since nobody is exposed who does not say so.
    pub(crate) is_unexposed: bool,
    /// Whether it is to be tried before it is trusted.
    pub(crate) is_canary: bool,
    /// Of a hundred requests, how many go to all canaries of its service.
    pub(crate) canary_percent: Option<u8>,
}

/// What holds for an instance whose tags do not say.
#[derive(Debug)]
pub(crate) struct Defaults {
    /// Whether it is exposed. None: what it declares counts, but it gets no router by itself.
    pub(crate) exposed: Option<bool>,
    pub(crate) is_in_mesh: bool,
    /// The rule of routers without one.
    pub(crate) rule: Option<Template>,
}

/// Reads the tags of an instance. `prefix` is compared without case. Tags that `constraints` asks for
/// are for those alone, unless they say something here too.
///
/// Tags that do not begin with the prefix and a dot are not for us. An instance without any
/// declaration is a fact of the catalog, with a name in DNS, and no more: a router takes a tag,
/// unless everybody is exposed.
pub(crate) fn declared(
    prefix: &str,
    defaults: &Defaults,
    constraints: Option<&Constraint>,
    instance: &Instance,
) -> Declared {
    let mut reader = Reader {
        instance,
        prefix,
        defaults,
        constraints,
        enable: None,
        enable_key: "default-rule",
        is_in_mesh: defaults.is_in_mesh,
        labels: BTreeMap::new(),
        unread: Unread::default(),
        doubts: Vec::new(),
        strays: Vec::new(),
        declared: Declared::default(),
    };
    for tag in &instance.tags {
        if let Some(rest) = strip_prefix(tag, prefix) {
            reader.read(tag, rest);
        }
    }
    reader.finish()
}

struct Reader<'a> {
    instance: &'a Instance,
    prefix: &'a str,
    defaults: &'a Defaults,
    constraints: Option<&'a Constraint>,
    enable: Option<bool>,
    /// Where the router that a service gets by itself comes from.
    enable_key: &'a str,
    is_in_mesh: bool,
    /// As a default rule sees them.
    labels: BTreeMap<String, String>,
    unread: Unread<'a>,
    /// What is wrong with tags, as far as it matters only to who is routed to.
    doubts: Vec<Notice>,
    /// What would say who may pass if its first word were not a slip of the hand.
    strays: Vec<Declaration>,
    declared: Declared,
}

impl<'a> Reader<'a> {
    fn read(&mut self, tag: &'a str, rest: &'a str) {
        let Some((path, value)) = rest.split_once('=') else {
            return self.read_bare(tag, rest.trim());
        };
        let key = tag.split_once('=').map_or(tag, |(key, _)| key);
        let (path, value) = (path.trim(), value.trim());
        let label = format!("traefik.{path}");
        let is_in_rule = self.defaults.rule.as_ref().is_some_and(|rule| rule.names(&label));
        self.labels.insert(label, value.to_owned());
        let (first, below) = path.split_once('.').unwrap_or((path, ""));
        match fold(first).as_str() {
            "enable" if below.is_empty() => {
                // Nobody is let in by a word that may have meant the opposite; Traefik skips it too.
                let enable = truth(value);
                if enable.is_none() {
                    self.notice(key, &format!("is neither `true` nor `false` but `{value}`"));
                }
                (self.enable, self.enable_key) = (Some(enable.unwrap_or(false)), key);
            }
            "http" if !below.is_empty() => {
                let path = format!("http.{below}");
                let origin = key.trim().to_owned();
                self.declared.declarations.push(Declaration { path, value: value.into(), origin });
            }
            "consulcatalog" | "nomad" => self.read_about_source(key, below, value),
            // Those speak to Traefik about another source.
            "docker" => (),
            protocol @ ("tcp" | "udp") => self.unread.add_protocol(protocol, below),
            _ if is_in_rule || self.is_asked_for(tag, path) => (),
            "tls" => {
                let here = "what Traefik has under `tls` is written in config.toml: `[tls]` with \
                    `certificates`, `default-certificate` and `options`, and `resolver` of an \
                    entrypoint's `tls`";
                self.doubt(key, &format!("is not read from tags; {here}"));
            }
            _ => self.read_unknown(key, path, value),
        }
    }

    /// A tag without a value.
    fn read_bare(&mut self, tag: &str, path: &str) {
        let message = "has no `=`, so it declares nothing";
        if is_enable(path) {
            self.notice(tag, message);
        } else if !self.is_asked_for(tag, path) {
            self.doubt(tag, message);
        }
    }

    /// A tag that begins with a word that nobody knows.
    fn read_unknown(&mut self, key: &'a str, path: &'a str, value: &'a str) {
        let is_doubtful = says_who_may_pass(path);
        if !is_doubtful && self.unread.add_ancient(key.trim(), path, value) {
            return;
        }
        let first = path.split('.').next().unwrap_or_default();
        let meant = slip::meant(first);
        let known = "is unknown; what may follow is `http.`, `enable` or `consulcatalog.`";
        let message = format!("{known}{meant}");
        if is_enable(path) {
            self.notice(key, &message);
            if truth(value) != Some(true) {
                self.enable = Some(false);
            }
        } else {
            self.doubt(key, &message);
        }
        if is_doubtful {
            let (path, value, origin) = (path.into(), value.into(), key.trim().into());
            self.strays.push(Declaration { path, value, origin });
        }
    }

    /// Whether a tag is there for `constraints`. A regular expression may take any tag, so one that
    /// looks like a slip is none of those that it is for.
    fn is_asked_for(&self, tag: &str, path: &str) -> bool {
        let first = path.split('.').next().unwrap_or_default();
        let is_slip = || !slip::meant(first).is_empty() || says_who_may_pass(path);
        self.constraints.is_some_and(|constraints| {
            constraints.names(tag) || constraints.may_mean(tag) && !is_slip()
        })
    }

    /// `consulcatalog.…`: how the instance is to be taken.
    fn read_about_source(&mut self, key: &str, below: &str, value: &str) {
        match fold(below).as_str() {
            "connect" => {
                if let Some(connect) = self.boolean(key, value) {
                    self.is_in_mesh = connect;
                }
            }
            "canary" => {
                if let Some(is_canary) = self.boolean(key, value) {
                    self.declared.is_canary = is_canary;
                }
            }
            "canary.weight" => {
                let number = value.trim_end_matches('%').trim_end().parse::<u8>();
                match number.ok().filter(|percent| *percent <= 100) {
                    Some(percent) => self.declared.canary_percent = Some(percent),
                    None => {
                        let message = format!("is no percent, from 0 to 100, but `{value}`");
                        self.doubt(key, &message);
                    }
                }
            }
            _ => {
                let known = "is unknown; what may follow is `canary`, `canary.weight` or `connect`";
                self.doubt(key, known);
            }
        }
    }

    fn finish(mut self) -> Declared {
        self.declared.is_in_mesh = self.is_in_mesh;
        self.declared.is_kept_out = self.enable == Some(false);
        let is_exposed = self.enable.or(self.defaults.exposed).unwrap_or(true);
        if is_exposed {
            self.tell_doubts();
            self.add_default_rules();
        } else {
            // Nor is anybody told what is wrong with it.
            self.declared.is_unexposed = self.enable.is_none();
            self.declared.declarations.clear();
        }
        if !self.declared.declarations.is_empty() {
            self.declared.declarations.append(&mut self.strays);
        }
        if self.is_in_mesh && !self.declared.declarations.is_empty() {
            self.declared.declarations.clear();
            let message = "is in Consul's mesh, of which Portolan has no certificate: it has its \
                name in DNS, but is not routed to";
            self.declared.notices.push(Notice::new(self.instance.id.as_str(), message));
        }
        self.declared
    }

    fn tell_doubts(&mut self) {
        let is_new = !self.declared.declarations.is_empty();
        self.declared.notices.append(&mut self.doubts);
        let told = self.unread.told(self.prefix, &self.instance.service, is_new);
        let id = self.instance.id.as_str();
        self.declared.notices.extend(told.into_iter().map(|message| Notice::new(id, message)));
    }

    /// A router without a rule gets the default one, as in Traefik; so does the service itself when
    /// it is exposed on purpose and names no router.
    fn add_default_rules(&mut self) {
        let mut routers: Vec<(String, bool, String)> = Vec::new();
        self.declared.declarations.retain(|declaration| {
            let mut segments = declaration.path.split('.').skip(1);
            let is_router = segments.next().is_some_and(|it| fold(it) == "routers");
            let (true, Some(name)) = (is_router, segments.next()) else { return true };
            let is_rule = segments.next().is_some_and(|it| fold(it) == "rule");
            // An empty rule is none, as in Traefik.
            let is_empty = is_rule && declaration.value.trim().is_empty();
            // A slip, a dot too many, a name with dots: whatever it was, the default rule was not meant.
            let is_slip = !is_rule && declaration.path.split('.').skip(3).any(may_be_rule);
            let has_rule = is_rule && !is_empty || is_slip;
            match routers.iter_mut().find(|(other, ..)| other.eq_ignore_ascii_case(name)) {
                Some((_, ruled, _)) => *ruled |= has_rule,
                None => routers.push((name.to_owned(), has_rule, declaration.origin.clone())),
            }
            !is_empty
        });
        let service = normalize(&self.instance.service);
        // One that speaks of TCP or UDP, and not of HTTP, is no service for browsers, as in Traefik.
        let is_http = !self.unread.has_protocols() || !self.declared.declarations.is_empty();
        let is_wanted = is_http && self.enable.or(self.defaults.exposed) == Some(true);
        if routers.is_empty() && is_wanted && !service.is_empty() {
            if self.services() > 1 {
                // Which of them is meant cannot be told.
                let message = "declares more than one service, so no router is made for it: name \
                    one, with the service that it leads to";
                self.declared.notices.push(Notice::new(self.instance.id.as_str(), message));
                return;
            }
            let name = match self.declared.is_canary {
                true => canary::pool(&self.instance.service, &self.instance.tags),
                false => service,
            };
            routers.push((name, false, self.enable_key.trim().to_owned()));
        }
        routers.retain(|(_, has_rule, _)| !has_rule);
        if routers.is_empty() {
            return;
        }
        let Some(value) = self.default_rule() else { return };
        for (name, _, origin) in routers {
            let path = format!("http.routers.{name}.rule");
            let value = value.clone();
            self.declared.declarations.push(Declaration { path, value, origin });
        }
    }

    /// How many services its tags speak of.
    fn services(&self) -> usize {
        let name = |declaration: &'_ Declaration| {
            let mut segments = declaration.path.split('.').skip(1);
            let is_service = segments.next().is_some_and(|it| fold(it) == "services");
            segments.next().filter(|_| is_service).map(str::to_ascii_lowercase)
        };
        self.declared.declarations.iter().filter_map(name).collect::<BTreeSet<_>>().len()
    }

    /// The default rule for this instance. If there is none, that is said.
    fn default_rule(&mut self) -> Option<String> {
        let rule = self.defaults.rule.as_ref()?.render(&self.instance.service, &self.labels);
        let told = match rule {
            Ok(rule) if !rule.trim().is_empty() => return Some(rule),
            Ok(_) => "the default rule gives an empty text".to_owned(),
            Err(told) => format!("the default rule gives nothing: {told}"),
        };
        self.declared.notices.push(Notice::new(self.instance.id.as_str(), told));
        None
    }

    fn boolean(&mut self, key: &str, text: &str) -> Option<bool> {
        let truth = truth(text);
        if truth.is_none() {
            self.doubt(key, &format!("is neither `true` nor `false` but `{text}`"));
        }
        truth
    }

    fn doubt(&mut self, tag: &str, message: &str) {
        let origin = format!("{} tag {tag}", self.instance.id);
        self.doubts.push(Notice::new(origin, message));
    }

    /// What says whether an instance is routed to is told of one that is not, too.
    fn notice(&mut self, tag: &str, message: &str) {
        let origin = format!("{} tag {tag}", self.instance.id);
        self.declared.notices.push(Notice::new(origin, message));
    }
}

/// Go's `strconv.ParseBool`, which is what people are used to.
fn truth(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Some(true),
        "0" | "f" | "false" => Some(false),
        _ => None,
    }
}

/// What follows the prefix and its dot.
fn strip_prefix<'a>(tag: &'a str, prefix: &str) -> Option<&'a str> {
    let tag = tag.trim_start();
    let (head, rest) = tag.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| rest.strip_prefix('.'))?
}

/// Traefik's `normalize`: runs of anything but letters and digits become one hyphen.
pub(crate) fn normalize(name: &str) -> String {
    let words =
        name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
pub(crate) mod tests;
