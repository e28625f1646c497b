//! Hooks that are given the headers they number: what they see, what they change, what they get
//! wrong.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, StatusCode};
use portolan_core::{
    edit,
    exchange::{Exchange, ResponseHead},
    port::{CallError, Hooks, RequestVerdict, ResponseVerdict},
};
use portolan_wasm::Plugin;
use serde_json::json;

use crate::{
    exchange,
    guest::{Guest, interest},
    host, load,
};

/// A middleware that does what the letter in its configuration says: `{"do":"x"}`.
///
/// Its request header slots are `x-one` and `x-two`, its response slot is `x-back`. What it is
/// given for a request is one entry or nothing.
const SLOTS: Guest = Guest {
    name: "slots",
    schema: None,
    imports: "",
    exports: &["middleware-interest", "request-slots-hook", "response-slots-hook"],
    describe: "",
    code: concat!(
        interest!(),
        r#"
        (data (i32.const 4144) "it is full")
        ;; x-one is to be "other"; then: the same and 7 bytes of an entry; the same and a number
        ;; that was not declared; the same and what is no value.
        (data (i32.const 4400) "\00\00\00\00\05\00\00\00other\01\00\00\00\05\00\00")
        (data (i32.const 4500) "\00\00\00\00\05\00\00\00other\09\00\00\00\00\00\00\00")
        (data (i32.const 4600) "\00\00\00\00\05\00\00\00other\01\00\00\00\03\00\00\00a\0ab")

        (func (export "portolan:plugin/lifecycle@0.1.0#configure")
            (param $id i32) (param $at i32) (param $len i32) (result i32)
            (i32.store8 (i32.add (i32.const 8192) (local.get $id))
                (i32.load8_u (i32.add (local.get $at) (i32.const 7))))
            (i32.const 60000))
        (func (export "portolan:plugin/lifecycle@0.1.0#release") (param i32))

        (func $is (param $id i32) (param $letter i32) (result i32)
            (i32.eq (local.get $letter)
                (i32.load8_u (i32.add (i32.const 8192) (local.get $id)))))

        ;; An entry like the one given, of another header.
        (func $copy (param $from i32) (param $number i32)
            (i32.store (i32.const 3300) (local.get $number))
            (i32.store (i32.const 3304) (i32.load offset=4 (local.get $from)))
            (memory.copy (i32.const 3308)
                (i32.add (local.get $from) (i32.const 8)) (i32.load offset=4 (local.get $from))))

        (func (export "portolan:plugin/request-slots-hook@0.1.0#on-request")
            (param $id i32) (param $some i32) (param $at i32) (param $len i32) (result i32)
            (global.set $free (i32.const 65536))
            ;; A verdict: proceed, the length of what was given as context, response wanted, no
            ;; changes.
            (i32.store8 (i32.const 3200) (i32.const 0))
            (i64.store (i32.const 3208)
                (i64.extend_i32_u (i32.mul (local.get $some) (local.get $len))))
            (i32.store8 (i32.const 3216) (i32.const 1))
            (i32.store (i32.const 3220) (i32.const 4400))
            (i32.store (i32.const 3224) (i32.const 0))
            (i32.store (i32.const 3228) (i32.const 4400))
            (i32.store (i32.const 3232) (i32.const 0))
            ;; x-back is to be "other", and nobody needs to be asked then.
            (if (call $is (local.get $id) (i32.const 108 (;l;))) (then
                (i32.store8 (i32.const 3216) (i32.const 0))
                (i32.store (i32.const 3232) (i32.const 13))))
            ;; So is x-one, but of the response it says something wrong.
            (if (call $is (local.get $id) (i32.const 98 (;b;))) (then
                (i32.store (i32.const 3224) (i32.const 13))
                (i32.store (i32.const 3228) (i32.const 4500))
                (i32.store (i32.const 3232) (i32.const 21))))
            (if (call $is (local.get $id) (i32.const 116 (;t;))) (then unreachable))
            ;; x-one moves to x-two.
            (if (call $is (local.get $id) (i32.const 109 (;m;))) (then
                (call $copy (local.get $at) (i32.const 1))
                (i32.store (i32.add (i32.const 3300) (local.get $len)) (i32.const 0))
                (i32.store (i32.add (i32.const 3304) (local.get $len)) (i32.const -1))
                (i32.store (i32.const 3220) (i32.const 3300))
                (i32.store (i32.const 3224) (i32.add (local.get $len) (i32.const 8)))))
            (if (call $is (local.get $id) (i32.const 99 (;c;))) (then
                (i32.store (i32.const 3224) (i32.const 20))))
            (if (call $is (local.get $id) (i32.const 110 (;n;))) (then
                (i32.store (i32.const 3220) (i32.const 4500))
                (i32.store (i32.const 3224) (i32.const 21))))
            (if (call $is (local.get $id) (i32.const 118 (;v;))) (then
                (i32.store (i32.const 3220) (i32.const 4600))
                (i32.store (i32.const 3224) (i32.const 24))))
            (if (call $is (local.get $id) (i32.const 102 (;f;))) (then
                (i32.store8 (i32.const 3200) (i32.const 2))
                (i32.store (i32.const 3208) (i32.const 4144))
                (i32.store (i32.const 3212) (i32.const 10))))
            (if (call $is (local.get $id) (i32.const 114 (;r;))) (then
                (i32.store8 (i32.const 3200) (i32.const 1))
                (i64.store (i32.const 3208) (i64.const 418))
                (i64.store (i32.const 3216) (i64.const 0))
                (i64.store (i32.const 3224) (i64.const 0))))
            (i32.const 3200))

        (func (export "portolan:plugin/response-slots-hook@0.1.0#on-response")
            (param $id i32) (param $context i64) (param $some i32) (param $at i32) (param $len i32)
            (param i32 i32 i32) (result i32)
            (global.set $free (i32.const 65536))
            ;; x-back becomes x-one.
            (i32.store8 (i32.const 3200) (i32.const 0))
            (call $copy (local.get $at) (i32.const 0))
            (i32.store (i32.const 3204) (i32.const 3300))
            (i32.store (i32.const 3208) (local.get $len))
            (if (call $is (local.get $id) (i32.const 102 (;f;))) (then
                (i32.store8 (i32.const 3200) (i32.const 2))
                (i32.store (i32.const 3204) (i32.const 4144))
                (i32.store (i32.const 3208) (i32.const 10))))
            (if (call $is (local.get $id) (i32.const 114 (;r;))) (then
                (i32.store8 (i32.const 3200) (i32.const 1))
                (i32.store (i32.const 3204) (i32.const 418))
                (i64.store (i32.const 3208) (i64.const 0))
                (i64.store (i32.const 3216) (i64.const 0))))
            (i32.const 3200))
    "#
    ),
};

/// The hooks of a middleware that does what the letter says.
fn hooks(plugin: &Plugin, letter: &str) -> Arc<dyn Hooks> {
    let middleware = plugin.middleware().expect("a middleware");
    let interest =
        middleware.bind("test", &json!({ "do": letter }), &[], None).expect("a good binding");
    assert!(interest.on_request && interest.on_response);
    interest.hooks.expect("hooks")
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("absent")
}

fn responded() -> Box<Exchange> {
    let mut exchange = exchange();
    let head =
        ResponseHead { status: StatusCode::OK, headers: HeaderMap::new().into(), local: false };
    exchange.response = Some(head);
    exchange
}

#[test]
fn what_is_there_goes_in_and_what_is_changed_comes_out() {
    let plugin = load(&host(), &SLOTS);
    let (after, verdict) = hooks(&plugin, "m").on_request(exchange());
    let Ok(RequestVerdict::Continue { context, response: true, .. }) = verdict else {
        panic!("must go on: {verdict:?}")
    };
    assert_eq!(context, 9, "one entry of one byte");
    assert_eq!(header(&after.request.headers, "x-two"), "1");
    assert_eq!(header(&after.request.headers, "x-one"), "absent");
}

#[test]
fn where_no_header_is_there_nothing_goes_in() {
    let plugin = load(&host(), &SLOTS);
    let mut bare = exchange();
    bare.request.headers.remove("x-one");
    let (_, verdict) = hooks(&plugin, "o").on_request(bare);
    assert!(matches!(verdict, Ok(RequestVerdict::Continue { context: 0, response: true, .. })));
}

#[test]
fn a_response_hook_sees_the_request_and_changes_the_response() {
    let plugin = load(&host(), &SLOTS);
    let (after, verdict) = hooks(&plugin, "o").on_response(0, responded());
    assert!(matches!(verdict, Ok(ResponseVerdict::Continue)), "{verdict:?}");
    let response = after.response.expect("as it was handed over");
    assert_eq!(header(&response.headers, "x-back"), "1");
    assert_eq!(header(&after.request.headers, "x-one"), "1");
}

#[test]
fn what_is_to_be_changed_of_the_response_is_known_before_it_comes() {
    let plugin = load(&host(), &SLOTS);
    let (after, verdict) = hooks(&plugin, "l").on_request(exchange());
    let Ok(RequestVerdict::Continue { response: false, later, .. }) = verdict else {
        panic!("must go on: {verdict:?}")
    };
    assert_eq!(header(&after.request.headers, "x-one"), "1");
    let mut responded = responded();
    edit::apply(later, &mut responded);
    assert_eq!(header(&responded.response.expect("a response").headers, "x-back"), "other");
}

/// Nothing changes, not even what came before the mistake, and the instance goes on.
#[test]
fn changes_that_make_no_sense_are_refused_as_a_whole() {
    let plugin = load(&host(), &SLOTS);
    for (letter, complaint) in [
        ("c", "its changes end in the middle"),
        ("n", "it numbers no header 9"),
        ("v", "the header `x-two`: not a valid name or value"),
        ("b", "it numbers no header 9"),
    ] {
        let (after, verdict) = hooks(&plugin, letter).on_request(exchange());
        let Err(CallError::Nonsense(said)) = verdict else { panic!("{letter}: {verdict:?}") };
        assert_eq!(said, complaint);
        assert_eq!(header(&after.request.headers, "x-one"), "1");
    }
    assert_eq!(plugin.figures().failures.value(), 4);
    assert_eq!(plugin.figures().instantiations.value(), 1, "the instance is as good as before");
}

#[test]
fn it_answers_fails_and_traps_as_any_other() {
    let plugin = load(&host(), &SLOTS);
    let (_, verdict) = hooks(&plugin, "r").on_request(exchange());
    assert!(matches!(verdict, Ok(RequestVerdict::Reply(it)) if it.status == 418));
    let (_, verdict) = hooks(&plugin, "r").on_response(0, responded());
    assert!(matches!(verdict, Ok(ResponseVerdict::Replace(it)) if it.status == 418));
    let (_, verdict) = hooks(&plugin, "f").on_request(exchange());
    assert!(matches!(verdict, Err(CallError::Said(text)) if text == "it is full"));
    let (_, verdict) = hooks(&plugin, "f").on_response(0, responded());
    assert!(matches!(verdict, Err(CallError::Said(text)) if text == "it is full"));
    let (after, verdict) = hooks(&plugin, "t").on_request(exchange());
    assert!(matches!(verdict, Err(CallError::Trap { .. })), "{verdict:?}");
    assert_eq!(header(&after.request.headers, "x-one"), "1");
    let mut large = exchange();
    large.request.headers.insert("x-one", HeaderValue::from_str(&"x".repeat(9000)).unwrap());
    let (_, verdict) = hooks(&plugin, "o").on_request(large);
    assert!(matches!(verdict, Ok(RequestVerdict::Continue { context: 9008, .. })), "{verdict:?}");
}
