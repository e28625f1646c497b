//! Who looks at a request, and who takes it.

use std::sync::Arc;

use portolan_core::{
    exchange::Exchange,
    explain,
    router::Router,
    snapshot::{RouterEntry, Snapshot},
};

use super::{Candidate, Outcome};

/// So many routers that are not asked are named at most; more would hide those that are.
const MAX_SKIPPED: usize = 20;

/// The router that takes a request, and all that came into question.
pub(super) fn route(
    exchange: &Exchange,
    snapshot: &Snapshot,
) -> (Option<Arc<Router>>, Vec<Candidate>) {
    let table = snapshot.table(&exchange.entrypoint);
    let asked = table.map(|table| table.explain(exchange)).unwrap_or_default();
    let selected = asked.iter().find(|it| it.outcome == explain::Outcome::Selected);
    let selected = selected.map(|it| it.router.clone());
    let mut candidates: Vec<Candidate> = asked.into_iter().map(candidate).collect();
    let host = exchange.request.host();
    let others = snapshot.routers.iter().filter(|entry| {
        let name = entry.entry.name.to_string();
        is_about(entry, host) && candidates.iter().all(|it| it.router != name)
    });
    let skipped: Vec<_> = others.take(MAX_SKIPPED).map(|entry| skip(entry, exchange)).collect();
    candidates.extend(skipped);
    (selected, candidates)
}

/// Whether a router is for a host, or would be if its rule could be read.
fn is_about(entry: &RouterEntry, host: &str) -> bool {
    let parent = host.split_once('.').map(|(_, parent)| parent);
    let is_wild = |it: &String| parent.is_some() && it.strip_prefix("*.") == parent;
    entry.hosts.iter().any(|it| it == host || is_wild(it))
        || entry.live.is_none()
            && !host.is_empty()
            && entry.rule.to_ascii_lowercase().contains(host)
}

fn candidate(it: explain::Candidate) -> Candidate {
    let (outcome, reason) = match it.outcome {
        explain::Outcome::Selected => (Outcome::Selected, String::new()),
        explain::Outcome::Shadowed { by } => (Outcome::Shadowed, format!("`{by}` comes before it")),
        explain::Outcome::Failed { reason } => (Outcome::Mismatch, reason),
    };
    Candidate {
        router: it.router.name.to_string(),
        priority: it.router.priority,
        rule: (*it.router.rule).to_owned(),
        outcome,
        reason,
    }
}

/// A router that demands this host, but is not asked here.
fn skip(router: &RouterEntry, exchange: &Exchange) -> Candidate {
    let entrypoint = &exchange.entrypoint;
    let reason = if router.live.is_none() {
        let cause = router.entry.errors.first().map_or("", String::as_str);
        format!("it is disabled: {cause}")
    } else if !router.entrypoints.contains(entrypoint) {
        format!("it does not serve the entrypoint `{entrypoint}`")
    } else if router.tls.is_some() && !exchange.peer.tls {
        "it answers on encrypted connections only".to_owned()
    } else {
        String::new()
    };
    Candidate {
        router: router.entry.name.to_string(),
        priority: router.priority,
        rule: (*router.rule).to_owned(),
        outcome: Outcome::Skipped,
        reason,
    }
}
