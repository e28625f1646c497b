//! `portolan ca`: the root certificate of the local authority, for devices that shall trust it.
//!
//! **Invariant:** nothing but the certificate leaves the folder; the key is not even read.

use std::{
    fs,
    io::{self, Write as _},
    path::Path,
    process::ExitCode,
    time::SystemTime,
};

use anyhow::Context as _;
use portolan_net::tls::{Root, RootFlaw};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    args::{CaCommand, CaExport},
    config::Config,
};

/// Shows the root certificate, or writes it.
pub(crate) fn run(config: &Config, command: Option<CaCommand>) -> anyhow::Result<ExitCode> {
    let directory = config.data_dir.join("ca");
    let Some(root) = Root::read(&directory)? else {
        anyhow::bail!(
            "there is no local authority in {} yet: it is made when an entrypoint with `tls` is \
             opened for the first time",
            directory.display()
        );
    };
    match command {
        None => show(&root)?,
        Some(CaCommand::Export(CaExport { der, file })) => {
            let bytes = if der { root.der.as_slice() } else { root.pem.as_bytes() };
            match file.filter(|file| file != Path::new("-")) {
                Some(file) => fs::write(&file, bytes)
                    .with_context(|| format!("cannot write {}", file.display()))?,
                None => io::stdout().write_all(bytes).context("cannot write")?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn show(root: &Root) -> anyhow::Result<()> {
    let facts = &root.facts;
    let stamp = |moment| OffsetDateTime::from(moment).format(&Rfc3339).unwrap_or_default();
    let mut out = io::stdout();
    let lines = [
        ("file", root.file.display().to_string()),
        ("subject", facts.common_name.clone()),
        ("sha-256", grouped(&root.fingerprint)),
        ("good from", stamp(facts.not_before)),
        ("good until", stamp(facts.not_after)),
    ];
    for (term, text) in lines {
        writeln!(out, "{term:<11} {text}").context("cannot write")?;
    }
    let flaw = match root.flaw(SystemTime::now()) {
        Some(RootFlaw::NoAuthority) => {
            "it says of itself that it is no authority: no device takes what it signs"
        }
        Some(RootFlaw::Ended(_)) => "its time is over: no device takes what it signs",
        Some(RootFlaw::EndsSoon(_)) => {
            "it ends soon: another one must be made, and trusted by devices"
        }
        None => return Ok(()),
    };
    writeln!(out, "{:<11} {flaw}", "warning").context("cannot write")
}

/// `AB:CD:…`, as browsers and systems show fingerprints.
fn grouped(hex: &str) -> String {
    let pairs = hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).to_uppercase());
    pairs.collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use super::grouped;

    #[test]
    fn fingerprints_look_as_browsers_show_them() {
        assert_eq!(grouped("00ff1a"), "00:FF:1A");
    }
}
