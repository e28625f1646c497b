//! What a configuration means, and what is said about one that means nothing.
//!
//! `bad.toml` stands beside `bad.err`. After a change of wording, `UPDATE_EXPECT=1 cargo test`
//! writes the latter anew; read the difference.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use expect_test::expect_file;
use http::{HeaderName, uri::Scheme};
use portolan_core::{
    assemble::{Redirected, RulePriority},
    figure::{HeaderLabel, HeaderLabels},
    policy::TlsVersion,
    problem::Problem,
    zone::{Names, StaticRecord},
};
use portolan_net::{
    http::{EncodedCharacter, EncodedCharacters, Limits, RedirectConfig, RedirectTarget},
    tls::acme::{KeyType, LETS_ENCRYPT, StorageConfig, Token},
};
use serde_json::json;

use super::*;
use crate::telemetry::{Format, Log};

fn source(text: &str) -> Source {
    let base = PathBuf::from("/etc/portolan");
    Source { name: "config.toml".to_owned(), text: text.into(), file: None, base }
}

fn loaded(text: &str) -> Loaded {
    check(source(text))
        .and_then(usable)
        .unwrap_or_else(|report| panic!("{}", report.render(Colour::Never)))
}

pub(crate) fn config(text: &str) -> Config {
    loaded(text).config
}

fn rendered(text: &str) -> String {
    check(source(text)).and_then(usable).unwrap_err().render(Colour::Never)
}

/// The `.toml` files of a folder below this crate, in alphabetical order.
fn toml_files(folder: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let files = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> =
        files.filter(|file| file.extension().is_some_and(|it| it == "toml")).collect();
    files.sort();
    assert!(!files.is_empty(), "nothing in {}", folder.display());
    files
}

#[test]
fn every_mistake_is_shown_at_its_place() {
    for file in toml_files("src/config/tests") {
        let text = fs::read_to_string(&file).unwrap();
        expect_file![file.with_extension("err")].assert_eq(&rendered(&text));
    }
}

#[test]
fn every_example_loads_without_a_warning() {
    for file in toml_files("../../config/examples") {
        match load_file(&file) {
            Ok(loaded) => assert!(loaded.report.is_empty(), "{}", file.display()),
            Err(report) => panic!("{}", report.render(Colour::Never)),
        }
    }
}

#[test]
fn every_example_of_a_dynamic_file_holds_http_and_nothing_else() {
    for file in toml_files("../../config/examples/dynamic") {
        let text = fs::read_to_string(&file).unwrap();
        let table: toml::Table = text.parse().unwrap();
        let keys: Vec<_> = table.keys().collect();
        assert_eq!(keys, ["http"], "{}", file.display());
    }
}

/// `#key = …` and `#[table]` show defaults; `# text` is for people.
fn uncommented(text: &str) -> String {
    let uncomment = |line: &str| match line.strip_prefix('#') {
        Some(code) if code.starts_with(|c: char| c.is_ascii_lowercase() || c == '[') => {
            format!("{code}\n")
        }
        _ => format!("{line}\n"),
    };
    text.lines().map(uncomment).collect()
}

#[test]
fn the_defaults_shown_are_those_of_the_code() {
    let shown = uncommented(EMBEDDED);
    assert!(shown.len() < EMBEDDED.len(), "no default is shown");
    assert_eq!(config(&shown), config(EMBEDDED));
}

#[test]
fn the_annotated_default_names_every_key() {
    let tables = [
        schema::File::FIELDS,
        schema::Entrypoint::FIELDS,
        schema::Tls::FIELDS,
        schema::Certificate::FIELDS,
        schema::Redirect::FIELDS,
        schema::CommonTls::FIELDS,
        schema::Options::FIELDS,
        schema::ClientAuth::FIELDS,
        schema::Acme::FIELDS,
        schema::ExternalAccount::FIELDS,
        schema::Admin::FIELDS,
        dns::Dns::FIELDS,
        dns::access::Access::FIELDS,
        dns::forward::Cache::FIELDS,
        dns::forward::Filter::FIELDS,
        dns::access::QueryLog::FIELDS,
        dns::Zone::FIELDS,
        dns::Record::FIELDS,
        plugins::Plugins::FIELDS,
        plugins::Plugin::FIELDS,
        plugins::Grants::FIELDS,
        schema::Provider::FIELDS,
        schema::Grants::FIELDS,
        schema::PeerTls::FIELDS,
        schema::Log::FIELDS,
        Drain::FIELDS,
        limits::Timeouts::FIELDS,
        limits::Amounts::FIELDS,
        limits::Http2::FIELDS,
        limits::Encoded::FIELDS,
        observe::AccessLog::FIELDS,
        observe::Filters::FIELDS,
        observe::FieldModes::FIELDS,
        observe::HeaderModes::FIELDS,
        counting::Metrics::FIELDS,
        observe::Tracing::FIELDS,
        &["provider_precedence", "default_servers_transport", "reason_header"],
    ];
    for key in tables.concat().into_iter().map(read::key_of) {
        let shown = EMBEDDED.lines().any(|line| {
            line.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').any(|word| word == key)
        });
        assert!(shown, "config/config.toml does not explain `{key}`");
    }
}

#[test]
fn an_entrypoint_that_says_nothing_of_limits_has_those_of_the_data_plane() {
    let plain = config("data-dir = \"d\"\n[entrypoints.web]\naddress = \"127.0.0.1:0\"");
    assert_eq!(plain.entrypoints[0].limits, Limits::default());
    let told = config(
        "data-dir = \"d\"\n[entrypoints.web]\naddress = \"127.0.0.1:0\"\n\
         limits = { max-connections-per-client = 20, keep-alive-max-time = \"1h\" }\n\
         http2 = { ping-interval = \"0s\" }\n\
         encoded-characters = { allow-encoded-slash = false }",
    );
    let limits = &told.entrypoints[0].limits;
    assert_eq!(limits.max_connections_per_client, Some(20));
    assert_eq!(limits.keep_alive_max_time, Some(Duration::from_secs(3600)));
    assert_eq!(limits.http2.ping_interval, None);
    let no_slash = EncodedCharacters::default().refusing(EncodedCharacter::Slash);
    assert_eq!(limits.encoded_characters, no_slash);
}

#[test]
fn the_annotated_default_is_what_the_first_start_needs() {
    let config = config(EMBEDDED);
    let addresses: Vec<_> = config
        .entrypoints
        .iter()
        .map(|it| (it.name.as_str(), it.address.to_string(), it.tls.is_some()))
        .collect();
    assert_eq!(
        addresses,
        [
            ("web", "127.0.0.1:8000".to_owned(), false),
            ("websecure", "127.0.0.1:8443".to_owned(), true)
        ]
    );
    assert_eq!(config.admin.unwrap().address.to_string(), "127.0.0.1:8080");
    let dns = config.dns.unwrap();
    assert_eq!(dns.addresses, ["127.0.0.1:5300".parse().unwrap()]);
    assert_eq!(dns.upstreams, None);
    let zones: Vec<_> = dns.zones.iter().map(|zone| (zone.origin.as_str(), &zone.names)).collect();
    assert_eq!(zones, [("consul", &Names::Consul), ("infra.local", &Names::Services)]);
    let providers: Vec<_> =
        config.providers.iter().map(|it| (it.name.as_str(), it.plugin.as_str())).collect();
    assert_eq!(providers, [("consul", "consul"), ("static", "file")]);
    assert_eq!(config.http["routers"]["whoami"]["middlewares"], json!(["hello", "whoami"]));
}

#[test]
fn one_line_is_enough() {
    let config = config("data-dir = 'data'");
    assert_eq!(config.data_dir, Path::new("/etc/portolan/data"));
    assert_eq!(config.threads, None);
    assert_eq!(config.entrypoints, []);
    assert_eq!(config.admin.unwrap().address.to_string(), "127.0.0.1:8080");
    assert_eq!(config.dns, None);
    assert_eq!(config.plugins.directory, Path::new("/etc/portolan/plugins"));
    assert_eq!(config.providers, []);
    assert_eq!(config.http, json!({}));
    assert_eq!(config.log, Log { level: "info".to_owned(), format: Format::Text });
    assert_eq!(config.drain.timeout, Duration::from_secs(30));
}

#[test]
fn labels_say_what_headers_do_and_are_none_by_default() {
    assert_eq!(config("data-dir = 'd'").header_labels, HeaderLabels::default());
    let told = "data-dir = 'd'\n[metrics]\nheader-label-limit = 20\n\
                header-labels = { user_agent = 'User-Agent', Tenant2 = 'x-tenant' }";
    let label = |name: &str, header| HeaderLabel {
        name: name.into(),
        header: HeaderName::from_static(header),
    };
    let labels = vec![label("user_agent", "user-agent"), label("Tenant2", "x-tenant")];
    assert_eq!(config(told).header_labels, HeaderLabels { labels, limit: 20 });
}

#[test]
fn what_is_on_can_be_switched_off_and_on() {
    assert_eq!(config("data-dir = 'd'\nadmin = false").admin, None);
    assert_eq!(config("data-dir = 'd'\ndns = false").dns, None);
    let dns = config("data-dir = 'd'\ndns = true").dns.unwrap();
    assert_eq!(dns.addresses, ["127.0.0.1:5300".parse().unwrap()]);
}

#[test]
fn relative_paths_start_at_the_file_and_a_plugins_own_are_left_alone() {
    let config = config(
        "data-dir = '/var/lib/portolan'
         plugins.directory = 'wasm'
         plugins.mine.grants.files = ['users']
         [providers.static]
         plugin = 'file'
         config = { directory = 'dynamic' }
         grants = { files = ['dynamic', '/srv/dynamic'], http-client = ['http://a:1/'] }",
    );
    assert_eq!(config.data_dir, Path::new("/var/lib/portolan"));
    assert_eq!(config.plugins.directory, Path::new("/etc/portolan/wasm"));
    assert_eq!(config.plugin_files, [("mine".to_owned(), vec!["/etc/portolan/users".into()])]);
    let provider = &config.providers[0];
    let files = ["/etc/portolan/dynamic", "/srv/dynamic"].map(PathBuf::from);
    assert_eq!(provider.grants.files, files);
    assert_eq!(provider.grants.http_client, ["http://a:1"]);
    assert_eq!(provider.config, json!({ "directory": "dynamic" }));
}

#[test]
fn an_entrypoint_encrypts_with_what_it_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let text = "data-dir = 'd'
        [entrypoints]
        own = { address = '127.0.0.1:0', tls = { certificates = [{ cert = 'c', key = 'k' }] } }
        local = { address = '[::1]:0', tls = true }
        plain = { address = '127.0.0.1:0', tls = false }";
    for (name, content) in [("config.toml", text), ("c", ""), ("k", "")] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let entrypoints = load_file(&file).unwrap().config.entrypoints;
    let names: Vec<_> = entrypoints.iter().map(|entrypoint| entrypoint.name.as_str()).collect();
    assert_eq!(names, ["own", "local", "plain"]);
    let certificate = &entrypoints[0].tls.as_ref().unwrap().certificates[0];
    assert_eq!(certificate.cert, folder.path().join("c"));
    assert_eq!(certificate.key, folder.path().join("k"));
    assert!(entrypoints[1].tls.as_ref().unwrap().certificates.is_empty());
    assert_eq!(entrypoints[2].tls, None);
}

#[test]
fn options_and_resolvers_are_read_and_have_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let text = "data-dir = 'd'
        [entrypoints]
        web = { address = '127.0.0.1:0', redirect = { to = 'secure' } }
        other = { address = '127.0.0.1:0', redirect = { to = ':8443', permanent = false }, \
                  forwarded-headers = { trusted-ips = ['10.0.0.1'] } }
        secure = { address = '127.0.0.1:0', tls = { options = 'strict', resolver = 'le' } }
        [tls.options.strict]
        min-version = '1.3'
        cipher-suites = ['TLS_AES_256_GCM_SHA384']
        alpn-protocols = ['http/1.1', 'acme-tls/1']
        client-auth = { ca-files = ['ca.pem'], mode = 'verify-if-given' }
        sni-strict = true
        [acme.le]
        [acme.shared]
        directory = 'https://ca.internal/acme'
        email = 'a@b.example'
        challenge = 'tls-alpn-01'
        key-type = 'rsa2048'
        storage = 'consul'
        [providers.consul]
        config = { address = 'consul:8500', token = 't' }";
    for (name, content) in [("config.toml", text), ("ca.pem", "")] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let config = load_file(&file).unwrap().config;
    let redirects: Vec<_> = config.entrypoints.iter().map(|it| it.redirect.clone()).collect();
    let redirect =
        |to, permanent| RedirectConfig { to, scheme: Scheme::HTTPS, permanent, priority: None };
    let expected = [
        Some(redirect(RedirectTarget::Entrypoint("secure".into()), true)),
        Some(redirect(RedirectTarget::Port(8443), false)),
        None,
    ];
    assert_eq!(redirects, expected);
    let redirected: Vec<_> = config.entrypoints.iter().map(|it| it.redirected()).collect();
    assert_eq!(redirected, [Redirected::Everybody, Redirected::Nobody, Redirected::Nobody]);
    let (name, options) = &config.tls.options[0];
    assert_eq!(&**name, "strict");
    assert_eq!((options.min_version, options.max_version), (TlsVersion::V13, TlsVersion::V13));
    assert_eq!(options.alpn_protocols, ["http/1.1"]);
    assert!(options.sni_strict && options.client_auth.as_ref().unwrap().optional);
    let [le, shared] = config.tls.resolvers.as_slice() else { panic!("two resolvers") };
    assert_eq!(le.directory, LETS_ENCRYPT);
    assert_eq!(le.storage, StorageConfig::File(folder.path().join("d/acme")));
    let consul = StorageConfig::Consul {
        address: "http://consul:8500".to_owned(),
        token: Some(Token::Text("t".to_owned())),
        roots: None,
        folder: folder.path().join("d/acme"),
    };
    assert_eq!((&shared.storage, shared.key_type), (&consul, KeyType::Rsa2048));
}

#[test]
fn a_provider_has_its_own_tls_which_resolvers_use_too() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let text = "data-dir = 'd'
        [acme.shared]
        storage = 'consul'
        [providers.consul]
        config = { address = 'https://consul:8501', tokenFile = 't' }
        tls = { ca = 'ca.pem', cert = 'c', key = 'k', server-name = 'server.dc1.consul' }";
    for (name, content) in [("config.toml", text), ("ca.pem", ""), ("c", ""), ("k", "")] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let config = load_file(&file).unwrap().config;
    let tls = config.providers[0].tls.as_ref().unwrap();
    let path = |name: &str| folder.path().join(name);
    assert_eq!(tls.root_cas, [path("ca.pem")]);
    assert_eq!((&tls.certificates[0].cert, &tls.certificates[0].key), (&path("c"), &path("k")));
    assert_eq!(tls.server_name.as_deref(), Some("server.dc1.consul"));
    let consul = StorageConfig::Consul {
        address: "https://consul:8501".to_owned(),
        token: Some(Token::File(path("t"))),
        roots: Some(path("ca.pem")),
        folder: path("d/acme"),
    };
    assert_eq!(config.tls.resolvers[0].storage, consul);
}

#[test]
fn dns_addresses_upstreams_and_times() {
    let dns = config(
        "data-dir = 'd'
         [dns]
         address = ['127.0.0.1:0', '[::1]:0']
         upstreams = ['9.9.9.9', '10.0.0.2:5353', '::1']
         ttl = '1m'
         zones.'B.Local'.names = 'routers'
         zones.a.names = 'consul'
         zones.a.ttl = 0",
    )
    .dns
    .unwrap();
    assert_eq!(dns.addresses.len(), 2);
    let upstreams: Vec<_> = dns.upstreams.unwrap().iter().map(ToString::to_string).collect();
    assert_eq!(upstreams, ["9.9.9.9:53", "10.0.0.2:5353", "[::1]:53"]);
    let zones: Vec<_> = dns.zones.iter().map(|zone| (zone.origin.as_str(), zone.ttl)).collect();
    assert_eq!(zones, [("b.local", 60), ("a", 0)]);
}

#[test]
fn record_names_are_relative_to_their_zone_even_if_written_whole() {
    let dns = config(
        "data-dir = 'd'
         [dns.zones.'home.arpa']
         names = 'static'
         ttl = 7
         records = [
             { name = 'nas', type = 'a', data = '10.0.0.1' },
             { name = 'NAS.home.arpa', type = 'A', data = '10.0.0.1', ttl = 60 },
             { name = 'home.arpa.', type = 'TXT', data = 'x' },
             { name = '*.web', type = 'A', data = '10.0.0.1', ttl = '1h' },
             { name = 'xhome.arpa', type = 'A', data = '10.0.0.1' },
         ]",
    )
    .dns
    .unwrap();
    let Names::Static(records) = &dns.zones[0].names else { panic!("other names") };
    let records: Vec<_> = records
        .iter()
        .map(|StaticRecord { name, rtype, ttl, .. }| (name.as_str(), rtype.as_str(), *ttl))
        .collect();
    let expected = [
        ("nas", "A", 7),
        ("nas", "A", 60),
        ("@", "TXT", 7),
        ("*.web", "A", 3600),
        ("xhome.arpa", "A", 7),
    ];
    assert_eq!(records, expected);
}

#[test]
fn http_is_handed_on_as_it_is_written() {
    let http = config(
        "data-dir = 'd'
         [http.routers.a]
         priority = 0x10
         rate = 1_000.5
         tls = true
         since = 2024-05-01
         [[http.services.s.load-balancer.servers]]
         url = 'http://a'",
    )
    .http;
    let expected = json!({
        "routers": { "a": { "priority": 16, "rate": 1000.5, "tls": true, "since": "2024-05-01" } },
        "services": { "s": { "load-balancer": { "servers": [{ "url": "http://a" }] } } },
    });
    assert_eq!(http, expected);
}

#[test]
fn what_holds_for_all_routers_is_not_handed_on() {
    let config = config("data-dir = 'd'\n[http]\nrulePriority = 'specificity'\nrouters = {}\n");
    assert_eq!(config.rule_priority, RulePriority::Specificity);
    assert_eq!(config.http, json!({ "routers": {} }));
}

#[test]
fn problems_found_later_are_shown_in_the_same_way() {
    let mut loaded = loaded("data-dir = 'd'\n[http.routers.a]\nrule = 'Hots(`a`)'\n");
    let problem = Problem::error("config", "", "unknown matcher `Hots`").did_you_mean(Some("Host"));
    loaded.report.add(Place::Pointer("/http/routers/a/rule"), problem);
    let problem = Problem::warning("config", "", "router `a` has no service");
    loaded.report.add(Place::Pointer("/http/routers/a/service"), problem);
    let problem = Problem::error("static", "dynamic/a.toml", "unknown key `x`").at("/routers");
    loaded.report.add(Place::Elsewhere, problem);
    assert!(loaded.report.has_errors());
    let expected = expect_test::expect![[r#"
        warning: router `a` has no service
         --> config.toml:2:15
          |
        2 | [http.routers.a]
          |               ^

        error: unknown matcher `Hots`
         --> config.toml:3:8
          |
        3 | rule = 'Hots(`a`)'
          |        ^^^^^^^^^^^
          |
          = help: did you mean `Host`?

        error: unknown key `x`
        --> dynamic/a.toml at /routers

        config.toml: 2 errors, 1 warning
    "#]];
    expected.assert_eq(&loaded.report.render(Colour::Never));
    let origins: Vec<_> = loaded.report.problems().into_iter().map(|it| it.origin).collect();
    assert_eq!(origins, ["config.toml:2:15", "config.toml:3:8", "dynamic/a.toml at /routers"]);
}

#[test]
fn the_file_given_comes_first_and_the_usual_places_last() {
    let chosen = |given: Option<&str>, environment: Option<&str>, existing: &str| {
        let found = find(given.map(Path::new), environment.map(OsString::from), |path| {
            path == Path::new(existing)
        });
        found.map(|path| path.display().to_string())
    };
    let etc = "/etc/portolan/config.toml";
    assert_eq!(chosen(Some("a"), Some("b"), etc).as_deref(), Some("a"));
    assert_eq!(chosen(None, Some("b"), etc).as_deref(), Some("b"));
    assert_eq!(chosen(None, Some(""), etc).as_deref(), Some(etc));
    assert_eq!(chosen(None, None, "config/config.toml").as_deref(), Some("config/config.toml"));
    assert_eq!(chosen(None, None, "nothing"), None);
}

#[test]
fn a_file_that_cannot_be_read_is_a_report_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let report = load_file(&folder.path().join("none.toml")).unwrap_err();
    let text = report.render(Colour::Never);
    assert!(text.contains("cannot read the configuration: No such file"), "{text}");
    let binary = folder.path().join("binary.toml");
    fs::write(&binary, [0xff, 0xfe]).unwrap();
    let text = load_file(&binary).unwrap_err().render(Colour::Never);
    assert!(text.contains("a configuration is text in UTF-8"), "{text}");
    load_file(folder.path()).unwrap_err();
}
