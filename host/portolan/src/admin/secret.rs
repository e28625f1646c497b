//! What is shown to nobody, by its name: whoever may read how things are need not know what opens them.

use std::sync::LazyLock;

use regex::{Captures, Regex};
use serde_json::{Value, json};

/// What stands in its place.
pub(super) const HIDDEN: &str = "hidden";

/// Whether what has such a name is a secret. Hashes of passwords are: they may be guessed by whoever
/// reads them.
fn is_secret(name: &str) -> bool {
    const ENDS: [&str; 6] = ["users", "password", "secret", "token", "apikey", "privatekey"];
    const WHOLE: [&str; 4] = ["authorization", "proxyauthorization", "cookie", "setcookie"];
    let folded = folded(name);
    WHOLE.contains(&folded.as_str()) || ENDS.iter().any(|end| folded.ends_with(end))
}

/// Whether a header of that name has a secret in it. All kinds of keys are sent in headers.
pub(super) fn is_secret_header(name: &str) -> bool {
    is_secret(name) || folded(name).ends_with("key")
}

/// A configuration without its secrets.
pub(super) fn hidden(config: &Value) -> Value {
    without(config, is_secret)
}

fn without(config: &Value, is_secret: fn(&str) -> bool) -> Value {
    match config {
        Value::Object(map) => Value::Object(
            map.iter()
                .map(|(key, value)| {
                    let below = match folded(key).ends_with("headers") {
                        true => is_secret_header,
                        false => is_secret,
                    };
                    let value = if is_secret(key) { json!(HIDDEN) } else { without(value, below) };
                    (key.clone(), value)
                })
                .collect(),
        ),
        Value::String(text) if text.contains("PRIVATE KEY-----") => json!(HIDDEN),
        Value::Array(list) => list.iter().map(|value| without(value, is_secret)).collect(),
        other => other.clone(),
    }
}

/// Lines of a configuration without their secrets, whatever else is wrong with them.
pub(super) fn hidden_in_lines(text: &str) -> String {
    static SETTING: LazyLock<Regex> = LazyLock::new(|| {
        // A value that does not end goes on to the end of its line.
        Regex::new(r#"([\w-]+)("?\s*=\s*)("[^"\n]*"?|'[^'\n]*'?|\[[^\]\n]*\]?|[^\s,}]+)"#)
            .expect("it is well-formed")
    });
    let hide = |found: &Captures<'_>| match is_secret_header(&found[1]) {
        true => format!("{}{}{HIDDEN}", &found[1], &found[2]),
        false => found[0].to_owned(),
    };
    SETTING.replace_all(text, hide).into_owned()
}

/// In whatever way a name is written.
fn folded(name: &str) -> String {
    let letters = name.chars().filter(|letter| !matches!(letter, '-' | '_'));
    letters.map(|letter| letter.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let config = json!({
            "realm": "x",
            "tls": { "key": "-----BEGIN EC PRIVATE KEY-----\ns\n-----END EC PRIVATE KEY-----" },
            "users": ["a:$2y$05$..."],
            "api-key": "k",
            "key": "not one by its name",
            "nested": { "client_secret": "s", "tokens-per-minute": 5 },
            "custom-request-headers": {
                "Authorization": "Bearer s", "X-Api-Key": "k", "x-shared-key": "k", "Cookie": "a=b",
                "x-served-by": "portolan",
            },
            "customResponseHeaders": [{ "Set-Cookie": "a=b" }],
        });
        let shown = json!({
            "realm": "x",
            "tls": { "key": "hidden" },
            "users": "hidden",
            "api-key": "hidden",
            "key": "not one by its name",
            "nested": { "client_secret": "hidden", "tokens-per-minute": 5 },
            "custom-request-headers": {
                "Authorization": "hidden", "X-Api-Key": "hidden", "x-shared-key": "hidden", "Cookie": "hidden",
                "x-served-by": "portolan",
            },
            "customResponseHeaders": [{ "Set-Cookie": "hidden" }],
        });
        assert_eq!(hidden(&config), shown);
    }

    #[test]
    fn what_is_wrong_is_shown_without_the_secrets_beside_it() {
        for (line, shown) in [
            (r#"7 | token = "abc def"#, "7 | token = hidden"),
            (r#"7 | { a = 1, token = "abc", b = 2 }"#, "7 | { a = 1, token = hidden, b = 2 }"),
            ("users = ['a:b', 'c:d']", "users = hidden"),
            (r#""X-Api-Key" = "k""#, r#""X-Api-Key" = hidden"#),
            (r#"address = "0.0.0.0:80"  # token"#, r#"address = "0.0.0.0:80"  # token"#),
            ("config.toml:543:16 unclosed table", "config.toml:543:16 unclosed table"),
        ] {
            assert_eq!(hidden_in_lines(line), shown);
        }
    }
}
