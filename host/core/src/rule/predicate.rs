//! What matchers compile to: a tree that is checked once and evaluated natively.
//!
//! **Invariant:** a [`Test`] that exists was checked: its patterns compile, and its comparison
//! makes sense for its field.

use std::{
    fmt,
    hash::{Hash, Hasher},
    sync::Arc,
};

use super::{
    check::{Check, canonical},
    field::{Field, Op},
};

/// A comparison, checked and compiled. Cloning it shares it.
#[derive(Clone)]
pub struct Test(Arc<Inner>);

struct Inner {
    field: Field,
    op: Op,
    values: Vec<String>,
    check: Check,
}

/// A condition on a request.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Predicate {
    /// True.
    Always,
    /// False.
    Never,
    /// All of them; of none: true.
    All(Vec<Self>),
    /// Any of them; of none: false.
    Any(Vec<Self>),
    /// The opposite.
    Not(Box<Self>),
    /// A comparison.
    Test(Test),
}

impl Test {
    /// Checks and compiles a comparison. The error is one sentence in lower case, without a full
    /// stop.
    pub fn new(field: Field, op: Op, values: Vec<String>) -> Result<Self, String> {
        let check = Check::compile(&field, op, &values)?;
        Ok(Self(Arc::new(Inner { field, op, values, check })))
    }

    /// What is looked at.
    pub fn field(&self) -> &Field {
        &self.0.field
    }

    /// How it is compared.
    pub fn op(&self) -> Op {
        self.0.op
    }

    /// With what, as it was given.
    pub fn values(&self) -> &[String] {
        &self.0.values
    }

    /// Whether each of its values is one for which the other is true, as far as can be told.
    fn implies(&self, other: &Self) -> bool {
        // A query parameter or header of several values makes both true, each with one of them.
        let is_value = |op: Op| matches!(op, Op::Equals);
        let is_head = |op: Op| matches!(op, Op::Equals | Op::Prefix | Op::PathPrefix);
        let is_longer =
            is_head(self.op()) && other.op() == Op::Prefix && *self.field() == Field::Path;
        self.field() == other.field()
            && !matches!(self.field(), Field::ClientIp | Field::Client(_))
            && (is_value(self.op()) || is_longer)
            && !self.values().is_empty()
            && self
                .values()
                .iter()
                .all(|value| other.check().accepts(&canonical(self.field(), value)))
    }

    pub(super) fn check(&self) -> &Check {
        &self.0.check
    }
}

impl fmt::Debug for Test {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {:?} {:?}", self.field(), self.op(), self.values())
    }
}

impl PartialEq for Test {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.field() == other.field()
                && self.op() == other.op()
                && self.values() == other.values())
    }
}

impl Eq for Test {}

impl Hash for Test {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.field(), self.op(), self.values()).hash(state);
    }
}

impl Predicate {
    /// The same condition, smaller: constants folded, nested lists and double negations
    /// flattened.
    #[must_use]
    pub fn simplify(self) -> Self {
        match self {
            Self::All(parts) => join(parts.into_iter().map(Self::simplify), &ALL),
            Self::Any(branches) => join(branches.into_iter().map(Self::simplify), &ANY),
            Self::Not(inner) => match inner.simplify() {
                Self::Always => Self::Never,
                Self::Never => Self::Always,
                Self::Not(inner) => *inner,
                inner => Self::Not(Box::new(inner)),
            },
            Self::Test(test) if test.check().is_always() => Self::Always,
            leaf => leaf,
        }
    }

    /// The same condition with some of its tests decided.
    #[must_use]
    pub(crate) fn assume(&self, decide: &impl Fn(&Test) -> Option<bool>) -> Self {
        match self {
            Self::Always | Self::Never => self.clone(),
            Self::Not(inner) => Self::Not(Box::new(inner.assume(decide))).simplify(),
            Self::Test(test) => match decide(test) {
                Some(true) => Self::Always,
                Some(false) => Self::Never,
                None => self.clone(),
            },
            Self::All(parts) => join(parts.iter().map(|part| part.assume(decide)), &ALL),
            Self::Any(branches) => join(branches.iter().map(|part| part.assume(decide)), &ANY),
        }
    }

    /// Whether whatever makes it true was compared with something in this field.
    pub(crate) fn demands(&self, field: &Field) -> bool {
        match self {
            Self::Always | Self::Not(_) => false,
            Self::Never => true,
            Self::All(parts) => parts.iter().any(|part| part.demands(field)),
            Self::Any(branches) => branches.iter().all(|branch| branch.demands(field)),
            Self::Test(test) => test.field() == field,
        }
    }

    /// Whether it is certain that whatever makes this true makes the other true as well. `false`
    /// says nothing.
    pub(crate) fn implies(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Never, _) | (_, Self::Always) => true,
            (one, other) if one == other => true,
            (Self::Any(branches), other) => branches.iter().all(|branch| branch.implies(other)),
            (one, Self::All(parts)) => parts.iter().all(|part| one.implies(part)),
            (one, Self::Any(branches)) if branches.iter().any(|branch| one.implies(branch)) => true,
            (Self::All(parts), other) => parts.iter().any(|part| part.implies(other)),
            (Self::Test(one), Self::Test(other)) => one.implies(other),
            _ => false,
        }
    }

    /// How many comparisons it has.
    pub fn tests(&self) -> usize {
        match self {
            Self::Always | Self::Never => 0,
            Self::All(parts) | Self::Any(parts) => parts.iter().map(Self::tests).sum(),
            Self::Not(inner) => inner.tests(),
            Self::Test(_) => 1,
        }
    }
}

/// A way to join conditions.
struct Join {
    /// Changes nothing.
    neutral: Predicate,
    /// Decides all.
    ruling: Predicate,
    make: fn(Vec<Predicate>) -> Predicate,
}

const ALL: Join =
    Join { neutral: Predicate::Always, ruling: Predicate::Never, make: Predicate::All };

const ANY: Join =
    Join { neutral: Predicate::Never, ruling: Predicate::Always, make: Predicate::Any };

/// Joins parts that are simple; ends at the first that decides all.
fn join(parts: impl Iterator<Item = Predicate>, how: &Join) -> Predicate {
    let same = std::mem::discriminant(&(how.make)(Vec::new()));
    let mut kept = Vec::new();
    for part in parts {
        let is_same = std::mem::discriminant(&part) == same;
        match part {
            Predicate::All(inner) | Predicate::Any(inner) if is_same => kept.extend(inner),
            part if part == how.ruling => return part,
            part if part == how.neutral => {}
            part => kept.push(part),
        }
    }
    match kept.len() {
        0 => how.neutral.clone(),
        1 => kept.remove(0),
        _ => (how.make)(kept),
    }
}
