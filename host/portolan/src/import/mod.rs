//! `portolan import dnsmasq`: the configuration of dnsmasq, as ours.
//!
//! Reading order: `lines` reads files as dnsmasq does, `options` and `records` say what each line
//! means to us, [`plan`] is what they add up to, `settle` ends it, `output` writes it as TOML.
//!
//! **Invariant:** a line is taken or told: nothing is dropped without a word.

mod lines;
mod options;
mod output;
mod plan;
mod records;
mod settle;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use plan::Plan;

/// Prints what does the same on standard output, and what could not be taken on standard error.
pub(crate) fn dnsmasq(files: &[PathBuf]) -> anyhow::Result<ExitCode> {
    let plan = read(files)?;
    io::stdout().lock().write_all(output::toml(&plan).as_bytes())?;
    let mut told = io::stderr().lock();
    for left in &plan.left {
        writeln!(told, "{}: `{}`: {}", left.place, left.text, left.why)?;
    }
    if !plan.left.is_empty() {
        let noun = if plan.left.len() == 1 { "line" } else { "lines" };
        writeln!(told, "{} {noun} not taken as they are; see above", plan.left.len())?;
    }
    Ok(ExitCode::SUCCESS)
}

fn read(files: &[PathBuf]) -> anyhow::Result<Plan> {
    let mut plan = Plan::default();
    for file in files {
        for line in lines::read(file)? {
            options::take(&line, &mut plan);
        }
    }
    settle::settle(&mut plan);
    Ok(plan)
}

#[cfg(test)]
mod tests;
