//! `file`: dynamic configuration from files, as they are at any moment.
//!
//! Reading order: the provider here, [`tracked`] (which files are known, and what changed),
//! [`parse`] (text to JSON).
//!
//! **Invariant:** a file that cannot be read as what its name says keeps its last good content.

mod parse;
mod tracked;

use portolan_plugin::{
    Failure, Invalid, Notice, Plugin, Provider, Step, Update, Want, clock, entropy,
    files::{self, FileError},
    register, timer,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::tracked::Tracked;

/// The configuration of a provider with `plugin = "file"`. Paths are absolute, or relative to the
/// folder of the configuration file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
struct Config {
    /// A folder: the `.toml`, `.json`, `.yaml` and `.yml` files in it and below it.
    #[schemars(extend("x-reaches" = "files"))]
    directory: String,
    /// One file.
    #[schemars(extend("x-reaches" = "files"))]
    filename: String,
}

struct File {
    /// The places to look at, with the version that was seen last.
    places: Vec<(Place, u64)>,
    tracked: Tracked,
    /// Tells the cursors of this instance from those of others, whose state it does not have.
    nonce: u64,
    steps: u64,
    notices: Vec<Notice>,
}

/// A folder to wait for, and what is read when it changes.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    folder: String,
    /// None: everything in it.
    file: Option<String>,
}

/// How often a folder that is not there is looked for.
const MISSING_MS: u64 = 1000;

/// Editors and copies write in pieces; what follows a change closely is one change.
const SETTLE_MS: u32 = 20;

impl Plugin for File {
    type Config = Config;
    const NAME: &'static str = "file";
    const SUMMARY: &'static str = "Reads routers, services and middlewares from files.";

    fn wants() -> Vec<Want> {
        vec![Want::new("files", ["dynamic"], "to read the files and to see when they change")]
    }

    fn new(config: Config) -> Result<Self, Invalid> {
        if config.directory.is_empty() && config.filename.is_empty() {
            return Err(Invalid::at("", "neither `directory` nor `filename` is given"));
        }
        let places = places(&config).into_iter().map(|place| (place, 0)).collect();
        let (tracked, nonce, steps) = (Tracked::default(), entropy::next_u64(), 0);
        Ok(Self { places, tracked, nonce, steps, notices: Vec::new() })
    }
}

impl Provider for File {
    fn poll(&mut self, cursor: Option<Vec<u8>>, wait_ms: u32) -> Result<Step, Failure> {
        let Some(cursor) = cursor else {
            self.places.iter_mut().for_each(|(_, version)| *version = 0);
            self.look(0)?;
            return Ok(self.step(true));
        };
        if cursor != self.cursor() {
            let reason = "the cursor is of another instance, or of an earlier step";
            return Err(Failure::Resync(reason.to_owned()));
        }
        let deadline = now() + u64::from(wait_ms);
        loop {
            if self.tracked.has_news() || self.tracked.notices() != self.notices {
                return Ok(self.step(false));
            }
            let left = deadline.saturating_sub(now());
            if left == 0 {
                return Ok(Step::new(Update::Unchanged, cursor, Vec::new()));
            }
            self.look(left)?;
        }
    }
}

register!(File: Provider);

impl File {
    /// Waits until a place changes, for `wait` milliseconds at most, and reads what changed.
    fn look(&mut self, wait: u64) -> Result<(), Failure> {
        // Several places are waited for in turn, a little while each.
        let share = wait.min(if self.places.len() > 1 { MISSING_MS } else { u64::MAX });
        let mut is_missing = true;
        for number in 0..self.places.len() {
            let (place, since) = self.places[number].clone();
            let version = match files::wait(&place.folder, since, millis(share)) {
                Ok(version) => version,
                Err(FileError::NotFound) => {
                    self.places[number].1 = 0;
                    self.tracked.forget(&place);
                    continue;
                }
                Err(error) => return Err(failure(&place.folder, error)),
            };
            if version == since && since != 0 {
                is_missing = false;
            } else {
                if since != 0 {
                    timer::sleep(SETTLE_MS);
                }
                self.places[number].1 = version;
                is_missing &= !self.read(&place)?;
            }
        }
        if is_missing && wait > 0 {
            timer::sleep(millis(wait.min(MISSING_MS)));
        }
        Ok(())
    }

    /// Reads what changed in a place, and says whether it is there at all.
    fn read(&mut self, place: &Place) -> Result<bool, Failure> {
        let Some(file) = &place.file else { return self.read_folder(place) };
        match files::read(file) {
            Ok(content) => self.tracked.found(place, file, None, &content),
            Err(FileError::NotFound) => {
                self.tracked.forget(place);
                return Ok(false);
            }
            Err(FileError::Denied(reason)) => return Err(Failure::Permanent(reason)),
            Err(error) => self.tracked.unreadable(place, file, &describe(&error)),
        }
        Ok(true)
    }

    fn read_folder(&mut self, place: &Place) -> Result<bool, Failure> {
        let stats = match files::list(&place.folder) {
            Ok(stats) => stats,
            Err(FileError::NotFound) => {
                self.tracked.forget(place);
                return Ok(false);
            }
            Err(error) => return Err(failure(&place.folder, error)),
        };
        let stats: Vec<_> = stats.into_iter().filter(|stat| parse::is_known(&stat.path)).collect();
        self.tracked.keep(place, |path| stats.iter().any(|stat| stat.path == path));
        for stat in stats {
            if self.tracked.version(&stat.path) == Some(stat.version) {
                continue;
            }
            match files::read(&stat.path) {
                Ok(content) => {
                    self.tracked.found(place, &stat.path, Some(stat.version), &content);
                }
                // Gone since it was listed; the folder's next version says so.
                Err(FileError::NotFound) => (),
                Err(error) => self.tracked.unreadable(place, &stat.path, &describe(&error)),
            }
        }
        Ok(true)
    }

    fn step(&mut self, is_first: bool) -> Step {
        let update = if is_first { self.tracked.snapshot() } else { self.tracked.delta() };
        self.steps += 1;
        self.notices = self.tracked.notices();
        Step::new(update, self.cursor(), self.notices.clone())
    }

    fn cursor(&self) -> Vec<u8> {
        [self.nonce.to_be_bytes(), self.steps.to_be_bytes()].concat()
    }
}

fn places(config: &Config) -> Vec<Place> {
    let mut places = Vec::new();
    if !config.directory.is_empty() {
        places.push(Place { folder: config.directory.clone(), file: None });
    }
    if !config.filename.is_empty() {
        let folder = match config.filename.rsplit_once('/') {
            Some(("", _)) => "/",
            Some((folder, _)) => folder,
            None => ".",
        };
        places.push(Place { folder: folder.to_owned(), file: Some(config.filename.clone()) });
    }
    places
}

fn failure(folder: &str, error: FileError) -> Failure {
    match error {
        FileError::Denied(reason) => Failure::Permanent(reason),
        error => Failure::Temporary(format!("`{folder}`: {}", describe(&error))),
    }
}

fn describe(error: &FileError) -> String {
    match error {
        FileError::Denied(reason) | FileError::Io(reason) => reason.clone(),
        FileError::NotFound => "there is no such file".to_owned(),
        FileError::TooLarge => "is larger than 16 MiB".to_owned(),
    }
}

fn millis(time: u64) -> u32 {
    u32::try_from(time).unwrap_or(u32::MAX)
}

/// Milliseconds since some fixed moment.
fn now() -> u64 {
    clock::monotonic_nanos() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_waited_for_in_its_folder() {
        let check = |directory: &str, filename: &str, expected: &[(&str, Option<&str>)]| {
            let config = Config { directory: directory.into(), filename: filename.into() };
            let found = places(&config);
            let found: Vec<_> =
                found.iter().map(|it| (it.folder.as_str(), it.file.as_deref())).collect();
            assert_eq!(found, expected);
        };
        check("dynamic", "", &[("dynamic", None)]);
        check("", "a.toml", &[(".", Some("a.toml"))]);
        check("", "/a.toml", &[("/", Some("/a.toml"))]);
        check("d", "/etc/a.toml", &[("d", None), ("/etc", Some("/etc/a.toml"))]);
    }
}
