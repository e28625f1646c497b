//! Providers: how they are, since when, and what they have.

use serde::Serialize;

use super::{age, stamp};
use crate::control::board::ProviderReport;

/// An item of `/api/providers`. Ages are in milliseconds, so that a reader whose clock is wrong
/// still sees the right ones.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ProviderView {
    name: String,
    plugin: String,
    /// `waiting`, `synced`, `stale`, `failed`.
    state: &'static str,
    since: String,
    state_age: u64,
    last_success: Option<String>,
    success_age: Option<u64>,
    last_change: Option<String>,
    change_age: Option<u64>,
    from_disk: bool,
    error: Option<String>,
    items: Items,
    steps: Steps,
    grants: Vec<String>,
}

#[derive(Debug, Serialize)]
struct Items {
    nodes: usize,
    instances: usize,
    fragments: usize,
}

#[derive(Debug, Serialize)]
struct Steps {
    made: u64,
    failed: u64,
}

impl ProviderView {
    /// How a provider looks.
    pub(crate) fn of(provider: &ProviderReport) -> Self {
        let [nodes, instances, fragments] = provider.items;
        let [made, failed] = provider.steps;
        Self {
            name: (*provider.name).to_owned(),
            plugin: (*provider.plugin).to_owned(),
            state: provider.state.as_str(),
            since: stamp(provider.since),
            state_age: age(provider.since),
            last_success: provider.last_success.map(stamp),
            success_age: provider.last_success.map(age),
            last_change: provider.last_change.map(stamp),
            change_age: provider.last_change.map(age),
            from_disk: provider.from_disk,
            error: provider.error.clone(),
            items: Items { nodes, instances, fragments },
            steps: Steps { made, failed },
            grants: provider.grants.clone(),
        }
    }
}
