//! The hosts that the routers of an entrypoint answer to, and what these say about handshakes.
//!
//! **Invariant:** to learn a newer snapshot costs what is different in it: a handshake may wait for
//! that.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    sync::Arc,
};

use portolan_core::{
    name::ObjectName,
    roll::Roll,
    snapshot::{Entries, RouterEntry, Snapshot},
};

use super::shelf::wildcard;

/// The hosts, wildcards as they are written, and the options that their handshakes want.
#[derive(Clone, Debug, Default)]
pub(super) struct Hosts {
    generation: Option<u64>,
    /// What they were learnt from.
    routers: Entries<RouterEntry>,
    names: Roll<String, Host>,
    unchosen: Roll<ObjectName, Unchosen>,
    /// How many want options of their own.
    named: usize,
    /// Of how many the routers disagree.
    torn: usize,
    /// Those that are addresses.
    addresses: Arc<BTreeSet<String>>,
}

/// Which routers' hosts they are.
#[derive(Clone, Debug)]
pub(super) enum Of {
    /// Those of an entrypoint.
    Entrypoint(Arc<str>),
    /// All. What they say about their handshakes is meant for requests.
    All,
}

/// A router that wants options, but whose rule can be true for hosts that it does not name: their
/// handshakes tell of other routers, or of none.
#[derive(Clone, Debug)]
pub(super) struct Unchosen {
    pub(super) router: ObjectName,
    pub(super) options: Arc<str>,
    /// The hosts for which they are chosen nevertheless.
    pub(super) hosts: Arc<[String]>,
}

/// What the routers of a host say about its handshakes.
#[derive(Clone, Debug, Default)]
struct Host {
    /// Each of them, in their order.
    each: Vec<Voice>,
    together: Wish,
}

/// What one router of a host says.
#[derive(Clone, Debug)]
struct Voice {
    router: ObjectName,
    /// Whether it says anything: it has `tls`.
    is_heard: bool,
    options: Option<Arc<str>>,
}

/// What several routers say together.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
enum Wish {
    /// Nothing: none of them has `tls`.
    #[default]
    Silent,
    /// The entrypoint's options, and the router that says it first.
    Default(ObjectName),
    /// These, and the router that says it first.
    Named(Arc<str>, ObjectName),
    /// Different ones: two routers that disagree.
    Torn(ObjectName, ObjectName),
}

/// What a router says.
#[derive(Debug, Eq, PartialEq)]
struct Said<'a> {
    hosts: &'a Arc<[String]>,
    /// Whether it has `tls`.
    is_heard: bool,
    options: Option<&'a str>,
    /// Whether its rule can be true for hosts that it does not name, and that matters.
    is_open: bool,
}

impl Of {
    fn said<'a>(&self, router: &'a RouterEntry) -> Option<Said<'a>> {
        let live = router.live.as_ref()?;
        let hosts = &router.hosts;
        let Self::Entrypoint(entrypoint) = self else {
            return Some(Said { hosts, is_heard: false, options: None, is_open: false });
        };
        if !router.entrypoints.contains(entrypoint) {
            return None;
        }
        let options = router.tls.as_ref().and_then(|tls| tls.options.as_deref());
        let is_open = options.is_some() && live.predicate.hosts().open;
        Some(Said { hosts, is_heard: router.tls.is_some(), options, is_open })
    }
}

impl Hosts {
    /// Whether this is what a snapshot says.
    pub(super) fn is_of(&self, snapshot: &Snapshot) -> bool {
        self.generation == Some(snapshot.generation)
    }

    /// What a newer snapshot says.
    pub(super) fn learnt(&self, snapshot: &Snapshot, of: &Of) -> Self {
        let mut changes = BTreeMap::<&str, Host>::new();
        let mut unchosen = Vec::new();
        for (before, after) in self.routers.differences(&snapshot.routers) {
            let [old, new] = [before, after].map(|router| router.and_then(|it| of.said(it)));
            let Some(router) = after.or(before).filter(|_| old != new) else { continue };
            let name = &router.entry.name;
            let known = |host: &str| self.names.get(host).cloned().unwrap_or_default();
            for host in old.iter().flat_map(|old| &**old.hosts) {
                let host = changes.entry(host.as_str()).or_insert_with(|| known(host));
                host.each.retain(|it| it.router != *name);
            }
            let options: Option<Arc<str>> = new.as_ref().and_then(|it| it.options).map(Arc::from);
            let is_heard = new.as_ref().is_some_and(|new| new.is_heard);
            for host in new.iter().flat_map(|new| &**new.hosts) {
                let each = &mut changes.entry(host.as_str()).or_insert_with(|| known(host)).each;
                let at = each.partition_point(|it| it.router < *name);
                let (router, options) = (name.clone(), options.clone());
                each.insert(at, Voice { router, is_heard, options });
            }
            let is_open = new.as_ref().filter(|new| new.is_open);
            let found = is_open.zip(options).map(|(new, options)| Unchosen {
                router: name.clone(),
                options,
                hosts: new.hosts.clone(),
            });
            unchosen.push((name.clone(), found));
        }
        let mut next = self.clone();
        (next.generation, next.routers) = (Some(snapshot.generation), snapshot.routers.clone());
        next.unchosen.update(unchosen);
        next.change(changes);
        next
    }

    fn change(&mut self, changes: BTreeMap<&str, Host>) {
        let mut made = Vec::with_capacity(changes.len());
        for (name, mut host) in changes {
            host.together = host.each.iter().fold(Wish::Silent, Wish::and);
            let before = self.names.get(name).map(|host| &host.together);
            for (wish, is_there) in [(before, false), (Some(&host.together), true)] {
                let count = match wish {
                    Some(Wish::Named(..)) => &mut self.named,
                    Some(Wish::Torn(..)) => &mut self.torn,
                    Some(Wish::Silent | Wish::Default(_)) | None => continue,
                };
                *count = count.saturating_add_signed(if is_there { 1 } else { -1 });
            }
            if let Ok(address) = name.trim_matches(['[', ']']).parse::<IpAddr>() {
                let (addresses, address) =
                    (Arc::make_mut(&mut self.addresses), address.to_string());
                match host.each.is_empty() {
                    true => addresses.remove(&address),
                    false => addresses.insert(address),
                };
            }
            made.push((name.to_owned(), (!host.each.is_empty()).then_some(host)));
        }
        self.names.update(made);
    }

    /// Whether a router answers to exactly this host, or to the wildcard that it is.
    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// The addresses that routers answer to: a client says nothing of the one that it came to, and it
    /// may be another one than it arrives at.
    pub(super) fn addresses(&self) -> &BTreeSet<String> {
        &self.addresses
    }

    /// Whether a router answers to a name.
    pub(super) fn serve(&self, name: &str) -> bool {
        self.find(name).is_some()
    }

    fn find(&self, name: &str) -> Option<&Host> {
        self.names.get(name).or_else(|| self.names.get(&*wildcard(name)?))
    }

    /// Whether any host wants options of its own.
    pub(super) fn differ(&self) -> bool {
        self.named > 0
    }

    /// The options that a name wants; `None`: those of the entrypoint.
    pub(super) fn options(&self, name: &str) -> Option<&Arc<str>> {
        if !self.differ() {
            return None;
        }
        match &self.find(name)?.together {
            Wish::Named(options, _) => Some(options),
            Wish::Silent | Wish::Default(_) | Wish::Torn(..) => None,
        }
    }

    /// Hosts whose routers want different options, with two of those routers.
    pub(super) fn torn(&self) -> impl Iterator<Item = (&str, &ObjectName, &ObjectName)> {
        let all = (self.torn > 0).then(|| self.names.iter());
        all.into_iter().flatten().filter_map(|(name, host)| match &host.together {
            Wish::Torn(one, other) => Some((name.as_str(), one, other)),
            Wish::Silent | Wish::Default(_) | Wish::Named(..) => None,
        })
    }

    /// Routers whose options are not chosen for all of their requests.
    pub(super) fn unchosen(&self) -> impl Iterator<Item = &Unchosen> {
        self.unchosen.values()
    }

    /// The options that hosts want, each with the host and the router that says it.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (&Arc<str>, &str, &ObjectName)> {
        let all = self.differ().then(|| self.names.iter());
        all.into_iter().flatten().filter_map(|(name, host)| match &host.together {
            Wish::Named(options, router) => Some((options, name.as_str(), router)),
            Wish::Silent | Wish::Default(_) | Wish::Torn(..) => None,
        })
    }
}

impl Wish {
    /// With what one more router says.
    fn and(self, Voice { router, is_heard, options }: &Voice) -> Self {
        if !is_heard {
            return self;
        }
        match (self, options) {
            (torn @ Self::Torn(..), _) => torn,
            (Self::Silent, None) => Self::Default(router.clone()),
            (Self::Silent, Some(options)) => Self::Named(options.clone(), router.clone()),
            (Self::Default(by), None) => Self::Default(by),
            (Self::Named(one, by), Some(other)) if one == *other => Self::Named(one, by),
            (Self::Default(by) | Self::Named(_, by), _) => Self::Torn(by, router.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use portolan_core::{declare::TlsSpec, test_util::Dice};

    use super::*;
    use crate::tls::tests::router;

    const HOSTS: &[&str] = &["a.local", "b.local", "*.local", "c.example", "10.0.0.1"];

    fn any(dice: &mut Dice, name: &str) -> RouterEntry {
        let hosts: Vec<_> = HOSTS.iter().copied().filter(|_| dice.throw(2) == 0).collect();
        let options = ["", "old", "mtls"].map(|it| Some(it.to_owned()).filter(|it| !it.is_empty()));
        let options = options[dice.throw(3)].clone();
        let tls = (dice.throw(3) > 0).then(|| TlsSpec { options, ..TlsSpec::default() });
        let mut entry = router(name, &hosts, dice.pick(&["web", "websecure"]), tls);
        if dice.throw(6) == 0 {
            entry.live = None;
        }
        entry
    }

    #[test]
    fn learnt_change_by_change_they_are_what_they_are_from_nothing() {
        let mut dice = Dice::new(7);
        let mut routers = [const { None::<RouterEntry> }; 8];
        let entrypoint = Of::Entrypoint("websecure".into());
        let (mut hosts, mut all) = (Hosts::default(), Hosts::default());
        let mut seen = [0; 3];
        for generation in 1..400 {
            for _ in 0..=dice.throw(2) {
                let number = dice.throw(routers.len());
                routers[number] =
                    (dice.throw(4) > 0).then(|| any(&mut dice, &format!("r{number}")));
            }
            let routers = routers.iter().flatten().cloned().collect();
            let snapshot = Snapshot { generation, routers, ..Snapshot::default() };
            (hosts, all) = (hosts.learnt(&snapshot, &entrypoint), all.learnt(&snapshot, &Of::All));
            let anew = Hosts::default().learnt(&snapshot, &entrypoint);
            assert!(hosts.is_of(&snapshot));
            let told = |it: &Hosts| format!("{:?} {:?} {:?}", it.names, it.unchosen, it.addresses);
            assert_eq!(told(&hosts), told(&anew), "{generation}");
            assert_eq!((hosts.named, hosts.torn), (anew.named, anew.torn), "{generation}");
            assert_eq!(told(&all), told(&Hosts::default().learnt(&snapshot, &Of::All)));
            assert!(!all.differ());
            for name in ["a.local", "x.local", "none"] {
                let found = snapshot.routers.iter().any(|it| {
                    let own = it.hosts.iter().any(|host| host == name);
                    let wild = name == "x.local" || name == "a.local";
                    it.live.is_some() && (own || wild && it.hosts.iter().any(|it| it == "*.local"))
                });
                assert_eq!(all.serve(name), found, "{name} {generation}");
            }
            seen[0] += hosts.torn;
            seen[1] += hosts.wanted().count();
            seen[2] += usize::from(hosts.options("a.local").is_some());
        }
        assert!(seen.iter().all(|count| *count > 20), "{seen:?}");
    }
}
