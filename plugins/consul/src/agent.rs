//! Questions to a Consul agent, as HTTP requests.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use portolan_plugin::{
    Header, Invalid, Notice,
    http_client::{self, HttpError, Incoming, Outgoing, Pending},
    timer,
};

use crate::{
    catalog::{Answer, Catalog, Question, Subject, percent_encoded},
    config::{Config, HttpAuth},
    secret::Secret,
};

const READ_TIMEOUT_MS: u32 = 10_000;
/// Somebody waits for a lookup, and asks again after five seconds.
const LOOKUP_TIMEOUT_MS: u32 = 3_000;

/// Answers of a server without a leader for longer than this are said to be old.
const OLD_MS: u64 = 10_000;

const MOST_BODY: u32 = 64 << 20;

/// The agent that is asked, and the questions under way. They stay under way between steps.
pub(crate) struct Agent {
    origin: String,
    parameters: String,
    /// The same without a datacenter.
    anywhere: String,
    /// How long a question waits, in seconds.
    wait: u32,
    token: Secret,
    /// Whom a proxy before Consul asks for; empty: nobody.
    username: String,
    password: Secret,
    flights: Vec<(Question, Pending)>,
}

impl Agent {
    pub(crate) fn new(config: &Config, invalid: &mut Invalid) -> Self {
        let address = config.address.trim().trim_end_matches('/');
        let origin = match address.split_once("://") {
            None => format!("http://{address}"),
            Some(("http" | "https", _)) => address.to_owned(),
            Some((scheme, _)) => {
                let message = format!("`{scheme}` is neither `http` nor `https`");
                invalid.add("/address", message);
                String::new()
            }
        };
        if address.is_empty() {
            invalid.add("/address", "the address is empty");
        }
        if config.stale && config.require_consistent {
            let message = "a stale answer and a consistent one exclude each other";
            invalid.add("/require-consistent", message);
        }
        if config.cache && config.require_consistent {
            let message = "an answer out of the cache and a consistent one exclude each other";
            invalid.add("/require-consistent", message);
        }
        let mut anywhere = String::new();
        let named = [("ns", config.namespace(invalid)), ("partition", config.partition.as_str())];
        for (name, value) in named.into_iter().filter(|(_, value)| !value.is_empty()) {
            anywhere += &format!("&{name}={}", percent_encoded(value));
        }
        let flags = [
            ("stale", config.stale),
            ("consistent", config.require_consistent),
            ("cached", config.cache),
        ];
        for (name, _) in flags.into_iter().filter(|(_, is_set)| *is_set) {
            anywhere += &format!("&{name}");
        }
        let parameters = match config.datacenter.as_str() {
            "" => anywhere.clone(),
            datacenter => format!("&dc={}{anywhere}", percent_encoded(datacenter)),
        };
        let wait = config.wait_seconds(invalid);
        let token = Secret::new(&config.token, &config.token_file, "/token", invalid);
        let nobody = HttpAuth::default();
        let HttpAuth { username, password, password_file } =
            config.http_auth.as_ref().unwrap_or(&nobody);
        let password = Secret::new(password, password_file, "/http-auth/password", invalid);
        if config.http_auth.is_some() && username.is_empty() {
            invalid.add("/http-auth/username", "the name is missing");
        }
        if username.contains(|letter: char| letter == ':' || letter.is_control()) {
            invalid.add("/http-auth/username", "holds something that cannot be sent");
        }
        let username = username.clone();
        let flights = Vec::new();
        Self { origin, parameters, anywhere, wait, token, username, password, flights }
    }

    /// What a person should know of files that cannot be read.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        let secrets = [("token-file", &self.token), ("http-auth.password-file", &self.password)];
        let notice = |(place, secret): (&str, &Secret)| {
            let told = format!("{}; what it held before is used", secret.trouble()?);
            Some(Notice::new(place, told))
        };
        secrets.into_iter().filter_map(notice).collect()
    }

    /// `consul at http://127.0.0.1:8500` and what is the matter with it.
    pub(crate) fn describe(&self, matter: &str) -> String {
        format!("consul at {} {matter}", self.origin)
    }

    /// Asks what is to be asked, waits until `until` at most, and hands over the answers. Says
    /// whether any came, or there is another notice.
    pub(crate) fn exchange(&mut self, catalog: &mut Catalog, until: u64, now: u64) -> bool {
        // Dropping a request cancels it.
        self.flights.retain(|(question, _)| catalog.awaits(question));
        let questions = catalog.questions(now);
        let told = self.notices();
        if !questions.is_empty() {
            let secrets = self.token.refresh().and_then(|()| self.password.refresh());
            for question in questions {
                let begun = secrets.clone().and_then(|()| self.begin(&question));
                match begun {
                    Ok(pending) => self.flights.push((question, pending)),
                    Err(reason) => catalog.failed(&question, reason, now),
                }
            }
        }
        if catalog.trouble().is_some() {
            return false;
        }
        if told != self.notices() {
            return true;
        }
        let until = catalog.next_due().map_or(until, |due| due.min(until));
        let wait = u32::try_from(until.saturating_sub(now)).unwrap_or(u32::MAX);
        let pending: Vec<&Pending> = self.flights.iter().map(|(_, pending)| pending).collect();
        if pending.is_empty() {
            // Everything failed, and is asked again later.
            timer::sleep(wait);
            return false;
        }
        let done = http_client::wait_any(&pending, wait);
        let now = crate::now();
        // From the end, so that the places of the others stay.
        for place in done.iter().rev() {
            let (question, pending) = self.flights.swap_remove(*place as usize);
            match pending.take().map(|outcome| outcome.map_err(|error| describe_error(&error))) {
                Some(Ok(incoming)) => match answer(&incoming) {
                    Ok(answer) => catalog.answered(&question, answer, now),
                    Err(reason) => catalog.failed(&question, reason, now),
                },
                Some(Err(reason)) => catalog.failed(&question, reason, now),
                None => self.flights.push((question, pending)),
            }
        }
        !done.is_empty()
    }

    fn begin(&self, question: &Question) -> Result<Pending, String> {
        http_client::start(&self.request(question)).map_err(|error| describe_error(&error))
    }

    fn request(&self, question: &Question) -> Outgoing {
        let blocking = match question.index {
            Some(index) => format!("index={index}&wait={}s", self.wait),
            None => String::new(),
        };
        let place = match question.subject {
            Subject::Home => &self.anywhere,
            _ => &self.parameters,
        };
        let parameters = format!("{blocking}{place}");
        let url = format!(
            "{}{}?{}",
            self.origin,
            question.subject.path(),
            parameters.trim_start_matches('&')
        );
        let timeout_ms = match question.index {
            // Consul answers late by up to a sixteenth.
            Some(_) => (self.wait + self.wait / 16 + 10) * 1000,
            None => READ_TIMEOUT_MS,
        };
        self.outgoing(url, timeout_ms)
    }

    /// Asks something once, in one datacenter or where the agent is. `None`: there is no such
    /// thing.
    pub(crate) fn look_up(
        &mut self,
        path: &str,
        datacenter: Option<&str>,
    ) -> Result<Option<Answer>, String> {
        self.token.refresh().and_then(|()| self.password.refresh())?;
        let request = self.outgoing(self.lookup_url(path, datacenter), LOOKUP_TIMEOUT_MS);
        let incoming = http_client::send(&request).map_err(|error| describe_error(&error))?;
        match incoming.status {
            404 => Ok(None),
            _ => answer(&incoming).map(Some),
        }
    }

    fn lookup_url(&self, path: &str, datacenter: Option<&str>) -> String {
        let datacenter = datacenter.map(|name| format!("&dc={}", percent_encoded(name)));
        let parameters = datacenter.unwrap_or_default() + &self.anywhere;
        format!("{}{path}?{}", self.origin, parameters.trim_start_matches('&'))
    }

    fn outgoing(&self, url: String, timeout_ms: u32) -> Outgoing {
        let mut headers = vec![Header::new("accept", "application/json")];
        if !self.token.text().is_empty() {
            headers.push(Header::new("x-consul-token", self.token.text()));
        }
        if !self.username.is_empty() {
            let pair = format!("{}:{}", self.username, self.password.text());
            let value = format!("Basic {}", BASE64_STANDARD.encode(pair));
            headers.push(Header::new("authorization", value.as_str()));
        }
        let method = "GET".to_owned();
        Outgoing { method, url, headers, body: Vec::new(), timeout_ms, max_body: MOST_BODY }
    }
}

/// A good answer, or why it is none. An index is taken from good answers only: errors carry 1.
fn answer(incoming: &Incoming) -> Result<Answer, String> {
    if incoming.status != 200 {
        let text = String::from_utf8_lossy(&incoming.body);
        let line = text.lines().next().unwrap_or_default().trim();
        let line: String = line.chars().take(200).collect();
        return Err(format!("answers {}: {line}", incoming.status));
    }
    let header = |name: &str| {
        let found = incoming.headers.iter().find(|header| header.name == name);
        found.and_then(|header| std::str::from_utf8(&header.value).ok())
    };
    let last_contact = header("x-consul-lastcontact").and_then(|text| text.parse::<u64>().ok());
    let remark = if header("x-consul-results-filtered-by-acls") == Some("true") {
        Some("the token may not read everything: some services or nodes are missing")
    } else if header("x-consul-knownleader") == Some("false") {
        Some("there is no leader: this may be old")
    } else if last_contact.is_some_and(|age| age > OLD_MS) {
        Some("the server has not heard of its leader for a while: this may be old")
    } else {
        None
    };
    Ok(Answer {
        index: header("x-consul-index").and_then(|text| text.parse().ok()),
        body: incoming.body.clone(),
        translates: header("x-consul-translate-addresses") == Some("true"),
        remark: remark.map(str::to_owned),
    })
}

fn describe_error(error: &HttpError) -> String {
    match error {
        HttpError::Denied(reason) => format!("may not be asked: {reason}"),
        HttpError::Invalid(reason) => format!("cannot be asked: {reason}"),
        HttpError::Resolve(reason) => format!("has no address: {reason}"),
        HttpError::Connect(reason) => format!("does not answer: {reason}"),
        HttpError::Tls(reason) => format!("does not agree on TLS: {reason}"),
        HttpError::Timeout => "does not answer: the time was over".to_owned(),
        HttpError::TooLarge => "answers with more than 64 MiB".to_owned(),
        HttpError::Protocol(reason) => format!("broke off: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn agent(config: Config) -> (Agent, String) {
        let mut invalid = Invalid::none();
        (Agent::new(&config, &mut invalid), invalid.to_string())
    }

    fn question(index: Option<u64>) -> Question {
        Question { subject: Subject::Service("my web".to_owned()), index, serial: 0 }
    }

    #[test]
    fn a_question_is_a_url() {
        let (plain, _) = agent(Config::default());
        let read = plain.request(&question(None));
        assert_eq!(read.url, "http://127.0.0.1:8500/v1/health/service/my%20web?");
        let config = Config {
            address: "https://consul.example:8501/".to_owned(),
            datacenter: "dc 1".to_owned(),
            stale: true,
            cache: true,
            namespaces: vec!["team".to_owned()],
            partition: "p/1".to_owned(),
            token: "secret".to_owned(),
            http_auth: Some(HttpAuth {
                username: "ada".to_owned(),
                password: "x:y".to_owned(),
                ..HttpAuth::default()
            }),
            ..Config::default()
        };
        let (full, _) = agent(config);
        let blocking = full.request(&question(Some(7)));
        assert_eq!(
            blocking.url,
            "https://consul.example:8501/v1/health/service/my%20web?index=7&wait=60s&dc=dc%201\
             &ns=team&partition=p%2F1&stale&cached"
        );
        assert!(blocking.headers.contains(&Header::new("authorization", "Basic YWRhOng6eQ==")));
        assert!(blocking.headers.contains(&Header::new("x-consul-token", "secret")));
        let home = Question { subject: Subject::Home, ..question(None) };
        assert_eq!(
            full.request(&home).url,
            "https://consul.example:8501/v1/health/service/consul?ns=team&partition=p%2F1&stale&cached"
        );
        assert!(blocking.timeout_ms > 63_750 && read.timeout_ms < blocking.timeout_ms);
    }

    #[test]
    fn a_lookup_says_itself_where() {
        let config = Config {
            datacenter: "dc1".to_owned(),
            stale: true,
            namespaces: vec!["team".to_owned()],
            ..Config::default()
        };
        let (agent, _) = agent(config);
        assert_eq!(
            agent.lookup_url("/x", Some("dc 2")),
            "http://127.0.0.1:8500/x?dc=dc%202&ns=team&stale"
        );
        assert_eq!(agent.lookup_url("/x", None), "http://127.0.0.1:8500/x?ns=team&stale");
    }

    #[test]
    fn an_address_is_http() {
        let check = |address: &str, origin: &str, problems: &str| {
            let config = Config { address: address.to_owned(), ..Config::default() };
            let (agent, found) = agent(config);
            assert_eq!((agent.origin.as_str(), found.as_str()), (origin, problems));
        };
        check("10.0.0.1:8500", "http://10.0.0.1:8500", "");
        check("unix://x", "", "/address: `unix` is neither `http` nor `https`");
        check("", "http://", "/address: the address is empty");
    }

    #[test]
    fn only_a_200_is_an_answer() {
        let header = |name: &str, value: &str| Header::new(name, value);
        let incoming = |status, headers| Incoming { status, headers, body: b"[]\nx".to_vec() };
        let index = || header("x-consul-index", "9");
        assert_eq!(answer(&incoming(200, vec![index()])).unwrap().index, Some(9));
        assert_eq!(answer(&incoming(500, vec![index()])).unwrap_err(), "answers 500: []");
        let header_of = |value| vec![header("x-consul-translate-addresses", value)];
        assert!(answer(&incoming(200, header_of("true"))).unwrap().translates);
        assert!(!answer(&incoming(200, vec![index()])).unwrap().translates);
        let leaderless = vec![index(), header("x-consul-knownleader", "false")];
        let remark = answer(&incoming(200, leaderless)).unwrap().remark.unwrap();
        assert_eq!(remark, "there is no leader: this may be old");
    }
}
