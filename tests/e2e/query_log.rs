//! The query log: a line for a question, where that is asked for.

use hickory_proto::rr::RecordType;
use serde_json::{Value, json};
use tokio::net::UdpSocket;

use crate::support::{Config, Portolan, Resolver, eventually, question};

/// Of one thread, so that all questions are counted together.
const CONFIG: &str = r#"
data-dir = "data"
threads = 1
[log]
format = "json"
[admin]
address = "127.0.0.1:0"
[dns]
address = "127.0.0.1:0"
upstreams = []
[dns.zones.lan]
names = "static"
ttl = 7
records = [
    { name = "*", type = "A", data = "10.7.0.1" },
    { name = "*", type = "A", data = "10.7.0.2" },
]
"#;

/// The lines about questions, without their times.
fn logged(portolan: &Portolan) -> Vec<Value> {
    let lines = portolan.log();
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let questions = lines.filter(|line| line["target"] == "query");
    let without_time = questions.map(|mut line| {
        assert!(line.as_object_mut().unwrap().remove("timestamp").is_some());
        line
    });
    without_time.collect()
}

fn names(lines: &[Value]) -> Vec<&str> {
    lines.iter().map(|line| line["name"].as_str().unwrap()).collect()
}

/// The lines, once there are so many.
async fn until(portolan: &Portolan, count: usize) -> Vec<Value> {
    eventually(|| async { logged(portolan) }, |lines| lines.len() >= count).await
}

async fn ask_many(resolver: Resolver, count: usize) {
    for number in 0..count {
        assert_eq!(resolver.a(&format!("n{number}.lan.")).await.answers.len(), 2);
    }
}

#[tokio::test]
async fn no_question_is_logged_unless_it_is_asked_for_and_then_one_in_so_many() {
    let config = Config::exactly(CONFIG);
    let portolan = Portolan::start(&config);
    let resolver = portolan.dns();
    ask_many(resolver, 6).await;
    config.replace(&format!("{CONFIG}[dns.query-log]\nsample = 1\n"));
    // The last of those that nobody wanted a line about comes before the first that somebody wants.
    let ask = || async {
        resolver.a("begin.lan.").await;
        logged(&portolan)
    };
    let lines = eventually(ask, |lines| !lines.is_empty()).await;
    assert!(names(&lines).iter().all(|name| name.starts_with("begin.")), "{lines:?}");

    let config = Config::exactly(&format!("{CONFIG}[dns.query-log]\nsample = 3\n"));
    let portolan = Portolan::start(&config);
    ask_many(portolan.dns(), 10).await;
    let lines = until(&portolan, 4).await;
    assert_eq!(names(&lines), ["n0.lan", "n3.lan", "n6.lan", "n9.lan"]);
}

#[tokio::test]
async fn a_line_tells_who_asked_what_and_how_it_was_answered() {
    let config = Config::exactly(&format!("{CONFIG}[dns.query-log]\nsample = 1\n"));
    let portolan = Portolan::start(&config);
    let resolver = portolan.dns();
    resolver.a("WWW.lan.").await;
    resolver.ask_tcp("lan.", RecordType::MX).await;
    resolver.ask("www.example.org.", RecordType::AAAA).await;
    let line = |transport, name, rtype, code, is_ours, answers, bytes| {
        json!({
            "level": "INFO", "target": "query", "message": "query", "client": "127.0.0.1", "transport": transport,
            "name": name, "rtype": rtype, "code": code, "is_ours": is_ours, "answers": answers,
            "bytes": bytes,
        })
    };
    // 12 bytes are the header of a reply, and of a record what is not data; a question is as long as
    // its name, and 6 more.
    let (addresses, soa) = (2 * 16, 12 + "?ns?lan?".len() + "?hostmaster?lan?".len() + 20);
    assert_eq!(
        until(&portolan, 3).await,
        [
            line("udp", "www.lan", "A", 0, true, 2, 12 + 13 + addresses),
            line("tcp", "lan", "MX", 0, true, 0, 12 + 9 + soa),
            line("udp", "www.example.org", "AAAA", 5, false, 0, 12 + 21),
        ]
    );
    // What an upstream says has one line too, and what is remembered of it.
    let (asking, _zones) = CONFIG.split_once("[dns.zones").unwrap();
    let asking = asking.replace("[]", &format!("[\"{}\"]", portolan.address("dns")));
    let config = Config::exactly(&format!("{asking}[dns.query-log]\nsample = 1\n"));
    let portolan = Portolan::start(&config);
    for name in ["www.lan.", "www.lan.", "last.lan."] {
        portolan.dns().a(name).await;
    }
    let [www, last] = [("www.lan", 13), ("last.lan", 14)]
        .map(|(name, question)| line("udp", name, "A", 0, false, 2, 12 + question + addresses));
    assert_eq!(until(&portolan, 3).await, [www.clone(), www, last]);
}

#[tokio::test]
async fn nobody_writes_lines_of_their_own_into_the_log() {
    let lines = ["a\n{\"level\":\"ERROR\"}", "b\u{1b}[31m c"];
    for format in ["json", "text"] {
        let config = CONFIG.replace("json", format);
        let config = Config::exactly(&format!("{config}[dns.query-log]\nsample = 1\n"));
        let portolan = Portolan::start(&config);
        for label in lines {
            let mut packet = question("x.lan.", RecordType::A);
            packet.splice(12..14, [&[label.len() as u8], label.as_bytes()].concat());
            let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
            socket.connect(portolan.address("dns")).await.unwrap();
            socket.send(&packet).await.unwrap();
            socket.recv(&mut [0; 512]).await.unwrap();
        }
        let log = || async { portolan.log() };
        let log = eventually(log, |log| log.contains("027[31m")).await;
        assert!(!log.contains('\u{1b}'), "{log}");
        assert!(!log.lines().any(|line| line.starts_with("{\"level\":\"ERROR\"")), "{log}");
        // Each has its line, which tells that it is about a question.
        let is_query = |line: &&str| line.split([' ', '"']).any(|word| word == "query");
        assert_eq!(log.lines().filter(is_query).count(), 2, "{log}");
    }
}
