//! Lines of dnsmasq's files: `name=value`, with or without `--`, comments and quotation marks.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

/// How deep files may name files.
const DEEPEST: usize = 8;

/// An option.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Line {
    /// `dnsmasq.conf:12`
    pub(super) place: String,
    /// As it is written.
    pub(super) text: String,
    pub(super) name: String,
    /// Without quotation marks; empty when there is none.
    pub(super) value: String,
    /// With them.
    pub(super) raw: String,
}

/// The lines of a file, and of those that it names, in the order in which dnsmasq reads them.
pub(super) fn read(file: &Path) -> anyhow::Result<Vec<Line>> {
    let mut lines = Vec::new();
    read_into(file, 0, &mut lines)?;
    Ok(lines)
}

fn read_into(file: &Path, depth: usize, lines: &mut Vec<Line>) -> anyhow::Result<()> {
    anyhow::ensure!(depth < DEEPEST, "{} is named by itself", file.display());
    let bytes = fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    for (text, number) in String::from_utf8_lossy(&bytes).lines().zip(1..) {
        let Some(line) = parse(text, format!("{}:{number}", file.display())) else { continue };
        match line.name.as_str() {
            "conf-file" => read_into(Path::new(&line.value), depth + 1, lines)?,
            "conf-dir" => {
                for file in of_folder(&line.value)? {
                    read_into(&file, depth + 1, lines)?;
                }
            }
            _ => lines.push(line),
        }
    }
    Ok(())
}

/// `folder,*.conf` are the files that end so; `folder,.bak` all but those.
fn of_folder(value: &str) -> anyhow::Result<Vec<PathBuf>> {
    let mut parts = value.split(',').map(str::trim);
    let folder = parts.next().unwrap_or_default();
    let (only, not): (Vec<_>, Vec<_>) =
        parts.filter(|it| !it.is_empty()).partition(|it| it.starts_with('*'));
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {folder}"))?;
    let mut files: Vec<_> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_editors = name.starts_with('.') || name.ends_with('~') || name.starts_with('#');
            let is_wanted = only.is_empty()
                || only.iter().any(|end| name.ends_with(end.trim_start_matches('*')));
            path.is_file() && !is_editors && is_wanted && !not.iter().any(|end| name.ends_with(end))
        })
        .collect();
    files.sort();
    Ok(files)
}

/// `None`: there is no option in it.
pub(super) fn parse(text: &str, place: String) -> Option<Line> {
    let bare = without_comment(text).trim();
    let bare = bare.strip_prefix("--").unwrap_or(bare);
    if bare.is_empty() {
        return None;
    }
    let (name, value) = bare.split_once('=').unwrap_or((bare, ""));
    let (name, raw) = (name.trim().to_owned(), value.trim().to_owned());
    Some(Line { place, text: text.trim().to_owned(), name, value: raw.replace('"', ""), raw })
}

/// A `#` begins a comment at the beginning of a line or behind a blank; elsewhere it is a port.
fn without_comment(text: &str) -> &str {
    let mut is_quoted = false;
    let mut before = ' ';
    for (at, character) in text.char_indices() {
        match character {
            '"' => is_quoted = !is_quoted,
            '#' if !is_quoted && before.is_whitespace() => {
                return text.get(..at).unwrap_or_default();
            }
            _ => (),
        }
        before = character;
    }
    text
}
