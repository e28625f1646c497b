//! Tags as people write them for Traefik: `traefik.http.routers.shop.rule=Host(...)`.

use portolan_plugin::{Declaration, Notice};

/// What the tags of one instance declare.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Declared {
    pub(crate) declarations: Vec<Declaration>,
    pub(crate) notices: Vec<Notice>,
}

/// Reads the tags of an instance. `id` stands in notices; `prefix` is compared without case.
///
/// Tags that do not begin with the prefix and a dot are not for us. An instance without any
/// declaration is a fact of the catalog, with a name in DNS, and no more: a router takes a tag.
pub(crate) fn declared(prefix: &str, service: &str, id: &str, tags: &[String]) -> Declared {
    let mut reader = Reader { id, enable: None, enable_key: "", declared: Declared::default() };
    for tag in tags {
        if let Some(rest) = strip_prefix(tag, prefix) {
            reader.read(tag, rest);
        }
    }
    if reader.enable == Some(false) {
        let notices = reader.declared.notices;
        return Declared { declarations: Vec::new(), notices };
    }
    reader.add_default_rules(&normalize(service));
    reader.declared
}

struct Reader<'a> {
    id: &'a str,
    enable: Option<bool>,
    enable_key: &'a str,
    declared: Declared,
}

impl<'a> Reader<'a> {
    fn read(&mut self, tag: &'a str, rest: &'a str) {
        let Some((path, value)) = rest.split_once('=') else {
            return self.notice(tag, "has no `=`, so it declares nothing");
        };
        let key = tag.split_once('=').map_or(tag, |(key, _)| key);
        let (path, value) = (path.trim(), value.trim());
        let (first, below) = path.split_once('.').unwrap_or((path, ""));
        match first.to_ascii_lowercase().as_str() {
            "enable" if below.is_empty() => match boolean(value) {
                Some(enable) => (self.enable, self.enable_key) = (Some(enable), key),
                None => self.notice(key, &format!("is neither `true` nor `false` but `{value}`")),
            },
            "http" if !below.is_empty() => {
                let path = format!("http.{below}");
                let origin = key.trim().to_owned();
                self.declared.declarations.push(Declaration { path, value: value.into(), origin });
            }
            "tcp" | "udp" | "tls" => self.notice(key, &format!("`{first}` is not supported yet")),
            // Those speak to Traefik about the source, not about routing.
            "consulcatalog" | "docker" | "nomad" => (),
            _ => self.notice(key, "is unknown; what may follow is `http.` or `enable`"),
        }
    }

    /// A router without a rule gets the default one, as in Traefik; so does the service itself when
    /// it is enabled and names no router.
    fn add_default_rules(&mut self, service: &str) {
        let mut routers: Vec<(String, bool, String)> = Vec::new();
        for declaration in &self.declared.declarations {
            let mut segments = declaration.path.split('.').skip(1);
            let is_router = segments.next().is_some_and(|it| it.eq_ignore_ascii_case("routers"));
            let (true, Some(name)) = (is_router, segments.next()) else { continue };
            let has_rule = segments.next().is_some_and(|it| it.eq_ignore_ascii_case("rule"));
            match routers.iter_mut().find(|(other, ..)| other.eq_ignore_ascii_case(name)) {
                Some((_, ruled, _)) => *ruled |= has_rule,
                None => routers.push((name.to_owned(), has_rule, declaration.origin.clone())),
            }
        }
        if routers.is_empty() && self.enable == Some(true) && !service.is_empty() {
            routers.push((service.to_owned(), false, self.enable_key.trim().to_owned()));
        }
        for (name, has_rule, origin) in routers {
            if !has_rule {
                let path = format!("http.routers.{name}.rule");
                let value = format!("Host(`{service}`)");
                self.declared.declarations.push(Declaration { path, value, origin });
            }
        }
    }

    fn notice(&mut self, tag: &str, message: &str) {
        let origin = format!("{} tag {tag}", self.id);
        self.declared.notices.push(Notice::new(origin, message));
    }
}

/// What follows the prefix and its dot.
fn strip_prefix<'a>(tag: &'a str, prefix: &str) -> Option<&'a str> {
    let tag = tag.trim_start();
    let (head, rest) = tag.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then(|| rest.strip_prefix('.'))?
}

/// Go's `strconv.ParseBool`, which is what people are used to.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "t" | "true" => Some(true),
        "0" | "f" | "false" => Some(false),
        _ => None,
    }
}

/// Traefik's `normalize`: runs of anything but letters and digits become one hyphen.
fn normalize(name: &str) -> String {
    let words =
        name.split(|letter: char| !letter.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(service: &str, tags: &[&str]) -> String {
        let tags: Vec<_> = tags.iter().map(|&tag| tag.to_owned()).collect();
        let declared = declared("traefik", service, "dc1/a/web", &tags);
        let mut text = String::new();
        for declaration in declared.declarations {
            let Declaration { path, value, origin } = declaration;
            text += &format!("{path} = {value} ({origin})\n");
        }
        for notice in declared.notices {
            text += &format!("{}: {}\n", notice.origin, notice.message);
        }
        text
    }

    #[test]
    fn a_tag_declares_what_it_says() {
        assert_eq!(
            read("web", &["traefik.http.routers.web.rule=Host(`a.local`) && Query(`x=y`)"]),
            "http.routers.web.rule = Host(`a.local`) && Query(`x=y`) (traefik.http.routers.web.rule)\n"
        );
        assert_eq!(
            read("web", &["Traefik.HTTP.services.web.loadBalancer.server.port = 80"]),
            "http.services.web.loadBalancer.server.port = 80 \
             (Traefik.HTTP.services.web.loadBalancer.server.port)\n"
        );
    }

    #[test]
    fn other_tags_are_not_for_us() {
        assert_eq!(read("web", &["v1", "traefikx.http.a=b", "traefik", "é", "primary=yes"]), "");
        assert_eq!(read("web", &["traefik.consulcatalog.connect=true", "traefik.docker.x=1"]), "");
    }

    #[test]
    fn a_service_without_a_router_tag_has_no_router() {
        assert_eq!(read("web", &[]), "");
        assert_eq!(
            read("web", &["traefik.http.services.web.loadbalancer.server.port=80"]),
            "http.services.web.loadbalancer.server.port = 80 \
             (traefik.http.services.web.loadbalancer.server.port)\n"
        );
    }

    #[test]
    fn an_enabled_service_gets_the_default_rule() {
        let default = "http.routers.my-web.rule = Host(`my-web`) (traefik.enable)\n";
        assert_eq!(read("my_web.", &["traefik.enable=true"]), default);
        assert_eq!(
            read("web", &["traefik.enable=true", "traefik.http.routers.a.rule=Path(`/`)"]),
            "http.routers.a.rule = Path(`/`) (traefik.http.routers.a.rule)\n"
        );
    }

    #[test]
    fn a_router_without_a_rule_gets_the_default_one() {
        assert_eq!(
            read("web", &["traefik.http.routers.a.middlewares=x"]),
            "http.routers.a.middlewares = x (traefik.http.routers.a.middlewares)\n\
             http.routers.a.rule = Host(`web`) (traefik.http.routers.a.middlewares)\n"
        );
    }

    #[test]
    fn a_disabled_service_declares_nothing() {
        assert_eq!(
            read("web", &["traefik.http.routers.a.rule=Path(`/`)", "traefik.enable=FALSE"]),
            ""
        );
    }

    #[test]
    fn what_cannot_be_used_is_said() {
        let check = |tag: &str, expected: &str| {
            assert_eq!(read("web", &[tag]), format!("dc1/a/web tag {expected}\n"));
        };
        check("traefik.enable", "traefik.enable: has no `=`, so it declares nothing");
        check("traefik.enable=yes", "traefik.enable: is neither `true` nor `false` but `yes`");
        check(
            "traefik.tcp.routers.a.rule=x",
            "traefik.tcp.routers.a.rule: `tcp` is not supported yet",
        );
        check(
            "traefik.htpp.routers.a.rule=x",
            "traefik.htpp.routers.a.rule: is unknown; what may follow is `http.` or `enable`",
        );
        check("traefik.http=x", "traefik.http: is unknown; what may follow is `http.` or `enable`");
    }

    #[test]
    fn names_are_normalized_as_in_traefik() {
        assert_eq!(normalize("--my_service.v2!"), "my-service-v2");
        assert_eq!(normalize("..."), "");
    }
}
