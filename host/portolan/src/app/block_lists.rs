//! Lists of names that are not to be had, read from files.

use std::{
    collections::HashMap,
    fs,
    io::{self, BufRead, BufReader},
    mem,
    path::{Path, PathBuf},
    sync::Arc,
};

use portolan_core::problem::Problem;
use portolan_net::dns::{BlockList, Listed};

use crate::control::surroundings::{Mark, expanded};

/// Lines of one file that are told of; the others are counted.
const TOLD: usize = 3;

/// What was read last.
#[derive(Debug, Default)]
pub(super) struct BlockLists {
    marks: Vec<Mark>,
    list: Arc<BlockList>,
    /// What each file had when it could be read.
    of_files: HashMap<PathBuf, Arc<BlockList>>,
    problems: Vec<Problem>,
}

impl BlockLists {
    /// Reads files and folders again, if one of them is not as it was.
    pub(super) fn read(&mut self, paths: &[PathBuf]) -> (Arc<BlockList>, Vec<Problem>) {
        let marks: Vec<_> = paths.iter().flat_map(|path| Mark::of(path)).collect();
        if marks != self.marks {
            self.marks = marks;
            self.problems.clear();
            // A list is long; the other thread of the control plane goes on meanwhile.
            let list = tokio::task::block_in_place(|| self.gather(paths));
            tracing::info!(names = list.len(), "block lists read");
            self.list = list;
        }
        (self.list.clone(), self.problems.clone())
    }

    fn gather(&mut self, paths: &[PathBuf]) -> Arc<BlockList> {
        let before = mem::take(&mut self.of_files);
        for file in paths.iter().flat_map(|path| expanded(path)) {
            let place = file.display().to_string();
            let opened = fs::File::open(&file).map(BufReader::new);
            match opened.and_then(|opened| read(&place, opened, &mut self.problems)) {
                Ok(list) => drop(self.of_files.insert(file, Arc::new(list))),
                Err(error) => {
                    let message = format!("the list cannot be read: {error}");
                    let mut problem = Problem::error("dns", place, message);
                    // Whoever renews it may be about to put it back.
                    if self.keep(&file, &before) {
                        problem = problem.hint("its names are blocked as they were");
                    }
                    self.problems.push(problem);
                }
            }
        }
        // One is not kept twice.
        let mut lists = self.of_files.values();
        match (lists.next(), lists.next()) {
            (Some(only), None) => only.clone(),
            _ => Arc::new(BlockList::merge(self.of_files.values().map(|list| &**list))),
        }
    }

    /// Keeps what a file had, or those of a folder. False: there was none.
    fn keep(&mut self, away: &Path, before: &HashMap<PathBuf, Arc<BlockList>>) -> bool {
        let known = before.iter().filter(|(file, _)| file.starts_with(away));
        let known: Vec<_> = known.map(|(file, list)| (file.clone(), list.clone())).collect();
        let is_known = !known.is_empty();
        self.of_files.extend(known);
        is_known
    }
}

/// A line that makes no sense costs itself. One is looked at after the other: a list is longer than
/// what is kept of it.
fn read(place: &str, text: impl BufRead, problems: &mut Vec<Problem>) -> io::Result<BlockList> {
    let (mut bad, mut broken) = (0, None);
    let lines = text.split(b'\n').map_while(|line| line.map_err(|error| broken = Some(error)).ok());
    let listed = lines.zip(1..).map(|(line, number): (_, usize)| {
        Listed::parse(&String::from_utf8_lossy(&line)).unwrap_or_else(|what| {
            bad += 1;
            if bad <= TOLD {
                let message = format!("`{what}` is not a name that can be blocked");
                problems.push(Problem::warning("dns", format!("{place}:{number}"), message));
            }
            Listed::Nothing
        })
    });
    let list = BlockList::build(listed);
    if bad > TOLD {
        let message = format!("{} more lines are of no use", bad - TOLD);
        problems.push(Problem::warning("dns", place.to_owned(), message));
    }
    broken.map_or(Ok(list), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn lists_are_read_again_when_they_change_and_bad_lines_are_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ads.txt");
        fs::write(&file, "a.example\nwhat is this\nb.example\n").unwrap();
        let mut lists = BlockLists::default();
        let paths = [folder.path().to_owned()];
        let (list, problems) = lists.read(&paths);
        assert_eq!(list.len(), 2);
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!(problem.origin, format!("{}:2", file.display()));
        let (same, _) = lists.read(&paths);
        assert!(Arc::ptr_eq(&list, &same));
        fs::write(&file, "a.example\n").unwrap();
        let (list, problems) = lists.read(&paths);
        assert_eq!((list.len(), problems), (1, Vec::new()));
        let (list, problems) = lists.read(&[folder.path().join("absent")]);
        assert!(list.is_empty() && problems.len() == 1);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn names_of_a_list_that_is_away_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (inner, other) = (folder.path().join("lists"), folder.path().join("other.txt"));
        fs::create_dir(&inner).unwrap();
        for name in ["a", "b"] {
            fs::write(inner.join(name), format!("{name}.example\n")).unwrap();
        }
        fs::write(&other, "c.example\n").unwrap();
        let mut lists = BlockLists::default();
        let paths = [inner.clone(), other.clone()];
        assert_eq!(lists.read(&paths).0.len(), 3);
        // A folder with all its files, and a file; what changes beside them counts.
        fs::remove_dir_all(&inner).unwrap();
        fs::write(&other, "c.example\nd.example\n").unwrap();
        let (list, problems) = lists.read(&paths);
        assert_eq!((list.len(), problems.len()), (4, 1));
        fs::remove_file(&other).unwrap();
        let (list, problems) = lists.read(&paths);
        assert_eq!((list.len(), problems.len()), (4, 2));
        // One that is gone from a folder that is there is not wanted any more.
        fs::create_dir(&inner).unwrap();
        fs::write(inner.join("a"), "a.example\n").unwrap();
        assert_eq!(lists.read(&paths).0.len(), 3);
        assert_eq!(lists.read(&paths[1..]).0.len(), 2);
    }
}
