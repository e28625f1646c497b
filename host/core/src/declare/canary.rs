//! Canaries: instances of a new version that are to be tried (`traefik.consulcatalog.canary=true`,
//! from Nomad's `canary_tags`).
//!
//! They have a pool of their own, of Traefik's name. Ours beside it: with
//! `traefik.consulcatalog.canary.weight=5` they take that share of the traffic of the service.

use super::Flaw;
use crate::{name::fold, problem::Severity};

/// An instance that is to be tried.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Canary {
    /// Of a hundred requests for the service, how many go to all its canaries; `None`: only who
    /// names their pool gets there.
    pub percent: Option<u8>,
}

/// Whether tags make an instance a canary, and which of them are wrong. These tags speak of the
/// instance and not of routing, so they are no declarations; whatever their prefix is.
pub fn canary(tags: &[String]) -> (Option<Canary>, Vec<(String, Flaw)>) {
    let (mut is_canary, mut percent, mut flaws) = (false, None, Vec::new());
    for tag in tags {
        let Some((key, value)) = tag.split_once('=') else { continue };
        let (lower, value) = (fold(key.trim()), value.trim());
        let of = |what: &str| {
            ["consulcatalog", "nomad"].iter().any(|source| {
                let rest = lower.strip_suffix(what).and_then(|it| it.strip_suffix(source));
                rest.is_some_and(|prefix| prefix.ends_with('.'))
            })
        };
        if of(".canary") {
            match value.to_ascii_lowercase().as_str() {
                "true" | "1" | "t" => is_canary = true,
                "false" | "0" | "f" => is_canary = false,
                _ => flaws.push(flaw(key, format!("expected `true` or `false`, found `{value}`"))),
            }
        } else if of(".canary.weight") {
            let number = value.trim_end_matches('%').trim_end().parse::<u8>();
            match number.ok().filter(|percent| *percent <= 100) {
                Some(number) => percent = Some(number),
                None => {
                    let message = format!("expected percent, from 0 to 100, found `{value}`");
                    flaws.push(flaw(key, message));
                }
            }
        }
    }
    (is_canary.then_some(Canary { percent }), flaws)
}

fn flaw(key: &str, message: String) -> (String, Flaw) {
    let (severity, pointer) = (Severity::Error, String::new());
    (key.to_owned(), Flaw { severity, pointer, message, hint: None })
}

/// Traefik's name for the pool of a canary: the name of the service and a hash (FNV-1, 64 bits) of
/// its tags, so that instances of one version are together.
pub fn pool(service: &str, tags: &[String]) -> String {
    let mut sorted: Vec<&str> = tags.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let hash = sorted.concat().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
    });
    format!("{service}-{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(tags: &[&str]) -> (Option<Canary>, Vec<String>) {
        let tags: Vec<_> = tags.iter().map(|tag| (*tag).to_owned()).collect();
        let (canary, flaws) = canary(&tags);
        let told = |(key, flaw): (String, Flaw)| format!("{key}: {}", flaw.message);
        (canary, flaws.into_iter().map(told).collect())
    }

    #[test]
    fn tags_make_a_canary() {
        let with = |percent| Some(Canary { percent });
        for (tags, expected) in [
            (&["traefik.consulcatalog.canary=true"][..], with(None)),
            (
                &["traefik.consul-catalog.Canary=TRUE", "traefik.nomad.canary.weight=5"],
                with(Some(5)),
            ),
            (&["edge.nomad.canary=true", "edge.nomad.canary.weight=12 %"], with(Some(12))),
            (&["traefik.consulcatalog.canary=false"], None),
            (&["traefik.consulcatalog.canary.weight=5"], None),
            (&["canary=true", "consulcatalog.canary=true", "x.notnomad.canary=true"], None),
        ] {
            assert_eq!(read(tags), (expected, Vec::new()), "{tags:?}");
        }
        let (canary, flaws) =
            read(&["a.nomad.canary=yes", "a.nomad.canary=true", "a.nomad.canary.weight=101"]);
        assert_eq!(canary, with(None));
        assert_eq!(
            flaws,
            [
                "a.nomad.canary: expected `true` or `false`, found `yes`",
                "a.nomad.canary.weight: expected percent, from 0 to 100, found `101`",
            ]
        );
    }

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
