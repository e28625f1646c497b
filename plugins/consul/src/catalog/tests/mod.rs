//! A Consul is played by a table of answers; what the host would be told is compared as text.

use portolan_plugin::{Change, Excerpt, Item, Key};

use super::*;

mod bulk;
mod unread;

/// A Consul that answers from a table.
struct Played {
    catalog: Catalog,
    now: u64,
    index: u64,
    translates: bool,
    answers: BTreeMap<String, String>,
    /// Paths that it does not answer for.
    broken: BTreeSet<String>,
    waiting: Vec<Question>,
}

impl Played {
    fn new() -> Self {
        let mut played = Self {
            catalog: Catalog::new(policy(), "dc1"),
            now: 1_000_000,
            index: 10,
            translates: false,
            answers: BTreeMap::new(),
            broken: BTreeSet::new(),
            waiting: Vec::new(),
        };
        played.set("/v1/catalog/nodes", &node("n1"));
        played.set("/v1/health/state/any", "[]");
        played.list(&["consul"]);
        played.set("/v1/health/service/consul", &format!("[{}]", entry("consul", "consul", 8300)));
        played
    }

    fn set(&mut self, path: &str, body: &str) {
        self.answers.insert(path.to_owned(), body.to_owned());
    }

    fn list(&mut self, names: &[&str]) {
        let names: Vec<_> = names.iter().map(|name| format!("\"{name}\": []")).collect();
        self.set("/v1/catalog/services", &format!("{{{}}}", names.join(",")));
    }

    /// Asks, and answers what does not block, until everything waits. Says what was asked.
    fn settle(&mut self) -> Vec<String> {
        let mut asked = Vec::new();
        loop {
            let catalog = &mut self.catalog;
            self.waiting.retain(|question| catalog.awaits(question));
            let questions = self.catalog.questions(self.now);
            if questions.is_empty() {
                return asked;
            }
            for question in questions {
                asked.push(question.subject.path());
                match question.index {
                    Some(_) => self.waiting.push(question),
                    None => self.answer(&question, Some(self.index)),
                }
            }
        }
    }

    /// Everything that blocks on this path gets an answer.
    fn wake(&mut self, path: &str) -> Vec<String> {
        self.index += 1;
        let (woken, waiting) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition::<Vec<_>, _>(|question| question.subject.path() == path);
        self.waiting = waiting;
        assert!(!woken.is_empty(), "nothing waits for {path}");
        woken.iter().for_each(|question| self.answer(question, Some(self.index)));
        self.settle()
    }

    fn answer(&mut self, question: &Question, index: Option<u64>) {
        if self.broken.contains(&question.subject.path()) {
            return self.catalog.failed(question, "answers 500".to_owned(), self.now);
        }
        let body = self.answers.get(&question.subject.path()).map_or("[]", String::as_str);
        let answer = Answer { index, body: body.into(), translates: self.translates, remark: None };
        self.catalog.answered(question, answer, self.now);
    }

    fn blocked(&self) -> Vec<String> {
        self.waiting.iter().map(|question| question.subject.path()).collect()
    }

    fn told(&mut self) -> Vec<String> {
        match self.catalog.delta() {
            Update::Delta(changes) => changes.iter().map(describe).collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn policy() -> Policy {
    let mut invalid = portolan_plugin::Invalid::none();
    let policy = Policy::new(&crate::config::Config::default(), &mut invalid);
    invalid.or(policy).unwrap()
}

fn describe(change: &Change) -> String {
    match change {
        Change::Put(Item::Node(node)) => format!("+ {}/{}", node.datacenter, node.name),
        Change::Put(Item::Instance(it)) => format!("+ {} {}:{}", it.service, it.id, it.port),
        Change::Put(Item::Fragment(it)) => format!("+ {} {}", it.origin, it.config),
        Change::Remove(Key::Node(name) | Key::Instance(name) | Key::Fragment(name)) => {
            format!("- {name}")
        }
    }
}

fn node(name: &str) -> String {
    format!(r#"[{{ "Node": "{name}", "Address": "10.0.0.1", "Datacenter": "dc1" }}]"#)
}

fn entry(service: &str, id: &str, port: u16) -> String {
    format!(
        r#"{{ "Node": {{ "Node": "n1", "Address": "10.0.0.1", "Datacenter": "dc1" }},
            "Service": {{ "ID": "{id}", "Service": "{service}", "Port": {port} }}, "Checks": [] }}"#
    )
}

fn with_web() -> Played {
    let mut consul = Played::new();
    consul.list(&["consul", "web"]);
    consul.set("/v1/health/service/web", &format!("[{}]", entry("web", "w", 80)));
    consul.settle();
    consul.told();
    consul
}

#[test]
fn at_first_everything_is_read_and_then_watched() {
    let mut consul = Played::new();
    let asked = consul.settle();
    assert_eq!(asked[..2], ["/v1/catalog/services", "/v1/catalog/nodes"]);
    assert!(consul.catalog.is_complete());
    assert_eq!(consul.told(), ["+ dc1/n1", "+ consul dc1/n1/consul:8300"]);
    let mut blocked = consul.blocked();
    blocked.sort();
    assert_eq!(blocked, ["/v1/catalog/nodes", "/v1/catalog/services", "/v1/health/service/consul"]);
}

#[test]
fn it_is_incomplete_until_the_last_service_has_answered() {
    let mut consul = Played::new();
    for question in consul.catalog.questions(consul.now) {
        consul.answer(&question, Some(5));
    }
    assert!(!consul.catalog.is_complete());
    consul.settle();
    assert!(consul.catalog.is_complete());
}

#[test]
fn other_datacenters_are_told_of() {
    let mut consul = Played::new();
    let path = "/v1/catalog/datacenters";
    consul.set(path, r#"["dc1"]"#);
    consul.settle();
    consul.told();
    for (answer, told) in [
        (
            r#"["dc1", "dc2"]"#,
            vec![r#"+ /v1/catalog/datacenters {"dns":{"datacenters":["dc1","dc2"]}}"#],
        ),
        // The nearest comes first, which is no news.
        (r#"["dc2", "dc1"]"#, vec![]),
        (r#"["dc1"]"#, vec!["- /v1/catalog/datacenters"]),
    ] {
        consul.set(path, answer);
        consul.now += DATACENTERS_MS - 1;
        assert!(consul.settle().is_empty());
        consul.now += 1;
        assert_eq!(consul.settle(), [path]);
        assert_eq!(consul.told(), told);
    }
}

#[test]
fn datacenters_that_nobody_tells_keep_nothing_waiting() {
    let mut consul = Played::new();
    let questions = consul.catalog.questions(consul.now);
    let (told, untold) = questions
        .iter()
        .partition::<Vec<_>, _>(|question| question.subject != Subject::Datacenters);
    told.iter().for_each(|question| consul.answer(question, Some(5)));
    consul.settle();
    assert!(!consul.catalog.is_complete());
    consul.catalog.failed(untold[0], "answers 500".to_owned(), consul.now);
    assert!(consul.catalog.is_complete());
}

/// A service with an address for each network, and the plain one that the agent says.
fn web(address: &str) -> String {
    entry("web", "w", 80).replacen(
        r#""Port""#,
        &format!(
            r#""Address": "{address}", "TaggedAddresses": {{ "lan_ipv4": {{ "Address": "10.8.0.1" }},
                "wan_ipv4": {{ "Address": "203.0.113.8" }} }}, "Port""#
        ),
        1,
    )
}

/// The address of that service now.
fn web_address(consul: &mut Played) -> Option<String> {
    let Update::Snapshot(items) = consul.catalog.snapshot() else { panic!("no snapshot") };
    items.iter().find_map(|item| match item {
        Item::Instance(it) if it.service == "web" => Some(it.address.clone()),
        _ => None,
    })
}

#[test]
fn what_was_read_before_the_agent_said_where_it_is_is_read_again() {
    let home = "/v1/health/service/consul";
    let mut consul = Played { translates: true, ..Played::new() };
    consul.list(&["consul", "web"]);
    consul.set("/v1/health/service/web", &format!("[{}]", web("203.0.113.8")));
    // The token may not see it yet.
    consul.set(home, "[]");
    consul.settle();
    assert_eq!(web_address(&mut consul).as_deref(), Some("10.8.0.1"));
    consul.set(home, &format!("[{}]", entry("consul", "consul", 8300).replace("dc1", "dc2")));
    assert!(consul.settle().is_empty());
    assert!(consul.catalog.next_due().is_some_and(|due| due <= consul.now + DATACENTERS_MS));
    consul.now += DATACENTERS_MS;
    let asked = consul.settle();
    assert!(asked.iter().any(|path| path == "/v1/health/service/web"), "{asked:?}");
    assert_eq!(web_address(&mut consul).as_deref(), Some("203.0.113.8"));
    // Known once, it is not asked for again.
    consul.now += DATACENTERS_MS;
    assert!(!consul.settle().iter().any(|path| path == home));
}

#[test]
fn where_the_agent_is_is_asked_when_its_answers_depend_on_it() {
    let home = "/v1/health/service/consul";
    // It is a service too, which is read and then watched. Nobody translates; the agent is in the datacenter that is read; it is in another one.
    for (translates, datacenter, plain, expected, asked) in [
        (false, "dc2", "10.8.0.1", "10.8.0.1", 2),
        (true, "dc1", "10.8.0.1", "10.8.0.1", 3),
        (true, "dc2", "203.0.113.8", "203.0.113.8", 3),
    ] {
        let mut consul = Played { translates, ..Played::new() };
        consul.list(&["consul", "web"]);
        consul.set("/v1/health/service/web", &format!("[{}]", web(plain)));
        let server = entry("consul", "consul", 8300).replace("dc1", datacenter);
        consul.set(home, &format!("[{server}]"));
        let all = consul.settle();
        assert!(consul.catalog.is_complete());
        assert_eq!(all.iter().filter(|path| *path == home).count(), asked, "{all:?}");
        assert_eq!(web_address(&mut consul).as_deref(), Some(expected));
    }
}

#[test]
fn an_agent_that_does_not_say_where_it_is_is_in_trouble() {
    let mut consul = Played { translates: true, ..Played::new() };
    let first = consul.catalog.questions(consul.now);
    first.iter().for_each(|question| consul.answer(question, Some(5)));
    let asked = consul.catalog.questions(consul.now);
    let [_, home] = &*asked else { panic!("{asked:?}") };
    assert_eq!(home.subject, Subject::Home);
    consul.catalog.failed(home, "answers 500".to_owned(), consul.now);
    assert_eq!(consul.catalog.trouble(), Some("answers 500"));
    assert!(consul.catalog.questions(consul.now).is_empty() && !consul.catalog.is_complete());
    assert_eq!(consul.catalog.next_due(), Some(consul.now + 500));
    consul.catalog.retry();
    consul.settle();
    assert!(consul.catalog.is_complete() && consul.catalog.trouble().is_none());
}

#[test]
fn a_new_service_is_read_and_told() {
    let mut consul = with_web();
    consul.list(&["api", "consul", "web"]);
    consul.set("/v1/health/service/api", &format!("[{}]", entry("api", "a", 81)));
    let asked = consul.wake("/v1/catalog/services");
    assert!(asked.contains(&"/v1/health/service/api".to_owned()));
    assert_eq!(consul.told(), ["+ api dc1/n1/a:81"]);
}

#[test]
fn an_answer_without_a_difference_is_no_news() {
    let mut consul = with_web();
    consul.wake("/v1/health/service/web");
    assert!(!consul.catalog.has_news());
    consul.set("/v1/health/service/web", &format!("[{}]", entry("web", "w", 8080)));
    consul.wake("/v1/health/service/web");
    assert_eq!(consul.told(), ["+ web dc1/n1/w:8080"]);
}

#[test]
fn a_service_that_vanishes_is_asked_about_once_more() {
    let mut consul = with_web();
    consul.list(&["consul"]);
    // The list was wrong: the service is still there.
    let asked = consul.wake("/v1/catalog/services");
    assert!(asked.contains(&"/v1/health/service/web".to_owned()));
    assert!(consul.told().is_empty());

    consul.set("/v1/health/service/web", "[]");
    consul.wake("/v1/catalog/services");
    assert_eq!(consul.told(), ["- dc1/n1/w"]);
    assert!(!consul.blocked().contains(&"/v1/health/service/web".to_owned()));
}

#[test]
fn nothing_at_the_end_of_a_wait_is_asked_about_once_more() {
    let mut consul = with_web();
    consul.set("/v1/health/service/web", "[]");
    let asked = consul.wake("/v1/health/service/web");
    assert_eq!(asked[0], "/v1/health/service/web");
    assert_eq!(consul.told(), ["- dc1/n1/w"]);
}

#[test]
fn an_id_that_moves_to_another_service_is_not_lost() {
    let mut consul = with_web();
    consul.list(&["consul", "web2"]);
    consul.set("/v1/health/service/web2", &format!("[{}]", entry("web2", "w", 80)));
    consul.set("/v1/health/service/web", "[]");
    consul.wake("/v1/catalog/services");
    assert_eq!(consul.told(), ["+ web2 dc1/n1/w:80"]);
}

#[test]
fn an_empty_catalog_is_doubted_for_a_while() {
    let mut consul = with_web();
    consul.set("/v1/catalog/services", "{}");
    consul.wake("/v1/catalog/services");
    assert!(consul.told().is_empty());
    assert!(consul.catalog.notices()[0].message.starts_with("the catalog is empty"));

    consul.set("/v1/health/service/web", "[]");
    consul.set("/v1/health/service/consul", "[]");
    consul.now += EMPTY_GRACE_MS;
    consul.settle();
    assert_eq!(consul.told(), ["- dc1/n1/consul", "- dc1/n1/w"]);
    assert!(consul.catalog.notices().is_empty());
}

#[test]
fn a_failure_keeps_everything_and_the_next_question_does_not_block() {
    let mut consul = with_web();
    for question in std::mem::take(&mut consul.waiting) {
        consul.catalog.failed(&question, "does not answer".to_owned(), consul.now);
    }
    assert!(consul.told().is_empty());
    assert_eq!(consul.catalog.trouble(), Some("does not answer"));
    assert!(consul.catalog.notices().is_empty(), "that Consul is away says it all");
    assert!(consul.catalog.questions(consul.now).is_empty());

    consul.catalog.retry();
    // As after a restart: another history, with lower indexes.
    consul.index = 3;
    consul.set("/v1/health/service/web", &format!("[{}]", entry("web", "w", 90)));
    assert_eq!(consul.settle().len(), 8);
    assert_eq!(consul.told(), ["+ web dc1/n1/w:90"]);
    assert_eq!(consul.catalog.trouble(), None);
}

#[test]
fn one_question_that_fails_is_told_of() {
    let mut consul = with_web();
    let path = "/v1/health/service/web";
    let place = consul.waiting.iter().position(|it| it.subject.path() == path).unwrap();
    let question = consul.waiting.swap_remove(place);
    consul.catalog.failed(&question, "does not answer".to_owned(), consul.now);
    let notices = consul.catalog.notices();
    assert_eq!((notices.len(), &*notices[0].origin), (1, path));
}

#[test]
fn an_instance_is_on_a_node_whatever_its_name() {
    assert!(is_on("dc1/a/web", "a") && is_on("dc1/rack%2Fa/web", "rack/a"));
    assert!(!is_on("dc1/ab/web", "a") && !is_on("dc1/rack/a", "rack/a"));
}

#[test]
fn when_consul_is_back_nothing_waits_any_longer() {
    let mut consul = with_web();
    let waiting = std::mem::take(&mut consul.waiting);
    for question in &waiting {
        consul.catalog.failed(question, "does not answer".to_owned(), consul.now);
    }
    // Only the list may be asked yet; its answer lets the others be asked.
    consul.catalog.services.wait_until(0);
    let asked = consul.settle();
    assert_eq!(asked[0], "/v1/catalog/services");
    assert!(asked.contains(&"/v1/health/service/web".to_owned()));
}

#[test]
fn nonsense_is_a_failure() {
    let mut consul = with_web();
    consul.set("/v1/health/service/web", "<html>");
    consul.wake("/v1/health/service/web");
    assert!(consul.told().is_empty());
    let notice = &consul.catalog.notices()[0];
    assert_eq!(notice.origin, "/v1/health/service/web");
    assert!(notice.message.starts_with("answers nonsense: "));
}

#[test]
fn a_tag_that_cannot_be_used_is_a_notice_until_it_is_gone() {
    let mut consul = with_web();
    let tagged = |tag: &str| {
        let port = format!(r#""Port": 80, "Tags": ["{tag}"]"#);
        format!("[{}]", entry("web", "w", 80).replace(r#""Port": 80"#, &port))
    };
    consul.set("/v1/health/service/web", &tagged("traefik.enabled=true"));
    consul.wake("/v1/health/service/web");
    assert_eq!(consul.catalog.notices()[0].origin, "dc1/n1/w tag traefik.enabled");
    consul.set("/v1/health/service/web", &tagged("traefik.enable=true"));
    consul.wake("/v1/health/service/web");
    assert!(consul.catalog.notices().is_empty());
}

#[test]
fn what_all_instances_are_told_of_is_one_notice() {
    let mut consul = with_web();
    let tagged = |ids: &[&str]| {
        let port = r#""Port": 80, "Tags": ["traefik.enabled=true"]"#;
        let entries = ids.iter().map(|id| entry("web", id, 80).replace(r#""Port": 80"#, port));
        format!("[{}]", entries.collect::<Vec<_>>().join(","))
    };
    for (ids, origin) in [
        (&["w", "v", "x"][..], "dc1/n1/v tag traefik.enabled, and on 2 other instances"),
        (&["x", "v"], "dc1/n1/v tag traefik.enabled, and on one other instance"),
        (&["x"], "dc1/n1/x tag traefik.enabled"),
    ] {
        consul.set("/v1/health/service/web", &tagged(ids));
        consul.wake("/v1/health/service/web");
        let origins: Vec<_> = consul.catalog.notices().into_iter().map(|it| it.origin).collect();
        assert_eq!(origins, [origin]);
    }
}

#[test]
fn names_are_encoded_in_paths() {
    assert_eq!(percent_encoded("a b/c?d"), "a%20b%2Fc%3Fd");
}
