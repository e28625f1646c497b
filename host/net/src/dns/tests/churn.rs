//! A catalog in which names come, go and move, and what each of them means at the moment. The meaning is
//! worked out anew from the list of what is there, so it is not our zones that judge themselves.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{Record, RecordType},
};
use portolan_core::{
    item::{Health, Instance, Node},
    zone::{DnsConfig, Edges, Names, Registry, ZoneConfig, ZoneOptions, Zones},
};

const EDGE: &str = "10.9.9.9";
const TTL: u32 = 5;
const HEALTH: [Health; 4] =
    [Health::Passing, Health::Warning, Health::Critical, Health::Maintenance];

pub(super) struct Churn {
    registry: Registry,
    serial: u32,
    dice: Dice,
    nodes: BTreeMap<String, Arc<Node>>,
    instances: BTreeMap<Arc<str>, Arc<Instance>>,
    hosts: BTreeSet<String>,
}

/// A question, and what there is to say to it now.
#[derive(Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) rtype: RecordType,
    code: ResponseCode,
    /// The data of the answers, sorted.
    answers: Vec<String>,
    /// `owner data` of what comes along, sorted.
    additional: Vec<String>,
}

/// Marsaglia's xorshift: the same catalogs each time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }

    pub(super) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }
}

fn config() -> DnsConfig {
    let zone = |origin: &str, names| ZoneConfig {
        origin: origin.to_owned(),
        names,
        ttl: TTL,
        options: ZoneOptions::default(),
    };
    DnsConfig {
        edges: Edges::Same(vec![EDGE.parse().unwrap()]),
        zones: vec![
            zone("consul", Names::Consul),
            zone("lan", Names::Services),
            zone("edge.test", Names::Routers),
        ],
        ..DnsConfig::default()
    }
}

impl Churn {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            registry: Registry::new(&config()),
            serial: 0,
            dice: Dice(seed),
            nodes: BTreeMap::new(),
            instances: BTreeMap::new(),
            hosts: BTreeSet::new(),
        }
    }

    /// The zones after some changes; now and then made anew, as after a change of the configuration.
    pub(super) fn step(&mut self) -> Zones {
        self.serial += 1;
        for _ in 0..=self.dice.below(4) {
            match self.dice.below(8) {
                0 => self.change_node(),
                1 => self.change_host(),
                _ => self.change_instance(),
            }
        }
        if self.serial.is_multiple_of(50) {
            self.registry = Registry::new(&config());
            for (name, node) in &self.nodes {
                self.registry.node(0, name, None, Some(node));
            }
            for (id, instance) in &self.instances {
                self.registry.instance(0, id, None, Some(instance));
            }
            self.hosts.iter().for_each(|host| self.registry.host(host, &[], true));
        }
        self.registry.zones(true, self.serial)
    }

    fn change_node(&mut self) {
        let name = format!("n{}", self.dice.below(5));
        let after = (self.dice.below(4) > 0).then(|| {
            let address = format!("10.0.0.{}", self.dice.below(9));
            Arc::new(Node { name: name.clone(), address, ..Node::default() })
        });
        let before = self.nodes.remove(&name);
        self.registry.node(0, &name, before.as_ref(), after.as_ref());
        self.nodes.extend(after.map(|node| (name, node)));
    }

    fn change_host(&mut self) {
        let host = format!("h{}.edge.test", self.dice.below(5));
        let is_there = !self.hosts.remove(&host);
        self.registry.host(&host, &[], is_there);
        if is_there {
            self.hosts.insert(host);
        }
    }

    /// An instance may become one of another service, on another node.
    fn change_instance(&mut self) {
        let id: Arc<str> = format!("i{}", self.dice.below(30)).into();
        let after = (self.dice.below(3) > 0).then(|| {
            let address = match self.dice.below(3) {
                0 => String::new(),
                _ => format!("10.1.0.{}", self.dice.below(20)),
            };
            Arc::new(Instance {
                id: id.to_string(),
                service: format!("s{}", self.dice.below(8)),
                node: format!("n{}", self.dice.below(5)),
                address,
                port: 80 + self.dice.below(2) as u16,
                tags: vec![format!("t{}", self.dice.below(3))],
                health: self.dice.pick(&HEALTH),
                weight_passing: 1,
                weight_warning: 1,
                ..Instance::default()
            })
        });
        let before = self.instances.remove(&id);
        self.registry.instance(0, &id, before.as_ref(), after.as_ref());
        self.instances.extend(after.map(|instance| (id, instance)));
    }

    /// A question whose answer is known.
    pub(super) fn question(&mut self) -> Case {
        let (service, tag) = (format!("s{}", self.dice.below(9)), self.dice.below(4));
        match self.dice.below(7) {
            0 => self.addresses(format!("{service}.service.consul."), &service, None),
            1 => self.addresses(format!("{service}.lan."), &service, None),
            2 => {
                let tag = format!("t{tag}");
                self.addresses(format!("{tag}.{service}.service.consul."), &service, Some(&tag))
            }
            3 => self.servers(&service),
            4 => {
                let node = format!("n{}", self.dice.below(6));
                let address = self.nodes.get(&node).map(|node| node.address.clone());
                Case::new(format!("{node}.node.consul."), RecordType::A, address)
            }
            5 => {
                let host = format!("h{}.edge.test", self.dice.below(6));
                let address = self.hosts.contains(&host).then(|| EDGE.to_owned());
                Case::new(format!("{host}."), RecordType::A, address)
            }
            _ => {
                let number = self.dice.below(22);
                let address = format!("10.1.0.{number}");
                let here = self.instances.values().filter(|it| it.address == address);
                // The first by name.
                let first = here.map(|it| format!("{}.service.consul.", it.service)).min();
                let name = format!("{number}.0.1.10.in-addr.arpa.");
                Case::new(name, RecordType::PTR, first)
            }
        }
    }

    /// The address of an instance: its own, or that of its node, if there is such a node.
    fn address<'a>(&'a self, instance: &'a Instance) -> Option<&'a String> {
        match instance.address.is_empty() {
            true => self.nodes.get(&instance.node).map(|node| &node.address),
            false => Some(&instance.address),
        }
    }

    fn usable(&self, service: &str) -> impl Iterator<Item = &Arc<Instance>> {
        let is_usable = |health| matches!(health, Health::Passing | Health::Warning);
        let is_meant = move |it: &&Arc<Instance>| it.service == service && is_usable(it.health);
        self.instances.values().filter(is_meant)
    }

    fn addresses(&self, name: String, service: &str, tag: Option<&str>) -> Case {
        let usable = self.usable(service).filter(|it| tag.is_none_or(|tag| it.tags == [tag]));
        let usable: Vec<_> = usable.collect();
        let mut case = Case::new(
            name,
            RecordType::A,
            usable.iter().filter_map(|it| self.address(it)).cloned(),
        );
        // It is there, though nobody knows where.
        if !usable.is_empty() {
            case.code = ResponseCode::NoError;
        }
        case
    }

    fn servers(&self, service: &str) -> Case {
        let usable: Vec<_> = self.usable(service).collect();
        let (mut answers, mut additional) = (BTreeSet::new(), BTreeSet::new());
        for instance in &usable {
            let Some(address) = self.address(instance) else { continue };
            let target = match instance.address.is_empty() {
                true => format!("{}.node.consul.", instance.node),
                false => {
                    let octets = address.split('.').map(|it| it.parse::<u8>().unwrap());
                    let digits: String = octets.map(|it| format!("{it:02x}")).collect();
                    format!("{digits}.addr.consul.")
                }
            };
            answers.insert(format!("1 1 {} {target}", instance.port));
            additional.insert(format!("{target} {address}"));
        }
        let mut case = Case::new(format!("{service}.service.consul."), RecordType::SRV, answers);
        case.additional = additional.into_iter().collect();
        if !usable.is_empty() {
            case.code = ResponseCode::NoError;
        }
        case
    }
}

impl Case {
    /// No answers mean that there is no such name.
    fn new(name: String, rtype: RecordType, answers: impl IntoIterator<Item = String>) -> Self {
        let answers: BTreeSet<_> = answers.into_iter().collect();
        let code = if answers.is_empty() { ResponseCode::NXDomain } else { ResponseCode::NoError };
        let answers = answers.into_iter().collect();
        Self { name, rtype, code, answers, additional: Vec::new() }
    }

    /// Whether a reply says so and no more.
    pub(super) fn check(&self, reply: &Message) {
        let mut answers: Vec<_> = reply.answers.iter().map(|it| it.data.to_string()).collect();
        answers.sort();
        let along = reply.additionals.iter().map(|it| format!("{} {}", it.name, it.data));
        let mut additional: Vec<_> = along.collect();
        additional.sort();
        let code = reply.metadata.response_code;
        assert_eq!(
            (code, &answers, &additional),
            (self.code, &self.answers, &self.additional),
            "{self:?}"
        );
        assert!(reply.metadata.authoritative && !reply.metadata.truncation, "{self:?}");
        let is_mine = |it: &Record| it.name.to_ascii() == self.name && it.ttl == TTL;
        assert!(reply.answers.iter().all(is_mine), "{self:?}: {:?}", reply.answers);
        assert_eq!(reply.authorities.is_empty(), !answers.is_empty(), "{self:?}");
    }
}
