//! The rules of the house that a machine can hold. Needs nothing, runs always.

#![expect(
    clippy::unwrap_used,
    clippy::string_slice,
    reason = "a test that cannot go on says so and ends"
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// `core` and `wasm`: a file may name only files listed above it. Their `lib.rs` is the list.
const LISTS: [&str; 2] = ["host/core/src", "host/wasm/src"];

/// Lower floors first. A module may name only modules on floors below its own.
const FLOORS: [(&str, &[&[&str]]); 2] = [
    (
        "host/net/src",
        &[
            &["drain", "random", "cipher"],
            &["worker", "tls", "transport", "h1"],
            &["http2"],
            &["health", "http", "dns"],
            &["fuzzing"],
        ],
    ),
    (
        "host/portolan/src",
        &[
            &["telemetry"],
            &["config", "args", "signal", "compiler"],
            &["control"],
            &["admin"],
            &["app"],
            &["main"],
        ],
    ),
];

const LONGEST_FILE: usize = 600;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Every file below a folder with one of these endings, build output left out.
fn files(folder: &Path, endings: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if path.is_dir() {
            if !["target", ".git", "data"].contains(&name.as_str()) {
                files(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            found.push(path);
        }
    }
}

fn sources() -> Vec<(String, String)> {
    let (root, mut found) = (repository(), Vec::new());
    for folder in ["host", "plugins", "tests"] {
        files(&root.join(folder), &[".rs"], &mut found);
    }
    let mut sources: Vec<_> = found
        .iter()
        .map(|path| {
            let name = path.strip_prefix(&root).unwrap().display().to_string();
            (name, fs::read_to_string(path).unwrap())
        })
        .collect();
    sources.sort();
    sources
}

#[track_caller]
fn none(offences: Vec<String>) {
    assert!(offences.is_empty(), "\n{}", offences.join("\n"));
}

/// The modules that a file names by `crate::…`, each `use` tree's first parts.
fn named(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let code = |line: &&str| !line.trim_start().starts_with("//");
    let text = text.lines().filter(code).collect::<Vec<_>>().join("\n");
    // Tests may look at anything.
    let text = text.split("#[cfg(test)]\nmod ").next().unwrap_or_default();
    for part in text.split("crate::").skip(1) {
        match part.strip_prefix('{') {
            Some(list) => names.extend(first_parts(list)),
            None => names.push(word(part)),
        }
    }
    names.into_iter().map(str::to_owned).collect()
}

/// The first parts of `a::{b, c}, d::e}`: what stands at depth zero after a comma.
fn first_parts(list: &str) -> Vec<&str> {
    let (mut depth, mut names, mut start) = (0, vec![word(list.trim_start())], 0);
    for (place, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => start = place + 1,
            _ => continue,
        }
        if c == ',' && depth == 0 {
            names.push(word(list[start..].trim_start()));
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// The top module that a file of a crate belongs to.
fn module<'a>(file: &'a str, folder: &str) -> Option<&'a str> {
    let inside = file.strip_prefix(folder)?.strip_prefix('/')?;
    Some(inside.split('/').next()?.trim_end_matches(".rs"))
}

#[test]
fn files_name_only_what_stands_above_them() {
    let sources = sources();
    let mut offences = Vec::new();
    for folder in LISTS {
        let (_, lib) =
            sources.iter().find(|(name, _)| *name == format!("{folder}/lib.rs")).unwrap();
        let order: Vec<_> = lib
            .lines()
            .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
            .map(word)
            .collect();
        for (name, text) in &sources {
            // Tests may look at anything.
            if name.ends_with("tests.rs") || name.contains("/tests/") {
                continue;
            }
            let Some(module) = module(name, folder) else { continue };
            let Some(place) = order.iter().position(|other| *other == module) else { continue };
            for other in named(text) {
                if order.iter().position(|known| *known == other).is_some_and(|at| at > place) {
                    offences.push(format!("{name} names `{other}`, which stands below it"));
                }
            }
        }
    }
    none(offences);
}

#[test]
fn rooms_name_only_rooms_on_lower_floors() {
    let mut offences = Vec::new();
    for (name, text) in sources() {
        for (folder, floors) in FLOORS {
            let Some(module) = module(&name, folder) else { continue };
            let floor = |module: &str| floors.iter().position(|floor| floor.contains(&module));
            let Some(here) = floor(module) else { continue };
            for other in named(&text) {
                if other != module && floor(&other).is_some_and(|there| there >= here) {
                    offences.push(format!("{name} names `{other}`, which is not below it"));
                }
            }
        }
    }
    none(offences);
}

#[test]
fn every_file_says_what_lives_in_it() {
    let silent = sources().into_iter().filter(|(_, text)| !text.starts_with("//!"));
    none(silent.map(|(name, _)| format!("{name} does not open with `//!`")).collect());
}

#[test]
fn no_file_is_too_long() {
    let long = sources().into_iter().filter_map(|(name, text)| {
        let lines = text.lines().count();
        (lines > LONGEST_FILE).then(|| format!("{name} has {lines} lines"))
    });
    none(long.collect());
}

#[test]
fn no_test_is_ignored_and_none_waits_by_the_clock() {
    let mut offences = Vec::new();
    for (name, text) in sources() {
        // `eventually` is the one place that waits, and we have to name what we look for.
        let may_wait = name == "tests/e2e/support/mod.rs" || name == "tests/tidy.rs";
        let first_of_test = first_line_of_test(&name, &text);
        for (number, line) in text.lines().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let waits = WAITS.iter().any(|wait| code.contains(wait)) && !may_wait;
            let in_test = first_of_test.is_some_and(|first| number >= first);
            let ignored = code.contains(concat!("#[", "ignore"));
            if ignored || in_test && waits {
                offences.push(format!("{name}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    none(offences);
}

/// What passes time and nothing else. A limit on something else (`timeout`) is none of it.
const WAITS: [&str; 3] = ["sleep(", "sleep_until(", "park_timeout("];

/// From which line on a file is test code, if it is at all. Modules of tests stand at the end.
fn first_line_of_test(name: &str, text: &str) -> Option<usize> {
    if name.split('/').any(|part| part == "tests" || part == "tests.rs") {
        return Some(0);
    }
    let mut lines = text.lines().zip(text.lines().skip(1));
    lines.position(|(line, next)| line == "#[cfg(test)]" && next.starts_with("mod "))
}

#[test]
fn only_wasm_names_wasmtime_and_core_serialises_nothing() {
    let mut offences = Vec::new();
    for manifest in ["core", "net", "portolan"] {
        let path = repository().join(format!("host/{manifest}/Cargo.toml"));
        let text = fs::read_to_string(&path).unwrap();
        let dependencies: Vec<_> = text.lines().map(word).collect();
        if dependencies.contains(&"wasmtime") {
            offences.push(format!("host/{manifest} depends on wasmtime"));
        }
        if manifest == "core" {
            let heavy = ["tokio", "serde", "hyper", "rustls"];
            let named = heavy.iter().filter(|heavy| dependencies.contains(heavy));
            offences.extend(named.map(|heavy| format!("host/core depends on {heavy}")));
        }
    }
    none(offences);
}

#[test]
fn no_file_holds_a_path_of_one_machine() {
    let (root, mut found) = (repository(), Vec::new());
    files(
        &root,
        &[".rs", ".toml", ".md", ".wit", ".sh", ".hcl", ".js", ".html", ".wasm"],
        &mut found,
    );
    let homes = [concat!("/", "root/"), concat!("/", "home/"), concat!("/", "work/")];
    let offences = found.iter().filter_map(|path| {
        let bytes = fs::read(path).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        let home = homes.iter().find(|home| text.contains(**home))?;
        Some(format!("{} holds {home}", path.display()))
    });
    none(offences.collect());
}
