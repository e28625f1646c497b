//! Why a predicate is not true for a request, in words: ``host is `a.local`, the rule wants
//! `b.local` ``.

use std::borrow::Cow;

use super::{
    evaluate::Facts,
    field::{Field, Op},
    predicate::{Predicate, Test},
};

/// Values that are named before the rest is only counted.
const NAMED: usize = 3;

impl Predicate {
    /// The first part that is not true for a request; `None` if the whole is true.
    pub(crate) fn failure(&self, facts: &Facts<'_>) -> Option<String> {
        if self.holds(facts) {
            return None;
        }
        Some(match self {
            Self::Always | Self::Never => "the rule is never true".to_owned(),
            Self::All(parts) => parts.iter().find_map(|part| part.failure(facts))?,
            Self::Any(branches) => {
                let mut reasons: Vec<String> =
                    branches.iter().filter_map(|branch| branch.failure(facts)).collect();
                reasons.dedup();
                reasons.join("; and ")
            }
            Self::Not(inner) => inner.exclusion(facts),
            Self::Test(test) => {
                format!("{}, the rule wants {}", test.found(facts), test.wish())
            }
        })
    }

    /// What is true and should not be.
    fn exclusion(&self, facts: &Facts<'_>) -> String {
        match self {
            Self::Test(test) => {
                format!("{}, the rule excludes {}", test.found(facts), test.wish())
            }
            Self::Any(branches) => branches
                .iter()
                .find(|branch| branch.holds(facts))
                .map_or_else(String::new, |branch| branch.exclusion(facts)),
            Self::All(parts) => {
                let reasons: Vec<String> = parts.iter().map(|part| part.exclusion(facts)).collect();
                reasons.join(", and ")
            }
            Self::Not(inner) => inner.failure(facts).unwrap_or_default(),
            Self::Always | Self::Never => "the rule is never true".to_owned(),
        }
    }
}

impl Test {
    /// What the request has.
    fn found(&self, facts: &Facts<'_>) -> String {
        let exchange = facts.exchange;
        let request = &exchange.request;
        let one = |noun: &str, value: &str| match value {
            "" => format!("there is no {noun}"),
            value => format!("{noun} is `{value}`"),
        };
        match self.field() {
            Field::Method => one("method", request.method.as_str()),
            Field::Scheme => one("scheme", exchange.scheme()),
            Field::Host => one("host", facts.host),
            Field::Path => one("path", facts.path),
            Field::Query(name) => many("query parameter", name, request.query_values(name)),
            Field::Header(name) => many(
                "header",
                name.as_str(),
                request.header_values(name).map(String::from_utf8_lossy),
            ),
            Field::Cookie(name) => {
                many("cookie", name, request.cookie_values(name).map(Cow::Borrowed))
            }
            Field::ClientIp => one("client", &exchange.peer.address.ip().to_string()),
            Field::Client(strategy) => {
                let address = strategy.address(exchange).map(|address| address.to_string());
                one("client behind the proxies", &address.unwrap_or_default())
            }
            Field::Sni => one("server name", exchange.peer.sni.as_deref().unwrap_or_default()),
            Field::Entrypoint => one("entrypoint", &exchange.entrypoint),
        }
    }

    /// What the rule wants.
    fn wish(&self) -> String {
        let list = listed(self.values(), "or");
        match self.op() {
            Op::Exists => "it to be there".to_owned(),
            Op::Equals | Op::EqualsIgnoreCase | Op::Wildcard => list,
            Op::Prefix | Op::PathPrefix => format!("one that starts with {list}"),
            Op::Suffix => format!("one that ends with {list}"),
            Op::Contains => format!("one that contains {list}"),
            Op::Regex => format!("one that matches {list}"),
            Op::Cidr => format!("one in {list}"),
        }
    }
}

fn many<'a>(noun: &str, name: &str, values: impl Iterator<Item = Cow<'a, str>>) -> String {
    let values: Vec<String> = values.map(Cow::into_owned).collect();
    match values.is_empty() {
        true => format!("{noun} `{name}` is absent"),
        false => format!("{noun} `{name}` is {}", listed(&values, "and")),
    }
}

fn listed(values: &[String], join: &str) -> String {
    let named = values.iter().take(NAMED).map(|value| format!("`{value}`"));
    let more = values.len().saturating_sub(NAMED);
    let mut words: Vec<String> = named.collect();
    if more > 0 {
        words.push(format!("{more} more"));
    }
    match words.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, rest)) => format!("{} {join} {last}", rest.join(", ")),
        None => String::new(),
    }
}
