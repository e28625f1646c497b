//! What a configuration stands on outside itself: folders that are written to, lists that are read.

use std::path::Path;

use nix::unistd::{AccessFlags, access};
use portolan_core::problem::Problem;

use crate::{app::block_lists::BlockLists, config::Config, control::hosts::HostsFiles};

/// What is wrong, each with the place in the configuration that names it.
pub(super) fn problems(config: &Config) -> Vec<(String, Problem)> {
    let mut problems = Vec::new();
    let mut add = |place: String, source: &str, message: String| {
        problems.push((place.clone(), Problem::error(source, place, message)));
    };
    if let Some(why) = unwritable(&config.data_dir) {
        add("/data-dir".to_owned(), "config", why);
    }
    let log = config.access_log.as_ref().and_then(|log| log.file.as_deref());
    if let Some(why) = log.and_then(unwritable_file) {
        add("/access-log/file".to_owned(), "config", why);
    }
    let Some(dns) = &config.dns else { return problems };
    for (path, index) in dns.hosts.iter().zip(0..) {
        let mut hosts = HostsFiles::default();
        hosts.read(std::slice::from_ref(path), dns.hosts_domain.as_ref());
        let found = hosts.problems().iter().cloned();
        problems.extend(found.map(|problem| (format!("/dns/hosts/{index}"), placed(problem))));
    }
    for (path, index) in dns.filter.block_lists.iter().zip(0..) {
        let (_, found) = BlockLists::default().read(std::slice::from_ref(path));
        let place = || format!("/dns/filter/block-lists/{index}");
        problems.extend(found.into_iter().map(|problem| (place(), placed(problem))));
    }
    problems
}

/// The place in the list stands in the message, since the problem is shown where the list is named.
fn placed(problem: Problem) -> Problem {
    Problem { message: format!("{}: {}", problem.origin, problem.message), ..problem }
}

/// Why nothing can be made in a folder, which need not be there yet.
fn unwritable(folder: &Path) -> Option<String> {
    let there = folder.ancestors().find(|it| it.exists())?;
    if !there.is_dir() {
        return Some(format!("`{}` is no folder", there.display()));
    }
    cannot_write(there, AccessFlags::W_OK | AccessFlags::X_OK)
}

fn unwritable_file(file: &Path) -> Option<String> {
    match file.symlink_metadata() {
        Ok(_) if file.is_dir() => Some(format!("`{}` is a folder", file.display())),
        Ok(_) => cannot_write(file, AccessFlags::W_OK),
        Err(_) => unwritable(file.parent()?),
    }
}

fn cannot_write(path: &Path, how: AccessFlags) -> Option<String> {
    let error = access(path, how).err()?;
    Some(format!("`{}` cannot be written to: {}", path.display(), error.desc()))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_need_not_be_there_but_must_be_possible() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(unwritable(&home.path().join("a/b/c")), None);
        assert!(unwritable(&file.join("below")).is_some_and(|why| why.ends_with("is no folder")));
        assert_eq!(unwritable_file(&file), None);
        assert_eq!(unwritable_file(&home.path().join("logs/access.log")), None);
        assert!(unwritable_file(home.path()).is_some_and(|why| why.ends_with("is a folder")));
    }
}
