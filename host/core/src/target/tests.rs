use super::*;

/// What is sent on and what rules see, or why not.
fn normal(target: &str) -> String {
    let sent: PathAndQuery = match target.parse() {
        Ok(sent) => sent,
        Err(error) => return format!("not HTTP: {error}"),
    };
    match Target::parse(sent) {
        Ok(target) => format!("{} | {}", target.sent(), target.path()),
        Err(bad) => format!("{bad:?}"),
    }
}

#[test]
fn a_path_is_sent_and_seen_in_one_form() {
    for (target, sent, seen) in [
        // What is in normal form stays.
        ("/", "/", "/"),
        ("/a", "/a", "/a"),
        ("/a/", "/a/", "/a/"),
        ("/a/b.c/..d/e..", "/a/b.c/..d/e..", "/a/b.c/..d/e.."),
        ("/.well-known/x", "/.well-known/x", "/.well-known/x"),
        ("/...", "/...", "/..."),
        ("/a?x=/../y//z", "/a?x=/../y//z", "/a"),
        ("/a:b@c;d=e,f!$&'()*+", "/a:b@c;d=e,f!$&'()*+", "/a:b@c;d=e,f!$&'()*+"),
        ("*", "*", "*"),
        // Dot segments and empty ones.
        ("/.", "/", "/"),
        ("/..", "/", "/"),
        ("/../../a", "/a", "/a"),
        ("/a/.", "/a/", "/a/"),
        ("/a/..", "/", "/"),
        ("/a/./b/../c", "/a/c", "/a/c"),
        ("//", "/", "/"),
        ("//a", "/a", "/a"),
        ("/a//b///", "/a/b/", "/a/b/"),
        ("/a//../b", "/b", "/b"),
        ("/a/../b?q=1", "/b?q=1", "/b"),
        // Unreserved characters are decoded, also before dots are resolved.
        ("/%61%2D%7e", "/a-~", "/a-~"),
        ("/a/%2e%2E/b", "/b", "/b"),
        ("/a/.%2e/b", "/b", "/b"),
        ("/a%2e", "/a.", "/a."),
        // Reserved ones are not, so they cannot make a border; hexadecimal digits are large.
        ("/a%2fb", "/a%2Fb", "/a%2Fb"),
        ("/a%2f..%2fb", "/a%2F..%2Fb", "/a%2F..%2Fb"),
        ("/a%3fb%23c%25d", "/a%3Fb%23c%25d", "/a%3Fb%23c%25d"),
        ("/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a"),
        // The rest is decoded for rules only.
        ("/foo%20bar", "/foo%20bar", "/foo bar"),
        ("/%c3%a4", "/%C3%A4", "/ä"),
        ("/%22%3C%5c", "/%22%3C%5C", "/\"<\\"),
        // What must not be there bare is encoded, so it is one thing however it comes.
        ("/a\\b", "/a%5Cb", "/a\\b"),
        ("/a\\..\\b", "/a%5C..%5Cb", "/a\\..\\b"),
        ("/{a}|^\"", "/%7Ba%7D%7C%5E%22", "/{a}|^\""),
        ("/ä/../é", "/%C3%A9", "/é"),
        ("/a?{ä|^}", "/a?{ä|^}", "/a"),
        // Not UTF-8: what is not ASCII stays encoded.
        ("/%20%ff", "/%20%FF", "/ %FF"),
        // A control character would change a log line.
        ("/a%0ab%7f", "/a%0Ab%7F", "/a%0Ab%7F"),
    ] {
        assert_eq!(normal(target), format!("{sent} | {seen}"), "{target}");
    }
}

/// Every path of four pieces that matter to normal form.
#[test]
fn normal_form_is_final() {
    let pieces = ["/", "//", ".", "..", "%2e", "%2F", "%41", "%20", "%ff", "a", "\\", "ä"];
    let count = pieces.len();
    for number in 0..count.pow(4) {
        let place = |power| number / count.pow(power) % count;
        let path: String = (0..4).map(|power| pieces[place(power)]).collect();
        let once = Target::parse(format!("/{path}").parse().unwrap()).unwrap();
        let sent = once.sent().path();
        assert!(!sent.contains("//") && !sent.contains("%2e") && !sent.contains("%41"), "{sent}");
        assert!(sent.split('/').all(|name| name != "." && name != ".."), "{sent}");
        let twice = Target::parse(once.sent().clone()).unwrap();
        assert_eq!((once.sent(), once.path()), (twice.sent(), twice.path()), "{path}");
    }
}

#[test]
fn what_is_normal_is_not_allocated_again() {
    let sent: PathAndQuery = "/a/b.c?d=e".parse().unwrap();
    let before = sent.as_str().as_ptr();
    let target = Target::parse(sent).unwrap();
    assert_eq!(target.sent().as_str().as_ptr(), before);
    assert!(target.into_parts().1.is_none());
}

#[test]
fn a_path_that_means_nothing_is_refused() {
    for (target, bad) in [
        ("/%", "Encoding"),
        ("/%2", "Encoding"),
        ("/%zz", "Encoding"),
        ("/%+f", "Encoding"),
        ("/a%2/b", "Encoding"),
        ("/a%00", "Nul"),
    ] {
        assert_eq!(normal(target), bad, "{target}");
    }
}

#[test]
fn a_path_of_ones_own_is_encoded() {
    for (path, query, sent) in [
        ("/a b", None, "/a%20b"),
        ("/ä", Some("x=1"), "/%C3%A4?x=1"),
        ("/a?b#c", None, "/a%3Fb%23c"),
        ("/a%20b", None, "/a%20b"),
        ("/a/../b", None, "/b"),
    ] {
        assert_eq!(Target::compose(&["", path], query).unwrap().sent().as_str(), sent, "{path}");
    }
    assert_eq!(Target::compose(&["a"], None).unwrap_err(), BadTarget::Path);
    assert_eq!(Target::compose(&["/100%"], None).unwrap_err(), BadTarget::Encoding);
}

#[test]
fn an_authority_is_a_host_and_perhaps_a_port() {
    for (authority, host) in [
        ("", ""),
        ("a.local", "a.local"),
        ("a.local:80", "a.local"),
        ("a.local:", "a.local"),
        ("a.local.", "a.local"),
        ("a.local.:8080", "a.local"),
        ("a_b-c~d", "a_b-c~d"),
        ("10.0.0.1:1", "10.0.0.1"),
        ("[::1]", "::1"),
        ("[::1]:443", "::1"),
    ] {
        assert_eq!(check_authority(authority), Ok(()), "{authority}");
        assert_eq!(bare_host(authority), host, "{authority}");
    }
    for authority in [
        "a b",
        "a/b",
        "user@a",
        "user:pass@a",
        "a:b",
        "a:65536",
        "a:+1",
        "a:80:90",
        "[::1",
        "[a]",
        "[::1]x",
        "::1",
        "a\\b",
        "a%41",
        "ä",
        "<a>",
        "a,b",
    ] {
        assert_eq!(check_authority(authority), Err(BadTarget::Host), "{authority}");
    }
}
