//! Looks at the files of the transports that services use, and at those of whoever is asked by a
//! middleware, and tells what is wrong with them.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use portolan_core::{live::Live, problem::Problem, service::Transport, snapshot::Snapshot};
use tokio::time::sleep;

use super::Trust;

/// Where these problems come from.
const SOURCE: &str = "tls";
/// How often files are looked at.
const LOOK: Duration = Duration::from_secs(5);

/// Looks after the transports of all services until it is dropped. `tell` is told what is wrong,
/// whenever that changes.
pub async fn tend<F>(trust: Arc<Trust>, live: Live, mut tell: impl FnMut(Vec<Problem>) -> F)
where
    F: Future<Output = ()>,
{
    let mut told = Vec::new();
    loop {
        let problems = trust.problems(&live.load()).await;
        if problems != told {
            told.clone_from(&problems);
            tell(problems).await;
        }
        sleep(LOOK).await;
    }
}

/// A transport with files, or what would stand in them, and who uses it.
struct Used {
    transport: Arc<Transport>,
    /// What users of this kind have.
    what: &'static str,
    users: Vec<String>,
}

impl Trust {
    /// Looks at the files of all transports; answers what is wrong, in a steady order.
    pub(super) async fn problems(&self, snapshot: &Snapshot) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (id, used) in used(snapshot) {
            let known = self.lock().get(&id).cloned();
            let origin = format!("{} of `{}`", used.what, used.users.join("`, `"));
            match self.look(id, &used.transport, known).await {
                Ok(known) => problems.extend(known.trouble.map(|trouble| {
                    Problem::error(SOURCE, origin, &*trouble)
                        .hint("connections are made with what the files held before")
                })),
                Err(error) => problems.push(
                    Problem::error(SOURCE, origin, error.to_string())
                        .hint("no connections are made until the files can be used"),
                ),
            }
        }
        problems.sort();
        problems
    }
}

fn used(snapshot: &Snapshot) -> BTreeMap<u64, Used> {
    let mut used: BTreeMap<u64, Used> = BTreeMap::new();
    for service in snapshot.services.iter().filter_map(|entry| entry.live.as_ref()) {
        let Some((id, transport)) = &service.transport else { continue };
        if transport.root_cas.is_empty() && transport.certificates.is_empty() {
            continue;
        }
        let what = "servers-transport";
        let new = || Used { transport: transport.clone(), what, users: Vec::new() };
        used.entry(*id).or_insert_with(new).users.push(service.name.to_string());
    }
    for middleware in snapshot.middlewares.iter().filter_map(|entry| entry.live.as_ref()) {
        for authority in middleware.interest.authorities() {
            let Some((id, transport)) = &authority.service().transport else { continue };
            let new = || Used { transport: transport.clone(), what: "tls", users: Vec::new() };
            used.entry(*id).or_insert_with(new).users.push(middleware.name.to_string());
        }
    }
    used
}
