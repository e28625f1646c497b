//! The choice among the backends of a service, for one request, and the wait where all are full.
//!
//! **Invariant:** who waits is in the line of its service, whatever that is when its turn comes: a backend
//! that is added and a limit that is raised are for those who wait already.

use std::{cell::OnceCell, rc::Rc, sync::Arc, time::Instant};

use portolan_core::{
    balance::{Among, Ask, Cookie, Stay, Tried, key, mark},
    moment::Moment,
    policy::{LoadBalancer, Strategy},
    service::{Backend, Freed, Service},
    standing::Admission,
};

use super::{
    claim::{InFlight, Seat, Seek, Turn, in_line},
    edge::Edge,
    errand::Errand,
    forward::Answer,
    rescue::ForwardError,
};

/// How often a backend is chosen when others are quicker to try whether it is well again.
const ROUNDS: u32 = 3;

/// The choice among the backends of a service, for one request.
pub(super) struct Choice {
    /// Who asks, as a number; where clients are told apart.
    key: u64,
    /// The backend that the client was sent to before.
    kept: Option<usize>,
    /// Whether that is waited for when it is full.
    is_patient: bool,
    /// Whether another one was taken only because that was full.
    is_away: bool,
    tried: Tried,
    /// Who is chosen from now on.
    among: Among,
    seat: Option<Rc<Seat>>,
    /// Where it stood in line.
    ticket: Option<u64>,
}

/// A backend that a request may be sent to.
pub(super) struct Claimed {
    pub(super) place: usize,
    pub(super) claim: InFlight,
    /// When it was chosen.
    pub(super) begun: Moment,
}

/// The first choice of a request. Where all are full one is waited for; if the service changes meanwhile,
/// it is the `newer` one that is chosen from, and given back.
pub(super) async fn first<'a>(
    edge: &Edge,
    service: &'a Service,
    newer: &'a OnceCell<Arc<Service>>,
    errand: &Errand<'_>,
) -> Result<(&'a Service, Choice, Option<Claimed>), ForwardError> {
    let mut choice = Choice::of(service, errand);
    let now = errand.asker.now();
    let limits = &service.load_balancer.limits;
    // Who waits already comes first.
    if !limits.any() || service.state.queue.is_empty() {
        let claimed = choice.try_claim(service, now);
        if claimed.is_some() || !limits.any() {
            return Ok((service, choice, claimed));
        }
        // What was taken for a moment may have been missed by somebody.
        service.state.queue.release(Freed::ANY);
    }
    let choosing = &mut choice;
    let mut seeker = Seeker { edge, errand: Some(errand), service, newer: None, choice: choosing };
    let claimed = Box::pin(seeker.wait()).await?;
    let live = seeker.newer;
    let service = live.map_or(service, |live| newer.get_or_init(|| live));
    Ok((service, choice, claimed))
}

/// One who waits for a backend.
struct Seeker<'s, 'e> {
    edge: &'s Edge,
    /// What it is about, as long as the service may be another one.
    errand: Option<&'s Errand<'e>>,
    service: &'s Service,
    newer: Option<Arc<Service>>,
    choice: &'s mut Choice,
}

impl Seeker<'_, '_> {
    fn service(&self) -> &Service {
        self.newer.as_deref().unwrap_or(self.service)
    }

    /// Waits for a backend; `None`: there is none to wait for.
    async fn wait(&mut self) -> Result<Option<Claimed>, ForwardError> {
        let now = Moment::of(Instant::now());
        if !self.choice.may_wait(self.service(), now) {
            return Ok(None);
        }
        let (state, balancer) = (self.service.state.clone(), self.service.load_balancer.clone());
        let turn = match self.choice.tried.is_empty() {
            true => Turn::New,
            false => Turn::Again(self.choice.ticket),
        };
        let waited = in_line(&state, &balancer.limits, turn, self).await;
        if let Ok((claimed, ticket)) = waited {
            self.choice.ticket = Some(ticket);
            return Ok(Some(claimed));
        }
        let now = Moment::of(Instant::now());
        if self.choice.only(self.service(), now).is_some() || state.queue.leaves_others() {
            // Better another backend than none, where nobody waits for that.
            self.choice.is_patient = false;
            let service = self.newer.as_deref().unwrap_or(self.service);
            let claimed = self.choice.try_claim(service, now);
            if claimed.is_some() {
                return Ok(claimed);
            }
            state.queue.release(Freed::ANY);
        }
        Err(ForwardError::Full)
    }
}

impl Seek for Seeker<'_, '_> {
    type Found = Claimed;

    fn only(&mut self) -> Option<Freed> {
        self.choice.only(self.service(), Moment::of(Instant::now()))
    }

    fn look(&mut self) -> Option<(Claimed, Freed)> {
        if let Some(errand) = self.errand
            && let Some(newer) = self.edge.newer(self.service())
        {
            *self.choice = Choice::of(&newer, errand);
            self.newer = Some(newer);
        }
        let service = self.newer.as_deref().unwrap_or(self.service);
        let claimed = self.choice.try_claim(service, Moment::of(Instant::now()))?;
        let freed = service.backends.get(claimed.place).map_or(Freed::ANY, room_at);
        Some((claimed, freed))
    }
}

impl Choice {
    fn of(service: &Service, errand: &Errand<'_>) -> Self {
        Self {
            key: told_apart(&service.load_balancer, errand),
            kept: service.cookie.as_ref().and_then(|it| it.place(&errand.head.headers)),
            is_patient: service.load_balancer.limits.has_queue(),
            is_away: false,
            tried: Tried::default(),
            among: Among::All,
            seat: None,
            ticket: None,
        }
    }

    /// The next choice, when one came to nothing. `may_wait`: for one that is full, if no other is left.
    pub(super) async fn next(
        &mut self,
        edge: &Edge,
        service: &Service,
        may_wait: bool,
    ) -> Result<Option<Claimed>, ForwardError> {
        let claimed = self.try_claim(service, Moment::of(Instant::now()));
        if claimed.is_some() || !may_wait || !service.load_balancer.limits.has_queue() {
            return Ok(claimed);
        }
        let mut seeker = Seeker { edge, errand: None, service, newer: None, choice: self };
        Box::pin(seeker.wait()).await
    }

    /// The next choice, when no connection could be made: first those of whom no failure is known, then whoever
    /// is not left alone. `None`: there is nobody who is likely to accept one, at least none with room.
    pub(super) fn elsewhere(&mut self, service: &Service) -> Option<Claimed> {
        let now = Moment::of(Instant::now());
        let found = [Among::Well, Among::Open].into_iter().find_map(|among| {
            self.among = among;
            self.try_claim(service, now)
        });
        self.among = Among::All;
        found
    }

    /// From now on nobody is chosen who is left alone, however few others there are.
    pub(super) fn insist(&mut self) {
        self.among = Among::Open;
    }

    /// All were tried, and may be tried again.
    pub(super) fn begin_again(&mut self) {
        self.tried = Tried::default();
    }

    /// Notes that a backend was tried.
    pub(super) fn tries(&mut self, place: usize) {
        self.tried.insert(place);
    }

    /// The answer, which tells the client where to come back to.
    pub(super) fn settled(&self, service: &Service, place: usize, mut answer: Answer) -> Answer {
        if let Some(cookie) = &service.cookie
            && self.kept != Some(place)
            && !self.is_away
        {
            keep(&mut answer, cookie, place);
        }
        answer
    }

    fn try_claim(&mut self, service: &Service, now: Moment) -> Option<Claimed> {
        let Service { balancer, backends, .. } = service;
        for round in 1..=ROUNDS {
            let stay = self.stay(service, now);
            self.is_away = stay == Stay::Full;
            let ask = self.ask(now);
            let place = match stay {
                Stay::Yes => self.kept,
                Stay::Full if self.is_patient => None,
                Stay::Full | Stay::No => balancer.next(backends, &ask),
            };
            let place = place?;
            let backend = backends.get(place)?;
            let standing = &backend.figures.standing;
            let is_asked = || round == ROUNDS || balancer.panic(backends, now).asks(standing, now);
            let trial = match standing.admit(now) {
                Admission::Free => None,
                Admission::Trial(trial) => Some(trial),
                // So many are left alone that this one is not.
                Admission::Refused if is_asked() => None,
                Admission::Refused => continue,
            };
            let claim = InFlight::claim(service, backend, &mut self.seat, trial)?;
            return Some(Claimed { place, claim, begun: now });
        }
        None
    }

    /// Whether the client may stay where it was before.
    fn stay(&self, service: &Service, now: Moment) -> Stay {
        let Some(place) = self.kept else { return Stay::No };
        service.balancer.may_stay(&service.backends, place, &self.ask(now))
    }

    fn ask(&self, now: Moment) -> Ask<'_> {
        Ask { tried: &self.tried, now, key: self.key, among: self.among }
    }

    /// What alone it waits for: the backend that the client was sent to before.
    fn only(&self, service: &Service, now: Moment) -> Option<Freed> {
        let waits = self.is_patient && self.stay(service, now) == Stay::Full;
        let kept = self.kept.filter(|_| waits)?;
        service.backends.get(kept).map(room_at)
    }

    fn may_wait(&self, service: &Service, now: Moment) -> bool {
        let ask = self.ask(now);
        self.only(service, now).is_some() || service.balancer.may_wait(&service.backends, &ask)
    }
}

/// What is given back when a backend has room again.
fn room_at(backend: &Backend) -> Freed {
    Freed::at(&*backend.figures)
}

/// Tells the client where to come back to.
pub(super) fn keep(answer: &mut Answer, cookie: &Cookie, place: usize) {
    if let Some(line) = cookie.header(place) {
        answer.head.headers.add(&http::header::SET_COOKIE, &line);
    }
}

/// Who asks, as a number; 0 where nobody is told apart.
fn told_apart(options: &LoadBalancer, errand: &Errand<'_>) -> u64 {
    if options.strategy != Strategy::Hashed {
        return 0;
    }
    let told = mark(&options.hash_on, &errand.head.headers);
    told.map(key).unwrap_or_else(|| errand.asker.key())
}
