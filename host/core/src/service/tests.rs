//! Budgets, breakers, queues, and services made of services.

use std::collections::HashSet;

use super::*;
use crate::{
    exchange::Headers,
    item::Health,
    moment::Moment,
    policy::{Breaker, Passive, Retry, Statuses, Sticky},
};

fn at(millis: u64) -> Moment {
    Moment::from_millis(1_000_000 + millis)
}

#[test]
fn a_share_of_all_requests_may_be_sent_again_and_a_few_besides() {
    let (budget, retry) = (Budget::default(), Retry::default());
    let taken = |now, requests| (0..1000).filter(|_| budget.take(now, requests, &retry)).count();
    assert_eq!(taken(at(0), 500), 3, "what was before the window does not count");
    assert_eq!(taken(at(0), 600), 20);
    assert_eq!(taken(at(999), 600), 0);
    assert_eq!(taken(at(5000), 600), 15, "three for each second");
    assert_eq!(taken(at(10_001), 700), 3, "a new window");
}

fn breaker() -> Breaker {
    Breaker { min_requests: 4, ..Breaker::default() }
}

fn pass(circuit: &Circuit, now: u64, failed: bool) -> Gate {
    let gate = circuit.gate(at(now), &breaker());
    circuit.note(at(now), &breaker(), gate, failed);
    gate
}

#[test]
fn a_service_of_which_half_fails_rests_and_one_request_finds_out_whether_it_is_well() {
    let circuit = Circuit::default();
    for failed in [true, false, false, true] {
        assert_eq!(pass(&circuit, 0, failed), Gate::Closed);
    }
    assert_eq!(pass(&circuit, 4000, false), Gate::Open(6000));
    let (one, other) = (circuit.gate(at(10_000), &breaker()), circuit.gate(at(10_001), &breaker()));
    assert_eq!((one, other), (Gate::Trial, Gate::Open(1000)));
    assert!(circuit.note(at(10_002), &breaker(), one, true));
    assert_eq!(pass(&circuit, 10_003, false), Gate::Open(9999));
    assert_eq!(pass(&circuit, 20_002, false), Gate::Trial);
    assert_eq!(pass(&circuit, 20_003, true), Gate::Closed);
    assert!(!circuit.is_open(), "a new beginning");
}

#[test]
fn a_breaker_needs_enough_requests_within_its_window() {
    let circuit = Circuit::default();
    for now in [0, 1, 2, 11_000, 11_001, 11_002] {
        assert_eq!(pass(&circuit, now, true), Gate::Closed, "{now}");
    }
    // A trial that is never heard of again does not keep it open for ever.
    pass(&circuit, 11_003, true);
    assert_eq!(circuit.gate(at(21_003), &breaker()), Gate::Trial);
    assert_eq!(circuit.gate(at(21_004), &breaker()), Gate::Open(1000));
    assert_eq!(circuit.gate(at(31_003), &breaker()), Gate::Trial);
    // One that was given up makes place for the next.
    assert_eq!(circuit.rests(at(31_004), &breaker()), Some(1000), "others need not try");
    circuit.give_up(Gate::Trial);
    assert_eq!(circuit.rests(at(31_004), &breaker()), None);
    assert_eq!(circuit.gate(at(31_004), &breaker()), Gate::Trial);
}

fn service(name: &str, health: Health) -> Arc<Service> {
    let backend = Backend {
        scheme: Scheme::Http,
        authority: "10.0.0.1:80".into(),
        path: None,
        weight: 1,
        health,
        origin: "test".into(),
        figures: Arc::default(),
    };
    let name = ObjectName::new(name, "test");
    Arc::new(Service::new(name, LoadBalancer::default(), vec![backend]))
}

fn member(name: &str, weight: u32, service: Option<Arc<Service>>) -> Member {
    Member { name: ObjectName::new(name, "test"), weight, service }
}

fn three(critical: &str) -> Vec<Member> {
    let one = |name: &str, weight| {
        let health = if name == critical { Health::Critical } else { Health::Passing };
        member(name, weight, Some(service(name, health)))
    };
    vec![one("a", 3), one("b", 1), member("gone", 9, None)]
}

#[test]
fn members_share_by_weight_and_who_is_not_there_or_not_well_has_no_share() {
    let headers = Headers::default();
    let chosen = |critical, by_client| {
        let weighted = Weighted::new(three(critical), by_client, None);
        let mut counts = [0_u32; 3];
        for client in 0..4000_u64 {
            let client = crate::balance::key(&client.to_be_bytes());
            counts[weighted.choose(&headers, client, at(0)).unwrap()] += 1;
        }
        counts
    };
    assert_eq!(chosen("", false), [3000, 1000, 0]);
    assert_eq!(chosen("a", false), [0, 4000, 0]);
    let by_client = chosen("", true);
    assert!(by_client[0].abs_diff(3000) < 150 && by_client[2] == 0, "{by_client:?}");
    let none = Weighted::new(vec![member("gone", 1, None)], false, None);
    assert_eq!(none.choose(&headers, 0, at(0)), None);
    // One whose requests fail is left out, as long as another is ready.
    let weighted = Weighted::new(three(""), false, None);
    let eject = |place: usize| {
        let service = weighted.members[place].service.clone().unwrap();
        let passive = Passive { max_failed_attempts: 1, ..Passive::default() };
        service.backends[0].figures.standing.failed(at(0), at(0), &passive);
    };
    eject(0);
    assert!((0..8).all(|_| weighted.choose(&headers, 0, at(1)) == Some(1)));
    assert_eq!((weighted.shares(0, at(1)), weighted.shares(1, at(1))), (false, true));
    eject(1);
    let places: HashSet<_> = (0..8).map(|_| weighted.choose(&headers, 0, at(1))).collect();
    assert_eq!(places, HashSet::from([Some(0), Some(1)]));
    // When nobody is well, one of them says so.
    let ill = member("a", 1, Some(service("a", Health::Critical)));
    assert_eq!(Weighted::new(vec![ill], false, None).choose(&headers, 0, at(0)), Some(0));
}

#[test]
fn a_service_of_services_rests_when_whoever_would_be_asked_does() {
    let rests = |open: &[&str]| {
        let one = |name: &str| {
            let mut service = Arc::into_inner(service(name, Health::Passing)).unwrap();
            let options = Arc::make_mut(&mut service.load_balancer);
            options.breaker = Some(Breaker { min_requests: 1, ..Breaker::default() });
            if let (true, Some(breaker)) = (open.contains(&name), &service.load_balancer.breaker) {
                service.state.circuit.note(at(0), breaker, Gate::Closed, true);
            }
            Arc::new(service)
        };
        let members = ["a", "b"].map(|name| member(name, 1, Some(one(name))));
        let failover = Failover {
            main: Some(one("a")),
            fallback: Some(one("b")),
            statuses: Statuses::default(),
            max_body: 0,
        };
        let of = |kind| Service::of(ObjectName::new("s", "test"), kind).rests(at(4000));
        let weighted = Weighted::new(members.to_vec(), false, None);
        [of(Kind::Weighted(weighted)), of(Kind::Failover(failover))]
    };
    assert_eq!(rests(&[]), [None, None]);
    assert_eq!(rests(&["a"]), [None, None]);
    assert_eq!(rests(&["a", "b"]), [Some(6000), Some(6000)]);
}

#[test]
fn a_client_stays_with_its_member_while_that_is_well() {
    let sticky = Sticky { name: Some("m".to_owned()), ..Sticky::default() };
    let cookie = || {
        let names = ["a", "b", "gone"].map(str::to_owned).into_iter();
        Cookie::new("s", &sticky, names)
    };
    let mut headers = Headers::default();
    let line = cookie().header(1).unwrap();
    let pair = line.to_str().unwrap().split(';').next().unwrap();
    headers.insert(http::header::COOKIE, pair.parse().unwrap());
    let well = Weighted::new(three(""), false, Some(cookie()));
    assert!((0..8).all(|_| well.choose(&headers, 0, at(0)) == Some(1)));
    let ill = Weighted::new(three("b"), false, Some(cookie()));
    assert!((0..8).all(|_| ill.choose(&headers, 0, at(0)) == Some(0)));
}

#[test]
fn a_mirror_gets_exactly_its_share() {
    for percent in [0, 1, 10, 33, 50, 99, 100] {
        let mirror = Mirror::new(service("m", Health::Passing), percent);
        for hundred in 0..3 {
            let count = (0..100).filter(|_| mirror.wants_next()).count();
            assert_eq!(count, usize::from(percent), "{hundred}");
        }
    }
}

#[test]
fn a_service_of_services_is_well_when_one_that_answers_is() {
    let (well, ill) = (|| service("w", Health::Passing), || service("i", Health::Critical));
    let of = |kind| Service::of(ObjectName::new("s", "test"), kind);
    let failover = |main, fallback| {
        let (statuses, max_body) = (Default::default(), 0);
        let (main, fallback) = (Some(main), Some(fallback));
        of(Kind::Failover(Failover { main, fallback, statuses, max_body }))
    };
    assert!(failover(ill(), well()).is_well());
    assert!(!failover(ill(), ill()).is_well());
    let mirrors = vec![Mirror::new(well(), 100)];
    let mirroring = Mirroring { main: ill(), mirrors, mirror_body: true, max_body: 0 };
    let mirroring = of(Kind::Mirroring(mirroring));
    assert!(!mirroring.is_well(), "a mirror answers nobody");
    assert_eq!(mirroring.parts().len(), 2);
}

#[test]
fn a_service_that_is_made_anew_goes_on() {
    let mut before = Service::of(
        ObjectName::new("s", "test"),
        Kind::Weighted(Weighted::new(three(""), false, None)),
    );
    Arc::make_mut(&mut before.load_balancer).breaker = Some(breaker());
    let Kind::Weighted(weighted) = &before.kind else { panic!("it is weighted") };
    let headers = Headers::default();
    let first: Vec<_> = (0..2).map(|_| weighted.choose(&headers, 0, at(0))).collect();
    before.state.circuit.note(at(0), &Breaker { min_requests: 0, ..breaker() }, Gate::Closed, true);
    let kind = Kind::Weighted(Weighted::new(three(""), false, None));
    let after = Service::of(ObjectName::new("s", "test"), kind).after(&before);
    let Kind::Weighted(weighted) = &after.kind else { panic!("it is weighted") };
    let then: Vec<_> = (0..2).map(|_| weighted.choose(&headers, 0, at(0))).collect();
    // a a b a
    assert_eq!([first, then].concat(), [Some(0), Some(0), Some(1), Some(0)]);
    assert!(after.state.circuit.is_open());
}

#[test]
fn a_mirror_of_few_requests_gets_them_however_often_its_service_changes() {
    let mut copies = 0;
    let made = || {
        let main = service("main", Health::Passing);
        let mirrors = vec![Mirror::new(service("m", Health::Passing), 1)];
        let kind = Kind::Mirroring(Mirroring { main, mirrors, mirror_body: false, max_body: 0 });
        Service::of(ObjectName::new("all", "test"), kind)
    };
    let mut now = made();
    for _ in 0..40 {
        let Kind::Mirroring(mirroring) = &now.kind else { panic!("it has mirrors") };
        copies += (0..10).filter(|_| mirroring.mirrors[0].wants_next()).count();
        now = made().after(&now);
    }
    assert_eq!(copies, 4, "one of a hundred");
}
