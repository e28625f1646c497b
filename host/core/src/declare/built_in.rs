//! Options of middlewares that are no plugins.

use serde_json::Value;

use super::{
    Flaw,
    reader::{Keys, Reader},
};

const CHAIN: Keys = Keys { known: &["middlewares"], foreign: &[] };

/// What a chain stands for (Traefik's `chain`).
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct ChainSpec {
    /// The middlewares, outermost first, perhaps with `@provider`. None: it has no effect, as in Traefik.
    pub members: Vec<String>,
    /// JSON Pointer to their list, below the options.
    pub pointer: String,
}

/// Reads the options of a chain. A flaw costs all of it: part of a chain protects less than was meant.
pub fn chain(options: &Value) -> Result<ChainSpec, Vec<Flaw>> {
    let (mut spec, mut flaws) = (ChainSpec::default(), Vec::new());
    for (_, list) in Reader::root(options, "").fields(&CHAIN, &mut flaws) {
        spec.members = list.list(&mut flaws);
        spec.pointer = list.pointer;
    }
    if flaws.is_empty() { Ok(spec) } else { Err(flaws) }
}
