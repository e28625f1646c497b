//! `config.toml`: found, read, checked, and every problem shown at its place.
//!
//! **Invariant:** a [`Config`] exists only if nothing in its file was wrong; what was doubtful is in
//! the report beside it. `[http]` is handed on as it is: the catalog judges it, and adds what it
//! finds to the same [`Report`].
//!
//! Reading order: [`load`] → `schema` (what may be written; `read` and `value` say how) →
//! `validate` → [`model`] (what the program uses); `report` shows what went wrong.

mod dns;
pub(crate) mod edge;
mod limits;
pub(crate) mod model;
mod observe;
mod counting;
mod plugins;
mod quantity;
mod read;
mod report;
mod schema;
mod spans;
mod tls;
mod validate;
mod value;
mod watch;

#[cfg(test)]
pub(crate) mod tests;

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use serde_json::Value;
use toml::de::{DeTable, DeValue};

use read::{Node, Read as _, Reading};
use report::{Finding, counted};

pub(crate) use model::{Config, Drain};
pub(crate) use report::{Colour, Place, Report, Source};
pub(crate) use spans::Spans;
pub(crate) use watch::{Seen, watch};

/// The annotated default, used when there is no file.
pub(crate) const EMBEDDED: &str = include_str!("../../../../config/config.toml");

/// Names the file when `--config` does not.
pub(crate) const ENVIRONMENT_VARIABLE: &str = "PORTOLAN_CONFIG";

/// Where a file is looked for when nobody names one.
const USUAL_PLACES: [&str; 2] = ["config/config.toml", "/etc/portolan/config.toml"];

/// A configuration, and what is wrong with it.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    /// What it says.
    pub(crate) config: Config,
    /// What is doubtful about it; more may be added.
    pub(crate) report: Report,
}

impl Loaded {
    /// The file it was read from; `None`: the embedded default.
    pub(crate) fn file(&self) -> Option<&Path> {
        self.report.source().file.as_deref()
    }

    /// `config.toml: ok (2 entrypoints, 1 router, …)`.
    pub(crate) fn summary(&self) -> String {
        let config = &self.config;
        let declared = |kind: &str| config.http.get(kind).and_then(Value::as_object);
        let dynamic = |kind: &str| declared(kind).map_or(0, serde_json::Map::len);
        let parts = [
            counted(config.entrypoints.len(), "entrypoint"),
            counted(config.dns.as_ref().map_or(0, |dns| dns.zones.len()), "zone"),
            counted(config.providers.len(), "provider"),
            counted(dynamic("routers"), "router"),
            counted(dynamic("services"), "service"),
            counted(dynamic("middlewares"), "middleware"),
        ];
        format!("{}: ok ({})", self.report.source().name, parts.join(", "))
    }
}

/// Finds, reads and checks the configuration: the file given, else that of the environment
/// variable, else the first of the usual places that exists, else the embedded default.
pub(crate) fn load(given: Option<&Path>) -> Result<Loaded, Report> {
    usable(inspect(given)?)
}

/// Reads and checks one file; used again when it changes.
pub(crate) fn load_file(file: &Path) -> Result<Loaded, Report> {
    usable(check(read_file(file)?)?)
}

/// The same as [`load`], but what can be understood of a configuration with errors is there too,
/// so that the rest of it can be checked.
pub(crate) fn inspect(given: Option<&Path>) -> Result<Loaded, Report> {
    let environment = std::env::var_os(ENVIRONMENT_VARIABLE);
    match find(given, environment, Path::is_file) {
        Some(file) => check(read_file(&file)?),
        None => check(embedded()),
    }
}

fn usable(loaded: Loaded) -> Result<Loaded, Report> {
    if loaded.report.has_errors() { Err(loaded.report) } else { Ok(loaded) }
}

/// Checks a text. It may be understood and have errors all the same: they are in the report.
fn check(source: Source) -> Result<Loaded, Report> {
    let text = source.text.clone();
    let (document, errors) = DeTable::parse_recoverable(&text);
    let spans = Spans::of(document.get_ref());
    if !errors.is_empty() {
        // What the parser made of the rest is a guess; complaints about it would mislead.
        let findings = errors.iter().map(syntax_error).collect();
        return Err(Report::new(source, spans, findings));
    }
    let base = source.base.clone();
    let mut reading =
        Reading { base: &base, root_fields: schema::File::FIELDS, findings: Vec::new() };
    let value = DeValue::Table(document.into_inner());
    let root = Node { name: String::new(), span: 0..0, value: &value };
    let file = schema::File::read(&root, &mut reading);
    let config = file.and_then(|file| validate::validate(file, &mut reading));
    let report = Report::new(source, spans, reading.findings);
    match config {
        Some(config) => Ok(Loaded { config, report }),
        None => Err(report),
    }
}

fn syntax_error(error: &toml::de::Error) -> Finding {
    let finding = match error.span() {
        Some(span) => Finding::error(span, error.message()),
        None => Finding::whole(error.message()),
    };
    // `address = 127.0.0.1:80` and `timeout = 5s` begin like numbers.
    let like_a_number = ["invalid float", "invalid integer", "invalid datetime"];
    if like_a_number.iter().any(|start| error.message().starts_with(start)) {
        finding.hint("addresses, durations and all other texts stand in quotes")
    } else {
        finding
    }
}

fn find(
    given: Option<&Path>,
    environment: Option<OsString>,
    exists: impl Fn(&Path) -> bool,
) -> Option<PathBuf> {
    let named = environment.filter(|value| !value.is_empty()).map(PathBuf::from);
    let usual = || USUAL_PLACES.iter().map(PathBuf::from).find(|place| exists(place));
    given.map(Path::to_owned).or(named).or_else(usual)
}

fn read_file(file: &Path) -> Result<Source, Report> {
    let unreadable = |error: &io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound => "without a file, `portolan` uses its embedded default",
            io::ErrorKind::InvalidData => "a configuration is text in UTF-8",
            io::ErrorKind::IsADirectory => "name the file in it: --config FILE",
            _ => "the user that runs `portolan` must be able to read it",
        };
        Report::unreadable(file, format!("cannot read the configuration: {error}"), hint)
    };
    let name = file.display().to_string();
    let text = fs::read_to_string(file).map_err(|error| unreadable(&error))?;
    let file = std::path::absolute(file).map_err(|error| unreadable(&error))?;
    let base = file.parent().unwrap_or(&file).to_owned();
    Ok(Source { name, text: text.into(), file: Some(file), base })
}

fn embedded() -> Source {
    // A process whose current folder is gone has no better base than the root.
    let base = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    Source { name: "embedded config.toml".to_owned(), text: EMBEDDED.into(), file: None, base }
}
