//! The `portolan` process: read the config, start, wait for a signal, drain.

mod admin;
mod control;
mod telemetry;

fn main() {}
