//! `check` and `plugins`, as far as they need no running process.

mod ground;

use std::path::PathBuf;

use portolan_core::{live::live, problem::Problem, snapshot::Snapshot};
use portolan_net::tls::Keyring;
use serde_json::Value;

use super::{control_runtime, embedded::PLUGINS, host};
use crate::{
    admin,
    compiler::Processes,
    config::{Config, Loaded, Place, Report},
    control::{
        inputs::blame,
        preview::{Preview, preview},
    },
};

/// Adds to a report what only shows when plugins are loaded and everything is put together.
pub(crate) fn check(loaded: &mut Loaded) -> anyhow::Result<()> {
    let preview = look(loaded)?;
    let report = &mut loaded.report;
    for (pointer, problem) in ground::problems(&loaded.config) {
        report.add(Place::Pointer(&pointer), problem);
    }
    blame(report, preview.snapshot.problems.iter());
    let is_of_files = |problem: &&Problem| preview.read.iter().any(|it| **it == *problem.source);
    for problem in preview.snapshot.problems.iter().filter(is_of_files) {
        report.add(Place::Elsewhere, problem.clone());
    }
    for (pointer, problem) in preview.provider_problems {
        report.add(Place::Pointer(&pointer), problem);
    }
    for problem in preview.board.problems {
        report.add(Place::Elsewhere, problem);
    }
    let config = &loaded.config;
    let encrypted = config.entrypoints.iter();
    let encrypted = encrypted.filter_map(|it| Some((it.name.as_str().into(), it.tls.clone()?)));
    let (mut publisher, live) = live(Snapshot::default());
    publisher.publish(preview.snapshot.clone());
    for problem in Keyring::preview(config.tls.clone(), encrypted.collect(), live)? {
        let pointer = problem.path.clone();
        let place = if pointer.is_empty() { Place::Elsewhere } else { Place::Pointer(&pointer) };
        report.add(place, problem);
    }
    add_zone_problems(report, preview.snapshot.problems.iter());
    Ok(())
}

fn add_zone_problems<'a>(report: &mut Report, problems: impl Iterator<Item = &'a Problem>) {
    for problem in problems.filter(|problem| problem.source == "dns") {
        let pointer = problem.path.clone();
        report.add(Place::Pointer(&pointer), problem.clone());
    }
}

/// The plugins that this configuration would load, as `/api/plugins` tells them.
pub(crate) fn plugins(loaded: &Loaded) -> anyhow::Result<Value> {
    let preview = look(loaded)?;
    Ok(admin::plugins(&preview.board)?)
}

/// The file that tells which address the admin API of a running process was bound to.
pub(crate) fn address_file(config: &Config) -> PathBuf {
    config.data_dir.join("admin.address")
}

fn look(loaded: &Loaded) -> anyhow::Result<Preview> {
    let host = host(&loaded.config, &Processes::new())?;
    Ok(control_runtime()?.block_on(preview(loaded, host, PLUGINS)))
}
