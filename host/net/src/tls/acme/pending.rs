//! An order that was made and is not done. The next attempt goes on with it, since authorities count
//! orders; so does another node, or this one after a restart.

use std::{
    fmt,
    time::{Duration, SystemTime},
};

use portolan_core::problem::Chain;
use serde_json::{Value, json};

use super::{
    KeyType,
    schedule::DAY,
    storage::{Lock, Storage},
};
use crate::tls::challenge::Posted;

/// So many attempts may fail at one order before another is made.
const ATTEMPTS: u64 = 4;
/// Authorities do not keep orders longer.
const OLDEST: Duration = Duration::from_secs(7 * DAY);

/// An order that is not done.
pub(in crate::tls) struct Pending {
    pub(super) url: String,
    made: SystemTime,
    failed: u64,
    /// In PEM: what the certificate is for, as soon as it was asked for.
    pub(super) key: Option<String>,
    /// The authority may come back to ask.
    pub(super) posted: Vec<Posted>,
    /// Held while the authority takes its time, so that no other node orders the same.
    pub(super) lock: Option<Lock>,
}

impl Pending {
    pub(super) fn new(url: &str) -> Self {
        let (key, posted, lock) = (None, Vec::new(), None);
        Self { url: url.to_owned(), made: SystemTime::now(), failed: 0, key, posted, lock }
    }

    /// An attempt failed. Whether there can be another one.
    pub(super) fn fail(&mut self) -> bool {
        self.failed += 1;
        self.failed < ATTEMPTS && self.is_young()
    }

    fn is_young(&self) -> bool {
        self.made.elapsed().unwrap_or_default() < OLDEST
    }

    /// Keeps it, so that a restart goes on with it. Where that fails, the order goes on all the same.
    pub(super) async fn put_down(&self, storage: &Storage, key: &str, kind: KeyType) {
        if let Err(error) = storage.write(key, &self.text(kind)).await {
            tracing::debug!(error = %Chain(&error), "order not put down");
        }
    }

    /// As it is kept. Keys of another kind than is wanted then are of no use.
    fn text(&self, kind: KeyType) -> String {
        let made = self.made.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (url, failed, key) = (&self.url, self.failed, &self.key);
        let (made, kind) = (made.as_secs(), format!("{kind:?}"));
        json!({ "order": url, "made": made, "failed": failed, "kind": kind, "key": key })
            .to_string()
    }

    /// One that was kept.
    pub(super) fn read(text: &str, kind: KeyType) -> Option<Self> {
        let kept: Value = serde_json::from_str(text).ok()?;
        if kept["kind"] != format!("{kind:?}") {
            return None;
        }
        let made = SystemTime::UNIX_EPOCH + Duration::from_secs(kept["made"].as_u64()?);
        let (failed, key) = (kept["failed"].as_u64()?, kept["key"].as_str().map(str::to_owned));
        let pending = Self { made, failed, key, ..Self::new(kept["order"].as_str()?) };
        pending.is_young().then_some(pending)
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Never the key.
        f.debug_struct("Pending").field("url", &self.url).finish_non_exhaustive()
    }
}
