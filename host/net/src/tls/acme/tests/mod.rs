//! What is shown of an authority that is away; and, in its own files, what is ordered of one in
//! memory, and shared by a Consul in memory.

mod authority;
mod consul;
mod keeping;
mod orders;

use std::{
    collections::VecDeque,
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use portolan_core::problem::Severity;
use serde_json::json;
use tempfile::TempDir;

use tokio::time::Instant;

use super::{fetch::Fetch, resolver::Due, storage::Storage, *};
use crate::tls::{Certificate, challenge::Challenges, tests::pem};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// A resolver of an authority in memory, with this folder.
fn config(folder: &Path) -> ResolverConfig {
    ResolverConfig {
        name: "le".into(),
        email: None,
        directory: authority::DIRECTORY.to_owned(),
        challenge: Challenge::Http01,
        root_certificates: None,
        key_type: KeyType::Ec256,
        external_account: None,
        storage: StorageConfig::File(folder.to_owned()),
    }
}

/// A resolver of this authority with this folder.
fn resolver(folder: &Path, challenges: &Arc<Challenges>, fetch: Fetch) -> Resolver {
    let config = config(folder);
    let storage = Storage::open(&config.storage).unwrap();
    Resolver::at(Desk::new(config, storage, challenges.clone(), Some(fetch)))
}

/// A resolver of this authority with a folder of its own.
fn node(fetch: Fetch) -> Alone {
    let folder = tempfile::tempdir().unwrap();
    let challenges = Arc::<Challenges>::default();
    let resolver = resolver(folder.path(), &challenges, fetch);
    Alone::at(folder, resolver, challenges)
}

/// A resolver with a folder.
struct Alone {
    folder: TempDir,
    resolver: Resolver,
    challenges: Arc<Challenges>,
    due: VecDeque<Due>,
}

impl Alone {
    /// Its authority is a port that nobody listens at.
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let directory = "https://127.0.0.1:1/dir".to_owned();
        let config = ResolverConfig { directory, ..config(folder.path()) };
        let challenges = Arc::default();
        let resolver = Resolver::new(&config, &challenges).unwrap();
        Self::at(folder, resolver, challenges)
    }

    fn at(folder: TempDir, resolver: Resolver, challenges: Arc<Challenges>) -> Self {
        Self { folder, resolver, challenges, due: VecDeque::new() }
    }

    /// Puts a certificate of this age and so long a life into the folder.
    fn keep(&self, name: &str, age: Duration, life: Duration) {
        let (certificate, key) = pem(name, SystemTime::now() - age, life);
        let place = self.resolver.desk.place(&format!("certificates/{name}.json"));
        let path = self.folder.path().join(place);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = json!({ "names": [name], "certificate": certificate, "key": key });
        std::fs::write(path, text.to_string()).unwrap();
    }

    /// Starts anew, with the same folder.
    fn restart(&mut self, fetch: Fetch) {
        self.due.clear();
        self.resolver = resolver(self.folder.path(), &self.challenges, fetch);
    }

    /// How long until something is done.
    fn left(&self) -> Duration {
        self.resolver.next().unwrap() - Instant::now()
    }

    fn want(&mut self, names: &[&str]) {
        let wants = names.iter().map(|name| want(name));
        self.resolver.want(wants.collect::<Vec<_>>().into_iter());
    }

    /// Looks after what is due, one at a time; answers what that was.
    async fn turn(&mut self) -> Option<String> {
        if self.due.is_empty() {
            self.due.extend(self.resolver.due());
        }
        let due = self.due.pop_front()?;
        let want = due.want.clone();
        let (outcome, pending) = self.resolver.desk.clone().look_after(due).await;
        self.resolver.take(&want, outcome, pending, true);
        want.names.into_iter().next()
    }

    fn shown(&self) -> Vec<&Arc<Certificate>> {
        self.resolver.certificates().collect()
    }

    /// What is wrong first.
    fn problem(&self) -> String {
        self.resolver.problems().next().map(|it| it.message).unwrap_or_default()
    }

    fn problems(&self) -> String {
        self.resolver.problems().map(|problem| format!("{problem:?}")).collect()
    }
}

fn want(name: &str) -> Want {
    Want { resolver: "le".into(), names: vec![name.to_owned()] }
}

#[tokio::test]
async fn what_is_kept_is_shown_while_it_is_renewed() {
    let mut alone = Alone::new();
    alone.keep("a.test", 70 * DAY, 90 * DAY);
    alone.want(&["a.test"]);
    assert!(alone.turn().await.is_some());
    assert_eq!(alone.shown().len(), 1, "before anybody was asked");
    assert_eq!(alone.resolver.problems().count(), 0);

    // It is renewed at once. That does not work, and costs nothing yet.
    assert!(alone.turn().await.is_some());
    assert!(alone.turn().await.is_none(), "there is a pause");
    assert_eq!(alone.shown().len(), 1);
    let problem = alone.resolver.problems().next().unwrap();
    assert_eq!(problem.severity, Severity::Warning);
    assert!(problem.hint.as_ref().unwrap().contains("goes on being shown"), "{problem:?}");

    // Nor when its router goes and comes back.
    alone.want(&[]);
    assert!(alone.shown().is_empty());
    alone.want(&["a.test"]);
    assert!(alone.turn().await.is_some());
    assert_eq!(alone.shown().len(), 1);
}

#[tokio::test]
async fn one_whose_time_is_over_is_not_shown() {
    let mut alone = Alone::new();
    alone.keep("a.test", 91 * DAY, 90 * DAY);
    alone.want(&["a.test"]);
    while alone.turn().await.is_some() {}
    assert!(alone.shown().is_empty());
    assert_eq!(alone.resolver.problems().next().unwrap().severity, Severity::Error);
}

#[tokio::test]
async fn all_that_is_kept_is_shown_before_anything_is_ordered() {
    let mut alone = Alone::new();
    let names = ["a.test", "b.test", "c.test"];
    alone.keep("a.test", 70 * DAY, 90 * DAY);
    alone.keep("c.test", 70 * DAY, 90 * DAY);
    alone.want(&names);
    for name in names {
        assert_eq!(alone.turn().await.as_deref(), Some(name));
    }
    assert_eq!(alone.shown().len(), 2);
    assert_eq!(alone.resolver.problems().count(), 0, "nobody was asked");
    for name in names {
        assert_eq!(alone.turn().await.as_deref(), Some(name));
    }
    assert_eq!(alone.resolver.problems().count(), 3);
}

#[tokio::test]
async fn whom_to_trust_is_read_again_when_an_authority_is_away() {
    let mut alone = Alone::new();
    let roots = alone.folder.path().join("roots.pem");
    std::fs::write(&roots, pem("ca.test", SystemTime::now(), DAY).0).unwrap();
    let mut config = alone.resolver.desk.config.clone();
    config.root_certificates = Some(roots.clone());
    alone.resolver = Resolver::new(&config, &alone.challenges).unwrap();
    // An account that takes no question to be used.
    let key = "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgJVWC_QzOTCS5vtsJp2IG-UDc8cdDfeoKtxSZxaz\
               nM-mhRANCAAQenCPoGgPFTdPJ7VLLKt56RxPlYT1wNXnHc54PEyBg3LxKaH0-sJkX0mL8LyPEdsfL_Oz4TxHkWLJ\
               GrXVtNhfH";
    let url = &config.directory;
    let urls = json!({ "newNonce": url, "newAccount": url, "newOrder": url });
    let account = json!({ "id": "https://127.0.0.1:1/a", "key_pkcs8": key, "urls": urls });
    let place = alone.folder.path().join(alone.resolver.desk.place("account.json"));
    std::fs::create_dir_all(place.parent().unwrap()).unwrap();
    std::fs::write(place, account.to_string()).unwrap();
    alone.want(&["a.test"]);
    alone.turn().await;
    alone.turn().await;
    assert!(alone.problem().contains("no answer"), "{}", alone.problem());

    std::fs::write(&roots, "garbage").unwrap();
    alone.resolver.retry();
    alone.turn().await;
    assert!(alone.problem().contains("roots.pem"), "{}", alone.problem());
}
