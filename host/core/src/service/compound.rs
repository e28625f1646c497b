//! Services that are made of other services, as Traefik has them: weighted, mirroring, failover.
//!
//! **Invariant:** the services that a service is made of are of the same snapshot, and never in a
//! circle: whoever makes them sees to that.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use super::Service;
use crate::{
    balance::{Cookie, Turns, key, mix},
    exchange::Headers,
    moment::Moment,
    name::ObjectName,
    policy::Statuses,
};

/// Whether a service has backends or is made of others.
#[derive(Debug)]
pub enum Kind {
    /// It has backends.
    Backends,
    /// Each request goes to one of these.
    Weighted(Weighted),
    /// Each request goes to one, and copies of some go to others.
    Mirroring(Mirroring),
    /// Requests go to one, and to another when that does not work.
    Failover(Failover),
}

impl Kind {
    /// The word for it, as the API writes it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Backends => "loadbalancer",
            Self::Weighted(Weighted { by_client: true, .. }) => "highestrandomweight",
            Self::Weighted(_) => "weighted",
            Self::Mirroring(_) => "mirroring",
            Self::Failover(_) => "failover",
        }
    }

    /// Whether it is made of the very same services in the same way.
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Backends, Self::Backends) => true,
            (Self::Weighted(one), Self::Weighted(other)) => {
                let pairs = || one.members.iter().zip(&other.members);
                one.by_client == other.by_client
                    && one.members.len() == other.members.len()
                    && pairs().all(|(one, other)| {
                        one.name == other.name
                            && one.weight == other.weight
                            && same_or_none(&one.service, &other.service)
                    })
            }
            (Self::Mirroring(one), Self::Mirroring(other)) => {
                let pairs = || one.mirrors.iter().zip(&other.mirrors);
                same(&one.main, &other.main)
                    && one.mirrors.len() == other.mirrors.len()
                    && (one.mirror_body, one.max_body) == (other.mirror_body, other.max_body)
                    && pairs().all(|(one, other)| {
                        one.percent == other.percent && same(&one.service, &other.service)
                    })
            }
            (Self::Failover(one), Self::Failover(other)) => {
                same_or_none(&one.main, &other.main)
                    && same_or_none(&one.fallback, &other.fallback)
                    && (&one.statuses, one.max_body) == (&other.statuses, other.max_body)
            }
            _ => false,
        }
    }
}

fn same(one: &Arc<Service>, other: &Arc<Service>) -> bool {
    Arc::ptr_eq(one, other)
}

fn same_or_none(one: &Option<Arc<Service>>, other: &Option<Arc<Service>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => same(one, other),
        (None, None) => true,
        _ => false,
    }
}

/// One of the services that share the traffic.
#[derive(Clone, Debug)]
pub struct Member {
    /// As it is referred to.
    pub name: ObjectName,
    /// Its share.
    pub weight: u32,
    /// `None` when there is no such service: then it has no share.
    pub service: Option<Arc<Service>>,
}

/// Services that share the traffic by weight.
#[derive(Debug)]
pub struct Weighted {
    /// All of them, those that are not there too.
    pub members: Vec<Member>,
    /// Whether a client always gets the same one (Traefik's `highestRandomWeight`).
    pub by_client: bool,
    /// What keeps a client with its member.
    pub cookie: Option<Cookie>,
    turns: Turns,
    seeds: Box<[u64]>,
}

impl Weighted {
    /// Works out whose turn it is when.
    pub fn new(members: Vec<Member>, by_client: bool, cookie: Option<Cookie>) -> Self {
        let share = |member: &Member| if member.service.is_some() { member.weight } else { 0 };
        Self {
            turns: Turns::new(members.iter().map(share)),
            seeds: members.iter().map(|member| key(member.name.to_string().as_bytes())).collect(),
            members,
            by_client,
            cookie,
        }
    }

    pub(super) fn go_on(&mut self, before: &Self) {
        self.turns = std::mem::take(&mut self.turns).after(&before.turns);
    }

    pub(super) fn is_well(&self) -> bool {
        (0..self.members.len()).any(|place| self.has(place, 1))
    }

    pub(super) fn is_ready(&self, now: Moment) -> bool {
        let services = self.members.iter().filter(|it| it.weight > 0);
        services.filter_map(|it| it.service.as_ref()).any(|service| service.is_ready(now))
    }

    /// For how many milliseconds nothing passes, whoever's turn it is.
    pub(super) fn rests(&self, now: Moment) -> Option<u64> {
        let may = |place: &usize| self.shares(*place, now);
        let mut asked: Vec<usize> = (0..self.members.len()).filter(may).collect();
        if asked.is_empty() {
            asked.extend(self.last_resort());
        }
        let services = asked.into_iter().filter_map(|place| self.members.get(place));
        let services = services.filter_map(|member| member.service.as_ref());
        let rests: Option<Vec<u64>> = services.map(|service| service.rests(now)).collect();
        rests?.into_iter().min()
    }

    /// Who has to say that nobody is well.
    fn last_resort(&self) -> Option<usize> {
        self.members.iter().position(|it| it.service.is_some() && it.weight > 0)
    }

    /// Whether a member with at least this weight may be asked.
    fn has(&self, place: usize, weight: u32) -> bool {
        self.members.get(place).is_some_and(|member| {
            member.weight >= weight && member.service.as_ref().is_some_and(|one| one.is_well())
        })
    }

    /// The same, and requests that failed do not say otherwise.
    fn has_ready(&self, place: usize, weight: u32, now: Moment) -> bool {
        let service = || self.members.get(place).and_then(|member| member.service.as_ref());
        self.has(place, weight) && service().is_some_and(|service| service.is_ready(now))
    }

    /// Whether a member gets its share of the requests that come now.
    pub fn shares(&self, place: usize, now: Moment) -> bool {
        match self.is_ready(now) {
            true => self.has_ready(place, 1, now),
            false => self.has(place, 1),
        }
    }

    /// The member for a request: that of its cookie, else whose turn it is. `client` is who asks,
    /// as a number. One whose requests fail is left out where another is ready; when nobody is well,
    /// somebody has to say so.
    pub fn choose(&self, headers: &Headers, client: u64, now: Moment) -> Option<usize> {
        let kept = self.cookie.as_ref().and_then(|cookie| cookie.place(headers));
        if let Some(kept) = kept.filter(|place| self.has_ready(*place, 0, now)) {
            return Some(kept);
        }
        let next = |may: &dyn Fn(usize) -> bool| match self.by_client {
            true => self.highest(client, may),
            false => self.turns.next_that(may),
        };
        next(&|place| self.has_ready(place, 1, now))
            .or_else(|| kept.filter(|place| self.has(*place, 0)))
            .or_else(|| next(&|place| self.has(place, 1)))
            .or_else(|| self.last_resort())
    }

    /// Whether a client that was sent to a member before is sent there again.
    pub fn keeps(&self, place: usize, now: Moment) -> bool {
        self.has_ready(place, 0, now) || self.has(place, 0) && !self.is_ready(now)
    }

    fn highest(&self, client: u64, may: &dyn Fn(usize) -> bool) -> Option<usize> {
        let score = |place: usize| {
            let (member, seed) = (self.members.get(place)?, self.seeds.get(place)?);
            Some(crate::balance::weighted(mix(client ^ seed), member.weight))
        };
        let candidates = (0..self.members.len()).filter(|place| may(*place));
        let scored = candidates.filter_map(|place| Some((score(place)?, place)));
        scored.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, place)| place)
    }
}

/// A service of whose requests others get copies.
#[derive(Debug)]
pub struct Mirroring {
    /// Who answers.
    pub main: Arc<Service>,
    /// Who gets copies.
    pub mirrors: Vec<Mirror>,
    /// Whether copies have the body too.
    pub mirror_body: bool,
    /// The most bytes of a body that are kept for copies; requests with more are not copied.
    pub max_body: u64,
}

/// Who gets copies.
#[derive(Debug)]
pub struct Mirror {
    /// The service.
    pub service: Arc<Service>,
    /// Of how many of a hundred requests.
    pub percent: u8,
    requests: AtomicU64,
}

impl Mirroring {
    /// Mirrors go on to count where they were: with few copies and many changes there would be none.
    pub(super) fn go_on(&mut self, before: &Self) {
        for mirror in &mut self.mirrors {
            let same = |it: &&Mirror| {
                it.service.name == mirror.service.name && it.percent == mirror.percent
            };
            if let Some(before) = before.mirrors.iter().find(same) {
                mirror.requests = AtomicU64::new(before.requests.load(Relaxed));
            }
        }
    }
}

impl Mirror {
    /// A mirror of so many of a hundred requests.
    pub fn new(service: Arc<Service>, percent: u8) -> Self {
        Self { service, percent: percent.min(100), requests: AtomicU64::new(0) }
    }

    /// Whether it gets a copy of the next request: exactly so many of a hundred, evenly spread.
    pub fn wants_next(&self) -> bool {
        let number = self.requests.fetch_add(1, Relaxed);
        let percent = u64::from(self.percent);
        // What is due after this request, and what was before.
        (number % 100 + 1) * percent / 100 > number % 100 * percent / 100
    }
}

/// A service with another behind it.
#[derive(Debug)]
pub struct Failover {
    /// Who is asked first; `None` when there is no such service.
    pub main: Option<Arc<Service>>,
    /// Who is asked when nobody of the first is well, or can be reached.
    pub fallback: Option<Arc<Service>>,
    /// Answers of the first on which the other is asked, and also when there is none at all.
    pub statuses: Statuses,
    /// The most bytes of a body that are kept for that.
    pub max_body: u64,
}

impl Failover {
    /// The one that is asked, and the one that is asked when that one fails.
    pub fn choose(&self, now: Moment) -> (Option<&Service>, Option<&Service>) {
        let (main, fallback) = (self.main.as_deref(), self.fallback.as_deref());
        match (main, fallback) {
            (Some(ready), fallback) if ready.is_ready(now) => (main, fallback),
            // Neither is known to answer: the first has the better claim.
            (Some(well), Some(other)) if well.is_well() && !other.is_well() => (main, fallback),
            (_, Some(_)) => (fallback, None),
            (main, None) => (main, None),
        }
    }

    /// For how many milliseconds nothing passes: where the first rests, the other answers for both.
    pub(super) fn rests(&self, now: Moment) -> Option<u64> {
        let (first, second) = self.choose(now);
        let rests = first?.rests(now)?;
        second.map_or(Some(rests), |second| second.rests(now))
    }

    /// Who is there of the two.
    pub(super) fn parts(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.main.iter().chain(&self.fallback)
    }
}
