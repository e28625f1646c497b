//! The command line.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    path::PathBuf,
};

use clap::{Parser, Subcommand};

/// DNS and HTTP routing for a cluster, from one catalog, in one binary.
///
/// Reads services from Consul and from files, answers DNS for them, routes HTTP to them, and is
/// extended by WebAssembly plugins.
#[derive(Clone, Debug, PartialEq, Parser)]
#[command(name = "portolan", version, max_term_width = 100, after_help = EXAMPLES)]
pub(crate) struct Args {
    /// What to do; `run` if absent.
    #[command(subcommand)]
    command: Option<Command>,

    /// Use this configuration file.
    ///
    /// Without it: the file that PORTOLAN_CONFIG names, else config/config.toml, else
    /// /etc/portolan/config.toml, else a default within the program, which serves on loopback.
    #[arg(long, short, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

impl Args {
    /// What to do.
    pub(crate) fn command(self) -> Command {
        self.command.unwrap_or(Command::Run)
    }
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub(crate) enum Command {
    /// Serve until a signal ends it (the default)
    ///
    /// SIGTERM and SIGINT drain: after `drain.accept` (at once, by default) no new connection is
    /// accepted, open requests are finished within `drain.timeout`, and the exit code is 0. Another
    /// one goes on to what comes next: it drains, or ends at once. SIGHUP reads
    /// configuration and plugins again. PORTOLAN_LOG takes the place of `log.level`.
    Run,

    /// Check a configuration and show every problem at its line
    ///
    /// Does everything that a start does, but opens no socket. The exit code is 0 if all is well,
    /// 2 if there are errors.
    Check,

    /// Ask a running instance whether it is well: exit code 0 if it is, 1 if not
    ///
    /// Asks `/ping` where the configuration has its admin API, and says in one line what came of it.
    /// Not well is also one that was asked to end. What is wrong elsewhere in the configuration is no
    /// matter. For images without a shell, as `traefik healthcheck`.
    Healthcheck(Healthcheck),

    /// List the plugins: kind, version, hash, what they import and what they are granted
    Plugins(Plugins),

    /// Show the root certificate of the local authority, for devices that shall trust it
    ///
    /// Prints its file, its fingerprint (SHA-256) and until when it is good. `portolan ca export`
    /// writes the certificate itself. The key of the authority stays where it is.
    #[command(after_help = CA_EXAMPLES)]
    Ca(Ca),

    /// Say what a running instance would do with a request, and why
    ///
    /// Shows the DNS answer for the host, each router that came into question and why it matches or
    /// not, the middlewares in order, and the backend. Sends nothing to the backend.
    #[command(after_help = EXPLAIN_EXAMPLES)]
    Explain(Explain),

    /// Print the configuration that does what another program's does
    Import(Import),

    /// Compile the plugin in standard input to standard output: what this program starts itself for
    #[command(hide = true)]
    CompilePlugin,
}

/// `portolan plugins`
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct Plugins {
    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

/// `portolan healthcheck`
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct Healthcheck {
    /// Where the running instance has its admin API; by default, where the configuration says.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_admin)]
    pub(crate) admin: Option<SocketAddr>,

    /// Changes nothing: Traefik has to be told that there is a `/ping`, and scripts do tell.
    #[arg(long, hide = true, num_args = 0..=1, require_equals = true, default_missing_value = "")]
    pub(crate) ping: Option<String>,
}

/// `portolan import`
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct Import {
    /// Whose configuration it is.
    #[command(subcommand)]
    pub(crate) from: ImportFrom,
}

/// Whose configuration is read.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub(crate) enum ImportFrom {
    /// Read files of dnsmasq
    ///
    /// Prints `[dns]` for config.toml on standard output, each key with the line that it comes
    /// from, and on standard error every line that could not be taken, with why and what to do
    /// instead. Files that a file names (`conf-file`, `conf-dir`) are read too.
    Dnsmasq {
        /// Such as /etc/dnsmasq.conf.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
}

/// `portolan ca`
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct Ca {
    /// What to do; without it, show what there is.
    #[command(subcommand)]
    pub(crate) command: Option<CaCommand>,
}

/// What to do with the root certificate.
#[derive(Clone, Debug, PartialEq, Subcommand)]
pub(crate) enum CaCommand {
    /// Write the root certificate
    Export(CaExport),
}

/// `portolan ca export`
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct CaExport {
    /// In DER, as Windows and Android like it; without it, in PEM.
    #[arg(long)]
    pub(crate) der: bool,

    /// Where to; without it, or as `-`, to standard output.
    #[arg(value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
}

/// `portolan explain`
#[derive(Clone, Debug, PartialEq, clap::Args)]
pub(crate) struct Explain {
    /// GET, POST, ...
    #[arg(value_parser = parse_method)]
    pub(crate) method: http::Method,

    /// With scheme and host, as a browser would be given it.
    #[arg(value_parser = parse_url)]
    pub(crate) url: http::Uri,

    /// A header of the request; may be repeated.
    #[arg(long = "header", short = 'H', value_name = "NAME: VALUE", value_parser = parse_header)]
    pub(crate) headers: Vec<(http::HeaderName, http::HeaderValue)>,

    /// Where the running instance has its admin API; by default, where the configuration says.
    #[arg(long, value_name = "ADDRESS", value_parser = parse_admin)]
    pub(crate) admin: Option<SocketAddr>,

    /// Print JSON.
    #[arg(long)]
    pub(crate) json: bool,
}

const EXAMPLES: &str = "\
Examples:
  portolan                                        serve with the usual configuration
  portolan check --config new.toml                before it replaces the old one
  portolan explain GET http://grafana.local/      who answers this, and why?
  PORTOLAN_LOG=debug portolan                     explain each request in the log";

const CA_EXAMPLES: &str = "\
Examples:
  portolan ca                              which file, which fingerprint
  portolan ca export portolan.crt          in PEM
  portolan ca export --der portolan.cer    in DER";

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  portolan explain GET http://grafana.local/
  portolan explain POST https://api.local/v1/users -H 'x-canary: yes'
  portolan explain GET http://grafana.local/ --admin 10.0.0.7:8080";

fn parse_method(text: &str) -> Result<http::Method, String> {
    // Methods are case-sensitive (RFC 9110, 9.1), but nobody means `get` by `get`.
    let method = text.to_ascii_uppercase().parse();
    method.map_err(|error: http::method::InvalidMethod| {
        format!("{error}: a method is a word such as GET")
    })
}

fn parse_url(text: &str) -> Result<http::Uri, String> {
    if !["http://", "https://"].iter().any(|scheme| text.starts_with(scheme)) {
        let advice = format!("scheme and host are needed, as in http://{}", text.trim_matches('/'));
        return Err(advice);
    }
    portolan_core::target::read_url(text)
}

/// An address, or a name that has one, with a port.
fn parse_admin(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map(Vec::from_iter).map_err(|error| {
        format!("{error}: an address with a port is needed, as in 127.0.0.1:8080")
    })?;
    // `localhost` has two; the admin API listens on the one of IPv4 unless it is told otherwise.
    let first = found.iter().find(|it| it.is_ipv4()).or_else(|| found.first());
    first.copied().ok_or_else(|| "it has no address".to_owned())
}

fn parse_header(text: &str) -> Result<(http::HeaderName, http::HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a header is written `name: value`")?;
    let name = name.trim().parse().map_err(|error| format!("the name: {error}"))?;
    let value = value.trim().parse().map_err(|error| format!("the value: {error}"))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::try_parse_from(line.split(' ')).map_err(|error| error.to_string())
    }

    fn command(line: &str) -> Command {
        parse(line).unwrap().command()
    }

    #[test]
    fn the_definition_is_consistent() {
        <Args as CommandFactory>::command().debug_assert();
    }

    #[test]
    fn run_is_what_happens_when_nothing_is_said() {
        assert_eq!(command("portolan"), Command::Run);
        assert_eq!(command("portolan run"), Command::Run);
    }

    #[test]
    fn the_file_may_be_named_before_and_after_the_command() {
        for line in [
            "portolan --config a.toml",
            "portolan run --config a.toml",
            "portolan --config a.toml check",
            "portolan plugins -c a.toml",
        ] {
            assert_eq!(parse(line).unwrap().config, Some("a.toml".into()), "{line}");
        }
    }

    #[test]
    fn health_is_asked_for_as_of_traefik() {
        for line in ["portolan healthcheck", "portolan healthcheck --ping"] {
            assert!(matches!(command(line), Command::Healthcheck(_)), "{line}");
        }
        let line = "portolan healthcheck --ping=true --admin 127.0.0.1:81 -c a.toml";
        let Command::Healthcheck(healthcheck) = command(line) else { panic!("another command") };
        assert_eq!(healthcheck.admin, Some(([127, 0, 0, 1], 81).into()));
    }

    #[test]
    fn explain_takes_a_request_apart() {
        let Command::Explain(explain) = command(
            "portolan explain get http://a.local/x<y -H x-a:1 --header x-b:2 --admin localhost:81",
        ) else {
            panic!("another command");
        };
        assert_eq!(explain.method, http::Method::GET);
        assert_eq!(explain.url, "http://a.local/x%3Cy");
        assert!(explain.admin.is_some_and(|it| it.ip().is_loopback() && it.port() == 81));
        let headers: Vec<_> = explain.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(headers, ["x-a", "x-b"]);
    }

    #[test]
    fn the_root_certificate_is_shown_or_written() {
        assert_eq!(command("portolan ca"), Command::Ca(Ca { command: None }));
        let export = CaExport { der: true, file: Some("root.cer".into()) };
        let wanted = Command::Ca(Ca { command: Some(CaCommand::Export(export)) });
        assert_eq!(command("portolan ca export --der root.cer"), wanted);
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_advice() {
        for (line, advice) in [
            ("portolan explain GET grafana.local", "as in http://grafana.local"),
            ("portolan explain GET /path", "scheme and host are needed"),
            ("portolan explain GET http://ünï.x/", "punycode"),
            ("portolan explain GET http://a/ --admin localhost", "with a port"),
            ("portolan explain G@T http://a/", "a method is a word such as GET"),
            ("portolan explain GET http://a/ -H nonsense", "name: value"),
            ("portolan chekc", "check"),
        ] {
            let error = parse(line).unwrap_err();
            assert!(error.contains(advice), "{line}: {error}");
        }
    }
}
