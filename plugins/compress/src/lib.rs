//! `compress`: compresses responses for clients that take that. All plan: the work is the host's.

use portolan_plugin::{Action, Compress as Plan, Interest, Invalid, Middleware, Plugin, register};
use schemars::JsonSchema;
use serde::Deserialize;

/// `[http.middlewares.<name>.compress]`
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// What may be used: `gzip`, `br` and `zstd`. Of what a client likes equally, the first is taken.
    encodings: Vec<String>,
    /// For clients that do not say what they take, and for those that take anything. Empty: the former
    /// get nothing compressed, the latter the first of `encodings`.
    default_encoding: String,
    /// Responses with less content than this, in bytes, are left alone. 0: 1024.
    min_response_body_bytes: i64,
    /// Media types that are left alone: `text/csv`, `application/*`. Their parameters do not matter.
    excluded_content_types: Vec<String>,
    /// Media types that alone are compressed. Empty: all but those that gain nothing by it, such as
    /// images, video and archives.
    included_content_types: Vec<String>,
}

/// What there is, in Traefik's order.
const ENCODINGS: [&str; 3] = ["gzip", "br", "zstd"];
const MIN_BYTES: u64 = 1024;

impl Default for Config {
    fn default() -> Self {
        Self {
            encodings: ENCODINGS.map(str::to_owned).into(),
            default_encoding: String::new(),
            min_response_body_bytes: 1024,
            excluded_content_types: Vec::new(),
            included_content_types: Vec::new(),
        }
    }
}

#[derive(Debug)]
struct Compress(Plan);

impl Plugin for Compress {
    type Config = Config;
    const NAME: &'static str = "compress";
    const SUMMARY: &'static str = "Compresses responses with gzip, brotli or zstd.";

    fn new(config: Config) -> Result<Self, Invalid> {
        let mut invalid = Invalid::none();
        let Config { encodings, default_encoding, .. } = config;
        if encodings.is_empty() {
            invalid.add("/encodings", "there is none, so nothing would be compressed");
        }
        for (place, encoding) in encodings.iter().enumerate() {
            if !ENCODINGS.contains(&encoding.as_str()) {
                let message = format!("`{encoding}` is none of `gzip`, `br` and `zstd`");
                invalid.add(format!("/encodings/{place}"), message);
            }
        }
        if !default_encoding.is_empty() && !encodings.contains(&default_encoding) {
            let message = format!("`{default_encoding}` is not among `encodings`");
            invalid.add("/default-encoding", message);
        }
        let (excluded, included) = (config.excluded_content_types, config.included_content_types);
        if !excluded.is_empty() && !included.is_empty() {
            let message = "with `excluded-content-types` there can be none of these";
            invalid.add("/included-content-types", message);
        }
        let min_bytes = u64::try_from(config.min_response_body_bytes).unwrap_or(0);
        let plan = Plan {
            encodings,
            default_encoding: Some(default_encoding).filter(|name| !name.is_empty()),
            min_bytes: if min_bytes == 0 { MIN_BYTES } else { min_bytes },
            excluded_types: types("/excluded-content-types", &excluded, &mut invalid),
            included_types: types("/included-content-types", &included, &mut invalid),
        };
        invalid.or(Self(plan))
    }
}

/// The media types without their parameters, which Traefik does not compare either.
fn types(path: &str, types: &[String], invalid: &mut Invalid) -> Vec<String> {
    let essences = types.iter().enumerate().map(|(place, written)| {
        let essence = written.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        if !is_type(&essence) {
            let message = format!("`{written}` is not a media type, such as `text/html`");
            invalid.add(format!("{path}/{place}"), message);
        }
        essence
    });
    essences.collect()
}

/// Whether it is one (RFC 9110, 8.3.1), or all of a kind: `text/*`.
fn is_type(text: &str) -> bool {
    let is_token = |text: &str| {
        let is_other = |byte: u8| b"!#$%&'+-.^_`|~".contains(&byte);
        !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || is_other(byte))
    };
    match text.split_once('/') {
        Some((kind, subtype)) => is_token(kind) && (subtype == "*" || is_token(subtype)),
        None => false,
    }
}

impl Middleware for Compress {
    fn interest(&self) -> Interest {
        Interest::plan([Action::Compress(self.0.clone())])
    }
}

register!(Compress: Middleware);

#[cfg(test)]
mod tests {
    use super::*;

    fn list(items: &[&str]) -> Vec<String> {
        items.iter().map(|&it| it.to_owned()).collect()
    }

    fn problems(config: Config) -> String {
        Compress::new(config).unwrap_err().to_string()
    }

    #[test]
    fn without_options_it_is_as_in_traefik() {
        let interest = Compress::new(Config::default()).unwrap().interest();
        let plan = Plan {
            encodings: list(&["gzip", "br", "zstd"]),
            default_encoding: None,
            min_bytes: 1024,
            excluded_types: Vec::new(),
            included_types: Vec::new(),
        };
        assert_eq!(interest.steps(), [(None, vec![Action::Compress(plan)])]);
        for (min_response_body_bytes, expected) in [(0, 1024), (-1, 1024), (1, 1), (9000, 9000)] {
            let config = Config { min_response_body_bytes, ..Config::default() };
            assert_eq!(Compress::new(config).unwrap().0.min_bytes, expected);
        }
    }

    #[test]
    fn parameters_of_types_do_not_matter() {
        let excluded_content_types = list(&["Text/HTML; charset=utf-8", "image/*"]);
        let config = Config { excluded_content_types, ..Config::default() };
        let types = Compress::new(config).unwrap().0.excluded_types;
        assert_eq!(types, ["text/html", "image/*"]);
    }

    #[test]
    fn each_mistake_is_named_where_it_is() {
        let config = Config {
            encodings: list(&["gzip", "deflate"]),
            default_encoding: "br".to_owned(),
            excluded_content_types: list(&["text/html"]),
            included_content_types: list(&["text/css"]),
            ..Config::default()
        };
        assert_eq!(
            problems(config),
            "/encodings/1: `deflate` is none of `gzip`, `br` and `zstd`\n\
             /default-encoding: `br` is not among `encodings`\n\
             /included-content-types: with `excluded-content-types` there can be none of these"
        );
        let config = Config { encodings: Vec::new(), ..Config::default() };
        assert_eq!(problems(config), "/encodings: there is none, so nothing would be compressed");
        let included_content_types = list(&["text/html", "html", "*/*"]);
        let config = Config { included_content_types, ..Config::default() };
        assert_eq!(
            problems(config),
            "/included-content-types/1: `html` is not a media type, such as `text/html`\n\
             /included-content-types/2: `*/*` is not a media type, such as `text/html`"
        );
    }
}
