//! What the promises are proved with: the real binary, a real Consul, real sockets.

mod authority;
mod backend;
mod client;
mod consul;
mod pebble;
mod program;
mod portolan;
mod resolver;
mod stumbling;

use std::{
    fmt::Debug,
    future::Future,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

pub(crate) use authority::Authority;
pub(crate) use backend::Backend;
pub(crate) use client::{Answer, Client, Own, encrypted, request, request_with};
pub(crate) use consul::{Consul, Registration, free_ports};
pub(crate) use pebble::{Harbour, Pebble};
pub(crate) use portolan::{Config, Portolan, run};
pub(crate) use program::package;
pub(crate) use resolver::{Reply, Resolver, question, reply};
pub(crate) use stumbling::Stumbling;

/// How long anything may take before a test gives up: long, since machines are slow, and never
/// waited for when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Asks until the answer is as wanted; gives up after [`PATIENCE`] and shows the last answer.
pub(crate) async fn eventually<T, F>(mut ask: impl FnMut() -> F, wanted: impl Fn(&T) -> bool) -> T
where
    T: Debug,
    F: Future<Output = T>,
{
    let begun = Instant::now();
    loop {
        let answer = ask().await;
        if wanted(&answer) {
            return answer;
        }
        assert!(begun.elapsed() < PATIENCE, "it never came to pass; the last answer: {answer:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A folder of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// A component that was built from `tests/guests` or `plugins`.
pub(crate) fn guest(name: &str) -> Vec<u8> {
    let folders = ["tests/guests/dist", "plugins/dist"];
    let found = folders
        .iter()
        .find_map(|folder| std::fs::read(repository(folder).join(format!("{name}.wasm"))).ok());
    found.unwrap_or_else(|| panic!("there is no guest `{name}`"))
}

/// Where what is dear is kept between runs: a fetched Consul, compiled guests.
pub(crate) fn store(name: &str) -> PathBuf {
    let store = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&store).unwrap();
    store
}
