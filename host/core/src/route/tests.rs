//! The index selects what a scan of all routers would.

use super::*;
use crate::test_util::{exchange, exchange_with, router};

fn table(rules: &[(&str, &str)]) -> RouteTable {
    RouteTable::build(rules.iter().map(|(name, rule)| Arc::new(router(name, rule))).collect())
}

#[track_caller]
fn selects(table: &RouteTable, line: &str, name: &str) {
    let selected = table.select(&exchange(line)).map_or("none", |router| &router.name.name);
    assert_eq!(selected, name, "{line}");
}

#[test]
fn the_longer_rule_has_precedence() {
    let table = table(&[
        ("host", "Host(`a.local`)"),
        ("path", "Host(`a.local`) && PathPrefix(`/api`)"),
        ("wild", "Host(`*.local`)"),
        ("open", "PathPrefix(`/`)"),
        ("either", "Host(`b.local`) || Host(`c.local`) && Path(`/c`)"),
    ]);
    selects(&table, "GET http://a.local/", "host");
    selects(&table, "GET http://A.LOCAL.:80/", "host");
    selects(&table, "GET http://a.local/api/x", "path");
    selects(&table, "GET http://a.local/x/../api", "path");
    selects(&table, "GET http://a.local/%61pi", "path");
    selects(&table, "GET http://z.local/api", "wild");
    selects(&table, "GET http://z.z.local/api", "open");
    selects(&table, "GET http://b.local/api", "either");
    selects(&table, "GET http://c.local/c", "either");
    selects(&table, "GET http://c.local/d", "wild");
    selects(&table, "GET /", "open");
}

#[test]
fn no_router_takes_what_no_rule_wants() {
    let table = table(&[
        ("a", "Host(`a`)"),
        ("b", "Host(`*.b`) && Path(`/`)"),
        ("c", "Host(`c`) && Host(`d`)"),
    ]);
    for line in ["GET http://b/", "GET http://x.b/x", "GET http://c/", "GET http://.b/", "GET /"] {
        selects(&table, line, "none");
    }
    selects(&RouteTable::default(), "GET http://a/", "none");
}

/// Precedence, whatever the order in which routers are given.
#[test]
fn ties_are_always_broken_the_same_way() {
    let with = |name: &str, provider: &str, rule: &str, priority: i64| {
        let mut router = router(name, rule);
        router.name.provider = provider.into();
        router.priority = priority;
        Arc::new(router)
    };
    let routers = [
        with("first", "config", "Path(`/`)", 3),
        with("exact", "config", "Host(`a`)", 2),
        with("exact", "consul", "Host(`a`)", 2),
        with("exact-two", "consul", "Host(`a`)", 2),
        with("wild", "config", "Host(`*.a`)", 2),
        with("path", "config", "Path(`/longer`)", 2),
        with("long", "config", "PathPrefix(`/longer`)", 2),
        with("short", "config", "PathPrefix(`/l`)", 2),
        with("two", "config", "Method(`GET`) && Method(`GET`)", 2),
        with("one", "config", "Method(`GET`)", 2),
        with("low", "config", "Host(`a`) && Path(`/longer`)", -1),
    ];
    let names = |table: &RouteTable| -> Vec<String> {
        table.routers().map(|router| router.name.to_string()).collect()
    };
    let mut given = routers.to_vec();
    let order = names(&RouteTable::build(given.clone()));
    assert_eq!(order, routers.iter().map(|router| router.name.to_string()).collect::<Vec<_>>());
    for turn in 0..given.len() {
        given.rotate_left(turn);
        given.swap(0, turn);
        assert_eq!(names(&RouteTable::build(given.clone())), order);
    }
    let ranked = |providers: [&str; 2], by_specificity| {
        let providers = providers.map(Arc::from);
        let ranking = Ranking { providers: &providers, by_specificity };
        names(&RouteTable::ranked(given.clone(), ranking))
    };
    let order = ranked(["consul", "config"], true);
    assert_eq!(order[1..4], ["exact@consul", "exact-two@consul", "exact@config"]);
    // By length the provider goes before the rule.
    let placed = |order: &[String], name: &str| order.iter().position(|it| it == name);
    for (providers, is_first) in [(["consul", "config"], false), (["config", "consul"], true)] {
        let order = ranked(providers, false);
        assert_eq!(placed(&order, "one@config") < placed(&order, "exact@consul"), is_first);
    }
}

#[test]
fn of_equal_priority_the_rule_that_demands_more_has_precedence() {
    let with = |name: &str, rule: &str| {
        let mut router = router(name, rule);
        router.priority = 7;
        Arc::new(router)
    };
    let routers = [
        with("exact-long", "Host(`a.b`) && PathPrefix(`/long`)"),
        with("exact-short", "Host(`a.b`) && Path(`/lo`)"),
        with("exact", "Host(`a.b`)"),
        with("wildcard", "Host(`*.b`)"),
        with("regexp-path", "HostRegexp(`b$`) && PathPrefix(`/l`)"),
        with("regexp", "HostRegexp(`b$`)"),
        with("none-path", "PathPrefix(`/l`)"),
        with("a-none", "Method(`GET`)"),
        with("b-none", "Method(`GET`)"),
    ];
    let order = |table: &RouteTable| -> Vec<String> {
        table.routers().map(|router| router.name.name.to_string()).collect()
    };
    let given: Vec<_> = routers.iter().rev().cloned().collect();
    let names: Vec<_> = routers.iter().map(|router| router.name.name.to_string()).collect();
    assert_eq!(order(&RouteTable::build(given)), names);
}

/// Routers come and go, and the index answers what a scan would at every step; what it takes stays
/// in bounds.
#[test]
fn a_table_that_changes_is_as_good_as_a_new_one() {
    let mut dice = Dice(11);
    let mut table = RouteTable::default();
    let mut there: std::collections::BTreeMap<usize, Arc<Router>> = Default::default();
    let placed = |router: &Arc<Router>| Arc::new(Precedence::of(router, Ranking::default()));
    for _ in 0..400 {
        let number = dice.throw(60);
        let mut changes = Vec::new();
        if let Some(before) = there.remove(&number) {
            changes.push((placed(&before), None));
        }
        if dice.throw(5) > 0 {
            let after = Arc::new(router(&format!("r{number}"), &dice.rule(2)));
            let place = placed(&after);
            changes.retain(|(before, _)| *before != place);
            changes.push((place, Some(after.clone())));
            there.insert(number, after);
        }
        table.update(changes);
        assert_eq!(table.len(), there.len());
        let request = dice.request();
        let scan = table.routers().find(|router| router.predicate.matches(&request));
        let name = |it: Option<&Arc<Router>>| it.map(|it| it.name.clone());
        assert_eq!(name(table.select(&request)), name(scan));
    }
    table.update(there.values().map(|router| (placed(router), None)).collect());
    assert!(table.is_empty() && table.exact.is_empty() && table.below.is_empty());
}

#[test]
fn a_router_takes_a_few_hundred_bytes_of_a_table() {
    let routers = (0..5000).map(|n| Arc::new(router(&format!("r{n}"), &format!("Host(`h{n}.a`)"))));
    let table = RouteTable::build(routers.collect());
    assert!(table.bytes() < 5000 * 400, "{} bytes", table.bytes());
}

/// A generator that is the same on every machine (xorshift).
struct Dice(u64);

impl Dice {
    fn throw(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % sides as u64).unwrap()
    }

    fn pick<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.throw(all.len())]
    }

    fn rule(&mut self, depth: usize) -> String {
        match self.throw(if depth == 0 { 8 } else { 13 }) {
            0 | 1 => format!("Host(`{}`)", self.pick(&["a", "b", "x.a", "y.a", "z.y.a", "x.b"])),
            2 => format!("Host(`{}`)", self.pick(&["*.a", "*.b", "*.y.a", "*"])),
            3 => format!("HostRegexp(`{}`)", self.pick(&["a$", "^x", "y"])),
            4 => format!("Path(`{}`)", self.pick(&["/", "/a", "/a/b", "/ab"])),
            5 | 6 => format!("PathPrefix(`{}`)", self.pick(&["/", "/a", "/a/", "/ab", "/a/b/c"])),
            7 => self.pick(&["Method(`GET`)", "Header(`x-a`, `1`)", "PathRegexp(`b`)"]).to_owned(),
            8 => format!("!({})", self.rule(depth - 1)),
            9 | 10 => format!("({} || {})", self.rule(depth - 1), self.rule(depth - 1)),
            _ => format!("({} && {})", self.rule(depth - 1), self.rule(depth - 1)),
        }
    }

    fn request(&mut self) -> Exchange {
        let method = self.pick(&["GET", "POST"]);
        let host = self.pick(&[
            "http://a",
            "http://b",
            "http://x.a",
            "http://y.a",
            "http://z.y.a",
            "http://q.b",
            "",
        ]);
        let path = self.pick(&["/", "/a", "/a/", "/a/b", "/a/b/c/d", "/ab", "/abc", "/b"]);
        let headers: &[_] = if self.throw(2) == 0 { &[("x-a", "1")] } else { &[] };
        exchange_with(&format!("{method} {host}{path}"), headers)
    }
}

#[test]
fn the_index_answers_what_a_scan_would_answer() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    let mut selected = 0;
    for round in 0..60 {
        // Few routers at a host, and many.
        let count = [1, 3, 12, 40][round % 4];
        let routers: Vec<_> = (0..count)
            .map(|number| {
                let mut router = router(&format!("r{number}"), &dice.rule(3));
                if dice.throw(3) == 0 {
                    router.priority = i64::try_from(dice.throw(5)).unwrap();
                }
                Arc::new(router)
            })
            .collect();
        let table = RouteTable::build(routers);
        for _ in 0..60 {
            let exchange = dice.request();
            let scan = table.routers().find(|router| router.predicate.matches(&exchange));
            let found = table.select(&exchange);
            let name = |router: Option<&Arc<Router>>| {
                router.map(|router| format!("{} {}", router.name, router.rule))
            };
            assert_eq!(name(found), name(scan), "{:?}", exchange.request);
            selected += usize::from(found.is_some());
        }
    }
    // The test would say nothing if nothing, or everything, were selected.
    assert!((1000..3500).contains(&selected), "{selected} of 3600");
}

#[test]
fn many_paths_below_a_host_are_told_apart() {
    let mut rules = vec![("host".to_owned(), "Host(`h`)".to_owned())];
    for number in 0..200 {
        rules.push((format!("p{number}"), format!("Host(`h`) && PathPrefix(`/p{number}/`)")));
        rules.push((format!("e{number}"), format!("Host(`h`) && Path(`/p{number}/exact`)")));
        rules.push((format!("q{number}"), format!("PathPrefix(`/q{number}/`) && !Host(`no`)")));
    }
    let rules: Vec<_> = rules.iter().map(|(name, rule)| (&**name, &**rule)).collect();
    let table = table(&rules);
    selects(&table, "GET http://h/p7/x", "p7");
    selects(&table, "GET http://h/p77/x", "p77");
    selects(&table, "GET http://h/p77/exact", "p77");
    selects(&table, "GET http://h/p7", "host");
    selects(&table, "GET http://h/q7/", "q7");
    selects(&table, "GET http://no/q7/", "none");
    selects(&table, "GET http://i/q199/x", "q199");
}
