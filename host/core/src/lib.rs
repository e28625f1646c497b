//! What things are: names, facts, rules, routes, zones, and the snapshot that holds them.
//!
//! **Invariant:** nothing here touches a socket, a file, a clock or a task, so nothing here can
//! fail on the outside world. A file names only files that stand above it in this list.

pub mod balance;
pub mod exchange;
pub mod figure;
pub mod item;
pub mod live;
pub mod metric;
pub mod middleware;
pub mod name;
pub mod plugin;
pub mod port;
pub mod problem;
pub mod route;
pub mod router;
pub mod rule;
pub mod service;
pub mod snapshot;
pub mod zone;
