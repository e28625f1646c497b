//! What Go's `ReplaceAllString` makes of a text: the expected values are Go's.

use super::*;

fn rewrite(regex: &str, replacement: &str, text: &str) -> String {
    let rewriting = Rewriting::compile(regex, replacement).unwrap();
    match rewriting.rewrite(text) {
        Some(Ok(text)) => text,
        Some(Err(TooLong)) => "too long".to_owned(),
        None => "-".to_owned(),
    }
}

#[test]
fn what_is_found_is_replaced_as_go_does_it() {
    for (regex, replacement, text, expected) in [
        (r"^/foo/(.*)", "/bar/$1", "/foo/a/b", "/bar/a/b"),
        (r"^/foo/(.*)", "/bar/$1", "/x/foo/a", "-"),
        // All of it, wherever it is.
        ("/whoami", "/who-am-i", "/whoami/and/whoami", "/who-am-i/and/who-am-i"),
        ("/whoami", "", "/whoami/and/whoami", "/and"),
        // Names are as long as they can be, and what is not there is nothing.
        ("(a)(b)", "$2$1", "ab", "ba"),
        ("(a)(b)", "$1x", "ab", ""),
        ("(a)(b)", "${1}x", "ab", "ax"),
        ("(a)(b)", "$1-$3.", "ab", "a-."),
        ("(a)(b)", "$01${01}$0", "ab", "ab"),
        ("(?P<one>a)(?P<t_2>b)", "$t_2${one}$one.", "ab", "baa."),
        ("(a)|(b)", "[$1|$2]", "ab", "[a|][|b]"),
        // A dollar sign that names nothing is one.
        ("a", "$$1", "a", "$1"),
        ("a", "$$$0", "a", "$a"),
        ("a", "$", "a", "$"),
        ("a", "$-${}${a${0", "a", "$-${}${a${0"),
        ("a", "$ä0.", "a", "."),
        // What is empty is found between characters, but not behind what was just found.
        ("(.*)", "x$1", "abc", "xabc"),
        ("x*", "-", "abc", "-a-b-c-"),
        ("x*", "-", "axb", "-a-b-"),
        ("x*", "-", "äö", "-ä-ö-"),
        ("$", "/", "/a", "/a/"),
        ("^", "/b", "/a", "/b/a"),
        (r"\B", "-", "äö", "-ä-ö-"),
        ("", "-", "", "-"),
        // Characters, and not bytes.
        ("^/(.)", "/$1$1", "/ä", "/ää"),
        ("(?i)É", "e", "é", "e"),
    ] {
        assert_eq!(rewrite(regex, replacement, text), expected, "{regex} {replacement} {text}");
    }
}

#[test]
fn no_replacement_makes_more_of_a_text_than_a_request_can_have() {
    let replacement = "$0".repeat(1000);
    let rewriting = Rewriting::compile("a", &replacement).unwrap();
    assert_eq!(rewriting.rewrite(&"a".repeat(50)).unwrap().unwrap().len(), 50_000);
    assert_eq!(rewriting.rewrite(&"a".repeat(50_000)), Some(Err(TooLong)));
}

#[test]
fn what_is_probably_a_slip_is_remarked() {
    let remarks = |regex: &str, replacement: &str| {
        let remarks = Rewriting::compile(regex, replacement).unwrap().remarks();
        let told = remarks.into_iter().map(|Remark { option, message, hint }| {
            assert_eq!(option, "/replacement");
            format!("{message} ({})", hint.unwrap_or_default())
        });
        told.collect::<Vec<_>>()
    };
    let nothing: [&str; 0] = [];
    for replacement in ["/$1", "/${1}x", "/${all}", "$$", "/$$5", "/$$x", "/$"] {
        assert_eq!(remarks("^/(?P<all>.*)$", replacement), nothing, "{replacement}");
    }
    assert_eq!(
        remarks("^/(.*)", "/$$1/$${1}x"),
        [
            "`$$1` stands for the text `$1`, not for what the expression found \
             (write `$1`; only docker-compose wants `$$` for `$`)",
            "`$${1}` stands for the text `${1}`, not for what the expression found \
             (write `${1}`; only docker-compose wants `$$` for `$`)",
        ]
    );
    assert_eq!(
        remarks("^/(.*)", "/$1_x"),
        ["`$1_x` stands for nothing: the expression has no group `1_x` (did you mean `${1}_x`?)"]
    );
    assert_eq!(
        remarks("^/(.*)", "/$host"),
        ["`$host` stands for nothing: the expression has no group `host` ()"]
    );
    assert_eq!(
        remarks("^/(.*)", "/$2"),
        ["`$2` stands for nothing: the expression has one group ()"]
    );
    assert_eq!(remarks("^/", "/$1"), ["`$1` stands for nothing: the expression has no groups ()"]);
}

#[test]
fn an_expression_that_does_not_compile_is_refused_with_its_reason() {
    let error = Rewriting::compile("^(.*", "").unwrap_err().to_string();
    assert_eq!(error, "/regex: the regular expression does not compile: unclosed group");
    let error = Pattern::compile(r"(?:\w{1000}){1000}").unwrap_err();
    assert!(error.contains("needs more than 4194304 bytes when compiled"), "{error}");
    assert!(Pattern::compile(r"(a)\1").is_err());
}
