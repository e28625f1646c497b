//! What must hold for any packet of a client, and for any answer of an upstream.

use std::{
    net::{IpAddr, Ipv4Addr},
    rc::Rc,
    sync::Arc,
};

use hickory_proto::op::Message;
use portolan_core::{
    item::{Instance, Node},
    live::{Publisher, live},
    snapshot::Snapshot,
    zone::{
        DnsConfig, Names, RecordType, StaticRecord, ZoneConfig, ZoneInputs, ZoneOptions, Zones,
    },
};
use tokio::time::Instant;

use super::{
    DnsContext, Forwardings, Policies,
    asker::{Asker, Handled, Transport},
    chase,
    forward::CacheConfig,
    message::{Incoming, MAX_TCP, MAX_UDP, PLAIN_UDP},
    stored::{Age, Stored},
};

/// A server with names of every kind, without upstreams.
pub struct Questions {
    context: Rc<DnsContext>,
    _publisher: Publisher,
}

impl Default for Questions {
    fn default() -> Self {
        Self::new()
    }
}

impl Questions {
    /// The same names each time.
    pub fn new() -> Self {
        let (publisher, live) = live(Snapshot { zones: zones(), ..Snapshot::default() });
        let policies = Arc::<Policies>::default();
        let context =
            DnsContext::new(&live, Arc::<Forwardings>::default(), policies, Arc::default());
        Self { context, _publisher: publisher }
    }

    /// Whatever it is, the reply is one that others can read, and no longer than it may be: by a
    /// client without EDNS 512 bytes, and never more than a network carries in one piece.
    pub fn ask(&self, packet: &[u8]) {
        for transport in [Transport::Udp, Transport::Tcp] {
            let mut out = vec![0; MAX_TCP];
            let [client, local] = [IpAddr::V4(Ipv4Addr::LOCALHOST); 2];
            let asker = Asker { transport, client, local };
            let handled = self.context.with_zones(|zones| {
                self.context.handle(packet, asker, zones, Instant::now(), &mut out)
            });
            let Handled::Reply(length) = handled else { continue };
            let reply = out.get(..length).unwrap_or_default();
            assert_eq!(reply.get(..2), packet.get(..2), "the id is another");
            let read = Message::from_vec(reply).map_err(|error| error.to_string());
            let read = read.unwrap_or_else(|error| panic!("{error}: {reply:02x?}"));
            let limit = match (transport, read.edns.is_some()) {
                (Transport::Udp, true) => MAX_UDP,
                (Transport::Udp, false) => PLAIN_UDP,
                _ => MAX_TCP,
            };
            assert!(length <= limit, "{length} of {limit}");
        }
    }
}

/// Whatever an upstream says is refused, or kept in a form whose replies fit. Answers whether it was
/// kept.
pub fn upstream_answer(bytes: &[u8]) -> bool {
    let asked = question(b"\x01a\x07example\x03com\x00");
    let Incoming::Question(question) = Incoming::parse(&asked) else { return false };
    let name = question.name;
    let Ok(mut stored) = Stored::parse(bytes, name.as_bytes(), RecordType::A) else { return false };
    stored.without_private(bytes.len().is_multiple_of(2));
    stored.clamp(&CacheConfig { min_ttl: 10, ..CacheConfig::default() });
    let chain = chain();
    let mut out = [0; MAX_UDP];
    for (age, limit) in [(Age::Fresh(5), MAX_UDP), (Age::Stale, 60), (Age::Fresh(u32::MAX), 512)] {
        let length = stored.write(&question, age, (limit, 0), &mut out);
        assert!(length <= limit, "{length} of {limit}");
        let length = chase::join(&chain, &stored, age, limit, &mut out);
        assert!(length <= limit.max(chain.len()), "{length} of {limit}");
    }
    true
}

/// A question for an address, with EDNS.
fn question(name: &[u8]) -> Vec<u8> {
    let mut packet = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    packet.extend_from_slice(name);
    packet.extend_from_slice(&[0, 1, 0, 1, 0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    packet
}

/// A name of ours that is another name for one outside.
fn chain() -> Vec<u8> {
    let mut packet = question(b"\x03out\x04home\x04arpa\x00");
    packet.truncate(packet.len() - 11);
    packet.splice(2..12, [0x85, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
    packet.extend_from_slice(&[0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 9, 0, 15]);
    packet.extend_from_slice(b"\x01a\x07example\x03com\x00");
    packet
}

fn zones() -> Zones {
    const RECORDS: [[&str; 3]; 9] = [
        ["box", "A", "192.168.7.1"],
        ["box", "AAAA", "fd00::7"],
        ["alias", "CNAME", "box"],
        ["*.one", "CNAME", "a.other.home.arpa"],
        ["*.other", "CNAME", "a.one.home.arpa"],
        ["out", "CNAME", "www.example.com"],
        ["mail", "MX", "10 box"],
        ["text", "TXT", "hello"],
        ["*.wild", "A", "192.168.7.3"],
    ];
    let record = |[name, rtype, data]: [&str; 3]| StaticRecord {
        name: name.to_owned(),
        rtype: rtype.to_owned(),
        data: data.to_owned(),
        ttl: 60,
    };
    let zone = |origin: &str, names| ZoneConfig {
        origin: origin.to_owned(),
        names,
        ttl: 5,
        options: ZoneOptions { node_meta: true, ..ZoneOptions::default() },
    };
    let statics = Names::Static(RECORDS.map(record).into());
    let config = DnsConfig {
        edge_addresses: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)],
        zones: vec![
            zone("consul", Names::Consul),
            zone("lan", Names::Services),
            zone("home.arpa", statics),
        ],
        ..DnsConfig::default()
    };
    let node = Node {
        name: "n1".to_owned(),
        address: "10.0.0.1".to_owned(),
        meta: vec![("rack".to_owned(), "7".to_owned())],
        ..Node::default()
    };
    let instance = |number: u16| {
        Arc::new(Instance {
            id: number.to_string(),
            service: if number == 0 { "one" } else { "many" }.to_owned(),
            node: "n1".to_owned(),
            address: format!("10.1.0.{}", number % 250),
            port: number,
            weight_passing: 1,
            tags: vec!["blue".to_owned()],
            ..Instance::default()
        })
    };
    let instances: Vec<_> = (0..120).map(instance).collect();
    let inputs = ZoneInputs {
        config: &config,
        nodes: &[Arc::new(node)],
        instances: &instances,
        router_hosts: &["shop.example.org".to_owned(), "*.app.example.org".to_owned()],
        synced: true,
        serial: 1,
    };
    Zones::build(&inputs).0
}
