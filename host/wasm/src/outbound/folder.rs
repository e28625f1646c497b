//! The folders that an operator grants, and what may be read in them.
//!
//! **Invariant:** a path is opened in its canonical form, and only if that is below the canonical
//! form of a granted folder: a link that leaves the grant leads nowhere.
//!
//! Everything here blocks; the caller puts it on a thread that may.

use std::{
    fs,
    hash::{DefaultHasher, Hash, Hasher},
    io,
    path::{Component, Path, PathBuf},
    sync::Arc,
    time::UNIX_EPOCH,
};

/// The granted folders.
#[derive(Clone, Debug)]
pub(crate) struct Folders {
    base: Arc<Path>,
    granted: Arc<[PathBuf]>,
}

/// A file as it was found.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) size: u64,
    pub(crate) version: u64,
}

/// Why a file could not be read.
#[derive(Debug)]
pub(crate) enum Failure {
    Denied(String),
    NotFound,
    TooLarge,
    Io(io::Error),
}

impl Folders {
    /// Relative paths, granted and asked for, are relative to `base`.
    pub(crate) fn new(base: &Path, granted: &[PathBuf]) -> Self {
        Self {
            base: base.into(),
            granted: granted.iter().map(|folder| base.join(folder)).collect(),
        }
    }

    /// The regular files in a folder and below it, sorted by path.
    pub(crate) fn list(&self, folder: &str) -> Result<Vec<Found>, Failure> {
        let root = self.resolve(folder)?;
        if !root.is_dir() {
            return Err(Failure::NotFound);
        }
        let mut found = Vec::new();
        self.walk(&root, Path::new(folder), 0, &mut found)?;
        found.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// The content of a file.
    pub(crate) fn read(&self, path: &str) -> Result<Vec<u8>, Failure> {
        let path = self.resolve(path)?;
        let about = fs::metadata(&path)?;
        match about.is_file() {
            false => Err(Failure::NotFound),
            true if about.len() > MAX_FILE => Err(Failure::TooLarge),
            true => Ok(fs::read(&path)?),
        }
    }

    /// A number that changes when something in a folder, or below it, changes; never 0. A folder
    /// that is not there yet has one too, so that its appearance can be waited for.
    pub(crate) fn version(&self, folder: &str) -> Result<u64, Failure> {
        let mut hasher = DefaultHasher::new();
        match self.list(folder) {
            Ok(found) => found.hash(&mut hasher),
            Err(Failure::NotFound) => (),
            Err(failure) => return Err(failure),
        }
        Ok(hasher.finish().max(1))
    }

    /// The canonical form of a path below a granted folder.
    pub(crate) fn resolve(&self, path: &str) -> Result<PathBuf, Failure> {
        let asked = self.base.join(path);
        let denied = || {
            Failure::Denied(match self.granted.is_empty() {
                true => "nothing is granted".to_owned(),
                false => format!("not granted; granted is {}", self.names()),
            })
        };
        match asked.canonicalize() {
            Ok(real) if self.covers(&real) => Ok(real),
            Ok(_) => Err(denied()),
            Err(_) if !self.covers_words(&asked) => Err(denied()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(Failure::NotFound),
            Err(error) => Err(Failure::Io(error)),
        }
    }

    /// Whether a path must not be asked for.
    pub(crate) fn refusal(&self, path: &str) -> bool {
        matches!(self.resolve(path), Err(Failure::Denied(_)))
    }

    fn covers(&self, real: &Path) -> bool {
        let roots = self.granted.iter().filter_map(|folder| folder.canonicalize().ok());
        roots.into_iter().any(|root| real.starts_with(root))
    }

    /// The same for a path that leads nowhere: whether it is there must not be told to one who
    /// may not look.
    fn covers_words(&self, path: &Path) -> bool {
        let climbs = path.components().any(|part| part == Component::ParentDir);
        !climbs && self.granted.iter().any(|folder| path.starts_with(folder))
    }

    fn names(&self) -> String {
        let names: Vec<String> =
            self.granted.iter().map(|folder| folder.display().to_string()).collect();
        names.join(", ")
    }

    /// `real` is where to look, `shown` is how the guest knows it.
    fn walk(
        &self,
        real: &Path,
        shown: &Path,
        depth: usize,
        found: &mut Vec<Found>,
    ) -> Result<(), Failure> {
        if depth > MAX_DEPTH {
            return Ok(());
        }
        for entry in fs::read_dir(real)? {
            let name = entry?.file_name();
            // Names that are not text could not be asked for.
            let Some(text) = name.to_str().filter(|text| !is_left_out(text)) else { continue };
            // A file may go away while we look, a link may leave the grant: both are not there.
            let Ok(path) = real.join(text).canonicalize() else { continue };
            let Ok(about) = fs::metadata(&path) else { continue };
            if !self.covers(&path) {
                continue;
            }
            let shown = shown.join(text);
            if about.is_dir() {
                self.walk(&path, &shown, depth + 1, found)?;
            } else if about.is_file() && found.len() < MAX_FILES {
                found.push(describe(&shown, &path, &about));
            }
        }
        Ok(())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::NotFound,
            _ => Self::Io(error),
        }
    }
}

/// Hidden files, and those that editors leave behind.
fn is_left_out(name: &str) -> bool {
    name.starts_with('.') || name.ends_with('~')
}

/// The real path is part of the version: a link that is turned elsewhere is a change.
fn describe(shown: &Path, real: &Path, about: &fs::Metadata) -> Found {
    use std::os::unix::fs::MetadataExt as _;

    let mut hasher = DefaultHasher::new();
    let modified = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    // The last tells of permissions too: what could not be read may be readable now.
    (real, about.len(), modified, about.ctime(), about.ctime_nsec()).hash(&mut hasher);
    Found {
        path: shown.to_string_lossy().into_owned(),
        size: about.len(),
        version: hasher.finish(),
    }
}

/// As `imports.wit` says.
const MAX_FILE: u64 = 16 << 20;

/// Links can make a circle.
const MAX_DEPTH: usize = 16;

const MAX_FILES: usize = 20_000;

/// Whether an event can mean that something is different now. To look is an event as well, and
/// would make whoever looks again look for ever.
pub(crate) fn is_change(event: &notify::Result<notify::Event>) -> bool {
    !event.as_ref().is_ok_and(|event| event.kind.is_access())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn granted() -> (tempfile::TempDir, Folders) {
        let home = tempfile::tempdir().expect("a temporary directory");
        for (path, text) in [
            ("in/a.toml", "a"),
            ("in/below/b.toml", "bb"),
            ("in/.hidden", "x"),
            ("in/old.toml~", "x"),
            ("out/secret", "s"),
        ] {
            let path = home.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, text).expect("a file");
        }
        let folders = Folders::new(home.path(), &[PathBuf::from("in")]);
        (home, folders)
    }

    #[test]
    fn files_are_listed_with_those_below_and_without_the_hidden() {
        let (_home, folders) = granted();
        let found = folders.list("in").expect("a listing");
        let paths: Vec<_> = found.iter().map(|found| found.path.as_str()).collect();
        assert_eq!(paths, ["in/a.toml", "in/below/b.toml"]);
        assert_eq!(folders.read(paths[1]).expect("its content"), b"bb");
    }

    #[test]
    fn what_is_not_granted_is_denied_whether_it_is_there_or_not() {
        let (home, folders) = granted();
        let outside = home.path().join("out/secret");
        for path in ["out/secret", "in/../out/secret", "out/nothing", "in/../out/nothing", ".."] {
            assert!(matches!(folders.read(path), Err(Failure::Denied(_))), "{path}");
        }
        let outside = outside.to_str().expect("a path that is text");
        assert!(matches!(folders.read(outside), Err(Failure::Denied(_))));
        assert!(matches!(folders.read("in/nothing"), Err(Failure::NotFound)));
        assert!(matches!(folders.list("in/nothing"), Err(Failure::NotFound)));
    }

    #[test]
    fn a_link_that_leaves_the_grant_leads_nowhere() {
        let (home, folders) = granted();
        symlink(home.path().join("out/secret"), home.path().join("in/link")).expect("a link");
        symlink(home.path().join("out"), home.path().join("in/folder")).expect("a link");
        symlink(home.path().join("in/a.toml"), home.path().join("in/good")).expect("a link");
        assert!(matches!(folders.read("in/link"), Err(Failure::Denied(_))));
        assert!(matches!(folders.read("in/folder/secret"), Err(Failure::Denied(_))));
        assert_eq!(folders.read("in/good").expect("its content"), b"a");
        assert_eq!(folders.list("in").expect("a listing").len(), 3);
    }

    #[test]
    fn the_version_changes_with_the_content_and_waits_for_the_folder() {
        let (home, folders) = granted();
        let before = folders.version("in").expect("a version");
        assert_eq!(folders.version("in").expect("a version"), before);
        fs::write(home.path().join("in/below/b.toml"), "changed").expect("a file");
        assert_ne!(folders.version("in").expect("a version"), before);
        assert!(folders.version("in/later").expect("a version") > 0);
    }
}
