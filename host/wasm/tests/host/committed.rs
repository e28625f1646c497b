//! The guests that are committed in `plugins/dist`: they load, and do their work here.

use std::{fs, path::Path, time::Duration};

use portolan_core::port::{BindError, PollError, RequestVerdict};
use portolan_wasm::{Grants, Host, Plugin};
use serde_json::json;

use crate::{exchange, host, host_in};

fn committed() -> Vec<(String, Vec<u8>)> {
    let dist = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../plugins/dist");
    let paths = fs::read_dir(dist).expect("the committed guests");
    let mut guests: Vec<_> = paths
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|it| it == "wasm"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, fs::read(path).expect("a guest"))
        })
        .collect();
    guests.sort();
    guests
}

fn plugin(host: &Host, name: &str) -> Plugin {
    let guests = committed();
    let (_, bytes) = guests.iter().find(|(it, _)| it == name).expect("a committed guest");
    host.load(name, bytes, None).expect("a good plugin")
}

#[test]
fn they_load_and_are_named_like_their_files() {
    let home = tempfile::tempdir().expect("a temporary directory");
    for cached in [false, true] {
        let host = host_in(home.path());
        for (name, bytes) in committed() {
            let plugin = host.load(&name, &bytes, None).expect("a good plugin");
            assert_eq!(&*plugin.info().name, name);
            assert_eq!(plugin.loading().cached, cached, "{name}");
        }
    }
}

#[test]
fn an_id_is_made_and_kept() {
    let middleware = plugin(&host(), "request-id").middleware().expect("a middleware");
    // As a Consul tag has it: no value, or text.
    for config in [json!("true"), json!({ "Header": "x-one", "replace": "true" })] {
        let interest = middleware.bind("id", &config, None).expect("a good binding");
        let hooks = interest.hooks.expect("hooks");
        let (after, verdict) = hooks.on_request(exchange());
        assert!(matches!(verdict, Ok(RequestVerdict::Continue { response: true, .. })));
        let name = if config.is_object() { "x-one" } else { "x-request-id" };
        let id = after.request.headers.get(name).expect("an id");
        assert!(id.len() >= 16, "{id:?}");
    }
}

#[test]
fn a_planned_middleware_never_runs() {
    let plugin = plugin(&host(), "headers");
    let middleware = plugin.middleware().expect("a middleware");
    // Traefik's spelling and a tag's types.
    let config = json!({ "customRequestHeaders": { "X-Script-Name": "test" } });
    let interest = middleware.bind("headers", &config, None).expect("a good binding");
    assert!(interest.hooks.is_none() && !interest.plan.is_empty());
    let error = middleware.bind("headers", &json!({ "customRequestHeader": {} }), None);
    let Err(BindError::Config(errors)) = error else { panic!("must be refused: {error:?}") };
    assert_eq!(errors[0].hint.as_deref(), Some("did you mean `custom-request-headers`?"));
}

#[tokio::test]
async fn what_only_some_configurations_need_need_not_be_granted() {
    let consul = plugin(&host(), "consul");
    let http_client = vec!["http://127.0.0.1:1".to_owned()];
    let grants = Grants { http_client, ..Grants::default() };
    let config = json!({ "address": "127.0.0.1:1", "tokenFile": "token" });
    let provider = consul.provider("consul", &config, &grants).expect("a good binding");
    let step = provider.poll(None, Duration::from_secs(1)).await;
    let Err(PollError::Temporary(told)) = step else { panic!("must be denied: {step:?}") };
    assert!(
        told.contains("`token` cannot be used: it may not be read: nothing is granted"),
        "{told}"
    );
    let nothing = consul.provider("consul", &config, &Grants::default());
    assert!(matches!(nothing, Err(BindError::Refused(told)) if told.contains("http-client")));
}

#[test]
fn the_rules_compile() {
    let matchers = plugin(&host(), "http-rules").matchers().expect("matchers");
    let args = |args: &[&str]| args.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    for (name, good, bad) in [
        ("Host", args(&["grafana.local"]), args(&[""])),
        ("PathPrefix", args(&["/api"]), args(&["api"])),
        ("PathRegexp", args(&["^/[a-z]+$"]), args(&["("])),
        ("ClientIP", args(&["10.0.0.0/8"]), args(&["x"])),
    ] {
        let found = matchers.compile(name, &good);
        assert!(found.is_ok(), "{name}: {found:?}");
        assert!(matchers.compile(name, &bad).is_err(), "{name}");
    }
}
