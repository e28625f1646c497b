//! The subscriber: which log lines are shown, and in what form.
//!
//! **Invariant:** with `Format::Json` every line on stderr is one JSON object.

use std::{
    io::{self, IsTerminal as _},
    str::FromStr as _,
};

use tracing::Level;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::Directive,
    fmt::{self, MakeWriter},
    layer::SubscriberExt as _,
    registry::LookupSpan,
    reload,
    util::SubscriberInitExt as _,
};

use super::lines::Lines;

/// Takes the place of `log.level` for one run, such as `PORTOLAN_LOG=portolan_net=trace`.
const ENVIRONMENT_VARIABLE: &str = "PORTOLAN_LOG";

/// What is logged, and how.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Log {
    /// A level, or directives of `tracing-subscriber`: `info,portolan_net=debug`. A lone `debug` or
    /// `trace` is about Portolan itself.
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
    lines: Lines,
}

impl Telemetry {
    /// Installs the subscriber for the whole process. If there is one already, that stays.
    ///
    /// # Errors
    ///
    /// When the system refuses the thread that writes to stderr.
    pub(crate) fn start(log: &Log) -> io::Result<Self> {
        let (filter, handle) = reload::Layer::new(filter(log));
        let colours = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let queue = Lines::default();
        queue.write_to(io::stderr(), |lost| {
            tracing::warn!(lines = lost, "nobody read the log in time: lines are missing here");
        })?;
        let lines = lines(log.format, colours, queue.clone());
        if let Err(error) = Registry::default().with(filter).with(lines).try_init() {
            tracing::debug!(%error, "subscriber kept");
        }
        if let Some(Err(error)) = environment().map(|filter| check_filter(&filter)) {
            tracing::warn!(variable = ENVIRONMENT_VARIABLE, error, "log filter ignored");
        }
        Ok(Self { filter: handle, format: log.format, lines: queue })
    }

    /// For what is no event: it takes its turn among the lines of the log.
    pub(crate) fn lines(&self) -> Lines {
        self.lines.clone()
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

fn environment() -> Option<String> {
    std::env::var(ENVIRONMENT_VARIABLE).ok().filter(|filter| !filter.is_empty())
}

/// The environment's filter, if it can be understood, else the configuration's.
fn filter(log: &Log) -> EnvFilter {
    let chosen = environment().filter(|chosen| check_filter(chosen).is_ok());
    EnvFilter::new(of_ours(chosen.as_deref().unwrap_or(&log.level)))
}

/// Libraries that speak of what is none of the operator's business: rustls of clients, with whom
/// anybody could fill the log, notify of watches that are gone with what they watched.
const QUIET: &str = "rustls=error,notify=warn";

/// A lone `debug` or `trace` is about us: what the compiler of plugins has to say then would hide it.
fn of_ours(level: &str) -> String {
    let directive = |directive: &str| match Level::from_str(directive) {
        Ok(level) if level > Level::INFO => format!("info,{QUIET},portolan={level}"),
        Ok(level) if level > Level::ERROR => format!("{level},{QUIET}"),
        _ => directive.to_owned(),
    };
    level.split(',').map(|it| directive(it.trim())).collect::<Vec<_>>().join(",")
}

fn lines<S, W>(format: Format, colours: bool, writer: W) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'span> LookupSpan<'span>,
    W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer);
    match format {
        Format::Text => lines.compact().with_target(false).with_ansi(colours).boxed(),
        Format::Json => lines.json().flatten_event(true).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::{Ipv4Addr, SocketAddr},
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::telemetry::{Bound, Protocol, listening};

    #[test]
    fn a_level_is_one_that_exists() {
        for level in ["info", "off", "warn,portolan_net=debug", "info, portolan_core::zone=trace"] {
            assert_eq!(check_filter(level), Ok(()), "{level}");
        }
        for level in ["inof", "", "info,", "portolan_net=loud", "debug;info"] {
            assert!(check_filter(level).is_err(), "{level}");
        }
    }

    #[test]
    fn a_lone_level_is_about_us() {
        for (level, means) in [
            ("info", "INFO,rustls=error,notify=warn"),
            ("error", "error"),
            ("Debug", "info,rustls=error,notify=warn,portolan=DEBUG"),
            ("warn,h2=trace", "WARN,rustls=error,notify=warn,h2=trace"),
            ("trace, rustls=debug", "info,rustls=error,notify=warn,portolan=TRACE,rustls=debug"),
        ] {
            assert_eq!(of_ours(level), means);
        }
    }

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What one `listening` looks like.
    fn written(format: Format) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let lines = lines(format, false, move || writer.clone());
        tracing::subscriber::with_default(Registry::default().with(lines), || {
            let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), 8000);
            listening(&Bound { name: "web".to_owned(), protocol: Protocol::Http, address });
        });
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn listeners_are_announced_for_people() {
        let line = written(Format::Text);
        let expected = "INFO listening entrypoint=web address=127.0.0.1:8000 protocol=http\n";
        assert!(line.ends_with(expected), "{line}");
    }

    #[test]
    fn listeners_are_announced_for_machines() {
        let line: serde_json::Value = serde_json::from_str(&written(Format::Json)).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], "listening");
        assert_eq!(line["entrypoint"], "web");
        assert_eq!(line["address"], "127.0.0.1:8000");
        assert_eq!(line["protocol"], "http");
    }
}
