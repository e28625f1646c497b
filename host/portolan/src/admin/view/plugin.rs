//! Plugins: what they are, what they were given, what they have done, and why the file as it is
//! now is perhaps not in use.

use portolan_core::{name::fold, plugin::PluginInfo};
use serde::Serialize;

use super::{figures::Calls, stamp};
use crate::control::board::{Board, PluginReport};

/// An item of `/api/plugins`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PluginView {
    pub(crate) name: String,
    /// `loaded`, `outdated` (an older version goes on), `deleted` (the file is gone, it goes on),
    /// `shadowed` (another one of its name serves), `failed` (no version of it ever loaded).
    state: &'static str,
    error: Option<String>,
    loaded: Option<String>,
    load_ms: u64,
    cached: bool,
    /// What it was granted, and the providers that are uses of it.
    grants: Vec<String>,
    #[serde(flatten)]
    info: Option<Info>,
    figures: Calls,
}

#[derive(Debug, Serialize)]
struct Info {
    file: String,
    version: String,
    summary: String,
    kinds: Vec<&'static str>,
    hash: String,
    size: u64,
    imports: Vec<String>,
    wants: Vec<WantView>,
    matchers: Vec<String>,
}

/// A capability that a plugin asks for.
#[derive(Debug, Serialize)]
struct WantView {
    capability: String,
    scope: Vec<String>,
    reason: String,
}

impl PluginView {
    /// All of them.
    pub(crate) fn all(board: &Board) -> Vec<Self> {
        board.plugins.iter().map(|plugin| Self::of(plugin, board)).collect()
    }

    fn of(plugin: &PluginReport, board: &Board) -> Self {
        let state = match (&plugin.info, &plugin.error, plugin.deleted) {
            (None, ..) => "failed",
            (Some(_), _, true) => "deleted",
            _ if plugin.shadowed => "shadowed",
            (Some(_), Some(_), false) => "outdated",
            (Some(_), None, false) => "loaded",
        };
        let name = fold(&plugin.name);
        let uses = board.providers.iter().filter(|provider| fold(&provider.plugin) == name);
        let granted = uses.flat_map(|provider| provider.grants.iter().cloned());
        let files = board.plugin_files.iter().filter(|(of, _)| fold(of) == name);
        let files = files.flat_map(|(_, files)| files);
        let files = files.map(|file| format!("files: {}", file.display()));
        Self {
            name: (*plugin.name).to_owned(),
            state,
            error: plugin.error.clone(),
            loaded: plugin.loaded.map(stamp),
            load_ms: plugin.load_ms,
            cached: plugin.cached,
            grants: granted.chain(files).collect(),
            info: plugin.info.as_ref().map(Info::of),
            figures: Calls::of(&plugin.figures),
        }
    }
}

impl Info {
    fn of(info: &PluginInfo) -> Self {
        let want = |want: &portolan_core::plugin::Want| WantView {
            capability: want.capability.clone(),
            scope: want.scope.clone(),
            reason: want.reason.clone(),
        };
        Self {
            file: info.file.clone(),
            version: info.version.clone(),
            summary: info.summary.clone(),
            kinds: info.kinds.clone(),
            hash: info.hash.clone(),
            size: info.size,
            imports: info.imports.clone(),
            wants: info.wants.iter().map(want).collect(),
            matchers: info.matchers.clone(),
        }
    }
}
