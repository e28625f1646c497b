//! One question under way: which upstreams are asked, and when another one is.

use std::rc::Rc;

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use portolan_core::problem::Chain;
use tokio::{
    task::spawn_local,
    time::{Instant, sleep, sleep_until},
};

use super::{
    super::{cache::Key, stored::Stored, upstream::Upstream},
    ForwardError, Forwarder, Place,
    groups::Group,
    settings::{DEADLINE, PATIENCE},
};

/// How often upstreams are asked for one question, at least.
const ATTEMPTS: usize = 3;

impl Forwarder {
    /// Asks one upstream after the other, without giving up on those that were asked before.
    /// `first`: what was asked at first, where this is what that leads to.
    pub(super) async fn ask(
        &self,
        key: &Key,
        first: &Key,
        group: &Group,
    ) -> Result<Stored, ForwardError> {
        let upstreams = group.by_preference(key.name(), &self.settings.loops);
        // All of them may lead back to us.
        if upstreams.is_empty() {
            return Err(ForwardError::NoAnswer);
        }
        // Where one is asked at once, that is the first. Of many, the first answer ends the others.
        let is_asked_anyway = usize::from(group.at_once() == 1);
        self.try_again(key, upstreams.iter().skip(is_asked_anyway));
        let most = ATTEMPTS.max(group.len());
        let mut next = upstreams.iter().cycle().take(most);
        let mut asked = 0;
        let mut due = group.at_once();
        let mut attempts = FuturesUnordered::new();
        let mut silent = Vec::new();
        let deadline = sleep_until(Instant::now() + DEADLINE);
        tokio::pin!(deadline);
        loop {
            for upstream in next.by_ref().take(due) {
                attempts.push(async move { (upstream, upstream.ask(key).await) });
                silent.push((upstream, Instant::now()));
                asked += 1;
            }
            due = tokio::select! {
                Some((upstream, result)) = attempts.next() => match result {
                    Ok(stored) => {
                        silent.retain(|(other, _)| !Rc::ptr_eq(other, upstream));
                        give_up(&silent);
                        let (names, from) = ([key, first], &upstream.config.place);
                        return Ok(self.believed(names, group, from, stored));
                    }
                    Err(error) => {
                        silent.retain(|(other, _)| !Rc::ptr_eq(other, upstream));
                        self.figures.upstream_failures.increment();
                        let upstream = &upstream.config;
                        tracing::debug!(%upstream, error = %Chain(&error), "no answer from upstream");
                        // One that says that it cannot answer will say so again.
                        usize::from(asked < upstreams.len() || !error.is_refusal())
                    }
                },
                () = sleep(PATIENCE), if asked < most => 1,
                () = &mut deadline => return Err(ForwardError::NoAnswer),
            };
            if attempts.is_empty() && (asked == most || due == 0) {
                return Err(ForwardError::NoAnswer);
            }
        }
    }

    /// Asks those of which nobody knows whether they answer again, for nobody in particular: the
    /// question that waits is answered by others, and sooner.
    fn try_again<'a>(&self, key: &Key, upstreams: impl Iterator<Item = &'a Rc<Upstream>>) {
        let now = Instant::now();
        for upstream in upstreams.filter(|upstream| upstream.health.is_to_be_tried(now)) {
            let (upstream, key, figures) = (upstream.clone(), *key, self.figures.clone());
            spawn_local(async move {
                if upstream.ask(&key).await.is_err() {
                    figures.upstream_failures.increment();
                }
            });
        }
    }

    /// Takes out what nobody outside can truly say of one of these names. Who is asked for some names
    /// only is trusted with them.
    fn believed(
        &self,
        names: [&Key; 2],
        group: &Group,
        from: &Place,
        mut stored: Stored,
    ) -> Stored {
        let settings = &self.current.borrow().settings;
        let is_doubtful = names.iter().any(|key| settings.filter.doubts(key.name(), from));
        if group.suffix.is_none() && is_doubtful {
            let removed = stored.without_private(settings.filter.rebind_localhost);
            if removed {
                self.figures.rebinds.increment();
            }
        }
        stored
    }
}

/// Their attempts end here, since another one has answered. Who has been silent for long is asked
/// last for a while: else each question would wait for it anew.
fn give_up(silent: &[(&Rc<Upstream>, Instant)]) {
    for (upstream, since) in silent {
        if since.elapsed() >= PATIENCE {
            upstream.slower_than(PATIENCE, *since);
        }
    }
}
