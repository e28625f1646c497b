//! `compress`, as users of Traefik write it: in tables, in files and in tags.

use std::io::Read as _;

use flate2::read::GzDecoder;

use crate::support::{
    Answer, Backend, Config, Consul, Portolan, Registration, eventually, request_with, run,
};

/// What a client gets from a host that takes this: of a backend that answers with 5 KB.
async fn asked(portolan: &Portolan, host: &str, takes: &str) -> Answer {
    let mut request = request_with(host, "accept-encoding", takes);
    request.headers_mut().insert("x-long", "abcdefgh".repeat(600).parse().unwrap());
    portolan.http().send(request).await.unwrap()
}

/// The content of what came as gzip.
fn unpacked(answer: &Answer) -> String {
    assert_eq!(answer.header("content-encoding"), "gzip", "{answer:?}");
    let mut text = String::new();
    GzDecoder::new(&*answer.bytes).read_to_string(&mut text).unwrap();
    text
}

#[tokio::test]
async fn a_tag_compresses_responses_for_those_who_take_that() {
    let (consul, backend) = (Consul::start().await, Backend::start("shop").await);
    let config = Config::with_consul(&consul.url(), "");
    let portolan = Portolan::start(&config);
    let register = async |tags: &[&str]| {
        let address = backend.address;
        consul.register(&Registration { id: "shop-1", service: "shop", address, tags }).await;
    };
    let router = [
        "traefik.http.routers.shop.rule=Host(`shop.local`)",
        "traefik.http.routers.shop.middlewares=small",
    ];
    let with = |tags: &[&'static str]| [&router, tags].concat();
    register(&with(&["traefik.http.middlewares.small.compress=true"])).await;
    let answer =
        eventually(|| asked(&portolan, "shop.local", "gzip, br"), |it| it.status == 200).await;
    assert!(answer.bytes.len() < 1000, "{}", answer.bytes.len());
    let text = unpacked(&answer);
    assert!(text.starts_with("shop\nGET /\n") && text.len() > 4800, "{text}");
    assert!(text.contains("accept-encoding: gzip, br\n"), "{text}");
    assert_eq!(answer.header("vary"), "Accept-Encoding");
    let plain = asked(&portolan, "shop.local", "identity").await;
    assert!(plain.body.starts_with("shop\n") && plain.header("content-encoding").is_empty());
    assert_eq!(plain.header("vary"), "Accept-Encoding");
    for coding in ["br", "zstd"] {
        let answer = asked(&portolan, "shop.local", coding).await;
        assert_eq!(answer.header("content-encoding"), coding);
        assert!(answer.bytes.len() < 1000);
    }
    let told = portolan.api("/api/http/middlewares/small@consul").await;
    assert_eq!((&told["type"], &told["status"]), (&"compress".into(), &"enabled".into()), "{told}");
    let told = portolan.api("/api/explain?url=http://shop.local/").await.to_string();
    assert!(told.contains("responses of 1024 bytes and more with gzip, br or zstd"), "{told}");

    // Options in any spelling.
    register(&with(&[
        "traefik.http.middlewares.small.compress.encodings=zstd, gzip",
        "traefik.http.middlewares.small.compress.minresponsebodybytes=6000",
    ]))
    .await;
    eventually(
        || asked(&portolan, "shop.local", "br"),
        |it| it.header("content-encoding").is_empty(),
    )
    .await;
    assert_eq!(asked(&portolan, "shop.local", "zstd").await.header("content-encoding"), "");
    // What is wrong closes the router, and says where it stands.
    register(&with(&["traefik.http.middlewares.small.compress.encodings=deflate"])).await;
    eventually(|| asked(&portolan, "shop.local", "br"), |it| it.status == 503).await;
    let told = portolan.api("/api/problems").await.to_string();
    assert!(told.contains("`deflate` is none of `gzip`, `br` and `zstd`"), "{told}");
    assert!(told.contains("traefik.http.middlewares.small.compress.encodings"), "{told}");
}

#[tokio::test]
async fn files_have_it_as_in_traefik() {
    let backend = Backend::start("file").await;
    let config = Config::new(
        "[providers.static]\nplugin = \"file\"\nconfig = { directory = \"dynamic\" }\n\
         grants = { files = [\"dynamic\"] }\n\
         [access-log]\nfile = \"access.log\"\nformat = \"json\"\n",
    );
    let yaml = format!(
        "http:
  routers:
    plain: {{ rule: Host(`plain.local`), service: web, middlewares: [plain] }}
    some: {{ rule: Host(`some.local`), service: web, middlewares: [some] }}
  middlewares:
    plain:
      compress: {{}}
    some:
      compress:
        defaultEncoding: gzip
        minResponseBodyBytes: 10
        excludedContentTypes:
          - text/event-stream
  services:
    web: {{ loadBalancer: {{ servers: [{{ url: '{}' }}] }} }}
",
        backend.url()
    );
    std::fs::write(config.path("dynamic/web.yml"), yaml).unwrap();
    let toml = "[http.routers.table]\nrule = \"Host(`table.local`)\"\nservice = \"web\"\n\
                middlewares = [\"table\"]\n[http.middlewares.table.compress]\n";
    std::fs::write(config.path("dynamic/table.toml"), toml).unwrap();
    let portolan = Portolan::start(&config);
    for host in ["plain.local", "table.local"] {
        let answer = eventually(|| asked(&portolan, host, "gzip"), |it| it.status == 200).await;
        let content = unpacked(&answer);
        assert!(content.starts_with("file\n"));
        let told = [
            format!("\"RequestHost\":\"{host}\""),
            format!("\"OriginContentSize\":{},", content.len()),
            format!("\"DownstreamContentSize\":{},", answer.bytes.len()),
            "\"GzipRatio\":".to_owned(),
        ];
        let is_it = |line: &str| told.iter().all(|it| line.contains(it));
        eventually(
            async || std::fs::read_to_string(config.path("access.log")).unwrap_or_default(),
            |lines| lines.lines().any(is_it),
        )
        .await;
    }
    // Who does not say what it takes.
    let answer = portolan.http().get("some.local", "/").await;
    assert!(unpacked(&answer).starts_with("file\n"));
    let answer = portolan.http().get("plain.local", "/").await;
    assert_eq!((answer.header("content-encoding"), answer.header("vary")), ("", "Accept-Encoding"));
}

#[tokio::test]
async fn what_is_wrong_in_a_table_is_told_at_its_line() {
    let config = Config::new(
        "[http.middlewares.small.compress]\nencodings = [\"gzip\", \"deflate\"]\n\
         default-encoding = \"br\"\nexcluded-content-types = [\"text/html\"]\n\
         included-content-types = [\"text/css\"]\n\
         [http.middlewares.other.compress]\nmin-respons-body-bytes = 5\n",
    );
    let (code, _, told) = run(&config, &["check"]);
    assert_ne!(code, 0);
    for (message, line) in [
        ("`deflate` is none of `gzip`, `br` and `zstd`", "encodings = [\"gzip\", \"deflate\"]"),
        ("`br` is not among `encodings`", "default-encoding = \"br\""),
        ("with `excluded-content-types` there can be none of these", "included-content-types ="),
        ("did you mean `min-response-body-bytes`?", "min-respons-body-bytes = 5"),
    ] {
        assert!(told.contains(message) && told.contains(line), "{message}: {told}");
    }
}
