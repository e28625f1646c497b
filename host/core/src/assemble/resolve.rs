//! What a reference such as `auth@file` means.
//!
//! Without `@` it is looked for at its own provider, then in `config.toml`. The names that Traefik
//! gives its providers are understood, so that tags written for it work unchanged.

use std::collections::HashMap;

use crate::{
    catalog::Source,
    name::{ObjectName, fold, nearest},
};

/// The provider name of `config.toml`.
pub const CONFIG: &str = "config";

/// Names of the objects of one kind: the provider, the name in lower case, the place.
pub(super) type Names<'a> = HashMap<(&'a str, String), usize>;

/// All that references can mean.
pub(super) struct Catalogued<'a> {
    pub(super) services: Names<'a>,
    pub(super) middlewares: Names<'a>,
    pub(super) transports: Names<'a>,
    /// Providers, and the plugin that each is a use of.
    pub(super) providers: Vec<(&'a str, &'a str)>,
}

/// Names with their places, in the order of the entries.
pub(super) fn names<'a>(entries: impl Iterator<Item = &'a ObjectName>) -> Names<'a> {
    entries
        .enumerate()
        .map(|(place, name)| ((&*name.provider, name.name.to_ascii_lowercase()), place))
        .collect()
}

/// Providers, and the plugin that each is a use of.
pub(super) fn providers<'a>(sources: impl Iterator<Item = &'a Source>) -> Vec<(&'a str, &'a str)> {
    sources.map(|source| (&*source.provider, &*source.plugin)).collect()
}

/// The place of what a reference means; else the name that was looked for, and what to do.
pub(super) fn resolve(
    reference: &str,
    from: &ObjectName,
    catalogued: &Catalogued<'_>,
    names: &Names<'_>,
) -> Result<usize, (ObjectName, Option<String>)> {
    let (name, provider) = match reference.split_once('@') {
        Some((name, provider)) => (name, Some(provider)),
        None => (reference, None),
    };
    let candidates = match provider {
        None => vec![&*from.provider, CONFIG],
        Some(provider) => meant(provider, catalogued),
    };
    let lower = name.to_ascii_lowercase();
    let place = candidates.iter().find_map(|provider| names.get(&(*provider, lower.clone())));
    if let Some(place) = place {
        return Ok(*place);
    }
    let looked = ObjectName::new(name, provider.unwrap_or(&from.provider));
    Err((looked, hint(name, provider, &candidates, catalogued, names)))
}

/// The providers that a name of a provider means.
fn meant<'a>(provider: &'a str, catalogued: &Catalogued<'a>) -> Vec<&'a str> {
    if catalogued.providers.iter().any(|(name, _)| *name == provider) {
        return vec![provider];
    }
    let plugin = match fold(provider).as_str() {
        "consulcatalog" => "consul".to_owned(),
        other => other.to_owned(),
    };
    let uses = catalogued.providers.iter().filter(|(_, of)| fold(of) == plugin);
    let mut meant: Vec<_> = uses.map(|(name, _)| *name).collect();
    if plugin == "file" {
        meant.push(CONFIG);
    }
    meant
}

fn hint(
    name: &str,
    provider: Option<&str>,
    candidates: &[&str],
    catalogued: &Catalogued<'_>,
    names: &Names<'_>,
) -> Option<String> {
    if provider == Some("internal") {
        return Some("Traefik's internal services have no place here: see `[admin]`".to_owned());
    }
    if candidates.is_empty() {
        let known: Vec<_> = catalogued.providers.iter().map(|(name, _)| *name).collect();
        return Some(format!("the providers are `{}`", known.join("`, `")));
    }
    let lower = name.to_ascii_lowercase();
    let elsewhere = names.keys().filter(|(_, known)| *known == lower).min();
    if let Some((provider, _)) = elsewhere {
        return Some(format!("provider `{provider}` has one: write `{name}@{provider}`"));
    }
    let mut near: Vec<_> = names
        .keys()
        .filter(|(provider, _)| candidates.contains(provider))
        .map(|(_, known)| known.as_str())
        .collect();
    near.sort_unstable();
    nearest(name, near).map(|near| format!("did you mean `{near}`?"))
}
