//! One look into the plugins directory: its files as they can be seen from outside.

use std::{
    collections::HashMap,
    ffi::OsStr,
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    time::SystemTime,
};

/// The plugin files of a directory, by their names without `.wasm`.
pub(super) type Seen = HashMap<String, Found>;

/// A file that was found.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) look: Look,
}

/// What can be seen of a file from outside.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Look {
    File {
        size: u64,
        modified: Option<SystemTime>,
        inode: u64,
        /// When anything about it changed, its permissions too.
        changed: (i64, i64),
    },
    /// It is there, and cannot be a plugin.
    Fault(String),
}

/// What can be seen in a directory. One that is not there has no files; where it cannot be read for
/// another reason (too many open files, say), nothing is known.
pub(super) fn look(directory: &Path) -> io::Result<Seen> {
    let mut seen = HashMap::new();
    let entries = match fs::read_dir(directory) {
        Err(error) if is_nothing(&error) => return Ok(seen),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if let Some((stem, found)) = found(path) {
            // Of two whose names differ by the case of `.wasm` only, one and always the same.
            let is_other = |other: &Found| other.path > found.path;
            if !seen.get(&stem).is_some_and(is_other) {
                seen.insert(stem, found);
            }
        }
    }
    Ok(seen)
}

/// A file of the directory, if it is meant as a plugin. Hidden ones are those of editors and of
/// copies under way.
fn found(path: PathBuf) -> Option<(String, Found)> {
    path.extension().filter(|it| it.eq_ignore_ascii_case("wasm"))?;
    let stem = path.file_stem().map(OsStr::to_string_lossy)?.into_owned();
    if stem.starts_with('.') {
        return None;
    }
    let is_text = path.file_stem().and_then(OsStr::to_str).is_some();
    // Not the entry's own metadata: a link to a file is as good as the file.
    let look = match fs::metadata(&path) {
        _ if !is_text => Look::Fault("its name is not UTF-8".to_owned()),
        Ok(about) if about.is_file() => Look::of(&about),
        Ok(_) => Look::Fault("not a file".to_owned()),
        // It has gone since the directory was read, or it is a link that leads nowhere.
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => return None,
        Err(error) => Look::Fault(error.to_string()),
    };
    Some((stem, Found { path, look }))
}

fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

impl Look {
    fn of(about: &fs::Metadata) -> Self {
        use std::os::unix::fs::MetadataExt as _;

        Self::File {
            size: about.len(),
            modified: about.modified().ok(),
            inode: about.ino(),
            changed: (about.ctime(), about.ctime_nsec()),
        }
    }
}
