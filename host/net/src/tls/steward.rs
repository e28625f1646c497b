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
    acme::{Desk, Failure, Outcome, Pending, Resolver, ResolverConfig, Want, wants},
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
/// How often a resolver that cannot be used is tried again.
const MINUTE: Duration = Duration::from_secs(60);
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
    let mut steward = Steward::new(keyring.clone(), others, changes);
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
                Ok((id, (outcome, pending))) => steward.take(id, outcome, pending),
                Err(error) => {
                    let id = error.id();
                    steward.take(id, Outcome::Failed(error.into(), Failure::Refused), None);
                }
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
    refused: Vec<Unusable>,
    orders: JoinSet<(Outcome, Option<Pending>)>,
    /// What each of them is for, and with what it is done.
    ordered: HashMap<Id, (Arc<Desk>, Want)>,
    others: mpsc::Sender<Ask>,
    changes: mpsc::Sender<Arc<str>>,
}

/// A resolver, and who listens to its storage and answers its questions.
struct Tended {
    resolver: Resolver,
    /// Ends with it.
    helpers: JoinSet<()>,
}

/// A resolver that cannot be used.
struct Unusable {
    config: ResolverConfig,
    problem: Problem,
    /// When it is tried again.
    next: Instant,
}

impl Steward {
    fn new(
        keyring: Arc<Keyring>,
        others: mpsc::Sender<Ask>,
        changes: mpsc::Sender<Arc<str>>,
    ) -> Self {
        let (watch, resolvers, refused, orders, ordered) = Default::default();
        Self { keyring, watch, resolvers, refused, orders, ordered, others, changes }
    }

    /// Looks at everything once. Answers what is wrong, and when to look again.
    fn turn(&mut self) -> (Vec<Problem>, Instant) {
        let folders = self.keyring.look();
        let look = if folders.is_empty() { HOUR } else { LOOK };
        self.watch.cover(folders, &self.keyring);
        if self.keyring.is_impatient() {
            self.resolvers.iter_mut().for_each(|one| one.resolver.retry());
            self.refused.clear();
        }
        let unmet = self.want();
        self.start();
        let ordered = self.resolvers.iter().flat_map(|one| one.resolver.certificates());
        self.keyring.take_ordered(ordered.cloned().collect());

        let mut problems = self.keyring.problems();
        problems.extend(unmet);
        problems.extend(self.refused.iter().map(|one| one.problem.clone()));
        problems.extend(self.resolvers.iter().flat_map(|one| one.resolver.problems()));
        let due = self.resolvers.iter().filter_map(|one| one.resolver.next());
        let due = due.chain(self.refused.iter().map(|one| one.next));
        let latest = Instant::now() + look;
        (problems, due.chain([latest]).min().unwrap_or(latest))
    }

    /// Brings the resolvers, and what is wanted of each, up to date; answers wishes that cannot
    /// be met.
    fn want(&mut self) -> Vec<Problem> {
        let (settings, entrypoints) = (self.keyring.settings(), self.keyring.entrypoints());
        let stays = |one: &Tended| settings.resolvers.contains(&one.resolver.desk.config);
        let mut gone: Vec<_> = self.resolvers.extract_if(.., |one| !stays(one)).collect();
        let now = Instant::now();
        self.refused.retain(|one| one.next > now && settings.resolvers.contains(&one.config));
        for config in &settings.resolvers {
            let known = self.resolvers.iter().any(|one| one.resolver.desk.config == *config)
                || self.refused.iter().any(|refused| refused.config == *config);
            if !known {
                self.open(config, &mut gone);
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
    fn open(&mut self, config: &ResolverConfig, gone: &mut [Tended]) {
        match Resolver::new(config, self.keyring.challenges()) {
            Ok(mut resolver) => {
                gone.iter_mut().for_each(|before| resolver.inherit(&mut before.resolver));
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
                let next = Instant::now() + MINUTE;
                self.refused.push(Unusable { config: config.clone(), problem, next });
            }
        }
    }

    fn start(&mut self) {
        for one in &mut self.resolvers {
            for due in one.resolver.due() {
                let desk = one.resolver.desk.clone();
                let want = due.want.clone();
                let order = self.orders.spawn(desk.clone().look_after(due));
                self.ordered.insert(order.id(), (desk, want));
            }
        }
    }

    fn take(&mut self, order: Id, outcome: Outcome, pending: Option<Pending>) {
        let Some((desk, want)) = self.ordered.remove(&order) else { return };
        // A resolver of this name may be of another authority by now, whose certificate it is not.
        let heir = |one: &&mut Tended| one.resolver.desk.is_of_same_authority(&desk);
        if let Some(one) = self.resolvers.iter_mut().find(heir) {
            let own = Arc::ptr_eq(&one.resolver.desk, &desk);
            one.resolver.take(&want, outcome, pending, own);
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

#[cfg(test)]
mod tests {
    use std::{path::Path, time::SystemTime};

    use portolan_core::{declare::TlsSpec, live::live, snapshot::Snapshot};

    use super::*;
    use crate::tls::{
        Certificate, CertificateSource, TlsConfig, TlsSettings,
        acme::{Challenge, KeyType, StorageConfig},
        tests::{pem, router},
    };

    fn config(directory: &str, storage: StorageConfig) -> ResolverConfig {
        ResolverConfig {
            name: "le".into(),
            email: None,
            directory: directory.to_owned(),
            challenge: Challenge::Http01,
            root_certificates: None,
            key_type: KeyType::Ec256,
            external_account: None,
            storage,
        }
    }

    /// Looks after a router for each host, each of which wants a certificate of a resolver.
    fn steward(wants: &[(&str, &str)], resolvers: Vec<ResolverConfig>) -> Steward {
        let routers = wants.iter().map(|(host, resolver)| {
            let resolver = Some((*resolver).to_owned());
            router(host, &[host], "web", Some(TlsSpec { resolver, ..TlsSpec::default() }))
        });
        let routers = routers.collect();
        let (_publisher, live) = live(Snapshot { routers, ..Snapshot::default() });
        let keyring = Arc::new(Keyring::new(None, live));
        keyring.serve(vec![("web".into(), TlsConfig::default())]);
        keyring.configure(TlsSettings { resolvers, ..TlsSettings::default() });
        Steward::new(keyring, mpsc::channel(1).0, mpsc::channel(1).0)
    }

    fn settings(resolver: ResolverConfig) -> TlsSettings {
        TlsSettings { resolvers: vec![resolver], ..TlsSettings::default() }
    }

    fn issued() -> Outcome {
        let (chain, key) = pem("a.test", SystemTime::now(), 99 * HOUR);
        let source = CertificateSource::Acme("le".into());
        let certificate = Certificate::from_pem(chain.as_bytes(), key.as_bytes(), source);
        Outcome::Issued(Arc::new(certificate.unwrap()), None)
    }

    /// Edits the directory of a resolver that is at it; answers how many certificates of its are
    /// shown then.
    async fn shown_after(edit: impl FnOnce(&mut ResolverConfig)) -> usize {
        let folder = tempfile::tempdir().unwrap();
        let storage = StorageConfig::File(folder.path().to_owned());
        let mut resolver = config("https://127.0.0.1:1/staging", storage);
        let mut steward = steward(&[("a.test", "le")], vec![resolver.clone()]);
        steward.turn();
        let order = *steward.ordered.keys().next().unwrap();
        edit(&mut resolver);
        steward.keyring.configure(settings(resolver));
        steward.turn();
        steward.take(order, issued(), None);
        steward.turn();
        steward.keyring.certificates().len()
    }

    #[tokio::test]
    async fn each_resolver_has_room_of_its_own() {
        let folder = tempfile::tempdir().unwrap();
        let storage = StorageConfig::File(folder.path().to_owned());
        let le = config("https://127.0.0.1:1/dir", storage);
        let own = ResolverConfig { name: "own".into(), ..le.clone() };
        let wants = ["a", "b", "c", "d", "e", "f"].map(|host| (host, "le"));
        let wants = [wants.as_slice(), &[("g", "own")]].concat();
        let mut steward = steward(&wants, vec![le, own]);
        steward.turn();
        assert_eq!(steward.ordered.len(), 7, "all are looked for at once");
        while let Some(done) = steward.orders.join_next_with_id().await {
            let (id, (outcome, pending)) = done.unwrap();
            steward.take(id, outcome, pending);
        }
        steward.turn();
        let of = |name: &str| steward.ordered.values().filter(|it| &*it.1.resolver == name).count();
        assert_eq!((of("le"), of("own")), (4, 1));
    }

    #[tokio::test]
    async fn what_one_authority_gave_is_not_shown_as_that_of_another() {
        assert_eq!(shown_after(|_| ()).await, 1);
        assert_eq!(shown_after(|resolver| resolver.email = Some("a@a.test".to_owned())).await, 1);
        let production = "https://127.0.0.1:1/production";
        assert_eq!(shown_after(|resolver| resolver.directory = production.to_owned()).await, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_resolver_that_cannot_be_used_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let roots = folder.path().join("roots.pem");
        let storage = StorageConfig::Consul {
            address: "http://127.0.0.1:1".to_owned(),
            token: None,
            roots: Some(roots.clone()),
            folder: folder.path().to_owned(),
        };
        let resolver = config("https://127.0.0.1:1/dir", storage);
        let mut steward = steward(&[("a.test", "le")], vec![resolver]);
        let refused = |steward: &mut Steward| {
            let (problems, next) = steward.turn();
            let refused = problems.iter().any(|problem| problem.message.contains("roots.pem"));
            assert!(!refused || next <= Instant::now() + MINUTE);
            refused
        };
        assert!(refused(&mut steward));
        let root = pem("a.test", SystemTime::now(), HOUR).0;
        let put = |path: &Path| std::fs::write(path, &root).unwrap();
        put(&roots);
        assert!(refused(&mut steward), "not so soon");
        steward.keyring.retry();
        assert!(!refused(&mut steward));

        std::fs::remove_file(&roots).unwrap();
        steward.resolvers.clear();
        assert!(refused(&mut steward));
        put(&roots);
        tokio::time::advance(MINUTE).await;
        assert!(!refused(&mut steward));
    }
}
