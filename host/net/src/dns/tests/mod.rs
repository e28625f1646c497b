//! A small world to ask about, and the ways to ask.

mod access;
mod churn;
mod demand;
mod dnssec;
mod fake;
mod filtering;
mod forwarding;
mod memory;
mod moments;
mod others;
mod rows;
mod rules;
mod soak;
mod sockets;
mod streams;
mod targets;
mod upstreams;
mod wire;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    rc::Rc,
    sync::Arc,
};

use hickory_proto::{
    op::{Edns, Message, OpCode, Query},
    rr::{Name, RecordType, rdata::opt::EdnsCode},
};
use portolan_core::{
    item::{Instance, Node},
    live::{Live, Publisher, live},
    snapshot::Snapshot,
    zone::{
        self, DnsConfig, Edges, Names, StaticRecord, ZoneConfig, ZoneInputs, ZoneOptions, Zones,
    },
};
use tokio::time::Instant;

use super::{
    DnsContext, DnsFigures, Forwarding, Forwardings, Policies, Policy,
    asker::{Asker, Handled, Transport},
    message::MAX_TCP,
};

/// `name type data` in the zone `home.arpa`.
const RECORDS: &[&str] = &[
    "box A 192.168.7.1",
    "box A 192.168.7.2",
    "box AAAA fd00::7",
    "alias CNAME box",
    "chain CNAME alias",
    "*.one CNAME a.other.home.arpa",
    "*.other CNAME a.one.home.arpa",
    "dangling CNAME nothing.home.arpa",
    "outside CNAME www.example.com",
    "away CNAME x.corp.home.arpa",
    "wanted CNAME db.query.consul",
    "mail MX 10 box",
    "lost MX 10 nothing",
    "shop SRV 1 1 443 shop.example.org.",
    "twin MX 10 box",
    "twin MX 20 box",
    "www TXT hello",
    "*.wild A 192.168.7.3",
];

fn zones(edges: &Edges) -> Zones {
    zones_when(true, edges)
}

fn zones_when(synced: bool, edges: &Edges) -> Zones {
    let record = |line: &&str| {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        let mut word = || words.next().unwrap();
        StaticRecord { name: word(), rtype: word(), data: word(), ttl: 60 }
    };
    let zone = |origin: &str, names| ZoneConfig {
        origin: origin.to_owned(),
        names,
        ttl: 5,
        options: ZoneOptions::default(),
    };
    let config = DnsConfig {
        edges: edges.clone(),
        server_addresses: vec!["10.9.9.8".parse().unwrap()],
        zones: vec![
            zone("consul", Names::Consul),
            zone("home.arpa", Names::Static(RECORDS.iter().map(record).collect())),
        ],
        ..DnsConfig::default()
    };
    let node = Node { name: "n1".to_owned(), address: "10.0.0.1".to_owned(), ..Node::default() };
    let instance = |service: &str, number: usize| {
        Arc::new(Instance {
            id: format!("{service}-{number}"),
            service: service.to_owned(),
            node: "n1".to_owned(),
            address: format!("10.1.{}.{}", number / 250, number % 250),
            port: 80,
            weight_passing: 1,
            ..Instance::default()
        })
    };
    let many = (0..200).map(|number| instance("many", number));
    let some = (0..14).map(|number| instance("some", number));
    let far = (0..3).map(|number| {
        let address = format!("far{number}.example.com");
        Arc::new(Instance { address, ..(*instance("far", number)).clone() })
    });
    let mixed = ["www.example.com", "box.home.arpa"].iter().zip(0..).map(|(address, number)| {
        let address = (*address).to_owned();
        Arc::new(Instance { address, ..(*instance("mixed", number)).clone() })
    });
    let kin =
        Arc::new(Instance { address: "Box.home.arpa".to_owned(), ..(*instance("kin", 0)).clone() });
    let two = |port: u16| {
        let address = String::new();
        Arc::new(Instance { address, port, ..(*instance("two", port.into())).clone() })
    };
    let others = [instance("one", 0), kin, two(80), two(81)];
    let instances: Vec<_> = many.chain(some).chain(others).chain(far).chain(mixed).collect();
    let inputs = ZoneInputs {
        config: &config,
        nodes: &[Arc::new(node)],
        instances: &instances,
        router_hosts: &["shop.example.org".to_owned()],
        synced,
        serial: 1,
    };
    Zones::build(&inputs).0
}

/// What serves, and how to change it.
struct World {
    context: Rc<DnsContext>,
    forwarding: Arc<Forwardings>,
    figures: Arc<DnsFigures>,
    policies: Arc<Policies>,
    publisher: Publisher,
    live: Live,
}

impl World {
    fn new(upstreams: &[SocketAddr]) -> Self {
        Self::made(upstreams, &Edges::Same(vec!["10.9.9.9".parse().unwrap()]))
    }

    fn with_edges(edges: &Edges) -> Self {
        Self::made(&[], edges)
    }

    fn made(upstreams: &[SocketAddr], edges: &Edges) -> Self {
        let (publisher, live) = live(Snapshot { zones: zones(edges), ..Snapshot::default() });
        let upstreams = upstreams.iter().map(|upstream| (*upstream).into()).collect();
        // Fake upstreams keep letters as real ones do.
        let settings = Forwarding { upstreams, mix_case: true, ..Forwarding::default() };
        let forwarding = Arc::new(Forwardings::new(settings, Arc::default()));
        let (figures, policies) = (Arc::<DnsFigures>::default(), Arc::<Policies>::default());
        let context = DnsContext::new(&live, forwarding.clone(), policies.clone(), figures.clone());
        Self { context, forwarding, figures, policies, publisher, live }
    }

    fn govern(&self, policy: Policy) {
        assert!(self.policies.set(policy));
    }

    /// The reply to a packet, without any socket.
    fn handle(&self, packet: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let [client, local] = [IpAddr::V4(Ipv4Addr::LOCALHOST); 2];
        self.handle_as(packet, Asker { transport, client, local })
    }

    /// The reply over UDP to somebody who asks one of our addresses.
    fn handle_from(&self, packet: &[u8], client: IpAddr, local: IpAddr) -> Option<Vec<u8>> {
        self.handle_as(packet, Asker { transport: Transport::Udp, client, local })
    }

    fn handle_as(&self, packet: &[u8], asker: Asker) -> Option<Vec<u8>> {
        let mut out = vec![0; MAX_TCP];
        let now = Instant::now();
        let handled = self
            .context
            .with_zones(|zones| self.context.handle(packet, asker, zones, now, &mut out));
        match handled {
            Handled::Reply(length) => Some(out[..length].to_vec()),
            Handled::Ignore | Handled::Forward => None,
        }
    }

    fn ask(&self, packet: &[u8], transport: Transport) -> Message {
        Message::from_vec(&self.handle(packet, transport).unwrap()).unwrap()
    }
}

/// A name as our own code has it.
fn name(text: &str) -> zone::Name {
    zone::Name::parse(text).unwrap()
}

/// The data of the answers.
fn answers(reply: &Message) -> Vec<String> {
    reply.answers.iter().map(|record| record.data.to_string()).collect()
}

/// Why, by a number of RFC 8914.
fn error(reply: &Message) -> Option<u8> {
    let option = reply.edns.as_ref()?.option(EdnsCode::Unknown(15))?;
    Vec::<u8>::try_from(option).ok()?.get(1).copied()
}

/// A question as others write it.
fn question(name: &str, rtype: RecordType, payload: Option<u16>) -> Message {
    let mut message = Message::query();
    message.metadata.id = 4711;
    message.metadata.op_code = OpCode::Query;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), rtype));
    if let Some(payload) = payload {
        let mut edns = Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message
}

fn packet(name: &str, rtype: RecordType, payload: Option<u16>) -> Vec<u8> {
    question(name, rtype, payload).to_vec().unwrap()
}
