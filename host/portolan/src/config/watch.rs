//! Notices that the configuration file has other content.
//!
//! **Invariant:** one message per content that is not what was read last, however it came there:
//! written in place, renamed over, or a folder of symbolic links swapped as Kubernetes does. A file
//! that is gone, or cannot be read at the moment, has not changed.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc},
    thread,
    time::{Duration, Instant},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::mpsc as channel;

/// Editors write in several steps; this long without one, they are done.
const SETTLED: Duration = Duration::from_millis(50);

/// How often we look for ourselves: network file systems and overlays tell nobody.
const RESCAN: Duration = Duration::from_secs(2);

/// What the file held when it was read last, whoever read it: a signal may have made somebody read
/// it while it was half written, and then what is there in the end is news even if it was there before.
#[derive(Clone, Debug)]
pub(crate) struct Seen(Arc<Mutex<Reading>>);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Reading {
    /// How many there were before it.
    number: u64,
    hash: blake3::Hash,
}

impl Seen {
    /// The first reading.
    pub(crate) fn new(text: &str) -> Self {
        Self(Arc::new(Mutex::new(Reading { number: 0, hash: blake3::hash(text.as_bytes()) })))
    }

    /// It was read again, and this was found.
    pub(crate) fn note(&self, text: &str) {
        let mut reading = self.reading();
        reading.number += 1;
        reading.hash = blake3::hash(text.as_bytes());
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Watches `file` until the receiver is dropped.
///
/// The folder is watched, not the file: a rename would leave us watching what nobody reads. If the
/// system cannot watch, looking every two seconds remains.
///
/// # Errors
/// When no thread can be started.
pub(crate) fn watch(file: &Path, seen: Seen) -> io::Result<channel::Receiver<()>> {
    let (changes, receiver) = channel::channel(1);
    let file = std::path::absolute(file)?;
    let run = move || follow(&file, &seen, &changes);
    thread::Builder::new().name("config-watch".to_owned()).spawn(run)?;
    Ok(receiver)
}

fn follow(file: &Path, seen: &Seen, changes: &channel::Sender<()>) {
    let (sender, events) = mpsc::channel();
    // Held until the end: dropping it ends the watch.
    let _watcher = watch_folder(file, sender.clone());
    // Keeps `events` open where there is no watcher to hold the other end.
    let _sender = sender;
    // What was told, and which reading it differs from.
    let mut told = None;
    while !changes.is_closed() {
        if events.recv_timeout(RESCAN).is_ok() {
            settle(&events);
        }
        // The content is what counts: events tell of many things that did not change it.
        let Ok(content) = fs::read(file) else { continue };
        let hash = blake3::hash(&content);
        let last = *seen.reading();
        if hash != last.hash && told != Some((last, hash)) {
            told = Some((last, hash));
            // Full: a change is already announced, and whoever takes it reads what is there then.
            changes.try_send(()).ok();
        }
    }
}

/// Waits until nothing has happened for a while, but not for ever: the folder may be one in which
/// something always does.
fn settle(events: &mpsc::Receiver<()>) {
    let deadline = Instant::now() + RESCAN;
    while Instant::now() < deadline && events.recv_timeout(SETTLED).is_ok() {}
}

fn watch_folder(file: &Path, sender: mpsc::Sender<()>) -> Option<RecommendedWatcher> {
    let folder = file.parent().map_or_else(|| PathBuf::from("/"), Path::to_owned);
    let on_event = move |event: notify::Result<notify::Event>| {
        // Reading the file is an event as well, and would wake us for ever.
        if !event.is_ok_and(|event| event.kind.is_access()) {
            sender.send(()).ok();
        }
    };
    let started = notify::recommended_watcher(on_event).and_then(|mut watcher| {
        watcher.watch(&folder, RecursiveMode::NonRecursive)?;
        Ok(watcher)
    });
    match started {
        Ok(watcher) => Some(watcher),
        Err(error) => {
            tracing::warn!(path = %folder.display(), %error, "folder cannot be watched");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink};

    use tokio::time::timeout;

    use super::*;

    async fn is_told(receiver: &mut channel::Receiver<()>) -> bool {
        timeout(Duration::from_secs(20), receiver.recv()).await == Ok(Some(()))
    }

    #[tokio::test]
    async fn a_file_written_or_renamed_over_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        fs::write(&file, "a").unwrap();
        let mut changes = watch(&file, Seen::new("a")).unwrap();

        fs::write(&file, "b").unwrap();
        assert!(is_told(&mut changes).await);

        let other = folder.path().join("config.toml~");
        fs::write(&other, "c").unwrap();
        fs::rename(&other, &file).unwrap();
        assert!(is_told(&mut changes).await);
    }

    #[tokio::test]
    async fn a_change_between_reading_and_watching_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        fs::write(&file, "new").unwrap();
        let mut changes = watch(&file, Seen::new("old")).unwrap();
        assert!(is_told(&mut changes).await);
    }

    #[tokio::test]
    async fn what_was_read_half_written_is_read_again_though_it_is_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        fs::write(&file, "whole").unwrap();
        let seen = Seen::new("whole");
        let mut changes = watch(&file, seen.clone()).unwrap();
        for _ in 0..2 {
            seen.note("wh");
            assert!(is_told(&mut changes).await);
        }
    }

    #[tokio::test]
    async fn swapped_symbolic_links_are_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        for version in ["1", "2"] {
            fs::create_dir(path(version)).unwrap();
            fs::write(path(version).join("config.toml"), version).unwrap();
        }
        symlink("1", path("..data")).unwrap();
        symlink("..data/config.toml", path("config.toml")).unwrap();
        let mut changes = watch(&path("config.toml"), Seen::new("1")).unwrap();

        symlink("2", path("..new")).unwrap();
        fs::rename(path("..new"), path("..data")).unwrap();
        assert!(is_told(&mut changes).await);
    }

    #[tokio::test]
    async fn a_file_that_goes_and_comes_back_the_same_has_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.toml");
        let mut changes = watch(&file, Seen::new("same")).unwrap();
        fs::write(&file, "same").unwrap();
        // Longer than it takes to settle, so that the return was seen.
        let quiet = timeout(SETTLED * 6, changes.recv()).await;
        assert!(quiet.is_err(), "{quiet:?}");
    }
}
