//! The plugins directory: which files appear, change and go away.
//!
//! **Invariant:** a file is reported when its content differs from what was reported last, and
//! not before it has stood still: half a copy is never reported. That the directory cannot be read
//! says nothing of its files. The directory is watched, not the files, since a file that is replaced
//! is another file; and it is looked at every few seconds besides, since events get lost and the
//! directory may appear later.

mod look;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::{Notify, mpsc};

use self::look::{Found, Look, Seen, look};
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
    /// Why the directory could not be read last; told once.
    blind: Option<io::ErrorKind>,
    /// Found, and not yet handed out.
    ready: Vec<PluginFile>,
}

/// What was reported last of a file.
#[derive(Debug)]
struct Known {
    found: Found,
    content: Reported,
}

#[derive(Debug, Eq, PartialEq)]
enum Reported {
    Hash(blake3::Hash),
    /// Too large, or not even to be looked at: another look tells when that changes.
    Fault,
    /// It was there and could not be read, which may end without any change of it.
    Unread(io::ErrorKind),
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
            blind: None,
            ready: Vec::new(),
        };
        watch.listen();
        if let Some(seen) = watch.look() {
            watch.take_in(&seen, &seen);
        }
        let first = std::mem::take(&mut watch.ready);
        (watch, first)
    }

    /// Hands out every change, for as long as anybody takes them. Wants a task of its own: it looks
    /// at the clock while it goes on, so one that is interrupted and begun anew sees nothing.
    pub async fn run(mut self, changes: mpsc::Sender<PluginFile>) {
        loop {
            let change = tokio::select! {
                change = self.next() => change,
                () = changes.closed() => return,
            };
            if changes.send(change).await.is_err() {
                return;
            }
        }
    }

    /// The next change.
    async fn next(&mut self) -> PluginFile {
        loop {
            if let Some(file) = self.ready.pop() {
                return file;
            }
            tokio::select! {
                () = self.bell.notified() => (),
                () = tokio::time::sleep(LOOK_AGAIN) => (),
            }
            self.listen();
            // Two looks that agree: the file stands still.
            let Some(before) = self.look() else { continue };
            if self.differs(&before) {
                tokio::time::sleep(STILL).await;
                let Some(after) = self.look() else { continue };
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

    /// What is in the directory; `None` where that cannot be known now.
    fn look(&mut self) -> Option<Seen> {
        match look(&self.directory) {
            Ok(seen) => {
                self.blind = None;
                Some(seen)
            }
            Err(error) => {
                if self.blind.replace(error.kind()) != Some(error.kind()) {
                    let path = self.directory.display();
                    tracing::warn!(%path, %error, "plugins folder cannot be read");
                }
                None
            }
        }
    }

    fn differs(&self, seen: &Seen) -> bool {
        seen.len() != self.known.len() || seen.iter().any(|(stem, found)| self.is_new(stem, found))
    }

    fn is_new(&self, stem: &str, found: &Found) -> bool {
        self.known.get(stem).is_none_or(|known| {
            known.found != *found || matches!(known.content, Reported::Unread(_))
        })
    }

    /// Takes in what two looks agree on and differs from what is known.
    fn take_in(&mut self, before: &Seen, after: &Seen) {
        let gone =
            |stem: &String, _: &mut Known| !before.contains_key(stem) && !after.contains_key(stem);
        let gone: Vec<_> = self.known.extract_if(gone).collect();
        for (stem, known) in gone {
            self.report(stem, known.found.path, Content::Gone);
        }
        for (stem, found) in after {
            if self.is_new(stem, found) && before.get(stem) == Some(found) {
                self.read(stem, found);
            }
        }
        // Handed out from the end.
        self.ready.sort_unstable_by(|a, b| b.stem.cmp(&a.stem));
    }

    fn read(&mut self, stem: &str, found: &Found) {
        let fault = match &found.look {
            Look::Fault(fault) => Some(fault.clone()),
            Look::File { size, .. } if *size > self.max_file => {
                Some(format!("larger than {} bytes", self.max_file))
            }
            Look::File { .. } => None,
        };
        let (reported, content) = match fault {
            Some(fault) => (Reported::Fault, Content::Unreadable(io::Error::other(fault))),
            None => match fs::read(&found.path) {
                Ok(bytes) => (Reported::Hash(blake3::hash(&bytes)), Content::Bytes(bytes)),
                Err(error) => (Reported::Unread(error.kind()), Content::Unreadable(error)),
            },
        };
        // Touched, or replaced by its like; or as unreadable as before.
        let before = self.known.get(stem).map(|known| &known.content);
        let is_told = before == Some(&reported) && reported != Reported::Fault;
        self.known.insert(stem.to_owned(), Known { found: found.clone(), content: reported });
        if !is_told {
            self.report(stem.to_owned(), found.path.clone(), content);
        }
    }

    fn report(&mut self, stem: String, path: PathBuf, content: Content) {
        self.ready.push(PluginFile { stem, path, content });
    }
}

/// How long a file must stand still.
const STILL: Duration = Duration::from_millis(100);

const LOOK_AGAIN: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests;
