//! Tags that say who is let through, in a place where nobody looks: `http.router.a.middlewares`,
//! `htp.routers.a.middlewares`.
//!
//! They are problems like any other, but the routers that they are about must not go on without
//! them. (Traefik takes nothing of an instance with such a tag.)

use super::{Declared, Flaw, Tree, astray::PROTECTING, schema::ROOT};
use crate::{
    item::Declaration,
    name::{fold, nearest},
    problem::Severity,
};

/// Closes the routers that tags without a place are about: those that a tag names, or all of the
/// instance.
pub fn close_strays(declared: &mut Declared, declarations: &[Declaration], tree: &Tree) {
    for declaration in declarations {
        let keys: Vec<_> = declaration.path.split(['.', '[', ']']).collect();
        if !is_stray(declaration, &keys, tree) {
            continue;
        }
        let is_named = |name: &str| keys.iter().skip(1).any(|key| key.eq_ignore_ascii_case(name));
        let is_any_named = declared.routers.iter().any(|(name, _)| is_named(name));
        for (name, router) in &mut declared.routers {
            router.is_doubtful |= is_named(name) || !is_any_named;
        }
    }
}

/// Whether a tag says who is let through, and has no place in the tree or none that is read.
fn is_stray(declaration: &Declaration, keys: &[&str], tree: &Tree) -> bool {
    let Some((root, keys)) = keys.split_first() else { return false };
    let Some((first, below)) = keys.split_first() else { return false };
    let root = fold(root);
    // Other protocols have routers of their own.
    if matches!(root.as_str(), "tcp" | "udp") {
        return false;
    }
    let is_its =
        |tag: &String, flaw: &Flaw| *tag == declaration.origin && flaw.severity == Severity::Error;
    let has_flaw = || tree.flaws.iter().any(|(tag, flaw)| is_its(tag, flaw));
    let says = |key: &&str| nearest(key, PROTECTING).is_some();
    // Without `http` the name of the router comes next, which may be called anything.
    if nearest(&root, ["routers"]).is_some() {
        return match below {
            [] => says(first),
            said => said.iter().any(says),
        };
    }
    let is = |known: &str| fold(known) == fold(first);
    let is_lost = match ROOT.known.iter().chain(ROOT.foreign).any(|known| is(known)) {
        false => true,
        true => is("routers") && (root != "http" || has_flaw()),
    };
    // Behind the name of the router, where there is one: it may be called anything.
    let below = match below {
        [_, said @ ..] if !said.is_empty() && nearest(first, ["routers"]).is_some() => said,
        all => all,
    };
    is_lost && below.iter().any(says)
}
