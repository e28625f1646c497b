//! Plugins that refuse what they took, or fail while they read it.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};

use super::{
    Assembler, Inputs, Unsettled,
    tests::{file, inputs},
};
use crate::{
    middleware::{Action, Interest, Middleware, PlanStep},
    moment::Fine,
    name::ObjectName,
    port::{BindError, CallError, FieldError, MiddlewarePlugin},
    snapshot::{Snapshot, Status},
    test_util,
    throttle::{By, Pace, Rate, RateLimit, Sources},
};

/// A version of a plugin that answers as it is told, and notes for which middlewares it was asked.
#[derive(Debug)]
struct Version {
    fingerprint: &'static str,
    error: Mutex<Option<BindError>>,
    asked: Mutex<Vec<String>>,
}

impl Version {
    fn new(fingerprint: &'static str, error: Option<BindError>) -> Arc<Self> {
        Arc::new(Self { fingerprint, error: Mutex::new(error), asked: Mutex::default() })
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

impl MiddlewarePlugin for Version {
    fn name(&self) -> &str {
        "hello"
    }

    fn fingerprint(&self) -> &str {
        self.fingerprint
    }

    fn bind(
        &self,
        label: &str,
        config: &Value,
        _contents: &[Arc<str>],
        _limit: Option<Duration>,
    ) -> Result<Interest, BindError> {
        self.asked.lock().unwrap().push(label.to_owned());
        self.error.lock().unwrap().clone().map_or_else(|| Ok(limited(config)), Err)
    }
}

/// A plan with a limit of so many requests an hour, where that is said.
fn limited(config: &Value) -> Interest {
    let limit = config["average"].as_u64().map(|average| {
        let rate = Rate { average, period: Duration::from_secs(3600), burst: 1 };
        Action::RateLimit(RateLimit::new(rate, Sources { by: By::Host, together: false }))
    });
    let plan = vec![PlanStep { when: None, actions: limit.into_iter().collect() }];
    Interest { plan, ..Interest::default() }
}

fn with(version: &Arc<Version>, middlewares: &Value) -> Inputs {
    let inputs = inputs(vec![file(json!({ "middlewares": middlewares }))]);
    Inputs { middlewares: vec![version.clone()], ..inputs }
}

fn live(snapshot: &Snapshot, name: &str) -> Option<Arc<Middleware>> {
    snapshot.middlewares.get(&ObjectName::new(name, "config"))?.live.clone()
}

fn told(snapshot: &Snapshot) -> Vec<String> {
    let told = snapshot.problems.iter().map(|it| {
        let hint = it.hint.as_deref().unwrap_or("-");
        format!("{:?} {} {}: {hint}", it.severity, it.path, it.message)
    });
    told.collect()
}

fn refusal() -> BindError {
    BindError::Config(vec![FieldError {
        path: "/old".to_owned(),
        message: "unknown key `old`".to_owned(),
        hint: None,
    }])
}

fn deadline() -> BindError {
    BindError::Call(CallError::Deadline { limit: Duration::from_secs(1) })
}

#[test]
fn a_version_that_refuses_what_the_one_before_took_does_not_take_its_place() {
    let mut assembler = Assembler::default();
    let middlewares = json!({ "a": { "hello": { "old": 1 } } });
    let first = assembler.assemble(&with(&Version::new("1", None), &middlewares));
    for (fingerprint, error) in [("2", refusal()), ("3", deadline())] {
        let second = Version::new(fingerprint, Some(error));
        for _ in 0..2 {
            let snapshot = assembler.assemble(&with(&second, &middlewares));
            let both = (live(&first, "a").unwrap(), live(&snapshot, "a").unwrap());
            assert!(Arc::ptr_eq(&both.0, &both.1));
            let name = ObjectName::new("a", "config");
            assert_eq!(snapshot.middlewares.get(&name).unwrap().entry.status, Status::Warning);
            assert!(told(&snapshot)[0].ends_with("the version of the plugin that took it goes on"));
            // Another frame makes everything anew, but nobody is asked twice.
            assembler.assemble(&Inputs { entrypoints: vec![], ..with(&second, &middlewares) });
        }
        assert_eq!(second.asked().len(), 1);
    }
    let third = assembler.assemble(&with(&Version::new("4", None), &middlewares));
    assert_eq!(told(&third), [""; 0]);
    assert!(!Arc::ptr_eq(&live(&first, "a").unwrap(), &live(&third, "a").unwrap()));
}

#[test]
fn what_was_counted_goes_on_with_another_version_and_another_frame() {
    let mut assembler = Assembler::default();
    let passes = |snapshot: &Snapshot| {
        let middleware = live(snapshot, "a").unwrap();
        let Some(Action::RateLimit(limit)) = middleware.interest.actions().next() else {
            panic!("no limit")
        };
        let key = limit.sources.key(&ObjectName::new("r", "config"), &test_util::exchange("GET /"));
        limit.take(key, Fine::from_nanos(1)) == Pace::Now
    };
    let of = |average: u64| json!({ "a": { "hello": { "average": average } } });
    let first = assembler.assemble(&with(&Version::new("1", None), &of(1)));
    assert_eq!([passes(&first), passes(&first)], [true, false]);
    let second = with(&Version::new("2", None), &of(1));
    assert!(!passes(&assembler.assemble(&second)));
    assert!(!passes(&assembler.assemble(&Inputs { entrypoints: vec![], ..second })));
    assert!(passes(&assembler.assemble(&with(&Version::new("2", None), &of(2)))));
}

#[test]
fn what_counts_does_so_once_for_a_request_however_often_it_is_named() {
    let http = json!({
        "middlewares": {
            "counts": { "hello": { "average": 1 } }, "more": { "hello": { "average": 2 } },
            "does": { "hello": {} },
            "all": { "chain": { "middlewares": ["counts", "does", "more"] } },
        },
        "routers": { "r": {
            "rule": "Host(`a`)", "service": "x@y", "middlewares": ["does", "all", "counts"],
        } },
    });
    let mut entrypoints = inputs(vec![]).entrypoints;
    entrypoints[0].middlewares = vec!["more".to_owned()];
    let version = Version::new("1", None);
    let inputs = Inputs { entrypoints, middlewares: vec![version], ..inputs(vec![file(http)]) };
    let snapshot = Assembler::default().assemble(&inputs);
    let router = snapshot.routers.iter().next().unwrap().live.clone().unwrap();
    let met = |entrypoint: &str| {
        let names = router.chain(entrypoint).iter().map(|it| it.name.name.to_string());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(met("web"), "more does counts does");
    assert_eq!(met("websecure"), "does counts does more");
}

#[test]
fn another_configuration_is_not_answered_with_what_the_version_before_made_of_this() {
    let mut assembler = Assembler::default();
    let first = json!({ "a": { "hello": { "old": 1 } } });
    assembler.assemble(&with(&Version::new("1", None), &first));
    let other = json!({ "a": { "hello": { "old": 2 } } });
    let snapshot = assembler.assemble(&with(&Version::new("2", Some(refusal())), &other));
    assert!(live(&snapshot, "a").is_none());
    assert_eq!(
        told(&snapshot),
        ["Error /http/middlewares/a/hello/old middleware `a`: unknown key `old`: -"]
    );
}

#[test]
fn a_plugin_that_takes_too_long_is_asked_once_in_a_turn() {
    let mut assembler = Assembler::default();
    let slow = Version::new("1", Some(deadline()));
    let inputs = with(&slow, &json!({ "a": { "hello": {} }, "b": { "hello": {} } }));
    let first = assembler.assemble(&inputs);
    assert_eq!(slow.asked(), ["a@config"]);
    assert!(told(&first)[1].contains("took too long for `a@config`"), "{:?}", told(&first));
    assert_eq!(assembler.unsettled(), Unsettled::NotAsked);
    assembler.assemble(&inputs);
    assert_eq!(slow.asked(), [""; 0], "not of its own accord");

    assembler.ask_again();
    assembler.assemble(&inputs);
    assert_eq!(slow.asked(), ["b@config"], "who was not asked comes first");
    assert_eq!(assembler.unsettled(), Unsettled::Failed);

    *slow.error.lock().unwrap() = None;
    assembler.ask_again();
    let last = assembler.assemble(&inputs);
    assert_eq!(slow.asked(), ["a@config", "b@config"]);
    assert_eq!((told(&last).len(), assembler.unsettled()), (0, Unsettled::Nothing));
    assert!(live(&last, "a").is_some() && live(&last, "b").is_some());
}
