//! Names and answers for people: the API, the dashboard, `portolan explain`.

use super::{
    Zones,
    answer::RecordSet,
    edge::Everywhere,
    grammar::Meaning,
    name::{self, Name, Text},
    record::{self, RecordType},
    table::{Entry, Kind},
};

/// A name that is answered.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NameView {
    /// Without a dot at its end.
    pub name: String,
    /// The zone that it lies in; `None`: it is answered outside every zone.
    pub zone: Option<String>,
    /// Where it comes from.
    pub kind: Kind,
    /// `60 A 10.0.0.7`: TTL, type and data in presentation form.
    pub records: Vec<String>,
    /// How many instances are answered, and how many there are; for names of services.
    pub instances: Option<(u16, u16)>,
}

impl Zones {
    /// Every name that is answered, in no order that means anything. Names that only exist because
    /// there are names below them, and those that every resolver knows, are left out.
    pub fn names(&self) -> impl Iterator<Item = NameView> + '_ {
        let is_shown =
            |entry: &Entry<'_>| !matches!(entry.about.kind, Kind::BuiltIn | Kind::Implied);
        let is_ours =
            |entry: &Entry<'_>| entry.about.kind != Kind::Zone || self.is_configured(entry);
        self.table
            .entries()
            .filter(move |entry| is_shown(entry) && is_ours(entry))
            .map(|entry| self.view(&entry))
    }

    fn is_configured(&self, entry: &Entry<'_>) -> bool {
        usize::from(entry.about.zone) < self.configured
    }

    fn view(&self, entry: &Entry<'_>) -> NameView {
        let zone = self.zones.get(usize::from(entry.about.zone));
        let is_of_instances = matches!(entry.about.kind, Kind::Service | Kind::Tag);
        NameView {
            name: Text(entry.name).to_string(),
            zone: zone.map(|zone| Text(&zone.origin).to_string()),
            kind: entry.about.kind,
            records: entry
                .sets()
                .flat_map(|(rtype, records)| match rtype {
                    RecordType::SOA => texts(&self.soa(entry.about.zone).records()),
                    _ => texts(&records),
                })
                .collect(),
            instances: is_of_instances.then_some((entry.about.usable, entry.about.total)),
        }
    }

    /// Why a name is answered as it is, in one phrase.
    pub fn why(&self, name: &Name) -> String {
        self.reason(name.to_lower().as_bytes())
    }

    fn reason(&self, wire: &[u8]) -> String {
        if let Some(entry) = self.table.find(wire) {
            return self.reason_of(&entry);
        }
        let mut suffix = wire;
        while let Some(parent) = name::parent(suffix) {
            if let Some(entry) = self.wildcard(parent) {
                return format!(
                    "{}, by the wildcard `{}`",
                    self.reason_of(&entry),
                    Text(entry.name)
                );
            }
            let zone = self.table.find(parent).map(|entry| usize::from(entry.about.zone));
            if let Some(zone) = zone.and_then(|place| self.zones.get(place)) {
                let origin = Text(&zone.origin);
                return match zone.grammar.read(wire, &zone.origin) {
                    Meaning::Same(short) => match self.table.find(short.as_bytes()) {
                        Some(entry) => {
                            format!("{}, as `{}`", self.reason_of(&entry), Text(entry.name))
                        }
                        None => format!("the zone `{origin}` has no such name"),
                    },
                    Meaning::Address(_) => "the name spells the address".to_owned(),
                    Meaning::Nothing => "there are names below it".to_owned(),
                    Meaning::OnDemand => "the source is asked when somebody asks for it".to_owned(),
                    Meaning::Unknown => format!("the zone `{origin}` has no such name"),
                };
            }
            suffix = parent;
        }
        "no zone and no router has this name".to_owned()
    }

    fn reason_of(&self, entry: &Entry<'_>) -> String {
        let about = &entry.about;
        match about.kind {
            Kind::Static => "a static record, or a line of a hosts file".to_owned(),
            Kind::Router => {
                let to = match (self.are_edges_written, about.everywhere) {
                    (true, _) => "to `dns.edge-addresses`",
                    (false, Everywhere { v4: false, v6: false }) => {
                        "to the addresses of its entrypoints"
                    }
                    (false, _) => {
                        "to the address that is asked, as its entrypoints are on every one"
                    }
                };
                format!("the host of a live router leads {to}")
            }
            Kind::Service | Kind::Tag => {
                let service = entry.name.get(usize::from(about.subject)..).unwrap_or_default();
                let service = name::labels(service).next().unwrap_or_default();
                let with_tag = if about.kind == Kind::Tag { " with this tag" } else { "" };
                let service = String::from_utf8_lossy(service);
                let (usable, total) = (about.usable, about.total);
                let noun = if total == 1 { "instance" } else { "instances" };
                format!("{usable} of {total} {noun} of `{service}`{with_tag} can be used")
            }
            Kind::Node => "the address of a node".to_owned(),
            Kind::Reverse => "an address of the catalog or of a static record".to_owned(),
            Kind::Zone => "the zone itself, or its name server".to_owned(),
            Kind::BuiltIn => "a name that every resolver knows (RFC 6761)".to_owned(),
            Kind::Implied => "there are names below it".to_owned(),
        }
    }
}

fn texts(records: &RecordSet<'_>) -> Vec<String> {
    records.in_order().map(|record| record::body_text(record.body)).collect()
}
