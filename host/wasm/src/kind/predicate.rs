//! Predicates of guests: an arena of nodes becomes a tree.
//!
//! **Invariant:** what comes out is no larger than `matcher.wit` allows, even where nodes are used
//! more than once: an arena of 64 nodes can mean a tree of 2^64.

use http::HeaderName;
use portolan_core::rule::{Field, Op, Predicate, Test};

use crate::bindings::predicate as wit;

/// Why there is no predicate. One sentence in lower case, without a full stop.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// A guest that knows this host does not say such a thing.
    Nonsense(String),
    /// This regular expression does not compile. Guests leave that to us, so where it is what they were given
    /// it is not their mistake.
    Regex {
        /// The expression.
        value: String,
        /// What is wrong with it.
        message: String,
    },
}

impl From<String> for Fault {
    fn from(message: String) -> Self {
        Self::Nonsense(message)
    }
}

impl Fault {
    pub(super) fn into_message(self) -> String {
        match self {
            Self::Nonsense(message) | Self::Regex { message, .. } => message,
        }
    }
}

/// The predicate that an arena means, or what is wrong with it.
pub(super) fn predicate(arena: wit::Predicate) -> Result<Predicate, Fault> {
    if arena.nodes.len() > MAX_NODES {
        return Err(format!("the predicate has more than {MAX_NODES} nodes").into());
    }
    let sizes = measure(&arena.nodes)?;
    let root = arena.root as usize;
    let Some(size) = sizes.get(root) else {
        return Err(format!("the predicate begins at node {root}, which is not there").into());
    };
    size.check()?;
    build(&arena.nodes, root).map(Predicate::simplify)
}

/// How large the tree below a node is.
#[derive(Clone, Copy, Default)]
struct Size {
    nodes: usize,
    depth: usize,
    values: usize,
    bytes: usize,
}

impl Size {
    fn add(&mut self, below: &Self) {
        self.nodes = self.nodes.saturating_add(below.nodes);
        self.depth = self.depth.max(below.depth + 1);
        self.values = self.values.saturating_add(below.values);
        self.bytes = self.bytes.saturating_add(below.bytes);
    }

    fn check(&self) -> Result<(), String> {
        let too_much =
            |what: &str, most: usize| Err(format!("the predicate has more than {most} {what}"));
        match self {
            size if size.nodes > MAX_NODES => too_much("nodes", MAX_NODES),
            size if size.depth > MAX_DEPTH => too_much("levels", MAX_DEPTH),
            size if size.values > MAX_VALUES => too_much("values", MAX_VALUES),
            size if size.bytes > MAX_BYTES => too_much("bytes of text", MAX_BYTES),
            _ => Ok(()),
        }
    }
}

/// The sizes of all trees: one pass, since children stand before their parents.
fn measure(nodes: &[wit::Node]) -> Result<Vec<Size>, String> {
    let mut sizes: Vec<Size> = Vec::with_capacity(nodes.len());
    for (place, node) in nodes.iter().enumerate() {
        let mut size = Size { nodes: 1, depth: 1, ..Size::default() };
        if let wit::Node::Test(test) = node {
            size.values = test.values.len();
            size.bytes = test.values.iter().map(String::len).sum();
        }
        for child in children(node) {
            let below = sizes.get(*child as usize).ok_or_else(|| {
                format!("node {place} of the predicate refers to node {child}, not before it")
            })?;
            size.add(below);
        }
        sizes.push(size);
    }
    Ok(sizes)
}

fn children(node: &wit::Node) -> &[u32] {
    match node {
        wit::Node::All(children) | wit::Node::Any(children) => children,
        wit::Node::Not(child) => std::slice::from_ref(child),
        wit::Node::Always | wit::Node::Never | wit::Node::Test(_) => &[],
    }
}

/// The tree below a node. It has been measured, so this ends soon.
fn build(nodes: &[wit::Node], place: usize) -> Result<Predicate, Fault> {
    let each = |children: &[u32]| -> Result<Vec<Predicate>, Fault> {
        children.iter().map(|child| build(nodes, *child as usize)).collect()
    };
    match nodes.get(place) {
        None | Some(wit::Node::Never) => Ok(Predicate::Never),
        Some(wit::Node::Always) => Ok(Predicate::Always),
        Some(wit::Node::All(children)) => each(children).map(Predicate::All),
        Some(wit::Node::Any(children)) => each(children).map(Predicate::Any),
        Some(wit::Node::Not(child)) => Ok(Predicate::Not(Box::new(build(nodes, *child as usize)?))),
        Some(wit::Node::Test(test)) => {
            let field = field(&test.field)?;
            let made = Test::new(field.clone(), op(test.op), test.values.clone());
            made.map(Predicate::Test).map_err(|message| fault(&field, test, message))
        }
    }
}

/// What is wrong with a test that cannot be made.
fn fault(field: &Field, test: &wit::Test, message: String) -> Fault {
    let is_bad = |value: &&String| {
        op(test.op) == Op::Regex
            && Test::new(field.clone(), Op::Regex, vec![(*value).clone()]).is_err()
    };
    match test.values.iter().find(is_bad) {
        Some(value) => Fault::Regex { value: value.clone(), message },
        None => Fault::Nonsense(message),
    }
}

pub(super) fn field(field: &wit::Field) -> Result<Field, String> {
    Ok(match field {
        wit::Field::Method => Field::Method,
        wit::Field::Scheme => Field::Scheme,
        wit::Field::Host => Field::Host,
        wit::Field::Path => Field::Path,
        wit::Field::Query(name) => Field::Query(name.clone()),
        wit::Field::Header(name) => {
            Field::Header(HeaderName::from_bytes(name.as_bytes()).map_err(|_invalid| {
                format!("`{}` is not the name of a header", name.escape_debug())
            })?)
        }
        wit::Field::Cookie(name) => Field::Cookie(name.clone()),
        wit::Field::ClientIp => Field::ClientIp,
        wit::Field::Sni => Field::Sni,
        wit::Field::Entrypoint => Field::Entrypoint,
        wit::Field::Other(name) => match name.strip_prefix("client-ip;") {
            Some(strategy) => Field::Client(strategy.parse()?),
            None => {
                let name = name.escape_debug();
                return Err(format!("this host does not know the field `{name}`"));
            }
        },
    })
}

fn op(op: wit::Op) -> Op {
    match op {
        wit::Op::Exists => Op::Exists,
        wit::Op::Equals => Op::Equals,
        wit::Op::EqualsIgnoreCase => Op::EqualsIgnoreCase,
        wit::Op::Prefix => Op::Prefix,
        wit::Op::PathPrefix => Op::PathPrefix,
        wit::Op::Suffix => Op::Suffix,
        wit::Op::Contains => Op::Contains,
        wit::Op::Wildcard => Op::Wildcard,
        wit::Op::Regex => Op::Regex,
        wit::Op::Cidr => Op::Cidr,
    }
}

/// As `matcher.wit` says.
const MAX_NODES: usize = 4096;
const MAX_DEPTH: usize = 64;
const MAX_VALUES: usize = 10_000;
const MAX_BYTES: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn test(field: wit::Field, op: wit::Op, values: &[&str]) -> wit::Node {
        let values = values.iter().map(|value| (*value).to_owned()).collect();
        wit::Node::Test(wit::Test { field, op, values })
    }

    fn of(nodes: Vec<wit::Node>, root: u32) -> Result<Predicate, String> {
        predicate(wit::Predicate { nodes, root }).map_err(Fault::into_message)
    }

    #[test]
    fn a_regular_expression_that_does_not_compile_is_told_from_nonsense() {
        let of = |field, op, values: &[&str]| {
            let nodes = vec![test(field, op, values)];
            predicate(wit::Predicate { nodes, root: 0 }).unwrap_err()
        };
        let fault = of(wit::Field::Path, wit::Op::Regex, &["a", "("]);
        assert!(matches!(&fault, Fault::Regex { value, .. } if value == "("), "{fault:?}");
        let fault = of(wit::Field::Path, wit::Op::Cidr, &["::/0"]);
        assert!(matches!(fault, Fault::Nonsense(_)), "{fault:?}");
    }

    #[test]
    fn an_arena_becomes_a_tree() {
        let host = test(wit::Field::Host, wit::Op::Equals, &["a"]);
        let path = test(wit::Field::Path, wit::Op::PathPrefix, &["/b"]);
        let found = of(vec![host, path, wit::Node::Not(1), wit::Node::All(vec![0, 2])], 3);
        let Ok(Predicate::All(parts)) = found else { panic!("not a list: {found:?}") };
        assert!(matches!(&parts[..], [Predicate::Test(_), Predicate::Not(_)]));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let refused = |nodes, root| of(nodes, root).expect_err("must be refused");
        assert!(refused(vec![], 0).contains("not there"));
        assert!(refused(vec![wit::Node::Not(0)], 0).contains("not before it"));
        assert!(refused(vec![wit::Node::Not(1), wit::Node::Always], 0).contains("not before it"));
        assert!(refused(vec![wit::Node::Always; 5000], 0).contains("4096 nodes"));
        let other = test(wit::Field::Other("weather".into()), wit::Op::Exists, &[]);
        assert!(refused(vec![other], 0).contains("`weather`"));
        let header = test(wit::Field::Header("a b".into()), wit::Op::Exists, &[]);
        assert!(refused(vec![header], 0).contains("`a b`"));
        refused(vec![test(wit::Field::Path, wit::Op::Regex, &["("])], 0);
        refused(vec![test(wit::Field::Path, wit::Op::Cidr, &["::/0"])], 0);
    }

    #[test]
    fn small_arenas_of_large_trees_are_refused() {
        let mut nodes = vec![test(wit::Field::Host, wit::Op::Equals, &["a"])];
        for place in 0..60 {
            nodes.push(wit::Node::All(vec![place, place]));
        }
        assert!(of(nodes, 60).expect_err("must be refused").contains("nodes"));
        let chain = |links: u32| {
            let nots = (0..links).map(wit::Node::Not);
            std::iter::once(test(wit::Field::Host, wit::Op::Equals, &["a"])).chain(nots).collect()
        };
        assert!(of(chain(80), 80).expect_err("must be refused").contains("levels"));
        assert!(of(chain(60), 60).is_ok());
    }
}
