//! Spelling, coercion and complaints, case by case.

use serde_json::json;

use super::*;

/// As schemars writes it.
const SCHEMA: &str = r##"{
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {
        "source-range": { "type": "array", "items": { "type": "string" }, "minItems": 1 },
        "permanent": { "type": "boolean" },
        "port": { "type": ["integer", "null"], "minimum": 1, "maximum": 65535 },
        "ratio": { "type": "number" },
        "interval": { "type": "string" },
        "scheme": { "type": "string", "enum": ["http", "https"] },
        "mode": { "oneOf": [{ "const": "fast", "type": "string" }, { "const": "careful" }] },
        "custom-request-headers": {
            "type": "object",
            "additionalProperties": { "type": "string" }
        },
        "limits": { "anyOf": [{ "$ref": "#/$defs/Limits" }, { "type": "null" }] },
        "rules": { "type": "array", "items": { "$ref": "#/$defs/Rule" } },
        "ports": { "type": "array", "items": { "type": "integer" } },
        "either": { "anyOf": [{ "type": "boolean" }, { "$ref": "#/$defs/Rule" }] },
        "anything": true
    },
    "additionalProperties": false,
    "$defs": {
        "Limits": {
            "type": "object",
            "properties": { "max-body": { "type": "integer" } },
            "required": ["max-body"],
            "additionalProperties": false
        },
        "Rule": {
            "type": "object",
            "properties": { "statusCode": { "type": "integer" }, "text": { "type": "string" } }
        }
    }
}"##;

#[track_caller]
fn becomes(config: Value, expected: Value) {
    let schema = Schema::parse(SCHEMA).expect("a good schema");
    assert_eq!(schema.canonical(&config), Ok(expected));
}

#[track_caller]
fn refused(config: Value, expected: &[(&str, &str, Option<&str>)]) {
    let schema = Schema::parse(SCHEMA).expect("a good schema");
    let errors = schema.canonical(&config).expect_err("must be refused");
    let errors: Vec<_> = errors
        .iter()
        .map(|error| (error.path.as_str(), error.message.as_str(), error.hint.as_deref()))
        .collect();
    assert_eq!(errors, expected);
}

#[test]
fn keys_take_the_spelling_of_the_schema() {
    for key in ["source-range", "sourceRange", "sourcerange", "SOURCE-RANGE", "Source-range"] {
        becomes(json!({ key: ["a"] }), json!({ "source-range": ["a"] }));
    }
    becomes(
        json!({ "rules": [{ "status-code": 1 }, { "STATUSCODE": 2 }] }),
        json!({ "rules": [{ "statusCode": 1 }, { "statusCode": 2 }] }),
    );
    becomes(json!({ "limits": { "MaxBody": 1 } }), json!({ "limits": { "max-body": 1 } }));
}

#[test]
fn keys_of_maps_stay_as_written() {
    let headers = json!({ "X-Served-By": "a", "x-served-by": "b" });
    becomes(
        json!({ "customRequestHeaders": headers }),
        json!({ "custom-request-headers": headers }),
    );
    let free = json!({ "Any-Key": { "In-Any": "Spelling" } });
    becomes(json!({ "anything": free }), json!({ "anything": free }));
}

#[test]
fn text_becomes_what_the_schema_asks_for() {
    becomes(json!({ "port": "443" }), json!({ "port": 443 }));
    becomes(json!({ "port": " 443 " }), json!({ "port": 443 }));
    becomes(json!({ "ratio": "0.5" }), json!({ "ratio": 0.5 }));
    becomes(json!({ "ratio": "2" }), json!({ "ratio": 2 }));
    becomes(json!({ "permanent": "true" }), json!({ "permanent": true }));
    becomes(json!({ "permanent": "False" }), json!({ "permanent": false }));
    becomes(json!({ "interval": "5s" }), json!({ "interval": "5s" }));
    becomes(json!({ "interval": "5" }), json!({ "interval": "5" }));
    becomes(json!({ "limits": { "max-body": "10" } }), json!({ "limits": { "max-body": 10 } }));
    becomes(
        json!({ "rules": [{ "statuscode": "301", "text": "1" }] }),
        json!({ "rules": [{ "statusCode": 301, "text": "1" }] }),
    );
}

#[test]
fn numbers_and_booleans_become_text_where_that_is_asked_for() {
    becomes(
        json!({ "interval": 5, "source-range": [1, true], "customRequestHeaders": {
            "X-Port": 443, "X-On": true, "X-Part": 1.5
        }}),
        json!({ "interval": "5", "source-range": ["1", "true"], "custom-request-headers": {
            "X-Port": "443", "X-On": "true", "X-Part": "1.5"
        }}),
    );
    // Where anything goes they are what they are.
    becomes(json!({ "anything": [1, true] }), json!({ "anything": [1, true] }));
    refused(json!({ "scheme": 1 }), &[("/scheme", "must be one of `http`, `https`", None)]);
}

#[test]
fn a_key_with_nothing_behind_it_is_left_out() {
    becomes(
        json!({ "interval": null, "permanent": null, "source-range": null, "rules": [{ "text": null }],
            "customRequestHeaders": { "X-A": null, "X-B": "b" } }),
        json!({ "rules": [{}], "custom-request-headers": { "X-B": "b" } }),
    );
    becomes(json!({ "either": null }), json!({}));
    refused(json!({ "limits": { "max-body": null } }), &[("/limits", "needs `max-body`", None)]);
    // Where nothing is a value, it is one.
    becomes(json!({ "port": null, "limits": null }), json!({ "port": null, "limits": null }));
    becomes(json!({ "anything": { "a": null } }), json!({ "anything": { "a": null } }));
    becomes(json!({ "prot": null }), json!({}));
}

#[test]
fn text_becomes_a_list_at_its_commas() {
    becomes(
        json!({ "sourceRange": "10.0.0.0/8, 127.0.0.1,," }),
        json!({ "source-range": ["10.0.0.0/8", "127.0.0.1"] }),
    );
    becomes(json!({ "ports": "1,2" }), json!({ "ports": [1, 2] }));
    becomes(json!({ "ports": ["1", 2] }), json!({ "ports": [1, 2] }));
    becomes(json!({ "ports": "" }), json!({ "ports": [] }));
}

#[test]
fn one_value_is_a_list_of_one() {
    becomes(json!({ "ports": 1 }), json!({ "ports": [1] }));
    becomes(json!({ "rules": { "text": "x" } }), json!({ "rules": [{ "text": "x" }] }));
    becomes(json!({ "source-range": "::1" }), json!({ "source-range": ["::1"] }));
}

#[test]
fn true_and_nothing_stand_for_an_empty_table() {
    becomes(json!(null), json!({}));
    becomes(json!("true"), json!({}));
    becomes(json!(true), json!({}));
    becomes(json!(""), json!({}));
    becomes(json!({ "limits": null, "port": null }), json!({ "limits": null, "port": null }));
}

#[test]
fn of_several_shapes_the_fitting_one_is_taken() {
    becomes(json!({ "either": "true" }), json!({ "either": true }));
    becomes(json!({ "either": { "StatusCode": "1" } }), json!({ "either": { "statusCode": 1 } }));
    becomes(json!({ "mode": "fast" }), json!({ "mode": "fast" }));
}

#[test]
fn unknown_keys_are_refused_with_what_was_meant() {
    refused(
        json!({ "sourceRage": "a" }),
        &[("/sourceRage", "unknown option `sourceRage`", Some("did you mean `source-range`?"))],
    );
    refused(
        json!({ "limits": { "max-bodi": 1, "max-body": 1 } }),
        &[("/limits/max-bodi", "unknown option `max-bodi`", Some("did you mean `max-body`?"))],
    );
    refused(
        json!({ "rules": [{ "text": "a" }, { "a/b": 1 }] }),
        &[("/rules/1/a~1b", "unknown option `a/b`", Some("known are `statusCode`, `text`"))],
    );
}

#[test]
fn two_spellings_of_one_key_are_refused() {
    refused(
        json!({ "sourceRange": ["a"], "source-range": ["b"] }),
        &[("/sourceRange", "`source-range` is given twice, in two spellings", None)],
    );
}

#[test]
fn what_does_not_fit_is_refused_in_plain_words() {
    refused(json!({ "port": "x" }), &[("/port", "must be a whole number, not `x`", None)]);
    refused(json!({ "port": 70000 }), &[("/port", "must be at most 65535", None)]);
    refused(
        json!({ "permanent": "yes" }),
        &[("/permanent", "must be true or false, not `yes`", None)],
    );
    refused(json!({ "interval": {} }), &[("/interval", "must be text, not a table", None)]);
    refused(json!({ "source-range": [] }), &[("/source-range", "needs at least one", None)]);
    refused(json!({ "ports": "1,x" }), &[("/ports/1", "must be a whole number, not `x`", None)]);
    refused(
        json!({ "scheme": "htps" }),
        &[("/scheme", "must be one of `http`, `https`", Some("did you mean `https`?"))],
    );
    refused(
        json!({ "mode": "fist" }),
        &[("/mode", "must be one of `fast`, `careful`", Some("did you mean `fast`?"))],
    );
    refused(json!({ "limits": {} }), &[("/limits", "needs `max-body`", None)]);
    refused(json!([1]), &[("", "must be a table, not a list", None)]);
}

#[test]
fn every_problem_is_told() {
    refused(
        json!({ "port": 0, "prot": 1, "ratio": "x" }),
        &[
            ("/prot", "unknown option `prot`", Some("did you mean `port`?")),
            ("/port", "must be at least 1", None),
            ("/ratio", "must be a number, not `x`", None),
        ],
    );
}

#[test]
fn a_schema_that_turns_in_a_circle_ends() {
    let schema = r##"{ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" },
        "b": { "type": "object", "properties": { "next": { "$ref": "#/$defs/a" } } } } }"##;
    let schema = Schema::parse(schema).expect("a good schema");
    let mut config = json!({});
    for _ in 0..100 {
        config = json!({ "NEXT": config });
    }
    // It is deeper than we follow; it must only come to an end.
    drop(schema.canonical(&config));
    assert_eq!(
        schema.canonical(&json!({ "NEXT": { "Next": {} } })),
        Ok(json!({ "next": { "next": {} } }))
    );
}

#[test]
fn what_is_no_schema_is_refused() {
    for text in ["", "{", r#"{ "type": "rubbish" }"#, r#"{ "$ref": "https://elsewhere/x" }"#] {
        assert!(Schema::parse(text).is_err(), "{text}");
    }
}

#[test]
fn options_are_shown_in_camel_case_and_headers_as_they_are() {
    let schema = Schema::parse(SCHEMA).expect("a good schema");
    let written = json!({
        "customrequestheaders": { "x-from-us": "yes" },
        "source-range": "10.0.0.1, 10.0.0.2",
        "limits": { "maxBody": "5" },
        "rules": [{ "status-code": 404 }],
        "what-is-this": 1,
    });
    let shown = json!({
        "customRequestHeaders": { "x-from-us": "yes" },
        "sourceRange": ["10.0.0.1", "10.0.0.2"],
        "limits": { "maxBody": 5 },
        "rules": [{ "statusCode": 404 }],
    });
    assert_eq!(schema.shown(&written), shown);
}

/// As schemars writes it, with the keywords that a plugin adds.
const WITH_FILES: &str = r##"{
    "type": "object",
    "properties": {
        "users-file": { "type": ["string", "null"], "default": null, "x-content-of": "file" },
        "usual": { "type": "string", "default": "motd", "x-content-of": "file" },
        "pages": {
            "type": "object",
            "additionalProperties": { "type": "string", "x-content-of": "file" }
        },
        "rules": { "type": "array", "items": { "$ref": "#/$defs/Rule" } },
        "plain": { "type": "string" },
        "root": { "type": "string", "x-content-of": "file-or-pem" },
        "reached": { "type": "string", "x-reaches": "files" }
    },
    "additionalProperties": false,
    "$defs": {
        "Rule": {
            "type": "object",
            "properties": { "list": { "type": "string", "x-content-of": "file" } }
        }
    }
}"##;

#[test]
fn files_are_found_wherever_they_stand_and_filled_with_their_contents() {
    let schema = Schema::parse(WITH_FILES).expect("a good schema");
    let written = json!({
        "usersFile": "users", "plain": "p", "reached": "r",
        "pages": { "a/b": "page" },
        "rules": [{ "list": "" }, { "List": "second" }],
    });
    let config = schema.canonical(&written).expect("a good configuration");
    let found = schema.files(&config);
    let found: Vec<_> = found.iter().map(|it| (it.path.as_str(), it.file.as_str())).collect();
    let expected = [
        ("/pages/a~1b", "page"),
        ("/rules/1/list", "second"),
        ("/users-file", "users"),
        ("/usual", "motd"),
    ];
    assert_eq!(found, expected);
    let contents = ["1", "2", "3", "4"].map(Arc::from);
    let filled = json!({
        "users-file": "3", "plain": "p", "reached": "r", "usual": "4",
        "pages": { "a/b": "1" },
        "rules": [{ "list": "" }, { "list": "2" }],
    });
    assert_eq!(schema.filled(config, &contents), filled);
    let root = |text: &str| {
        let config = schema.canonical(&json!({ "usual": "", "root": text }));
        schema.files(&config.expect("a good configuration")).len()
    };
    assert_eq!([root("root.pem"), root("\n-----BEGIN CERTIFICATE-----\n")], [1, 0]);
    let none = schema.canonical(&json!({ "usual": "" })).expect("a good configuration");
    assert_eq!(schema.files(&none), []);
}

#[test]
fn what_holds_by_default_is_filled_too() {
    let mut config = json!({});
    marked::put(&mut config, "/deep/er", "x");
    assert_eq!(config, json!({ "deep": { "er": "x" } }));
}
