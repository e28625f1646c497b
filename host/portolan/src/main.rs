//! The `portolan` process: read the config, start, wait for a signal, drain.

#![expect(dead_code, unused_imports, reason = "the rooms are wired together elsewhere")]

mod admin;
mod control;
mod telemetry;

mod args;
mod config;
mod control;
mod signal;
mod telemetry;

use std::{io::Write as _, process::ExitCode};

use clap::Parser as _;

use args::{Args, Command};

/// The configuration, or an argument, is wrong. What clap uses as well.
const EXIT_WRONG: u8 = 2;

fn main() -> ExitCode {
    let args = Args::parse();
    let file = args.config.clone();
    let loaded = match config::load(file.as_deref()) {
        Ok(loaded) => loaded,
        Err(report) => return refuse(&report),
    };
    match args.command() {
        Command::Check => check(&loaded),
        Command::Run | Command::Plugins(_) | Command::Explain(_) => ExitCode::SUCCESS,
    }
}

fn check(loaded: &config::Loaded) -> ExitCode {
    if loaded.report.has_errors() {
        return refuse(&loaded.report);
    }
    let mut stdout = std::io::stdout();
    if !loaded.report.is_empty() {
        let colour = config::Colour::of(&stdout);
        stdout.write_all(loaded.report.render(colour).as_bytes()).ok();
    }
    writeln!(stdout, "{}", loaded.summary()).ok();
    ExitCode::SUCCESS
}

/// Every problem, each at its line.
fn refuse(report: &config::Report) -> ExitCode {
    let mut stderr = std::io::stderr();
    let colour = config::Colour::of(&stderr);
    stderr.write_all(report.render(colour).as_bytes()).ok();
    ExitCode::from(EXIT_WRONG)
}
