//! The facts that a catalog provider reports: nodes, instances, and fragments of configuration.
//!
//! These mirror `provider.wit` and know nothing of HTTP or DNS.

use std::{net::IpAddr, sync::Arc};

/// How an instance is.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Health {
    /// All checks pass, or there are none.
    #[default]
    Passing,
    /// A check warns: still used.
    Warning,
    /// A check fails: not used.
    Critical,
    /// Taken out by a person: not used.
    Maintenance,
}

impl Health {
    /// Whether DNS and HTTP send anybody there.
    pub fn is_usable(self) -> bool {
        matches!(self, Self::Passing | Self::Warning)
    }

    /// The word for it, as Consul and the API write it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Passing => "passing",
            Self::Warning => "warning",
            Self::Critical => "critical",
            Self::Maintenance => "maintenance",
        }
    }
}

/// How HTTP takes an instance. Names follow its health in any case.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Edge {
    /// As its health says.
    #[default]
    AsHealth,
    /// As if this were its health.
    As(Health),
    /// Not at all: it is no backend of anything and declares nothing.
    Never,
}

/// A machine that instances run on.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Node {
    /// Unique within its datacenter.
    pub name: String,
    /// IP address or host name.
    pub address: String,
    /// Where it is too, by another protocol: names have these addresses as well.
    pub also_at: Vec<IpAddr>,
    /// Where it is; empty when the source has no such notion.
    pub datacenter: String,
    /// What the source says about it.
    pub meta: Vec<(String, String)>,
}

impl Node {
    /// Its addresses, as far as they are IP addresses.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.address.parse().ok().into_iter().chain(self.also_at.iter().copied())
    }
}

/// A piece of dynamic configuration that an instance declares: one Consul tag.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Declaration {
    /// Path into the schema, with dots: `http.routers.grafana.rule`.
    pub path: String,
    /// The value, as text.
    pub value: String,
    /// As the person wrote it: `traefik.http.routers.grafana.rule`.
    pub origin: String,
}

/// That an instance is to be tried before it is trusted. It has a pool of its own.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Canary {
    /// Of a hundred requests for the service, how many go to all its canaries; `None`: only who
    /// names their pool gets there.
    pub percent: Option<u8>,
}

/// One running instance of a service.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Instance {
    /// Unique within the provider.
    pub id: String,
    /// The service, as the source spells it.
    pub service: String,
    /// The node it runs on; empty when unknown.
    pub node: String,
    /// As in [`Node`].
    pub datacenter: String,
    /// IP address or host name; empty: that of the node.
    pub address: String,
    /// Where it is too, by another protocol: names have these addresses as well.
    pub also_at: Vec<IpAddr>,
    /// TCP or UDP port; 0: none.
    pub port: u16,
    /// Share of the traffic while passing.
    pub weight_passing: u32,
    /// Share of the traffic while warning.
    pub weight_warning: u32,
    /// How it is.
    pub health: Health,
    /// How HTTP takes it.
    pub edge: Edge,
    /// Why HTTP leaves it out, or what it declares.
    pub edge_reason: Option<Arc<str>>,
    /// Whether it is to be tried.
    pub canary: Option<Canary>,
    /// Its tags.
    pub tags: Vec<String>,
    /// What the source says about it.
    pub meta: Vec<(String, String)>,
    /// Grows with every registration; the highest wins where instances disagree.
    pub version: u64,
    /// What it declares.
    pub declares: Vec<Declaration>,
}

impl Instance {
    /// Its share of the traffic as it is now; 0 when it is not to be used.
    pub fn weight(&self) -> u32 {
        self.weight_when(self.health)
    }

    /// The same if it were so.
    pub fn weight_when(&self, health: Health) -> u32 {
        match health {
            Health::Passing => self.weight_passing,
            Health::Warning => self.weight_warning,
            Health::Critical | Health::Maintenance => 0,
        }
    }

    /// How it is for HTTP.
    pub fn edge_health(&self) -> Health {
        match self.edge {
            Edge::As(health) => health,
            Edge::AsHealth | Edge::Never => self.health,
        }
    }

    /// Why HTTP leaves it out, or what it declares; `None`: it does not.
    pub fn left_out(&self) -> Option<&str> {
        match (&self.edge_reason, self.edge) {
            (Some(reason), _) => Some(reason),
            (None, Edge::Never) => Some("its provider says so"),
            (None, Edge::AsHealth | Edge::As(_)) => None,
        }
    }

    /// Its address when that is an IP address.
    pub fn ip(&self) -> Option<IpAddr> {
        self.address.parse().ok()
    }
}

/// What a source may know beyond what it reports: looked up when somebody asks.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Wanted {
    /// What a query finds that the source keeps: a prepared query of Consul.
    Query {
        /// Its name or id.
        name: String,
        /// Where it is to be carried out; `None`: where the source is.
        datacenter: Option<String>,
    },
    /// The instances of a service in another datacenter.
    Service {
        /// The service.
        name: String,
        /// Where.
        datacenter: String,
    },
    /// A node of another datacenter.
    Node {
        /// The node.
        name: String,
        /// Where.
        datacenter: String,
    },
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The node, or the nodes of the instances.
    pub nodes: Vec<Arc<Node>>,
    /// Instances, whatever their service is called.
    pub instances: Vec<Arc<Instance>>,
    /// How long it may be remembered, in seconds, if the source says so.
    pub ttl: Option<u32>,
}

/// Dynamic configuration that belongs to no instance: a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Fragment {
    /// Unique within the provider; shown with every problem found in it.
    pub origin: String,
    /// Its key `http` holds what `[http]` holds in `config.toml`; its key `dns` has `records`, and
    /// `datacenters` that there are beside those of the items.
    pub config: serde_json::Value,
}

/// Names one thing in a catalog.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Key {
    /// A node, as `datacenter/name`.
    Node(String),
    /// An instance, by its id.
    Instance(String),
    /// A fragment, by its origin.
    Fragment(String),
}

/// One thing in a catalog.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// A machine.
    Node(Arc<Node>),
    /// A running instance of a service.
    Instance(Arc<Instance>),
    /// A file of dynamic configuration.
    Fragment(Arc<Fragment>),
}

impl Item {
    /// The name of this item.
    pub fn key(&self) -> Key {
        match self {
            Self::Node(node) => Key::Node(format!("{}/{}", node.datacenter, node.name)),
            Self::Instance(instance) => Key::Instance(instance.id.clone()),
            Self::Fragment(fragment) => Key::Fragment(fragment.origin.clone()),
        }
    }
}

/// What changed in a catalog.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// This is new, or is now thus.
    Put(Item),
    /// This is gone.
    Remove(Key),
}

/// What a step of a provider found.
#[derive(Clone, Debug, PartialEq)]
pub enum Update {
    /// Nothing new.
    Unchanged,
    /// The whole truth: what is absent is gone.
    Snapshot(Vec<Item>),
    /// The truth as far as it could be read: what is absent is gone, but for instances of services
    /// that could not be read.
    Excerpt {
        /// What could be read.
        items: Vec<Item>,
        /// Names of services whose instances stay as they were known.
        unread: Vec<String>,
    },
    /// What changed since the cursor.
    Delta(Vec<Change>),
}

/// Something that a provider left out, and why.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Notice {
    /// Where: a file with its line, an instance, a tag.
    pub origin: String,
    /// One sentence in lower case, without a full stop.
    pub message: String,
}

/// One step of a provider.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What was found.
    pub update: Update,
    /// Where the provider is now; opaque.
    pub cursor: Vec<u8>,
    /// What was left out.
    pub notices: Vec<Notice>,
    /// Wait this long before the next step, in milliseconds.
    pub next_poll_ms: u32,
}
