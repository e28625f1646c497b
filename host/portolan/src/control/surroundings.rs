//! What of the machine around us changes what we do, without anybody telling: its addresses, and
//! files that the configuration names but that are no configuration.

use std::{
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use portolan_net::interfaces::interfaces;
use tokio::{sync::mpsc, task};

use super::event::Event;
use crate::config::edge::primary_addresses;

/// How often it is looked at. A look costs a few system calls.
const EVERY: Duration = Duration::from_secs(1);

/// The files that are looked at.
pub(crate) type Files = Arc<ArcSwap<Vec<PathBuf>>>;

/// How a file is, as far as it tells that another one is in its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mark {
    path: PathBuf,
    /// When it was changed, and how long it is; `None`: it is not there.
    seen: Option<(SystemTime, u64)>,
}

impl Mark {
    /// Of a file, or of a folder and each file in it.
    pub(crate) fn of(path: &Path) -> Vec<Self> {
        let inner = expanded(path).into_iter().filter(|inner| inner != path);
        std::iter::once(path.to_owned()).chain(inner).map(Self::at).collect()
    }

    fn at(path: PathBuf) -> Self {
        let seen = fs::metadata(&path).ok();
        let seen = seen.and_then(|it| Some((it.modified().ok()?, it.len())));
        Self { path, seen }
    }
}

/// The files in a folder, in the order of their names; or the file itself.
pub(crate) fn expanded(path: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(path) else { return vec![path.to_owned()] };
    let files = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|it| it.is_file());
    let mut files: Vec<_> = files.collect();
    files.sort();
    files
}

/// Tells when something is not as it was, and once at the beginning: files may have changed since
/// they were read, before anybody looked whether they change.
pub(crate) async fn watch(files: Files, events: mpsc::Sender<Event>) {
    let mut known = None;
    loop {
        let looked = task::spawn_blocking({
            let files = files.clone();
            move || look(&files)
        });
        let Ok(now) = looked.await else { return };
        if known.as_ref() != Some(&now) {
            known = Some(now);
            if events.send(Event::Surroundings).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// A route may come after the address that it leads from: then it is another one that others see.
fn look(files: &Files) -> (Vec<IpNet>, [Option<IpAddr>; 2], Vec<Mark>) {
    let marks = files.load().iter().flat_map(|path| Mark::of(path)).collect();
    (interfaces(), primary_addresses(), marks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_told_once_at_the_beginning_and_at_each_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("names");
        fs::write(&file, "a").unwrap();
        let files = Files::default();
        files.store(Arc::new(vec![file.clone()]));
        let (sender, mut events) = mpsc::channel(1);
        let watching = tokio::spawn(watch(files, sender));
        assert!(matches!(events.recv().await, Some(Event::Surroundings)));
        fs::write(&file, "longer").unwrap();
        assert!(matches!(events.recv().await, Some(Event::Surroundings)));
        drop(events);
        fs::remove_file(&file).unwrap();
        watching.await.unwrap();
    }
}
