//! Tags that say who is let through, in a place where nobody looks: `http.router.a.middlewares`.
//!
//! They are problems like any other, but the routers that they are about must not go on without
//! them. (Traefik takes nothing of an instance with such a tag.)

use super::{
    Declared, Tree,
    schema::{PROTECTING, ROOT},
};
use crate::{item::Declaration, name::fold};

/// Closes the routers that tags without a place are about: those that a tag names, or all of the
/// instance.
pub fn close_strays(declared: &mut Declared, declarations: &[Declaration], tree: &Tree) {
    for declaration in declarations {
        let keys: Vec<_> = declaration.path.split(['.', '[', ']']).skip(1).collect();
        if !is_stray(declaration, &keys, tree) {
            continue;
        }
        let is_named = |name: &str| keys.iter().any(|key| key.eq_ignore_ascii_case(name));
        let is_any_named = declared.routers.iter().any(|(name, _)| is_named(name));
        for (name, router) in &mut declared.routers {
            router.is_doubtful |= is_named(name) || !is_any_named;
        }
    }
}

/// Whether a tag says who is let through, and has no place in the tree or none that is read.
fn is_stray(declaration: &Declaration, keys: &[&str], tree: &Tree) -> bool {
    let Some((first, below)) = keys.split_first() else { return false };
    let is = |known: &str| fold(known) == fold(first);
    let is_lost = match ROOT.known.iter().chain(ROOT.foreign).any(|known| is(known)) {
        false => true,
        true => is("routers") && tree.flaws.iter().any(|(tag, _)| *tag == declaration.origin),
    };
    is_lost && below.iter().any(|key| PROTECTING.iter().any(|known| fold(known) == fold(key)))
}
