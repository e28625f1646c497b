//! How far one certificate is: what there is, what is being done for it, and what comes next.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use portolan_core::problem::{Chain, Problem};
use tokio::time::Instant;

use super::{
    error::OrderError,
    pending::Pending,
    resolver::Unkept,
    schedule::{Failure, MINUTE, pause, renewal, respite},
    want::Want,
};
use crate::tls::{
    Certificate,
    trouble::{SOURCE, stamp},
};

/// How soon it is looked whether another node, which is at it, has the certificate; twice as late
/// each time, since whoever has it is heard of.
const BUSY: Duration = Duration::from_secs(3);
/// So often.
const DOUBLED: u32 = 4;
/// How soon it is tried again to keep a certificate.
const AGAIN: Duration = Duration::from_secs(MINUTE);

/// How far a certificate is.
#[derive(Debug, Default)]
pub(super) struct Slot {
    pub(super) certificate: Option<Arc<Certificate>>,
    failures: u32,
    /// How often in a row another node was at it.
    busy: u32,
    problem: Option<Problem>,
    /// It was looked for in the storage.
    pub(super) looked: bool,
    /// What somebody is at.
    pub(super) running: Option<Task>,
    /// Not before then.
    pause: Option<Instant>,
    /// It may have changed in the storage.
    pub(super) doubtful: bool,
    /// An order that is not done yet.
    pub(super) pending: Option<Pending>,
    /// The certificate could not be kept yet.
    pub(super) unkept: Option<Waiting>,
}

/// A certificate that could not be kept, and will be.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) text: Arc<str>,
    problem: Problem,
    /// When it is tried again.
    next: Instant,
}

impl Waiting {
    pub(super) fn new(want: &Want, unkept: Unkept) -> Self {
        let names = want.names.join("`, `");
        let cause = Chain(&unkept.error);
        let message = format!("the certificate for `{names}` cannot be kept: {cause}");
        let problem = Problem::warning(SOURCE, origin(want), message).hint(
            "it is shown, and tried again each minute; a start before that may order it again",
        );
        Self { text: unkept.text, problem, next: Instant::now() + AGAIN }
    }
}

/// What can be done for a certificate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Task {
    /// It is looked for in the storage.
    Look,
    /// It is ordered, if nobody has it.
    Order,
    /// It is kept, which did not work when it came.
    Keep,
}

impl Slot {
    /// What is done for it next, and when.
    pub(super) fn next(&self, now: SystemTime, instant: Instant) -> (Task, Instant) {
        if !self.looked || self.doubtful {
            return (Task::Look, instant);
        }
        let due = self.certificate.as_ref().map_or(instant, |certificate| {
            instant + renewal(certificate).duration_since(now).unwrap_or_default()
        });
        let order = self.pause.map_or(due, |pause| pause.max(due));
        match &self.unkept {
            Some(unkept) if unkept.next < order => (Task::Keep, unkept.next),
            _ => (Task::Order, order),
        }
    }

    /// What is wrong.
    pub(super) fn problems(&self) -> impl Iterator<Item = &Problem> {
        self.problem.iter().chain(self.unkept.as_ref().map(|unkept| &unkept.problem))
    }

    /// Whether it counts what was done for it, though nobody wants it now.
    pub(super) fn is_remembered(&self, instant: Instant) -> bool {
        let paused = self.pause.is_some_and(|pause| pause > instant);
        let tried = self.failures > 0 || paused || self.pending.is_some();
        self.running.is_some() || tried || self.unkept.is_some()
    }

    /// Nobody wants it any more. Other nodes may.
    pub(super) fn leave(&mut self) {
        if let Some(pending) = &mut self.pending {
            pending.lock = None;
        }
    }

    /// Somebody wants it again: the storage knows more than we do.
    pub(super) fn back(self) -> Self {
        Self { looked: false, ..self }
    }

    /// What one of another configuration takes over of it.
    pub(super) fn inherit(&mut self, with_order: bool) -> Self {
        let pending = self.pending.take().filter(|_| with_order);
        let (certificate, running) = (self.certificate.clone(), self.running);
        let unkept = self.unkept.take();
        Self { certificate, running, pending, unkept, ..Self::default() }
    }

    pub(super) fn retry(&mut self) {
        self.pause = None;
        if let Some(unkept) = &mut self.unkept {
            unkept.next = Instant::now();
        }
    }

    /// Another node is at it.
    pub(super) fn busy(&mut self) {
        self.wait(BUSY * 2u32.pow(self.busy));
        self.busy = (self.busy + 1).min(DOUBLED);
    }

    fn wait(&mut self, pause: Duration) {
        self.pause = Some(Instant::now() + pause);
    }

    /// There is a certificate in the storage.
    pub(super) fn have(&mut self, certificate: Arc<Certificate>, now: SystemTime) {
        // One that is due itself changes nothing about what was tried.
        if now < renewal(&certificate) {
            self.failures = 0;
            self.busy = 0;
            self.pause = None;
            self.problem = None;
        }
        // Another one took the place of what could not be kept.
        let same = |own: &Arc<Certificate>| own.key.cert == certificate.key.cert;
        if !self.certificate.as_ref().is_some_and(same) {
            self.unkept = None;
        }
        self.certificate = Some(certificate);
    }

    /// There is a new certificate.
    pub(super) fn issue(&mut self, want: &Want, certificate: Arc<Certificate>, now: SystemTime) {
        self.failures = 0;
        self.busy = 0;
        self.pause = None;
        self.problem = None;
        if let Some(respite) = respite(&certificate, now) {
            self.wait(respite);
            let names = want.names.join("`, `");
            let facts = &certificate.facts;
            let message = format!(
                "the new certificate for `{names}`, good from {} to {}, is to be renewed already",
                stamp(facts.not_before),
                stamp(facts.not_after)
            );
            let hint = format!(
                "the clock of this machine says {}: if that is not so, set it; the next order is at {}",
                stamp(now),
                stamp(now + respite)
            );
            self.problem = Some(Problem::warning(SOURCE, origin(want), message).hint(hint));
        }
        self.certificate = Some(certificate);
    }

    /// It did not work.
    pub(super) fn fail(&mut self, want: &Want, error: &OrderError, failure: Failure) {
        self.failures = self.failures.saturating_add(1);
        self.busy = 0;
        let pause = pause(failure, self.failures, error.wait());
        self.wait(pause);
        let names = want.names.join("`, `");
        let message = format!("no certificate for `{names}`: {}", Chain(error));
        let now = SystemTime::now();
        let good = self.certificate.as_ref().is_some_and(|it| it.is_good(now));
        let (problem, shown) = match good {
            true => (
                Problem::warning(SOURCE, origin(want), message),
                "the certificate that there is goes on being shown",
            ),
            false => (
                Problem::error(SOURCE, origin(want), message),
                "until then the local authority's certificate is shown",
            ),
        };
        let next = stamp(now + pause);
        self.problem = Some(problem.hint(format!("the next attempt is at {next}; {shown}")));
    }
}

fn origin(want: &Want) -> String {
    format!("resolver `{}`", want.resolver)
}
