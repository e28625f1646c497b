//! The grammar, good and bad; the compiled meaning of rules is tested with the matchers.

use expect_test::{Expect, expect};

use super::{Expression, Rule};

/// An expression with all its parentheses.
fn shape(expression: &Expression) -> String {
    let join = |parts: &[Expression], sign: &str| {
        let parts: Vec<String> = parts.iter().map(shape).collect();
        format!("({})", parts.join(sign))
    };
    match expression {
        Expression::All(parts) => join(parts, " & "),
        Expression::Any(branches) => join(branches, " | "),
        Expression::Not(inner) => format!("!{}", shape(inner)),
        Expression::Call(call) => {
            let args: Vec<&str> = call.args.iter().map(|arg| arg.value.as_str()).collect();
            format!("{}{args:?}", call.name)
        }
    }
}

#[test]
fn good_rules() {
    for (rule, meaning) in [
        ("A(`a`)", r#"A["a"]"#),
        ("A()", "A[]"),
        ("  A ( `a` , \"b\" )\n", r#"A["a", "b"]"#),
        ("A(`a`,\n)", r#"A["a"]"#),
        ("A(`a`) && B(`b`) || C(`c`)", r#"((A["a"] & B["b"]) | C["c"])"#),
        ("A(`a`) || B(`b`) && C(`c`)", r#"(A["a"] | (B["b"] & C["c"]))"#),
        ("A() || B() || C()", "(A[] | B[] | C[])"),
        ("(A() || B()) && C()", "((A[] | B[]) & C[])"),
        ("!A() && !(B() || C())", "(!A[] & !(B[] | C[]))"),
        ("!!A()", "A[]"),
        ("!!!A()", "!A[]"),
        ("((A()))", "A[]"),
        ("A()\n\t&&\r\nB()", "(A[] & B[])"),
        ("A()&&B()||!C()", "((A[] & B[]) | !C[])"),
        ("A(`\\d+\"`)", r#"A["\\d+\""]"#),
        ("A(`a\r\nb`)", r#"A["a\nb"]"#),
        ("A(\"\\\"\\\\\\n\\x41\\101\\u00e4\\U0001F600`\")", r#"A["\"\\\nAAä😀`"]"#),
        ("A(\"\\xc3\\xa4\")", r#"A["ä"]"#),
        ("A(`ä`) && B_1(``)", r#"(A["ä"] & B_1[""])"#),
    ] {
        let parsed = Rule::parse(rule).unwrap_or_else(|error| panic!("{rule}: {error}"));
        assert_eq!(shape(parsed.expression()), meaning, "{rule}");
        assert_eq!(parsed.to_string(), rule);
    }
}

#[test]
fn places_are_those_of_the_text() {
    let text = "!A(`ä`) && Host( \"b\" )";
    let rule = Rule::parse(text).unwrap();
    let Expression::All(parts) = rule.expression() else { panic!("{rule:?}") };
    let Expression::Call(call) = &parts[1] else { panic!("{rule:?}") };
    assert_eq!(text.get(call.span.clone()), Some("Host( \"b\" )"));
    assert_eq!(text.get(call.name_span.clone()), Some("Host"));
    assert_eq!(text.get(call.args[0].span.clone()), Some("\"b\""));
}

fn bad(rule: &str, expect: Expect) {
    let error = Rule::parse(rule).expect_err(rule);
    let hint = error.hint.as_ref().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    expect.assert_eq(&format!("{}\n{error}{hint}", error.caret(rule)));
}

#[test]
fn bad_rules_are_underlined() {
    bad(
        "",
        expect![[r#"

        ^
        expected a matcher such as Host(`example.com`), found the end of the rule"#]],
    );
    bad(
        "Host",
        expect![[r#"
        Host
            ^
        expected `(`, found the end of the rule"#]],
    );
    bad(
        "Host:a.io;PathPrefix:/y",
        expect![[r#"
        Host:a.io;PathPrefix:/y
            ^
        expected `(`, found `:`
        hint: write Host(`a.io`) && PathPrefix(`/y`)"#]],
    );
    bad(
        "Host(`a`",
        expect![[r#"
        Host(`a`
                ^
        expected `,` or `)`, found the end of the rule"#]],
    );
    bad(
        "Host(`a`))",
        expect![[r#"
        Host(`a`))
                 ^
        expected `&&`, `||` or the end, found `)`"#]],
    );
    bad(
        "Host(`a`) Path(`b`)",
        expect![[r#"
        Host(`a`) Path(`b`)
                  ^^^^
        expected `&&`, `||` or the end, found `Path`"#]],
    );
    bad(
        "Host(`a`) and Path(`b`)",
        expect![[r#"
        Host(`a`) and Path(`b`)
                  ^^^
        expected `&&`, `||` or the end, found `and`
        hint: write `&&`"#]],
    );
    bad(
        "Host(`a`) & Path(`b`)",
        expect![[r#"
            Host(`a`) & Path(`b`)
                      ^
            expected `&&`, `||` or the end, found `&`"#]],
    );
    bad(
        "Host(`a`) || || Path(`b`)",
        expect![[r#"
        Host(`a`) || || Path(`b`)
                     ^^
        expected a matcher such as Host(`example.com`), found `||`"#]],
    );
    bad(
        "Host(a.local)",
        expect![[r#"
            Host(a.local)
                 ^
            expected a string between backticks, found `a`"#]],
    );
    bad(
        "Host('a.local')",
        expect![[r#"
        Host('a.local')
             ^
        expected a string between backticks, found `'`"#]],
    );
    bad(
        "Host(`a` `b`)",
        expect![[r#"
        Host(`a` `b`)
                 ^^^
        expected `,` or `)`, found the string `b`"#]],
    );
    bad(
        "Host(,)",
        expect![[r#"
        Host(,)
             ^
        expected a string between backticks, found `,`"#]],
    );
    bad(
        "Host:a.local",
        expect![[r#"
            Host:a.local
                ^
            expected `(`, found `:`
            hint: write Host(`a.local`)"#]],
    );
    bad(
        "(Host(`a`) && Path(`/`)",
        expect![[r#"
        (Host(`a`) && Path(`/`)
                               ^
        expected `&&`, `||` or `)`, found the end of the rule"#]],
    );
    bad(
        "Host(`a.local)",
        expect![[r#"
        Host(`a.local)
             ^
        a string that starts with a backtick ends with one"#]],
    );
    bad(
        "Host(\"a.local)",
        expect![[r#"
        Host("a.local)
             ^
        a string that starts with a double quote ends with one, on its line"#]],
    );
    bad(
        "Path(\"\\d\")",
        expect![[r#"
        Path("\d")
              ^^
        not an escape that Go knows
        hint: between backticks a backslash is a backslash"#]],
    );
    bad(
        "Path(\"\\xff\")",
        expect![[r#"
        Path("\xff")
             ^^^^^^
        the escapes do not make UTF-8"#]],
    );
    bad(
        "Path(\"\\ud800\")",
        expect![[r#"
        Path("\ud800")
              ^^
        not an escape that Go knows
        hint: between backticks a backslash is a backslash"#]],
    );
    bad(
        "Host(`ä`) &&\n\tPath(`ü`) ?\n&& Path(`/`)",
        expect![[r#"
            	Path(`ü`) ?
            	          ^
            expected `&&`, `||` or the end, found `?`"#]],
    );
    bad(
        "Host(`a`) &&",
        expect![[r#"
        Host(`a`) &&
                    ^
        expected a matcher such as Host(`example.com`), found the end of the rule"#]],
    );
    bad(
        "!",
        expect![[r#"
        !
         ^
        expected a matcher such as Host(`example.com`), found the end of the rule"#]],
    );
}

#[test]
fn nesting_and_length_have_limits() {
    let nested = |depth: usize| format!("{}A(){}", "(".repeat(depth), ")".repeat(depth));
    assert!(Rule::parse(&nested(64)).is_ok());
    for rule in [nested(65), nested(30_000), "(".repeat(60_000), "!(".repeat(30_000)] {
        let error = Rule::parse(&rule).unwrap_err();
        assert_eq!(error.to_string(), "more than 64 levels of parentheses");
    }
    let error = Rule::parse(&nested(100_000)).unwrap_err();
    assert_eq!(error.to_string(), "longer than 65536 bytes");
    assert!(Rule::parse(&format!("{}A()", "!".repeat(60_000))).is_ok());
    assert!(Rule::parse(&vec!["A()"; 10_000].join("||")).is_ok());
}

#[test]
fn parsing_is_total() {
    // Every text made of a few words that the grammar cares about, joined every way.
    let words = ["A", "(", ")", "`", "\"", "\\", "&&", "||", "!", ",", "ä", "\n", "&", "x"];
    let count = words.len();
    for number in 0..count.pow(4) {
        let places = [number, number / count, number / count.pow(2), number / count.pow(3)];
        let text: String = places.iter().map(|place| words[place % count]).collect();
        if let Err(error) = Rule::parse(&text) {
            assert_eq!(error.caret(&text).lines().count(), 2, "{text:?}");
        }
    }
}

#[test]
fn a_rule_tells_which_matchers_it_calls() {
    let rule = Rule::parse("(Host(`a`) || PATH(`/x`)) && !Teapot()").unwrap();
    let called = ["Host", "Path", "teapot", "a", "PathPrefix"].map(|name| rule.calls(name));
    assert_eq!(called, [true, true, true, false, false]);
}
