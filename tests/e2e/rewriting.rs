//! The middlewares that ask regular expressions, as users of Traefik write them.

use http::Method;

use crate::support::{
    Backend, Client, Config, Consul, Portolan, Registration, eventually, request, request_with, run,
};

/// One router for each middleware, which has the router's name.
fn toml(backend: &Backend, middlewares: &[(&str, &str)]) -> String {
    let router = |(name, options): &(&str, &str)| {
        format!(
            "[http.routers.{name}]\nrule = \"Host(`{name}.local`)\"\nservice = \"b\"\n\
             middlewares = [\"{name}\"]\n[http.middlewares.{name}.{options}\n"
        )
    };
    let routers: String = middlewares.iter().map(router).collect();
    let service = format!("servers = [{{ url = \"{}\" }}]\n", backend.url());
    format!("{routers}[http.services.b.load-balancer]\n{service}")
}

/// What the backend was asked for, with the header that tells what was there before.
async fn asked(client: Client, host: &str, path: &str) -> String {
    let answer = client.get(host, path).await;
    let lines: Vec<&str> = answer.body.lines().collect();
    let told = |line: &&&str| {
        line.starts_with("x-replaced-path: ") || line.starts_with("x-forwarded-prefix: ")
    };
    let header = lines.iter().find(told).copied().unwrap_or_default();
    format!("{} {} {header}", answer.status.as_u16(), lines.get(1).copied().unwrap_or_default())
}

#[tokio::test]
async fn paths_are_replaced_and_stripped_as_in_traefik() {
    let backend = Backend::start("b").await;
    let config = Config::new(&toml(
        &backend,
        &[
            ("replace", "replacePath]\npath = \"/new\""),
            ("rewrite", "replacePathRegex]\nregex = \"^/foo/(.*)\"\nreplacement = \"/bar/$1\""),
            ("strip", "strip-prefix-regex]\nregex = [\"/foo/[a-z0-9]+/[0-9]{1,3}/\"]"),
            ("type", "contentType]\nautoDetect = false"),
        ],
    ));
    let portolan = Portolan::start(&config);
    let client = portolan.http();
    for (host, path, expected) in [
        ("replace.local", "/a%20b?q=1", "200 GET /new?q=1 x-replaced-path: /a%20b"),
        ("rewrite.local", "/foo/x%2fy?q", "200 GET /bar/x%2Fy?q x-replaced-path: /foo/x%2Fy"),
        ("rewrite.local", "/x/foo/", "200 GET /x/foo/ "),
        ("strip.local", "/foo/a1/12/bar?q", "200 GET /bar?q x-forwarded-prefix: /foo/a1/12/"),
        ("strip.local", "/foo/a1/1234/", "200 GET /foo/a1/1234/ "),
        ("type.local", "/x", "200 GET /x "),
    ] {
        assert_eq!(asked(client, host, path).await, expected, "{host}{path}");
    }
    assert!(portolan.log().contains("an option has no effect"), "{}", portolan.log());
    let shown = portolan.api("/api/http/middlewares/rewrite@config").await.to_string();
    assert!(
        shown.contains(r#""replacePathRegex":{"regex":"^/foo/(.*)","replacement":"/bar/$1"}"#),
        "{shown}"
    );
    let (_, told, _) = run(&config, &["explain", "GET", "http://strip.local/foo/a/1/"]);
    assert!(told.contains("strips the prefix that `/foo/[a-z0-9]+/[0-9]{1,3}/` finds"), "{told}");
    let (_, told, _) = run(&config, &["explain", "GET", "http://rewrite.local/"]);
    assert!(told.contains("replaces what `^/foo/(.*)` finds by `/bar/$1` in the path"), "{told}");
}

#[tokio::test]
async fn urls_are_redirected_as_in_traefik() {
    let backend = Backend::start("b").await;
    let config = Config::new(&toml(
        &backend,
        &[
            (
                "slash",
                "redirectRegex]\nregex = \"^(https?://[^/]+/app)$\"\nreplacement = \"${1}/\"\n\
                 permanent = true",
            ),
            (
                "dav",
                "redirectregex]\nregex = \"https?://(.*)/.well-known/(?:card|cal)dav\"\n\
                 replacement = \"https://${1}/remote.php/dav\"",
            ),
            ("host", "redirect-regex]\nregex = \"^http://[^/]+/(.*)\"\nreplacement = \"//$1/\""),
        ],
    ));
    let portolan = Portolan::start(&config);
    let client = portolan.http();
    let sent = async |method: Method, host: &str, path: &str| {
        let request = request(method, host, path).body(bytes::Bytes::new().into()).unwrap();
        let answer = client.send(request).await.unwrap();
        format!("{} {}", answer.status.as_u16(), answer.header("location"))
    };
    for (method, host, path, expected) in [
        (Method::GET, "slash.local:8000", "/app", "301 http://slash.local:8000/app/"),
        (Method::POST, "slash.local", "/app", "308 http://slash.local/app/"),
        (Method::GET, "slash.local", "/app/", "200 "),
        (Method::GET, "slash.local", "/app?x", "200 "),
        (Method::GET, "dav.local", "/.well-known/carddav", "302 https://dav.local/remote.php/dav"),
        (Method::HEAD, "dav.local", "/.well-known/caldav", "307 https://dav.local/remote.php/dav"),
        (Method::GET, "host.local", "/a.example", "302 //a.example/"),
        // What is no URL is not sent.
        (Method::GET, "host.local", "/a%20b", "502 "),
        (Method::GET, "host.local", "/a%0d%0aset-cookie:x", "502 "),
    ] {
        assert_eq!(sent(method.clone(), host, path).await, expected, "{method} {host}{path}");
    }
    assert_eq!(backend.requests(), 2);
    let (_, told, _) = run(&config, &["explain", "GET", "http://slash.local/app"]);
    assert!(
        told.contains(
            "replaces what `^(https?://[^/]+/app)$` finds by `${1}/` in the URL, and redirects there \
             with 301 or 308"
        ),
        "{told}"
    );
}

// In Traefik it is that of the connection, so behind a proxy that ends TLS this is a loop.
#[tokio::test]
async fn a_redirect_by_an_expression_sees_the_scheme_that_a_trusted_proxy_says() {
    let backend = Backend::start("b").await;
    let to_https = "redirectRegex]\nregex = \"^http://(.*)\"\nreplacement = \"https://$1\"";
    let text = toml(&backend, &[("a", to_https)]);
    for (trust, status) in [("127.0.0.1", 200), ("192.0.2.1", 302)] {
        let config = Config::new(&format!(
            "{text}[entrypoints.web.forwarded-headers]\ntrusted-ips = [\"{trust}\"]\n"
        ));
        let portolan = Portolan::start(&config);
        let request = request_with("a.local", "x-forwarded-proto", "https");
        let answer = portolan.http().send(request).await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{trust} {answer:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_or_doubtful_in_an_expression_is_told_where_it_stands() {
    let backend = Backend::start("b").await;
    let good = ("good", "replacePath]\npath = \"x\"");
    let bad = [
        good,
        ("one", "redirectRegex]\nregex = \"^(.*\"\nreplacement = \"$1\""),
        ("two", "stripPrefixRegex]\nRegex = [\"^/a\",\n \"[z-a]\"]"),
        ("three", "replacePathRegex]\nregex = \"^/\"\nreplacement = \"/100%/\""),
        ("four", "replacePath]\npath = \"/%zz\""),
        ("five", "replacePathRegex]\nregexp = \"^/\"\nregex = \"^/\""),
        ("six", "replacePathRegex]\nregex = \" \""),
    ];
    let config = Config::new(&toml(&backend, &bad));
    let (code, _, told) = run(&config, &["check"]);
    assert_ne!(code, 0);
    let told: String = told.lines().map(|line| format!("{}\n", line.trim_end())).collect();
    for expected in [
        "middleware `one`: the regular expression does not compile: unclosed group",
        "regex = \"^(.*\"",
        "middleware `two`: the regular expression does not compile: invalid character class range",
        "\"[z-a]\"]",
        "middleware `three`: has a `%` without two hexadecimal digits behind it",
        "replacement = \"/100%/\"",
        "middleware `four`: `/%zz`: the path has a `%` without two hexadecimal digits behind it",
        "path = \"/%zz\"",
        "unknown option `regexp`",
        "did you mean `regex`?",
        "middleware `six`: the expression is empty",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    let portolan = Portolan::start(&config);
    assert_eq!(portolan.http().get("good.local", "/").await.status, 200);
    for (name, _) in &bad[1..] {
        assert_eq!(portolan.http().get(&format!("{name}.local"), "/").await.status, 503, "{name}");
    }
    drop(portolan);

    let doubtful = [
        ("one", "redirectRegex]\nregex = \"^http://(.*)\"\nreplacement = \"https://$$1\""),
        ("two", "replacePathRegex]\nregex = \"^/(.*)\"\nreplacement = \"/$1x?a=b\""),
    ];
    let config = Config::new(&toml(&backend, &doubtful));
    let (code, told, errors) = run(&config, &["check"]);
    assert_eq!((code, &*errors), (0, ""), "{told}");
    for expected in [
        "middleware `one`: `$$1` stands for the text `$1`, not for what the expression found",
        "write `$1`; only docker-compose wants `$$` for `$`",
        "replacement = \"https://$$1\"",
        "middleware `two`: `$1x` stands for nothing: the expression has no group `1x`",
        "did you mean `${1}x`?",
        "middleware `two`: a `?` here is part of the path, and is sent as `%3F`",
    ] {
        assert!(told.contains(expected), "{expected}\n{told}");
    }
    let portolan = Portolan::start(&config);
    let shown = portolan.api("/api/http/middlewares/one@config").await;
    assert_eq!(shown["status"], "warning", "{shown}");
    assert!(shown["error"].to_string().contains("`$$1`"), "{shown}");
    // It is done as it is written, and said.
    let answer = portolan.http().get("one.local", "/x").await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (302, "https://$1"));
}

#[tokio::test]
async fn a_yaml_file_and_a_tag_of_consul_say_the_same() {
    let (consul, backend) = (Consul::start().await, Backend::start("b").await);
    let url = consul.url();
    let config = Config::new(&format!(
        "[providers.consul]\ngrants = {{ http-client = [\"{url}\"] }}\n\
         [providers.consul.config]\naddress = \"{url}\"\n\
         [providers.files]\nplugin = \"file\"\nconfig = {{ directory = \"dynamic\" }}\n\
         grants = {{ files = [\"dynamic\"] }}\n"
    ));
    let yaml = format!(
        r#"
http:
  routers:
    file:
      rule: Host(`file.local`)
      service: web
      middlewares: [www, strip, type]
  services:
    web:
      loadBalancer:
        servers: [{{ url: "{}" }}]
  middlewares:
    www:
      redirectRegex:
        regex: ^https?://(?P<host>[^/]+)/old/(.*)
        replacement: https://${{host}}/${{2}}
    strip:
      stripPrefixRegex:
        regex:
          - ^/proxy-[^/]{{1,9}}
    type:
      contentType: {{}}
"#,
        backend.url()
    );
    let portolan = Portolan::start(&config);
    std::fs::write(config.path("dynamic/web.yaml"), yaml).unwrap();
    let tags = [
        "traefik.enable=true",
        "traefik.http.routers.tag.rule=Host(`tag.local`)",
        "traefik.http.routers.tag.middlewares=www,strip,type",
        "traefik.http.middlewares.www.redirectregex.regex=^https?://(?P<host>[^/]+)/old/(.*)",
        "traefik.http.middlewares.www.redirectregex.replacement=https://${host}/${2}",
        "traefik.http.middlewares.strip.stripprefixregex.regex=^/proxy-[^/]+, ^/x[0-9]{1,2}",
        "traefik.http.middlewares.type.contenttype=true",
    ];
    let address = backend.address;
    consul.register(&Registration { id: "a", service: "tag", address, tags: &tags }).await;
    let client = portolan.http();
    for host in ["file.local", "tag.local"] {
        eventually(|| client.get(host, "/"), |answer| answer.status == 200).await;
        let told = asked(client, host, "/proxy-one/a").await;
        assert_eq!(told, "200 GET /a x-forwarded-prefix: /proxy-one", "{host}");
        let answer = client.get(host, "/old/a?b=c").await;
        let expected = format!("https://{host}/a?b=c");
        assert_eq!((answer.status.as_u16(), answer.header("location")), (302, &*expected));
    }
    // A comma in a tag separates, in Traefik too.
    let problems = portolan.api("/api/problems").await.to_string();
    assert!(problems.contains("`^/x[0-9]{1` and `2}` are two expressions"), "{problems}");
    assert!(problems.contains("middlewares.strip"), "{problems}");
}
