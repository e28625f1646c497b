//! Which names and arguments matchers take, and that plugins are asked once.

use expect_test::{Expect, expect};

use super::*;
use crate::{
    port::MatcherError,
    test_util::{TestMatchers, exchange_with, matchers, predicate},
};

/// Traefik's meanings, each as a rule, the requests that it takes and those that it leaves.
#[test]
fn rules_mean_what_they_mean_in_traefik() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "Host(`A.local.`)",
            &["GET http://a.local/", "GET http://A.LOCAL:81/x", "GET http://a.local./"],
            &["GET http://b.local/", "GET http://a.a.local/", "GET /"],
        ),
        ("Host(`::1`)", &["GET http://[::1]:80/"], &["GET http://[::2]/"]),
        (
            "Host(`*.a.local`)",
            &["GET http://b.a.local/", "GET http://B.A.local:1/"],
            &["GET http://a.local/", "GET http://c.b.a.local/", "GET http://ba.local/", "GET /"],
        ),
        ("Host(`*`)", &["GET http://b.a.local/", "GET http://x/", "GET /"], &[]),
        (
            "HostRegexp(`^[a-z]+\\.local$`)",
            &["GET http://a.local/", "GET http://AB.local:80/"],
            &["GET http://a.b.local/", "GET http://1.local/", "GET /"],
        ),
        ("HostRegexp(`loc`)", &["GET http://a.local/"], &["GET http://a/"]),
        (
            "Path(`/a`)",
            &["GET http://h/a", "GET http://h/b/../a?c"],
            &["GET http://h/a/", "GET http://h/ab"],
        ),
        ("Path(`/a b`)", &["GET http://h/a%20b"], &["GET http://h/a+b"]),
        ("Path(`/a%2Fb`)", &["GET http://h/a%2fb"], &["GET http://h/a/b"]),
        ("Path(`/a%20b`)", &[], &["GET http://h/a%20b"]),
        (
            "PathPrefix(`/products`)",
            &["GET http://h/products", "GET http://h/products/1", "GET http://h/products-for-sale"],
            &["GET http://h/product", "GET http://h/x/products", "GET http://h/products/../x"],
        ),
        ("PathRegexp(`\\.(png|jpe?g)$`)", &["GET http://h/a.jpg"], &["GET http://h/a.jpg/b"]),
        ("Method(`get`)", &["GET http://h/"], &["get http://h/", "POST http://h/"]),
        (
            "Query(`a`, `1`)",
            &["GET http://h/?a=1", "GET http://h/?a=2&a=1", "GET http://h/?b&a=%31"],
            &["GET http://h/?a=2", "GET http://h/?A=1", "GET http://h/"],
        ),
        (
            "Query(`mobile`)",
            &["GET http://h/?mobile", "GET http://h/?mobile="],
            &["GET http://h/?mobile=true"],
        ),
        (
            "QueryRegexp(`id`, `^[0-9]+$`)",
            &["GET http://h/?id=12"],
            &["GET http://h/?id=x", "GET http://h/"],
        ),
        ("ClientIP(`192.0.2.1`)", &["GET http://h/"], &[]),
        ("ClientIP(`192.0.2.0/24`)", &["GET http://h/"], &[]),
        ("ClientIP(`10.0.0.0/8`) || ClientIP(`2001:db8::/32`)", &[], &["GET http://h/"]),
        (
            "!Path(`/a`) && !(Path(`/b`) || Method(`POST`))",
            &["GET http://h/c"],
            &["GET http://h/a", "GET http://h/b", "POST http://h/c"],
        ),
    ];
    for (rule, taken, left) in cases {
        let predicate = predicate(rule);
        let matches = |line: &str| predicate.matches(&exchange_with(line, &[]));
        for line in *taken {
            assert!(matches(line), "{rule} takes {line}");
        }
        for line in *left {
            assert!(!matches(line), "{rule} leaves {line}");
        }
    }
}

#[test]
fn header_rules_look_at_every_line() {
    let cases = [
        ("Header(`X-A`, `1`)", &[("x-a", "1")][..], true),
        ("Header(`x-a`, `1`)", &[("x-a", "0"), ("X-A", "1")], true),
        ("Header(`x-a`, `a`)", &[("x-a", "A")], false),
        ("Header(`x-a`, `1`)", &[("x-a", "1, 2")], false),
        ("Header(`x-a`, `1`)", &[], false),
        ("HeaderRegexp(`x-a`, `^1`)", &[("x-a", "12")], true),
        ("HeaderRegexp(`x-a`, `^1$`)", &[("x-a", "12")], false),
        ("Header(`host`, `h.local:80`)", &[], true),
    ];
    for (rule, headers, expected) in cases {
        let exchange = exchange_with("GET http://h.local:80/", headers);
        assert_eq!(predicate(rule).matches(&exchange), expected, "{rule} {headers:?}");
    }
}

fn bad(rule: &str, expect: Expect) {
    let error = Rule::parse(rule).unwrap().compile(&matchers()).expect_err(rule);
    let hint = error.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    expect.assert_eq(&format!("{}\n{error}{hint}", error.caret(rule)));
}

/// The rule of Traefik 2 with the proposal in the place of what is underlined.
#[test]
fn what_is_proposed_for_a_list_means_what_the_list_meant() {
    let repaired = |rule: &str| {
        let error = Rule::parse(rule).unwrap().compile(&matchers()).expect_err(rule);
        let hint = error.hint.unwrap();
        let mut text = rule.to_owned();
        text.replace_range(error.span, hint.strip_prefix("write ").unwrap());
        predicate(&text)
    };
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "Host(`a`, `b`) && Path(`/x`)",
            &["GET http://a/x", "GET http://b/x"],
            &["GET http://a/", "GET http://b/"],
        ),
        (
            "Host(`a`) && !PathPrefix(`/x`, `/y`)",
            &["GET http://a/z"],
            &["GET http://a/x", "GET http://a/y", "GET http://b/y"],
        ),
        ("!Host(`a`, `b`)", &["GET http://c/"], &["GET http://a/", "GET http://b/"]),
        ("Host(`a`, `b`)", &["GET http://a/", "GET http://b/"], &["GET http://c/"]),
    ];
    for (rule, taken, left) in cases {
        let predicate = repaired(rule);
        for (line, expected) in
            taken.iter().map(|it| (it, true)).chain(left.iter().map(|it| (it, false)))
        {
            let exchange = exchange_with(line, &[]);
            assert_eq!(predicate.matches(&exchange), expected, "{rule}: {line}");
        }
    }
}

#[test]
fn what_does_not_compile_is_underlined() {
    bad(
        "Hots(`a`)",
        expect![[r#"
        Hots(`a`)
        ^^^^
        unknown matcher `Hots`
        hint: did you mean `Host`?"#]],
    );
    bad(
        "Path(`/a`) && Nothing(`x`)",
        expect![[r#"
        Path(`/a`) && Nothing(`x`)
                      ^^^^^^^
        unknown matcher `Nothing`
        hint: there are ClientIP, Header, HeaderRegexp, Host, HostRegexp, Method, Path, PathPrefix, PathRegexp, Query, QueryRegexp"#]],
    );
    bad(
        "hOST(`a`)",
        expect![[r#"
        hOST(`a`)
        ^^^^
        unknown matcher `hOST`
        hint: did you mean `Host`?"#]],
    );
    bad(
        "Host()",
        expect![[r#"
        Host()
        ^^^^^^
        `Host` takes 1 argument, found 0"#]],
    );
    bad(
        "Host(`a`, `b`)",
        expect![[r#"
            Host(`a`, `b`)
            ^^^^^^^^^^^^^^
            `Host` takes 1 argument, found 2
            hint: write (Host(`a`) || Host(`b`))"#]],
    );
    bad(
        "HostRegexp(`{sub:.+}.a.io`, `a.io`, `^b.$`)",
        expect![[r#"
            HostRegexp(`{sub:.+}.a.io`, `a.io`, `^b.$`)
            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
            `HostRegexp` takes 1 argument, found 3
            hint: write (HostRegexp(`^.+\.a\.io$`) || Host(`a.io`) || HostRegexp(`^b.$`))"#]],
    );
    bad(
        "PathPrefix(`/{id}`, `/b`)",
        expect![[r#"
            PathPrefix(`/{id}`, `/b`)
            ^^^^^^^^^^^^^^^^^^^^^^^^^
            `PathPrefix` takes 1 argument, found 2
            hint: write (PathRegexp(`^/[^/]+`) || PathPrefix(`/b`))"#]],
    );
    bad(
        "HostHeader(`a`)",
        expect![[r#"
        HostHeader(`a`)
        ^^^^^^^^^^
        unknown matcher `HostHeader`
        hint: did you mean `Host`?"#]],
    );
    bad(
        "Query(`a`, `b`, `c`)",
        expect![[r#"
        Query(`a`, `b`, `c`)
        ^^^^^^^^^^^^^^^^^^^^
        `Query` takes 1 or 2 arguments, found 3"#]],
    );
    bad(
        "Path(``)",
        expect![[r#"
        Path(``)
             ^^
        the argument is empty"#]],
    );
    bad(
        "Host(`a`) && Path(`b`)",
        expect![[r#"
        Host(`a`) && Path(`b`)
                          ^^^
        `Path`: a path starts with a slash"#]],
    );
    bad(
        "Host(`a*`)",
        expect![[r#"
        Host(`a*`)
             ^^^^
        `Host`: `a*` is no wildcard: `*` stands for all, or for the first label, as in `*.example.com`"#]],
    );
    bad(
        "Host(`*.*.a`)",
        expect![[r#"
        Host(`*.*.a`)
             ^^^^^^^
        `Host`: `*.*.a` is no wildcard: `*` stands for all, or for the first label, as in `*.example.com`"#]],
    );
    bad(
        "HostRegexp(`(a`)",
        expect![[r#"
        HostRegexp(`(a`)
                   ^^^^
        `HostRegexp`: the regular expression does not compile: unclosed group"#]],
    );
    bad(
        "PathRegexp(`(?=a)`)",
        expect![[r#"
        PathRegexp(`(?=a)`)
                   ^^^^^^^
        `PathRegexp`: the regular expression does not compile: look-around, including look-ahead and look-behind, is not supported"#]],
    );
    bad(
        "Header(`x-a`, `1`) || HeaderRegexp(`x-a`, `a{1000}{1000}`)",
        expect![[r#"
            Header(`x-a`, `1`) || HeaderRegexp(`x-a`, `a{1000}{1000}`)
                                                      ^^^^^^^^^^^^^^^
            `HeaderRegexp`: the regular expression needs more than 4194304 bytes when compiled"#]],
    );
    bad(
        "HeaderRegexp(`x a`, `a`)",
        expect![[r#"
        HeaderRegexp(`x a`, `a`)
                     ^^^^^
        `HeaderRegexp`: invalid HTTP header name"#]],
    );
    bad(
        "ClientIP(`10.0.0.0/33`)",
        expect![[r#"
        ClientIP(`10.0.0.0/33`)
                 ^^^^^^^^^^^^^
        `ClientIP`: `10.0.0.0/33` is neither an IP address nor a network such as `10.0.0.0/8`"#]],
    );
    bad(
        "ClientIP(`localhost`)",
        expect![[r#"
        ClientIP(`localhost`)
                 ^^^^^^^^^^^
        `ClientIP`: `localhost` is neither an IP address nor a network such as `10.0.0.0/8`"#]],
    );
}

#[test]
fn a_matcher_has_four_spellings() {
    for rule in ["HostRegexp(`a`)", "hostregexp(`a`)", "HOSTREGEXP(`a`)", "Hostregexp(`a`)"] {
        assert_eq!(predicate(rule), predicate("HostRegexp(`a`)"));
    }
}

/// A plugin with one matcher, `Never`, that counts what it is asked.
#[derive(Debug)]
struct Counting {
    name: &'static str,
    fingerprint: &'static str,
    signatures: Vec<Signature>,
    asked: Mutex<usize>,
}

impl Counting {
    fn new(name: &'static str, fingerprint: &'static str, matcher: &str) -> Arc<Self> {
        let signature = Signature {
            name: matcher.into(),
            min_args: 0,
            max_args: usize::MAX,
            doc: String::new(),
        };
        Arc::new(Self { name, fingerprint, signatures: vec![signature], asked: Mutex::new(0) })
    }

    fn asked(&self) -> usize {
        *self.asked.lock().unwrap()
    }
}

impl MatcherPlugin for Counting {
    fn name(&self) -> &str {
        self.name
    }

    fn fingerprint(&self) -> &str {
        self.fingerprint
    }

    fn signatures(&self) -> &[Signature] {
        &self.signatures
    }

    fn compile(&self, _: &str, args: &[String]) -> Result<Predicate, MatcherError> {
        *self.asked.lock().unwrap() += 1;
        match args {
            [] => Err(MatcherError { arg: None, message: "wants something".into() }),
            _ => Ok(Predicate::Never),
        }
    }
}

#[test]
fn a_plugin_is_asked_once_for_a_call() {
    let cache = Arc::default();
    let old = Counting::new("never", "1", "Never");
    let compile = |plugin: &Arc<Counting>, rule: &str| {
        let plugins: [Arc<dyn MatcherPlugin>; 1] = [plugin.clone()];
        let (set, problems) = MatcherSet::build(&plugins, &cache);
        assert_eq!(problems, []);
        Rule::parse(rule).unwrap().compile(&set).is_ok()
    };
    assert!(compile(&old, "Never(`a`) || never(`a`) || NEVER(`b`)"));
    assert_eq!(old.asked(), 2);
    assert!(compile(&old, "Never(`a`) && Never(`b`)"));
    assert_eq!(old.asked(), 2, "the next set knows what the last one knew");
    assert!(compile(&old, "Never(`a`)"));
    assert!(compile(&old, "Never(`a`)"));
    assert!(compile(&old, "Never(`a`) || Never(`b`)"));
    assert_eq!(old.asked(), 3, "what two sets did not use is forgotten");
    assert!(compile(&Counting::new("never", "2", "Never"), "Never(`a`)"));
    assert!(!compile(&old, "Never()"));
    assert!(!compile(&old, "Never()"));
    assert_eq!(old.asked(), 5, "a refusal is not kept: the next answer may be another");
}

#[test]
fn the_first_plugin_keeps_a_name() {
    let plugins: [Arc<dyn MatcherPlugin>; 4] = [
        Arc::new(TestMatchers::default()),
        Counting::new("other", "1", "HOST"),
        Counting::new("third", "1", "Else"),
        Counting::new("fourth", "1", "hOsT"),
    ];
    let (set, problems) = MatcherSet::build(&plugins, &Arc::default());
    let said: Vec<_> = problems.iter().map(|p| format!("{}: {}", p.origin, p.message)).collect();
    assert_eq!(
        said,
        [
            "other: the matcher `HOST` is there already, from plugin `test-matchers`",
            "fourth: the matcher `hOsT` is there already, from plugin `test-matchers`",
        ]
    );
    assert!(Rule::parse("hOsT(`a`)").unwrap().compile(&set).is_err(), "not even in its spelling");
    let compiled = Rule::parse("HOST(`a`)").unwrap().compile(&set).unwrap();
    assert_eq!(compiled, predicate("Host(`a`)"));
    assert!(set.names().contains(&"Else"));
}
