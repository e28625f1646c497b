//! Questions over one stream, TCP or TLS: many at a time, answered in any order (RFC 7766, 6.2.1.1).

use std::{cell::RefCell, io, rc::Rc, time::Duration};

use hashbrown::HashMap;
use tokio::{
    io::{
        AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf, split,
    },
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::timeout,
};

use super::{super::message::number, silence::Silence};

/// How long a stream without questions is kept. Servers close theirs after about as long.
const IDLE: Duration = Duration::from_secs(8);
/// How many questions may wait for one stream.
const MOST: usize = 1024;

/// A stream, and the questions that wait for answers on it.
pub(super) struct Pipe {
    outgoing: mpsc::Sender<Vec<u8>>,
    waiting: Waiting,
    silence: Rc<Silence>,
    tasks: [JoinHandle<()>; 2],
}

type Waiting = Rc<RefCell<HashMap<u16, oneshot::Sender<Vec<u8>>>>>;

impl Pipe {
    pub(super) fn new(stream: impl AsyncRead + AsyncWrite + 'static) -> Rc<Self> {
        let (reader, writer) = split(stream);
        let (waiting, silence) = (Waiting::default(), Rc::<Silence>::default());
        let (outgoing, queue) = mpsc::channel(MOST);
        let reading = tokio::task::spawn_local(read(reader, waiting.clone(), silence.clone()));
        let writing = tokio::task::spawn_local(write(writer, queue));
        Rc::new(Self { outgoing, waiting, silence, tasks: [reading, writing] })
    }

    /// Whether more can be asked: it is open, and has not been silent for too long.
    pub(super) fn may_ask(&self, patience: Duration) -> bool {
        self.is_open() && !self.silence.lasts(patience)
    }

    fn is_open(&self) -> bool {
        self.tasks.iter().all(|task| !task.is_finished())
    }

    /// Asks a question, written by `write` for an id.
    pub(super) async fn ask(
        &self,
        mut id: u16,
        write: impl FnOnce(u16) -> Vec<u8>,
    ) -> io::Result<Vec<u8>> {
        let gone = || io::Error::from(io::ErrorKind::ConnectionReset);
        let (answered, answer) = oneshot::channel();
        {
            let mut waiting = self.waiting.borrow_mut();
            if waiting.len() >= MOST || !self.is_open() {
                return Err(gone());
            }
            while waiting.contains_key(&id) {
                id = id.wrapping_add(1);
            }
            waiting.insert(id, answered);
        }
        let _waiting = Guard { pipe: self, id };
        let question = write(id);
        let mut framed = (question.len() as u16).to_be_bytes().to_vec();
        framed.extend_from_slice(&question);
        self.silence.asked();
        self.outgoing.send(framed).await.map_err(|_closed| gone())?;
        answer.await.map_err(|_closed| gone())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Stops waiting when the question is given up.
struct Guard<'a> {
    pipe: &'a Pipe,
    id: u16,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.pipe.waiting.borrow_mut().remove(&self.id);
    }
}

/// Hands answers to those who wait for them. Who waits at the end learns it by the end of its
/// channel.
async fn read(mut reader: ReadHalf<impl AsyncRead>, waiting: Waiting, silence: Rc<Silence>) {
    loop {
        let message = async {
            let mut wire = vec![0; usize::from(reader.read_u16().await?)];
            reader.read_exact(&mut wire).await?;
            Ok::<_, io::Error>(wire)
        };
        match timeout(IDLE, message).await {
            Ok(Ok(wire)) => {
                silence.heard();
                let id = number(&wire, 0).unwrap_or_default();
                if let Some(answered) = waiting.borrow_mut().remove(&id) {
                    // Nobody may want it any more.
                    drop(answered.send(wire));
                }
            }
            Ok(Err(_)) | Err(_) => break,
        }
    }
    waiting.borrow_mut().clear();
}

async fn write(mut writer: WriteHalf<impl AsyncWrite>, mut queue: mpsc::Receiver<Vec<u8>>) {
    while let Some(mut framed) = queue.recv().await {
        // What has come in the meantime goes along.
        while let Ok(more) = queue.try_recv() {
            framed.extend_from_slice(&more);
        }
        if writer.write_all(&framed).await.is_err() || writer.flush().await.is_err() {
            break;
        }
    }
}
