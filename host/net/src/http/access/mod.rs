//! The access log: one line for each request, written when its response has ended.
//!
//! A worker writes its lines into a buffer of its own ([`Pen`]); full buffers, and those that are old
//! enough, go to the one thread that holds the file ([`AccessLog`]).
//!
//! **Invariant:** no request ever waits for the log. When the file is too slow, lines are dropped and
//! counted. Without an access log, nothing of this is touched.
//!
//! Reading order: `config` (what is written), `field` (the fields of a line), `entry` (one request),
//! `text` (characters that are safe in a line), `common` and `json` (the two forms), `pen`, `log`.

mod config;
mod field;
mod entry;
mod text;
mod common;
mod json;
mod pen;
mod log;

#[cfg(test)]
mod tests;

pub use self::{
    config::{AccessConfig, AccessFilters, AccessFormat, Capture, HeaderFields},
    field::{Field, Fields},
    log::AccessLog,
};
pub(crate) use self::{
    entry::{Ending, Entry, OriginEnding, Side},
    pen::Pen,
};
