//! What a predicate demands of host and path, so that a table finds the few routers that can match.
//!
//! **Invariant:** a demand is never too narrow: where it is not open, a request that fits none of
//! its patterns cannot make the predicate true.

use std::{fmt, hash::Hash, ops::BitOr};

use hashbrown::HashSet;

use super::{
    check::host_name,
    field::{Field, Op},
    predicate::{Predicate, Test},
};

/// Above this many pairs a conjunction is not worked out, only narrowed by one of its sides.
const MAX_PAIRS: usize = 4096;

/// Values of which one is needed, unless the demand is open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Demand<P> {
    /// In the order in which the rule names them, each once.
    pub patterns: Vec<P>,
    /// Whether it can be true without any of the patterns.
    pub open: bool,
}

/// The hosts that a predicate demands.
pub type Hosts = Demand<HostPattern>;

/// The paths that a predicate demands.
pub type Paths = Demand<PathPattern>;

/// A host that a rule names.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum HostPattern {
    /// `a.example.com`
    Exact(String),
    /// `example.com`, written `*.example.com`: exactly one label in place of the star.
    Below(String),
}

/// A path that a rule names.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// All that start with this.
    Prefix(String),
}

impl Predicate {
    /// The hosts that it demands: of ``Host(`a`) && Path(`/b`) || Host(`c`)``, `a` and `c`.
    pub fn hosts(&self) -> Hosts {
        demand(self)
    }

    /// The paths that it demands.
    pub fn paths(&self) -> Paths {
        demand(self)
    }

    /// The methods that it lets through.
    pub(crate) fn methods(&self) -> Methods {
        let Demand { patterns, open } = demand::<MethodName>(self);
        let named =
            patterns.iter().fold(Methods(0), |all, MethodName(name)| all | Methods::of(name));
        if open { Methods::ALL } else { named }
    }

    /// Why no request can fulfil it, if none can: it demands two hosts at once, for instance.
    pub(crate) fn contradiction(&self) -> Option<&'static str> {
        fn is_none<P>(demand: &Demand<P>) -> bool {
            !demand.open && demand.patterns.is_empty()
        }
        let hosts = self.hosts();
        if is_none(&hosts) {
            Some("it wants one host and another")
        } else if is_none(&self.paths()) {
            Some("it wants one path and another")
        } else if is_none(&demand::<MethodName>(self)) {
            Some("it wants one method and another")
        } else {
            let refuses = |host: &HostPattern| match host {
                HostPattern::Exact(host) => {
                    matches!(self.assume(&|test| test.decide_host(host)), Self::Never)
                }
                HostPattern::Below(_) => false,
            };
            // With one comparison alone, there is nothing that it could contradict.
            let is_never =
                !hosts.open && self.host_tests() > 1 && hosts.patterns.iter().all(refuses);
            is_never.then_some("it wants a host and refuses it")
        }
    }

    /// How many comparisons there are with a host.
    fn host_tests(&self) -> usize {
        match self {
            Self::Always | Self::Never => 0,
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::host_tests).sum(),
            Self::Not(inner) => inner.host_tests(),
            Self::Test(test) => usize::from(*test.field() == Field::Host),
        }
    }
}

/// A set of methods. All that are not usual are one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Methods(u16);

impl Methods {
    pub(crate) const ALL: Self = Self(u16::MAX);

    /// The set of one method.
    pub(crate) fn of(method: &str) -> Self {
        Self(match method {
            "GET" => 1,
            "HEAD" => 1 << 1,
            "POST" => 1 << 2,
            "PUT" => 1 << 3,
            "DELETE" => 1 << 4,
            "PATCH" => 1 << 5,
            "OPTIONS" => 1 << 6,
            _ => 1 << 7,
        })
    }

    /// Whether both have a method.
    pub(crate) fn meet(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl BitOr for Methods {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// A method that a rule names.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
struct MethodName(String);

impl Pattern for MethodName {
    fn of(test: &Test) -> Option<Vec<Self>> {
        let is_named = (test.field(), test.op()) == (&Field::Method, Op::Equals);
        is_named.then(|| test.values().iter().cloned().map(Self).collect())
    }

    fn meet(&self, other: &Self) -> Option<Self> {
        (self == other).then(|| self.clone())
    }
}

impl Test {
    /// Whether it is true for every request that fits the pattern, as far as can be told.
    pub(crate) fn demands(&self, pattern: &HostPattern) -> bool {
        HostPattern::of(self).is_some_and(|patterns| patterns.contains(pattern))
    }
}

/// A kind of value that can be demanded.
pub(crate) trait Pattern: Clone + Eq + Hash {
    /// The patterns of which a test demands one; `None` where it demands none of this kind.
    fn of(test: &Test) -> Option<Vec<Self>>;

    /// What fits both.
    fn meet(&self, other: &Self) -> Option<Self>;
}

impl Pattern for HostPattern {
    fn of(test: &Test) -> Option<Vec<Self>> {
        let names = test.values().iter().map(|value| host_name(value));
        match (test.field(), test.op()) {
            (Field::Host, Op::Equals | Op::EqualsIgnoreCase) => {
                Some(names.map(Self::Exact).collect())
            }
            (Field::Host, Op::Wildcard) => names
                .map(|name| match name.strip_prefix('*') {
                    Some("") => None,
                    Some(suffix) => {
                        suffix.strip_prefix('.').map(|rest| Self::Below(rest.to_owned()))
                    }
                    None => Some(Self::Exact(name)),
                })
                .collect(),
            _ => None,
        }
    }

    fn meet(&self, other: &Self) -> Option<Self> {
        let is_below = |host: &str, parent: &str| {
            host.split_once('.').is_some_and(|(label, rest)| !label.is_empty() && rest == parent)
        };
        match (self, other) {
            (one, two) if one == two => Some(one.clone()),
            (exact @ Self::Exact(host), Self::Below(parent))
            | (Self::Below(parent), exact @ Self::Exact(host)) => {
                is_below(host, parent).then(|| exact.clone())
            }
            _ => None,
        }
    }
}

impl Pattern for PathPattern {
    fn of(test: &Test) -> Option<Vec<Self>> {
        let paths = test.values().iter().cloned();
        match (test.field(), test.op()) {
            (Field::Path, Op::Equals) => Some(paths.map(Self::Exact).collect()),
            (Field::Path, Op::Prefix | Op::PathPrefix) => Some(paths.map(Self::Prefix).collect()),
            _ => None,
        }
    }

    fn meet(&self, other: &Self) -> Option<Self> {
        match (self, other) {
            (one, two) if one == two => Some(one.clone()),
            (longer @ (Self::Exact(path) | Self::Prefix(path)), Self::Prefix(prefix))
                if path.starts_with(prefix.as_str()) =>
            {
                Some(longer.clone())
            }
            (Self::Prefix(prefix), longer @ (Self::Exact(path) | Self::Prefix(path)))
                if path.starts_with(prefix.as_str()) =>
            {
                Some(longer.clone())
            }
            _ => None,
        }
    }
}

fn demand<P: Pattern>(predicate: &Predicate) -> Demand<P> {
    match predicate {
        Predicate::Always | Predicate::Not(_) => Demand { patterns: Vec::new(), open: true },
        Predicate::Never => Demand { patterns: Vec::new(), open: false },
        Predicate::Test(test) => match P::of(test) {
            Some(patterns) => Demand { patterns: unique(patterns), open: false },
            None => Demand { patterns: Vec::new(), open: true },
        },
        Predicate::Any(branches) => {
            let demands: Vec<Demand<P>> = branches.iter().map(demand).collect();
            let open = demands.iter().any(|demand| demand.open);
            let patterns = demands.into_iter().flat_map(|demand| demand.patterns).collect();
            Demand { patterns: unique(patterns), open }
        }
        Predicate::All(parts) => {
            let whole = Demand { patterns: Vec::new(), open: true };
            parts.iter().map(demand).fold(whole, both)
        }
    }
}

/// `(a || x) && (b || y)` is `a && b || a && y || x && b || x && y`.
fn both<P: Pattern>(one: Demand<P>, two: Demand<P>) -> Demand<P> {
    if one.patterns.len() * two.patterns.len() > MAX_PAIRS {
        return if one.open { two } else { one };
    }
    let mut patterns: Vec<P> = Vec::new();
    for a in &one.patterns {
        patterns.extend(two.patterns.iter().filter_map(|b| a.meet(b)));
    }
    if two.open {
        patterns.extend(one.patterns);
    }
    if one.open {
        patterns.extend(two.patterns);
    }
    Demand { patterns: unique(patterns), open: one.open && two.open }
}

fn unique<P: Pattern>(mut patterns: Vec<P>) -> Vec<P> {
    if patterns.len() > 1 {
        let mut seen = HashSet::with_capacity(patterns.len());
        patterns.retain(|pattern| seen.insert(pattern.clone()));
    }
    patterns
}

impl Hosts {
    /// As DNS and certificates name them: lower case, `*.example.com` for a wildcard, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.patterns.iter().map(ToString::to_string).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Below(parent) => write!(f, "*.{parent}"),
        }
    }
}
