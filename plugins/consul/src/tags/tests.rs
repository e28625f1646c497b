//! Tags as they come, and what is read in them; declarations and notices are compared as text.

use super::*;

/// An instance with these tags and nothing else of note.
pub(crate) fn instance(service: &str, tags: &[&str]) -> Instance {
    Instance {
        id: "dc1/a/web".to_owned(),
        service: service.to_owned(),
        node: "a".to_owned(),
        datacenter: "dc1".to_owned(),
        address: String::new(),
        port: 80,
        weight_passing: 1,
        weight_warning: 1,
        health: portolan_plugin::Health::Passing,
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        meta: Vec::new(),
        version: 1,
        declares: Vec::new(),
        extra: Vec::new(),
    }
}

fn read(service: &str, tags: &[&str]) -> String {
    read_by(None, "Host(`{{ normalize .Name }}`)", service, tags)
}

fn read_by(exposed: Option<bool>, rule: &str, service: &str, tags: &[&str]) -> String {
    read_where("", exposed, rule, service, tags)
}

fn read_where(
    constraints: &str,
    exposed: Option<bool>,
    rule: &str,
    service: &str,
    tags: &[&str],
) -> String {
    let rule = Some(Template::parse(rule).unwrap());
    let defaults = Defaults { exposed, is_in_mesh: false, rule };
    let constraints = Constraint::parse(constraints).unwrap();
    let declared = declared("traefik", &defaults, constraints.as_ref(), &instance(service, tags));
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
fn what_speaks_of_tcp_alone_gets_no_router_by_itself() {
    let tcp = "traefik.tcp.routers.db.rule=HostSNI(`*`)";
    let read = |tags: &[&str]| read_by(Some(true), "Host(`{{ .Name }}`)", "db", tags);
    assert!(!read(&[tcp]).contains("http.routers"), "{}", read(&[tcp]));
    let port = "traefik.http.services.db.loadbalancer.server.port=80";
    assert!(read(&[tcp, port]).contains("http.routers.db.rule = Host(`db`)"));
}

#[test]
fn an_empty_rule_is_the_default_one() {
    assert_eq!(
        read("web", &["traefik.http.routers.web.rule="]),
        "http.routers.web.rule = Host(`web`) (traefik.http.routers.web.rule)\n"
    );
}

#[test]
fn of_two_services_none_gets_a_router_by_itself() {
    let ports = [
        "traefik.http.services.a.loadbalancer.server.port=80",
        "traefik.http.services.b.loadbalancer.server.port=81",
    ];
    let read = read_by(Some(true), "Host(`{{ .Name }}`)", "web", &ports);
    assert!(!read.contains("routers"), "{read}");
    assert!(read.contains("dc1/a/web: declares more than one service"), "{read}");
}

#[test]
fn other_tags_are_not_for_us() {
    assert_eq!(read("web", &["v1", "traefikx.http.a=b", "traefik", "é", "primary=yes"]), "");
    let tags = ["traefik.consul-catalog.canary=true", "traefik.nomad.canary.weight=5"];
    assert_eq!(read("web", &tags), "");
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
fn a_router_that_was_to_have_a_rule_of_its_own_does_not_get_the_default_one() {
    for path in ["a.rul", "a.Rules", "a.ruel", "a..rule", "a.example.com.rule", "a.rule[0]"] {
        let read = read("web", &["traefik.enable=true", &format!("traefik.http.routers.{path}=x")]);
        assert_eq!(read, format!("http.routers.{path} = x (traefik.http.routers.{path})\n"));
    }
    for path in ["a.tls", "a.tls.options", "a.priority", "rules.service", "a.service"] {
        let read = read("web", &[&format!("traefik.http.routers.{path}=x")]);
        assert!(read.contains(".rule = Host(`web`)"), "{read}");
    }
}

#[test]
fn a_disabled_service_declares_nothing() {
    assert_eq!(read("web", &["traefik.http.routers.a.rule=Path(`/`)", "traefik.enable=FALSE"]), "");
}

#[test]
fn a_word_that_may_mean_no_keeps_a_service_out() {
    let rule = "traefik.http.routers.a.rule=Path(`/`)";
    for tag in ["enable=no", "enable=", "enable=\"true\"", "enabled=false", "enabel=off"] {
        let tag = format!("traefik.{tag}");
        let found = read("web", &[rule, &tag]);
        assert!(found.starts_with("dc1/a/web tag traefik.enab"), "{tag}: {found}");
    }
    assert!(read("web", &[rule, "traefik.enabled=true"]).contains("http.routers.a.rule"));
}

#[test]
fn everybody_is_exposed_where_that_is_the_default() {
    let read = |tags: &[&str]| read_by(Some(true), "Host(`{{ .Name }}.x`)", "my_web", tags);
    assert_eq!(read(&[]), "http.routers.my-web.rule = Host(`my_web.x`) (default-rule)\n");
    assert_eq!(read(&["traefik.enable=false"]), "");
}

#[test]
fn nobody_is_exposed_where_that_is_the_default() {
    let read = |tags: &[&str]| read_by(Some(false), "Host(`{{ .Name }}.x`)", "web", tags);
    let rule = "traefik.http.routers.a.rule=Path(`/`)";
    assert_eq!(read(&[rule]), "");
    assert!(read(&[rule, "traefik.enable=true"]).starts_with("http.routers.a.rule = Path"));
}

#[test]
fn the_default_rule_sees_name_and_labels() {
    let rule = "Host(`{{ .Name }}.{{ index .Labels `traefik.zone` }}`)";
    let read = |tags: &[&str]| read_by(None, rule, "web", tags);
    assert_eq!(
        read(&["traefik.enable=1", "traefik.zone=x"]),
        "http.routers.web.rule = Host(`web.x`) (traefik.enable)\n"
    );
    assert!(read(&["traefik.zoen=x"]).contains("is unknown"), "only what the rule looks at");
}

#[test]
fn a_default_rule_that_fails_costs_the_router() {
    let read = |rule: &str| read_by(None, rule, "web", &["traefik.enable=true"]);
    assert_eq!(
        read("{{ .Labels.zone }}"),
        "dc1/a/web: the default rule gives nothing: there is no `.zone`, at character 11: .zone }}\n"
    );
    assert_eq!(read("{{ `` }}"), "dc1/a/web: the default rule gives an empty text\n");
}

#[test]
fn what_is_in_the_mesh_is_said_where_it_would_have_a_router() {
    let tags = ["traefik.consulcatalog.connect=true", "traefik.enable=true"];
    assert!(read("web", &tags).starts_with("dc1/a/web: is in Consul's mesh"));
    assert_eq!(read("web", &tags[..1]), "");
}

#[test]
fn what_cannot_be_used_is_said() {
    let check = |tag: &str, expected: &str| {
        assert_eq!(read("web", &[tag]), format!("dc1/a/web tag {expected}\n"));
    };
    check("traefik.enable", "traefik.enable: has no `=`, so it declares nothing");
    check("traefik.enable=yes", "traefik.enable: is neither `true` nor `false` but `yes`");
    check(
        "traefik.tls.stores.default.defaultgeneratedcert.resolver=le",
        "traefik.tls.stores.default.defaultgeneratedcert.resolver: is not read from tags; what \
         Traefik has under `tls` is written in config.toml: `[tls]` with `certificates`, \
         `default-certificate` and `options`, and `resolver` of an entrypoint's `tls`",
    );
    check(
        "traefik.htpp.routers.a.rule=x",
        "traefik.htpp.routers.a.rule: is unknown; what may follow is `http.`, `enable` or \
         `consulcatalog.`, did you mean `http`?",
    );
    check(
        "traefik.enabel=true",
        "traefik.enabel: is unknown; what may follow is `http.`, `enable` or `consulcatalog.`, \
         did you mean `enable`?",
    );
    check(
        "traefik.consulcatalog.canari=true",
        "traefik.consulcatalog.canari: is unknown; what may follow is `canary`, \
         `canary.weight` or `connect`",
    );
    check(
        "traefik.consulcatalog.connect=no",
        "traefik.consulcatalog.connect: is neither `true` nor `false` but `no`",
    );
    check(
        "traefik.nomad.canary=yes",
        "traefik.nomad.canary: is neither `true` nor `false` but `yes`",
    );
    check(
        "traefik.consulcatalog.canary.weight=101",
        "traefik.consulcatalog.canary.weight: is no percent, from 0 to 100, but `101`",
    );
}

#[test]
fn the_first_word_may_be_what_belongs_below_http() {
    for (tag, meant) in [
        ("services.a.loadbalancer.server.port", "http.services"),
        ("middlewares.a.compress", "http.middlewares"),
        ("serverstransports.a.rootcas", "http.serversTransports"),
    ] {
        let read = read("web", &[&format!("traefik.{tag}=1")]);
        assert!(read.ends_with(&format!(", did you mean `{meant}`?\n")), "{read}");
    }
}

#[test]
fn tags_that_constraints_ask_for_are_for_those() {
    let read = |constraints: &str, tag: &str| {
        read_where(constraints, None, "Host(`{{ .Name }}`)", "web", &[tag])
    };
    let constraints = "Tag(`traefik.external=true`) || !Tag(`traefik.old`)";
    for tag in ["traefik.external=true", "traefik.external=false", "traefik.old"] {
        assert_eq!(read(constraints, tag), "");
        assert_ne!(read("Tag(`blue`) && TagRegex(`blue`)", tag), "");
    }
    assert_eq!(read("TagRegex(`^traefik\\.zone=`)", "traefik.zone=lab"), "");
    // A regular expression may take a slip for what it asks for.
    let constraints = "Tag(`blue`) || TagRegex(`^traefik`)";
    for tag in ["traefik.htpp.routers.a.rule=x", "traefik.routers.a.tls=x", "traefik.enabled=true"]
    {
        assert!(read(constraints, tag).contains("is unknown"), "{tag}");
    }
    // What they ask for still says what it says.
    assert!(
        read("Tag(`traefik.enable=true`)", "traefik.enable=true").contains(".rule = Host(`web`)")
    );
}

#[test]
fn of_one_that_is_not_routed_to_only_what_says_so_is_told() {
    let wrong = [
        "traefik.tcp.routers.a.rule=x",
        "traefik.tls.stores.x=y",
        "traefik.frontend.rule=Host:x",
        "traefik.zone=lab",
        "traefik.consulcatalog.canari=true",
        "traefik.bare",
    ];
    let with = |exposed, tag: &str| {
        let tags: Vec<_> = wrong.into_iter().chain([tag]).collect();
        read_by(exposed, "Host(`{{ .Name }}`)", "web", &tags)
    };
    assert_eq!(with(None, "traefik.enable=true").matches("dc1/a/web").count(), wrong.len());
    assert_eq!(with(None, "traefik.enable=false"), "");
    assert_eq!(with(Some(false), "v1"), "");
    for tag in ["traefik.enable=no", "traefik.enable", "traefik.enabled=true"] {
        let told = with(Some(false), tag);
        assert_eq!(told.matches("dc1/a/web tag traefik.enable").count(), 1, "{told}");
        assert_eq!(told.lines().count(), 1, "{told}");
    }
}

#[test]
fn other_protocols_are_told_of_once() {
    let tags = [
        "traefik.tcp.routers.pg.rule=HostSNI(`*`)",
        "traefik.tcp.routers.pg.tls=true",
        "traefik.tcp.services.pg.loadbalancer.server.port=5432",
        "traefik.TCP.Routers.old.service=pg",
        "traefik.udp.services.dns.loadbalancer.server.port=53",
    ];
    assert_eq!(
        read("web", &tags),
        "dc1/a/web: its TCP routers `old`, `pg` are not served: only HTTP is yet\n\
         dc1/a/web: what its tags say of UDP has no effect: only HTTP is served yet\n"
    );
    let one = "dc1/a/web: its TCP router `pg` is not served: only HTTP is yet\n";
    assert_eq!(read("web", &tags[..3]), one);
}

#[test]
fn tags_of_traefik_1_are_told_with_what_to_write() {
    let read = |tags: &[&str]| read("my_web", tags);
    assert_eq!(
        read(&[
            "traefik.port=80",
            "traefik.frontend.rule=Host:a.x,b.x",
            "traefik.frontend.entryPoints=web",
        ]),
        "dc1/a/web: `traefik.frontend.entryPoints`, `traefik.frontend.rule`, `traefik.port`: such \
         tags are of Traefik 1, and have no effect; write \
         `traefik.http.routers.my-web.rule=Host(`a.x`) || Host(`b.x`)`, \
         `traefik.http.routers.my-web.entrypoints=web`, \
         `traefik.http.services.my-web.loadbalancer.server.port=80`\n"
    );
    for (old, new) in [
        ("Host:a.x;PathPrefix:/v1,/v2", "Host(`a.x`) && (PathPrefix(`/v1`) || PathPrefix(`/v2`))"),
        ("host: a.x ;Method:GET", "Host(`a.x`) && Method(`GET`)"),
        ("PathPrefixStrip:/x", "…"),
        ("HostRegexp:{subdomain:.+}.x", "…"),
        ("a.x", "…"),
    ] {
        let told = read(&[&format!("traefik.frontend.rule={old}")]);
        assert!(
            told.ends_with(&format!("; write `traefik.http.routers.my-web.rule={new}`\n")),
            "{told}"
        );
    }
    // Whoever took over the rule alone would let everybody in.
    for tag in ["auth.basic.users", "auth.basic", "whiteList.sourceRange", "whitelistSourceRange"] {
        let told = read(&["traefik.frontend.rule=Host:a.x", &format!("traefik.frontend.{tag}=x")]);
        assert!(told.ends_with("with `middlewares` for what they say of who may pass\n"), "{told}");
    }
    // Those who have tags of later Traefiks miss nothing.
    let both = ["traefik.web.frontend.rule=Host:a.x", "traefik.http.routers.a.rule=Host(`a.x`)"];
    let told = read(&both);
    assert!(
        told.contains(
            "`traefik.web.frontend.rule`: such tags are of Traefik 1, and have no effect\n"
        )
    );
    for tag in ["web.port", "backend", "backend.loadbalancer.sticky", "weight", "protocol"] {
        assert!(read(&[&format!("traefik.{tag}=x")]).contains("Traefik 1"), "{tag}");
    }
    // It may be about who may pass, whatever the router is called.
    assert!(read(&["traefik.routers.frontend.middlewares=x"]).contains("is unknown"));
}

#[test]
fn a_misspelt_tag_that_says_who_may_pass_is_handed_on() {
    let rule = "traefik.http.routers.a.rule=Path(`/`)";
    for (path, is_handed_on) in [
        ("htp.routers.a.middlewares", true),
        ("httprouters.a.middlewares", true),
        ("http/routers.a.middlewares", true),
        ("x.http.routers.a.tls.options", true),
        ("x.http.routers.a.rule", false),
        ("company.router.rule", false),
        ("htttp.router.a.Middleware", true),
        ("https.routers.a.entry-points[0]", true),
        ("web.routers.a.tls.certresolver", true),
        ("routers.a.tls", true),
        ("htp.routers.a.rule", false),
        ("htp.routers.tls.rule", false),
        ("htp.services.a.middlewares", false),
        ("htp.middlewares.a.headers.tls", false),
        ("tls", false),
        ("company.tls", false),
        ("tcp.routers.a.tls", false),
        ("udp.routers.a.entrypoints", false),
        ("docker.routers.a.tls", false),
    ] {
        let declared = read("web", &[rule, &format!("traefik.{path}=x")]);
        let expected = format!("{path} = x (traefik.{path})");
        assert_eq!(declared.contains(&expected), is_handed_on, "{declared}");
    }
    // It declares nothing: without a router by itself there is none to close.
    let alone = read("web", &["traefik.htp.routers.a.middlewares=x"]);
    assert!(alone.starts_with("dc1/a/web tag"), "{alone}");
}

#[test]
fn names_are_normalized_as_in_traefik() {
    assert_eq!(normalize("--my_service.v2!"), "my-service-v2");
    assert_eq!(normalize("..."), "");
}
