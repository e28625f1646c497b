//! What one worker writes with: lines go into its buffer, the buffer goes to the log.
//!
//! **Invariant:** lines leave in the order in which they were written, and none is kept longer than
//! [`PATIENCE`] while the worker lives, nor at all when it ends.

use std::{
    cell::{Cell, RefCell},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::{sync::Notify, time::sleep};

use super::{
    super::arrived::Arrived,
    common,
    config::{AccessConfig, AccessFormat},
    entry::{Ending, Entry, Side},
    json,
    log::{AccessLog, Chunk},
};

/// A buffer of so many bytes is handed over.
const FULL: usize = 32 * 1024;

/// How long a line may wait for others.
const PATIENCE: Duration = Duration::from_millis(100);

/// So many entries are kept to be used again.
const SPARE: usize = 64;

/// What one worker writes with.
#[derive(Debug)]
pub(crate) struct Pen {
    log: Arc<AccessLog>,
    chunk: RefCell<Chunk>,
    #[expect(
        clippy::vec_box,
        reason = "they go to accounts and back, and an account is moved often"
    )]
    spare: RefCell<Vec<Box<Entry>>>,
    /// Whether the first line of a buffer was announced.
    announced: Cell<bool>,
    written: Notify,
}

impl Pen {
    /// A pen for a log.
    pub(crate) fn new(log: Arc<AccessLog>) -> Self {
        Self {
            log,
            chunk: RefCell::default(),
            spare: RefCell::default(),
            announced: Cell::new(false),
            written: Notify::new(),
        }
    }

    /// What is written.
    pub(crate) fn config(&self) -> &AccessConfig {
        self.log.config()
    }

    /// An entry for a request that has just come.
    pub(crate) fn begin(&self, request: &Arrived) -> Box<Entry> {
        let mut entry = self.fresh();
        entry.method = request.method.clone();
        entry.version = request.version;
        let uri = &request.uri;
        match uri.path_and_query() {
            Some(target) => entry.target.push_str(target.as_str()),
            // `CONNECT host:port`
            None => entry.target.push_str(uri.authority().map_or("/", |it| it.as_str())),
        }
        let host = || request.headers.host();
        match uri.authority() {
            Some(authority) => entry.authority.push_str(authority.as_str()),
            None => entry.authority.push_str(&String::from_utf8_lossy(host().unwrap_or_default())),
        }
        entry.headers(Side::Request, &request.headers, &self.config().headers);
        entry
    }

    /// An entry for what could not be read as a request.
    pub(crate) fn begin_unread(&self) -> Box<Entry> {
        let mut entry = self.fresh();
        entry.is_unread = true;
        entry
    }

    fn fresh(&self) -> Box<Entry> {
        let spare = self.spare.borrow_mut().pop();
        let mut entry = spare.unwrap_or_else(|| Box::new(Entry::blank()));
        entry.start = SystemTime::now();
        entry.count = self.log.next_count();
        entry
    }

    /// Writes the line of a request that has ended.
    pub(crate) fn end(&self, mut entry: Box<Entry>, ending: &Ending<'_>) {
        let config = self.config();
        if config.filters.keeps(ending.status, ending.retries, ending.nanos) {
            let mut chunk = self.chunk.borrow_mut();
            match config.format {
                AccessFormat::Common | AccessFormat::GenericClf => {
                    common::write(&mut chunk.bytes, &entry, ending, config);
                }
                AccessFormat::Json => json::write(&mut chunk.bytes, &entry, ending, config),
            }
            chunk.lines += 1;
            let is_full = chunk.bytes.len() >= FULL;
            drop(chunk);
            if is_full {
                self.flush();
            } else if !self.announced.replace(true) {
                self.written.notify_one();
            }
        }
        entry.clear();
        let mut spare = self.spare.borrow_mut();
        if spare.len() < SPARE {
            spare.push(entry);
        }
    }

    /// Hands over what is written.
    pub(crate) fn flush(&self) {
        let chunk = self.chunk.take();
        if chunk.lines > 0 {
            self.log.take(chunk);
        }
    }

    /// Hands over lines that have waited long enough, for as long as the worker runs.
    pub(crate) async fn keep_flushing(&self) {
        loop {
            self.written.notified().await;
            sleep(PATIENCE).await;
            self.announced.set(false);
            self.flush();
        }
    }
}

impl Drop for Pen {
    fn drop(&mut self) {
        self.flush();
    }
}
