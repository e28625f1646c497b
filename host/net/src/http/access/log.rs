//! The thread that holds the file of the access log.
//!
//! **Invariant:** a line that was taken is written, also across a rotation and at the end; one that is
//! not is counted, and that lines are lost is told once. Whoever hands lines over never waits, nor does
//! the start: a named pipe that nobody reads yet is opened when somebody does.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _},
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc::{Receiver, RecvError, SyncSender, TrySendError, sync_channel},
    },
    thread::{self, JoinHandle},
};

use nix::{
    errno::Errno,
    fcntl::{FcntlArg, OFlag, fcntl},
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
    /// Whether buffers were refused since the thread had nothing to do: that is said once.
    is_behind: AtomicBool,
}

/// Where lines go.
enum Place {
    Stdout,
    File(File),
    /// A named pipe that nobody has opened to read.
    Unread,
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
        let Message::Lines(chunk) = refused else { return };
        self.shared.dropped.add(chunk.lines);
        if !self.shared.is_behind.swap(true, Relaxed) {
            tracing::warn!("access log not written as fast as lines come: some are lost");
        }
    }
}

impl Writer {
    fn run(mut self, receiver: Receiver<Message>) {
        while let Ok(message) = self.next(&receiver) {
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

    fn next(&self, receiver: &Receiver<Message>) -> Result<Message, RecvError> {
        receiver.try_recv().or_else(|_| {
            self.shared.is_behind.store(false, Relaxed);
            receiver.recv()
        })
    }

    fn write(&mut self, chunk: &Chunk) {
        if matches!(self.place, Place::Unread)
            && let Ok(place) = Place::open(self.config.file.as_deref())
        {
            self.place = place;
        }
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
        // Without that flag a named pipe is opened when somebody reads it, which may be never.
        let flag = OFlag::O_NONBLOCK;
        match OpenOptions::new().create(true).append(true).custom_flags(flag.bits()).open(file) {
            Ok(opened) => {
                let flags = OFlag::from_bits_retain(fcntl(&opened, FcntlArg::F_GETFL)?);
                fcntl(&opened, FcntlArg::F_SETFL(flags.difference(flag)))?;
                Ok(Self::File(opened))
            }
            Err(error)
                if error.raw_os_error() == Some(Errno::ENXIO as i32)
                    && fs::metadata(file).is_ok_and(|file| file.file_type().is_fifo()) =>
            {
                Ok(Self::Unread)
            }
            Err(error) => Err(error),
        }
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
            Self::Unread => (0, Err(io::Error::other("nobody reads the named pipe"))),
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
    use std::{io::Read as _, os::fd::OwnedFd};

    use nix::{sys::stat::Mode, unistd::mkfifo};

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
    fn a_named_pipe_is_written_to_once_somebody_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("pipe");
        mkfifo(&file, Mode::S_IRWXU).unwrap();
        let log = AccessLog::open(AccessConfig { file: Some(file.clone()), ..Default::default() });
        let log = log.unwrap();
        let chunk = |line: &str| Chunk { bytes: format!("{line}\n").into(), lines: 1 };
        log.take(chunk("lost"));
        while log.dropped() == 0 {
            thread::yield_now();
        }
        // For reading and writing it does not wait for the other side either.
        let mut reader = OpenOptions::new().read(true).write(true).open(&file).unwrap();
        log.take(chunk("read"));
        log.close();
        let mut read = [0; 5];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"read\n");
        assert_eq!(log.dropped(), 1);
    }

    #[test]
    fn a_reader_that_is_too_slow_is_told_of_once() {
        let (mut reader, writer) = io::pipe().unwrap();
        let place = Place::File(File::from(OwnedFd::from(writer)));
        let log = AccessLog::write_to(AccessConfig::default(), place).unwrap();
        let told = Told::default();
        // More than the pipe takes in one piece, so the thread waits within each.
        let chunk = || Chunk { bytes: vec![b'\n'; 65 * 1024], lines: 65 * 1024 };
        tracing::subscriber::with_default(told.clone(), || {
            (0..2 * WAITING).for_each(|_| log.take(chunk()));
        });
        assert!(log.dropped() > 0);
        assert_eq!(told.0.load(Relaxed), 1);
        let reading = thread::spawn(move || io::copy(&mut reader, &mut io::sink()));
        // What is lost once all of this is written is told of again.
        while log.shared.is_behind.load(Relaxed) {
            thread::yield_now();
        }
        log.close();
        reading.join().unwrap().unwrap();
    }

    /// Counts what is said.
    #[derive(Clone, Default)]
    struct Told(Arc<AtomicU64>);

    impl tracing::Subscriber for Told {
        fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
            *metadata.level() == tracing::Level::WARN
        }

        fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
            tracing::span::Id::from_u64(1)
        }

        fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

        fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

        fn event(&self, _: &tracing::Event<'_>) {
            self.0.fetch_add(1, Relaxed);
        }

        fn enter(&self, _: &tracing::span::Id) {}

        fn exit(&self, _: &tracing::span::Id) {}
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
