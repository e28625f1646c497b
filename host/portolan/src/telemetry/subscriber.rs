//! The subscriber: which log lines are shown, and in what form.
//!
//! **Invariant:** with `Format::Json` every line on stderr is one JSON object.

use std::{io::IsTerminal as _, str::FromStr as _};

use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::Directive, fmt, layer::SubscriberExt as _, registry,
    reload, util::SubscriberInitExt as _,
};

/// Takes the place of `log.level` for one run, such as `PORTOLAN_LOG=portolan_net=trace`.
const ENVIRONMENT_VARIABLE: &str = "PORTOLAN_LOG";

/// What is logged, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Log {
    /// A level, or directives of `tracing-subscriber`: `info,portolan_net=debug`.
    pub(crate) level: String,
    /// For people or for machines.
    pub(crate) format: Format,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: "info".to_owned(), format: Format::Text }
    }
}

/// How a log line is written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Format {
    /// One line of text, in colours on a terminal.
    Text,
    /// One JSON object.
    Json,
}

/// The running subscriber.
pub(crate) struct Telemetry {
    filter: reload::Handle<EnvFilter, Registry>,
    format: Format,
}

impl Telemetry {
    /// Installs the subscriber for the whole process. If there is one already, that stays.
    pub(crate) fn start(log: &Log) -> Self {
        let (filter, handle) = reload::Layer::new(filter(log));
        let started = Registry::default().with(filter).with(writer(log.format)).try_init();
        if let Err(error) = started {
            tracing::debug!(%error, "subscriber kept");
        }
        Self { filter: handle, format: log.format }
    }

    /// Takes over another level. The format stays until the next start: whoever reads the lines
    /// could not follow.
    pub(crate) fn apply(&self, log: &Log) {
        if let Err(error) = self.filter.reload(filter(log)) {
            tracing::warn!(%error, "log level not changed");
        }
        if log.format != self.format {
            tracing::warn!("`log.format` changes with the next start");
        }
    }
}

/// Whether `level` can be understood; if not, why.
///
/// A lone word that is no level would be taken as the name of a module, so that `level = "inof"`
/// logged everything of a module that does not exist, and nothing else.
pub(crate) fn check_filter(level: &str) -> Result<(), String> {
    for directive in level.split(',').map(str::trim) {
        let is_level = directive == "off" || Level::from_str(directive).is_ok();
        if !is_level && !directive.contains('=') {
            return Err(format!("`{directive}` is no level"));
        }
        Directive::from_str(directive).map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// The environment's filter, if it is one that can be understood, else the configuration's.
fn filter(log: &Log) -> EnvFilter {
    let chosen = std::env::var(ENVIRONMENT_VARIABLE).ok();
    let chosen = chosen.filter(|chosen| check_filter(chosen).is_ok());
    EnvFilter::new(chosen.as_deref().unwrap_or(&log.level))
}

fn writer<S>(format: Format) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> registry::LookupSpan<'span>,
{
    let lines = fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Text => {
            let colours = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            lines.compact().with_target(false).with_ansi(colours).boxed()
        }
        Format::Json => lines.json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_one_that_exists() {
        for level in ["info", "off", "warn,portolan_net=debug", "info, portolan_core::zone=trace"] {
            assert_eq!(check_filter(level), Ok(()), "{level}");
        }
        for level in ["inof", "", "info,", "portolan_net=loud", "debug;info"] {
            assert!(check_filter(level).is_err(), "{level}");
        }
    }
}
