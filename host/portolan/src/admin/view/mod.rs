//! How things look in JSON. Core types are never serialised: these shapes are a promise to tools,
//! and those types are free to change.
//!
//! **Invariant:** where Traefik's API has the thing, the keys are Traefik's, and what we add to it
//! stands under one more key, `portolan`.

pub(super) mod certificate;

pub(super) mod figures;

mod load_balancer;

pub(super) mod entrypoint;

pub(super) mod http;

pub(super) mod service;

pub(super) mod overview;

pub(super) mod plugin;

pub(super) mod provider;

pub(super) mod problem;

pub(super) mod upstream;

use std::time::SystemTime;

use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// A moment as RFC 3339 in UTC, to the millisecond.
pub(super) fn stamp(time: SystemTime) -> String {
    let moment = OffsetDateTime::from(time);
    let millis = moment.replace_millisecond(moment.millisecond()).unwrap_or(moment);
    // Only years beyond 9999 have no such form.
    millis.format(&Rfc3339).unwrap_or_default()
}

/// Milliseconds since a moment; 0 when it lies ahead.
pub(super) fn age(since: SystemTime) -> u64 {
    since.elapsed().map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(u64::MAX))
}
