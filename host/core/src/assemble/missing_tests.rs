//! Routers that refer to what is not there, and those that are on no entrypoint.

use std::sync::Arc;

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::{
    Assembler,
    tests::{consul, file, inputs},
};
use crate::{
    catalog::Source,
    item::{Fragment, Item, Update},
    snapshot::Snapshot,
};

/// What is wrong, with how bad it is and what to do.
fn problems(snapshot: &Snapshot) -> String {
    let line = |severity, message: &str, hint: Option<&str>| {
        format!("{severity:?} {message} ({})", hint.unwrap_or("-"))
    };
    let told = snapshot.problems.iter().filter(|it| !it.message.contains("which wins"));
    let told = told.map(|it| line(it.severity, &it.message, it.hint.as_deref()));
    told.collect::<Vec<_>>().join("\n")
}

/// The same routers in `config.toml` and in a file of a provider.
fn sources(routers: &Value) -> Vec<Source> {
    let http = json!({ "routers": routers });
    let mut files = Source::new("files", "file");
    let fragment = Fragment { origin: "r.toml".to_owned(), config: json!({ "http": http }) };
    files.apply(Update::Snapshot(vec![Item::Fragment(Arc::new(fragment))]), vec![]).unwrap();
    vec![file(http), files]
}

#[test]
fn what_is_not_there_is_a_mistake_once_everybody_who_could_have_it_was_heard() {
    let routers = json!({
        "own": { "rule": "Host(`a`)", "service": "gone" },
        "catalog": { "rule": "Host(`b`)", "middlewares": ["gone@consulcatalog"], "service": "x@consul" },
        "nobody": { "rule": "Host(`c`)", "service": "x@nowhere" },
        "ours": { "rule": "Host(`d`)", "service": "api@internal" },
        "none": { "rule": "Host(`e`)", "middlewares": ["redirect@internal"], "service": "ping@internal" },
    });
    let mut assembler = Assembler::default();
    let mut check = |catalog: Source, expect: Expect| {
        let sources = sources(&routers).into_iter().chain([catalog]).collect();
        expect.assert_eq(&problems(&assembler.assemble(&inputs(sources))));
    };
    // What the catalog has is not known yet.
    check(
        Source::new("consul", "consul"),
        expect![[r#"
            Error router `nobody`: there is no service `x@nowhere`, so it answers 503 (the providers are `config`, `files`, `consul`)
            Error router `none`: there is no middleware `redirect@internal`, so it answers 503 (there is one for each entrypoint with `redirect`, such as `redirect-web-to-websecure`; where an entrypoint redirects, no router needs it)
            Error router `own`: there is no service `gone@config`, so it answers 503 (-)
            Error router `nobody`: there is no service `x@nowhere`, so it answers 503 (the providers are `config`, `files`, `consul`)
            Error router `none`: there is no middleware `redirect@internal`, so it answers 503 (there is one for each entrypoint with `redirect`, such as `redirect-web-to-websecure`; where an entrypoint redirects, no router needs it)
            Error router `own`: there is no service `gone@files`, so it answers 503 (-)
            Warning router `catalog`: there is no middleware `gone@consulcatalog`, so it answers 503 (-)
            Warning router `catalog`: there is no service `x@consul`, so it answers 503 (-)
            Warning router `none`: there is no service `ping@internal`, so it answers 503 (it is where `[admin]` is, which is switched off or cannot be bound)
            Warning router `ours`: there is no service `api@internal`, so it answers 503 (it is where `[admin]` is, which is switched off or cannot be bound)
            Warning router `catalog`: there is no middleware `gone@consulcatalog`, so it answers 503 (-)
            Warning router `catalog`: there is no service `x@consul`, so it answers 503 (-)
            Warning router `none`: there is no service `ping@internal`, so it answers 503 (it is where `[admin]` is, which is switched off or cannot be bound)
            Warning router `ours`: there is no service `api@internal`, so it answers 503 (it is where `[admin]` is, which is switched off or cannot be bound)"#]],
    );
    check(
        consul(Vec::new()),
        expect![[r#"
            Error router `nobody`: there is no service `x@nowhere`, so it answers 503 (the providers are `config`, `files`, `consul`)
            Error router `none`: there is no middleware `redirect@internal`, so it answers 503 (there is one for each entrypoint with `redirect`, such as `redirect-web-to-websecure`; where an entrypoint redirects, no router needs it)
            Error router `own`: there is no service `gone@config`, so it answers 503 (-)
            Error router `catalog`: there is no middleware `gone@consulcatalog`, so it answers 503 (-)
            Error router `catalog`: there is no service `x@consul`, so it answers 503 (-)
            Error router `nobody`: there is no service `x@nowhere`, so it answers 503 (the providers are `config`, `files`, `consul`)
            Error router `none`: there is no middleware `redirect@internal`, so it answers 503 (there is one for each entrypoint with `redirect`, such as `redirect-web-to-websecure`; where an entrypoint redirects, no router needs it)
            Error router `own`: there is no service `gone@files`, so it answers 503 (-)
            Warning router `catalog`: there is no middleware `gone@consulcatalog`, so it answers 503 (-)
            Warning router `catalog`: there is no service `x@consul`, so it answers 503 (-)
            Warning router `none`: there is no service `ping@internal`, so it answers 503 (it is where `[admin]` is, which is switched off or cannot be bound)
            Warning router `ours`: there is no service `api@internal`, so it answers 503 (it is where `[admin]` is, which is switched off or cannot be bound)
            Warning router `none`: there is no service `ping@internal`, so it answers 503 (it is where `[admin]` is, which is switched off or cannot be bound)
            Warning router `ours`: there is no service `api@internal`, so it answers 503 (it is where `[admin]` is, which is switched off or cannot be bound)"#]],
    );
}

#[test]
fn a_router_without_entrypoints_is_told_that_no_request_comes_to_it() {
    let routers = json!({
        "some": { "rule": "Host(`a`)", "service": "noop@internal", "entrypoints": ["web", "https"] },
        "none": { "rule": "Host(`b`)", "service": "noop@internal", "entrypoints": ["https", "x"] },
        "plain": { "rule": "Host(`c`)", "service": "noop@internal", "entrypoints": ["web"], "tls": {} },
        "usual": { "rule": "Host(`d`)", "service": "noop@internal", "tls": {} },
    });
    let mut given = inputs(vec![file(json!({ "routers": routers }))]);
    given.entrypoints[0].is_default = true;
    expect![[r#"
        Error router `none`: there is no entrypoint `https` (-)
        Error router `none`: there is no entrypoint `x`, so no request comes to it (-)
        Error router `plain`: the router wants TLS, which entrypoint `web` does not have, so no request comes to it (-)
        Error router `usual`: the router wants TLS, but none of those that are `as-default` (`web`) has it, so no request comes to it (name an entrypoint: `entrypoints = ["websecure"]`)
        Warning router `some`: there is no entrypoint `https` (-)"#]].assert_eq(&problems(&Assembler::default().assemble(&given)));
    given.entrypoints.clear();
    expect![[r#"
        Warning router `none`: there is no entrypoint `https` (-)
        Warning router `none`: there is no entrypoint `x`, so no request comes to it (-)
        Warning router `plain`: there is no entrypoint `web`, so no request comes to it (-)
        Warning router `some`: there is no entrypoint `https`, so no request comes to it (-)
        Warning router `some`: there is no entrypoint `web` (-)"#]]
    .assert_eq(&problems(&Assembler::default().assemble(&given)));
}
