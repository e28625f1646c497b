//! Comparisons, simplification, and what predicates demand of host and path.

use http::HeaderName;

use super::{Field, Op, PathPattern, Predicate, Test};
use crate::test_util::{exchange, exchange_with, predicate};

fn test(field: Field, op: Op, values: &[&str]) -> Result<Predicate, String> {
    Test::new(field, op, values.iter().map(|value| (*value).to_owned()).collect())
        .map(Predicate::Test)
}

#[test]
fn every_field_is_compared() {
    let header = |name| Field::Header(HeaderName::from_static(name));
    let query = |name: &str| Field::Query(name.to_owned());
    let cookie = |name: &str| Field::Cookie(name.to_owned());
    let exchange = exchange_with(
        "GET https://www.A.local:8443/one/two%20x?q=1&q=%32&e",
        &[("x-a", "One"), ("x-a", "two"), ("cookie", "c=1; d=\"2\"")],
    );
    let cases = [
        (Field::Method, Op::Equals, &["POST", "GET"][..], true),
        (Field::Method, Op::Equals, &["get"], false),
        (Field::Method, Op::EqualsIgnoreCase, &["get"], true),
        (Field::Scheme, Op::Equals, &["https"], true),
        (Field::Host, Op::Equals, &["WWW.a.local."], true),
        (Field::Host, Op::Exists, &[], true),
        (Field::Host, Op::Suffix, &[".A.local"], true),
        (Field::Host, Op::Prefix, &["www."], true),
        (Field::Host, Op::Wildcard, &["x", "*.a.local"], true),
        (Field::Host, Op::Wildcard, &["*.local"], false),
        (Field::Host, Op::Wildcard, &["www.a.local"], true),
        (Field::Path, Op::Equals, &["/one/two x"], true),
        (Field::Path, Op::Prefix, &["/on"], true),
        (Field::Path, Op::PathPrefix, &["/on"], false),
        (Field::Path, Op::PathPrefix, &["/one"], true),
        (Field::Path, Op::PathPrefix, &["/one/"], true),
        (Field::Path, Op::PathPrefix, &["/one/two x"], true),
        (Field::Path, Op::PathPrefix, &["/"], true),
        (Field::Path, Op::Suffix, &["two x"], true),
        (Field::Path, Op::Contains, &["/t"], true),
        (Field::Path, Op::Contains, &["", "/z"], true),
        (Field::Path, Op::Contains, &["/z"], false),
        (Field::Path, Op::Regex, &["z", "e/t"], true),
        (query("q"), Op::Exists, &[], true),
        (query("e"), Op::Exists, &[], true),
        (query("z"), Op::Exists, &[], false),
        (query("q"), Op::Equals, &["2"], true),
        (query("q"), Op::Equals, &["3"], false),
        (header("x-a"), Op::Exists, &[], true),
        (header("x-b"), Op::Exists, &[], false),
        (header("x-a"), Op::Equals, &["two"], true),
        (header("x-a"), Op::Equals, &["one"], false),
        (header("x-a"), Op::EqualsIgnoreCase, &["one"], true),
        (header("x-a"), Op::Regex, &["(?i)^ONE$"], true),
        (cookie("d"), Op::Equals, &["2"], true),
        (cookie("z"), Op::Exists, &[], false),
        (Field::ClientIp, Op::Cidr, &["10.0.0.0/8", "192.0.2.0/30"], true),
        (Field::ClientIp, Op::Cidr, &["192.0.2.2"], false),
        (Field::ClientIp, Op::Exists, &[], true),
        (Field::Sni, Op::Equals, &["WWW.a.local"], true),
        (Field::Entrypoint, Op::Equals, &["web"], true),
    ];
    for (field, op, values, expected) in cases {
        let name = format!("{field:?} {op:?} {values:?}");
        let predicate = test(field, op, values).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(predicate.matches(&exchange), expected, "{name}");
    }
}

#[test]
fn a_mapped_address_is_the_address_it_maps() {
    let mut exchange = exchange_with("GET http://a/", &[]);
    exchange.peer.address = "[::ffff:10.1.2.3]:1".parse().unwrap();
    assert!(test(Field::ClientIp, Op::Cidr, &["10.0.0.0/8"]).unwrap().matches(&exchange));
}

#[test]
fn long_lists_mean_what_short_ones_mean() {
    let networks: Vec<String> = (0..100)
        .map(|n| format!("10.{n}.1.0/24"))
        .chain(["10.7.0.0/16".into(), "2001:db8::/32".into(), "10.7.9.9".into()])
        .collect();
    let networks: Vec<&str> = networks.iter().map(String::as_str).collect();
    let allowed = test(Field::ClientIp, Op::Cidr, &networks).unwrap();
    let mut exchange = exchange_with("GET http://h77/", &[]);
    for (address, expected) in [
        ("10.0.1.255", true),
        ("10.99.1.0", true),
        ("10.7.200.1", true),
        ("10.7.9.9", true),
        ("10.8.0.255", false),
        ("10.100.1.1", false),
        ("9.255.255.255", false),
        ("255.0.0.0", false),
        ("2001:db8:ffff::1", true),
        ("2001:db9::", false),
        ("::", false),
    ] {
        exchange.peer.address.set_ip(address.parse().unwrap());
        assert_eq!(allowed.matches(&exchange), expected, "{address}");
    }
    let hosts: Vec<String> = (0..100).map(|n| format!("H{n}")).collect();
    let hosts: Vec<&str> = hosts.iter().map(String::as_str).collect();
    for op in [Op::Equals, Op::EqualsIgnoreCase, Op::Wildcard] {
        assert!(test(Field::Host, op, &hosts).unwrap().matches(&exchange), "{op:?}");
        assert!(!test(Field::Host, op, &hosts[..70]).unwrap().matches(&exchange), "{op:?}");
    }
}

#[test]
fn a_request_without_a_host_has_one_for_expressions_that_nothing_fits_too() {
    let hostless = exchange("GET /");
    for (rule, expected) in [
        ("HostRegexp(`.*`)", true),
        ("HostRegexp(`^$`)", true),
        ("HostRegexp(`.+`)", false),
        ("Host(`a`)", false),
        ("Host(`*.a`)", false),
        ("!Host(`a`)", true),
    ] {
        assert_eq!(predicate(rule).matches(&hostless), expected, "{rule}");
    }
}

#[test]
fn comparisons_without_sense_are_refused() {
    for (field, op, values) in [
        (Field::Host, Op::Exists, &["a"][..]),
        (Field::Host, Op::Equals, &[]),
        (Field::Host, Op::Cidr, &["10.0.0.1"]),
        (Field::ClientIp, Op::Equals, &["10.0.0.1"]),
        (Field::ClientIp, Op::Cidr, &["10.0.0.1/33"]),
        (Field::Path, Op::Wildcard, &["*.a"]),
        (Field::Host, Op::Wildcard, &["a.*"]),
        (Field::Host, Op::Wildcard, &["*."]),
        (Field::Host, Op::Wildcard, &["*a"]),
        (Field::Path, Op::Regex, &["a("]),
        (Field::Path, Op::Regex, &["(?:a{500}){500}"]),
    ] {
        let name = format!("{field:?} {op:?} {values:?}");
        let error = test(field, op, values).expect_err(&name);
        assert!(!error.is_empty() && !error.contains('\n') && !error.ends_with('.'), "{error}");
    }
}

#[test]
fn predicates_are_simplified() {
    use Predicate::{All, Always, Any, Never, Not};
    let a = || test(Field::Host, Op::Equals, &["a"]).unwrap();
    let b = || test(Field::Host, Op::Equals, &["b"]).unwrap();
    let c = || test(Field::Host, Op::Equals, &["c"]).unwrap();
    for (before, after) in [
        (All(vec![]), Always),
        (Any(vec![]), Never),
        (All(vec![a()]), a()),
        (All(vec![a(), Always]), a()),
        (All(vec![a(), Never]), Never),
        (Any(vec![a(), Always]), Always),
        (Any(vec![a(), Never]), a()),
        (All(vec![All(vec![a(), b()]), c()]), All(vec![a(), b(), c()])),
        (Any(vec![Any(vec![a(), b()]), All(vec![c()])]), Any(vec![a(), b(), c()])),
        (All(vec![Any(vec![a(), b()]), c()]), All(vec![Any(vec![a(), b()]), c()])),
        (Not(Box::new(Not(Box::new(a())))), a()),
        (Not(Box::new(All(vec![]))), Never),
        (test(Field::Host, Op::Wildcard, &["*"]).unwrap(), Always),
    ] {
        assert_eq!(before.clone().simplify(), after, "{before:?}");
    }
}

#[test]
fn rules_demand_hosts() {
    for (rule, names, open) in [
        ("Host(`b`)", &["b"][..], false),
        ("Host(`B.`)", &["b"], false),
        ("Host(`a`) && Path(`/b`) || Host(`c`)", &["a", "c"], false),
        ("(Host(`a`) || Host(`b`)) && Path(`/`)", &["a", "b"], false),
        ("Host(`*.a`) || Host(`b`)", &["*.a", "b"], false),
        ("Host(`*.a`) && Host(`b.a`)", &["b.a"], false),
        ("Host(`*.a`) && Host(`a`)", &[], false),
        ("Host(`a`) && HostRegexp(`a`)", &["a"], false),
        ("HostRegexp(`a`)", &[], true),
        ("Host(`*`)", &[], true),
        ("Path(`/`)", &[], true),
        ("Host(`a`) || Path(`/`)", &["a"], true),
        ("(Host(`a`) || Path(`/`)) && (Host(`b`) || Path(`/c`))", &["a", "b"], true),
        ("(Host(`a`) || Path(`/`)) && Host(`b`)", &["b"], false),
        ("!Host(`a`)", &[], true),
        ("!!Host(`a`)", &["a"], false),
        ("!(!Host(`a`))", &["a"], false),
    ] {
        let hosts = predicate(rule).hosts();
        assert_eq!(
            (hosts.names(), hosts.open),
            (names.iter().map(|n| (*n).to_owned()).collect(), open),
            "{rule}"
        );
    }
}

#[test]
fn rules_demand_paths() {
    let exact = |path: &str| PathPattern::Exact(path.into());
    let prefix = |path: &str| PathPattern::Prefix(path.into());
    for (rule, patterns, open) in [
        ("Path(`/a`)", vec![exact("/a")], false),
        ("PathPrefix(`/a`) && PathPrefix(`/ab`)", vec![prefix("/ab")], false),
        ("PathPrefix(`/a`) && Path(`/ab`)", vec![exact("/ab")], false),
        ("Path(`/b`) && PathPrefix(`/a`)", vec![], false),
        ("Host(`a`) && (Path(`/a`) || PathPrefix(`/b`))", vec![exact("/a"), prefix("/b")], false),
        ("Host(`a`)", vec![], true),
        ("PathRegexp(`a`) || Path(`/a`)", vec![exact("/a")], true),
    ] {
        let paths = predicate(rule).paths();
        assert_eq!((paths.patterns, paths.open), (patterns, open), "{rule}");
    }
}

#[test]
fn a_great_many_hosts_are_demanded_in_time() {
    let names: Vec<String> = (0..10_000).map(|number| format!("h{number}")).collect();
    let names = names.iter().map(String::as_str).collect::<Vec<_>>();
    let many = || test(Field::Host, Op::Equals, &names).unwrap();
    let hosts = Predicate::All(vec![many(), many(), many()]).hosts();
    assert_eq!((hosts.patterns.len(), hosts.open), (10_000, false));
}
