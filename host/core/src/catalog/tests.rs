//! What is kept, and what goes, when a provider reports.

use super::*;

fn instance(id: &str, service: &str, port: u16) -> Item {
    let (id, service) = (id.to_owned(), service.to_owned());
    Item::Instance(Instance { id, service, port, ..Instance::default() }.into())
}

fn ports(source: &Source) -> Vec<String> {
    let told = |(id, known): (&String, &Registered)| format!("{id}:{}", known.instance.port);
    source.instances.iter().map(told).collect()
}

#[test]
fn instances_of_services_that_could_not_be_read_stay() {
    let mut source = Source::new("consul", "consul");
    let known = vec![instance("a", "api", 1), instance("m", "web", 2), instance("w", "web", 3)];
    assert_eq!(source.apply(Update::Snapshot(known), Vec::new()), Ok(true));
    let excerpt = |items: Vec<Item>, unread: &[&str]| Update::Excerpt {
        items,
        unread: unread.iter().map(|&name| name.to_owned()).collect(),
    };
    // Of the service that was not read one instance is another's now.
    let items = || vec![instance("b", "api", 4), instance("m", "moved", 5)];
    let outcome = source.apply(excerpt(items(), &["web", "never there"]), Vec::new());
    assert_eq!(
        (outcome, ports(&source)),
        (Ok(true), vec!["b:4".into(), "m:5".into(), "w:3".into()])
    );
    assert_eq!(source.apply(excerpt(items(), &["web"]), Vec::new()), Ok(false));
    assert_eq!(source.apply(excerpt(items(), &[]), Vec::new()), Ok(true));
    assert_eq!(ports(&source), ["b:4", "m:5"]);
}

#[test]
fn a_file_of_keys_with_nothing_behind_them_says_nothing() {
    let mut source = Source::new("file", "file");
    let config = serde_json::json!({
        "http": { "routers": null }, "tcp": null, "tls": null,
        "dns": { "records": null, "datacenters": null }
    });
    let fragment = Fragment { origin: "a.yaml".to_owned(), config };
    let item = Item::Fragment(fragment.into());
    assert_eq!(source.apply(Update::Snapshot(vec![item]), Vec::new()), Ok(true));
    let parsed = source.fragments.values().next().expect("there is one");
    assert_eq!(parsed.declared.flaws, []);
}

#[test]
fn what_stays_counts_among_the_items_of_a_provider() {
    let mut source = Source::new("consul", "consul");
    let many = |service: &'static str, count: usize| {
        (0..count).map(move |number| instance(&format!("{service}{number}"), service, 1)).collect()
    };
    let first = Update::Snapshot(many("a", MAX_ITEMS / 2));
    assert_eq!(source.apply(first, Vec::new()), Ok(true));
    let items = many("b", MAX_ITEMS / 2 + 1);
    let second = Update::Excerpt { items, unread: vec!["a".to_owned()] };
    assert_eq!(source.apply(second, Vec::new()), Err(UpdateError::TooMany(MAX_ITEMS + 1)));
    assert_eq!(source.instances.len(), MAX_ITEMS / 2);
}
