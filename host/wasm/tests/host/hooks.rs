//! Hooks: what they can do to an exchange, and what they cannot do to anything else.

use std::{sync::Arc, time::Duration};

use http::{HeaderMap, StatusCode};
use portolan_core::{
    exchange::{Exchange, ResponseHead},
    port::{BindError, CallError, Hooks, RequestVerdict, ResponseVerdict},
};
use portolan_wasm::{Host, HostConfig, Plugin};
use serde_json::json;

use crate::{
    exchange,
    guest::{Guest, MIDDLEWARE},
    host, load,
};

/// The hooks of a middleware that does what the letter says.
fn hooks(plugin: &Plugin, letter: &str) -> Arc<dyn Hooks> {
    let middleware = plugin.middleware().expect("a middleware");
    let interest =
        middleware.bind("test", &json!({ "do": letter }), &[], None).expect("a good binding");
    assert!(interest.on_request && interest.on_response && interest.plan.is_empty());
    interest.hooks.expect("hooks")
}

fn header<'a>(exchange: &'a Exchange, name: &str) -> &'a str {
    let value = exchange.request.headers.get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or("absent")
}

/// What a hook that must go on hands to the response hook.
#[track_caller]
fn context(hooks: &Arc<dyn Hooks>) -> u64 {
    match hooks.on_request(exchange()).1 {
        Ok(RequestVerdict::Continue { context, response: true, .. }) => context,
        other => panic!("must go on: {other:?}"),
    }
}

#[test]
fn changes_are_applied_when_the_hook_returns() {
    let plugin = load(&host(), &MIDDLEWARE);
    let (after, verdict) = hooks(&plugin, "o").on_request(exchange());
    assert!(matches!(verdict, Ok(RequestVerdict::Continue { context: 7, response: true, .. })));
    assert_eq!(header(&after, "x-one"), "x-two");
    assert_eq!(header(&after, "x-two"), "absent");
}

#[test]
fn a_hook_sees_its_own_changes() {
    let plugin = load(&host(), &MIDDLEWARE);
    let (after, verdict) = hooks(&plugin, "s").on_request(exchange());
    assert!(verdict.is_ok());
    assert_eq!(header(&after, "x-two"), "x-two");
    let (after, verdict) = hooks(&plugin, "p").on_request(exchange());
    assert!(verdict.is_ok());
    assert_eq!(header(&after, "x-two"), "/path", "in the form that routing sees");
    assert_eq!(after.request.path(), "/path");
}

#[test]
fn a_trap_costs_one_call_and_loses_its_changes() {
    let plugin = load(&host(), &MIDDLEWARE);
    let (bad, good) = (hooks(&plugin, "t"), hooks(&plugin, "o"));
    let (after, verdict) = bad.on_request(exchange());
    let Err(CallError::Trap { cause }) = verdict else { panic!("must trap: {verdict:?}") };
    assert!(cause.starts_with("panicked, or reached `unreachable` in "), "{cause}");
    assert_eq!(header(&after, "x-one"), "1");
    assert_eq!(context(&good), 7);
    let figures = plugin.figures();
    assert_eq!((figures.traps.value(), figures.calls.value() > 2), (1, true));
}

#[test]
fn a_failure_that_a_plugin_tells_loses_its_changes() {
    let plugin = load(&host(), &MIDDLEWARE);
    let (after, verdict) = hooks(&plugin, "f").on_request(exchange());
    assert!(matches!(verdict, Err(CallError::Said(text)) if text == "it is full"));
    assert_eq!(header(&after, "x-one"), "1");
    assert_eq!(plugin.figures().failures.value(), 1);
    assert_eq!(plugin.figures().instantiations.value(), 1, "the instance is as good as before");
}

#[test]
fn an_endless_loop_ends_at_the_limit() {
    let config = HostConfig { call_limit: Duration::from_millis(5), ..HostConfig::default() };
    let plugin = load(&Host::new(config).expect("a host"), &MIDDLEWARE);
    let (after, verdict) = hooks(&plugin, "l").on_request(exchange());
    let limit = Duration::from_millis(5);
    assert!(matches!(verdict, Err(CallError::Deadline { limit: it }) if it == limit));
    assert_eq!(header(&after, "x-one"), "1");
    assert_eq!(plugin.figures().deadlines.value(), 1);
}

/// How long a hook that never ends may run, and for how long it is called aside.
fn limits(plugin: &Plugin, limit: Option<Duration>) -> (Duration, Option<Duration>) {
    let middleware = plugin.middleware().expect("a middleware");
    let interest =
        middleware.bind("test", &json!({ "do": "l" }), &[], limit).expect("a good binding");
    match interest.hooks.expect("hooks").on_request(exchange()).1 {
        Err(CallError::Deadline { limit }) => (limit, interest.aside),
        other => panic!("must run too long: {other:?}"),
    }
}

const MS: Duration = Duration::from_millis(1);

#[test]
fn a_binding_may_have_a_time_limit_of_its_own() {
    let config = HostConfig { call_limit: 5 * MS, ..HostConfig::default() };
    let plugin = load(&Host::new(config).expect("a host"), &MIDDLEWARE);
    assert_eq!(limits(&plugin, None), (5 * MS, None));
    assert_eq!(limits(&plugin, Some(2 * MS)), (2 * MS, None));
    assert_eq!(limits(&plugin, Some(20 * MS)), (20 * MS, Some(20 * MS)));
}

/// `extra` says `hook-time-limit-ms`, with a value of four letters.
fn with_limit(value: &str) -> Guest {
    let value = u32::from_le_bytes(value.as_bytes().try_into().expect("four letters"));
    let describe = format!(
        r#"(i64.store (i32.const 1600) (i64.const 0x6d69742d6b6f6f68))
        (i64.store (i32.const 1608) (i64.const 0x2d74696d696c2d65))
        (i32.store16 (i32.const 1616) (i32.const 0x736d))
        (i32.store (i32.const 1640) (i32.const {value}))
        (i32.store (i32.const 1660) (i32.const 1600))
        (i32.store (i32.const 1664) (i32.const 18))
        (i32.store (i32.const 1668) (i32.const 1640))
        (i32.store (i32.const 1672) (i32.const 4))
        (i32.store (i32.const 44) (i32.const 1660))
        (i32.store (i32.const 48) (i32.const 1))"#
    );
    Guest { describe: describe.leak(), ..MIDDLEWARE }
}

#[test]
fn a_plugin_may_say_that_its_hooks_take_long() {
    let home = tempfile::tempdir().expect("a temporary directory");
    for cached in [false, true] {
        let config = HostConfig {
            call_limit: 5 * MS,
            cache_dir: Some(home.path().join("plugins")),
            ..HostConfig::default()
        };
        let plugin = load(&Host::new(config).expect("a host"), &with_limit("0030"));
        assert_eq!(plugin.loading().cached, cached);
        assert_eq!(limits(&plugin, None), (30 * MS, Some(30 * MS)));
        assert_eq!(limits(&plugin, Some(4 * MS)), (4 * MS, None), "the binding has the last word");
    }
    let error = host().load("letter", &with_limit("long").component(), None);
    let error = error.expect_err("must be refused").to_string();
    assert!(error.contains("its `hook-time-limit-ms` is `long`"), "{error}");
}

#[test]
fn hooks_that_take_long_share_instances_among_all_threads() {
    let plugin = load(&host(), &MIDDLEWARE);
    let middleware = plugin.middleware().expect("a middleware");
    let limit = Some(Duration::from_secs(60));
    let interest =
        middleware.bind("test", &json!({ "do": "o" }), &[], limit).expect("a good binding");
    let hooks = interest.hooks.expect("hooks");
    for _ in 0..4 {
        let hooks = hooks.clone();
        std::thread::spawn(move || context(&hooks)).join().expect("a good call");
    }
    assert_eq!(plugin.figures().instantiations.value(), 1);
}

#[test]
fn memory_ends_at_the_limit_and_is_given_back() {
    let config = HostConfig { instance_memory: 16 << 20, ..HostConfig::default() };
    let plugin = load(&Host::new(config).expect("a host"), &MIDDLEWARE);
    let verdict = hooks(&plugin, "m").on_request(exchange()).1;
    assert!(matches!(verdict, Err(CallError::Memory { limit }) if limit == 16 << 20));
    let figures = plugin.figures();
    assert_eq!(figures.out_of_memory.value(), 1);
    assert_eq!(figures.instances.value(), 0, "the instance is gone");
    assert_eq!(figures.memory.value(), 0, "and its memory with it");
}

#[test]
fn a_reply_is_checked() {
    let plugin = load(&host(), &MIDDLEWARE);
    let verdict = hooks(&plugin, "r").on_request(exchange()).1;
    assert!(
        matches!(verdict, Ok(RequestVerdict::Reply(reply)) if reply.status == StatusCode::IM_A_TEAPOT)
    );
    let (after, verdict) = hooks(&plugin, "n").on_request(exchange());
    assert!(matches!(verdict, Err(CallError::Nonsense(text)) if text.contains("99")));
    assert_eq!(header(&after, "x-one"), "1");
}

#[test]
fn what_is_not_its_own_a_plugin_cannot_change() {
    let plugin = load(&host(), &MIDDLEWARE);
    assert_eq!(context(&hooks(&plugin, "h")), 11, "an error, and it is `forbidden`");
    assert_eq!(context(&hooks(&plugin, "b")), 2, "an error, and it is `too-large`");
    let verdict = hooks(&plugin, "u").on_request(exchange()).1;
    assert!(matches!(verdict, Err(CallError::Trap { cause }) if cause.contains("header slot 9")));
}

#[test]
fn a_response_hook_changes_the_response_only() {
    let plugin = load(&host(), &MIDDLEWARE);
    let respond = |letter| {
        let mut exchange = exchange();
        let headers = HeaderMap::new();
        exchange.response =
            Some(ResponseHead { status: StatusCode::OK, headers: headers.into(), local: false });
        hooks(&plugin, letter).on_response(7, exchange)
    };
    let back = |exchange: &Exchange| {
        exchange.response.as_ref().and_then(|it| it.headers.get("x-back")).cloned()
    };
    let (after, verdict) = respond("o");
    assert!(matches!(verdict, Ok(ResponseVerdict::Continue)));
    assert_eq!(back(&after).expect("a header"), "1");
    assert_eq!(header(&after, "x-two"), "absent");
    let (after, verdict) = respond("x");
    assert!(matches!(verdict, Err(CallError::Trap { .. })));
    assert_eq!(back(&after), None);
}

#[test]
fn a_plugin_that_fails_again_and_again_is_left_alone() {
    let plugin = load(&host(), &MIDDLEWARE);
    let (bad, good) = (hooks(&plugin, "t"), hooks(&plugin, "o"));
    for _ in 0..5 {
        assert!(matches!(bad.on_request(exchange()).1, Err(CallError::Trap { .. })));
    }
    assert!(matches!(bad.on_request(exchange()).1, Err(CallError::Suspended)));
    assert_eq!(plugin.figures().suspended.value(), 1);
    assert_eq!(context(&good), 7, "its other bindings go on");
}

#[test]
fn a_configuration_may_be_refused_by_the_plugin() {
    let plugin = load(&host(), &MIDDLEWARE);
    let middleware = plugin.middleware().expect("a middleware");
    let error =
        middleware.bind("test", &json!({ "do": "xyz" }), &[], None).expect_err("must be refused");
    let BindError::Config(errors) = error else { panic!("not of the configuration: {error:?}") };
    assert_eq!(errors[0].message, "is not a letter");
}

#[test]
fn bindings_that_are_gone_are_released() {
    let plugin = load(&host(), &MIDDLEWARE);
    let asking = hooks(&plugin, "c");
    for _ in 0..3 {
        drop(hooks(&plugin, "o"));
    }
    assert_eq!(context(&asking), 3);
}

#[test]
fn instances_are_replaced_after_so_many_uses() {
    let config = HostConfig { instance_uses: 10, ..HostConfig::default() };
    let plugin = load(&Host::new(config).expect("a host"), &MIDDLEWARE);
    let hooks = hooks(&plugin, "o");
    for _ in 0..100 {
        context(&hooks);
    }
    assert_eq!(plugin.figures().instantiations.value(), 11, "binding is a use, too");
    assert_eq!(plugin.figures().instances.value(), 1);
}

#[test]
fn random_numbers_differ() {
    let plugin = load(&host(), &MIDDLEWARE);
    let hooks = hooks(&plugin, "e");
    let mut numbers: Vec<u64> = (0..200).map(|_| context(&hooks)).collect();
    numbers.sort_unstable();
    numbers.dedup();
    assert_eq!(numbers.len(), 200);
}

#[test]
fn threads_do_not_disturb_each_other() {
    let plugin = load(&host(), &MIDDLEWARE);
    let (good, bad) = (hooks(&plugin, "s"), hooks(&plugin, "f"));
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..500 {
                    let (after, verdict) = good.on_request(exchange());
                    assert!(verdict.is_ok());
                    assert_eq!(header(&after, "x-two"), "x-two");
                    assert!(matches!(bad.on_request(exchange()).1, Err(CallError::Said(_))));
                }
            });
        }
    });
    let figures = plugin.figures();
    assert!(figures.instances.value() <= 5, "{} instances", figures.instances.value());
    assert_eq!(figures.traps.value(), 0);
}

#[test]
fn who_takes_long_to_read_a_configuration_does_not_keep_a_thread_that_serves() {
    let bound = |call_limit| {
        let config = HostConfig { call_limit, ..HostConfig::default() };
        let plugin = load(&Host::new(config).expect("a host"), &MIDDLEWARE);
        let middleware = plugin.middleware().expect("a middleware");
        middleware.bind("test", &json!({ "do": "o" }), &[], None).expect("a good binding")
    };
    assert_eq!(bound(Duration::from_secs(20)).aside, None);
    // Nothing is as quick as that.
    let slow = bound(Duration::from_nanos(1));
    assert!(slow.aside.is_some_and(|limit| limit > Duration::from_nanos(1)));
    let (_, verdict) = slow.hooks.expect("hooks").on_request(exchange());
    assert!(matches!(verdict, Ok(RequestVerdict::Continue { .. })), "{verdict:?}");
}
