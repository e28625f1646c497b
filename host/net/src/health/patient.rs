//! One backend that is probed, again and again.

use std::{sync::Arc, time::Duration};

use portolan_core::{
    balance::{key, mix},
    policy::HealthCheck,
    service::{Backend, BackendFigures, Service},
    standing::Probed,
};
use tokio::{
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::probe::Target;
use crate::transport::Trust;

/// A backend that is probed.
pub(super) struct Patient {
    service: String,
    url: String,
    check: HealthCheck,
    target: Option<Target>,
    figures: Arc<BackendFigures>,
    trust: Arc<Trust>,
    course: Course,
}

/// How the last probes went.
#[derive(Debug, Default)]
pub(super) struct Course {
    /// So many in a row went otherwise than what is thought of the backend.
    against: u32,
}

impl Patient {
    pub(super) fn new(
        service: &Service,
        check: &HealthCheck,
        backend: &Backend,
        trust: Arc<Trust>,
    ) -> Self {
        Self {
            service: service.name.to_string(),
            url: backend.url(),
            check: check.clone(),
            target: Target::of(backend, check, &service.transport),
            figures: backend.figures.clone(),
            trust,
            course: Course::default(),
        }
    }

    /// Probes at once, and then from time to time.
    pub(super) async fn watch(mut self, turns: Arc<Semaphore>) {
        let seed = key(self.url.as_bytes());
        for round in 0.. {
            let turn = turns.acquire().await;
            let seen = self.probe().await;
            drop(turn);
            let interval = match seen {
                Seen::Well | Seen::Nothing => self.check.interval,
                Seen::Ill(_) => self.check.unhealthy_interval,
            };
            match seen {
                Seen::Well => self.note(None),
                Seen::Ill(failure) => self.note(Some(failure)),
                Seen::Nothing => {}
            }
            sleep(spread(interval, mix(seed ^ round))).await;
        }
    }

    async fn probe(&self) -> Seen {
        let Some(target) = &self.target else { return Seen::Ill("its address is none".to_owned()) };
        match timeout(self.check.timeout, target.probe(&self.check, &self.trust)).await {
            Ok(Ok(())) => Seen::Well,
            Ok(Err(failure)) if failure.is_ours() => {
                let (service, backend) = (&self.service, &self.url);
                tracing::debug!(service, backend, %failure, "backend not probed");
                Seen::Nothing
            }
            Ok(Err(failure)) => Seen::Ill(failure.to_string()),
            Err(_elapsed) => {
                Seen::Ill(format!("no answer within {} ms", self.check.timeout.as_millis()))
            }
        }
    }

    fn note(&mut self, failure: Option<String>) {
        let standing = &self.figures.standing;
        let next = self.course.next(standing.probed(), failure.is_none(), &self.check);
        let reason: Option<Arc<str>> = failure.map(Into::into);
        if standing.probe(next, reason.clone()) {
            let (service, backend) = (&self.service, &self.url);
            match reason {
                None => tracing::info!(service, backend, "backend is well"),
                Some(reason) => tracing::warn!(service, backend, %reason, "backend is down"),
            }
        }
    }
}

/// What a probe saw of a backend.
enum Seen {
    Well,
    /// Why it is not.
    Ill(String),
    /// There was no probe: we have no file descriptors left, for instance.
    Nothing,
}

impl Course {
    /// What is thought of a backend after one more probe. Of one of which nothing is known the
    /// first probe decides.
    pub(super) fn next(&mut self, now: Probed, is_well: bool, check: &HealthCheck) -> Probed {
        let (other, needed) = match (now, is_well) {
            (Probed::Unknown, true) => (Probed::Up, 1),
            (Probed::Unknown, false) => (Probed::Down, 1),
            (Probed::Up, false) => (Probed::Down, check.fall),
            (Probed::Down, true) => (Probed::Up, check.rise),
            (Probed::Up, true) | (Probed::Down, false) => {
                self.against = 0;
                return now;
            }
        };
        self.against += 1;
        if self.against < needed {
            return now;
        }
        self.against = 0;
        other
    }
}

/// Up to a tenth more or less, so that probes that began together do not stay together.
fn spread(interval: Duration, random: u64) -> Duration {
    let share = 0.9 + 0.2 * (random >> 11) as f64 / (1_u64 << 53) as f64;
    interval.mul_f64(share)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_rise_and_fall_in_a_row_and_the_first_probe_decides() {
        let check = HealthCheck { rise: 2, fall: 3, ..HealthCheck::default() };
        let (mut course, mut now) = (Course::default(), Probed::Unknown);
        let mut seen = String::new();
        for probe in "+--+---+-++--".chars() {
            now = course.next(now, probe == '+', &check);
            seen.push(if now == Probed::Up { 'u' } else { 'd' });
        }
        assert_eq!(seen, "uuuuuudddduuu");
        let mut course = Course::default();
        assert_eq!(course.next(Probed::Unknown, false, &check), Probed::Down);
    }

    #[test]
    fn intervals_are_spread_by_a_tenth() {
        let second = Duration::from_secs(1);
        let all: Vec<_> = (0..100).map(|round| spread(second, mix(round)).as_millis()).collect();
        assert!(all.iter().all(|millis| (900..=1100).contains(millis)), "{all:?}");
        assert!(all.iter().max().unwrap() - all.iter().min().unwrap() > 100);
    }
}
