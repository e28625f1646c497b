//! Compiled code on disk, known by the hash of the file it was made from and by everything that
//! the compiler depends on.
//!
//! **Invariant:** compiled code is machine code, so it is used only if a code that nobody else
//! could have written, made with a key that only we can read, stands beside it. Whatever is
//! stale, cut short, foreign or tampered with is as good as absent: never used, never an error.

use std::{
    fs::{self, File, OpenOptions},
    hash::{Hash, Hasher},
    io::{self, Write as _},
    os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use wasmtime::Engine;

use super::surface::Surface;

/// The directory of compiled code.
#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
    key: [u8; 32],
    /// What the compiler depends on.
    compatibility: String,
    /// Tells the files apart that are being written.
    written: AtomicU64,
}

/// What is known of one file besides its code.
#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Card {
    /// The name of the entry, so that a card cannot be passed off for another.
    pub(crate) entry: String,
    /// The keyed hash of the code.
    pub(crate) code: String,
    pub(crate) surface: Surface,
    pub(crate) said: Said,
}

/// What a plugin says about itself.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct Said {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) summary: String,
    pub(crate) schema: Option<String>,
    pub(crate) wants: Vec<WantCard>,
    pub(crate) matchers: Vec<SignatureCard>,
    /// How long its hooks may take, in milliseconds, if longer than others.
    #[serde(default)]
    pub(crate) hook_limit: Option<u64>,
}

/// A capability that it would like.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct WantCard {
    pub(crate) capability: String,
    pub(crate) scope: Vec<String>,
    pub(crate) reason: String,
}

/// A matcher that it adds.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(crate) struct SignatureCard {
    pub(crate) name: String,
    pub(crate) min_args: u32,
    pub(crate) max_args: u32,
    pub(crate) doc: String,
}

/// An entry that is whole and ours.
#[derive(Debug)]
pub(crate) struct Entry {
    /// The compiled code.
    pub(crate) code: PathBuf,
    pub(crate) card: Card,
}

impl Cache {
    /// Opens a directory for the code of an engine; makes it, and the key beside it, where they
    /// are not there.
    pub(crate) fn open(directory: &Path, engine: &Engine) -> io::Result<Self> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o700))?;
        let key = key(&directory.with_extension("key"))?;
        let mut hasher = Blake(blake3::Hasher::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let hash = hasher.0.finalize().to_hex();
        let compatibility = hash.chars().take(16).collect();
        let (directory, written) = (directory.to_owned(), AtomicU64::new(0));
        Ok(Self { directory, key, compatibility, written })
    }

    /// What is known of the file with this hash.
    pub(crate) fn find(&self, hash: &str) -> Option<Entry> {
        let entry = self.entry(hash);
        let text = fs::read_to_string(self.path(&entry, "card")).ok()?;
        let (mac, json) = text.split_once('\n')?;
        if blake3::Hash::from_hex(mac).ok()? != blake3::keyed_hash(&self.key, json.as_bytes()) {
            return None;
        }
        let card: Card = serde_json::from_str(json).ok()?;
        let code = self.path(&entry, "cwasm");
        let expected = blake3::Hash::from_hex(&card.code).ok()?;
        if card.entry != entry || expected != self.mac_of(&code).ok()? {
            return None;
        }
        touch(&code);
        Some(Entry { code, card })
    }

    /// Keeps compiled code. It is found again once its card is kept, too.
    pub(crate) fn keep_code(&self, hash: &str, code: &[u8]) -> io::Result<PathBuf> {
        let path = self.path(&self.entry(hash), "cwasm");
        self.write(&path, code)?;
        Ok(path)
    }

    /// Keeps what is known of a file whose code is kept.
    pub(crate) fn keep_card(&self, hash: &str, surface: &Surface, said: &Said) -> io::Result<()> {
        let entry = self.entry(hash);
        let code = self.mac_of(&self.path(&entry, "cwasm"))?.to_hex().to_string();
        let path = self.path(&entry, "card");
        let card = Card { entry, code, surface: surface.clone(), said: said.clone() };
        let json = serde_json::to_string(&card)?;
        let mac = blake3::keyed_hash(&self.key, json.as_bytes()).to_hex();
        self.write(&path, format!("{mac}\n{json}").as_bytes())
    }

    /// Removes what has not been used for long, and the oldest of too many; never what is used
    /// by a plugin with one of these hashes.
    pub(crate) fn prune(&self, used: &[String]) -> io::Result<()> {
        let used: Vec<String> = used.iter().map(|hash| self.entry(hash)).collect();
        let mut found = Vec::new();
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            let Ok(modified) = fs::metadata(&path).and_then(|about| about.modified()) else {
                continue;
            };
            let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let name = name.unwrap_or_default();
            if !used.iter().any(|entry| name.starts_with(entry.as_str())) {
                found.push((modified, path));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        let now = SystemTime::now();
        for (place, (modified, path)) in found.iter().enumerate() {
            let age = now.duration_since(*modified).unwrap_or_default();
            if place >= MAX_UNUSED || age > MAX_AGE {
                // Another process may have been faster.
                _ = fs::remove_file(path);
            }
        }
        Ok(())
    }

    fn entry(&self, hash: &str) -> String {
        format!("{hash}-{}", self.compatibility)
    }

    fn path(&self, entry: &str, kind: &str) -> PathBuf {
        self.directory.join(format!("{entry}.{kind}"))
    }

    fn mac_of(&self, path: &Path) -> io::Result<blake3::Hash> {
        let mut hasher = blake3::Hasher::new_keyed(&self.key);
        hasher.update_reader(File::open(path)?)?;
        Ok(hasher.finalize())
    }

    /// Files are mapped into memory, so one that is there is never written again: a new one takes
    /// its name.
    fn write(&self, path: &Path, bytes: &[u8]) -> io::Result<()> {
        let number = self.written.fetch_add(1, Ordering::Relaxed);
        let temporary = path.with_extension(format!("{}-{number}.tmp", std::process::id()));
        let written = private_file(&temporary)
            .and_then(|mut file| file.write_all(bytes))
            .and_then(|()| fs::rename(&temporary, path));
        if written.is_err() {
            // What cannot be removed grows old and is pruned.
            _ = fs::remove_file(&temporary);
        }
        written
    }
}

/// The key, made where there is none that only we can read.
fn key(path: &Path) -> io::Result<[u8; 32]> {
    let is_private = |about: fs::Metadata| about.permissions().mode() & 0o077 == 0;
    if fs::metadata(path).is_ok_and(is_private)
        && let Ok(key) = <[u8; 32]>::try_from(fs::read(path)?)
    {
        return Ok(key);
    }
    let mut key = [0; 32];
    rustls::crypto::aws_lc_rs::default_provider()
        .secure_random
        .fill(&mut key)
        .map_err(|_opaque| io::Error::other("the operating system gave no random bytes"))?;
    let temporary = path.with_extension(format!("key.{}.tmp", std::process::id()));
    private_file(&temporary)?.write_all(&key)?;
    fs::rename(&temporary, path)?;
    Ok(key)
}

fn private_file(path: &Path) -> io::Result<File> {
    // What a process of the same number left behind.
    _ = fs::remove_file(path);
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Notes that a file is in use. That it cannot be noted does no harm.
fn touch(path: &Path) {
    let touched = File::options().append(true).open(path);
    _ = touched.and_then(|file| file.set_modified(SystemTime::now()));
}

/// The standard library's own hasher may change from one version to the next.
struct Blake(blake3::Hasher);

impl Hasher for Blake {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let hash = self.0.finalize();
        hash.as_bytes().first_chunk().copied().map_or(0, u64::from_le_bytes)
    }
}

/// How many files that nobody uses are kept.
const MAX_UNUSED: usize = 128;

const MAX_AGE: Duration = Duration::from_secs(30 * 24 * 3600);
