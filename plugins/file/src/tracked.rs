//! Which files are known, and what the host has to be told of them.

use std::collections::{BTreeMap, BTreeSet};

use portolan_plugin::{Change, Fragment, Item, Key, Notice, Update};

use crate::{Place, parse::parse};

/// The files, and what has changed since the last step.
#[derive(Default)]
pub(crate) struct Tracked {
    files: BTreeMap<String, Known>,
    changed: BTreeSet<String>,
}

struct Known {
    place: Place,
    version: Option<u64>,
    /// The last good content, as JSON.
    config: Option<String>,
    notice: Option<Notice>,
}

impl Tracked {
    /// The version of a file that was read.
    pub(crate) fn version(&self, path: &str) -> Option<u64> {
        self.files.get(path)?.version
    }

    /// A file has this content.
    pub(crate) fn found(
        &mut self,
        place: &Place,
        path: &str,
        version: Option<u64>,
        content: &[u8],
    ) {
        let known = self.known(place, path);
        known.version = version;
        match parse(path, content) {
            Ok(config) => {
                known.notice = None;
                if known.config.as_ref() != Some(&config) {
                    known.config = Some(config);
                    self.changed.insert(path.to_owned());
                }
            }
            Err(problem) => {
                let origin = match problem.place {
                    Some((line, column)) => format!("{path}:{line}:{column}"),
                    None => path.to_owned(),
                };
                known.notice = Some(Notice::new(origin, problem.message));
            }
        }
    }

    /// A file is there, and cannot be read.
    pub(crate) fn unreadable(&mut self, place: &Place, path: &str, reason: &str) {
        let known = self.known(place, path);
        known.version = None;
        known.notice = Some(Notice::new(path, reason));
    }

    /// The place, with all its files, is gone.
    pub(crate) fn forget(&mut self, place: &Place) {
        self.keep(place, |_| false);
    }

    /// Of the files of a place, only these are there.
    pub(crate) fn keep(&mut self, place: &Place, is_there: impl Fn(&str) -> bool) {
        let changed = &mut self.changed;
        self.files.retain(|path, known| {
            let stays = known.place != *place || is_there(path);
            if !stays && known.config.is_some() {
                changed.insert(path.clone());
            }
            stays
        });
    }

    /// Whether there is something to tell.
    pub(crate) fn has_news(&self) -> bool {
        !self.changed.is_empty()
    }

    /// What is wrong with files.
    pub(crate) fn notices(&self) -> Vec<Notice> {
        self.files.values().filter_map(|known| known.notice.clone()).collect()
    }

    /// Everything; the host has been told then.
    pub(crate) fn snapshot(&mut self) -> Update {
        self.changed.clear();
        Update::Snapshot(self.files.keys().filter_map(|path| self.item(path)).collect())
    }

    /// What has changed; the host has been told then.
    pub(crate) fn delta(&mut self) -> Update {
        let changed = std::mem::take(&mut self.changed);
        let change = |path: String| match self.item(&path) {
            Some(item) => Change::Put(item),
            None => Change::Remove(Key::Fragment(path)),
        };
        Update::Delta(changed.into_iter().map(change).collect())
    }

    fn item(&self, path: &str) -> Option<Item> {
        let config = self.files.get(path)?.config.clone()?;
        Some(Item::Fragment(Fragment { origin: path.to_owned(), config }))
    }

    fn known(&mut self, place: &Place, path: &str) -> &mut Known {
        self.files.entry(path.to_owned()).or_insert_with(|| Known {
            place: place.clone(),
            version: None,
            config: None,
            notice: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> Place {
        Place { folder: "d".to_owned(), file: None }
    }

    fn told(tracked: &mut Tracked) -> Vec<String> {
        let describe = |change: &Change| match change {
            Change::Put(Item::Fragment(fragment)) => {
                format!("+ {} {}", fragment.origin, fragment.config)
            }
            Change::Remove(Key::Fragment(origin)) => format!("- {origin}"),
            other => panic!("{other:?}"),
        };
        match tracked.delta() {
            Update::Delta(changes) => changes.iter().map(describe).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_bad_file_keeps_its_last_good_content() {
        let mut tracked = Tracked::default();
        tracked.found(&folder(), "d/a.toml", Some(1), b"a = 1");
        assert_eq!(told(&mut tracked), [r#"+ d/a.toml {"a":1}"#]);
        tracked.found(&folder(), "d/a.toml", Some(2), b"a = 1\nb =");
        assert!(told(&mut tracked).is_empty());
        let notices = tracked.notices();
        assert_eq!(notices[0].origin, "d/a.toml:2:4");
        let everything = tracked.snapshot();
        assert!(matches!(everything, Update::Snapshot(items) if items.len() == 1));
        tracked.found(&folder(), "d/a.toml", Some(3), b"a = 2");
        assert_eq!(told(&mut tracked), [r#"+ d/a.toml {"a":2}"#]);
        assert!(tracked.notices().is_empty());
    }

    #[test]
    fn a_file_that_is_gone_is_told_once() {
        let mut tracked = Tracked::default();
        tracked.found(&folder(), "d/a.json", Some(1), b"{}");
        tracked.found(&folder(), "d/b.json", Some(1), b"nonsense");
        told(&mut tracked);
        tracked.keep(&folder(), |path| path != "d/a.json");
        assert_eq!(told(&mut tracked), ["- d/a.json"]);
        // What was never good was never told.
        tracked.forget(&folder());
        assert!(told(&mut tracked).is_empty());
        assert!(tracked.notices().is_empty());
    }

    #[test]
    fn the_same_content_is_no_news() {
        let mut tracked = Tracked::default();
        tracked.found(&folder(), "d/a.json", Some(1), b"{ }");
        assert!(tracked.has_news());
        told(&mut tracked);
        tracked.found(&folder(), "d/a.json", Some(2), b"{}");
        assert!(!tracked.has_news());
        assert_eq!(tracked.version("d/a.json"), Some(2));
    }

    #[test]
    fn places_do_not_forget_each_others_files() {
        let other = Place { folder: ".".to_owned(), file: Some("x.json".to_owned()) };
        let mut tracked = Tracked::default();
        tracked.found(&other, "x.json", None, b"{}");
        told(&mut tracked);
        tracked.forget(&folder());
        assert!(told(&mut tracked).is_empty());
    }
}
