//! Notices that files of certificates, keys or authorities were touched.
//!
//! **Invariant:** it only says that it is worth looking: what a file holds decides.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};

use super::Keyring;

/// What changes when a file does, symbolic links followed: device, inode, size, seconds and
/// nanoseconds of the last change.
type Mark = (u64, u64, u64, i64, i64);

/// How files were when they were read.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Marks(BTreeMap<PathBuf, Option<Mark>>);

impl Marks {
    /// How these files are now. To be taken before they are read: what changes between is noticed
    /// then.
    pub(super) fn of(files: impl IntoIterator<Item = PathBuf>) -> Self {
        Self(files.into_iter().map(|file| (file.clone(), mark(&file))).collect())
    }

    /// Whether one of them is not as it was.
    pub(super) fn are_stale(&self) -> bool {
        self.0.iter().any(|(file, before)| mark(file) != *before)
    }

    /// The folders that they are in.
    pub(super) fn folders(&self) -> BTreeSet<PathBuf> {
        self.0.keys().filter_map(|file| file.parent()).map(Path::to_owned).collect()
    }
}

fn mark(file: &Path) -> Option<Mark> {
    let about = fs::metadata(file).ok()?;
    Some((about.dev(), about.ino(), about.size(), about.ctime(), about.ctime_nsec()))
}

/// Watches folders; not files: a rename would leave us watching what nobody reads.
#[derive(Default)]
pub(super) struct Watch {
    watcher: Option<RecommendedWatcher>,
    folders: BTreeSet<PathBuf>,
}

impl Watch {
    /// Watches these folders and no others, for as long as it lives.
    pub(super) fn cover(&mut self, folders: BTreeSet<PathBuf>, keyring: &Arc<Keyring>) {
        if folders == self.folders {
            return;
        }
        self.folders = folders;
        self.watcher = None;
        if self.folders.is_empty() {
            return;
        }
        let keyring = Arc::downgrade(keyring);
        let on_event = move |event: notify::Result<notify::Event>| {
            // Reading the files is an event as well, and would wake us for ever.
            if !event.is_ok_and(|event| event.kind.is_access())
                && let Some(keyring) = keyring.upgrade()
            {
                keyring.wake();
            }
        };
        let mut watcher = match notify::recommended_watcher(on_event) {
            Ok(watcher) => watcher,
            Err(error) => return tracing::warn!(%error, "certificate files are not watched"),
        };
        for folder in &self.folders {
            // Looking every few seconds remains.
            if let Err(error) = watcher.watch(folder, RecursiveMode::NonRecursive) {
                tracing::warn!(path = %folder.display(), %error, "folder cannot be watched");
            }
        }
        self.watcher = Some(watcher);
    }
}
