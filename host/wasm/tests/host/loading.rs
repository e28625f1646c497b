//! Loading: what is accepted, what is refused and in which words, and the cache.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use portolan_core::{
    exchange::Exchange,
    problem::Chain,
    rule::{Field, Op, Predicate},
};
use portolan_wasm::{Cause, Compiler, Host, HostConfig, MachineCode, compile};

use crate::{
    guest::{Guest, LIFECYCLE, MATCHER, MIDDLEWARE, PROVIDER},
    host, host_in, load,
};

#[track_caller]
fn refused(host: &Host, bytes: &[u8]) -> String {
    let error = host.load("bad.wasm", bytes, None).expect_err("must be refused");
    Chain(&error).to_string()
}

#[test]
fn a_plugin_says_what_it_is() {
    let plugin = load(&host(), &MATCHER);
    let info = plugin.info();
    assert_eq!((&*info.name, &*info.version, &*info.file), ("tea", "1.2.3", "tea"));
    assert_eq!(info.kinds, ["matcher"]);
    assert_eq!(info.matchers, ["Teapot"]);
    assert!(info.imports.is_empty() && info.schema.is_some());
    assert!(plugin.middleware().is_none());
    let info = load(&host(), &MIDDLEWARE).info().clone();
    assert_eq!(info.kinds, ["middleware"]);
    assert_eq!(info.imports, ["entropy", "http"], "what it calls, and no more");
}

#[test]
fn a_core_module_that_says_what_it_speaks_is_as_good() {
    let plugin = host().load("letter", &MIDDLEWARE.module(), None).expect("a good plugin");
    assert_eq!(&*plugin.info().name, "letter");
}

#[test]
fn files_that_are_no_plugin_are_refused() {
    let host = host();
    assert!(refused(&host, b"hello").contains("is not WebAssembly"));
    assert!(refused(&host, b"\x7fELF").contains("precompiled"));
    let plain = wat::parse_str("(module)").expect("a module");
    assert!(refused(&host, &plain).contains("component-type"));
    let empty = wat::parse_str("(component)").expect("a component");
    assert!(refused(&host, &empty).contains("not a plugin"));
    let mut cut = MIDDLEWARE.component();
    // Within a section, whatever its length.
    cut.truncate(cut.len() - 1);
    assert!(refused(&host, &cut).contains("not valid"));
    let small = Host::new(HostConfig { max_file: 100, ..HostConfig::default() });
    let large = refused(&small.expect("a host"), &MIDDLEWARE.component());
    assert!(large.contains("at most 100 are read"), "{large}");
}

/// A component is text at its surface: names of the same length can be put in place of others.
fn with(bytes: &[u8], from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    for start in 0..bytes.len().saturating_sub(from.len()) {
        if bytes[start..].starts_with(from.as_bytes()) {
            bytes[start..start + to.len()].copy_from_slice(to.as_bytes());
        }
    }
    bytes
}

#[test]
fn other_versions_and_unknown_imports_are_named() {
    let host = host();
    let good = MIDDLEWARE.component();
    assert_eq!(
        refused(&host, &with(&good, "@0.1.0", "@0.9.0")),
        "speaks portolan:plugin@0.9.0, this host 0.1.0"
    );
    assert_eq!(
        refused(&host, &with(&good, "plugin/entropy@", "plugin/weather@")),
        "imports `portolan:plugin/weather@0.1.0`, which this host does not offer"
    );
    let patched = with(&good, "@0.1.0", "@0.1.9");
    host.load("newer", &patched, None).expect("a later patch of the same version fits");
    let text = refused(&host, &with(&good, "next-u64", "next-u65"));
    assert!(text.contains("does not fit") && text.contains("next-u65"), "{text}");
}

fn describing(describe: &'static str) -> Vec<u8> {
    let code = Box::leak(format!("{LIFECYCLE}{MATCHER_CODE}").into_boxed_str());
    Guest {
        name: "bad",
        schema: None,
        imports: r#"(import "portolan:plugin/clock@0.1.0" "unix-millis" (func $now (result i64)))"#,
        exports: &["matcher-compiler"],
        describe,
        code,
    }
    .component()
}

const MATCHER_CODE: &str = r#"
    (func (export "portolan:plugin/matcher-compiler@0.1.0#matchers") (result i32)
        (i32.const 60000))
    (func (export "portolan:plugin/matcher-compiler@0.1.0#compile")
        (param i32 i32 i32 i32) (result i32) unreachable)
"#;

#[test]
fn a_plugin_that_cannot_describe_itself_is_refused() {
    let host = host();
    assert!(host.load("good", &describing(""), None).is_ok());
    let text = refused(&host, &describing("unreachable"));
    assert!(text.starts_with("fails in `describe`: trapped: panicked"), "{text}");
    let text = refused(&host, &describing("(loop $l (br $l))"));
    assert_eq!(text, "fails in `describe`: ran for longer than 100 ms");
    // The name is at 256.
    let text = refused(&host, &describing("(i32.store8 (i32.const 256) (i32.const 32))"));
    assert!(text.contains("letters, digits and hyphens only"), "{text}");
    let hog = "(drop (memory.grow (i32.const 2000))) unreachable";
    assert!(refused(&host, &describing(hog)).contains("bytes of memory"));
}

#[test]
fn a_schema_that_is_none_is_refused() {
    let bytes = Guest { schema: Some(r#"{"type":"rubbish"}"#), ..MATCHER }.component();
    assert!(refused(&host(), &bytes).contains("its `config-schema`"));
}

#[test]
fn a_middleware_that_can_wait_is_refused() {
    let imports = r#"(import "portolan:plugin/timer@0.1.0" "sleep" (func $sleep (param i32)))"#;
    let bytes = Guest { imports, ..MATCHER }.component();
    assert_eq!(
        refused(&host(), &bytes),
        "exports `matcher-compiler` and imports `timer`, which can wait; only providers may, \
         so make it two plugins"
    );
}

#[test]
fn a_matcher_is_compiled_to_a_checked_predicate() {
    let matchers = load(&host(), &MATCHER).matchers().expect("matchers");
    assert_eq!(matchers.signatures()[0].name, "Teapot");
    let predicate = matchers.compile("Teapot", &[]).expect("a predicate");
    let Predicate::Test(test) = predicate else { panic!("not a test: {predicate:?}") };
    assert_eq!(
        (test.field(), test.op(), test.values()),
        (&Field::Host, Op::Equals, &["tea".to_owned()][..])
    );
    let error = matchers.compile("Teapot", &["x".to_owned()]).expect_err("must be refused");
    assert_eq!((error.arg, error.message.as_str()), (Some(0), "too hot"));
    let error = matchers.compile("Teapot", &["x".to_owned(), "y".to_owned()]);
    let error = error.expect_err("must be refused");
    assert_eq!(error.message, "the plugin `tea` ran for longer than 1000 ms");
}

fn files(directory: &Path, kind: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory.join("plugins")).expect("the cache");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths.filter(|path| path.extension().is_some_and(|it| it == kind)).collect()
}

#[test]
fn code_is_compiled_once() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let first = load(&host_in(home.path()), &MATCHER);
    assert!(!first.loading().cached);
    let second = load(&host_in(home.path()), &MATCHER);
    assert!(second.loading().cached);
    assert_eq!(second.info().matchers, first.info().matchers);
    assert_eq!(second.info().schema, first.info().schema);
    assert_eq!(second.figures().instantiations.value(), 0, "it need not be asked again");
    let matchers = second.matchers().expect("matchers");
    assert!(matchers.compile("Teapot", &[]).is_ok());
}

/// Compiles as the host does, counts how often, and refuses after so many times.
#[derive(Debug)]
struct Counting {
    count: AtomicUsize,
    refuses_after: usize,
}

impl Compiler for Counting {
    fn compile(&self, component: &[u8]) -> Result<MachineCode, Cause> {
        match self.count.fetch_add(1, SeqCst) {
            count if count < self.refuses_after => compile(component),
            _ => Err("is one too many".to_owned().into()),
        }
    }
}

#[test]
fn where_code_is_compiled_is_up_to_the_embedder() {
    let home = tempfile::tempdir().expect("a temporary directory");
    let host = |cache_dir: Option<&Path>| {
        let compiler = Arc::new(Counting { count: AtomicUsize::new(0), refuses_after: 1 });
        let cache_dir = cache_dir.map(|path| path.join("plugins"));
        let config = HostConfig { cache_dir, compiler: compiler.clone(), ..HostConfig::default() };
        (Host::new(config).expect("a host"), compiler)
    };
    let (cached, compiler) = host(Some(home.path()));
    assert!(!load(&cached, &MATCHER).loading().cached);
    assert!(load(&cached, &MATCHER).loading().cached);
    assert_eq!(compiler.count.load(SeqCst), 1);
    let (uncached, compiler) = host(None);
    load(&uncached, &MATCHER);
    // What is no plugin never comes to it.
    assert!(refused(&uncached, b"hello").contains("is not WebAssembly"));
    assert_eq!(compiler.count.load(SeqCst), 1);
    let text = refused(&uncached, &MIDDLEWARE.component());
    assert_eq!(text, "cannot be compiled: is one too many");
}

#[test]
fn what_is_stale_or_foreign_or_tampered_with_is_compiled_anew() {
    use std::os::unix::fs::PermissionsExt as _;

    let home = tempfile::tempdir().expect("a temporary directory");
    load(&host_in(home.path()), &MATCHER);
    let (code, card) =
        (files(home.path(), "cwasm").remove(0), files(home.path(), "card").remove(0));
    let key = home.path().join("plugins.key");
    let mode = |path: &PathBuf| fs::metadata(path).expect("it is there").permissions().mode();
    assert_eq!(mode(&home.path().join("plugins")) & 0o777, 0o700);
    assert_eq!((mode(&key) & 0o777, mode(&code) & 0o777), (0o600, 0o600));

    let again = || load(&host_in(home.path()), &MATCHER).loading().cached;
    let replace = |path: &PathBuf, bytes: &[u8]| {
        // By another file, as whoever is up to no good would have to.
        fs::remove_file(path).expect("to remove it");
        fs::write(path, bytes).expect("to write it");
    };
    assert!(again());
    let whole = fs::read(&code).expect("the code");
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 1;
    replace(&code, &changed);
    assert!(!again(), "one bit of the code");
    assert!(again(), "and it is kept again");
    replace(&code, &whole[..whole.len() / 2]);
    assert!(!again(), "half of it");
    replace(&code, b"");
    assert!(!again(), "none of it");
    let text = fs::read_to_string(&card).expect("the card");
    replace(&card, text.replace("Teapot", "Kettle").as_bytes());
    assert!(!again(), "another card");
    fs::remove_file(&card).expect("to remove it");
    assert!(!again(), "no card");
    replace(&key, &[0; 32]);
    assert!(!again(), "a key that others can read");
    replace(&card, b"\xff\xfe\n");
    assert!(!again(), "rubbish");
    assert!(again());
}

#[test]
fn a_card_of_one_plugin_does_not_serve_for_another() {
    let home = tempfile::tempdir().expect("a temporary directory");
    load(&host_in(home.path()), &MATCHER);
    let own = (files(home.path(), "cwasm").remove(0), files(home.path(), "card").remove(0));
    load(&host_in(home.path()), &PROVIDER);
    for (kind, from) in [("cwasm", &own.0), ("card", &own.1)] {
        for path in files(home.path(), kind) {
            if path != *from {
                fs::remove_file(&path).expect("to remove it");
                fs::copy(from, path).expect("to copy it");
            }
        }
    }
    let plugin = load(&host_in(home.path()), &PROVIDER);
    assert!(!plugin.loading().cached);
    assert_eq!(&*plugin.info().name, "errand");
}

#[test]
fn a_directory_that_cannot_be_used_is_no_error() {
    let home = tempfile::tempdir().expect("a temporary directory");
    fs::write(home.path().join("plugins"), "a file").expect("a file");
    assert!(!load(&host_in(home.path()), &MATCHER).loading().cached);
}

#[test]
fn figures_are_kept_over_a_reload() {
    let host = host();
    let first = load(&host, &MIDDLEWARE);
    let bind = |plugin: &portolan_wasm::Plugin| {
        let middleware = plugin.middleware().expect("a middleware");
        let bound = middleware.bind("test", &serde_json::json!({ "do": "o" }), &[], None);
        bound.expect("a good binding").hooks.expect("hooks")
    };
    let old = bind(&first);
    let calls = first.figures().calls.value();
    let bytes = MIDDLEWARE.component();
    let second = host.load("letter", &bytes, Some(first.figures())).expect("a good plugin");
    assert_eq!(second.figures().calls.value(), calls);
    drop(first);
    let new = bind(&second);
    let run = |hooks: &Arc<dyn portolan_core::port::Hooks>| {
        let (_, verdict): (Box<Exchange>, _) = hooks.on_request(crate::exchange());
        assert!(verdict.is_ok());
    };
    run(&old);
    run(&new);
    assert_eq!(second.figures().instances.value(), 2, "the old one lives while it is in use");
    drop(old);
    assert_eq!(second.figures().instances.value(), 1);
}
