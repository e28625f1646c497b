//! The guests that are committed in `plugins/dist`: they load, and do their work here.

use std::{fs, path::Path, time::Duration};

use http::{HeaderMap, StatusCode};
use portolan_core::{
    edit,
    exchange::ResponseHead,
    middleware::Action,
    port::{BindError, PollError, RequestVerdict},
};
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
        let interest = middleware.bind("id", &config, &[], None).expect("a good binding");
        let hooks = interest.hooks.expect("hooks");
        let (mut after, verdict) = hooks.on_request(exchange());
        let Ok(RequestVerdict::Continue { response: false, later, .. }) = verdict else {
            panic!("must go on: {verdict:?}")
        };
        let name = if config.is_object() { "x-one" } else { "x-request-id" };
        let id = after.request.headers.get(name).expect("an id").clone();
        assert!(id.len() >= 16, "{id:?}");
        let head =
            ResponseHead { status: StatusCode::OK, headers: HeaderMap::new().into(), local: false };
        after.response = Some(head);
        edit::apply(later, &mut after);
        let response = after.response.take().expect("a response");
        assert_eq!(response.headers.get(name), Some(&id));
        // One that is there already is kept, unless it is to be replaced, and repeated as well.
        let (mut after, verdict) = hooks.on_request(after);
        let kept = after.request.headers.get(name).expect("an id").clone();
        assert_eq!(kept == id, !config.is_object());
        let Ok(RequestVerdict::Continue { later, .. }) = verdict else { panic!("{verdict:?}") };
        after.response = Some(response);
        edit::apply(later, &mut after);
        assert_eq!(after.response.expect("a response").headers.get(name), Some(&kept));
    }
}

#[test]
fn a_planned_middleware_never_runs() {
    let plugin = plugin(&host(), "headers");
    let middleware = plugin.middleware().expect("a middleware");
    // Traefik's spelling and a tag's types.
    let config = json!({ "customRequestHeaders": { "X-Script-Name": "test" } });
    let interest = middleware.bind("headers", &config, &[], None).expect("a good binding");
    assert!(interest.hooks.is_none() && !interest.plan.is_empty());
    let strip = self::plugin(&host(), "strip-prefix").middleware().expect("a middleware");
    // From tags of Traefik, in which everything is text.
    let config = json!({ "prefixes": "/a,/b", "forceSlash": "false" });
    strip.bind("strip", &config, &[], None).expect("a good binding");
    let nothing = strip.bind("strip", &json!({ "forceSlash": "true" }), &[], None);
    assert!(nothing.expect("a good binding").plan.is_empty());
    let config = json!({ "sslRedirect": "true", "featurePolicy": "x", "stsSeconds": "-1" });
    let interest = middleware.bind("headers", &config, &[], None).expect("a good binding");
    assert!(interest.hooks.is_none() && interest.plan.is_empty());
    let list = self::plugin(&host(), "ip-allow-list").middleware().expect("a middleware");
    let config = json!({ "sourceRange": "10.0.0.0/8", "rejectStatusCode": "0" });
    list.bind("list", &config, &[], None).expect("a good binding");
    let limit = self::plugin(&host(), "rate-limit").middleware().expect("a middleware");
    let criterion = json!({ "ipStrategy": { "depth": "1", "excludedIPs": "10.0.0.1" } });
    let config = json!({ "average": "5", "period": "100ms", "sourceCriterion": criterion });
    let interest = limit.bind("limit", &config, &[], None).expect("a good binding");
    let counted: Vec<_> = interest.actions().collect();
    let [Action::RateLimit(limit)] = counted.as_slice() else { panic!("{counted:?}") };
    assert_eq!((limit.rate.average, limit.rate.burst), (5, 1));
    assert_eq!(limit.rate.period, Duration::from_millis(100));
    let error = middleware.bind("headers", &json!({ "customRequestHeader": {} }), &[], None);
    let Err(BindError::Config(errors)) = error else { panic!("must be refused: {error:?}") };
    assert_eq!(errors[0].hint.as_deref(), Some("did you mean `custom-request-headers`?"));
}

#[test]
fn a_plugin_is_given_what_a_file_holds_and_says_which_line_is_wrong() {
    let guard = plugin(&host(), "basic-auth").middleware().expect("a middleware");
    // From a tag of Traefik.
    let config = json!({ "usersFile": "secrets/users" });
    let files = guard.files(&config);
    let files: Vec<_> = files.iter().map(|it| (it.path.as_str(), it.file.as_str())).collect();
    assert_eq!(files, [("/users-file", "secrets/users")]);
    assert_eq!(guard.files(&json!({ "users": "ada:{SHA}x" })), []);
    let bind = |content: &str| guard.bind("guard", &config, &[content.into()], None);
    let interest =
        bind("# users\nada:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n").expect("a good binding");
    assert!(interest.on_request && interest.hooks.is_some());
    let Err(BindError::Config(errors)) = bind("\nada\n") else { panic!("must be refused") };
    assert_eq!(errors[0].path, "/users-file");
    assert!(errors[0].message.starts_with("line 2: a user is written as"), "{errors:?}");
    guard.bind("guard", &json!({}), &[], None).expect("a door that nobody passes");
}

#[tokio::test]
async fn what_only_some_configurations_need_need_not_be_granted() {
    let consul = plugin(&host(), "consul");
    let http_client = vec!["http://127.0.0.1:1".to_owned()];
    let grants = Grants { http_client, ..Grants::default() };
    let config = json!({ "address": "127.0.0.1:1" });
    let provider = consul.provider("consul", &config, &grants).expect("a good binding");
    let step = provider.poll(None, Duration::from_secs(1)).await;
    assert!(matches!(step, Err(PollError::Temporary(_))), "nobody is there: {step:?}");
    let nothing = consul.provider("consul", &config, &Grants::default());
    assert!(matches!(nothing, Err(BindError::Refused(told)) if told.contains("http-client")));
}

#[test]
fn a_configuration_that_names_what_is_not_granted_is_refused_at_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::create_dir(folder.path().join("granted")).expect("a folder");
    let grants = Grants {
        http_client: vec!["http://127.0.0.1:1".to_owned()],
        files: vec!["granted".into()],
        base_dir: folder.path().to_owned(),
        ..Grants::default()
    };
    let refused = |plugin: &str, config: serde_json::Value| match self::plugin(&host(), plugin)
        .provider("x", &config, &grants)
    {
        Ok(_) => Vec::new(),
        Err(BindError::Config(errors)) => errors
            .into_iter()
            .map(|it| format!("{}: {}; {}", it.path, it.message, it.hint.unwrap_or_default()))
            .collect(),
        Err(other) => panic!("another refusal: {other:?}"),
    };
    let nothing: [&str; 0] = [];
    let good = json!({ "address": "127.0.0.1:1", "tokenFile": "granted/not-there-yet" });
    assert_eq!(refused("consul", good), nothing);
    let bad = json!({
        "address": "http://consul.example:8500/",
        "tokenFile": "/etc/token",
        "httpAuth": { "username": "a", "passwordFile": "granted/../secret" },
    });
    assert_eq!(
        refused("consul", bad),
        [
            "/address: `http://consul.example:8500/` is not granted; \
             add \"http://consul.example:8500\" to its `grants.http-client`",
            "/http-auth/password-file: `granted/../secret` is not granted; \
             add \"granted/../secret\" to its `grants.files`",
            "/token-file: `/etc/token` is not granted; add \"/etc/token\" to its `grants.files`",
        ]
    );
    // What is not said has a default.
    let default = refused("consul", json!({}));
    assert_eq!(default.len(), 1, "{default:?}");
    assert!(default[0].starts_with("/address: `http://127.0.0.1:8500`"), "{default:?}");
    assert_eq!(refused("file", json!({ "directory": "granted/below" })), nothing);
    assert_eq!(refused("file", json!({ "directory": "other" })).len(), 1);
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
