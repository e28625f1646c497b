//! The `portolan` process: read the config, start, wait for a signal, drain.

mod control;

fn main() {}
