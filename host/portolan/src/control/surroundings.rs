//! What of the machine around us changes what we do, without anybody telling: its addresses, and
//! files that the configuration names but that are no configuration.

use std::{
    fs,
    net::IpAddr,
    os::unix::fs::MetadataExt as _,
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

/// How long a file that changed may be written still: it is looked at until it stays as it is.
const SETTLE: Duration = Duration::from_millis(50);
/// A file that never stays as it is, a log for instance, is not waited for.
const LOOKS: usize = 5;

/// The files that are looked at.
pub(crate) type Files = Arc<ArcSwap<Vec<PathBuf>>>;

/// Everything that is looked at beside addresses.
#[derive(Clone, Debug, Default)]
pub(crate) struct Watched {
    /// Files that names are made of, and folders of such.
    pub(crate) names: Files,
    /// Files that middlewares are made of.
    pub(crate) contents: Files,
}

/// How a file is, as far as it tells that another one is in its place.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Mark {
    path: PathBuf,
    /// `None`: it is not there.
    seen: Option<Looks>,
}

/// What a file looks like from outside.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Looks {
    modified: SystemTime,
    /// Tells of permissions too: what could not be read may be readable now.
    changed: (i64, i64),
    length: u64,
    /// A link that is turned elsewhere is another file.
    place: (u64, u64),
}

impl Mark {
    /// Of a file, or of a folder and each file in it.
    pub(crate) fn of(path: &Path) -> Vec<Self> {
        let inner = expanded(path).into_iter().filter(|inner| inner != path);
        std::iter::once(path.to_owned()).chain(inner).map(Self::at).collect()
    }

    /// Of what is there, be it a file or not.
    pub(crate) fn at(path: PathBuf) -> Self {
        let looks = |it: fs::Metadata| {
            Some(Looks {
                modified: it.modified().ok()?,
                changed: (it.ctime(), it.ctime_nsec()),
                length: it.len(),
                place: (it.dev(), it.ino()),
            })
        };
        let seen = fs::metadata(&path).ok().and_then(looks);
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
pub(crate) async fn watch(files: Watched, events: mpsc::Sender<Event>) {
    let mut known = None;
    loop {
        let Some(mut now) = look(&files).await else { return };
        if known.as_ref() != Some(&now) {
            for _ in 0..LOOKS {
                tokio::time::sleep(SETTLE).await;
                let Some(next) = look(&files).await else { return };
                if next == now {
                    break;
                }
                now = next;
            }
            known = Some(now);
            if events.send(Event::Surroundings).await.is_err() {
                return;
            }
        }
        tokio::time::sleep(EVERY).await;
    }
}

/// What was seen.
type View = (Vec<IpNet>, [Option<IpAddr>; 2], Vec<Mark>);

/// A route may come after the address that it leads from: then it is another one that others see.
async fn look(files: &Watched) -> Option<View> {
    let files = files.clone();
    let looked = task::spawn_blocking(move || {
        let names = files.names.load();
        let names = names.iter().flat_map(|path| Mark::of(path));
        let contents = files.contents.load();
        let contents = contents.iter().cloned().map(Mark::at);
        (interfaces(), primary_addresses(), names.chain(contents).collect())
    });
    looked.await.ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn it_is_told_once_at_the_beginning_and_at_each_change() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("names");
        fs::write(&file, "a").unwrap();
        let other = folder.path().join("content");
        let files = Watched::default();
        files.names.store(Arc::new(vec![file.clone()]));
        files.contents.store(Arc::new(vec![other.clone()]));
        let (sender, mut events) = mpsc::channel(1);
        let watching = tokio::spawn(watch(files, sender));
        assert!(matches!(events.recv().await, Some(Event::Surroundings)));
        fs::write(&file, "longer").unwrap();
        assert!(matches!(events.recv().await, Some(Event::Surroundings)));
        fs::write(&other, "came").unwrap();
        assert!(matches!(events.recv().await, Some(Event::Surroundings)));
        // As an editor does, with a file that is as long and as old.
        let next = folder.path().join("next");
        fs::write(&next, "went").unwrap();
        let modified = fs::metadata(&other).unwrap().modified().unwrap();
        fs::File::open(&next).unwrap().set_modified(modified).unwrap();
        fs::rename(&next, &other).unwrap();
        assert!(matches!(events.recv().await, Some(Event::Surroundings)));
        drop(events);
        fs::remove_file(&file).unwrap();
        watching.await.unwrap();
    }
}
