//! What the hosts of routers lead to: the edge, as it is reached at the entrypoints that these
//! routers are on.

use std::{borrow::Cow, net::IpAddr, sync::Arc};

/// What the hosts of routers resolve to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Edges {
    /// All of them to these addresses, whatever entrypoints their routers are on.
    Same(Vec<IpAddr>),
    /// Each to where the entrypoints are reached that its live routers are on: these, by name.
    Each(Vec<(Arc<str>, Reach)>),
}

/// Where an entrypoint is reached, or several.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reach {
    /// Loopback addresses count only where there is no other: who asks from another machine could do
    /// nothing with them.
    pub addresses: Vec<IpAddr>,
    /// Whether it is reached elsewhere on this machine as well.
    pub everywhere: Everywhere,
}

/// Whether the edge is reached at every address of this machine, those of each protocol.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Everywhere {
    /// Those of IPv4.
    pub v4: bool,
    /// Those of IPv6.
    pub v6: bool,
}

impl Default for Edges {
    /// To nothing.
    fn default() -> Self {
        Self::Same(Vec::new())
    }
}

impl Edges {
    /// The entrypoints that make a difference.
    pub(super) fn entrypoints(&self) -> Vec<Arc<str>> {
        match self {
            Self::Same(_) => Vec::new(),
            Self::Each(entrypoints) => entrypoints.iter().map(|(name, _)| name.clone()).collect(),
        }
    }
}

impl Reach {
    /// Where all of these are reached, taken together.
    fn of<'a>(all: impl Iterator<Item = &'a Self>) -> Self {
        let (mut addresses, mut everywhere) = (Vec::new(), None);
        for reach in all {
            reach.addresses.iter().for_each(|address| add(&mut addresses, *address));
            if reach.is_for_others() {
                let Everywhere { v4, v6 } = everywhere.unwrap_or(reach.everywhere);
                let (v4, v6) = (v4 && reach.everywhere.v4, v6 && reach.everywhere.v6);
                everywhere = Some(Everywhere { v4, v6 });
            }
        }
        if addresses.iter().any(|address| !address.is_loopback()) {
            addresses.retain(|address| !address.is_loopback());
        }
        Self { addresses, everywhere: everywhere.unwrap_or_default() }
    }

    /// Whether other machines can get there. Without a network an entrypoint on every address has
    /// only loopback for now.
    fn is_for_others(&self) -> bool {
        self.everywhere != Everywhere::default()
            || self.addresses.iter().any(|address| !address.is_loopback())
    }
}

impl Everywhere {
    /// Whether the edge is reached at an address to which a question came. Loopback is of no use to
    /// others, and link-local addresses are none without an interface.
    pub fn has(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(ip) => self.v4 && !ip.is_loopback() && !ip.is_unspecified(),
            IpAddr::V6(ip) => {
                self.v6 && !(ip.is_loopback() || ip.is_unspecified() || ip.is_unicast_link_local())
            }
        }
    }
}

/// The different ways to the edge, by their numbers: entrypoints that are reached alike are one (as
/// `web` and `websecure` mostly are), so nearly always there is one way.
#[derive(Clone, Debug, Default)]
pub(super) struct Ways(Vec<Way>);

#[derive(Clone, Debug)]
struct Way {
    /// `None`: all of them.
    entrypoints: Option<Vec<Arc<str>>>,
    reach: Reach,
}

impl Ways {
    pub(super) fn new(edges: &Edges) -> Self {
        let mut ways: Vec<Way> = Vec::new();
        match edges {
            Edges::Same(addresses) => {
                let (addresses, everywhere) = (addresses.clone(), Everywhere::default());
                ways.push(Way { entrypoints: None, reach: Reach { addresses, everywhere } });
            }
            Edges::Each(entrypoints) => {
                for (name, reach) in entrypoints {
                    let reach = Reach::of([reach].into_iter());
                    match ways.iter_mut().find(|way| way.reach == reach) {
                        Some(way) => way.entrypoints.get_or_insert_default().push(name.clone()),
                        None => ways.push(Way { entrypoints: Some(vec![name.clone()]), reach }),
                    }
                }
            }
        }
        ways.retain(|way| !way.reach.addresses.is_empty());
        Self(ways)
    }

    /// The numbers of all of them.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u16> + use<> {
        (0..u16::MAX).take(self.0.len())
    }

    /// Whether there is none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they are what is written, for all entrypoints.
    pub(super) fn are_written(&self) -> bool {
        self.0.iter().any(|way| way.entrypoints.is_none())
    }

    /// Whether a way leads to one of these entrypoints.
    pub(super) fn leads_to(&self, way: u16, entrypoints: &[Arc<str>]) -> bool {
        self.0.get(usize::from(way)).is_some_and(|way| match &way.entrypoints {
            Some(names) => names.iter().any(|name| entrypoints.contains(name)),
            None => true,
        })
    }

    /// Where the edge is reached on several ways.
    pub(super) fn reach(&self, ways: &[u16]) -> Cow<'_, Reach> {
        let of = |way: &u16| self.0.get(usize::from(*way)).map(|way| &way.reach);
        match ways {
            [only] => of(only).map(Cow::Borrowed).unwrap_or_default(),
            _ => Cow::Owned(Reach::of(ways.iter().filter_map(of))),
        }
    }
}

/// Adds an address, unless it is there.
fn add(addresses: &mut Vec<IpAddr>, address: IpAddr) {
    if !addresses.contains(&address) {
        addresses.push(address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `127.0.0.1+10.0.0.7 v4 v6`: addresses, and where it is reached everywhere.
    fn reach(text: &str) -> Reach {
        let (addresses, rest) = text.split_once(' ').unwrap_or((text, ""));
        Reach {
            addresses: addresses.split('+').map(|it| it.parse().unwrap()).collect(),
            everywhere: Everywhere { v4: rest.contains("v4"), v6: rest.contains("v6") },
        }
    }

    #[test]
    fn several_entrypoints_are_reached_where_each_is() {
        for (all, expected) in [
            (&["127.0.0.1", "127.0.0.1"][..], "127.0.0.1"),
            (&["192.168.1.2", "192.168.1.3"], "192.168.1.2+192.168.1.3"),
            (&["127.0.0.1", "192.168.1.2"], "192.168.1.2"),
            (&["10.0.0.7 v4", "10.0.0.7 v4", "127.0.0.1"], "10.0.0.7 v4"),
            (&["::1+10.0.0.7 v4 v6"], "10.0.0.7 v4 v6"),
            (&["10.0.0.7 v4", "fd00::7+10.0.0.7 v4 v6"], "10.0.0.7+fd00::7 v4"),
            (&["10.0.0.7 v4", "10.0.0.7"], "10.0.0.7"),
            (&["127.0.0.1 v4", "127.0.0.2"], "127.0.0.1+127.0.0.2 v4"),
        ] {
            let parts: Vec<_> = all.iter().map(|it| reach(it)).collect();
            assert_eq!(Reach::of(parts.iter()), reach(expected), "{all:?}");
        }
        assert_eq!(Reach::of([].into_iter()), Reach::default());
    }

    #[test]
    fn entrypoints_that_are_reached_alike_are_one_way() {
        let [web, websecure, int] = ["web", "websecure", "int"].map(Arc::<str>::from);
        let edges = Edges::Each(vec![
            (web.clone(), reach("10.0.0.7 v4")),
            (int.clone(), reach("10.0.0.7")),
            (websecure.clone(), reach("127.0.0.1+10.0.0.7 v4")),
        ]);
        let ways = Ways::new(&edges);
        let leading = |to: &[Arc<str>]| {
            ways.numbers().filter(|way| ways.leads_to(*way, to)).collect::<Vec<_>>()
        };
        assert_eq!(leading(std::slice::from_ref(&websecure)), [0]);
        assert_eq!(leading(&[web, websecure]), [0]);
        assert_eq!(leading(&[int]), [1]);
        assert_eq!(leading(&["else".into()]), [0; 0]);
        assert_eq!(*ways.reach(&[0]), reach("10.0.0.7 v4"));
        assert_eq!(*ways.reach(&[0, 1]), reach("10.0.0.7"));
    }

    #[test]
    fn what_is_written_leads_there_whatever_the_entrypoint() {
        let ways = Ways::new(&Edges::Same(reach("127.0.0.1+10.0.0.7").addresses));
        assert!(ways.leads_to(0, &["web".into()]));
        assert_eq!(*ways.reach(&[0]), reach("127.0.0.1+10.0.0.7"));
        assert!(Ways::new(&Edges::default()).is_empty());
    }
}
