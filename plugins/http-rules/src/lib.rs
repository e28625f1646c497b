//! `http-rules`: the matchers of Traefik 3's rule language, compiled to predicates that the host
//! runs natively.

use std::net::IpAddr;

use portolan_plugin::{
    Field, Invalid, MatcherError, Matchers, NoConfig, Op, Plugin, Predicate, Signature, header,
    is_ip_range, register,
};

struct HttpRules;

impl Plugin for HttpRules {
    type Config = NoConfig;
    const NAME: &'static str = "http-rules";
    const SUMMARY: &'static str = "Host, Path, Method, Header and the other matchers of Traefik.";

    fn new(_: NoConfig) -> Result<Self, Invalid> {
        Ok(Self)
    }
}

impl Matchers for HttpRules {
    fn matchers() -> Vec<Signature> {
        vec![
            Signature::new("Host", 1..=1, "The host name; `*.` stands for exactly one label."),
            Signature::new("HostRegexp", 1..=1, "A regular expression found in the host name."),
            Signature::new("Path", 1..=1, "The whole path."),
            Signature::new("PathPrefix", 1..=1, "What the path starts with."),
            Signature::new("PathRegexp", 1..=1, "A regular expression found in the path."),
            Signature::new("Method", 1..=1, "The method."),
            Signature::new("Header", 2..=2, "A header, and the value of one of its lines."),
            Signature::new("HeaderRegexp", 2..=2, "A header, and what is found in a line of it."),
            Signature::new("Query", 1..=2, "A query parameter, and its value; one: no value."),
            Signature::new("QueryRegexp", 1..=2, "A query parameter, and what is found in it."),
            Signature::new("ClientIP", 1..=1, "The address or network that the client is in."),
        ]
    }

    fn compile(name: &str, args: &[String]) -> Result<Predicate, MatcherError> {
        if let Some(empty) = args.iter().position(String::is_empty) {
            let place = u32::try_from(empty).unwrap_or_default();
            return Err(MatcherError::arg(place, "must not be empty"));
        }
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        match (name, args.as_slice()) {
            ("Host", [host]) => host_name(host),
            ("HostRegexp", [regex]) => host_regexp(regex),
            ("Path", [path]) => path_text(path, Op::Equals),
            ("PathPrefix", [path]) => path_text(path, Op::Prefix),
            ("PathRegexp", [regex]) => Ok(Predicate::test(Field::Path, Op::Regex, [*regex])),
            ("Method", [method]) => method_name(method),
            ("Header", [name, value]) => header_line(name, Op::Equals, value),
            ("HeaderRegexp", [name, regex]) => header_line(name, Op::Regex, regex),
            ("Query", [key, value]) => Ok(query(key, Op::Equals, value)),
            ("QueryRegexp", [key, regex]) => Ok(query(key, Op::Regex, regex)),
            // As in Traefik: `?mobile`, not `?mobile=true`.
            ("Query" | "QueryRegexp", [key]) => Ok(query(key, Op::Equals, "")),
            ("ClientIP", [range]) => client_ip(range),
            _ => {
                Err(MatcherError::call(format!("`{name}` does not take {} arguments", args.len())))
            }
        }
    }
}

register!(HttpRules: Matchers);

fn host_name(text: &str) -> Result<Predicate, MatcherError> {
    if text == "*" {
        return Ok(Predicate::Always);
    }
    if let Some(variable) = variable(text) {
        let message =
            format!("still holds `{variable}`, which was to be filled in before it came here");
        return Err(MatcherError::arg(0, message));
    }
    check_ascii(text)?;
    let lower = text.to_ascii_lowercase();
    let host = lower.strip_suffix('.').unwrap_or(&lower);
    let bracketed = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    if bracketed.unwrap_or(host).parse::<IpAddr>().is_ok() {
        let address = bracketed.unwrap_or(host);
        return Ok(Predicate::test(Field::Host, Op::Equals, [address]));
    }
    let (labels, op) = match host.strip_prefix("*.") {
        Some(rest) => (rest, Op::Wildcard),
        None => (host, Op::Equals),
    };
    check_host(labels)?;
    Ok(Predicate::test(Field::Host, op, [host]))
}

/// What can never be in a host name would make a rule that never matches.
fn check_host(labels: &str) -> Result<(), MatcherError> {
    let refuse = |message: &str| Err(MatcherError::arg(0, message));
    if labels.contains('{') {
        refuse(
            "takes no pattern, as it did in Traefik 2; write `HostRegexp(`^[a-z]+\\.example\\.com$`)`",
        )
    } else if labels.contains("://") {
        refuse("must be a host name without a scheme")
    } else if labels.contains('/') {
        refuse("must be a host name without a path; add `&& PathPrefix(`/…`)`")
    } else if labels.contains(':') {
        refuse("must be a host name without a port")
    } else if labels.contains('*') {
        refuse("takes a star only as the whole first label: `*.example.com`")
    } else if labels.contains([',', ' ']) {
        refuse("takes one host name; write `(Host(`a`) || Host(`b`))` for several")
    } else if labels.split('.').any(str::is_empty) {
        refuse("must not have an empty label")
    } else {
        Ok(())
    }
}

/// A variable or a template that somebody else was to fill in: `${DOMAIN}`, `{{ env "DOMAIN" }}`.
fn variable(text: &str) -> Option<&str> {
    let (start, end) = [("${", "}"), ("{{", "}}")].into_iter().find_map(|(opens, closes)| {
        let start = text.find(opens)?;
        let length = text.get(start..)?.find(closes).map(|end| end + closes.len());
        Some((start, length.map_or(text.len(), |length| start + length)))
    })?;
    text.get(start..end)
}

fn host_regexp(regex: &str) -> Result<Predicate, MatcherError> {
    check_ascii(regex)?;
    Ok(Predicate::test(Field::Host, Op::Regex, [regex]))
}

fn check_ascii(text: &str) -> Result<(), MatcherError> {
    match text.chars().find(|letter| !letter.is_ascii()) {
        Some(letter) => {
            let message = format!("must be ASCII, but holds `{letter}`; write its punycode form");
            Err(MatcherError::arg(0, message))
        }
        None => Ok(()),
    }
}

fn path_text(path: &str, op: Op) -> Result<Predicate, MatcherError> {
    if !path.starts_with('/') {
        return Err(MatcherError::arg(0, "must start with `/`"));
    }
    Ok(Predicate::test(Field::Path, op, [path]))
}

/// Methods are case-sensitive, and all that are in use are upper case: so the rule may be in any.
fn method_name(method: &str) -> Result<Predicate, MatcherError> {
    if !method.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'-') {
        return Err(MatcherError::arg(0, format!("`{method}` is no method")));
    }
    Ok(Predicate::test(Field::Method, Op::Equals, [method.to_ascii_uppercase()]))
}

fn header_line(name: &str, op: Op, value: &str) -> Result<Predicate, MatcherError> {
    if !header::is_token(name) {
        return Err(MatcherError::arg(0, format!("`{name}` is no header name")));
    }
    Ok(Predicate::test(Field::Header(name.to_ascii_lowercase()), op, [value]))
}

fn query(key: &str, op: Op, value: &str) -> Predicate {
    Predicate::test(Field::Query(key.to_owned()), op, [value])
}

fn client_ip(range: &str) -> Result<Predicate, MatcherError> {
    if !is_ip_range(range) {
        let message = format!("`{range}` is neither an IP address nor a network");
        return Err(MatcherError::arg(0, message));
    }
    Ok(Predicate::test(Field::ClientIp, Op::Cidr, [range]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compile(call: &str) -> String {
        let (name, rest) = call.split_once('(').unwrap();
        let inner = rest.strip_suffix(')').unwrap();
        let args: Vec<String> = inner.split(" , ").map(str::to_owned).collect();
        match HttpRules::compile(name, &args) {
            Ok(Predicate::Test(field, op, values)) => format!("{field:?} {op:?} {values:?}"),
            Ok(other) => format!("{other:?}"),
            Err(MatcherError { arg: Some(arg), message }) => format!("argument {arg}: {message}"),
            Err(MatcherError { arg: None, message }) => message,
        }
    }

    fn check(call: &str, expected: &str) {
        assert!(compile(call).ends_with(expected), "{call}: {} is not {expected}", compile(call));
    }

    #[test]
    fn hosts() {
        check("Host(Grafana.Local)", r#"Host Op::Equals ["grafana.local"]"#);
        check("Host(grafana.local.)", r#"Host Op::Equals ["grafana.local"]"#);
        check("Host(*.example.com)", r#"Host Op::Wildcard ["*.example.com"]"#);
        check("Host(*)", "Always");
        check("Host([::1])", r#"Host Op::Equals ["::1"]"#);
        check("Host(::1)", r#"Host Op::Equals ["::1"]"#);
        check("Host(10.0.0.1)", r#"Host Op::Equals ["10.0.0.1"]"#);
        check("HostRegexp(^[a-z]+\\.local$)", r#"Host Op::Regex ["^[a-z]+\\.local$"]"#);
    }

    #[test]
    fn hosts_that_could_never_match() {
        check("Host(a.local:80)", "argument 0: must be a host name without a port");
        check("Host(http://a.local)", "argument 0: must be a host name without a scheme");
        check("Host(a.local/x)", "without a path; add `&& PathPrefix(`/…`)`");
        check("Host(a.*.local)", "takes a star only as the whole first label: `*.example.com`");
        check("Host(a.local, b.local)", "write `(Host(`a`) || Host(`b`))` for several");
        check("Host({sub:[a-z]+}.x.com)", "write `HostRegexp(`^[a-z]+\\.example\\.com$`)`");
        let filled_in = |variable: &str| {
            format!(
                "argument 0: still holds `{variable}`, which was to be filled in before it came here"
            )
        };
        check("Host(app.${DOMAIN:-x.com})", &filled_in("${DOMAIN:-x.com}"));
        check("Host({{ env \"X\" }}.x)", &filled_in("{{ env \"X\" }}"));
        check("Host(${meta.env.x)", &filled_in("${meta.env.x"));
        check("Host(a..local)", "argument 0: must not have an empty label");
        check("Host()", "argument 0: must not be empty");
        check("Host(é.local)", "must be ASCII, but holds `é`; write its punycode form");
    }

    #[test]
    fn paths() {
        check("Path(/a)", r#"Path Op::Equals ["/a"]"#);
        check("PathPrefix(/a)", r#"Path Op::Prefix ["/a"]"#);
        check("PathRegexp(\\.js$)", r#"Path Op::Regex ["\\.js$"]"#);
        check("Path(a)", "argument 0: must start with `/`");
        check("PathPrefix(a)", "argument 0: must start with `/`");
    }

    #[test]
    fn methods_and_headers() {
        check("Method(get)", r#"Method Op::Equals ["GET"]"#);
        check("Method(GET POST)", "argument 0: `GET POST` is no method");
        check("Header(X-Canary , Yes)", r#"Header("x-canary") Op::Equals ["Yes"]"#);
        check("HeaderRegexp(Accept , json)", r#"Header("accept") Op::Regex ["json"]"#);
        check("Header(x y , 1)", "argument 0: `x y` is no header name");
        check("Header(x-a , )", "argument 1: must not be empty");
        check("Header(Host , a.local)", r#"Header("host") Op::Equals ["a.local"]"#);
    }

    #[test]
    fn queries_with_one_argument_want_no_value() {
        check("Query(mobile)", r#"Query("mobile") Op::Equals [""]"#);
        check("QueryRegexp(mobile)", r#"Query("mobile") Op::Equals [""]"#);
        check("Query(mobile , true)", r#"Query("mobile") Op::Equals ["true"]"#);
        check("QueryRegexp(id , ^\\d+$)", r#"Query("id") Op::Regex ["^\\d+$"]"#);
    }

    #[test]
    fn addresses_of_clients() {
        check("ClientIP(10.0.0.0/8)", r#"ClientIp Op::Cidr ["10.0.0.0/8"]"#);
        check("ClientIP(::1)", r#"ClientIp Op::Cidr ["::1"]"#);
        check("ClientIP(10.0.0.0/40)", "`10.0.0.0/40` is neither an IP address nor a network");
    }

    #[test]
    fn every_matcher_that_is_announced_compiles() {
        for signature in HttpRules::matchers() {
            for count in signature.min_args..=signature.max_args {
                let mut args = vec!["/a".to_owned(); count as usize];
                if signature.name.starts_with("H") || signature.name == "Method" {
                    args[0] = "a".to_owned();
                } else if signature.name == "ClientIP" {
                    args[0] = "::1".to_owned();
                }
                let compiled = HttpRules::compile(&signature.name, &args);
                assert!(compiled.is_ok(), "{}: {compiled:?}", signature.name);
            }
        }
    }
}
