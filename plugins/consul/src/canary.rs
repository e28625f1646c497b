//! The router that a canary gets by itself.
//!
//! As in Traefik it is called after the canary's pool, so that a service whose own router has another
//! rule does not stand in its way: where the router `shop` has a rule for `shop.example`, a canary that
//! says no more than that it is one is reached by the default rule.

use std::collections::BTreeSet;

use portolan_plugin::Instance;

use crate::tags::normalize;

/// The name of the pool of a canary: that of its service, and a hash (FNV-1, 64 bits) of its tags, so
/// that instances of one version are together. The host calls the service of the pool the same.
pub(crate) fn pool(service: &str, tags: &[String]) -> String {
    let mut sorted: Vec<&str> = tags.iter().map(String::as_str).collect();
    sorted.sort_unstable();
    let hash = sorted.concat().bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        hash.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
    });
    format!("{}-{hash}", normalize(service))
}

/// Gives the own routers of canaries the name of their service's where that one has the same rule. Of
/// two such routers one would never get a request (in Traefik it is a matter of chance which); as one
/// router it belongs to the canary when nobody else is in use. Whoever gives the service's a priority
/// has said which of the two comes first.
pub(crate) fn join(instances: &mut [Instance]) {
    if !instances.iter().any(is_canary) {
        return;
    }
    let trusted = instances.iter().filter(|instance| !is_canary(instance));
    let rules: BTreeSet<String> = trusted.filter_map(rule_of_service).collect();
    for instance in instances.iter_mut().filter(|instance| is_canary(instance)) {
        let own = rule_path(&pool(&instance.service, &instance.tags));
        let joined = rule_path(&normalize(&instance.service));
        let mut declares = instance.declares.iter_mut();
        if let Some(rule) = declares.find(|it| it.path == own && rules.contains(&it.value)) {
            rule.path = joined;
        }
    }
}

fn is_canary(instance: &Instance) -> bool {
    instance.extra.iter().any(|pair| pair.key == "canary")
}

fn rule_path(router: &str) -> String {
    format!("http.routers.{router}.rule")
}

/// The rule of the router that is called as the service is, if that has no priority.
fn rule_of_service(instance: &Instance) -> Option<String> {
    let router = format!("http.routers.{}.", normalize(&instance.service));
    let said = |key: &str| {
        instance.declares.iter().find(|declaration| {
            let (path, length) = (&declaration.path, router.len());
            path.split_at_checked(length).is_some_and(|(head, last)| {
                head.eq_ignore_ascii_case(&router) && last.eq_ignore_ascii_case(key)
            })
        })
    };
    if said("priority").is_some() {
        return None;
    }
    said("rule").map(|rule| rule.value.clone())
}

#[cfg(test)]
mod tests {
    use portolan_plugin::Pair;

    use super::*;
    use crate::{config::Config, policy::Policy, tags::tests::instance as untagged};

    /// A stable instance with these tags and a canary with those, judged: what the canary's router
    /// is, if it has one.
    fn router(stable: &[&str], canary: &[&str]) -> String {
        let mut invalid = portolan_plugin::Invalid::none();
        let policy = Policy::new(&Config::default(), &mut invalid);
        let mut instances = [untagged("shop", stable), untagged("shop", canary)];
        instances.iter_mut().for_each(|it| drop(policy.judge(it)));
        assert_eq!(instances[1].extra, [Pair::new("canary", "true")]);
        join(&mut instances);
        let said = instances[1].declares.iter().map(|it| format!("{} = {}", it.path, it.value));
        said.collect::<Vec<_>>().join("\n")
    }

    const ENABLE: &str = "traefik.enable=true";
    const CANARY: &str = "traefik.consulcatalog.canary=true";

    #[test]
    fn a_pool_is_named_after_the_tags_in_any_order() {
        let tags = |all: &[&str]| all.iter().map(|tag| (*tag).to_owned()).collect::<Vec<_>>();
        assert_eq!(pool("web", &tags(&["b", "a"])), pool("web", &tags(&["a", "b"])));
        // FNV-1 of "a" is af63bd4c8601b7be.
        assert_eq!(pool("my_web", &tags(&["a"])), format!("my-web-{}", 0xaf63_bd4c_8601_b7be_u64));
    }

    #[test]
    fn the_own_router_of_a_canary_is_called_after_its_pool() {
        let tags = [ENABLE.to_owned(), CANARY.to_owned()];
        let expected = format!("http.routers.{}.rule = Host(`shop`)", pool("shop", &tags));
        for stable in [
            &[][..],
            &["traefik.enable=false"],
            &["traefik.http.routers.shop.rule=Host(`shop.x`)"],
            &["traefik.http.routers.other.rule=Host(`shop`)"],
            &[ENABLE, "traefik.http.routers.shop.priority=1"],
        ] {
            assert_eq!(router(stable, &[ENABLE, CANARY]), expected, "{stable:?}");
        }
    }

    #[test]
    fn the_same_rule_makes_one_router_of_two() {
        let joined = "http.routers.shop.rule = Host(`shop`)";
        for stable in [
            &[ENABLE][..],
            &["traefik.http.routers.Shop.Rule=Host(`shop`)"],
            &["traefik.http.routers.shop.middlewares=auth"],
        ] {
            assert_eq!(router(stable, &[ENABLE, CANARY]), joined, "{stable:?}");
        }
    }

    #[test]
    fn a_router_that_a_canary_names_keeps_its_name() {
        let rule = "traefik.http.routers.shop.rule=Host(`new.x`)";
        let expected = "http.routers.shop.rule = Host(`new.x`)";
        assert_eq!(router(&[ENABLE], &[CANARY, rule]), expected);
    }
}
