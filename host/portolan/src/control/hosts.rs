//! Hosts files: names and addresses as hosts(5) has them.

use std::{
    collections::{BTreeMap, HashMap},
    fs,
    net::IpAddr,
    ops::Range,
    path::PathBuf,
    sync::Arc,
};

use portolan_core::{
    problem::Problem,
    zone::{HostEntry, Name},
};

use super::surroundings::{Mark, expanded};

/// Lines of one file that are told of; the others are counted.
const TOLD: usize = 3;

/// What was read last.
#[derive(Debug, Default)]
pub(crate) struct HostsFiles {
    marks: Vec<Mark>,
    domain: Option<Name>,
    entries: Arc<[HostEntry]>,
    /// Which of the entries are of a file, as it was when it could be read.
    of_files: HashMap<PathBuf, Range<usize>>,
    problems: Vec<Problem>,
}

impl HostsFiles {
    /// Reads files and folders again, if one of them is not as it was. Names without a dot are
    /// known in `domain` too. Answers whether anything changed.
    pub(crate) fn read(&mut self, paths: &[PathBuf], domain: Option<&Name>) -> bool {
        let marks: Vec<_> = paths.iter().flat_map(|path| Mark::of(path)).collect();
        if marks == self.marks && domain == self.domain.as_ref() {
            return false;
        }
        (self.marks, self.domain) = (marks, domain.cloned());
        self.problems.clear();
        let mut entries = Vec::new();
        let mut before = std::mem::take(&mut self.of_files);
        for file in paths.iter().flat_map(|path| expanded(path)) {
            let place = file.display().to_string();
            match fs::read(&file) {
                Ok(bytes) => {
                    let start = entries.len();
                    self.take(&place, &String::from_utf8_lossy(&bytes), &mut entries);
                    self.of_files.insert(file, start..entries.len());
                }
                Err(error) => {
                    let message = format!("the hosts file cannot be read: {error}");
                    let mut problem = Problem::error("dns", place, message);
                    // An editor may be about to put it back; its names are not for others to answer.
                    // So may be a folder.
                    let known = before.extract_if(|known, _| known.starts_with(&file));
                    let known: BTreeMap<_, _> = known.collect();
                    for (file, own) in known {
                        let own = self.entries.get(own).unwrap_or_default();
                        let start = entries.len();
                        entries.extend(own.iter().cloned());
                        self.of_files.insert(file, start..entries.len());
                        problem = problem.hint("its names are answered as they were");
                    }
                    self.problems.push(problem);
                }
            }
        }
        let is_other = *self.entries != *entries;
        if is_other {
            tracing::info!(entries = entries.len(), "hosts files read");
            self.entries = entries.into();
        }
        is_other
    }

    /// The names as they are now.
    pub(super) fn entries(&self) -> Arc<[HostEntry]> {
        self.entries.clone()
    }

    /// What is wrong with the files.
    pub(crate) fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// A line that makes no sense costs itself.
    fn take(&mut self, place: &str, text: &str, entries: &mut Vec<HostEntry>) {
        let mut bad = 0;
        for (line, number) in text.lines().zip(1..) {
            if let Err(what) = read_line(line, self.domain.as_ref(), entries) {
                bad += 1;
                if bad <= TOLD {
                    let place = format!("{place}:{number}");
                    self.problems.push(Problem::warning("dns", place, what));
                }
            }
        }
        if bad > TOLD {
            let message = format!("{} more lines are of no use", bad - TOLD);
            self.problems.push(Problem::warning("dns", place.to_owned(), message));
        }
    }
}

/// An address and its names; names that every resolver knows by itself are left out.
fn read_line(
    line: &str,
    domain: Option<&Name>,
    entries: &mut Vec<HostEntry>,
) -> Result<(), String> {
    let text = line.split('#').next().unwrap_or_default();
    let mut words = text.split_whitespace();
    let Some(first) = words.next() else { return Ok(()) };
    // An interface behind a `%` says where a link-local address is; it means nothing to others.
    if first.contains('%') {
        return Ok(());
    }
    let address: IpAddr =
        first.parse().ok().ok_or_else(|| format!("`{first}` is not an IP address"))?;
    for word in words {
        let is_plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let name = Name::parse(word).ok().filter(|_| word.bytes().all(is_plain));
        let name = name.ok_or_else(|| format!("`{word}` is not the name of a host"))?.to_lower();
        if let Some(domain) = domain.filter(|_| !word.contains('.')) {
            let labels = portolan_core::zone::labels(name.as_bytes());
            if let Ok(whole) = Name::below(domain, labels) {
                entries.push(HostEntry { name: whole, address });
            }
        }
        if word != "localhost" {
            entries.push(HostEntry { name, address });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_file_that_is_away_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let files = ["a", "b"].map(|name| folder.path().join(name));
        for (file, address) in files.iter().zip(["10.0.0.1", "10.0.0.2"]) {
            fs::write(file, format!("{address} {}.lan\n", file.file_name().unwrap().display()))
                .unwrap();
        }
        let mut hosts = HostsFiles::default();
        assert!(hosts.read(&files, None));
        fs::remove_file(&files[0]).unwrap();
        // Twice: what is kept once is kept.
        for text in ["10.0.0.3 b.lan\n", "10.0.0.4 b.lan c.lan\n"] {
            fs::write(&files[1], text).unwrap();
            assert!(hosts.read(&files, None));
            assert_eq!(hosts.entries()[0].name.to_string(), "a.lan");
            assert_eq!(hosts.problems().len(), 1);
        }
        // One that is not wanted any more is no file that is away.
        assert!(hosts.read(&files[1..], None));
        assert_eq!(hosts.entries().len(), 2);
        // A folder may be away as a whole.
        fs::write(&files[0], "10.0.0.1 a.lan\n").unwrap();
        let all = [folder.path().to_owned()];
        assert!(hosts.read(&all, None));
        let before = hosts.entries();
        assert_eq!((before.len(), hosts.problems().len()), (3, 0));
        drop(folder);
        hosts.read(&all, None);
        assert_eq!((hosts.entries(), hosts.problems().len()), (before, 1));
    }

    #[test]
    fn hosts_files_are_read_and_bad_lines_told() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("hosts");
        let text = "127.0.0.1 localhost\n\n# a comment\n10.0.0.5\tNAS nas.home.arpa # the box\n\
                    fd00::5 nas\nfe80::1%eth0 router\n300.1.1.1 x\n10.0.0.6 bad*name good\n";
        fs::write(&file, text).unwrap();
        let mut hosts = HostsFiles::default();
        let lan = Name::parse("lan").unwrap();
        assert!(hosts.read(&[folder.path().to_owned()], Some(&lan)));
        let told: Vec<_> =
            hosts.entries().iter().map(|it| format!("{} {}", it.name, it.address)).collect();
        let expected = [
            "localhost.lan 127.0.0.1",
            "nas.lan 10.0.0.5",
            "nas 10.0.0.5",
            "nas.home.arpa 10.0.0.5",
            "nas.lan fd00::5",
            "nas fd00::5",
        ];
        assert_eq!(told, expected);
        let problems: Vec<_> =
            hosts.problems().iter().map(|it| (it.origin.as_str(), it.message.as_str())).collect();
        let place = |line: usize| format!("{}:{line}", file.display());
        assert_eq!(
            problems,
            [
                (place(7).as_str(), "`300.1.1.1` is not an IP address"),
                (place(8).as_str(), "`bad*name` is not the name of a host"),
            ]
        );
        assert!(!hosts.read(&[folder.path().to_owned()], Some(&lan)));
        fs::write(&file, "10.0.0.7 nas\n").unwrap();
        assert!(hosts.read(&[folder.path().to_owned()], None));
        assert_eq!((hosts.entries().len(), hosts.problems().len()), (1, 0));
    }
}
