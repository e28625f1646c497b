//! `[dns.rewrite]`: names and addresses in the place of names that are asked.

use std::net::IpAddr;

use portolan_core::zone::Name;
use portolan_net::dns::{Rewrite, Rewrites};
use toml::Spanned;

use super::forward::{self, Places};
use crate::config::{
    read::{Named, OneOrMany, Reading},
    report::Finding,
};

/// A name or addresses, by the name that is asked.
pub(super) type Rules = Named<OneOrMany<Spanned<String>>>;

/// What `[dns.rewrite]` says. A rule that is wrong costs itself.
pub(super) fn rewrites(rules: Rules, ttl: u32, reading: &mut Reading<'_>) -> Rewrites {
    let mut rewrites = Rewrites::new(ttl);
    let mut places = Places::default();
    for (pattern, to) in rules.0 {
        let is_below = pattern.get_ref().starts_with("*.");
        let Some(name) = forward::name(&pattern, reading) else { continue };
        if !places.note((name.clone(), is_below), pattern.span(), reading) {
            continue;
        }
        let Some(rewrite) = rewrite(&pattern, is_below, to.0, reading) else { continue };
        if leads_nowhere(&name, is_below, &rewrite) {
            let finding = Finding::error(pattern.span(), "this rule leads back to its own name");
            reading.add(finding);
            continue;
        }
        match is_below {
            true => rewrites.below(&name, rewrite),
            false => rewrites.exactly(&name, rewrite),
        }
    }
    rewrites
}

fn rewrite(
    pattern: &Spanned<String>,
    is_below: bool,
    to: Vec<Spanned<String>>,
    reading: &mut Reading<'_>,
) -> Option<Rewrite> {
    let addresses: Vec<IpAddr> = to.iter().filter_map(|it| it.get_ref().parse().ok()).collect();
    if !to.is_empty() && addresses.len() == to.len() {
        return Some(Rewrite::Addresses(addresses));
    }
    let [target] = &to[..] else {
        let message = "this must be one name, or addresses";
        let place = to.first().map_or_else(|| pattern.span(), Spanned::span);
        reading.add(Finding::error(place, message));
        return None;
    };
    if !target.get_ref().starts_with("*.") {
        return forward::name(target, reading).map(Rewrite::Name);
    }
    if !is_below {
        let finding = Finding::error(target.span(), "there is nothing that this `*` stands for");
        reading.add(finding.also(pattern.span(), "only a rule that begins with `*.` has it"));
        return None;
    }
    forward::name(target, reading).map(Rewrite::Below)
}

/// Whether a name that a rule makes would be the one that it was made from.
fn leads_nowhere(name: &Name, is_below: bool, rewrite: &Rewrite) -> bool {
    match rewrite {
        Rewrite::Name(target) => !is_below && target == name,
        Rewrite::Below(target) => target == name,
        Rewrite::Addresses(_) => false,
    }
}
