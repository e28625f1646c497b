//! What an operator wants of instances: who is routed to, and by which rule.
//!
//! **Invariant:** none of it takes an instance out of the catalog. What is not routed to keeps its
//! name in DNS.

use portolan_plugin::{Health, Instance, Invalid, Notice, Pair};

use crate::{
    config::Config,
    constraint::Constraint,
    fault::proposal,
    tags::{self, Defaults},
    template::Template,
};

/// What is done with instances.
#[derive(Debug)]
pub(crate) struct Policy {
    prefix: String,
    defaults: Defaults,
    constraints: Option<Constraint>,
    /// Places as in [`STATES`].
    allowed: [bool; 4],
    /// What a person should know of the configuration itself.
    notices: Vec<Notice>,
}

/// As Consul and Traefik write them, from the best to the worst.
const STATES: [&str; 4] = ["passing", "warning", "critical", "maintenance"];

impl Policy {
    /// Reads the configuration; what is wrong with it goes to `invalid`.
    pub(crate) fn new(config: &Config, invalid: &mut Invalid) -> Self {
        let prefix = config.prefix.trim().trim_end_matches('.');
        if prefix.is_empty() {
            invalid.add("/prefix", "the prefix is empty: every tag would be a declaration");
        }
        let constraints = Constraint::parse(&config.constraints).unwrap_or_else(|fault| {
            invalid.add("/constraints", fault.told(&config.constraints));
            None
        });
        let rule = Template::parse(&config.default_rule).map_err(|fault| {
            invalid.add("/default-rule", fault.told(&config.default_rule));
        });
        let defaults = Defaults {
            exposed: config.exposed_by_default,
            is_in_mesh: config.connect_by_default,
            rule: rule.ok(),
        };
        let allowed = allowed(&config.strict_checks, invalid);
        let notices = notices(config);
        Self { prefix: prefix.to_owned(), defaults, constraints, allowed, notices }
    }

    /// What a person should know of the configuration itself.
    pub(crate) fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Reads what the tags of an instance declare, and decides whether it is routed to. Answers
    /// what was left out.
    pub(crate) fn judge(&self, instance: &mut Instance) -> Vec<Notice> {
        let constraints = self.constraints.as_ref();
        if constraints.is_some_and(|wanted| !wanted.allows(&instance.tags)) {
            set_edge(instance, "none");
            say_why(instance, "`constraints` does not match its tags");
            return Vec::new();
        }
        let found = tags::declared(&self.prefix, &self.defaults, constraints, instance);
        let prefix = &self.prefix;
        if found.is_in_mesh {
            set_edge(instance, "none");
            say_why(
                instance,
                "`connect` puts it into Consul's mesh, of which Portolan has no certificate",
            );
        } else if found.is_kept_out {
            set_edge(instance, "none");
            say_why(instance, format!("its tag `{prefix}.enable` says so"));
        } else if let Some(health) = self.edge_health(instance.health) {
            set_edge(instance, health);
            if health == "critical" {
                let is = word(instance.health);
                say_why(instance, format!("`strict-checks` does not have `{is}`"));
            }
        } else if found.is_unexposed {
            let why = "its tags do not count: `exposed-by-default` is false, and none of them is";
            say_why(instance, format!("{why} `{prefix}.enable=true`"));
        }
        if found.is_canary {
            instance.extra.push(Pair::new("canary", "true"));
            let percent = found.canary_percent.map(|percent| percent.to_string());
            instance.extra.extend(percent.map(|it| Pair::new("canary-weight", it)));
        }
        instance.declares = found.declarations;
        found.notices
    }

    /// How an instance is for HTTP, where that differs from what its checks say.
    fn edge_health(&self, health: Health) -> Option<&'static str> {
        let [passing, warning, critical, maintenance] = self.allowed;
        match health {
            Health::Passing => (!passing).then_some("critical"),
            Health::Warning => (!warning).then_some("critical"),
            Health::Critical => critical.then_some("warning"),
            Health::Maintenance => maintenance.then_some("warning"),
        }
    }
}

/// `provider.wit` says what may stand there.
fn set_edge(instance: &mut Instance, value: &str) {
    instance.extra.push(Pair::new("edge", value));
}

/// For who asks why nothing is sent there. It is what the operator wants, so it is no notice.
fn say_why(instance: &mut Instance, why: impl Into<String>) {
    instance.extra.push(Pair::new("edge-reason", why));
}

fn word(health: Health) -> &'static str {
    let [passing, warning, critical, maintenance] = STATES;
    match health {
        Health::Passing => passing,
        Health::Warning => warning,
        Health::Critical => critical,
        Health::Maintenance => maintenance,
    }
}

fn allowed(words: &[String], invalid: &mut Invalid) -> [bool; 4] {
    let mut allowed = [false; 4];
    for (place, word) in words.iter().enumerate() {
        let folded = word.trim().to_ascii_lowercase();
        match STATES.iter().position(|state| *state == folded) {
            Some(state) => allowed[state] = true,
            None if folded == "any" => allowed = [true; 4],
            None => {
                let meant = proposal(&folded, STATES.into_iter().chain(["any"]));
                let message = format!("`{word}` is no state of an instance{meant}");
                let hint = "`passing`, `warning`, `critical`, `maintenance` or `any`";
                let hint = if meant.is_empty() { format!("; write {hint}") } else { String::new() };
                invalid.add(format!("/strict-checks/{place}"), format!("{message}{hint}"));
            }
        }
    }
    if words.is_empty() {
        invalid.add("/strict-checks", "is empty: no instance would be routed to");
    }
    allowed
}

fn notices(config: &Config) -> Vec<Notice> {
    let mut notices = Vec::new();
    if config.connect_aware {
        let message = "is not supported: Portolan has no certificate of Consul's mesh, so services \
            that are in it are named but not routed";
        notices.push(Notice::new("connect-aware", message));
    }
    notices
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(config: &Config) -> Result<Policy, String> {
        let mut invalid = Invalid::none();
        let policy = Policy::new(config, &mut invalid);
        invalid.or(policy).map_err(|invalid| invalid.to_string())
    }

    fn judged(config: &Config, health: Health, tags: &[&str]) -> (String, usize) {
        let mut instance = tags::tests::instance("web", tags);
        instance.health = health;
        policy(config).unwrap().judge(&mut instance);
        let is_reason = |pair: &&Pair| pair.key == "edge-reason";
        let edge = instance.extra.iter().filter(|pair| !is_reason(pair));
        let edge = edge.map(|pair| format!("{}={}", pair.key, pair.value));
        (edge.collect::<Vec<_>>().join(" "), instance.declares.len())
    }

    const RULE: &str = "traefik.http.routers.a.rule=Path(`/`)";

    #[test]
    fn what_no_constraint_allows_is_not_routed_to() {
        let constraints = "Tag(`blue`)".to_owned();
        let config = Config { constraints, ..Config::default() };
        assert_eq!(judged(&config, Health::Passing, &[RULE]), ("edge=none".to_owned(), 0));
        assert_eq!(judged(&config, Health::Passing, &["blue", RULE]), (String::new(), 1));
    }

    #[test]
    fn strict_checks_say_who_is_used() {
        let check = |words: &[&str], expected: [&str; 4]| {
            let strict_checks = words.iter().map(|&word| word.to_owned()).collect();
            let config = Config { strict_checks, ..Config::default() };
            let all = [Health::Passing, Health::Warning, Health::Critical, Health::Maintenance];
            assert_eq!(all.map(|health| judged(&config, health, &[]).0), expected, "{words:?}");
        };
        check(&["passing", "warning"], ["", "", "", ""]);
        check(&["Passing"], ["", "edge=critical", "", ""]);
        check(&["passing", "critical"], ["", "edge=critical", "edge=warning", ""]);
        check(&["any"], ["", "", "edge=warning", "edge=warning"]);
    }

    #[test]
    fn why_it_is_left_out_is_said() {
        let why = |config: &Config, health, tags: &[&str]| {
            let mut instance = tags::tests::instance("web", tags);
            instance.health = health;
            policy(config).unwrap().judge(&mut instance);
            let mut extra = instance.extra.into_iter();
            extra.find(|pair| pair.key == "edge-reason").map(|pair| pair.value).unwrap_or_default()
        };
        let usual = Config { prefix: "edge".to_owned(), ..Config::default() };
        let chosen = Config { constraints: "Tag(`blue`)".to_owned(), ..Config::default() };
        let hidden = Config { exposed_by_default: Some(false), ..Config::default() };
        let strict = Config { strict_checks: vec!["passing".to_owned()], ..Config::default() };
        let lax = Config { strict_checks: vec!["any".to_owned()], ..Config::default() };
        let (well, ill) = (Health::Passing, Health::Warning);
        for (config, health, tags, expected) in [
            (&usual, well, &[][..], ""),
            (&usual, well, &["edge.enable=false"], "its tag `edge.enable` says so"),
            (&usual, well, &["edge.enable=no"], "its tag `edge.enable` says so"),
            (
                &usual,
                well,
                &["edge.consulcatalog.connect=true"],
                "`connect` puts it into Consul's mesh, of which Portolan has no certificate",
            ),
            (&usual, Health::Critical, &[], ""),
            (&chosen, well, &[], "`constraints` does not match its tags"),
            (&chosen, well, &["blue"], ""),
            (&strict, ill, &[], "`strict-checks` does not have `warning`"),
            (&strict, well, &[], ""),
            (&lax, Health::Maintenance, &[], ""),
            (
                &hidden,
                well,
                &[RULE],
                "its tags do not count: `exposed-by-default` is false, and none of them is \
                 `traefik.enable=true`",
            ),
            (&hidden, well, &[RULE, "traefik.enable=true"], ""),
        ] {
            assert_eq!(why(config, health, tags), expected, "{tags:?}");
        }
    }

    #[test]
    fn tags_with_the_prefix_make_a_canary() {
        let with = |prefix: &str, tags: &[&str]| {
            let config = Config { prefix: prefix.to_owned(), ..Config::default() };
            judged(&config, Health::Passing, tags).0
        };
        for (tags, expected) in [
            (&["traefik.consulcatalog.canary=true"][..], "canary=true"),
            (
                &["traefik.consul-catalog.Canary=TRUE", "Traefik.nomad.canary.weight=5"],
                "canary=true canary-weight=5",
            ),
            (
                &["traefik.nomad.canary=true", "traefik.nomad.canary.weight=12 %"],
                "canary=true canary-weight=12",
            ),
            (&["traefik.consulcatalog.canary=true", "traefik.consulcatalog.canary=0"], ""),
            (&["traefik.consulcatalog.canary.weight=5"], ""),
            (&["canary=true", "consulcatalog.canary=true", "edge.nomad.canary=true"], ""),
            (&["traefik.notnomad.canary=true", "traefik.x.nomad.canary=true"], ""),
        ] {
            assert_eq!(with("traefik", tags), expected, "{tags:?}");
        }
        assert_eq!(with("edge", &["edge.nomad.canary=true"]), "canary=true");
        assert_eq!(with("edge", &["traefik.nomad.canary=true"]), "");
    }

    #[test]
    fn what_is_in_the_mesh_is_not_routed_to() {
        let config = Config::default();
        let mesh = "traefik.consulcatalog.connect=true";
        assert_eq!(judged(&config, Health::Passing, &[mesh, RULE]), ("edge=none".to_owned(), 0));
        let config = Config { connect_by_default: true, ..Config::default() };
        assert_eq!(judged(&config, Health::Passing, &[RULE]).0, "edge=none");
        let plain = "traefik.consulCatalog.connect=false";
        assert_eq!(judged(&config, Health::Passing, &[plain, RULE]), (String::new(), 1));
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        let config = Config {
            prefix: " . ".to_owned(),
            constraints: "Tag(`a`) &&".to_owned(),
            default_rule: "Host(`{{ nomalize .Name }}`)".to_owned(),
            strict_checks: vec!["passing".to_owned(), "warnin".to_owned(), "green".to_owned()],
            ..Config::default()
        };
        assert_eq!(
            policy(&config).unwrap_err(),
            "/prefix: the prefix is empty: every tag would be a declaration\n\
             /constraints: expected `Tag(…)`, `TagRegex(…)`, `!` or `(`, at its end\n\
             /default-rule: unknown function `nomalize`, did you mean `normalize`?, at character 10: \
             nomalize .Name }}`)\n\
             /strict-checks/1: `warnin` is no state of an instance, did you mean `warning`?\n\
             /strict-checks/2: `green` is no state of an instance; write `passing`, `warning`, \
             `critical`, `maintenance` or `any`"
        );
        let config = Config { strict_checks: Vec::new(), ..Config::default() };
        assert!(policy(&config).unwrap_err().contains("no instance would be routed to"));
    }

    #[test]
    fn what_has_no_effect_is_said() {
        let config = Config { connect_aware: true, ..Config::default() };
        let policy = policy(&config).unwrap();
        assert_eq!(policy.notices()[0].origin, "connect-aware");
    }
}
