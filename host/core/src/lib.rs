//! What things are: names, facts, rules, routes, zones, and the snapshot that holds them.
//!
//! **Invariant:** nothing here touches a socket, a file, a clock or a task, so nothing here can
//! fail on the outside world. A file names only files that stand above it in this list.

pub mod roll;
pub mod name;
pub mod pointer;
pub mod problem;
pub mod metric;
pub mod figure;
pub mod reason;
pub mod limit;
pub mod moment;
pub mod item;
pub mod target;
pub mod exchange;
pub mod edit;
pub mod pattern;
pub mod rule;
pub mod throttle;
pub mod compress;
pub mod scheme;
pub mod policy;
pub mod standing;
pub mod backend;
pub mod balance;
pub mod service;
pub mod forward_auth;
pub mod hook;
pub mod middleware;
pub mod plan;
pub mod port;
pub mod matcher;
pub mod plugin;
pub mod router;
pub mod route;
pub mod explain;
pub mod zone;
pub mod declare;
pub mod catalog;
pub mod departed;
pub mod snapshot;
pub mod assemble;
pub mod live;
#[cfg(any(test, feature = "test-util"))]
pub mod test_util;
