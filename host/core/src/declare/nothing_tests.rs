//! Keys with nothing behind them, and values that are not of the kind that is wanted.

use serde_json::{Value, json};

use super::read;

#[track_caller]
fn same(one: Value, other: Value) {
    let (one, other) = (read(&one, ""), read(&other, ""));
    assert_eq!(one, other);
    assert!(one.flaws.is_empty(), "{:?}", one.flaws);
}

#[test]
fn a_key_with_nothing_behind_it_says_nothing() {
    same(
        json!({
            "routers": {
                "a": {
                    "rule": "Path(`/`)", "tls": null, "entryPoints": null, "middlewares": null,
                    "priority": null, "middlewars": null, "unheard-of": null
                },
                "b": null
            },
            "services": { "s": {
                "weighted": null,
                "loadBalancer": {
                    "servers": [{ "url": "http://a", "weight": null }], "passHostHeader": null,
                    "serversTransport": null, "sticky": null, "healthCheck": { "path": "/x", "headers":
                    { "x-a": null } }
                }
            }},
            "serversTransports": null
        }),
        json!({
            "routers": { "a": { "rule": "Path(`/`)" } },
            "services": { "s": { "loadBalancer": {
                "servers": [{ "url": "http://a" }], "healthCheck": { "path": "/x" }
            }}}
        }),
    );
    same(json!(null), json!({}));
}

#[test]
fn a_middleware_may_be_no_more_than_a_name() {
    let read = |middleware: Value| {
        let declared = read(&json!({ "middlewares": { "m": middleware } }), "");
        let plugin = declared.middlewares.into_iter().next().and_then(|(_, it)| it.plugin);
        (plugin.unwrap_or_default(), declared.flaws.len())
    };
    assert_eq!(read(json!({ "whoami": null })), ("whoami".to_owned(), 0));
    assert_eq!(
        read(json!({ "plugin": { "own": null }, "onFailure": null })),
        ("own".to_owned(), 0)
    );
    // What another one had is commented out.
    assert_eq!(read(json!({ "headers": null, "whoami": {} })), ("whoami".to_owned(), 0));
    assert_eq!(read(json!({ "headers": null, "whoami": null })), (String::new(), 1));
    assert_eq!(read(json!({ "timeLimit": null })), (String::new(), 1));
}

#[test]
fn numbers_and_booleans_are_the_text_that_they_are_written_as() {
    same(
        json!({
            "routers": { "a": { "rule": "Path(`/`)", "entryPoints": [8080, "web"], "middlewares": 1 } },
            "services": { "s": { "loadBalancer": {
                "healthCheck": { "path": "/x", "headers": { "x-a": true, "x-b": 5 } }
            }}}
        }),
        json!({
            "routers": { "a": {
                "rule": "Path(`/`)", "entryPoints": ["8080", "web"], "middlewares": ["1"]
            }},
            "services": { "s": { "loadBalancer": {
                "healthCheck": { "path": "/x", "headers": { "x-a": "true", "x-b": "5" } }
            }}}
        }),
    );
}
