//! Files whose content goes into configurations of middlewares. Plugins have no files: what they are
//! given is read here.
//!
//! **Invariant:** who declares a middleware elsewhere than in `config.toml` may name what is granted
//! to its plugin and nothing else; for other paths the file system is not even asked.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File},
    io::{self, Read as _},
    path::{Component, Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use portolan_core::{
    assemble::CONFIG,
    name::{fold, nearest},
    pointer::child,
    port::{FileAsk, FileFault, Files},
    problem::Problem,
};

use super::surroundings::Mark;
use crate::config::Config;

/// The largest file that is read, in bytes.
const MAX: u64 = 1 << 20;

/// Files as they were when they were read, under the grants of one configuration.
#[derive(Debug)]
pub(super) struct ContentFiles {
    /// The folder of the configuration: what relative paths are relative to.
    base: PathBuf,
    granted: Vec<(String, Vec<PathBuf>)>,
    seen: Mutex<HashMap<FileAsk, Seen>>,
}

/// A file as it was when it was read.
#[derive(Clone, Debug)]
struct Seen {
    mark: Option<Mark>,
    content: Result<Arc<str>, FileFault>,
}

impl ContentFiles {
    /// What a configuration grants.
    pub(super) fn new(config: &Config) -> Self {
        let seen = Mutex::default();
        Self { base: config.base.clone(), granted: config.plugin_files.clone(), seen }
    }

    /// The same under another configuration; these, if it grants the same.
    pub(super) fn under(self: &Arc<Self>, config: &Config) -> Arc<Self> {
        match self.base == config.base && self.granted == config.plugin_files {
            true => self.clone(),
            false => Arc::new(Self::new(config)),
        }
    }

    /// Looks at those that are `used`, and forgets the others. If one of them holds something else
    /// now, these are the files to go on with.
    pub(super) fn look_again(&self, used: &HashSet<FileAsk>) -> Option<Self> {
        let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut is_other = false;
        let looked = before.into_iter().filter(|(ask, _)| used.contains(ask)).map(|(ask, seen)| {
            if self.mark(&ask) == seen.mark {
                return (ask, seen);
            }
            let now = self.see(&ask);
            if now.content != seen.content {
                tell(&ask, &now.content);
                is_other = true;
            }
            (ask, now)
        });
        let looked: HashMap<_, _> = looked.collect();
        if !is_other {
            *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = looked;
            return None;
        }
        let (base, granted) = (self.base.clone(), self.granted.clone());
        Some(Self { base, granted, seen: Mutex::new(looked) })
    }

    /// Where to look whether they change.
    pub(super) fn paths(&self, used: &HashSet<FileAsk>) -> Vec<PathBuf> {
        let named = used.iter().filter(|ask| self.refusal(ask).is_none());
        let mut paths: Vec<_> = named.map(|ask| self.base.join(&ask.file)).collect();
        paths.sort();
        paths.dedup();
        paths
    }

    /// To be taken before it is read: what changes between is noticed then.
    fn mark(&self, ask: &FileAsk) -> Option<Mark> {
        self.refusal(ask).is_none().then(|| Mark::at(self.base.join(&ask.file)))
    }

    fn see(&self, ask: &FileAsk) -> Seen {
        let mark = self.mark(ask);
        Seen { mark, content: self.find(ask).and_then(|path| read(&path)) }
    }

    /// The file, if it may be read.
    fn find(&self, ask: &FileAsk) -> Result<PathBuf, FileFault> {
        if let Some(refusal) = self.refusal(ask) {
            return Err(refusal);
        }
        let path = self.base.join(&ask.file);
        if *ask.provider == *CONFIG {
            return Ok(path);
        }
        let path = path.canonicalize().map_err(|error| unreadable(&error))?;
        let real = self.granted(&ask.plugin).filter_map(|granted| granted.canonicalize().ok());
        match real.into_iter().any(|granted| path.starts_with(granted)) {
            true => Ok(path),
            false => Err(FileFault::Denied {
                message: format!("leads out of what is granted to `{}`", ask.plugin),
                hint: "grant what the link leads to as well, or put a file in its place".to_owned(),
            }),
        }
    }

    /// Why a path must not be looked at, by its words alone.
    fn refusal(&self, ask: &FileAsk) -> Option<FileFault> {
        if *ask.provider == *CONFIG {
            return None;
        }
        let plugin = &ask.plugin;
        let message = format!("is not granted to `{plugin}`");
        if Path::new(&ask.file).components().any(|part| part == Component::ParentDir) {
            let hint = "what is to be granted is written without `..`".to_owned();
            return Some(FileFault::Denied { message, hint });
        }
        let path = self.base.join(&ask.file);
        if self.granted(plugin).any(|granted| path.starts_with(granted)) {
            return None;
        }
        let line = format!("grants = {{ files = [{:?}] }}", ask.file);
        let hint = format!("write `{line}` under `[plugins.{plugin}]` in config.toml");
        Some(FileFault::Denied { message, hint })
    }

    fn granted(&self, plugin: &str) -> impl Iterator<Item = &PathBuf> {
        let plugin = fold(plugin);
        let of_it = self.granted.iter().filter(move |(name, _)| fold(name) == plugin);
        of_it.flat_map(|(_, paths)| paths)
    }
}

impl Files for ContentFiles {
    fn content(&self, ask: &FileAsk) -> Result<Arc<str>, FileFault> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = seen.entry(ask.clone()).or_insert_with(|| self.see(ask));
        seen.content.clone()
    }
}

/// Grants for plugins that are not there.
pub(super) fn strangers<'a>(
    config: &Config,
    file: &str,
    names: impl Iterator<Item = &'a str>,
) -> Vec<Problem> {
    let known: Vec<_> = names.collect();
    let is_there = |name: &str| known.iter().any(|known| fold(known) == fold(name));
    let strange = config.plugin_files.iter().filter(|(name, _)| !is_there(name));
    let problem = |(name, _): &(String, Vec<PathBuf>)| {
        Problem::warning(CONFIG, file, format!("there is no plugin `{name}` to grant files to"))
            .at(child("/plugins", name))
            .did_you_mean(nearest(name, known.iter().copied()))
    };
    strange.map(problem).collect()
}

fn tell(ask: &FileAsk, content: &Result<Arc<str>, FileFault>) {
    let FileAsk { file, plugin, .. } = ask;
    match content {
        Ok(_) => tracing::info!(%file, %plugin, "file of a middleware read"),
        Err(FileFault::Denied { message, .. } | FileFault::Unreadable(message)) => {
            tracing::warn!(%file, %plugin, "file of a middleware {message}");
        }
    }
}

fn read(path: &Path) -> Result<Arc<str>, FileFault> {
    let is_file = fs::metadata(path).map_err(|error| unreadable(&error))?.is_file();
    if !is_file {
        return Err(FileFault::Unreadable("is not a file".to_owned()));
    }
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX + 1).read_to_end(&mut bytes));
    if read.map_err(|error| unreadable(&error))? as u64 > MAX {
        return Err(FileFault::Unreadable(format!("is larger than {} MiB", MAX >> 20)));
    }
    let no_text = || FileFault::Unreadable("is not text in UTF-8".to_owned());
    String::from_utf8(bytes).ok().ok_or_else(no_text).map(Arc::from)
}

fn unreadable(error: &io::Error) -> FileFault {
    FileFault::Unreadable(format!("cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    /// `in` is granted to `guard`, and one file beside it; `out` is not.
    fn files() -> (tempfile::TempDir, ContentFiles) {
        let home = tempfile::tempdir().unwrap();
        for path in ["in/users", "in/below/users", "one", "inside", "out/users"] {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, "content").unwrap();
        }
        let paths = ["in", "one", "in/turned"].map(|path| home.path().join(path));
        let granted = vec![("Guard".to_owned(), paths.to_vec())];
        let base = home.path().to_owned();
        let files = ContentFiles { base, granted, seen: Mutex::default() };
        (home, files)
    }

    fn ask(provider: &str, plugin: &str, file: &str) -> FileAsk {
        FileAsk { provider: provider.into(), plugin: plugin.into(), file: file.to_owned() }
    }

    fn of_consul(file: impl AsRef<Path>) -> FileAsk {
        ask("consul", "guard", file.as_ref().to_str().unwrap())
    }

    fn told(content: Result<Arc<str>, FileFault>) -> String {
        match content {
            Ok(content) => content.to_string(),
            Err(FileFault::Denied { message, .. } | FileFault::Unreadable(message)) => message,
        }
    }

    #[test]
    fn what_is_granted_is_read_and_nothing_else() {
        let (home, files) = files();
        let told = |file: &str| told(files.content(&of_consul(file)));
        for file in ["in/users", "in/below/users", "one", "./in//users"] {
            assert_eq!(told(file), "content", "{file}");
        }
        assert_eq!(told(home.path().join("in/users").to_str().unwrap()), "content");
        let denied = "is not granted to `guard`";
        let outside = home.path().join("out/users");
        let outside = outside.to_str().unwrap();
        let climbing = ["in/../out/users", "in/../in/users", "../etc/passwd"];
        for file in ["out/users", "out/nothing", "inside", "/etc/passwd", outside, ""] {
            assert_eq!(told(file), denied, "{file}");
        }
        for file in climbing {
            assert_eq!(told(file), denied, "{file}");
        }
        // Another plugin has nothing of it, config.toml is free to name what it wants.
        let others = |provider, plugin| files.content(&ask(provider, plugin, "out/users"));
        assert!(files.content(&ask("consul", "other", "in/users")).is_err());
        assert!(others("file", "guard").is_err() && others("config", "other").is_ok());
    }

    #[test]
    fn a_refusal_says_what_to_write() {
        let (_home, files) = files();
        let Err(FileFault::Denied { hint, .. }) = files.content(&of_consul("/etc/users")) else {
            panic!("must be denied")
        };
        let line = "grants = { files = [\"/etc/users\"] }";
        assert_eq!(hint, format!("write `{line}` under `[plugins.guard]` in config.toml"));
    }

    #[test]
    fn a_link_is_followed_as_far_as_the_grant_goes() {
        let (home, files) = files();
        let link = |to: &str, from: &str| {
            symlink(home.path().join(to), home.path().join(from)).unwrap();
        };
        link("out/users", "in/leaves");
        link("out", "in/folder");
        link("in/below/users", "in/stays");
        link("one", "in/beside");
        let told = |file: &str| told(files.content(&of_consul(file)));
        let leaves = "leads out of what is granted to `guard`";
        assert_eq!([told("in/leaves"), told("in/folder/users")], [leaves, leaves]);
        assert_eq!([told("in/stays"), told("in/beside")], ["content", "content"]);
        // What the operator names is granted where it leads, as long as that is the same.
        link("out/users", "in/turned");
        assert_eq!(told("in/turned"), "content");
    }

    #[test]
    fn what_is_no_text_of_a_size_is_told() {
        let (home, files) = files();
        let told = |file: &str| told(files.content(&of_consul(file)));
        assert!(told("in/nothing").starts_with("cannot be read: No such file"));
        assert_eq!(told("in/below"), "is not a file");
        let mut big = vec![b'a'; 1 << 20];
        fs::write(home.path().join("in/big"), &big).unwrap();
        assert_eq!(told("in/big").len(), big.len());
        big.push(b'a');
        fs::write(home.path().join("in/bigger"), &big).unwrap();
        assert_eq!(told("in/bigger"), "is larger than 1 MiB");
        fs::write(home.path().join("in/binary"), [0xff, 0xfe]).unwrap();
        assert_eq!(told("in/binary"), "is not text in UTF-8");
    }

    #[test]
    fn others_take_their_place_when_one_holds_something_else() {
        let (home, files) = files();
        let (users, one) = (of_consul("in/users"), of_consul("one"));
        let used: HashSet<_> = [users.clone(), one.clone()].into();
        let denied = of_consul("/etc/passwd");
        for ask in [&users, &one, &denied] {
            drop(files.content(ask));
        }
        assert!(files.look_again(&used).is_none());
        // Written anew with the same content.
        fs::write(home.path().join("one"), "content").unwrap();
        assert!(files.look_again(&used).is_none());
        fs::write(home.path().join("one"), "changed").unwrap();
        // What was answered stays.
        assert_eq!(told(files.content(&one)), "content");
        let next = files.look_again(&used).unwrap();
        assert_eq!([&users, &one].map(|ask| told(next.content(ask))), ["content", "changed"]);
        fs::remove_file(home.path().join("one")).unwrap();
        let last = next.look_again(&used).unwrap();
        assert!(last.content(&one).is_err());
        // Nobody is made to look at what must not be looked at.
        let all: HashSet<_> = [users, one, denied].into();
        assert_eq!(last.paths(&all), ["in/users", "one"].map(|path| home.path().join(path)));
        assert_eq!(last.look_again(&HashSet::new()).map(|_| ()), None);
        assert!(last.seen.lock().unwrap().is_empty());
    }
}
