//! What the host was told, and what it has to be told yet.

use std::collections::{BTreeMap, BTreeSet};

use portolan_plugin::{Change, Excerpt, Fragment, Instance, Item, Key, Node, Update};

/// The catalog as it is now, and what has changed in it since the last step.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    items: BTreeMap<Id, Item>,
    changed: BTreeSet<Id>,
}

#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Id {
    Node(String),
    Instance(String),
    /// There is one: of the datacenters.
    Datacenters,
}

/// The origin of what is said of datacenters.
const DATACENTERS: &str = "/v1/catalog/datacenters";

impl Ledger {
    /// These are all the nodes there are.
    pub(crate) fn set_nodes(&mut self, nodes: Vec<Node>) {
        let name = |node: &Node| Id::Node(format!("{}/{}", node.datacenter, node.name));
        let here: BTreeSet<_> = nodes.iter().map(name).collect();
        let is_gone = |id: &&Id| matches!(id, Id::Node(_)) && !here.contains(*id);
        let gone: Vec<_> = self.items.keys().filter(is_gone).cloned().collect();
        gone.into_iter().for_each(|id| self.remove(id));
        for node in nodes {
            self.put(name(&node), Item::Node(node));
        }
    }

    /// `after` are all the instances there are of a service that had those of `before`.
    pub(crate) fn set_instances(
        &mut self,
        service: &str,
        before: &BTreeSet<String>,
        after: Vec<Instance>,
    ) {
        let here: BTreeSet<_> = after.iter().map(|instance| instance.id.clone()).collect();
        for gone in before.difference(&here) {
            let id = Id::Instance(gone.clone());
            // An id may have been registered anew under another service, which was read already.
            let is_ours = |item: &Item| matches!(item, Item::Instance(it) if it.service == service);
            if self.items.get(&id).is_some_and(is_ours) {
                self.remove(id);
            }
        }
        for instance in after {
            self.put(Id::Instance(instance.id.clone()), Item::Instance(instance));
        }
    }

    /// These are all the datacenters there are. The only one needs no words.
    pub(crate) fn set_datacenters(&mut self, names: &[String]) {
        if names.len() < 2 {
            return self.remove(Id::Datacenters);
        }
        // In which order they come has to do with how far they are.
        let names: BTreeSet<_> = names.iter().collect();
        let config = serde_json::json!({ "dns": { "datacenters": names } }).to_string();
        self.put(
            Id::Datacenters,
            Item::Fragment(Fragment { origin: DATACENTERS.to_owned(), config }),
        );
    }

    /// Whether there is something to tell.
    pub(crate) fn has_news(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Everything, where these services could not be read; the host has been told then.
    pub(crate) fn snapshot(&mut self, unread: &BTreeSet<String>) -> Update {
        self.changed.clear();
        let items = self.items.values().cloned().collect();
        if unread.is_empty() {
            return Update::Snapshot(items);
        }
        Update::Excerpt(Excerpt { items, unread: unread.iter().cloned().collect() })
    }

    /// What has changed; the host has been told then.
    pub(crate) fn delta(&mut self) -> Update {
        let changed = std::mem::take(&mut self.changed);
        let change = |id: Id| match self.items.get(&id) {
            Some(item) => Change::Put(item.clone()),
            None => Change::Remove(match id {
                Id::Node(name) => Key::Node(name),
                Id::Instance(id) => Key::Instance(id),
                Id::Datacenters => Key::Fragment(DATACENTERS.to_owned()),
            }),
        };
        Update::Delta(changed.into_iter().map(change).collect())
    }

    fn put(&mut self, id: Id, item: Item) {
        if self.items.get(&id) != Some(&item) {
            self.items.insert(id.clone(), item);
            self.changed.insert(id);
        }
    }

    fn remove(&mut self, id: Id) {
        if self.items.remove(&id).is_some() {
            self.changed.insert(id);
        }
    }
}
