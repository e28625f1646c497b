//! The lines of the log on their way to stderr, and the thread that writes them.
//!
//! **Invariant:** whoever says something never waits for whoever reads it. A line for which there is no
//! room is counted, and the log says how many are missing at the place where they are.

use std::{
    io::{self, Write},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

use tracing_subscriber::fmt::MakeWriter;

/// So many bytes may wait to be written, beside those that are being written: a second of `debug` on
/// a busy machine.
const ROOM: usize = 1024 * 1024;

/// So much is written at once at most, whole lines if they fit: what pipe(7) takes in one piece
/// (PIPE_BUF), so that a line stays whole though other processes write to the same pipe.
const PIECE: usize = 4096;

/// A buffer that has grown beyond this is given back.
const KEPT: usize = 64 * 1024;

/// Where lines of the log are left. Each write is one line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Lines(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something came for the thread.
    came: Condvar,
    /// Everything that came is written.
    done: Condvar,
}

#[derive(Debug, Default)]
struct Queue {
    bytes: Vec<u8>,
    /// How many lines found no room behind these bytes.
    lost: u64,
    /// Whether the thread has something in its hands.
    is_writing: bool,
}

impl Lines {
    /// Starts the thread that writes to `out`. `tell` says in the log how many lines are missing; it is
    /// called where there is room again.
    ///
    /// # Errors
    ///
    /// When the system refuses a thread.
    pub(super) fn write_to(
        &self,
        mut out: impl Write + Send + 'static,
        tell: impl Fn(u64) + Send + 'static,
    ) -> io::Result<()> {
        let shared = self.0.clone();
        let writing = move || {
            let mut bytes = Vec::new();
            loop {
                let lost = shared.take(&mut bytes);
                if lost > 0 {
                    tell(lost);
                }
                for piece in pieces(&bytes) {
                    // There is no other place to tell of it.
                    drop(out.write_all(piece));
                }
                bytes.clear();
                bytes.shrink_to(KEPT);
            }
        };
        thread::Builder::new().name("log".to_owned()).spawn(writing).map(drop)
    }

    /// Adds a line, with its end, if there is room.
    pub(crate) fn push(&self, line: &[u8]) {
        let mut queue = self.0.queue();
        // What is lost stays together, or nobody would know what is missing where.
        if queue.lost > 0 || queue.bytes.len() + line.len() > ROOM {
            queue.lost += 1;
            return;
        }
        let was_idle = queue.bytes.is_empty();
        queue.bytes.extend_from_slice(line);
        drop(queue);
        if was_idle {
            self.0.came.notify_one();
        }
    }

    /// Waits until everything is written, at most for so long: nobody may be reading.
    pub(crate) fn finish(&self, limit: Duration) {
        let queue = self.0.queue();
        let is_left = |queue: &mut Queue| queue.is_writing || !queue.bytes.is_empty();
        drop(self.0.done.wait_timeout_while(queue, limit, is_left));
    }
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for something, gives an empty buffer for it, and says how many lines are missing behind it.
    fn take(&self, bytes: &mut Vec<u8>) -> u64 {
        let mut queue = self.queue();
        queue.is_writing = false;
        if queue.bytes.is_empty() {
            self.done.notify_all();
        }
        let waited = self.came.wait_while(queue, |queue| queue.bytes.is_empty());
        let mut queue = waited.unwrap_or_else(PoisonError::into_inner);
        std::mem::swap(&mut queue.bytes, bytes);
        queue.is_writing = true;
        std::mem::take(&mut queue.lost)
    }
}

/// Cuts behind the last line that fits; one that is longer is cut within.
fn pieces(mut bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let most = bytes.get(..PIECE).unwrap_or(bytes);
        let end = match most.len() == bytes.len() {
            true => bytes.len(),
            false => most.iter().rposition(|byte| *byte == b'\n').map_or(PIECE, |last| last + 1),
        };
        let (piece, rest) = bytes.split_at(end);
        bytes = rest;
        (!piece.is_empty()).then_some(piece)
    })
}

/// A line as `tracing-subscriber` makes it: it writes each with one call.
impl Write for &Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> &'a Self {
        self
    }
}

#[cfg(test)]
mod tests {
    use std::{
        io::Read as _,
        sync::mpsc::{Receiver, Sender, channel},
    };

    use super::*;

    #[test]
    fn a_line_is_never_cut_unless_it_is_longer_than_a_piece() {
        let line = |letter: u8, length: usize| [vec![letter; length - 1], vec![b'\n']].concat();
        let all = [line(b'a', 3000), line(b'b', 1000), line(b'c', 97), line(b'd', 5000)].concat();
        let lengths: Vec<_> = pieces(&all).map(<[u8]>::len).collect();
        assert_eq!(lengths, [4000, 97, 4096, 904]);
        assert_eq!(pieces(&all).collect::<Vec<_>>().concat(), all);
        assert_eq!(pieces(b"").count(), 0);
    }

    /// A reader who takes nothing until he is told to go on.
    struct Gate(Receiver<()>, Sender<Vec<u8>>);

    impl Write for Gate {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error means that the gate stays open.
            self.0.recv().unwrap_or_default();
            self.1.send(bytes.to_vec()).unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_nobody_reads_is_dropped_and_counted_where_it_is_missing() {
        let ((open, gate), (sender, read)) = (channel(), channel());
        let lines = Lines::default();
        let told = lines.clone();
        let tell = move |lost| told.push(format!("lost {lost}\n").as_bytes());
        lines.write_to(Gate(gate, sender), tell).unwrap();
        lines.push(b"first\n");
        // It is in the hands of the thread, which cannot write it.
        open.send(()).unwrap();
        assert_eq!(read.recv().unwrap(), b"first\n");
        let line = [&[b'x'; 1023][..], b"\n"].concat();
        let count = 3 * ROOM / line.len();
        for _ in 0..count {
            lines.push(&line);
        }
        lines.finish(Duration::from_millis(1));
        drop(open);
        lines.finish(Duration::from_secs(60));
        lines.push(b"last\n");
        lines.finish(Duration::from_secs(60));
        let written = String::from_utf8(read.try_iter().flatten().collect()).unwrap();
        let (before, after) = written.split_once("lost ").unwrap();
        let lost: usize = after.strip_suffix("\nlast\n").unwrap().parse().unwrap();
        assert!(before.lines().all(|line| line.len() == 1023));
        assert_eq!(before.lines().count() + lost, count);
        assert!(before.len() >= ROOM && before.len() <= 2 * ROOM, "{}", before.len());
    }

    #[test]
    fn a_pipe_that_is_read_gets_everything_before_the_end() {
        let (mut reader, writer) = io::pipe().unwrap();
        let lines = Lines::default();
        lines.write_to(writer, |lost| panic!("{lost} lost")).unwrap();
        (&lines).write_all(b"one\n").unwrap();
        (&lines).write_all(b"two\n").unwrap();
        lines.finish(Duration::from_secs(60));
        let mut read = [0; 8];
        reader.read_exact(&mut read).unwrap();
        assert_eq!(&read, b"one\ntwo\n");
    }
}
