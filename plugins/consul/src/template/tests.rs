//! Templates as people have them, and those that are refused.

use super::*;

/// What a template makes of the service `my_web` with some labels, or what is wrong with it.
fn render(template: &str) -> String {
    let labels = [("traefik.sub", "shop"), ("traefik.enable", "true"), ("plain", "p")];
    let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
    let parsed = Template::parse(template).map_err(|fault| fault.told(template));
    match parsed.and_then(|template| template.render("my_web", &labels)) {
        Ok(text) => text,
        Err(told) => format!("! {told}"),
    }
}

#[track_caller]
fn check(template: &str, expected: &str) {
    assert_eq!(render(template), expected, "{template}");
}

#[test]
fn default_rules_that_people_have() {
    check("Host(`{{ normalize .Name }}.example.com`)", "Host(`my-web.example.com`)");
    check("Host(`{{.Name}}`)", "Host(`my_web`)");
    check(r#"Host(`{{ .Name }}.{{ index .Labels "traefik.sub"}}`)"#, "Host(`my_web.shop`)");
    check("Host(`{{ trimPrefix `my_` .Name }}`)", "Host(`web`)");
    check(r#"{{ .Name | replace "_" "-" | upper }}"#, "MY-WEB");
    check("{{ .Labels.plain }}", "p");
    check(
        r#"Host(`{{ or (index .Labels "traefik.none") (normalize .Name) }}.x`)"#,
        "Host(`my-web.x`)",
    );
    check(r#"{{ if index .Labels "traefik.sub" }}a{{ else }}b{{ end }}"#, "a");
    check(r#"{{ $n := normalize .Name }}{{ $n }}.{{ $n | trunc 2 }}"#, "my-web.my");
}

#[test]
fn choices_variables_and_white_space() {
    check("{{ if .Labels.none }}a{{ else if eq .Name `my_web` }}b{{ else }}c{{ end }}", "b");
    check("{{ if false }}a{{ else with .Name }}{{ . }}{{ end }}", "my_web");
    check("{{ with .Labels.none }}{{ . }}{{ else }}{{ $.Name }}{{ end }}", "my_web");
    check("{{ $x := `a` }}{{ if true }}{{ $x = `b` }}{{ end }}{{ $x }}", "b");
    check("{{ $x := `a` }}{{ if true }}{{ $x := `b` }}{{ $x }}{{ end }}{{ $x }}", "ba");
    check("a {{- /* no */ -}} b {{- `c` -}} \n d", "abcd");
    check("{{/* no */}}x", "x");
    check("{{ `a` }} - {{ -3 }}", "a - -3");
    check("{{ (index .Labels `plain`) }}{{ (splitList `_` .Name | first) }}", "pmy");
}

#[test]
fn functions() {
    for (template, expected) in [
        (
            "{{ and .Name `` }}|{{ not .Labels.none }}|{{ ne 1 2 }}{{ lt 1 2 }}{{ ge `b` `a` }}",
            "|true|truetruetrue",
        ),
        (
            "{{ len .Labels }} {{ print `a` 1 true }} {{ printf `%s-%d-%q%%` .Name 7 `x` }}",
            "3 a1true my_web-7-\"x\"%",
        ),
        (
            "{{ lower `A` }}{{ trim ` b ` }}{{ trimAll `.` `.c.` }}{{ trimSuffix `_web` .Name }}",
            "abcmy",
        ),
        (
            "{{ contains `y_` .Name }} {{ hasPrefix `my` .Name }} {{ hasSuffix `my` .Name }}",
            "true true false",
        ),
        ("{{ nospace `a b` }} {{ quote `a` }} {{ trunc -3 .Name }}", "ab \"a\" web"),
        ("{{ regexMatch `^my` .Name }} {{ regexFind `[a-z]+$` .Name }}", "true web"),
        ("{{ regexReplaceAll `(\\w)_(\\w)` .Name `${1}.${2}` }}", "my.web"),
        ("{{ list `a` `b` | join `.` }} {{ splitList `_` .Name | last }}", "a.b web"),
        ("{{ .Labels.none | default `d` }} {{ empty `` }} {{ coalesce `` `c` }}", "d true c"),
        (
            "{{ ternary `y` `n` (eq .Name `my_web`) }} {{ hasKey .Labels `plain` }} {{ get .Labels `plain` }}",
            "y true p",
        ),
        ("{{ index (list `a` `b`) 1 }}{{ index .Labels `none` }}", "b"),
    ] {
        check(template, expected);
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (template, expected) in [
        (
            "a{{ nomalize .Name }}",
            "unknown function `nomalize`, did you mean `normalize`?, at character 5: nomalize .Name }}",
        ),
        ("{{ env `HOME` }}", "unknown function `env`, at character 4: env `HOME` }}"),
        ("{{ .Name", "expected `}}`, at its end"),
        ("{{ }}", "expected a value or a function, at character 4: }}"),
        (
            "{{ range .Labels }}",
            "`range` is not supported in a default rule, at character 4: range .Labels }}",
        ),
        ("{{ if .Name }}a", "there is no `end` to this, at character 4: if .Name }}a"),
        ("a{{ end }}", "`end` without an `if` or `with` before it, at character 5: end }}"),
        (
            "{{ if true }}{{ else }}{{ else }}{{ end }}",
            "a second `else`, at character 27: else }}{{ end }}",
        ),
        ("{{ lower }}", "`lower` takes 1 arguments, found 0, at character 4: lower }}"),
        ("{{ .Name | .Name }}", "expected a function after `|`, at character 12: .Name }}"),
        (
            "{{ print lower `a` }}",
            "the function `lower` as an argument takes parentheses, at character 10: lower `a` }}",
        ),
        ("{{ $x }}", "there is no variable `$x` here, at character 4: $x }}"),
        (
            "{{ if true }}{{ $x := 1 }}{{ end }}{{ $x }}",
            "there is no variable `$x` here, at character 39: $x }}",
        ),
        ("{{ 1.5 }}", "expected `}}`, at character 5: .5 }}"),
        (
            "{{ \"a }}",
            "a string that begins with a double quote ends with one, on its line, at character 4: \"a }}",
        ),
        // Found out for a service only.
        ("{{ .Labels.none }}", "there is no `.none`, at character 11: .none }}"),
        ("{{ .Title }}", "there is no `.Title`, at character 4: .Title }}"),
        ("{{ .Name.x }}", "a text has no field `.x`, at character 9: .x }}"),
        ("{{ lower 1 }}", "`lower`: a number is no text, at character 4: lower 1 }}"),
    ] {
        check(template, &format!("! {expected}"));
    }
    let deep = format!("{{{{ {}1{} }}}}", "(".repeat(500), ")".repeat(500));
    assert!(render(&deep).contains("levels deep"));
}

#[test]
fn whatever_arrives_is_read_or_refused() {
    let parts = [
        "{{", "}}", "-", " ", "if", "else", "end", "$x", ":=", "=", ".", ".Name", "|", "(", ")",
        "`", "\"", "é", "index", "7", "/*", "*/",
    ];
    let mut seed = 7_u64;
    for _ in 0..20_000 {
        let mut text = String::new();
        for _ in 0..seed % 12 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            text += parts[(seed >> 33) as usize % parts.len()];
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        render(&text);
    }
}
