//! Who is asked for which names.

use std::{cell::Cell, rc::Rc};

use hashbrown::HashMap;
use portolan_core::zone::{Name, parent};
use tokio::time::Instant;

use super::{
    super::upstream::Upstream,
    loops::{self, Loops},
    settings::{Forwarding, Forwardings, Mode, UpstreamConfig},
};

/// One in so many questions is asked of another upstream than the fastest.
const EXPLORE: u32 = 32;

/// Who is asked for which names, by the longest suffix.
pub(super) struct Groups {
    /// The sources of the catalog.
    pub(super) catalog: Rc<Group>,
    default: Rc<Group>,
    suffixes: HashMap<Box<[u8]>, Rc<Group>>,
}

/// Those who are asked for some names.
pub(super) struct Group {
    /// The names it is for end with this; `None`: all others.
    pub(super) suffix: Option<Name>,
    /// Whether it stands for the sources of the catalog, and has no upstreams.
    pub(super) is_catalog: bool,
    upstreams: Vec<Rc<Upstream>>,
    mode: Mode,
    turn: Cell<u32>,
    /// Questions that are under way.
    pub(super) under_way: Cell<usize>,
    /// Askers that wait.
    pub(super) waiting: Cell<usize>,
}

impl Groups {
    pub(super) fn new(settings: &Forwarding, shared: &Forwardings) -> Self {
        // One that is named twice is one, with one health.
        let mut known: HashMap<UpstreamConfig, Rc<Upstream>> = HashMap::new();
        let mut group = |suffix: Option<&Name>, upstreams: &[UpstreamConfig]| {
            let upstreams = upstreams.iter().map(|config| {
                let made = || Upstream::new(config.clone(), settings, shared);
                known.entry(config.clone()).or_insert_with(|| Rc::new(made())).clone()
            });
            let upstreams = upstreams.collect();
            let suffix = suffix.cloned();
            let (turn, under_way, waiting) = Default::default();
            let (mode, is_catalog) = (settings.mode, false);
            Group { suffix, is_catalog, upstreams, mode, turn, under_way, waiting }
        };
        let catalog = Rc::new(Group { is_catalog: true, ..group(None, &[]) });
        let default = Rc::new(group(None, &settings.upstreams));
        let suffixes = settings.suffixes.iter().map(|(suffix, upstreams)| {
            let suffix = suffix.to_lower();
            (suffix.as_bytes().into(), Rc::new(group(Some(&suffix), upstreams)))
        });
        let suffixes = suffixes.collect();
        Self { catalog, default, suffixes }
    }

    /// Who is asked for a name in lower case.
    pub(super) fn of(&self, name: &[u8]) -> &Rc<Group> {
        if self.suffixes.is_empty() {
            return &self.default;
        }
        let mut suffixes = std::iter::successors(Some(name), |name| parent(name));
        suffixes.find_map(|suffix| self.suffixes.get(suffix)).unwrap_or(&self.default)
    }
}

impl Group {
    /// Whether nobody can be asked.
    pub(super) fn is_empty(&self) -> bool {
        self.upstreams.is_empty() && !self.is_catalog
    }

    pub(super) fn len(&self) -> usize {
        self.upstreams.len()
    }

    /// How many are asked at once at the beginning.
    pub(super) fn at_once(&self) -> usize {
        if self.mode == Mode::Parallel { self.upstreams.len() } else { 1 }
    }

    /// In the order in which they are asked: those that failed lately last.
    /// Those that lead back to us are asked for nothing but what another Portolan wants to learn by.
    pub(super) fn by_preference(&self, name: &[u8], loops: &Loops) -> Vec<Rc<Upstream>> {
        let mut upstreams = self.upstreams.clone();
        let looping = loops.found();
        if !looping.is_empty() && !loops::is_probe(name) {
            upstreams.retain(|it| !it.config.address().is_some_and(|at| looping.contains(&at)));
        }
        if self.mode == Mode::Fastest {
            upstreams.sort_by_key(|upstream| upstream.health.expected());
            let turn = self.turn.get().wrapping_add(1);
            self.turn.set(turn);
            // Whoever was slow once may be fast again.
            if turn.is_multiple_of(EXPLORE) && upstreams.len() > 1 {
                let other = 1 + (turn / EXPLORE) as usize % (upstreams.len() - 1);
                upstreams.swap(0, other);
            }
        }
        upstreams.sort_by_key(|upstream| upstream.health.is_resting(Instant::now()));
        upstreams
    }
}
