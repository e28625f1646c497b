//! Golden lines, and what the thread of the log promises.

use std::{
    fs,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use expect_test::{Expect, expect};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Version};
use jiff::tz::TimeZone;
use portolan_core::{exchange::Headers, figure::Encryption, reason::Reason};

use super::{
    super::arrived::Arrived, AccessConfig, AccessFilters, AccessFormat, AccessLog, Capture, Ending,
    Entry, Field, Fields, HeaderFields, OriginEnding, Pen, Side, common, json, text,
};

fn moment() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_764_110_382, 120_000_000)
}

fn entry(headers: &HeaderFields) -> Entry {
    let mut entry = Entry::blank();
    entry.start = moment();
    entry.count = 42;
    entry.method = Method::POST;
    entry.version = Version::HTTP_2;
    entry.target.push_str("/a \"b\"?secret=1");
    entry.authority.push_str("shop.example:8443");
    entry.user(b"ann");
    entry.router("shop@consul");
    entry.service("shop@consul");
    entry.backend("http", "10.0.0.7:3000");
    entry.headers(Side::Request, &sent(), headers);
    entry.headers(Side::Origin, &answered(), headers);
    entry
}

fn headers(lines: &[(&'static str, &'static str)]) -> Headers {
    let line = |(name, value): &(&'static str, &'static str)| {
        (HeaderName::from_static(name), HeaderValue::from_static(value))
    };
    lines.iter().map(line).collect::<HeaderMap>().into()
}

fn sent() -> Headers {
    let mut sent = headers(&[("user-agent", "curl/8"), ("authorization", "Basic YTpi")]);
    sent.append("x-many", HeaderValue::from_static("1"));
    sent.append("x-many", HeaderValue::from_bytes(b"\xff\x09").unwrap());
    sent
}

fn answered() -> Headers {
    headers(&[("content-type", "text/html"), ("set-cookie", "id=1")])
}

fn ending() -> Ending<'static> {
    Ending {
        peer: "192.0.2.1:55000".parse::<SocketAddr>().unwrap(),
        client: [192, 0, 2, 1].into(),
        subject: None,
        entrypoint: "websecure",
        encryption: Some(Encryption { version: "1.3", cipher: "TLS_AES_128_GCM_SHA256" }),
        status: 201,
        nanos: 12_345_678,
        request_bytes: 3,
        response_bytes: 1_024,
        origin_bytes: 1_024,
        retries: 1,
        reason: None,
        origin: Some(OriginEnding { status: Some(201), nanos: 12_000_000 }),
        trace: None,
    }
}

fn keep_all() -> HeaderFields {
    HeaderFields { default: Capture::Keep, ..HeaderFields::default() }
}

fn check(config: &AccessConfig, ending: &Ending<'_>, expected: Expect) {
    let (mut out, entry) = (Vec::new(), entry(&config.headers));
    match config.format {
        AccessFormat::Common | AccessFormat::GenericClf => {
            common::write(&mut out, &entry, ending, config);
        }
        AccessFormat::Json => json::write(&mut out, &entry, ending, config),
    }
    let line = String::from_utf8(out).unwrap();
    if config.format == AccessFormat::Json {
        // A line is one object, and an object is one line.
        assert_eq!((line.matches('\n').count(), line.ends_with("}\n")), (1, true), "{line}");
    }
    expected.assert_eq(&line);
}

#[test]
fn a_common_line_is_traefiks() {
    let config = AccessConfig::default();
    check(
        &config,
        &ending(),
        expect![[r#"
        192.0.2.1 - ann [25/Nov/2025:22:39:42 +0000] "POST /a \"b\"?secret=1 HTTP/2.0" 201 1024 "-" "-" 42 "shop@consul" "http://10.0.0.7:3000" 12ms
    "#]],
    );
    let format = AccessFormat::GenericClf;
    check(
        &AccessConfig { format, headers: keep_all(), ..config.clone() },
        &ending(),
        expect![[r#"
        192.0.2.1 - ann [25/Nov/2025:22:39:42 +0000] "POST /a \"b\"?secret=1 HTTP/2.0" 201 1024 "-" "curl/8"
    "#]],
    );
    let config = AccessConfig {
        headers: keep_all(),
        drop_query: true,
        fields: {
            let mut fields = Fields::default();
            fields.set(Field::ClientHost, Capture::Redact);
            fields.set(Field::ServiceURL, Capture::Drop);
            fields
        },
        ..config
    };
    check(
        &config,
        &ending(),
        expect![[r#"
        REDACTED - ann [25/Nov/2025:22:39:42 +0000] "POST /a \"b\" HTTP/2.0" 201 1024 "-" "curl/8" 42 "shop@consul" "-" 12ms
    "#]],
    );
}

#[test]
fn local_time_is_of_the_zone_and_wanted_by_leaving_out_utc() {
    let mut fields = Fields::default();
    let zone = Some(TimeZone::fixed(jiff::tz::offset(-3)));
    let lines = |config: &AccessConfig| {
        let (mut line, entry) = (Vec::new(), entry(&config.headers));
        match config.format {
            AccessFormat::Json => json::write(&mut line, &entry, &ending(), config),
            _ => common::write(&mut line, &entry, &ending(), config),
        }
        String::from_utf8(line).unwrap()
    };
    let config = AccessConfig { zone, ..AccessConfig::default() };
    assert!(lines(&config).contains("[25/Nov/2025:22:39:42 +0000]"));
    fields.set(Field::StartUTC, Capture::Drop);
    let config = AccessConfig { fields, ..config };
    assert!(lines(&config).contains("[25/Nov/2025:19:39:42 -0300]"));
    let line = lines(&AccessConfig { format: AccessFormat::Json, ..config });
    assert!(line.contains(r#""StartLocal":"2025-11-25T19:39:42.12-03:00""#), "{line}");
    assert!(
        line.contains(r#""time":"2025-11-25T19:39:42-03:00""#) && !line.contains("StartUTC"),
        "{line}"
    );
}

#[test]
fn a_json_line_has_traefiks_keys_in_their_order() {
    let config = AccessConfig { format: AccessFormat::Json, ..AccessConfig::default() };
    check(
        &config,
        &ending(),
        expect![[r#"
        {"ClientAddr":"192.0.2.1:55000","ClientHost":"192.0.2.1","ClientPort":"55000","ClientUsername":"ann","DownstreamContentSize":1024,"DownstreamStatus":201,"Duration":12345678,"OriginContentSize":1024,"OriginDuration":12000000,"OriginStatus":201,"Overhead":345678,"RequestAddr":"shop.example:8443","RequestContentSize":3,"RequestCount":42,"RequestHost":"shop.example","RequestMethod":"POST","RequestPath":"/a \"b\"?secret=1","RequestPort":"8443","RequestProtocol":"HTTP/2.0","RequestScheme":"https","RetryAttempts":1,"RouterName":"shop@consul","ServiceAddr":"10.0.0.7:3000","ServiceName":"shop@consul","ServiceURL":"http://10.0.0.7:3000","StartLocal":"2025-11-25T22:39:42.12Z","StartUTC":"2025-11-25T22:39:42.12Z","TLSCipher":"TLS_AES_128_GCM_SHA256","TLSVersion":"1.3","entryPointName":"websecure","level":"info","msg":"","time":"2025-11-25T22:39:42Z"}
    "#]],
    );
}

#[test]
fn what_was_compressed_has_the_size_from_before_too() {
    let config = AccessConfig { format: AccessFormat::Json, ..AccessConfig::default() };
    let ending = Ending { response_bytes: 400, ..ending() };
    let sizes = r#""DownstreamContentSize":400,"DownstreamStatus":201,"Duration":12345678,"GzipRatio":2.56,"OriginContentSize":1024,"#;
    let mut out = Vec::new();
    json::write(&mut out, &entry(&config.headers), &ending, &config);
    let line = String::from_utf8(out).unwrap();
    assert!(line.contains(sizes), "{line}");
}

#[test]
fn secrets_are_redacted_unless_they_are_asked_for_by_name() {
    let names = [("user-agent".to_owned(), Capture::Drop), ("cookie".to_owned(), Capture::Keep)];
    let config = AccessConfig {
        format: AccessFormat::Json,
        fields: Fields::all(Capture::Drop),
        headers: HeaderFields { names: names.into(), ..keep_all() },
        ..AccessConfig::default()
    };
    check(
        &config,
        &ending(),
        expect![[r#"
        {"level":"info","msg":"","origin_Content-Type":"text/html","origin_Set-Cookie":"REDACTED","request_Authorization":"REDACTED","request_X-Many":"1,�\t","time":"2025-11-25T22:39:42Z"}
    "#]],
    );
    let by_name = HeaderFields {
        default: Capture::Drop,
        names: [("authorization".to_owned(), Capture::Keep)].into(),
    };
    let config = AccessConfig { headers: by_name, ..config };
    check(
        &config,
        &ending(),
        expect![[r#"
        {"level":"info","msg":"","request_Authorization":"Basic YTpi","time":"2025-11-25T22:39:42Z"}
    "#]],
    );
}

#[test]
fn a_request_that_nobody_took_says_why() {
    let config = AccessConfig { format: AccessFormat::Json, ..AccessConfig::default() };
    let mut entry = Entry::blank();
    entry.start = moment();
    let ending = Ending {
        status: 404,
        reason: Some(Reason::NoRouter),
        origin: None,
        encryption: None,
        trace: Some((*b"0af7651916cd43dd8448eb211c80319c", *b"b7ad6b7169203331")),
        ..ending()
    };
    let mut out = Vec::new();
    json::write(&mut out, &entry, &ending, &config);
    expect![[r#"
        {"ClientAddr":"192.0.2.1:55000","ClientHost":"192.0.2.1","ClientPort":"55000","ClientUsername":"-","DownstreamContentSize":1024,"DownstreamStatus":404,"Duration":12345678,"OriginContentSize":0,"OriginDuration":0,"OriginStatus":0,"Overhead":12345678,"Reason":"no-router","RequestContentSize":3,"RequestCount":0,"RequestMethod":"GET","RequestPath":"","RequestProtocol":"HTTP/1.1","RequestScheme":"http","RetryAttempts":1,"SpanId":"b7ad6b7169203331","StartLocal":"2025-11-25T22:39:42.12Z","StartUTC":"2025-11-25T22:39:42.12Z","TraceId":"0af7651916cd43dd8448eb211c80319c","entryPointName":"websecure","level":"info","msg":"","span_id":"b7ad6b7169203331","time":"2025-11-25T22:39:42Z","trace_id":"0af7651916cd43dd8448eb211c80319c"}
    "#]]
    .assert_eq(&String::from_utf8(out).unwrap());
}

#[test]
fn what_could_not_be_read_has_the_keys_that_each_request_has() {
    let mut entry = Entry::blank();
    entry.is_unread = true;
    let mut fields = Fields::all(Capture::Drop);
    for field in Field::ALL.iter().filter(|field| field.as_str().starts_with("Request")) {
        fields.set(*field, Capture::Keep);
    }
    // That there is nothing is no secret.
    for field in [Field::RequestPath, Field::RequestProtocol] {
        fields.set(field, Capture::Redact);
    }
    let lines = [AccessFormat::Json, AccessFormat::Common].map(|format| {
        let config = AccessConfig { format, fields: fields.clone(), ..AccessConfig::default() };
        let mut line = Vec::new();
        match format {
            AccessFormat::Json => json::write(&mut line, &entry, &ending(), &config),
            _ => common::write(&mut line, &entry, &ending(), &config),
        }
        String::from_utf8(line).unwrap()
    });
    let expected = r#"{"RequestAddr":"-","RequestContentSize":3,"RequestCount":0,"RequestHost":"-","RequestMethod":"-","RequestPath":"-","RequestPort":"-","RequestProtocol":"HTTP/0.0","RequestScheme":"https","#;
    assert!(lines[0].starts_with(expected), "{}", lines[0]);
    assert!(lines[1].contains(r#"[-] "- - HTTP/0.0" - -"#), "{}", lines[1]);
}

#[test]
fn nothing_that_was_sent_ends_a_line_or_a_quotation() {
    let config = AccessConfig::default();
    let mut entry = Entry::blank();
    entry.router("a\"b\\c\nd\u{1b}[31m");
    let mut out = Vec::new();
    common::write(&mut out, &entry, &ending(), &config);
    let line = String::from_utf8(out).unwrap();
    assert!(line.contains(r#""a\"b\\c\x0ad\x1b[31m""#), "{line}");
    assert_eq!(line.matches('\n').count(), 1);
}

#[test]
fn no_control_character_reaches_a_terminal_in_any_encoding() {
    // U+009B is what a terminal obeys as it does ESC [; 9b alone is the same for one without UTF-8.
    let sent = b"\xc2\x9b31m\x9b\x7f\xc3\xa9";
    let mut line = Vec::new();
    text::plain(&mut line, sent);
    let expected = r"\xc2\x9b31m\x9b\x7f=".replace('=', "\u{e9}");
    assert_eq!(str::from_utf8(&line).unwrap(), expected);
    line.clear();
    text::json(&mut line, sent);
    let expected = r"\u009b31m?\u007f=".replace('?', "\u{fffd}").replace('=', "\u{e9}");
    assert_eq!(str::from_utf8(&line).unwrap(), expected);
}

#[test]
fn a_name_of_several_words_is_one_field() {
    let mut entry = Entry::blank();
    entry.user(b"ann [admin] \"x\"");
    let mut out = Vec::new();
    common::write(&mut out, &entry, &ending(), &AccessConfig::default());
    let line = String::from_utf8(out).unwrap();
    assert!(line.starts_with(r#"192.0.2.1 - ann\x20\x5badmin\x5d\x20\"x\" ["#), "{line}");
}

#[test]
fn what_is_not_there_is_not_redacted() {
    let mut fields = Fields::all(Capture::Drop);
    for field in [Field::ClientUsername, Field::Reason, Field::RouterName, Field::RequestPath] {
        fields.set(field, Capture::Redact);
    }
    let config = |format| AccessConfig { format, fields: fields.clone(), ..Default::default() };
    let mut entry = Entry::blank();
    entry.target.push_str("/secret");
    let mut out = Vec::new();
    json::write(&mut out, &entry, &ending(), &config(AccessFormat::Json));
    let line = String::from_utf8(out).unwrap();
    let begin = r#"{"ClientUsername":"-","RequestPath":"REDACTED","level":"info","#;
    assert!(line.starts_with(begin), "{line}");
    let mut out = Vec::new();
    common::write(&mut out, &entry, &ending(), &config(AccessFormat::Common));
    let line = String::from_utf8(out).unwrap();
    assert_eq!(line, "- - - [-] \"- REDACTED -\" - - \"-\" \"-\" - \"-\" \"-\" 0ms\n");
}

#[test]
fn a_request_has_a_line_if_it_fits_one_of_the_filters() {
    let filters = |filters: AccessFilters| {
        [(200, 0, 1), (404, 0, 1), (200, 1, 1), (200, 0, 2_000_000)]
            .map(|(status, retries, nanos)| filters.keeps(status, retries, nanos))
    };
    assert_eq!(filters(AccessFilters::default()), [true; 4]);
    let statuses =
        AccessFilters { status_codes: vec![400..=499, 302..=302], ..AccessFilters::default() };
    assert_eq!(filters(statuses), [false, true, false, false]);
    let retries = AccessFilters { retry_attempts: true, ..AccessFilters::default() };
    assert_eq!(filters(retries.clone()), [false, false, true, false]);
    let any = AccessFilters { min_duration: Duration::from_millis(1), ..retries };
    assert_eq!(filters(any), [false, false, true, true]);
}

fn request(target: &str) -> Arrived {
    let parts = Request::get(target).header("host", "a").body(()).unwrap().into_parts().0;
    let http::request::Parts { method, uri, version, headers, .. } = parts;
    Arrived { method, uri, version, headers: headers.into(), interim: None, fault: None }
}

fn write(pen: &Pen, target: &str) {
    let entry = pen.begin(&request(target));
    pen.end(entry, &Ending { origin: None, ..ending() });
}

#[test]
fn a_rotation_loses_no_line_and_an_end_writes_the_last() {
    let folder = tempfile::tempdir().unwrap();
    let (file, old) = (folder.path().join("logs/access.log"), folder.path().join("access.log.1"));
    let config = AccessConfig { file: Some(file.clone()), ..AccessConfig::default() };
    let log = AccessLog::open(config).unwrap();
    let pens = [Pen::new(log.clone()), Pen::new(log.clone())];
    for number in 0..2_000 {
        if number % 500 == 250 {
            let moved = format!("{}-{number}", old.display());
            fs::rename(&file, moved).unwrap();
            log.reopen();
            // The new file is there as soon as the thread has looked.
            while !file.exists() {
                std::thread::yield_now();
            }
        }
        write(&pens[number % 2], &format!("/{number}"));
        if number % 7 == 0 {
            pens[number % 2].flush();
        }
    }
    drop(pens);
    log.close();
    let mut seen = vec![0; 2_000];
    let parts: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|it| it.unwrap().path()).collect();
    let files = parts.iter().filter(|path| path.is_file()).chain([&file]);
    for line in files.flat_map(|file| {
        fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect::<Vec<_>>()
    }) {
        let target = line.split('"').nth(1).unwrap().split(' ').nth(1).unwrap();
        seen[target.trim_start_matches('/').parse::<usize>().unwrap()] += 1;
    }
    assert_eq!(seen, vec![1; 2_000]);
    assert_eq!(log.dropped(), 0);
    let counts: Vec<_> = fs::read_to_string(&file).unwrap().lines().map(str::to_owned).collect();
    assert!(!counts.is_empty());
}

#[test]
fn what_comes_after_the_end_is_counted_as_lost() {
    let folder = tempfile::tempdir().unwrap();
    let config = AccessConfig { file: Some(folder.path().join("log")), ..AccessConfig::default() };
    let log = AccessLog::open(config).unwrap();
    log.close();
    let pen = Pen::new(log.clone());
    write(&pen, "/late");
    write(&pen, "/later");
    drop(pen);
    assert_eq!(log.dropped(), 2);
    assert_eq!(Arc::strong_count(&log), 1);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let config = AccessConfig { file: Some(folder.path().to_owned()), ..AccessConfig::default() };
    AccessLog::open(config).unwrap_err();
}
