//! What the access log says, of which requests, and where.
//!
//! **Invariant:** headers that hold secrets are written as they are only if asked for by name.

use std::{
    collections::BTreeMap,
    ops::RangeInclusive,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use http::{
    HeaderName,
    header::{AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE},
};
use jiff::{Timestamp, tz::TimeZone};
use time::UtcOffset;

use super::field::Fields;

/// The access log.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccessConfig {
    /// Where it is written; `None`: on standard output. Its folder is made if need be.
    pub file: Option<PathBuf>,
    /// In which form.
    pub format: AccessFormat,
    /// Of which requests.
    pub filters: AccessFilters,
    /// Which fields.
    pub fields: Fields,
    /// Which headers.
    pub headers: HeaderFields,
    /// Whether the query is left out of `RequestPath`.
    pub drop_query: bool,
    /// Whose local time `StartLocal` is in; `None`: UTC.
    pub zone: Option<TimeZone>,
}

impl AccessConfig {
    /// With local times of the system's zone: `TZ`, or else `/etc/localtime`.
    pub fn in_local_time(self) -> Self {
        Self { zone: Some(TimeZone::system()), ..self }
    }

    /// Whether a line may say how much of a request's time was ours.
    pub(in crate::http) fn tells_overhead(&self) -> bool {
        self.format == AccessFormat::Json
    }

    /// How far local time is ahead of UTC at a moment.
    pub(super) fn offset(&self, moment: SystemTime) -> UtcOffset {
        let at = || Timestamp::try_from(moment).ok();
        let zone = self.zone.as_ref().and_then(|zone| Some(zone.to_offset(at()?).seconds()));
        zone.and_then(|seconds| UtcOffset::from_whole_seconds(seconds).ok())
            .unwrap_or(UtcOffset::UTC)
    }
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum AccessFormat {
    /// The Common Log Format as Traefik extends it.
    #[default]
    Common,
    /// That format without what Traefik adds, as other servers have it.
    GenericClf,
    /// A JSON object with Traefik's keys.
    Json,
}

/// Which requests have a line: those that fit at least one filter; without a filter all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AccessFilters {
    /// Those with one of these statuses.
    pub status_codes: Vec<RangeInclusive<u16>>,
    /// Those that took more than one attempt.
    pub retry_attempts: bool,
    /// Those that took longer; zero: no filter.
    pub min_duration: Duration,
}

/// What becomes of a field or header.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Capture {
    /// It is written.
    Keep,
    /// It is left out.
    #[default]
    Drop,
    /// `REDACTED` is written.
    Redact,
}

/// Which headers are written. By default none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HeaderFields {
    /// What becomes of those that have no entry.
    pub default: Capture,
    /// What becomes of each.
    pub names: BTreeMap<String, Capture>,
}

impl AccessFilters {
    /// Whether a request has a line.
    pub(super) fn keeps(&self, status: u16, retries: u32, nanos: u64) -> bool {
        let Self { status_codes, retry_attempts, min_duration } = self;
        if status_codes.is_empty() && !retry_attempts && min_duration.is_zero() {
            return true;
        }
        status_codes.iter().any(|range| range.contains(&status))
            || *retry_attempts && retries > 0
            || !min_duration.is_zero() && u128::from(nanos) > min_duration.as_nanos()
    }
}

impl HeaderFields {
    /// Whether any header is written at all.
    pub(super) fn is_empty(&self) -> bool {
        self.default == Capture::Drop && self.names.values().all(|it| *it == Capture::Drop)
    }

    /// What becomes of a header.
    pub(super) fn of(&self, name: &HeaderName) -> Capture {
        match self.names.get(name.as_str()) {
            Some(capture) => *capture,
            None if self.default == Capture::Keep && is_secret(name) => Capture::Redact,
            None => self.default,
        }
    }
}

/// Headers that whoever reads a log should not be able to log in with.
pub(super) fn is_secret(name: &HeaderName) -> bool {
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE].contains(name)
}
