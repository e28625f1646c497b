//! The `portolan` process: read the configuration, do what the command line says.

mod admin;
mod app;
mod args;
mod compiler;
mod config;
mod control;
mod import;
mod signal;
mod telemetry;

use std::{
    io::{self, Write as _},
    process::ExitCode,
};

use anyhow::Context as _;
use clap::Parser as _;

use args::{Args, Command, Healthcheck, Import, ImportFrom};
use config::{Colour, Loaded, Report};

/// Many small allocations on many threads: what it is made for.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives back to the system what this thread, and others that have ended, freed.
#[expect(unsafe_code, reason = "the allocator has no other door")]
fn give_memory_back() {
    // SAFETY: it may be called at any time, from any thread that allocates by `ALLOCATOR`.
    unsafe { libmimalloc_sys::mi_collect(true) }
}

/// The configuration, or an argument, is wrong. What clap uses as well.
const EXIT_WRONG: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let file = args.config.clone();
    let file = file.as_deref();
    let done = match args.command() {
        Command::Run => with(config::load(file), app::run),
        // Even what has errors: the rest of it is to be checked too.
        Command::Check => with(config::inspect(file), check),
        // Who is told where to ask needs no configuration; else what has errors may say it too: the
        // process goes on with what it had before.
        Command::Healthcheck(Healthcheck { admin: Some(address), .. }) => app::ask::health(address),
        Command::Healthcheck(_) => match config::inspect(file) {
            Ok(loaded) => app::ask::health_of(&loaded.config),
            Err(report) => {
                show(&report, &mut io::stderr(), Colour::of(&io::stderr()));
                Ok(ExitCode::FAILURE)
            }
        },
        Command::Plugins(plugins) => {
            with(config::load(file), |loaded| app::ask::plugins(&loaded, plugins.json))
        }
        Command::Explain(explain) => {
            with(config::load(file), |loaded| app::ask::explain(&loaded, &explain))
        }
        Command::Ca(ca) => {
            with(config::load(file), |loaded| app::ca::run(&loaded.config, ca.command))
        }
        Command::Import(Import { from: ImportFrom::Dnsmasq { files } }) => import::dnsmasq(&files),
        Command::CompilePlugin => Ok(compiler::run()),
    };
    done.unwrap_or_else(|error| {
        // Nobody reads it: the exit code says it too.
        drop(writeln!(io::stderr(), "error: {error:#}"));
        ExitCode::FAILURE
    })
}

/// Goes on with a configuration, or says what is wrong with it.
fn with(
    loaded: Result<Loaded, Report>,
    act: impl FnOnce(Loaded) -> anyhow::Result<ExitCode>,
) -> anyhow::Result<ExitCode> {
    match loaded {
        Ok(loaded) => act(loaded),
        Err(report) => {
            show(&report, &mut io::stderr(), Colour::of(&io::stderr()));
            Ok(ExitCode::from(EXIT_WRONG))
        }
    }
}

fn check(mut loaded: Loaded) -> anyhow::Result<ExitCode> {
    app::offline::check(&mut loaded)?;
    if loaded.report.has_errors() {
        show(&loaded.report, &mut io::stderr(), Colour::of(&io::stderr()));
        return Ok(ExitCode::from(EXIT_WRONG));
    }
    let mut stdout = io::stdout();
    if !loaded.report.is_empty() {
        show(&loaded.report, &mut stdout, Colour::of(&io::stdout()));
    }
    writeln!(stdout, "{}", loaded.summary()).context("cannot write")?;
    Ok(ExitCode::SUCCESS)
}

/// Every problem, each at its line.
fn show(report: &Report, to: &mut dyn io::Write, colour: Colour) {
    // Nobody reads it: the exit code says it too.
    drop(to.write_all(report.render(colour).as_bytes()));
}
