//! What an instance or a fragment declares, read once, when it comes.

use std::{borrow::Cow, sync::Arc};

use super::{
    Parsed, Registered, Slip,
    records::{self, Named},
};
use crate::{
    declare::{Declared, Flaw, KindSpec, RouterSpec, ServiceSpec, close_strays, read, tree},
    item::{Edge, Fragment, Instance},
    name::fold,
    problem::{Problem, Severity},
};

/// Reads the tags of an instance; what is wrong is placed at the tag that it comes from.
pub(super) fn register(instance: Arc<Instance>) -> Registered {
    let id = instance.id.as_str().into();
    if instance.edge == Edge::Never {
        let (declared, slips) = Default::default();
        return Registered { instance, id, declared, slips };
    }
    let tree = tree(&instance.declares);
    let mut declared = read(&tree.http, "");
    close_strays(&mut declared, &instance.declares, &tree);
    let slip = |tag: Option<Cow<'_, str>>, flaw: &Flaw| Slip {
        tag: tag.map(Cow::into_owned),
        flaw: flaw.clone(),
    };
    let loose = tree.flaws.iter().map(|(tag, flaw)| slip(Some(tag.as_str().into()), flaw));
    let placed = declared.flaws.iter().map(|flaw| slip(tree.origin(&flaw.pointer), flaw));
    let mut slips: Vec<_> = loose.chain(placed).collect();
    declared.services = served(&instance, declared.services);
    for (name, router) in &mut declared.routers {
        if let Some(message) = link(router, &declared.services, instance.canary.is_some()) {
            let message = format!("router `{name}`: {message}");
            let (severity, pointer) = (Severity::Error, String::new());
            let first = declared.services.first();
            let hint =
                first.map(|(first, _)| format!("say which: `http.routers.{name}.service={first}`"));
            slips.push(Slip { tag: None, flaw: Flaw { severity, pointer, message, hint } });
        }
    }
    Registered { instance, id, declared: Arc::new(declared), slips: slips.into() }
}

/// Reads a fragment.
pub(super) fn parse(fragment: Arc<Fragment>) -> Parsed {
    const EXPECTED: &str = "a file of dynamic configuration holds `http` and `dns`";
    const OF_TLS: &str = "certificates, options and the default certificate are written in \
        `config.toml`, under `[tls]`";
    let mut declared = match fragment.config.get("http") {
        Some(http) => read(http, "/http"),
        None => Declared::default(),
    };
    for (key, part) in fragment.config.as_object().into_iter().flatten() {
        if key != "http" && key != "dns" && !part.is_null() {
            declared.flaws.push(Flaw {
                severity: Severity::Warning,
                pointer: format!("/{key}"),
                message: format!("`{key}` is not supported and has no effect"),
                hint: Some(match fold(key).as_str() {
                    "tls" => OF_TLS.to_owned(),
                    _ => EXPECTED.to_owned(),
                }),
            });
        }
    }
    let dns = fragment.config.get("dns").filter(|dns| !dns.is_null());
    let Named { records, datacenters } = match dns {
        Some(dns) => records::read(dns, &mut declared.flaws),
        None => Named::default(),
    };
    Parsed {
        fragment,
        declared: Arc::new(declared),
        records: records.into(),
        datacenters: datacenters.into(),
    }
}

/// A flaw as a problem of a provider.
pub fn problem(provider: &str, origin: String, flaw: &Flaw, path: &str) -> Problem {
    Problem {
        severity: flaw.severity,
        source: provider.to_owned(),
        origin,
        path: path.to_owned(),
        message: flaw.message.clone(),
        hint: flaw.hint.clone(),
    }
}

/// The services that an instance declares, and if it is a backend of none of them, one of its own
/// name. A canary is in a pool of its own, and in the service itself when it gets a part of that's
/// traffic.
fn served(
    instance: &Instance,
    declared: Vec<(Arc<str>, ServiceSpec)>,
) -> Vec<(Arc<str>, ServiceSpec)> {
    if declared.iter().any(|(_, spec)| spec.kind == KindSpec::Backends) {
        return declared;
    }
    let name = service_name(&instance.service);
    let (canary, mut names) = (instance.canary, Vec::new());
    if canary.is_none_or(|canary| canary.percent.is_some()) {
        names.push(name.clone());
    }
    if canary.is_some() {
        names.push(pool(&name, &instance.tags));
    }
    // Services that are made of others are not what the instance is a backend of.
    let own = names.into_iter().map(|name| (name.into(), ServiceSpec::default()));
    own.chain(declared).collect()
}

/// Traefik's name for a service of the catalog: runs of anything but letters and digits become
/// one hyphen.
pub fn service_name(name: &str) -> String {
    let parts = name.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty());
    parts.collect::<Vec<_>>().join("-")
}

/// Traefik's name for the pool of a canary: the name of the service and a hash (FNV-1, 64 bits) of
/// its tags, so that instances of one version are together.
fn pool(service: &str, tags: &[String]) -> String {
    let mut sorted: Vec<&str> = tags.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let hash = sorted.concat().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
    });
    format!("{service}-{hash}")
}

/// A router of an instance goes to the instance's only service unless it names one. Answers what
/// is wrong with that.
fn link(
    router: &mut RouterSpec,
    served: &[(Arc<str>, ServiceSpec)],
    is_canary: bool,
) -> Option<String> {
    let own: Vec<_> = served.iter().filter(|(_, spec)| spec.kind == KindSpec::Backends).collect();
    match (&router.service, own.as_slice()) {
        (Some(_), _) => None,
        (None, [(only, _)]) => {
            router.service = Some(only.to_string());
            None
        }
        // Of a canary the first is the service that it is a canary of.
        (None, [(first, _), ..]) if is_canary => {
            router.service = Some(first.to_string());
            None
        }
        (None, _) => {
            let names: Vec<_> = served.iter().map(|(name, _)| format!("`{name}`")).collect();
            Some(format!("it names no service, and there are {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pool_is_named_after_the_tags_in_any_order() {
        let tags = |all: &[&str]| all.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        let name = pool("web", &tags(&["b", "a"]));
        assert_eq!(name, pool("web", &tags(&["a", "b"])));
        assert_ne!(name, pool("web", &tags(&["a", "c"])));
        // FNV-1 of "a" is af63bd4c8601b7be.
        assert_eq!(pool("web", &tags(&["a"])), format!("web-{}", 0xaf63_bd4c_8601_b7be_u64));
    }
}
