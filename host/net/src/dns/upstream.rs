//! One upstream: sockets that many questions share, and TCP for what does not fit.
//!
//! **Invariant:** an answer is taken only when it comes from the address that was asked (sockets
//! are connected), to the port that asked (ports are the system's random choice, and change), and
//! has the random id and the question that was asked (RFC 5452).

use std::{
    cell::{Cell, RefCell},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    rc::Rc,
    time::Duration,
};

use hashbrown::HashMap;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, timeout},
};

use crate::random::Random;

use super::{
    cache::{Key, question_of},
    message::{HEADER, Header, number},
    stored::{Stored, Unusable},
};

/// Sockets that are used in turn.
const CHANNELS: usize = 8;
/// Questions that one socket asks before another port is taken.
const QUESTIONS_PER_CHANNEL: u32 = 256;
/// How long one attempt waits.
const ATTEMPT: Duration = Duration::from_secs(3);
/// How long an upstream that failed is asked last.
const REST: Duration = Duration::from_secs(5);
/// Larger than any datagram that we ask for.
const DATAGRAM: usize = 4096;

/// Why an attempt gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum AttemptError {
    #[error("speak to the upstream")]
    Io(#[from] io::Error),
    #[error("no answer in time")]
    Timeout,
    #[error("an answer of no use")]
    Unusable(#[from] Unusable),
}

impl AttemptError {
    /// Whether the upstream has answered that it cannot answer.
    pub(super) fn is_refusal(&self) -> bool {
        matches!(self, Self::Unusable(Unusable::Failed(_)))
    }
}

/// One upstream.
pub(super) struct Upstream {
    pub(super) address: SocketAddr,
    channels: RefCell<Vec<Rc<Channel>>>,
    next: Cell<usize>,
    failed: Cell<Option<Instant>>,
    random: Random,
}

impl Upstream {
    pub(super) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            channels: RefCell::default(),
            next: Cell::new(0),
            failed: Cell::new(None),
            random: Random::seeded(),
        }
    }

    /// Whether it failed so lately that others should be asked first.
    pub(super) fn is_resting(&self, now: Instant) -> bool {
        self.failed.get().is_some_and(|failed| now.saturating_duration_since(failed) < REST)
    }

    /// Asks once, and again over TCP when the answer does not fit.
    pub(super) async fn ask(&self, key: &Key) -> Result<Stored, AttemptError> {
        let result = match self.ask_udp(key).await {
            Err(AttemptError::Unusable(Unusable::Truncated)) => self.ask_tcp(key).await,
            other => other,
        };
        self.failed.set(result.is_err().then(Instant::now));
        result
    }

    async fn ask_udp(&self, key: &Key) -> Result<Stored, AttemptError> {
        let channel = self.channel().await?;
        let (answered, answer) = oneshot::channel();
        let waiting = channel.expect(self.random.next() as u16, key, answered);
        channel.socket.send(&question_of(key, waiting.id)).await?;
        let wire = timeout(ATTEMPT, answer).await.map_err(|_elapsed| AttemptError::Timeout)?;
        let wire = wire.map_err(|_closed| io::Error::from(io::ErrorKind::ConnectionRefused))?;
        Ok(Stored::parse(&wire, key.name(), key.rtype())?)
    }

    async fn ask_tcp(&self, key: &Key) -> Result<Stored, AttemptError> {
        let id = self.random.next() as u16;
        let exchange = async {
            let mut stream = TcpStream::connect(self.address).await?;
            let question = question_of(key, id);
            let mut framed = (question.len() as u16).to_be_bytes().to_vec();
            framed.extend_from_slice(&question);
            stream.write_all(&framed).await?;
            let mut wire = vec![0; usize::from(stream.read_u16().await?)];
            stream.read_exact(&mut wire).await?;
            Ok::<_, io::Error>(wire)
        };
        let wire = timeout(ATTEMPT, exchange).await.map_err(|_elapsed| AttemptError::Timeout)??;
        if number(&wire, 0) != Some(id) {
            return Err(Unusable::Garbage.into());
        }
        Ok(Stored::parse(&wire, key.name(), key.rtype())?)
    }

    /// The socket whose turn it is. One that has asked enough is forgotten here, and closes when
    /// its last question is done.
    async fn channel(&self) -> io::Result<Rc<Channel>> {
        let turn = self.next.get();
        self.next.set(turn.wrapping_add(1));
        let place = turn % CHANNELS;
        let kept = self.channels.borrow().get(place).cloned();
        if let Some(channel) = kept.filter(|channel| channel.may_ask()) {
            return Ok(channel);
        }
        let fresh = Channel::open(self.address).await?;
        let mut channels = self.channels.borrow_mut();
        match channels.get_mut(place) {
            Some(place) => *place = fresh.clone(),
            None => channels.push(fresh.clone()),
        }
        Ok(fresh)
    }
}

/// A connected socket, and the questions that wait for answers on it.
struct Channel {
    socket: Rc<UdpSocket>,
    waiting: Rc<RefCell<HashMap<u16, Waiting>>>,
    asked: Cell<u32>,
    reader: JoinHandle<()>,
}

struct Waiting {
    key: Key,
    answered: oneshot::Sender<Vec<u8>>,
}

impl Channel {
    async fn open(upstream: SocketAddr) -> io::Result<Rc<Self>> {
        let any: IpAddr = match upstream {
            SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
            SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
        };
        let socket = UdpSocket::bind((any, 0)).await?;
        socket.connect(upstream).await?;
        let socket = Rc::new(socket);
        let waiting = Rc::<RefCell<HashMap<u16, Waiting>>>::default();
        let reader = tokio::task::spawn_local(read(socket.clone(), waiting.clone()));
        Ok(Rc::new(Self { socket, waiting, asked: Cell::new(0), reader }))
    }

    fn may_ask(&self) -> bool {
        self.asked.get() < QUESTIONS_PER_CHANNEL && !self.reader.is_finished()
    }

    /// Waits for an answer under an id that nobody waits for yet.
    fn expect(&self, mut id: u16, key: &Key, answered: oneshot::Sender<Vec<u8>>) -> Guard<'_> {
        self.asked.set(self.asked.get() + 1);
        let mut waiting = self.waiting.borrow_mut();
        // A channel asks 256 questions in its life, so there is always a free id.
        while waiting.contains_key(&id) {
            id = id.wrapping_add(1);
        }
        waiting.insert(id, Waiting { key: *key, answered });
        Guard { channel: self, id }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

/// Stops waiting when the question is given up.
struct Guard<'a> {
    channel: &'a Channel,
    id: u16,
}

impl Drop for Guard<'_> {
    fn drop(&mut self) {
        self.channel.waiting.borrow_mut().remove(&self.id);
    }
}

/// Hands answers to those who wait for them. Ends when the socket fails: who waits learns it by
/// the end of the channel, and the next question takes a new socket.
async fn read(socket: Rc<UdpSocket>, waiting: Rc<RefCell<HashMap<u16, Waiting>>>) {
    let mut datagram = vec![0; DATAGRAM];
    loop {
        let Ok(length) = socket.recv(&mut datagram).await else {
            waiting.borrow_mut().clear();
            return;
        };
        let Some(wire) = datagram.get(..length) else { continue };
        let Some(header) = Header::parse(wire) else { continue };
        let mut waiting = waiting.borrow_mut();
        let is_asked = waiting.get(&header.id).is_some_and(|waiting| asks(wire, &waiting.key));
        if let Some(Waiting { answered, .. }) =
            is_asked.then(|| waiting.remove(&header.id)).flatten()
        {
            // Nobody may want it any more.
            drop(answered.send(wire.to_vec()));
        }
    }
}

/// Whether a message repeats a question. One that does not is somebody else's guess, and must not
/// end the wait for the true answer. An upstream that cannot read us repeats no question.
fn asks(wire: &[u8], key: &Key) -> bool {
    let end = HEADER + key.name().len();
    number(wire, 4) == Some(0)
        || (wire.get(HEADER..end).is_some_and(|name| name.eq_ignore_ascii_case(key.name()))
            && number(wire, end) == Some(key.rtype().0))
}
