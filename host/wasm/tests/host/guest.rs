//! Guests in text form, good and bad, made components here: no toolchain is needed for them.

use std::path::Path;

use wit_component::StringEncoding;
use wit_parser::Resolve;

/// A guest: which facets it exports, what it imports, and the bodies of its functions.
pub(crate) struct Guest {
    pub(crate) name: &'static str,
    pub(crate) schema: Option<&'static str>,
    pub(crate) imports: &'static str,
    pub(crate) exports: &'static [&'static str],
    pub(crate) describe: &'static str,
    pub(crate) code: &'static str,
}

impl Guest {
    /// A core module that says which interfaces it speaks, as compilers make it.
    pub(crate) fn module(&self) -> Vec<u8> {
        let mut module = wat::parse_str(self.text()).expect("the guest's text");
        let mut resolve = Resolve::default();
        let wit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
        resolve.push_dir(wit).expect("our interfaces");
        let package = resolve.push_str("guest.wit", &self.world()).expect("the guest's world");
        let world = resolve.select_world(&[package], Some("guest")).expect("its world");
        wit_component::embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8)
            .expect("to embed the world");
        module
    }

    /// The same as a component.
    pub(crate) fn component(&self) -> Vec<u8> {
        wit_component::ComponentEncoder::default()
            .module(&self.module())
            .and_then(|mut encoder| encoder.encode())
            .expect("the guest as a component")
    }

    fn world(&self) -> String {
        let mut world = String::from("package test:guest;\nworld guest {\n");
        for import in ["log", "clock", "entropy", "timer", "http-client", "files", "http"] {
            world += &format!("import portolan:plugin/{import}@0.1.0;\n");
        }
        for export in ["lifecycle"].iter().chain(self.exports) {
            world += &format!("export portolan:plugin/{export}@0.1.0;\n");
        }
        world + "}\n"
    }

    fn text(&self) -> String {
        let (name, schema) = (self.name, self.schema.unwrap_or_default());
        let escaped = schema.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', " ");
        format!(
            r#"(module
            {imports}
            (memory (export "memory") 2)
            (global $free (mut i32) (i32.const 65536))
            (func $alloc (export "cabi_realloc") (param i32 i32 i32 i32) (result i32)
                (local $at i32)
                (local.set $at
                    (i32.and (i32.add (global.get $free) (i32.const 7)) (i32.const -8)))
                (global.set $free (i32.add (local.get $at) (local.get 3)))
                (local.get $at))
            (data (i32.const 256) "{name}")
            (data (i32.const 512) "1.2.3")
            (data (i32.const 1024) "{escaped}")
            (func (export "portolan:plugin/lifecycle@0.1.0#describe") (result i32)
                {describe}
                (i32.store (i32.const 0) (i32.const 256))
                (i32.store (i32.const 4) (i32.const {name_len}))
                (i32.store (i32.const 8) (i32.const 512))
                (i32.store (i32.const 12) (i32.const 5))
                (i32.store (i32.const 24) (i32.const {has_schema}))
                (i32.store (i32.const 28) (i32.const 1024))
                (i32.store (i32.const 32) (i32.const {schema_len}))
                (i32.const 0))
            {code})"#,
            imports = self.imports,
            describe = self.describe,
            code = self.code,
            name_len = name.len(),
            has_schema = i32::from(self.schema.is_some()),
            schema_len = schema.len(),
        )
    }
}

/// The text of a middleware's interest: both phases, the request headers `x-one` and `x-two`, the
/// response header `x-back`.
macro_rules! interest {
    () => {
        r#"
        (data (i32.const 4096) "x-one")
        (data (i32.const 4112) "x-two")
        (data (i32.const 4128) "x-back")
        (func (export "portolan:plugin/middleware-interest@0.1.0#declare-interest")
            (param $id i32) (result i32)
            ;; phases: both; the slots.
            (i32.store8 (i32.const 2056) (i32.const 3))
            (i32.store (i32.const 2076) (i32.const 2100))
            (i32.store (i32.const 2080) (i32.const 2))
            (i32.store (i32.const 2100) (i32.const 4096))
            (i32.store (i32.const 2104) (i32.const 5))
            (i32.store (i32.const 2108) (i32.const 4112))
            (i32.store (i32.const 2112) (i32.const 5))
            (i32.store (i32.const 2084) (i32.const 2116))
            (i32.store (i32.const 2088) (i32.const 1))
            (i32.store (i32.const 2116) (i32.const 4128))
            (i32.store (i32.const 2120) (i32.const 6))
            (i32.const 2048))
"#
    };
}
pub(crate) use interest;

/// A middleware that does what the letter in its configuration says: `{"do":"x"}`.
///
/// Its request header slots are `x-one` and `x-two`, its response slot is `x-back`.
pub(crate) const MIDDLEWARE: Guest = Guest {
    name: "letter",
    schema: None,
    imports: r#"
        (import "portolan:plugin/http@0.1.0" "[resource-drop]request"
            (func $drop-request (param i32)))
        (import "portolan:plugin/http@0.1.0" "[resource-drop]response"
            (func $drop-response (param i32)))
        (import "portolan:plugin/http@0.1.0" "[method]request.slot"
            (func $slot (param i32 i32 i32)))
        (import "portolan:plugin/http@0.1.0" "[method]request.set-slot"
            (func $set-slot (param i32 i32 i32 i32 i32)))
        (import "portolan:plugin/http@0.1.0" "[method]request.set-header"
            (func $set-header (param i32 i32 i32 i32 i32 i32)))
        (import "portolan:plugin/http@0.1.0" "[method]request.set-target"
            (func $set-target (param i32 i32 i32 i32)))
        (import "portolan:plugin/http@0.1.0" "[method]request.path"
            (func $path (param i32 i32)))
        (import "portolan:plugin/http@0.1.0" "[method]response.set-slot"
            (func $set-back (param i32 i32 i32 i32 i32)))
        (import "portolan:plugin/entropy@0.1.0" "next-u64" (func $random (result i64)))
    "#,
    exports: &["middleware-interest", "request-hook", "response-hook"],
    describe: "",
    code: concat!(
        interest!(),
        r#"
        (data (i32.const 4144) "it is full")
        (data (i32.const 4160) "host")
        (data (i32.const 4176) "/new/../path?q")
        (data (i32.const 4208) "is not a letter")
        (global $released (mut i32) (i32.const 0))

        ;; The letter of a binding is kept at 8192 + its number.
        (func (export "portolan:plugin/lifecycle@0.1.0#configure")
            (param $id i32) (param $at i32) (param $len i32) (result i32)
            (i32.store8 (i32.add (i32.const 8192) (local.get $id))
                (i32.load8_u (i32.add (local.get $at) (i32.const 7))))
            (i32.store (i32.const 2048) (i32.const 0))
            (if (i32.ne (local.get $len) (i32.const 10)) (then
                ;; One field error: path "", message.
                (i32.store (i32.const 2048) (i32.const 1))
                (i32.store (i32.const 2052) (i32.const 2064))
                (i32.store (i32.const 2056) (i32.const 1))
                (i32.store (i32.const 2064) (i32.const 4208))
                (i32.store (i32.const 2068) (i32.const 0))
                (i32.store (i32.const 2072) (i32.const 4208))
                (i32.store (i32.const 2076) (i32.const 15))))
            (i32.const 2048))
        (func (export "portolan:plugin/lifecycle@0.1.0#release") (param $id i32)
            (global.set $released (i32.add (global.get $released) (i32.const 1)))
            (i32.store8 (i32.add (i32.const 8192) (local.get $id)) (i32.const 0)))

        (func $letter (param $id i32) (result i32)
            (i32.load8_u (i32.add (i32.const 8192) (local.get $id))))

        (func (export "portolan:plugin/request-hook@0.1.0#on-request")
            (param $id i32) (param $request i32) (result i32)
            (local $do i32)
            (local.set $do (call $letter (local.get $id)))
            (global.set $free (i32.const 65536))
            ;; Always: x-one becomes "x-two", so that there is something to lose.
            (call $set-slot (local.get $request)
                (i32.const 0) (i32.const 4112) (i32.const 5) (i32.const 3072))
            ;; A verdict: proceed, context 7, response wanted.
            (i32.store8 (i32.const 3200) (i32.const 0))
            (i64.store (i32.const 3208) (i64.const 7))
            (i32.store8 (i32.const 3216) (i32.const 1))
            (if (i32.eq (local.get $do) (i32.const 116 (;t;))) (then unreachable))
            (if (i32.eq (local.get $do) (i32.const 108 (;l;))) (then (loop $l (br $l))))
            (if (i32.eq (local.get $do) (i32.const 109 (;m;))) (then
                (loop $more
                    (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))
                unreachable))
            (if (i32.eq (local.get $do) (i32.const 102 (;f;))) (then
                (i32.store8 (i32.const 3200) (i32.const 2))
                (i32.store (i32.const 3208) (i32.const 4144))
                (i32.store (i32.const 3212) (i32.const 10))))
            (if (i32.eq (local.get $do) (i32.const 114 (;r;))) (then
                (i32.store8 (i32.const 3200) (i32.const 1))
                (i64.store (i32.const 3208) (i64.const 418))
                (i64.store (i32.const 3216) (i64.const 0))
                (i64.store (i32.const 3224) (i64.const 0))))
            (if (i32.eq (local.get $do) (i32.const 110 (;n;))) (then
                (i32.store8 (i32.const 3200) (i32.const 1))
                (i64.store (i32.const 3208) (i64.const 99))
                (i64.store (i32.const 3216) (i64.const 0))
                (i64.store (i32.const 3224) (i64.const 0))))
            ;; Reads its own change back and copies it to x-two.
            (if (i32.eq (local.get $do) (i32.const 115 (;s;))) (then
                (call $slot (local.get $request) (i32.const 0) (i32.const 3072))
                (call $set-slot (local.get $request) (i32.const 1)
                    (i32.load (i32.const 3076)) (i32.load (i32.const 3080)) (i32.const 3100))))
            ;; Tries to change `host`, which is forbidden: the context says how it went.
            (if (i32.eq (local.get $do) (i32.const 104 (;h;))) (then
                (call $set-header (local.get $request)
                    (i32.const 4160) (i32.const 4) (i32.const 4160) (i32.const 4) (i32.const 3072))
                (i64.store (i32.const 3208) (i64.extend_i32_u (i32.add
                    (i32.mul (i32.load8_u (i32.const 3072)) (i32.const 10))
                    (i32.load8_u (i32.const 3073)))))))
            ;; Changes the target and puts the path that it then sees into x-two.
            (if (i32.eq (local.get $do) (i32.const 112 (;p;))) (then
                (call $set-target (local.get $request)
                    (i32.const 4176) (i32.const 14) (i32.const 3072))
                (call $path (local.get $request) (i32.const 3080))
                (call $set-slot (local.get $request) (i32.const 1)
                    (i32.load (i32.const 3080)) (i32.load (i32.const 3084)) (i32.const 3100))))
            ;; Asks for a slot that it did not declare.
            (if (i32.eq (local.get $do) (i32.const 117 (;u;))) (then
                (call $slot (local.get $request) (i32.const 9) (i32.const 3072))))
            ;; Stages more than may be staged; the context says how the last one went.
            (if (i32.eq (local.get $do) (i32.const 98 (;b;))) (then
                (call $set-slot (local.get $request)
                    (i32.const 1) (i32.const 4112) (i32.const 5) (i32.const 3072))
                (loop $again
                    (call $set-header (local.get $request) (i32.const 4112) (i32.const 5)
                        (i32.const 4112) (i32.const 5) (i32.const 3072))
                    (br_if $again (i32.eqz (i32.load8_u (i32.const 3072)))))
                (i64.store (i32.const 3208) (i64.extend_i32_u (i32.load8_u (i32.const 3073))))))
            ;; How many bindings were released, and a random number, which is not 0.
            (if (i32.eq (local.get $do) (i32.const 99 (;c;))) (then
                (i64.store (i32.const 3208) (i64.extend_i32_u (global.get $released)))))
            (if (i32.eq (local.get $do) (i32.const 101 (;e;))) (then
                (i64.store (i32.const 3208) (call $random))))
            (call $drop-request (local.get $request))
            (i32.const 3200))

        (func (export "portolan:plugin/response-hook@0.1.0#on-response")
            (param $id i32) (param $context i64) (param $request i32) (param $response i32)
            (result i32)
            (global.set $free (i32.const 65536))
            ;; x-back becomes x-one, then a change of the request is tried, in vain.
            (call $slot (local.get $request) (i32.const 0) (i32.const 3072))
            (call $set-back (local.get $response) (i32.const 0)
                (i32.load (i32.const 3076)) (i32.load (i32.const 3080)) (i32.const 3100))
            (call $set-slot (local.get $request)
                (i32.const 1) (i32.const 4112) (i32.const 5) (i32.const 3072))
            (i32.store8 (i32.const 3200) (i32.const 0))
            (if (i32.eq (call $letter (local.get $id)) (i32.const 120 (;x;))) (then unreachable))
            (call $drop-request (local.get $request))
            (call $drop-response (local.get $response))
            (i32.const 3200))
    "#
    ),
};

/// What the lifecycle of a guest is that does not care.
pub(crate) const LIFECYCLE: &str = r#"
    (func (export "portolan:plugin/lifecycle@0.1.0#configure") (param i32 i32 i32) (result i32)
        (i32.const 60000))
    (func (export "portolan:plugin/lifecycle@0.1.0#release") (param i32))
"#;

/// A matcher `Teapot` whose meaning is the host `tea`; with an argument `loop` it means nothing.
pub(crate) const MATCHER: Guest = Guest {
    name: "tea",
    schema: Some(r#"{"type":"object"}"#),
    imports: "",
    exports: &["matcher-compiler"],
    describe: "",
    code: r#"
    (func (export "portolan:plugin/lifecycle@0.1.0#configure") (param i32 i32 i32) (result i32)
        (i32.const 60000))
    (func (export "portolan:plugin/lifecycle@0.1.0#release") (param i32))
        (data (i32.const 4096) "Teapot")
        (data (i32.const 4128) "tea")
        (data (i32.const 4144) "too hot")
        (func (export "portolan:plugin/matcher-compiler@0.1.0#matchers") (result i32)
            (i32.store (i32.const 2048) (i32.const 2064))
            (i32.store (i32.const 2052) (i32.const 1))
            (i32.store (i32.const 2064) (i32.const 4096))
            (i32.store (i32.const 2068) (i32.const 6))
            (i32.store (i32.const 2072) (i32.const 0))
            (i32.store (i32.const 2076) (i32.const 2))
            (i32.const 2048))
        ;; No argument: Host is tea. One: refused. Two: an endless loop.
        (func (export "portolan:plugin/matcher-compiler@0.1.0#compile")
            (param i32 i32 i32) (param $count i32) (result i32)
            (if (i32.eq (local.get $count) (i32.const 2)) (then (loop $l (br $l))))
            (i32.store8 (i32.const 2048) (local.get $count))
            (if (i32.eq (local.get $count) (i32.const 1)) (then
                (i32.store (i32.const 2052) (i32.const 1))
                (i32.store (i32.const 2056) (i32.const 0))
                (i32.store (i32.const 2060) (i32.const 4144))
                (i32.store (i32.const 2064) (i32.const 7))
                (return (i32.const 2048))))
            (i32.store (i32.const 2052) (i32.const 3000))
            (i32.store (i32.const 2056) (i32.const 1))
            (i32.store (i32.const 2060) (i32.const 0))
            ;; The node: test, field host, op equals, one value.
            (i32.store8 (i32.const 3000) (i32.const 5))
            (i32.store8 (i32.const 3004) (i32.const 2))
            (i32.store8 (i32.const 3016) (i32.const 1))
            (i32.store (i32.const 3020) (i32.const 3100))
            (i32.store (i32.const 3024) (i32.const 1))
            (i32.store (i32.const 3100) (i32.const 4128))
            (i32.store (i32.const 3104) (i32.const 3))
            (i32.const 2048))
    "#,
};

/// A provider that does what the letter in its configuration says, to what stands behind it:
/// `{"a":"x","b":"..."}`. It answers by a failure: what the import said, as text.
pub(crate) const PROVIDER: Guest = Guest {
    name: "errand",
    schema: None,
    imports: r#"
        (import "portolan:plugin/timer@0.1.0" "sleep" (func $sleep (param i32)))
        (import "portolan:plugin/http-client@0.1.0" "send"
            (func $send (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
        (import "portolan:plugin/http-client@0.1.0" "start"
            (func $start (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
        (import "portolan:plugin/http-client@0.1.0" "wait-any"
            (func $wait-any (param i32 i32 i32 i32)))
        (import "portolan:plugin/http-client@0.1.0" "[method]pending.take"
            (func $take (param i32 i32)))
        (import "portolan:plugin/http-client@0.1.0" "[resource-drop]pending"
            (func $drop (param i32)))
        (import "portolan:plugin/files@0.1.0" "read" (func $read (param i32 i32 i32)))
        (import "portolan:plugin/files@0.1.0" "wait"
            (func $wait (param i32 i32 i64 i32 i32)))
    "#,
    exports: &["provider"],
    describe: "",
    code: r#"
        (global $at (mut i32) (i32.const 0))
        (global $len (mut i32) (i32.const 0))
        (global $polls (mut i32) (i32.const 0))
        (data (i32.const 4096) "GET")
        (data (i32.const 4112) "error 0")
        (func (export "portolan:plugin/lifecycle@0.1.0#configure")
            (param i32) (param $at i32) (param $len i32) (result i32)
            (global.set $at (local.get $at))
            (global.set $len (local.get $len))
            (i32.const 60000))
        (func (export "portolan:plugin/lifecycle@0.1.0#release") (param i32))

        ;; A failure: temporary, with this text.
        (func $say (param $at i32) (param $len i32) (result i32)
            (i32.store8 (i32.const 2048) (i32.const 1))
            (i32.store8 (i32.const 2052) (i32.const 0))
            (i32.store (i32.const 2056) (local.get $at))
            (i32.store (i32.const 2060) (local.get $len))
            (i32.const 2048))
        ;; The same: "error" and the number of the case.
        (func $say-case (param $case i32) (result i32)
            (i32.store8 (i32.const 4118) (i32.add (i32.const 48) (local.get $case)))
            (call $say (i32.const 4112) (i32.const 7)))

        (func (export "portolan:plugin/provider@0.1.0#poll")
            (param $id i32) (param $has i32) (param $cursor i32) (param $cursor-len i32)
            (param $wait i32) (result i32)
            (local $do i32) (local $b i32) (local $b-len i32) (local $pending i32)
            (local.set $do (i32.load8_u (i32.add (global.get $at) (i32.const 6))))
            (local.set $b (i32.add (global.get $at) (i32.const 14)))
            (local.set $b-len (i32.sub (global.get $len) (i32.const 16)))
            (global.set $polls (i32.add (global.get $polls) (i32.const 1)))
            (if (i32.eq (local.get $do) (i32.const 108 (;l;))) (then (loop $l (br $l))))
            (if (i32.eq (local.get $do) (i32.const 116 (;t;))) (then unreachable))
            (if (i32.eq (local.get $do) (i32.const 122 (;z;))) (then
                (call $sleep (i32.const 600000))))
            ;; One answer: an empty snapshot with the number of polls to wait.
            (if (i32.eq (local.get $do) (i32.const 99 (;c;))) (then
                (i32.store8 (i32.const 2048) (i32.const 0))
                (i32.store8 (i32.const 2052) (i32.const 1))
                (i32.store (i32.const 2088) (global.get $polls))
                (return (i32.const 2048))))
            (if (i32.eq (local.get $do) (i32.const 104 (;h;))) (then
                (call $send (i32.const 4096) (i32.const 3) (local.get $b) (local.get $b-len)
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 2000) (i32.const 16) (i32.const 3000))
                (if (i32.load8_u (i32.const 3000)) (then
                    (return (call $say-case (i32.load8_u (i32.const 3004))))))
                (return (call $say (i32.load (i32.const 3016)) (i32.load (i32.const 3020))))))
            ;; The same in the background, with a wait in between.
            (if (i32.eq (local.get $do) (i32.const 98 (;b;))) (then
                (call $start (i32.const 4096) (i32.const 3) (local.get $b) (local.get $b-len)
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
                    (i32.const 2000) (i32.const 1000) (i32.const 3000))
                (if (i32.load8_u (i32.const 3000)) (then
                    (return (call $say-case (i32.load8_u (i32.const 3004))))))
                (local.set $pending (i32.load (i32.const 3004)))
                (i32.store (i32.const 3100) (local.get $pending))
                (call $wait-any (i32.const 3100) (i32.const 1) (i32.const 20000) (i32.const 3200))
                ;; One place, and it is 0.
                (if (i32.ne (i32.load (i32.const 3204)) (i32.const 1)) (then unreachable))
                (if (i32.load (i32.load (i32.const 3200))) (then unreachable))
                (call $take (local.get $pending) (i32.const 3000))
                (call $drop (local.get $pending))
                (if (i32.eqz (i32.load8_u (i32.const 3000))) (then unreachable))
                (if (i32.load8_u (i32.const 3004)) (then
                    (return (call $say-case (i32.load8_u (i32.const 3008))))))
                (return (call $say (i32.load (i32.const 3020)) (i32.load (i32.const 3024))))))
            (if (i32.eq (local.get $do) (i32.const 102 (;f;))) (then
                (call $read (local.get $b) (local.get $b-len) (i32.const 3000))
                (if (i32.load8_u (i32.const 3000)) (then
                    (return (call $say-case (i32.load8_u (i32.const 3004))))))
                (return (call $say (i32.load (i32.const 3004)) (i32.load (i32.const 3008))))))
            ;; Waits for a folder to change.
            (if (i32.eq (local.get $do) (i32.const 119 (;w;))) (then
                (call $wait (local.get $b) (local.get $b-len)
                    (i64.const 0) (i32.const 0) (i32.const 3000))
                (call $wait (local.get $b) (local.get $b-len)
                    (i64.load (i32.const 3008)) (i32.const 20000) (i32.const 3016))
                (if (i64.eq (i64.load (i32.const 3008)) (i64.load (i32.const 3024))) (then
                    (return (call $say-case (i32.const 9)))))
                (return (call $say (i32.const 4096) (i32.const 3)))))
            unreachable)
    "#,
};
