//! What is chosen for whom, and what is left alone.

use http::HeaderMap;

use super::*;
use crate::test_util::exchange_with;

fn compress() -> Compress {
    Compress {
        codings: Coding::ALL.to_vec(),
        default: None,
        min_bytes: 1024,
        excluded: Vec::new(),
        included: Vec::new(),
    }
}

/// What somebody who says this gets of these, by name, where the first that is marked is the default.
fn chosen(lines: &[&str], of: &str) -> &'static str {
    let names = of.split_ascii_whitespace();
    let codings = names.clone().map(|name| Coding::of(name.trim_end_matches('!')).unwrap());
    let default = names.clone().find_map(|name| Coding::of(name.strip_suffix('!')?));
    let lines = lines.iter().map(|line| line.as_bytes());
    let chosen = accept::choose(lines, &codings.collect::<Vec<_>>(), default);
    chosen.map_or("-", Coding::as_str)
}

#[test]
fn the_client_has_the_first_say_and_the_operator_the_second() {
    for (says, of, expected) in [
        // As Traefik's own tests have it.
        ("", "gzip br zstd", "-"),
        ("gzip, br", "gzip br zstd", "gzip"),
        ("gzip, br, zstd", "gzip br zstd", "gzip"),
        ("compress, gzip", "gzip br zstd", "gzip"),
        ("compress, rar", "gzip br zstd", "-"),
        ("*", "gzip br zstd", "gzip"),
        ("*", "gzip br! zstd", "br"),
        ("br;q=0.8, gzip;q=1.0, *;q=0.1", "gzip br zstd", "gzip"),
        ("br;q=0.8, identity;q=1.0", "gzip br zstd", "-"),
        ("br;q=0.8, identity;q=0.8", "gzip br zstd", "br"),
        ("compress;q=1.0, gzip;q=0.5", "gzip br zstd", "gzip"),
        ("compress;q=1.0, gzip, identity;q=0", "gzip br zstd", "gzip"),
        ("compress;q=1.0, identity;q=0", "gzip br zstd", "-"),
        ("compress;q=1.0, *;q=0", "gzip br zstd", "-"),
        ("gzip, *;q=0", "gzip br zstd", "gzip"),
        ("zstd, gzip, br", "br gzip", "br"),
        ("br;q=0.8, gzip;q=1.0, *;q=0.1", "zstd br", "br"),
        ("gzip, br;q=0.9", "gzip br", "gzip"),
        ("br;q=0, gzip;q=0, zstd;q=0", "gzip br! zstd", "-"),
        ("br;q=1.0, zstd;q=1.0, gzip;q=1.0", "gzip br! zstd", "gzip"),
        // What browsers say.
        ("gzip, deflate, br, zstd", "gzip br zstd", "gzip"),
        ("gzip, deflate, br, zstd", "zstd br gzip", "zstd"),
        // However it is spelled.
        ("GZip", "gzip", "gzip"),
        ("x-gzip", "gzip br", "gzip"),
        (" br ; q = 0.5 ,gzip;Q=0.4", "gzip br", "br"),
        ("br;level=3;q=0.5, gzip;q=0.4", "gzip br", "br"),
        ("gzip;q=.5, br;q=0.25", "br gzip", "gzip"),
        ("gzip;q=0.5005, br;q=0.5", "br gzip", "br"),
        ("gzip;q=0.0001", "gzip", "gzip"),
        ("gzip;q=0.000", "gzip", "-"),
        ("gzip;q=7, br;q=1", "br gzip", "br"),
        ("gzip;q=much, br;q=0.1", "gzip br", "br"),
        ("gzip;q=, br;q=-1", "gzip br", "-"),
        ("gzip;q=0.1, gzip;q=1, br;q=0.5", "gzip br", "gzip"),
        (",, gzip,", "gzip", "gzip"),
        // Traefik gives gzip to the first of these, which refuse it.
        ("gzip;q=0, *", "gzip br", "br"),
        ("gzip;q=0, *", "gzip! br", "br"),
        ("gzip;q=0, br;q=0, *", "gzip br", "-"),
        ("identity, *;q=0.5", "gzip br", "-"),
        ("gzip, *", "gzip br!", "br"),
        ("gzip, *;q=0.5", "gzip br!", "gzip"),
    ] {
        assert_eq!(chosen(&[says], of), expected, "{says} of {of}");
    }
    assert_eq!(chosen(&["gzip;q=0.5", "br"], "gzip br"), "br", "lines are one list");
    assert_eq!(chosen(&["", "br"], "gzip br"), "br");
    assert_eq!((chosen(&[], "gzip br"), chosen(&[], "gzip br!")), ("-", "br"));
}

/// What is asked of a response to such a request, and what its `Vary` says.
fn asked(
    compress: &Compress,
    request: (&str, &[(&str, &str)]),
    status: u16,
    headers: &[(&str, &str)],
) -> (Option<&'static str>, Option<String>, Headers) {
    let (line, said) = request;
    let request = exchange_with(line, said).request;
    let headers: HeaderMap = headers
        .iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect();
    let status = StatusCode::from_u16(status).unwrap();
    let mut response = ResponseHead { status, headers: headers.into(), local: false };
    let coding = compress.choose(&request);
    let recoding = coding.and_then(|coding| compress.ask(coding, &mut response));
    let vary = response.headers.get("vary").map(|vary| vary.to_str().unwrap().to_owned());
    (recoding.map(|it| it.coding.as_str()), vary, response.headers)
}

const GET: &str = "GET http://h/";
const TAKES_BROTLI: &[(&str, &str)] = &[("accept-encoding", "br")];

#[test]
fn what_is_to_stay_as_it_is_is_left_alone() {
    let (plain, html) = (compress(), ("content-type", "text/html; charset=utf-8"));
    let of = |status, headers: &[(&str, &str)]| {
        let headers = [&[html], headers].concat();
        let (coding, vary, _) = asked(&plain, (GET, TAKES_BROTLI), status, &headers);
        (coding, vary.is_some())
    };
    for status in [200, 201, 203, 404, 500, 503] {
        assert_eq!(of(status, &[]), (Some("br"), true), "{status}");
    }
    assert_eq!(of(304, &[]), (None, true));
    for status in [101, 103, 204, 205, 206] {
        assert_eq!(of(status, &[]), (None, false), "{status}");
    }
    for header in [
        ("content-encoding", "gzip"),
        ("content-encoding", "identity"),
        ("content-range", "bytes 0-1/2"),
        ("cache-control", "max-age=5, No-Transform"),
        ("content-digest", "sha-256=:AA==:"),
        ("repr-digest", "sha-256=:AA==:"),
        ("digest", "md5=AA=="),
        ("content-md5", "AA=="),
    ] {
        assert_eq!(of(200, &[header]), (None, false), "{header:?}");
    }
    for header in [("content-encoding", ""), ("cache-control", "public, max-age=5")] {
        assert_eq!(of(200, &[header]), (Some("br"), true), "{header:?}");
    }
}

#[test]
fn requests_have_a_say_too() {
    let compress = Compress { excluded: vec!["text/event-stream".to_owned()], ..compress() };
    let of = |line, said: &[(&str, &str)]| {
        let (coding, vary, _) =
            asked(&compress, (line, said), 200, &[("content-type", "text/html")]);
        (coding, vary)
    };
    let by_encoding = || Some("Accept-Encoding".to_owned());
    assert_eq!(of(GET, TAKES_BROTLI), (Some("br"), by_encoding()));
    // Others would get it compressed, which caches have to know.
    assert_eq!(of(GET, &[]), (None, by_encoding()));
    assert_eq!(of(GET, &[("accept-encoding", "rar")]), (None, by_encoding()));
    assert_eq!(of("HEAD http://h/", TAKES_BROTLI), (None, by_encoding()));
    for other in [
        ("cache-control", "no-transform"),
        ("content-type", "application/grpc"),
        ("content-type", "text/event-stream; x=y"),
    ] {
        assert_eq!(of(GET, &[("accept-encoding", "br"), other]), (None, None), "{other:?}");
    }
}

#[test]
fn types_are_compared_as_in_traefik_and_what_gains_nothing_is_left_alone() {
    let list = |types: &[&str]| types.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
    let any = compress();
    let but = Compress { excluded: list(&["Text/CSV", "application/pdf"]), ..compress() };
    let only =
        Compress { included: list(&["text/html", "image/*", "application/grpc"]), ..compress() };
    for (kind, expected) in [
        ("text/html", [true, true, true]),
        ("TEXT/HTML ;charset=utf-8", [true, true, true]),
        ("text/csv; header=present", [true, false, false]),
        ("text/csvs", [true, true, false]),
        ("application/pdf", [true, false, false]),
        ("application/octet-stream", [true, true, false]),
        ("text/event-stream", [true, true, false]),
        ("application/grpc-web+proto", [true, true, false]),
        ("image/svg+xml", [true, true, true]),
        ("image/png", [false, false, true]),
        ("video/mp4", [false; 3]),
        ("font/woff2", [false; 3]),
        ("font/ttf", [true, true, false]),
        ("application/zip", [false; 3]),
        ("application/epub+zip", [false; 3]),
        ("application/grpc", [false; 3]),
        ("application/grpc+proto", [false; 3]),
        ("", [true, true, false]),
    ] {
        let is_compressed = [&any, &but, &only].map(|compress| {
            let headers = [("content-type", kind)];
            asked(compress, (GET, TAKES_BROTLI), 200, &headers).0.is_some()
        });
        assert_eq!(is_compressed, expected, "{kind}");
    }
    assert!(asked(&any, (GET, TAKES_BROTLI), 200, &[]).0.is_some(), "no type at all");
    assert!(asked(&only, (GET, TAKES_BROTLI), 200, &[]).0.is_none());
}

#[test]
fn vary_says_it_once() {
    let vary = |before: &[(&str, &str)]| {
        let headers = asked(&compress(), (GET, TAKES_BROTLI), 200, before).2;
        let all = headers.get_all("vary").iter().map(|vary| vary.to_str().unwrap());
        all.collect::<Vec<_>>().join(" | ")
    };
    assert_eq!(vary(&[]), "Accept-Encoding");
    assert_eq!(vary(&[("vary", "Origin")]), "Origin | Accept-Encoding");
    assert_eq!(vary(&[("vary", "origin, accept-encoding")]), "origin, accept-encoding");
    assert_eq!(vary(&[("vary", "*")]), "*");
}

#[test]
fn a_head_says_what_becomes_of_its_content() {
    let recoded = |tag: &str| {
        let headers: HeaderMap = [
            ("content-length", "5000"),
            ("accept-ranges", "bytes"),
            ("content-type", "text/html"),
            ("etag", tag),
        ]
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .into_iter()
        .collect();
        let mut headers = Headers::from(headers);
        recode(&mut headers, Coding::Zstd);
        assert_eq!(headers["content-encoding"], "zstd");
        assert!(!headers.contains_key("content-length") && !headers.contains_key("accept-ranges"));
        headers.get("etag").map(|tag| tag.to_str().unwrap().to_owned())
    };
    assert_eq!(recoded("\"a\"").as_deref(), Some("W/\"a\""));
    assert_eq!(recoded("W/\"a\"").as_deref(), Some("W/\"a\""));
    assert_eq!(recoded("a"), None, "what has no quotes is no validator");
}

#[test]
fn nothing_has_changed_of_what_was_compressed_either() {
    let tag = [("etag", "\"a\"")];
    let (_, vary, headers) = asked(&compress(), (GET, TAKES_BROTLI), 304, &tag);
    assert_eq!(
        (vary.as_deref(), &headers["etag"]),
        (Some("Accept-Encoding"), &"W/\"a\"".parse().unwrap())
    );
    let (_, _, headers) = asked(&compress(), (GET, &[]), 304, &tag);
    assert_eq!(headers["etag"], "\"a\"");
}

#[test]
fn options_that_contradict_each_other_are_refused() {
    let list = |types: &[&str]| types.iter().map(|&it| it.to_owned()).collect::<Vec<_>>();
    let fault = |change: fn(&mut Compress)| {
        let mut changed = compress();
        change(&mut changed);
        changed.check().unwrap_err()
    };
    assert_eq!(compress().check(), Ok(()));
    let types = list(&["text/*", "application/ld+json"]);
    assert_eq!(Compress { included: types, ..compress() }.check(), Ok(()));
    assert_eq!(fault(|it| it.codings.clear()), "there is no encoding to compress with");
    let other = fault(|it| (it.codings, it.default) = (vec![Coding::Gzip], Some(Coding::Zstd)));
    assert_eq!(other, "`zstd` is not among the encodings");
    let both = fault(|it| (it.excluded, it.included) = (vec!["a/b".into()], vec!["a/c".into()]));
    assert_eq!(both, "types are either excluded or included");
    for bad in ["html", "text/", "*/*", "text/html; charset=utf-8", "text/h*"] {
        let excluded = list(&[bad]);
        let fault = Compress { excluded, ..compress() }.check().unwrap_err();
        assert_eq!(fault, format!("`{bad}` is not a media type"));
    }
}
