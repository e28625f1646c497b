//! Lists of names that are not to be had, read from files.

use std::{fs, path::PathBuf, sync::Arc};

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
            self.list = Arc::new(list);
        }
        (self.list.clone(), self.problems.clone())
    }

    fn gather(&mut self, paths: &[PathBuf]) -> BlockList {
        let files = paths.iter().flat_map(|path| expanded(path));
        let problems = &mut self.problems;
        BlockList::build(files.flat_map(|file| {
            let place = file.display().to_string();
            match fs::read(&file) {
                Ok(bytes) => read(&place, &String::from_utf8_lossy(&bytes), problems),
                Err(error) => {
                    let message = format!("the list cannot be read: {error}");
                    problems.push(Problem::error("dns", place, message));
                    Vec::new()
                }
            }
        }))
    }
}

/// A line that makes no sense costs itself.
fn read(place: &str, text: &str, problems: &mut Vec<Problem>) -> Vec<Listed> {
    let mut bad = 0;
    let mut lines = Vec::new();
    for (line, number) in text.lines().zip(1..) {
        match Listed::parse(line) {
            Ok(Listed::Nothing) => (),
            Ok(listed) => lines.push(listed),
            Err(what) => {
                bad += 1;
                if bad <= TOLD {
                    let message = format!("`{what}` is not a name that can be blocked");
                    problems.push(Problem::warning("dns", format!("{place}:{number}"), message));
                }
            }
        }
    }
    if bad > TOLD {
        let message = format!("{} more lines are of no use", bad - TOLD);
        problems.push(Problem::warning("dns", place.to_owned(), message));
    }
    lines
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
}
