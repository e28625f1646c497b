//! One comparison, compiled: does a value compare well with any of those that were given?
//!
//! **Invariant:** comparing takes linear time at most, and allocates nothing, unless a regular expression
//! meets text that is not ASCII.

use std::net::IpAddr;

use hashbrown::HashSet;
use ipnet::IpNet;

use super::{
    field::{Field, Op},
    go::GoRegex,
};

/// A compiled comparison.
pub(super) enum Check {
    Exists,
    Equals(Texts),
    EqualsIgnoreCase(Vec<Box<[u8]>>),
    Prefix(Vec<Box<[u8]>>),
    PathPrefix(Vec<Box<[u8]>>),
    Suffix(Vec<Box<[u8]>>),
    Contains(Vec<Box<[u8]>>),
    /// `*`: true even where there is no value.
    Anything,
    /// Names as they are, and what stands behind `*`: `.example.com`.
    Wildcard {
        names: Texts,
        suffixes: Vec<Box<[u8]>>,
    },
    Regex(Vec<GoRegex>),
    /// Networks without overlap, in ascending order.
    Cidr(Vec<IpNet>),
}

/// Texts, of which one is looked for.
pub(super) enum Texts {
    Few(Vec<Box<[u8]>>),
    Many(HashSet<Box<[u8]>>),
}

impl Check {
    /// Whether a host is as wanted. A request without one has none to compare, but there are
    /// expressions that nothing fits too, as in Traefik.
    pub(super) fn accepts_host(&self, host: &str) -> bool {
        (!host.is_empty() || matches!(self, Self::Regex(_))) && self.accepts(host.as_bytes())
    }

    pub(super) fn compile(field: &Field, op: Op, values: &[String]) -> Result<Self, String> {
        if op == Op::Exists {
            return match values {
                [] => Ok(Self::Exists),
                _ => Err("`exists` takes no values".to_owned()),
            };
        }
        if values.is_empty() {
            return Err("a comparison needs at least one value".to_owned());
        }
        if (op == Op::Cidr) != matches!(field, Field::ClientIp | Field::Client(_)) {
            return Err("the client's address is compared with `cidr`, and nothing else is".into());
        }
        let texts = || values.iter().map(|value| canonical(field, value)).collect();
        Ok(match op {
            Op::Exists => Self::Exists,
            Op::Equals => Self::Equals(Texts::new(texts())),
            Op::EqualsIgnoreCase => Self::EqualsIgnoreCase(texts()),
            Op::Prefix => Self::Prefix(texts()),
            Op::PathPrefix => Self::PathPrefix(texts()),
            Op::Suffix => Self::Suffix(texts()),
            Op::Contains => Self::Contains(texts()),
            Op::Wildcard => wildcard(field, values)?,
            Op::Regex => Self::Regex(each(values, regex)?),
            Op::Cidr => Self::Cidr(networks(each(values, network)?)),
        })
    }

    /// Whether it is true whatever the request.
    pub(super) fn is_always(&self) -> bool {
        matches!(self, Self::Anything)
    }

    /// Whether a value compares well.
    pub(super) fn accepts(&self, value: &[u8]) -> bool {
        match self {
            Self::Exists | Self::Anything => true,
            Self::Equals(texts) => texts.contains(value),
            Self::EqualsIgnoreCase(texts) => {
                texts.iter().any(|text| value.eq_ignore_ascii_case(text))
            }
            Self::Prefix(texts) => texts.iter().any(|text| value.starts_with(text)),
            Self::PathPrefix(texts) => texts.iter().any(|text| starts_path(value, text)),
            Self::Suffix(texts) => texts.iter().any(|text| value.ends_with(text)),
            Self::Contains(texts) => texts.iter().any(|text| contains(value, text)),
            Self::Wildcard { names, suffixes } => {
                names.contains(value)
                    || suffixes.iter().any(|suffix| is_one_label_below(value, suffix))
            }
            Self::Regex(regexes) => regexes.iter().any(|regex| regex.is_match(value)),
            Self::Cidr(_) => false,
        }
    }

    /// Whether an address compares well.
    pub(super) fn accepts_address(&self, address: IpAddr) -> bool {
        match self {
            Self::Exists => true,
            // A client of a dual-stack socket comes as ::ffff:10.0.0.1.
            Self::Cidr(networks) => {
                let address = address.to_canonical();
                let after = networks.partition_point(|network| network.network() <= address);
                let nearest = after.checked_sub(1).and_then(|place| networks.get(place));
                nearest.is_some_and(|network| network.contains(&address))
            }
            _ => false,
        }
    }
}

impl Texts {
    /// Up to this many, comparing with each is faster than hashing.
    const FEW: usize = 8;

    fn new(texts: Vec<Box<[u8]>>) -> Self {
        match texts.len() {
            0..=Self::FEW => Self::Few(texts),
            _ => Self::Many(texts.into_iter().collect()),
        }
    }

    fn contains(&self, value: &[u8]) -> bool {
        match self {
            Self::Few(texts) => texts.iter().any(|text| value == &**text),
            Self::Many(texts) => texts.contains(value),
        }
    }
}

/// A value in the form in which the field's own values come.
pub(super) fn canonical(field: &Field, value: &str) -> Box<[u8]> {
    match field {
        Field::Host | Field::Sni => host_name(value).into_bytes().into(),
        _ => value.as_bytes().into(),
    }
}

/// A host as rules compare it: lower case, without a trailing dot.
pub(super) fn host_name(value: &str) -> String {
    value.strip_suffix('.').unwrap_or(value).to_ascii_lowercase()
}

fn wildcard(field: &Field, values: &[String]) -> Result<Check, String> {
    if !matches!(field, Field::Host | Field::Sni) {
        return Err("`wildcard` compares host names only".to_owned());
    }
    let (mut names, mut suffixes) = (Vec::new(), Vec::new());
    for value in values {
        let name = host_name(value);
        match name.strip_prefix('*') {
            Some("") if value == "*" => return Ok(Check::Anything),
            Some(suffix)
                if suffix.len() > 1 && suffix.starts_with('.') && !suffix.contains('*') =>
            {
                suffixes.push(suffix.as_bytes().into());
            }
            None if !name.contains('*') => names.push(name.into_bytes().into()),
            _ => {
                return Err(format!(
                    "`{value}` is no wildcard: `*` stands for all, or for the first label, as in \
                     `*.example.com`"
                ));
            }
        }
    }
    Ok(Check::Wildcard { names: Texts::new(names), suffixes })
}

/// As Go reads it, whose users write rules: classes such as `\w` are ASCII.
pub(crate) fn regex(value: &str) -> Result<GoRegex, String> {
    GoRegex::compile(value).map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("the regular expression needs more than {limit} bytes when compiled")
        }
        // The text of the library draws the pattern over several lines; the last one says it.
        error => {
            let text = error.to_string();
            let reason = text.lines().last().unwrap_or_default();
            let reason = reason.strip_prefix("error: ").unwrap_or(reason);
            format!("the regular expression does not compile: {reason}")
        }
    })
}

pub(super) fn network(value: &str) -> Result<IpNet, String> {
    super::network(value).ok_or_else(|| {
        format!("`{value}` is neither an IP address nor a network such as `10.0.0.0/8`")
    })
}

/// The same addresses in networks without overlap, sorted.
fn networks(networks: Vec<IpNet>) -> Vec<IpNet> {
    let mut networks = IpNet::aggregate(&networks);
    networks.sort_unstable_by_key(IpNet::network);
    networks
}

fn each<T>(values: &[String], make: fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    values.iter().map(|value| make(value)).collect()
}

/// Whether a path starts with a prefix that ends at a segment border.
fn starts_path(path: &[u8], prefix: &[u8]) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with(b"/") || prefix.ends_with(b"/"),
        None => false,
    }
}

/// Whether a host is one label and then the suffix, which starts with a dot.
fn is_one_label_below(host: &[u8], suffix: &[u8]) -> bool {
    host.strip_suffix(suffix).is_some_and(|label| !label.is_empty() && !label.contains(&b'.'))
}

fn contains(value: &[u8], text: &[u8]) -> bool {
    text.is_empty() || value.windows(text.len()).any(|window| window == text)
}
