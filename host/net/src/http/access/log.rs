//! The thread that holds the file of the access log.
//!
//! **Invariant:** a line that was taken is written, also across a rotation and at the end; one that is
//! not is counted. Whoever hands lines over never waits.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use portolan_core::figure::Counter;

use super::config::AccessConfig;

/// So many buffers may wait to be written.
const WAITING: usize = 256;

/// Some lines.
#[derive(Debug, Default)]
pub(super) struct Chunk {
    pub(super) bytes: Vec<u8>,
    pub(super) lines: u64,
}

/// What the thread is told.
enum Message {
    Lines(Chunk),
    /// Look whether the file is to be opened again.
    Look,
    /// Nothing comes after this.
    End,
}

/// The access log of the process.
#[derive(Debug)]
pub struct AccessLog {
    config: AccessConfig,
    requests: AtomicU64,
    sender: SyncSender<Message>,
    thread: Mutex<Option<JoinHandle<()>>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    dropped: Counter,
    reopen: AtomicBool,
}

/// Where lines go.
enum Place {
    Stdout,
    File(File),
}

struct Writer {
    config: AccessConfig,
    place: Place,
    shared: Arc<Shared>,
    /// Whether the last write failed: that is said once.
    is_failing: bool,
    /// Whether what was written last is the beginning of a line.
    is_torn: bool,
}

impl AccessLog {
    /// Opens the file, to write behind what is there, and starts the thread.
    ///
    /// # Errors
    ///
    /// When the file cannot be opened, or the system refuses a thread.
    pub fn open(config: AccessConfig) -> io::Result<Arc<Self>> {
        let place = Place::open(config.file.as_deref())?;
        Self::write_to(config, place)
    }

    fn write_to(config: AccessConfig, place: Place) -> io::Result<Arc<Self>> {
        let shared = Arc::<Shared>::default();
        let (sender, receiver) = sync_channel(WAITING);
        let writer = Writer {
            config: config.clone(),
            place,
            shared: shared.clone(),
            is_failing: false,
            is_torn: false,
        };
        let thread =
            thread::Builder::new().name("access-log".to_owned()).spawn(|| writer.run(receiver))?;
        Ok(Arc::new(Self {
            config,
            requests: AtomicU64::new(0),
            sender,
            thread: Mutex::new(Some(thread)),
            shared,
        }))
    }

    /// What is written.
    pub fn config(&self) -> &AccessConfig {
        &self.config
    }

    /// Lines that were lost so far.
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.value()
    }

    /// Opens the file again, by its name: it was moved away, to be replaced by a new one. Lines that
    /// were handed over and not written yet go to the new one.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Relaxed);
        // Where there is no room, there is something to write, and it looks after that.
        drop(self.sender.try_send(Message::Look));
    }

    /// Writes what was handed over, and ends. What comes later is counted as lost.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(thread) = thread else { return };
        if self.sender.send(Message::End).is_ok() && thread.join().is_err() {
            tracing::error!("the thread of the access log panicked");
        }
    }

    pub(super) fn next_count(&self) -> u64 {
        self.requests.fetch_add(1, Relaxed) + 1
    }

    pub(super) fn take(&self, chunk: Chunk) {
        let refused = match self.sender.try_send(Message::Lines(chunk)) {
            Ok(()) => return,
            Err(TrySendError::Full(message) | TrySendError::Disconnected(message)) => message,
        };
        if let Message::Lines(chunk) = refused {
            self.shared.dropped.add(chunk.lines);
        }
    }
}

impl Writer {
    fn run(mut self, receiver: Receiver<Message>) {
        for message in receiver {
            if self.shared.reopen.swap(false, Relaxed) {
                self.reopen();
            }
            match message {
                Message::Lines(chunk) => self.write(&chunk),
                Message::Look => {}
                Message::End => break,
            }
        }
    }

    fn write(&mut self, chunk: &Chunk) {
        if std::mem::take(&mut self.is_torn) {
            // The next line shall be one again.
            self.is_torn = self.place.write(b"\n").1.is_err();
        }
        let (written, outcome) = match self.is_torn {
            true => (0, Err(io::ErrorKind::StorageFull.into())),
            false => self.place.write(&chunk.bytes),
        };
        match outcome {
            Ok(()) => self.is_failing = false,
            Err(error) => {
                let (there, lost) = chunk.bytes.split_at_checked(written).unwrap_or_default();
                self.is_torn |= there.last().is_some_and(|last| *last != b'\n');
                self.shared.dropped.add(memchr::memchr_iter(b'\n', lost).count() as u64);
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(%error, "access log not written");
                }
            }
        }
    }

    fn reopen(&mut self) {
        match Place::open(self.config.file.as_deref()) {
            Ok(place) => (self.place, self.is_torn) = (place, false),
            Err(error) => {
                tracing::error!(%error, "access log not opened again, the old file goes on")
            }
        }
    }
}

impl Place {
    fn open(file: Option<&Path>) -> io::Result<Self> {
        let Some(file) = file else { return Ok(Self::Stdout) };
        if let Some(folder) = file.parent() {
            fs::create_dir_all(folder)?;
        }
        OpenOptions::new().create(true).append(true).open(file).map(Self::File)
    }

    /// Writes as far as that goes; answers how far, and why no further.
    fn write(&mut self, bytes: &[u8]) -> (usize, io::Result<()>) {
        match self {
            Self::File(file) => write_to(file, bytes),
            Self::Stdout => {
                let mut out = io::stdout().lock();
                let (written, outcome) = write_to(&mut out, bytes);
                (written, outcome.and_then(|()| out.flush()))
            }
        }
    }
}

fn write_to(out: &mut impl io::Write, bytes: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, Ok(()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with so much room.
    struct Disk(Vec<u8>, usize);

    impl io::Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = self.1.saturating_sub(self.0.len()).min(bytes.len());
            self.0.extend_from_slice(&bytes[..room]);
            if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { Ok(room) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_took_is_known() {
        let mut disk = Disk(Vec::new(), 8);
        let (written, outcome) = write_to(&mut disk, b"one\ntwo\nthree\n");
        assert_eq!((written, outcome.unwrap_err().kind()), (8, io::ErrorKind::StorageFull));
        assert_eq!(disk.0, b"one\ntwo\n");
        assert!(write_to(&mut Disk(Vec::new(), 99), b"one\n").1.is_ok());
    }

    #[test]
    fn a_line_after_half_of_one_is_a_line() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("log");
        fs::write(&file, "{\"half").unwrap();
        let place = Place::open(Some(&file)).unwrap();
        let config = AccessConfig::default();
        let mut writer =
            Writer { config, place, shared: Arc::default(), is_failing: true, is_torn: true };
        for _ in 0..2 {
            writer.write(&Chunk { bytes: b"{}\n".to_vec(), lines: 1 });
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "{\"half\n{}\n{}\n");
        assert_eq!(writer.shared.dropped.value(), 0);
    }
}
