use super::*;
use crate::test_util::{exchange, router};

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
    selects(&table, "GET http://z.local/api", "wild");
    selects(&table, "GET http://z.z.local/api", "open");
    selects(&table, "GET http://b.local/api", "either");
    selects(&table, "GET http://c.local/c", "either");
    selects(&table, "GET http://c.local/d", "wild");
    selects(&table, "GET /", "open");
}
