//! More services than are watched one by one.

use super::*;

/// More services than are watched one by one.
fn many() -> Played {
    let mut consul = Played::new();
    let names: Vec<_> = (0..=MOST_WATCHES).map(|number| format!("s{number:03}")).collect();
    for name in &names {
        let body = format!("[{}]", entry(name, name, 80));
        consul.set(&format!("/v1/health/service/{name}"), &body);
    }
    consul.list(&names.iter().map(String::as_str).collect::<Vec<_>>());
    consul.settle();
    assert!(consul.catalog.is_complete());
    assert_eq!(consul.told().len(), MOST_WATCHES + 2);
    consul
}

#[test]
fn above_a_hundred_services_three_questions_block() {
    let consul = many();
    let mut blocked = consul.blocked();
    blocked.sort();
    assert_eq!(blocked, ["/v1/catalog/nodes", "/v1/catalog/services", "/v1/health/state/any"]);
}

#[test]
fn services_that_are_not_watched_are_read_when_a_check_of_theirs_changes() {
    let mut consul = many();
    let check = |status: &str, service: &str| {
        format!(
            r#"[{{ "Node": "n1", "CheckID": "c", "ServiceName": "{service}", "Status": "{status}" }}]"#
        )
    };
    consul.set("/v1/health/state/any", &check("critical", "s007"));
    let asked = consul.wake("/v1/health/state/any");
    assert_eq!(asked, ["/v1/health/state/any", "/v1/health/service/s007"]);
    // A check of a node concerns everything on it.
    consul.now += 100_000;
    consul.set("/v1/health/state/any", &check("critical", ""));
    let asked = consul.wake("/v1/health/state/any");
    let services = asked.iter().filter(|path| path.starts_with("/v1/health/service/"));
    assert_eq!(services.count(), MOST_WATCHES + 1);
}

#[test]
fn an_unexplained_change_of_the_list_reads_all_again() {
    let mut consul = many();
    consul.set("/v1/health/service/s042", &format!("[{}]", entry("s042", "s042", 81)));
    consul.wake("/v1/catalog/services");
    assert_eq!(consul.told(), ["+ s042 dc1/n1/s042:81"]);
}

// Two changes at once: the list shows one of them.
#[test]
fn a_change_behind_another_is_found_too() {
    let mut consul = many();
    let mut names: Vec<String> = (0..=MOST_WATCHES).map(|it| format!("s{it:03}")).collect();
    names.push("new".to_owned());
    consul.list(&names.iter().map(String::as_str).collect::<Vec<_>>());
    consul.set("/v1/health/service/s042", &format!("[{}]", entry("s042", "s042", 81)));
    consul.wake("/v1/catalog/services");
    consul.now += REREAD_MS;
    consul.settle();
    assert!(consul.told().contains(&"+ s042 dc1/n1/s042:81".to_owned()));
}

#[test]
fn what_is_known_to_have_changed_is_read_before_what_may_have() {
    let mut consul = many();
    let services = |questions: Vec<Question>| {
        questions.into_iter().filter(|question| matches!(question.subject, Subject::Service(_)))
    };
    // Everything is read again.
    consul.now += 100_000;
    consul.catalog.entries.values_mut().for_each(Tracked::doubt);
    let questions = consul.catalog.questions(consul.now);
    let under_way: Vec<_> = services(questions).collect();
    assert_eq!(under_way.len(), MOST_READS);
    // Meanwhile one comes that is new, and a check of another one changes.
    let check =
        r#"[{ "Node": "n1", "CheckID": "c", "ServiceName": "s077", "Status": "critical" }]"#;
    consul.set("/v1/health/state/any", check);
    let mut names: Vec<String> = (0..=MOST_WATCHES).map(|it| format!("s{it:03}")).collect();
    names.push("z".to_owned());
    consul.list(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let is_list = |question: &Question| !matches!(question.subject, Subject::Nodes);
    let (lists, nodes) = std::mem::take(&mut consul.waiting).into_iter().partition(is_list);
    consul.waiting = nodes;
    lists.iter().for_each(|question: &Question| consul.answer(question, Some(99)));
    under_way[..2].iter().for_each(|question| consul.answer(question, Some(99)));
    let questions = consul.catalog.questions(consul.now);
    let next: Vec<_> = services(questions).map(|question| question.subject.path()).collect();
    assert_eq!(next, ["/v1/health/service/s077", "/v1/health/service/z"]);
}

#[test]
fn no_more_than_eight_services_are_read_at_once() {
    let mut consul = many();
    consul.now += 100_000;
    consul.wake("/v1/catalog/services");
    consul.catalog.entries.values_mut().for_each(|tracked| tracked.age = Age::Stale);
    let is_service = |question: &&Question| matches!(question.subject, Subject::Service(_));
    let questions = consul.catalog.questions(consul.now + 100_000);
    assert_eq!(questions.iter().filter(is_service).count(), MOST_READS);
    assert!(consul.catalog.questions(consul.now + 100_000).is_empty());
}
