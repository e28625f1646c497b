//! What stands in the catalog, and what is asked about it.

use hickory_proto::rr::RecordType;
use serde_json::json;

use crate::support::Consul;

/// How long others may keep what both say. Each has a number of its own, so that none can be taken
/// for another.
pub(super) const CONSUL: &str = r#"
    dns_config {
        node_ttl = "11s"
        service_ttl { "*" = "7s", "web" = "9s", "d*" = "8s" }
        soa { min_ttl = 13 }
    }
"#;

/// The same in our words.
const OURS: &str = r#"
    data-dir = "data"
    threads = 2
    [dns]
    address = "127.0.0.1:0"
    upstreams = []
    [dns.zones.consul]
    names = "consul"
    ttl = 5
    node-ttl = 11
    service-ttl = { "*" = 7, web = 9, "d*" = 8 }
    negative-ttl = 13
    [admin]
    address = "127.0.0.1:0"
    [plugins]
    directory = "plugins"
"#;

pub(super) const ZONE_TTL: u32 = 5;
pub(super) const NODE_TTL: u32 = 11;
pub(super) const NEGATIVE_TTL: u32 = 13;

type Meta = &'static [(&'static str, &'static str)];

/// `node address meta`
const NODES: &[(&str, &str, Meta)] = &[
    ("alpha", "10.9.0.1", &[("os", "linux"), ("rfc1035-note", "as it is"), ("a=b", " c`d ")]),
    ("Beta", "10.9.0.2", &[("os", "linux")]),
    ("gamma.rack", "10.9.0.3", &[]),
    ("delta", "fd09::4", &[("os", "plan9")]),
    ("outer", "outer.example.com", &[("external-node", "true")]),
];

/// `service id node address port tags status`
const INSTANCES: &[&str] = &[
    "web w1 alpha 10.8.0.1 80 blue passing",
    "web w2 Beta 10.8.0.2 81 green,v1.blue passing",
    "web w3 alpha 10.8.0.3 82 blue critical",
    "Web w4 delta - 83 GREEN warning",
    "db d1 alpha - 5432 primary passing",
    "db d2 Beta - 5432 replica passing",
    "six s1 delta fd08::1 7 - passing",
    "dead x1 alpha 10.8.0.9 9 old critical",
    "ext e1 Beta api.example.com 443 - passing",
    "far f1 outer - 444 - passing",
    "kin k1 alpha one.service.consul 445 - passing",
    "one o1 gamma.rack 10.8.0.7 1 only passing",
    "twin t1 alpha 10.8.0.8 1 blue passing",
    "twin t2 Beta 10.8.0.8 1 green passing",
    "twin t3 Beta 10.8.0.8 2 green passing",
];

/// What we are configured by.
pub(super) fn ours(consul: &Consul) -> String {
    let url = consul.url();
    format!(
        "{OURS}[providers.consul]\nplugin = \"consul\"\n\
         config = {{ address = \"{url}\", prefix = \"traefik\" }}\n\
         grants = {{ http-client = [\"{url}\"] }}\n"
    )
}

/// Registers all of it.
pub(super) async fn fill(consul: &Consul) {
    for (node, address, meta) in NODES {
        let meta: serde_json::Map<_, _> =
            meta.iter().map(|(key, value)| ((*key).to_owned(), json!(value))).collect();
        let body = json!({ "Node": node, "Address": address, "NodeMeta": meta });
        consul.put("/v1/catalog/register", &body).await;
    }
    for line in INSTANCES {
        let words: Vec<_> = line.split(' ').collect();
        let [service, id, node, address, port, tags, status] = words[..] else { panic!("{line}") };
        let node_address = NODES.iter().find(|(name, ..)| *name == node).unwrap().1;
        let tags: Vec<_> = tags.split(',').filter(|tag| *tag != "-").collect();
        let body = json!({
            "Node": node, "Address": node_address, "SkipNodeUpdate": true,
            "Service": {
                "ID": id, "Service": service, "Tags": tags, "Port": port.parse::<u16>().unwrap(),
                "Address": address.trim_matches('-'),
                "Weights": { "Passing": 3, "Warning": 2 },
            },
            "Check": {
                "CheckID": format!("check-{id}"), "ServiceID": id, "Name": "c", "Status": status,
            },
        });
        consul.put("/v1/catalog/register", &body).await;
    }
}

/// Marsaglia's xorshift: the questions are the same each time.
pub(super) struct Dice(pub(super) u64);

impl Dice {
    fn below(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % most as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }

    /// A name of Consul's grammar, or nearly, and a type; now and then an address.
    pub(super) fn question(&mut self) -> (String, RecordType) {
        if self.below(20) == 0 {
            let addresses =
                ["1.0.9.10", "3.0.9.10", "1.0.8.10", "3.0.8.10", "8.0.8.10", "9.9.9.10"];
            return (format!("{}.in-addr.arpa.", self.pick(&addresses)), RecordType::PTR);
        }
        let services =
            ["web", "db", "six", "dead", "ext", "far", "kin", "one", "twin", "consul", "nothing"];
        let service = self.pick(&services);
        let tag = self.pick(&["blue", "green", "v1.blue", "primary", "old", "only", "none", "tcp"]);
        let nodes = ["alpha", "beta", "gamma.rack", "delta", "outer", "harbour", "nobody"];
        let node = self.pick(&nodes);
        let spelled = self.pick(&["0a080001", "fd080000000000000000000000000001", "0a08", "xx"]);
        let own = match self.below(10) {
            0..3 => format!("{service}.service"),
            3..5 => format!("{tag}.{service}.service"),
            5 => format!("_{service}._{}.service", tag.replace('.', "-")),
            6 => format!("_{service}._{}", tag.replace('.', "-")),
            7 => format!("{node}.node"),
            8 => format!("{spelled}.addr"),
            _ => self.pick(&["", "service", "node", "a.b.c", "nope", "x.y.service"]).to_owned(),
        };
        let datacenter = self.pick(&["", "", "", ".dc1", ".dc9"]);
        let mut name = format!("{own}{datacenter}.consul.").trim_start_matches('.').to_owned();
        if self.below(4) == 0 {
            name = name.to_ascii_uppercase();
        }
        use RecordType::{A, AAAA, ANY, MX, NS, SOA, SRV, TXT};
        let rtype = [A, A, A, AAAA, AAAA, SRV, SRV, SRV, TXT, ANY, MX, SOA, NS][self.below(13)];
        (name, rtype)
    }
}
