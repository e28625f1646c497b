//! Problems, from wherever they come, in one list.

use std::collections::BTreeSet;

use portolan_core::{
    problem::{Problem, Severity},
    snapshot::Snapshot,
};
use serde::Serialize;

use crate::control::board::Board;

/// An item of `/api/problems`.
#[derive(Debug, Serialize)]
pub(crate) struct ProblemView<'a> {
    severity: &'static str,
    source: &'a str,
    origin: &'a str,
    path: &'a str,
    message: &'a str,
    hint: Option<&'a str>,
}

impl<'a> ProblemView<'a> {
    /// How a problem looks.
    pub(crate) fn of(problem: &'a Problem) -> Self {
        Self {
            severity: severity(problem),
            source: &problem.source,
            origin: &problem.origin,
            path: &problem.path,
            message: &problem.message,
            hint: problem.hint.as_deref(),
        }
    }
}

/// `error` or `warning`.
pub(crate) fn severity(problem: &Problem) -> &'static str {
    match problem.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
    }
}

/// Every problem once: errors first, then by source and origin.
pub(crate) fn all_problems<'a>(snapshot: &'a Snapshot, board: &'a Board) -> BTreeSet<&'a Problem> {
    snapshot.problems.iter().chain(&board.problems).collect()
}
