//! What is served to those who fuzz: names of every kind, and all that stands before upstreams.

use std::{
    future::{Future, ready},
    net::{IpAddr, Ipv4Addr},
    pin::Pin,
    rc::Rc,
    sync::Arc,
};

use ipnet::IpNet;
use portolan_core::{
    item::{Instance, Node},
    live::{Live, Publisher, live},
    snapshot::Snapshot,
    zone::{
        DnsConfig, Edges, Everywhere, Name, Names, Reach, StaticRecord, ZoneConfig, ZoneInputs,
        ZoneOptions, Zones,
    },
};

use super::super::{
    BlockAnswer, BlockList, DnsContext, Filter, Finder, Forwarding, Forwardings, Listed, Nearby,
    Place, Policies, Policy, Protocol, RateLimit, Rewrite, Rewrites, Sought, UpstreamConfig,
};

/// One server for each way to answer what is blocked.
pub(super) struct World {
    pub(super) servers: Vec<Server>,
    _publishers: Vec<Publisher>,
}

pub(super) struct Server {
    pub(super) context: Rc<DnsContext>,
    /// The longest reply over UDP that anybody gets.
    pub(super) udp_size: u16,
}

impl World {
    /// The same names each time.
    pub(super) fn new() -> Self {
        let servers = [
            (BlockAnswer::NoSuchName, 1232),
            (BlockAnswer::NoData, Policy::LARGEST_UDP),
            (BlockAnswer::Zero, 1232),
            (BlockAnswer::Refused, 512),
        ];
        let begun = servers.map(|(answer, udp_size)| {
            let zones = zones(Everywhere { v4: udp_size != 1232, v6: false });
            let (publisher, live) = live(Snapshot { zones, ..Snapshot::default() });
            (server(&live, answer, udp_size), publisher)
        });
        let (servers, publishers) = begun.into_iter().unzip();
        Self { servers, _publishers: publishers }
    }
}

fn server(live: &Live, block_answer: BlockAnswer, udp_size: u16) -> Server {
    let rules = ["||ads.example^", "0.0.0.0 tracker.example", "@@||good.ads.example^"];
    let blocked = BlockList::build(rules.iter().filter_map(|rule| Listed::parse(rule).ok()));
    let discard = Place::At((Ipv4Addr::LOCALHOST, 9).into());
    let upstream = UpstreamConfig { place: discard, protocol: Protocol::Udp };
    let settings = Forwarding {
        upstreams: vec![upstream.clone()],
        suffixes: [("corp.example", vec![]), ("far.home.arpa", vec![upstream])]
            .into_iter()
            .filter_map(|(suffix, upstreams)| Some((name(suffix)?, upstreams)))
            .collect(),
        filter: Filter {
            blocked: Arc::new(blocked),
            block_answer,
            domain_needed: true,
            ..Filter::default()
        },
        ..Forwarding::default()
    };
    let forwardings = Arc::new(Forwardings::new(settings, Arc::default()));
    forwardings.look_up_with(Arc::new(Nobody));
    let policies = Arc::<Policies>::default();
    policies.set(Policy {
        udp_size,
        limit: Some(RateLimit { per_second: 1, slip: 2 }),
        edges: Nearby::new(&[IpNet::from(LOCAL)]),
        rewrites: Arc::new(rewrites()),
        ..Policy::default()
    });
    let context = DnsContext::new(live, forwardings, policies, Arc::default());
    Server { context, udp_size }
}

/// The address that is asked.
pub(super) const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 9, 9, 9));
const EDGES: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), LOCAL];

/// A source that is there, and finds nothing.
struct Nobody;

impl Finder for Nobody {
    fn is_ready(&self) -> bool {
        true
    }

    fn served(&self) -> Arc<Snapshot> {
        Arc::default()
    }

    fn find(&self, _name: &[u8]) -> Pin<Box<dyn Future<Output = Option<Sought>> + Send>> {
        Box::pin(ready(None))
    }
}

/// Names for names, for what stands below names, and for more addresses than fit.
fn rewrites() -> Rewrites {
    let mut rewrites = Rewrites::new(9);
    let addresses = (0..100).map(|number| IpAddr::V4(Ipv4Addr::new(10, 3, 0, number)));
    let rules = [
        ("old.example", name("box.home.arpa").map(Rewrite::Name)),
        ("many.example", Some(Rewrite::Addresses(addresses.collect()))),
        ("away.example", name("www.example.org").map(Rewrite::Name)),
    ];
    for (from, rewrite) in rules {
        if let (Some(from), Some(rewrite)) = (name(from), rewrite) {
            rewrites.exactly(&from, rewrite);
        }
    }
    if let (Some(from), Some(to)) = (name("apps.example"), name("wild.home.arpa")) {
        rewrites.below(&from, Rewrite::Below(to));
    }
    rewrites
}

fn name(text: &str) -> Option<Name> {
    Name::parse(text).ok()
}

fn zones(everywhere: Everywhere) -> Zones {
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
        edges: Edges::Each(vec![("web".into(), Reach { addresses: EDGES.into(), everywhere })]),
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
