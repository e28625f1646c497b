//! The plugins directory: which files appear, change and go away.
//!
//! **Invariant:** a file is reported when its content differs from what was reported last, and
//! not before it has stood still: half a copy is never reported. The directory is watched, not
//! the files, since a file that is replaced is another file; and it is looked at every few
//! seconds besides, since events get lost and the directory may appear later.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::{sync::Notify, time::Instant};

use crate::outbound::is_change;

/// A plugin file that appeared, changed or went away.
#[derive(Debug)]
pub struct PluginFile {
    /// Its name without `.wasm`.
    pub stem: String,
    /// Where it is, or was.
    pub path: PathBuf,
    /// What is in it now.
    pub content: Content,
}

/// What is in a file.
#[derive(Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// It cannot be read.
    Unreadable(io::Error),
    /// It is not there any more.
    Gone,
}

/// Watches a directory for plugin files.
#[derive(Debug)]
pub struct PluginWatch {
    directory: PathBuf,
    max_file: u64,
    bell: Arc<Notify>,
    /// Present while the directory is.
    watcher: Option<RecommendedWatcher>,
    known: HashMap<String, Known>,
    /// Found, and not yet handed out.
    ready: Vec<PluginFile>,
}

/// What was reported last of a file.
#[derive(Debug)]
struct Known {
    look: Look,
    hash: Option<blake3::Hash>,
}

/// What can be seen of a file from outside.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Look {
    size: u64,
    modified: Option<SystemTime>,
    inode: u64,
    /// When anything about it changed, its permissions too.
    changed: (i64, i64),
}

impl PluginWatch {
    /// Starts watching, and answers what is there now. Files above `max_file` bytes are not read.
    /// The directory need not be there yet.
    pub fn open(directory: &Path, max_file: usize) -> (Self, Vec<PluginFile>) {
        let mut watch = Self {
            directory: directory.to_owned(),
            max_file: max_file as u64,
            bell: Arc::new(Notify::new()),
            watcher: None,
            known: HashMap::new(),
            ready: Vec::new(),
        };
        watch.listen();
        let seen = look(&watch.directory);
        watch.take_in(&seen, &seen);
        let first = std::mem::take(&mut watch.ready);
        (watch, first)
    }

    /// The next change. It may be dropped and called again; nothing is lost.
    pub async fn next(&mut self) -> PluginFile {
        loop {
            if let Some(file) = self.ready.pop() {
                return file;
            }
            let again = Instant::now() + LOOK_AGAIN;
            tokio::select! {
                () = self.bell.notified() => (),
                () = tokio::time::sleep_until(again) => (),
            }
            self.listen();
            // Two looks that agree: the file stands still.
            let before = look(&self.directory);
            if self.differs(&before) {
                tokio::time::sleep(STILL).await;
                let after = look(&self.directory);
                self.take_in(&before, &after);
                if before != after {
                    self.bell.notify_one();
                }
            }
        }
    }

    /// Watches the directory if it is there; looking again must do until then.
    fn listen(&mut self) {
        if !self.directory.is_dir() {
            self.watcher = None;
        } else if self.watcher.is_none() {
            let bell = self.bell.clone();
            let watcher = notify::recommended_watcher(move |event| {
                if is_change(&event) {
                    bell.notify_one();
                }
            });
            self.watcher = watcher.ok().and_then(|mut watcher| {
                watcher.watch(&self.directory, RecursiveMode::NonRecursive).ok()?;
                Some(watcher)
            });
        }
    }

    fn differs(&self, seen: &HashMap<String, Look>) -> bool {
        seen.len() != self.known.len()
            || seen
                .iter()
                .any(|(stem, look)| self.known.get(stem).is_none_or(|known| known.look != *look))
    }

    /// Takes in what two looks agree on and differs from what is known.
    fn take_in(&mut self, before: &HashMap<String, Look>, after: &HashMap<String, Look>) {
        let gone: Vec<String> =
            self.known.keys().filter(|stem| !before.contains_key(*stem)).cloned().collect();
        for stem in gone.into_iter().filter(|stem| !after.contains_key(stem)) {
            self.known.remove(&stem);
            self.report(stem, Content::Gone);
        }
        for (stem, look) in after {
            let known = self.known.get(stem);
            let is_new = known.is_none_or(|known| known.look != *look);
            if is_new && before.get(stem) == Some(look) {
                self.read(stem, look);
            }
        }
        // Handed out from the end.
        self.ready.sort_unstable_by(|a, b| b.stem.cmp(&a.stem));
    }

    fn read(&mut self, stem: &str, look: &Look) {
        let content = match look.size > self.max_file {
            true => Err(io::Error::other(format!("larger than {} bytes", self.max_file))),
            false => fs::read(self.path(stem)),
        };
        let hash = content.as_ref().ok().map(|bytes| blake3::hash(bytes));
        let known = Known { look: look.clone(), hash };
        let before = self.known.insert(stem.to_owned(), known);
        if hash.is_some() && before.and_then(|known| known.hash) == hash {
            // Touched, or replaced by its like.
            return;
        }
        let content = content.map_or_else(Content::Unreadable, Content::Bytes);
        self.report(stem.to_owned(), content);
    }

    fn report(&mut self, stem: String, content: Content) {
        let path = self.path(&stem);
        self.ready.push(PluginFile { stem, path, content });
    }

    fn path(&self, stem: &str) -> PathBuf {
        self.directory.join(format!("{stem}.wasm"))
    }
}

/// What can be seen in a directory. Hidden files are those of editors and of copies under way.
fn look(directory: &Path) -> HashMap<String, Look> {
    let mut seen = HashMap::new();
    let Ok(entries) = fs::read_dir(directory) else { return seen };
    for path in entries.flatten().map(|entry| entry.path()) {
        let stem = path.file_stem().and_then(OsStr::to_str).filter(|it| !it.starts_with('.'));
        let is_wasm = path.extension() == Some(OsStr::new("wasm"));
        // Not the entry's own metadata: a link to a file is as good as the file.
        if let (Some(stem), true, Ok(about)) = (stem, is_wasm, fs::metadata(&path))
            && about.is_file()
        {
            seen.insert(stem.to_owned(), Look::of(&about));
        }
    }
    seen
}

impl Look {
    fn of(about: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;

        let changed = (about.ctime(), about.ctime_nsec());
        Self { size: about.len(), modified: about.modified().ok(), inode: about.ino(), changed }
    }
}

/// How long a file must stand still.
const STILL: Duration = Duration::from_millis(100);

const LOOK_AGAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    /// What is reported next, in short.
    async fn next(watch: &mut PluginWatch) -> String {
        let limit = Duration::from_secs(20);
        let file = tokio::time::timeout(limit, watch.next()).await.expect("a change");
        match file.content {
            Content::Bytes(bytes) => format!("{}: {}", file.stem, String::from_utf8_lossy(&bytes)),
            Content::Unreadable(_) => format!("{}: unreadable", file.stem),
            Content::Gone => format!("{}: gone", file.stem),
        }
    }

    #[tokio::test]
    async fn files_are_reported_as_they_appear_change_and_go() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let at = |name: &str| home.path().join(name);
        fs::write(at("a.wasm"), "one").expect("a file");
        fs::write(at("other.txt"), "x").expect("a file");
        let (mut watch, first) = PluginWatch::open(home.path(), 8);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].stem, "a");

        fs::write(at("b.wasm"), "two").expect("a file");
        assert_eq!(next(&mut watch).await, "b: two");
        fs::write(at(".c.wasm"), "half").expect("a file");
        fs::write(at(".new"), "three").expect("a file");
        fs::rename(at(".new"), at("a.wasm")).expect("to move over it");
        assert_eq!(next(&mut watch).await, "a: three");
        // The same content is no change: the next thing told is the removal of the other.
        fs::write(at("a.wasm"), "three").expect("a file");
        fs::remove_file(at("b.wasm")).expect("to remove it");
        assert_eq!(next(&mut watch).await, "b: gone");
        fs::write(at("a.wasm"), "much too large").expect("a file");
        assert_eq!(next(&mut watch).await, "a: unreadable");
    }

    #[tokio::test]
    async fn the_directory_may_appear_later() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let directory = home.path().join("plugins");
        let (mut watch, first) = PluginWatch::open(&directory, 100);
        assert!(first.is_empty());
        fs::create_dir(&directory).expect("a folder");
        fs::write(directory.join("a.wasm"), "one").expect("a file");
        assert_eq!(next(&mut watch).await, "a: one");
        fs::remove_dir_all(&directory).expect("to remove it");
        assert_eq!(next(&mut watch).await, "a: gone");
    }

    #[tokio::test]
    async fn a_file_that_grows_is_reported_when_it_is_whole() {
        let home = tempfile::tempdir().expect("a temporary directory");
        let (mut watch, _) = PluginWatch::open(home.path(), 100);
        let mut before = look(home.path());
        for length in 1..20 {
            fs::write(home.path().join("a.wasm"), "x".repeat(length)).expect("a file");
            let after = look(home.path());
            watch.take_in(&before, &after);
            assert!(watch.ready.is_empty(), "after {length} bytes");
            assert!(watch.differs(&after), "it is not forgotten");
            before = after;
        }
        assert_eq!(next(&mut watch).await, format!("a: {}", "x".repeat(19)));
    }
}
