//! Programs that tests need and the repository does not have.
//!
//! Each is taken from an environment variable, else from `PATH`, else fetched once from a release of
//! Debian, whose packages run from any folder.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::store;

/// Finds a program, `variable` first; fetches its package of the same name if need be. `probe` is
/// an argument with which it ends at once.
pub(crate) fn find(name: &str, variable: &str, release: &str, probe: &str) -> PathBuf {
    let runs = |path: &Path| {
        let mut command = Command::new(path);
        command.arg(probe).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok()
    };
    if let Some(path) = std::env::var_os(variable) {
        return path.into();
    }
    let fetched = store(name).join("usr/bin").join(name);
    let candidates = [PathBuf::from(name), fetched.clone()];
    if let Some(found) = candidates.into_iter().find(|path| runs(path)) {
        return found;
    }
    let help = format!("no {name}: put one on PATH, or name one in {variable}=/path/to/{name}");
    assert!(fetch(name, release) && runs(&fetched), "{help}");
    fetched
}

/// The folder that a package of a release was unpacked in; fetches it if need be.
pub(crate) fn package(name: &str, release: &str) -> PathBuf {
    let folder = store(name);
    let is_there = folder.join("usr").is_dir() || fetch(name, release);
    assert!(is_there, "the package {name} of Debian {release} cannot be fetched");
    folder
}

fn fetch(name: &str, release: &str) -> bool {
    let mut script = Command::new("sh");
    script.args(["-euc", FETCH, "fetch"]).arg(store(name)).args([release, name]);
    let status = script.stdin(Stdio::null()).stdout(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

/// Takes the package without touching the machine's own sources, and without root.
const FETCH: &str = r#"
cd "$1"
mkdir -p lists/partial cache/archives/partial
awk 'BEGIN{RS="";ORS="\n\n"} !/security/' /etc/apt/sources.list.d/debian.sources |
    sed "s/^Suites:.*/Suites: $2/" > "$2.sources"
apt="-o Dir::Etc::sourcelist=$1/$2.sources -o Dir::Etc::sourceparts=/dev/null"
apt="$apt -o Dir::State::lists=$1/lists -o Dir::Cache=$1/cache"
apt-get $apt update
apt-get $apt download "$3"
dpkg -x "$3"_*.deb .
"#;
