//! What is said where instances declare one object otherwise.

use super::{
    Assembler,
    tests::{consul, inputs, instance},
};
use crate::item::{Canary, Instance};

const RULE: (&str, &str) = ("http.routers.shop.rule", "Host(`shop.local`)");
const OTHER: (&str, &str) = ("http.routers.shop.rule", "Host(`other.local`)");

fn problems(instances: Vec<Instance>) -> Vec<String> {
    let snapshot = Assembler::default().assemble(&inputs(vec![consul(instances)]));
    let told = snapshot.problems.iter();
    told.map(|it| format!("{}: {} ({})", it.origin, it.message, it.hint.as_deref().unwrap_or("")))
        .collect()
}

fn canary(instance: Instance) -> Instance {
    Instance { canary: Some(Canary::default()), ..instance }
}

#[test]
fn an_ordinary_canary_is_no_disagreement() {
    let old = instance("old", 1, &[RULE]);
    let new = canary(instance("new", 2, &[RULE]));
    assert_eq!(problems(vec![old.clone(), new.clone()]), [] as [&str; 0]);
    // While nobody else is in use the canary's router is the one that counts.
    let down = Instance { health: crate::item::Health::Critical, ..old };
    assert_eq!(problems(vec![down, new]), [] as [&str; 0]);
}

#[test]
fn what_a_canary_declares_otherwise_is_told_as_such() {
    let new = canary(instance("new", 2, &[OTHER]));
    assert_eq!(
        problems(vec![instance("old", 1, &[RULE]), new]),
        [
            "router `shop`: canaries declare `rule` otherwise (`new`), which has no effect beside `old` \
          (a canary may declare a router of another name)"
        ]
    );
}

#[test]
fn a_router_that_two_services_declare_is_told_with_both() {
    let other = Instance { service: "blog".to_owned(), ..instance("new", 2, &[OTHER]) };
    assert_eq!(
        problems(vec![instance("old", 1, &[RULE]), other]),
        [
            "router `shop`: instances of `blog` and `my_shop` give one name to two things: `new` is the \
          newest in use and wins; what `old` declare otherwise (`rule`, `service`) has no effect \
          (a name stands for one thing: give each service one of its own)"
        ]
    );
}

#[test]
fn spelling_is_no_disagreement_and_options_are_named() {
    let old = instance("old", 1, &[("http.middlewares.m.hello.a", "1")]);
    let spelt = instance("new", 2, &[("http.middlewares.M.Hello.a", "1")]);
    assert_eq!(problems(vec![old.clone(), spelt]), [] as [&str; 0]);
    let other = instance("new", 2, &[("http.middlewares.m.hello.a", "2")]);
    let told = problems(vec![old, other]);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].starts_with("middleware `m`: instances disagree: `new`"), "{told:?}");
    assert!(told[0].contains("declare otherwise (`options`)"), "{told:?}");
}
