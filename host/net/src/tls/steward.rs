//! Sees to it that no certificate goes stale: reads files that changed, orders what is wanted,
//! renews what ends, and tells what is wrong.
//!
//! **Invariant:** it holds nobody up. Handshakes go on with what there is; orders run beside it, a
//! few at a time.

use std::{future::Future, sync::Arc, time::Duration};

use hashbrown::HashMap;
use portolan_core::{
    pointer::child,
    problem::{Chain, Problem},
};
use tokio::{
    sync::mpsc,
    task::{Id, JoinSet},
    time::{Instant, sleep, sleep_until},
};

use super::{
    Keyring,
    acme::{Outcome, Resolver, ResolverConfig, Want, wants},
    challenge::Ask,
    trouble::SOURCE,
    watch::Watch,
};

/// Files are written in several steps; this long after the first, most are done.
const SETTLED: Duration = Duration::from_millis(50);
/// How often files are looked at: network file systems and overlays tell nobody.
const LOOK: Duration = Duration::from_secs(5);
/// How often it is looked which certificates are about to end.
const HOUR: Duration = Duration::from_secs(60 * 60);
/// The most orders at once: authorities count them.
const ORDERS: usize = 4;
/// The most questions of authorities that wait for another node's answer.
const ASKS: usize = 64;
/// How long Consul is left alone when it does not answer.
const BACK_OFF: Duration = Duration::from_secs(5);

/// Looks after all certificates until it is dropped. `tell` is told what is wrong, whenever that
/// changes.
pub async fn tend<F>(keyring: Arc<Keyring>, mut tell: impl FnMut(Vec<Problem>) -> F)
where
    F: Future<Output = ()>,
{
    let (others, mut asked) = mpsc::channel(ASKS);
    let (changes, mut changed) = mpsc::channel(1);
    let mut steward = Steward {
        keyring: keyring.clone(),
        watch: Watch::default(),
        resolvers: Vec::new(),
        refused: Vec::new(),
        orders: JoinSet::new(),
        ordered: HashMap::new(),
        others,
        changes,
    };
    let mut told = Vec::new();
    loop {
        let (problems, next) = steward.turn();
        if problems != told {
            told.clone_from(&problems);
            tell(problems).await;
        }
        tokio::select! {
            () = keyring.woken() => sleep(SETTLED).await,
            Some(done) = steward.orders.join_next_with_id() => match done {
                Ok((id, outcome)) => steward.take(id, outcome),
                Err(error) => steward.take(error.id(), Outcome::Failed(error.into(), None)),
            },
            Some(ask) = asked.recv() => steward.ask_others(ask),
            Some(resolver) = changed.recv() => steward.doubt(&resolver),
            () = sleep_until(next) => {}
        }
    }
}

struct Steward {
    keyring: Arc<Keyring>,
    watch: Watch,
    resolvers: Vec<Tended>,
    /// Resolvers that cannot be used at all.
    refused: Vec<(ResolverConfig, Problem)>,
    orders: JoinSet<Outcome>,
    /// What each of them is for.
    ordered: HashMap<Id, Want>,
    others: mpsc::Sender<Ask>,
    changes: mpsc::Sender<Arc<str>>,
}

/// A resolver, and who listens to its storage and answers its questions.
struct Tended {
    resolver: Resolver,
    /// Ends with it.
    helpers: JoinSet<()>,
}

impl Steward {
    /// Looks at everything once. Answers what is wrong, and when to look again.
    fn turn(&mut self) -> (Vec<Problem>, Instant) {
        let folders = self.keyring.look();
        let look = if folders.is_empty() { HOUR } else { LOOK };
        self.watch.cover(folders, &self.keyring);
        let unmet = self.want();
        if self.keyring.is_impatient() {
            self.resolvers.iter_mut().for_each(|one| one.resolver.retry());
        }
        let room = ORDERS.saturating_sub(self.orders.len());
        self.start(room);
        let ordered = self.resolvers.iter().flat_map(|one| one.resolver.certificates());
        self.keyring.take_ordered(ordered.cloned().collect());

        let mut problems = self.keyring.problems();
        problems.extend(unmet);
        problems.extend(self.refused.iter().map(|(_, problem)| problem.clone()));
        problems.extend(self.resolvers.iter().flat_map(|one| one.resolver.problems().cloned()));
        let now = Instant::now();
        // With no room left, the next end of an order is what is waited for.
        let due = self.resolvers.iter().filter_map(|one| one.resolver.next());
        let due = due.filter(|due| *due > now || self.orders.len() < ORDERS);
        (problems, due.chain([now + look]).min().unwrap_or(now + look))
    }

    /// Brings the resolvers, and what is wanted of each, up to date; answers wishes that cannot
    /// be met.
    fn want(&mut self) -> Vec<Problem> {
        let (settings, entrypoints) = (self.keyring.settings(), self.keyring.entrypoints());
        let stays = |one: &Tended| settings.resolvers.contains(&one.resolver.desk.config);
        let gone: Vec<_> = self.resolvers.extract_if(.., |one| !stays(one)).collect();
        self.refused.retain(|(config, _)| settings.resolvers.contains(config));
        for config in &settings.resolvers {
            let known = self.resolvers.iter().any(|one| one.resolver.desk.config == *config)
                || self.refused.iter().any(|(refused, _)| refused == config);
            if !known {
                self.open(config, &gone);
            }
        }
        let shared = self.resolvers.iter().any(|one| one.resolver.desk.storage.is_shared());
        self.keyring.challenges().ask_others(shared.then(|| self.others.clone()));
        let files = self.keyring.of_files();
        let (wants, problems) = wants(&self.keyring.snapshot(), &settings, &entrypoints, &files);
        for one in &mut self.resolvers {
            let name = one.resolver.desk.config.name.clone();
            one.resolver.want(wants.iter().filter(|want| want.resolver == name).cloned());
        }
        problems
    }

    /// Begins with a resolver; one that was there before under its name leaves it what it had.
    fn open(&mut self, config: &ResolverConfig, gone: &[Tended]) {
        match Resolver::new(config, self.keyring.challenges()) {
            Ok(mut resolver) => {
                gone.iter().for_each(|before| resolver.inherit(&before.resolver));
                let mut helpers = JoinSet::new();
                if resolver.desk.storage.is_shared() {
                    let (desk, changes) = (resolver.desk.clone(), self.changes.clone());
                    helpers.spawn(async move {
                        let (storage, mut index) = (&desk.storage, 0);
                        let key = desk.place("certificates/");
                        loop {
                            match storage.changed(&key, index).await {
                                Ok(new) if new == index && new > 0 => {}
                                Ok(new) => {
                                    index = new;
                                    let name = desk.config.name.clone();
                                    drop(changes.send(name).await);
                                    // Without an index the next question would not wait either.
                                    if new == 0 {
                                        sleep(BACK_OFF).await;
                                    }
                                }
                                Err(error) => {
                                    tracing::debug!(error = %Chain(&error), "storage not watched");
                                    sleep(BACK_OFF).await;
                                }
                            }
                        }
                    });
                }
                self.resolvers.push(Tended { resolver, helpers });
            }
            Err(error) => {
                let origin = format!("acme.{}", config.name);
                let place = child("/acme", &config.name);
                let problem = Problem::error(SOURCE, origin, Chain(&error).to_string()).at(place);
                self.refused.push((config.clone(), problem));
            }
        }
    }

    fn start(&mut self, room: usize) {
        let mut room = room;
        for one in &mut self.resolvers {
            for due in one.resolver.due(room) {
                room -= 1;
                let desk = one.resolver.desk.clone();
                let want = due.want.clone();
                let order = self.orders.spawn(desk.look_after(due));
                self.ordered.insert(order.id(), want);
            }
        }
    }

    fn take(&mut self, order: Id, outcome: Outcome) {
        let Some(want) = self.ordered.remove(&order) else { return };
        let resolver = self.resolvers.iter_mut();
        let mut resolver = resolver.filter(|one| one.resolver.desk.config.name == want.resolver);
        if let Some(one) = resolver.next() {
            one.resolver.take(&want, outcome);
        }
    }

    fn doubt(&mut self, resolver: &str) {
        let resolvers = self.resolvers.iter_mut();
        for one in resolvers.filter(|one| &*one.resolver.desk.config.name == resolver) {
            one.resolver.doubt();
        }
    }

    /// Asks the storages for an answer that another node has put there.
    fn ask_others(&mut self, ask: Ask) {
        let shared = self.resolvers.iter().filter(|one| one.resolver.desk.storage.is_shared());
        let desks: Vec<_> = shared.map(|one| one.resolver.desk.clone()).collect();
        let Some(one) = self.resolvers.iter_mut().find(|one| one.resolver.desk.storage.is_shared())
        else {
            return;
        };
        // Those that have ended make room.
        while one.helpers.try_join_next().is_some() {}
        // Anybody can ask for tokens that are none: Consul shall not feel it.
        if one.helpers.len() > ASKS {
            return;
        }
        one.helpers.spawn(async move {
            for desk in desks {
                match desk.storage.shared(&ask.question).await {
                    Ok(Some(answer)) => {
                        // It may have given up.
                        ask.answer.send(Some(answer.into())).unwrap_or_default();
                        return;
                    }
                    Ok(None) => {}
                    Err(error) => {
                        tracing::debug!(error = %Chain(&error), "storage not asked");
                    }
                }
            }
            ask.answer.send(None).unwrap_or_default();
        });
    }
}
