//! Upstreams that fall silent, and answer again: who is told what.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
};

use futures_util::future::join_all;
use hickory_proto::{
    op::{Message, MessageType},
    rr::{RData, Record, rdata::A},
};
use tokio::net::UdpSocket;

use crate::support::{Config, Portolan, eventually};

/// A resolver that knows one address for every name, and may be silent.
struct Upstream {
    address: SocketAddr,
    answers: Arc<AtomicBool>,
}

impl Upstream {
    async fn start(answers: bool) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let answers = Arc::new(AtomicBool::new(answers));
        tokio::spawn(serve(socket, answers.clone()));
        Self { address, answers }
    }

    fn answers(&self, whether: bool) {
        self.answers.store(whether, SeqCst);
    }
}

async fn serve(socket: UdpSocket, answers: Arc<AtomicBool>) {
    let mut buffer = [0; 4096];
    loop {
        let (length, from) = socket.recv_from(&mut buffer).await.unwrap();
        if !answers.load(SeqCst) {
            continue;
        }
        let mut message = Message::from_vec(&buffer[..length]).unwrap();
        message.metadata.message_type = MessageType::Response;
        let name = message.queries[0].name().clone();
        let address = A(Ipv4Addr::new(203, 0, 113, 9));
        message.answers.push(Record::from_rdata(name, 60, RData::A(address)));
        socket.send_to(&message.to_vec().unwrap(), from).await.unwrap();
    }
}

fn asking(upstreams: &[&Upstream]) -> String {
    let list: Vec<_> = upstreams.iter().map(|it| format!("\"{}\"", it.address)).collect();
    format!(
        "data-dir = \"data\"\nthreads = 2\n[admin]\naddress = \"127.0.0.1:0\"\n\
         [dns]\naddress = \"127.0.0.1:0\"\nupstreams = [{}]\n",
        list.join(", ")
    )
}

/// Asks for names that nobody asked for before, from several ports, so that both threads are asked.
async fn ask(portolan: &Portolan, round: &str) {
    let names: Vec<_> = (0..8).map(|number| format!("n{number}.{round}.example.org.")).collect();
    let resolver = portolan.dns();
    join_all(names.iter().map(|name| resolver.a(name))).await;
}

/// The lines of the log that say this of an upstream.
fn lines(portolan: &Portolan, text: &str, upstream: &Upstream) -> Vec<String> {
    let of = format!("upstream={}", upstream.address);
    let of_json = format!("\"upstream\":\"{}\"", upstream.address);
    let log = portolan.log();
    let lines = log.lines().filter(|line| line.contains(text));
    let plain = lines.map(|line| line.replace("upstream=\"", "upstream="));
    plain.filter(|line| line.contains(&of) || line.contains(&of_json)).collect()
}

async fn problems(portolan: &Portolan) -> String {
    portolan.api("/api/problems").await.to_string()
}

async fn metrics(portolan: &Portolan) -> String {
    portolan.admin().get("localhost", "/metrics").await.body
}

#[tokio::test]
async fn an_upstream_that_is_silent_is_told_by_name_and_nobody_answering_is_a_problem() {
    let (silent, good) = (Upstream::start(false).await, Upstream::start(true).await);
    let config = Config::exactly(&asking(&[&silent, &good]));
    let portolan = Portolan::start(&config);
    ask(&portolan, "first").await;
    portolan.log_until("no answers from an upstream");
    // The other thread finds it too, if it was asked.
    ask(&portolan, "second").await;
    let told = lines(&portolan, "no answers from an upstream", &silent);
    assert_eq!(told.len(), 1, "{told:?}");
    for text in [format!("{}", good.address), "no answer in time".to_owned(), "5 s".to_owned()] {
        assert!(told[0].contains(&text), "no {text} in {told:?}");
    }
    let page = metrics(&portolan).await;
    for line in [
        format!("portolan_dns_upstream_up{{upstream=\"{}\"}} 0", silent.address),
        format!("portolan_dns_upstream_up{{upstream=\"{}\"}} 1", good.address),
        format!(
            "portolan_dns_upstream_duration_seconds_count{{upstream=\"{}\"}} 0",
            silent.address
        ),
    ] {
        assert!(page.lines().any(|it| it == line), "no `{line}` in {page}");
    }
    let all = portolan.api("/api/dns").await["upstreams"].clone();
    assert_eq!([&all[0]["state"], &all[1]["state"]], ["resting", "answering"]);
    assert!(all[0]["failures"]["silent"].as_u64() > Some(0), "{all}");
    assert!(!problems(&portolan).await.contains("dns.upstreams"), "one answers");

    good.answers(false);
    ask(&portolan, "third").await;
    let asks = || problems(&portolan);
    let told = eventually(asks, |told| told.contains("no upstream answers")).await;
    assert!(told.contains("dns.upstreams") && told.contains(&good.address.to_string()), "{told}");
    let page = metrics(&portolan).await;
    assert!(page.lines().any(|it| it == "portolan_problems{severity=\"error\"} 1"), "{page}");

    // What is known of them outlives a change of settings.
    config.replace(&format!("{}mix-case = false\n", asking(&[&silent, &good])));
    portolan.log_until("configuration in use");
    assert!(problems(&portolan).await.contains("no upstream answers"));

    silent.answers(true);
    let (mut round, running) = (0, &portolan);
    let asks = || {
        round += 1;
        async move {
            ask(running, &format!("last{round}")).await;
            problems(running).await
        }
    };
    eventually(asks, |told| !told.contains("no upstream answers")).await;
    portolan.log_until("an upstream answers again");
    assert_eq!(lines(&portolan, "an upstream answers again", &silent).len(), 1);
    assert_eq!(lines(&portolan, "no answers from an upstream", &good).len(), 1);
    let up = format!("portolan_dns_upstream_up{{upstream=\"{}\"}} 1", silent.address);
    assert!(metrics(&portolan).await.lines().any(|line| line == up));
}
