//! Why a request goes where it goes: what DNS says of its host, who looks at it, what is done to
//! it, and who may get it.
//!
//! **Invariant:** asking changes nothing: no plugin is called, no backend is chosen.
//!
//! Reading order: `shape` (what is told), `name` (DNS), `route` (who looks at it),
//! `throttle` (what is counted) and `middleware` (what one does, in words), `verdict` (what comes of it), `handshake` (what comes
//! before it), `hashed` and `share` (who of a service answers), `build`, then what the command line needs: `ask` and `print`.

mod shape;

mod name;

mod route;

mod throttle;

mod middleware;

mod verdict;

mod handshake;

mod hashed;

mod share;

mod build;

pub(crate) mod ask;

pub(crate) mod print;

pub(crate) use build::explain;
pub(crate) use middleware::does;
pub(crate) use name::record;
pub(crate) use shape::{
    BackendShare, Candidate, Explanation, Handshake, NameAnswer, NameOutcome, Outcome, Place,
    Question, Record, ServiceShare, Step,
};
